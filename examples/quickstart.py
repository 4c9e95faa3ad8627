"""Compare two small backbones, look at the better one, and use it on new images.

    python examples/quickstart.py
    python examples/quickstart.py --train 100 --test 50 --epochs 1

Needs no network: the images are scikit-learn's handwritten digits, and both networks begin with random
weights. Everything is saved under --out; run it again with the same options and nothing is trained twice.
"""

import argparse
from pathlib import Path

import transferzoo as tz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, help="training images (default: all 1,150)")
    parser.add_argument("--test", type=int, help="test images (default: all 359)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    options = parser.parse_args()

    data = tz.load_dataset("digits", seed=options.seed).subset(train=options.train, test=options.test)
    print(data.summary(), "\n")

    # weights=None: random weights, so nothing is downloaded
    study = tz.compare(
        ["mobilenet_025", "mobilenet_v2_035"],
        data,
        weights=None,
        epochs=options.epochs,
        seed=options.seed,
        out=options.out,
    )
    print(study, "\n")

    best = max(study.results, key=lambda result: result.accuracy)
    print(best.classification_report())
    best.plot_confusion_matrix().figure.savefig(options.out / "best_confusion.png")
    study.plot(cost="latency_ms").figure.savefig(options.out / "comparison.png")

    # best.model is a plain keras.Model; it takes pixels of 0 to 255 and gives probabilities
    probabilities = best.model.predict(data.x_test[:5], verbose=0)
    for truth, row in zip(data.y_test[:5], probabilities, strict=True):
        guess = int(row.argmax())
        print(f"a '{data.class_names[truth]}' was taken for '{data.class_names[guess]}' ({row[guess]:.0%})")
    print(f"saved in {options.out}")


if __name__ == "__main__":
    main()
