"""Run the article's study: ResNet-50 and MobileNet under its settings, as published or put right.

    python examples/article_study.py                            # a miniature: digits, random weights
    python examples/article_study.py --train 100 --test 50 --epochs 1
    python examples/article_study.py --faithful                 # with the article's faults
    python examples/article_study.py --dataset cifar10 --weights imagenet --epochs article

The last one is the study itself: it downloads CIFAR-10 and two weights files, and trains for 30 and 100
epochs, which asks for a GPU. The first three need no network.
"""

import argparse
from pathlib import Path

import transferzoo as tz

BACKBONES = ("resnet50", "mobilenet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits", choices=tz.list_datasets())
    parser.add_argument("--path", type=Path, help="where the dataset is, if not in the cache")
    parser.add_argument("--weights", default="none", help="'none' or 'imagenet'")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--train", type=int, help="training images (default: all)")
    parser.add_argument("--test", type=int, help="test images (default: all)")
    parser.add_argument("--epochs", default="3", help="a number, or 'article': 30 for ResNet-50, else 100")
    parser.add_argument("--faithful", action="store_true", help="bring back the article's faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/article"))
    options = parser.parse_args()

    # the article holds out 30 % of the training images: 35,000 and 15,000 of CIFAR-10's 50,000
    where = {"path": options.path} if options.path else {}
    data = tz.load_dataset(options.dataset, validation=0.3, seed=options.seed, **where)
    data = data.subset(train=options.train, test=options.test)

    # leaving epochs out is what asks for the recipe's own numbers
    epochs = {} if options.epochs == "article" else {"epochs": int(options.epochs)}
    study = tz.compare(
        options.backbones,
        data,
        recipe="article",
        weights=None if options.weights == "none" else options.weights,
        faithful=options.faithful,
        seed=options.seed,
        out=options.out,
        **epochs,
    )
    print(study)

    # the article's three kinds of picture: a 5×5 grid, the curves, two confusion matrices
    tz.plots.image_grid(data, seed=options.seed).figure.savefig(options.out / "images.png")
    for result in study.results:
        result.plot_history()[0].figure.savefig(options.out / f"{result.name}_history.png")
        for normalize in (None, "true"):
            ending = "_normalized" if normalize else ""
            axes = result.plot_confusion_matrix(normalize=normalize)
            axes.figure.savefig(options.out / f"{result.name}_confusion{ending}.png")
    print(f"saved in {options.out}")


if __name__ == "__main__":
    main()
