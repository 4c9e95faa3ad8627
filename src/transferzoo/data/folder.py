"""Photos in class folders, read and resized to one array."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.data.dataset import Dataset, from_arrays
from transferzoo.data.splits import check_share, split_sizes
from transferzoo.errors import InvalidInputError, check_count, invalid, listing, nearest

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# The side of the ImageNet photos that most pretrained backbones have seen.
LARGEST_SIDE = 224
SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
LAYOUT = "a folder that holds one folder of images for each class, or train/ and test/ folders of these"
SHOWN = 5


def from_directory(
    path: str | Path,
    *,
    validation: int | float = 0.2,
    test: int | float = 0.2,
    seed: int = 0,
    image_size: int | tuple[int, int] | None = None,
    name: str | None = None,
    mirror_safe: bool = True,
) -> Dataset:
    """Read a folder of class folders.

    ::

        photos/cat/1.jpg            photos/train/cat/1.jpg
        photos/cat/2.jpg     or     photos/test/cat/7.jpg
        photos/dog/1.jpg            photos/validation/cat/9.jpg   (or val/; may be left out, as may test/)

    Classes are the folders' names in sorted order, and images are read in the sorted order of their files.
    Images are turned as their EXIF data says and converted to RGB, without transparency; of an animation the
    first frame counts. Files whose names do not end in jpg, jpeg, png, bmp, gif, webp, tif or tiff are
    ignored, and so is what starts with a dot.

    Parameters
    ----------
    path : str or Path
        The folder.
    validation : float or int
        Share of the images left for training once the test set is taken: a fraction above 0 and below 1, or
        a whole number of images. Ignored where there is a ``validation`` or ``val`` folder. Default 0.2.
    test : float or int
        Share of all images, in the same form. Ignored where there is a ``test`` folder. Default 0.2.
    seed : int
        Governs the splits that are made here. Default 0.
    image_size : int, (int, int) or None
        Height and width in pixels, one number for both. Images are scaled, then cropped in the middle, so
        that none is distorted. None keeps the size where all images share one of at most 224 on a side, and
        makes them 224×224 otherwise. Default None.
    name : str, optional
        What to call the dataset. Default: the folder's name.
    mirror_safe : bool
        Whether a mirrored image keeps its label. Default True.

    Returns
    -------
    Dataset
        Images uint8, shape (n, height, width, 3), 0 to 255.

    Raises
    ------
    InvalidInputError
        If the folder is missing or laid out otherwise, a class is empty, too small for the splits or not
        among the training classes, or an image cannot be read; then the first of these are named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from transferzoo.data.folder import from_directory
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for colour in ("green", "red"):
    ...         (Path(folder) / colour).mkdir()
    ...         for number in range(5):
    ...             Image.new("RGB", (40, 30), colour).save(Path(folder) / colour / f"{number}.png")
    ...     data = from_directory(folder, image_size=16, name="colours")
    >>> data
    <Dataset 'colours': 6 train, 2 validation, 2 test images of 16×16×3, 2 classes>
    >>> data.class_names
    ('green', 'red')
    """
    check_count("seed", seed, 0)
    size = None if image_size is None else _check_size(image_size)
    shares = {"test": check_share("test", test), "validation": check_share("validation", validation)}
    folder = Path(path).expanduser()
    listed = list_images(folder)
    class_names = tuple(listed["train"])
    labels = {split: _labels(files, class_names) for split, files in listed.items()}
    # Splits that cannot be made are refused here, before minutes of decoding.
    split_sizes(
        labels["train"],
        class_names,
        {split: share for split, share in shares.items() if split not in listed},
        argument="path",
        noun="a folder",
    )
    paths = {split: [p for files in by_class.values() for p in files] for split, by_class in listed.items()}
    if size is None:
        shared = shared_size([p for files in paths.values() for p in files])
        size = shared if shared and max(shared) <= LARGEST_SIDE else (LARGEST_SIDE, LARGEST_SIDE)
    every = read_images([p for files in paths.values() for p in files], size)
    arrays: dict[str, Any] = {}
    for split, files in paths.items():
        arrays[f"x_{split}"], every = every[: len(files)], every[len(files) :]
        arrays[f"y_{split}"] = labels[split]
    data = from_arrays(
        **arrays,
        class_names=class_names,
        validation=validation,
        test=test,
        seed=seed,
        name=folder.resolve().name if name is None else name,
        source=f"class folders in {folder}",
        mirror_safe=mirror_safe,
    )
    call = {
        "path": str(folder.absolute()),
        "validation": validation,
        "test": test,
        "seed": seed,
        "image_size": list(size),
        "name": data.name,
        "mirror_safe": mirror_safe,
    }
    return dataclasses.replace(data, calls=({"from_directory": call},))


def list_images(path: Path) -> dict[str, dict[str, list[Path]]]:
    """Return split -> class -> sorted image files; all is ``"train"`` where there are no split folders."""
    if not path.is_dir():
        what = "which is a file" if path.exists() else "which does not exist"
        raise invalid("path", LAYOUT, f"{path}", remedy=f"That is '{path.name}', {what}.")
    folders, loose = _look(path)
    named = [entry for entry in folders if entry.name.lower() in SPLIT_FOLDERS]
    if not any(entry.name.lower() == "train" for entry in named):
        return {"train": _list_classes(path)}
    others = [entry.name for entry in folders if entry not in named]
    if others or loose:
        raise _layout_error(
            path,
            f"Beside train/ there is {listing([*others, *(p.name for p in loose)], SHOWN)}; "
            "only test/ and validation/ (or val/) belong there.",
        )
    splits: dict[str, Path] = {}
    for entry in named:
        split = SPLIT_FOLDERS[entry.name.lower()]
        if split in splits:
            raise _layout_error(
                path, f"Both '{splits[split].name}' and '{entry.name}' hold a {split} set; keep one."
            )
        splits[split] = entry
    listed: dict[str, dict[str, list[Path]]] = {
        split: _list_classes(splits[split]) for split in ("train", "validation", "test") if split in splits
    }
    for split, by_class in listed.items():
        for class_name in by_class:
            if class_name not in listed["train"]:
                raise invalid(
                    "path",
                    f"a folder whose {split} classes are training classes too",
                    class_name,
                    candidates=listed["train"],
                    remedy=f"Rename or remove '{splits[split] / class_name}'.",
                )
    return listed


def _list_classes(path: Path) -> dict[str, list[Path]]:
    folders, loose = _look(path)
    if not folders:
        found = f"{len(loose)} images and no" if loose else "no"
        raise _layout_error(path, f"It has {found} class folders.")
    if loose:
        raise _layout_error(
            path,
            f"{len(loose)} images lie beside its class folders, such as '{loose[0].name}'; "
            "put them into a class folder, or elsewhere.",
        )
    by_class: dict[str, list[Path]] = {}
    for folder in folders:
        inner, files = _look(folder)
        if inner:
            raise _layout_error(
                path,
                f"Class folder '{folder.name}' holds the folder '{inner[0].name}', and class folders hold "
                f"images only. If '{folder.name}' is not a class, pass the folder that holds the classes.",
            )
        if not files:
            raise _layout_error(
                path,
                f"Class folder '{folder.name}' holds no images. Add some with names that end in "
                f"{', '.join(sorted(e[1:] for e in EXTENSIONS))}, or remove it.",
            )
        by_class[folder.name] = files
    if len(by_class) < 2:
        raise _layout_error(path, f"Its only class is '{folders[0].name}', and it takes two to tell apart.")
    return by_class


def _look(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the image files in a folder, each sorted by name."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    folders = [entry for entry in entries if entry.is_dir()]
    return folders, [e for e in entries if e.suffix.lower() in EXTENSIONS and e not in set(folders)]


def _layout_error(path: Path, sentence: str) -> InvalidInputError:
    return invalid("path", LAYOUT, str(path), remedy=sentence)


def _labels(by_class: dict[str, list[Path]], class_names: tuple[str, ...]) -> np.ndarray:
    order = [class_names.index(class_name) for class_name in by_class]
    return np.repeat(np.array(order, np.int64), [len(files) for files in by_class.values()])


def _check_size(image_size: Any) -> tuple[int, int]:
    sides = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    accepted = "a number of pixels of 1 or more, or two of them (height, width)"
    if len(sides) != 2:
        raise invalid("image_size", accepted, image_size)
    for side in sides:
        if isinstance(side, bool) or not hasattr(side, "__index__") or side.__index__() < 1:
            raise invalid("image_size", accepted, image_size)
    return int(sides[0]), int(sides[1])


def shared_size(paths: Sequence[Path]) -> tuple[int, int] | None:
    """Return the height and width that all readable images have, or None where they differ."""
    from PIL import ExifTags, Image

    found: set[tuple[int, int]] = set()
    with _strict_pillow():
        for path in paths:
            try:
                with Image.open(path) as image:
                    width, height = image.size
                    # Orientations 5 to 8 lie on their side.
                    if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
                        width, height = height, width
            except Exception:
                # read_images meets it again, and names it with all others.
                continue
            found.add((height, width))
            if len(found) > 1:
                return None
    return next(iter(found), None)


def read_images(paths: Sequence[Path], image_size: tuple[int, int]) -> np.ndarray:
    """Return images as uint8, shape (n, height, width, 3), or raise with those that cannot be read."""
    from PIL import Image, ImageOps

    height, width = image_size
    x = np.empty((len(paths), height, width, 3), np.uint8)
    broken: list[tuple[Path, str]] = []
    with _strict_pillow():
        for index, path in enumerate(paths):
            try:
                with Image.open(path) as image:
                    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
                        raise ValueError("more than 8 bits a channel, convert it to 8 bits first")
                    turned = ImageOps.exif_transpose(image).convert("RGB")
                x[index] = np.asarray(ImageOps.fit(turned, (width, height), Image.Resampling.BILINEAR))
            except Exception as error:
                broken.append((path, " ".join(str(error).split())[:120] or type(error).__name__))
    if broken:
        first = "; ".join(f"{path} ({reason})" for path, reason in broken[:SHOWN])
        more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        raise InvalidInputError(
            f"path must be a folder in which every image can be read. Got {len(broken)} of {len(paths)} that "
            f"cannot: {first}{more}. Mend or remove them.",
            argument="path",
            value=[str(path) for path, _ in broken],
            accepted="a folder in which every image can be read",
        )
    return x


@contextlib.contextmanager
def _strict_pillow() -> Iterator[None]:
    """Make a decompression bomb an error, and Pillow's remarks on odd metadata nothing."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def check_class_names(found: Sequence[str], class_names: Sequence[str], argument: str, where: Path) -> None:
    """Raise unless the class folders found are exactly the classes that a dataset has."""
    for class_name in found:
        if class_name not in class_names:
            suggestion = nearest(class_name, class_names)
            meant = f" Did you mean '{suggestion}'?" if suggestion else ""
            raise InvalidInputError(
                f"{argument} must be class folders named {listing(class_names)}. "
                f"Got '{class_name}' in {where}.{meant} Rename or remove it, or use from_directory.",
                argument=argument,
                value=class_name,
                accepted=listing(class_names, 1000),
                suggestion=suggestion,
            )
    missing = [class_name for class_name in class_names if class_name not in found]
    if missing:
        raise invalid(
            argument,
            f"a class folder for each of the {len(class_names)} classes",
            str(where),
            remedy=f"There is none for {listing(missing, SHOWN)}.",
        )
