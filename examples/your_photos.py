"""From a folder of photos to a comparison, and from there to the names of new photos.

    python examples/your_photos.py photos                          # photos/cat/1.jpg, photos/dog/1.jpg, …
    python examples/your_photos.py photos --new new-photos
    python examples/your_photos.py --export cifar10                # real photos of ten classes, as PNG files
    python examples/your_photos.py --export digits --weights none  # needs no network

The ImageNet weights are downloaded once, and so is CIFAR-10. --export writes images of a dataset into class
folders, and other images of it, without their labels, into a folder of new photos.
"""

import argparse
from pathlib import Path

import numpy as np

import transferzoo as tz


def export(name: str, folder: Path, new: Path, per_class: int) -> bool:
    """Write images as folder/<class>/<number>.png, and some more into `new`; return `flip_safe`."""
    from PIL import Image

    data = tz.load_dataset(name)
    for label, class_name in enumerate(data.class_names):
        (folder / class_name).mkdir(parents=True, exist_ok=True)
        for number, place in enumerate(np.flatnonzero(data.y_train == label)[:per_class]):
            Image.fromarray(data.x_train[place]).save(folder / class_name / f"{number:04}.png")
    new.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        Image.fromarray(data.x_test[number]).save(new / f"new-{number:02}.png")
    return data.flip_safe


def draw(predictions: list, path: Path) -> None:
    """Save a picture of photos with their names."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(10, 3.9), layout="constrained")
    for ax, prediction in zip(figure.subplots(2, 6).flat, predictions, strict=False):
        with Image.open(prediction.file) as photo:
            ax.imshow(photo)
        ax.set_title(f"{prediction.class_name} {prediction.probability:.0%}", fontsize=10)
        ax.axis("off")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a folder of class folders")
    parser.add_argument("--new", type=Path, help="a folder of photos to name")
    parser.add_argument("--export", help="a dataset to make both folders of, in place of your own")
    parser.add_argument("--per-class", type=int, default=150, help="images of each class (default 150)")
    parser.add_argument("--backbones", nargs="+", default=["mobilenet", "mobilenet_v2_035"])
    parser.add_argument("--weights", default="imagenet", help="'imagenet' (default) or 'none'")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/photos"))
    options = parser.parse_args()
    flip_safe = True
    if options.export:
        options.folder, options.new = Path("photos"), Path("new-photos")
        # a mirrored photo of a cat is a photo of a cat; a mirrored 3 is no 3
        flip_safe = export(options.export, options.folder, options.new, options.per_class)
    if options.folder is None:
        parser.error("give a folder of class folders, or --export cifar10")

    data = tz.from_directory(options.folder, seed=options.seed, flip_safe=flip_safe)
    print(data.summary(), "\n")
    study = tz.compare(
        options.backbones,
        data,
        weights=None if options.weights == "none" else options.weights,
        recipe=options.recipe,
        seed=options.seed,
        out=options.out,
    )
    print(study, "\n")
    best = study[study.best().name]
    for mistake in best.mistakes(limit=3):
        print(mistake)
    if options.new is not None:
        predictions = best.predict(options.new)
        print()
        for prediction in predictions:
            print(prediction)
        draw(predictions, options.out / "predictions.png")
        print(f"\nThe picture is {options.out / 'predictions.png'}")


if __name__ == "__main__":
    main()
