"""What a stem or an output stride is worth: a linear probe on a frozen network's pooled features.

Each row builds the backbone with its published weights, computes the features of a few thousand real images
once, and fits a logistic regression on them.

    python benchmarks/stems.py --dataset cifar10
"""

import argparse
import time

import keras
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import transferzoo as tz

# image size, and what build is told besides
SETTINGS = [
    (32, {}),
    (96, {}),
    (32, {"stem": "stride1"}),
    (48, {"stem": "stride1"}),
    (96, {"stem": "stride1"}),
    (48, {"output_stride": 16}),
    (64, {"output_stride": 16}),
    (96, {"output_stride": 16}),
]

# strong, as there are half as many features as training images; fixed before any row was seen
INVERSE_REGULARISATION = 0.003


def probe(backbone, data, image_size, options):
    """Return the last map's side, the probe's test accuracy, and the images a second of its features."""
    model = tz.build(backbone, data.num_classes, image_size=image_size, trainable="none", **options)
    cells = model.get_layer("backbone").output_shape[1]
    pooled = keras.ops.mean(model.get_layer("backbone").output, axis=(1, 2))
    network = keras.Model(model.get_layer("backbone").input, pooled)
    images = keras.Input(data.input_shape)
    extract = keras.Model(images, network(model.get_layer("preprocessing")(images)))
    extract.predict(data.x_train[:256], batch_size=128, verbose=0)  # compiled here, not in what is timed
    began = time.perf_counter()
    train = extract.predict(data.x_train, batch_size=128, verbose=0)
    test = extract.predict(data.x_test, batch_size=128, verbose=0)
    seconds = time.perf_counter() - began
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_REGULARISATION, max_iter=2000)
    ).fit(train, data.y_train)
    return cells, classifier.score(test, data.y_test), (len(train) + len(test)) / seconds


def main():
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--backbone", default="mobilenet")
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = tz.load_dataset(options.dataset, seed=options.seed)
    data = data.subset(train=options.train, test=options.test, seed=options.seed)
    print("| image size | built with | last map | accuracy | images a second |")
    print("|---|---|---|---|---|")
    for image_size, told in SETTINGS:
        cells, accuracy, rate = probe(options.backbone, data, image_size, told)
        said = ", ".join(f"{name}={value!r}" for name, value in told.items()) or "nothing else"
        print(f"| {image_size} | `{said}` | {cells}×{cells} | {accuracy:.1%} | {rate:,.0f} |", flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
