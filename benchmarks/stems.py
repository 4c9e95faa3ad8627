"""What a stem or an output stride is worth: a linear probe on a frozen network's pooled features.

Each row builds the backbone with its published weights, computes the features of a few thousand real images
once, and fits a logistic regression on them.

    python benchmarks/stems.py --dataset cifar10
    python benchmarks/stems.py --sizes 32 48 --json stems.json

Images per second are those of all training and test images, once, after batches that compile: good for the
order, no more.
"""

import time

from reporting import machine, parser, table, warm_up, weights, write_json

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
SIZES = sorted({size for size, _ in SETTINGS})

# strong, as there are half as many features as training images; fixed before any row was seen
INVERSE_REGULARISATION = 0.003
BATCH_SIZE = 128


def probe(options, data, image_size, told):
    """Return one row's figures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import transferzoo as tz
    from transferzoo.features.extract import split_at_features
    from transferzoo.models.prediction import predict

    model = tz.build(
        options.backbone,
        data.num_classes,
        input_shape=data.input_shape,
        image_size=image_size,
        weights=weights(options),
        trainable="none",
        seed=options.seed,
        **told,
    )
    extractor, _ = split_at_features(model)
    for images in (data.x_train, data.x_test):
        # a whole batch and the last one's size: some backends compile for each
        predict(extractor, images[: BATCH_SIZE + len(images) % BATCH_SIZE], batch_size=BATCH_SIZE)
    began = time.perf_counter()
    train = predict(extractor, data.x_train, batch_size=BATCH_SIZE)
    test = predict(extractor, data.x_test, batch_size=BATCH_SIZE)
    seconds = time.perf_counter() - began
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_REGULARISATION, max_iter=2000)
    ).fit(train, data.y_train)
    return {
        "image_size": image_size,
        "built_with": told,
        "map": model.get_layer("backbone").output_shape[1],
        "accuracy": float(classifier.score(test, data.y_test)),
        "images_per_second": (len(train) + len(test)) / seconds,
    }


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--dataset", default="cifar10", help="a named dataset (default cifar10)")
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--train", type=int, default=2000, help="training images (default 2000)")
    made.add_argument("--test", type=int, default=2000, help="test images (default 2000)")
    made.add_argument("--seed", type=int, default=0, help="(default 0)")
    made.add_argument(
        "--weights", default="imagenet", choices=("imagenet", "none"), help="(default imagenet)"
    )
    made.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        choices=SIZES,
        default=SIZES,
        metavar="PIXELS",
        help=f"rows with these image sizes only (default {' '.join(map(str, SIZES))})",
    )
    options = made.parse_args()
    import keras

    import transferzoo as tz

    data = tz.load_dataset(options.dataset, seed=options.seed)
    data = data.subset(
        train=min(options.train, len(data.x_train)),
        test=min(options.test, len(data.x_test)),
        seed=options.seed,
    )
    warm_up(data)
    rows = []
    for image_size, told in SETTINGS:
        if image_size in options.sizes:
            rows.append(probe(options, data, image_size, told))
            print(f"{image_size}, {told}: {rows[-1]['accuracy']:.1%}", flush=True)
            keras.backend.clear_session()
    setting = (
        f"{machine()}; {options.backbone}, weights {options.weights}; {len(data.x_train):,} training and "
        f"{len(data.x_test):,} test images of {options.dataset}, seed {options.seed}; "
        f"C={INVERSE_REGULARISATION}, batches of {BATCH_SIZE}"
    )
    lines = []
    for row in rows:
        said = ", ".join(f"{name}={value!r}" for name, value in row["built_with"].items())
        lines.append(
            (
                row["image_size"],
                f"`{said}`" if said else "nothing else",
                f"{row['map']}×{row['map']}",
                f"{row['accuracy']:.1%}",
                f"{row['images_per_second']:,.0f}",
            )
        )
    columns = ("image size", "built with", "last map", "accuracy", "images per second")
    print(f"\n{setting}\n\n{table(columns, lines)}")
    write_json(options.json, {"setting": setting, "rows": rows})


if __name__ == "__main__":
    main()
