"""Compare heads on one frozen backbone: its features are computed once, and every head learns on them.

    python examples/heads_on_cached_features.py
    python examples/heads_on_cached_features.py --train 100 --test 50 --epochs 1

Needs no network: a small backbone first learns the digits 0 to 4 from random weights. Then it is frozen, and
each head learns to tell the digits 5 to 9 apart, which the backbone has never seen. The first head waits for
the features, the others find them. Run it again with the same options and nothing is trained twice.
"""

import argparse
from pathlib import Path

import transferzoo as tz
from transferzoo.heads import Classifier, Dense, Dropout, Head, Normalize, Pool

HEADS = {
    "linear": "linear",
    "mlp": "mlp",
    "narrow": Head(Pool("avg"), Dense(32), Classifier()),
    "deep": Head(Pool("avg"), Dense(128), Normalize(), Dropout(0.3), Dense(64), Classifier()),
}


def digits_between(first: int, last: int, seed: int) -> tz.Dataset:
    """Return scikit-learn's digits from `first` to `last` alone."""
    everything = tz.load_dataset("digits", seed=seed)
    arrays = {}
    for split, (x, y) in everything.splits.items():
        wanted = (first <= y) & (y <= last)
        arrays |= {f"x_{split}": x[wanted], f"y_{split}": y[wanted] - first}
    names = map(str, range(first, last + 1))
    return tz.from_arrays(**arrays, class_names=names, name=f"{first} to {last}", flip_safe=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mobilenet_025")
    parser.add_argument("--train", type=int, default=200, help="training images for the heads (default 200)")
    parser.add_argument("--test", type=int, help="test images for the heads (default: all)")
    parser.add_argument("--epochs", type=int, default=15, help="of the backbone's own training (default 15)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/heads"))
    options = parser.parse_args()

    known = tz.fit_and_evaluate(
        options.backbone,
        digits_between(0, 4, options.seed),
        weights=None,
        epochs=options.epochs,
        seed=options.seed,
        out=options.out / "backbone",
    )
    print(f"digits 0 to 4, the backbone's own: {known.accuracy:.1%} of the test images\n")
    weights = options.out / "backbone.weights.h5"
    known.model.get_layer("backbone").save_weights(weights)

    new = digits_between(5, 9, options.seed).subset(train=options.train, test=options.test)
    print(f"{'head':8s} {'test accuracy':>14s} {'head parameters':>16s} {'seconds':>8s}")
    for name, head in HEADS.items():
        result = tz.fit_and_evaluate(
            options.backbone,
            new,
            # a linear head is solved, any other trained in epochs; neither moves the backbone
            recipe="linear_probe" if name == "linear" else "head",
            head=head,
            weights=weights,
            image_size="input",
            seed=options.seed,
            out=options.out / name,
        )
        parameters = result.costs["trainable_parameters"]
        seconds = result.costs["train_seconds"]
        print(f"{name:8s} {result.accuracy:14.1%} {parameters:16,} {seconds:8.1f}")
    chance = new.class_counts["test"].max() / len(new.y_test)
    print(f"always the most frequent digit: {chance:.1%}")
    print(f"saved in {options.out}")


if __name__ == "__main__":
    main()
