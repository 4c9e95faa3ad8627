"""Train on a folder of your own photos, one folder for each class.

    python examples/own_images.py photos --weights imagenet     # photos/cat/1.jpg, photos/dog/1.jpg, …
    python examples/own_images.py                               # makes a folder of digits by itself
    python examples/own_images.py --train 100 --test 50 --epochs 1

Without a folder it writes scikit-learn's digits as PNG files into class folders of a temporary folder, so
that there is something to read with no network. --weights imagenet downloads the weights once.
"""

import argparse
import tempfile
from pathlib import Path

import transferzoo as tz


def write_class_folders(folder: Path) -> None:
    """Write 1,797 digits as folder/<class>/<number>.png."""
    from PIL import Image
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    for number, (scan, label) in enumerate(zip(scans.reshape(-1, 8, 8), labels, strict=True)):
        place = folder / f"digit_{label}"
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((scan * (255 / 16)).astype("uint8")).resize((32, 32))
        image.save(place / f"{number:04}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a folder of class folders")
    parser.add_argument("--backbone", default="mobilenet_025")
    parser.add_argument("--weights", default="none", help="'none' or 'imagenet'")
    parser.add_argument("--image-size", type=int, help="side that the photos are read at")
    parser.add_argument("--train", type=int, help="training images (default: all)")
    parser.add_argument("--test", type=int, help="test images (default: all)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/own_images"))
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder, flip_safe = options.folder, True
        if folder is None:
            folder, flip_safe = Path(temporary) / "digits", False
            write_class_folders(folder)
            print("no folder was given: made one of scikit-learn's digits")
        # a mirrored photo of a cat is a photo of a cat; a mirrored 3 is no 3
        data = tz.from_directory(
            folder, image_size=options.image_size, seed=options.seed, flip_safe=flip_safe
        )
    data = data.subset(train=options.train, test=options.test)
    print(data.summary(), "\n")

    result = tz.fit_and_evaluate(
        options.backbone,
        data,
        weights=None if options.weights == "none" else options.weights,
        epochs=options.epochs,
        seed=options.seed,
        out=options.out,
    )
    print(result, "\n")
    print(result.classification_report())
    result.plot_confusion_matrix(normalize="true").figure.savefig(options.out / "confusion.png")
    print(f"saved in {options.out}")


if __name__ == "__main__":
    main()
