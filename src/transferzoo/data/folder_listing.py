"""Photos in class folders: which files are meant, by layout and class."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from transferzoo.data.checking import normal_name
from transferzoo.data.reading import FOREIGN, is_image
from transferzoo.errors import InvalidInputError, invalid, listing, nearest, printable

logger = logging.getLogger("transferzoo")

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
LAYOUTS = ("auto", "classes", "splits")
LAYOUT = "a folder that holds one folder of images for each class, or train/ and test/ folders of these"
# made by systems and tools beside the images, some of them with copies of the images
JUNK = frozenset({"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini"})
SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed:
    """The image files of a folder, and how many files were left out, by reason.

    `splits` maps a split to a class to sorted files; all is ``"train"`` where there are no split folders.
    """

    splits: Mapping[str, Mapping[str, list[Path]]]
    left_out: Mapping[str, int]


def list_images(path: Path, *, layout: str = "auto", class_names: tuple[str, ...] | None = None) -> Listed:
    """Return the image files that a folder holds, by split and class."""
    if layout not in LAYOUTS:
        raise invalid("layout", "'auto', 'classes' or 'splits'", layout, candidates=LAYOUTS)
    if not path.is_dir():
        what = "which is a file" if path.exists() else "which does not exist"
        raise invalid("path", LAYOUT, printable(path), remedy=f"That is '{printable(path.name)}', {what}.")
    look = _Look(class_names)
    splits = {} if layout == "classes" else _split_folders(path, look, layout)
    if not splits:
        by_class = {"train": look.classes(path)}
    else:
        by_class = {split: look.classes(folder, split) for split, folder in splits.items()}
    for split, classes in by_class.items():
        for class_name in classes:
            if class_name not in by_class["train"]:
                raise invalid(
                    "path",
                    f"a folder whose {split} classes are training classes too",
                    class_name,
                    candidates=by_class["train"],
                    remedy=f"Rename or remove '{printable(splits[split] / class_name)}', or choose "
                    "classes with class_names=.",
                )
        if len(classes) < len(by_class["train"]):
            missing = [name for name in by_class["train"] if name not in classes]
            logger.warning("the %s set has no images of %s", split, listing(missing, SHOWN))
    return Listed(splits=by_class, left_out=dict(look.left_out))


def _split_folders(path: Path, look: _Look, layout: str) -> dict[str, Path]:
    """Return the folder of each split; none where the folders in `path` are classes."""
    folders, loose = look.entries(path, count=False)
    named = [entry for entry in folders if entry.name.lower() in SPLIT_FOLDERS]
    train = next((entry for entry in named if SPLIT_FOLDERS[entry.name.lower()] == "train"), None)
    others = [entry.name for entry in folders if entry not in named]
    if train is None:
        if layout == "splits":
            raise _layout_error(path, "layout='splits' needs a folder called train.")
        return {}
    inner, images = look.entries(train, count=False)
    if layout == "auto" and images and not inner:
        if not others and len(named) > 1:
            raise _layout_error(
                path,
                f"'{train.name}' and the folders beside it hold images and no class folders. If they are "
                "classes, pass layout='classes'; if they are splits, put the images into class folders.",
            )
        logger.warning(
            "'%s' is taken for a class, as it holds images and no folders; layout='splits' takes it for the "
            "training set",
            train.name,
        )
        return {}
    beside = [*others, *(entry.name for entry in loose)]
    if beside:
        raise _layout_error(
            path,
            f"Beside {train.name}/ there is {listing(map(printable, beside), SHOWN)}; "
            "only test/ and validation/ (or val/) belong there. If all of these folders are classes, pass "
            "layout='classes'.",
        )
    splits: dict[str, Path] = {}
    for entry in named:
        split = SPLIT_FOLDERS[entry.name.lower()]
        if split in splits:
            raise _layout_error(
                path, f"Both '{splits[split].name}' and '{entry.name}' hold a {split} set; keep one."
            )
        splits[split] = entry
    return {split: splits[split] for split in ("train", "validation", "test") if split in splits}


class _Look:
    """Looks through folders, and counts what it leaves out.

    Parameters
    ----------
    class_names : tuple of str or None
        The only classes that are wanted.
    """

    def __init__(self, class_names: tuple[str, ...] | None) -> None:
        self.wanted = class_names
        self.left_out: Counter[str] = Counter()

    def classes(self, path: Path, split: str = "train") -> dict[str, list[Path]]:
        """Return class -> image files of a folder of class folders."""
        folders, loose = self.entries(path)
        if loose:
            found = "which has no class folders" if not folders else "beside its class folders"
            raise _layout_error(
                path,
                f"{len(loose)} images lie in '{printable(path.name)}', {found}, such as "
                f"'{printable(loose[0].name)}'; put them into a class folder, or elsewhere.",
            )
        if not folders:
            raise _layout_error(path, f"'{printable(path.name)}' has no class folders.")
        by_class: dict[str, list[Path]] = {}
        for folder in folders:
            class_name = normal_name(folder.name)
            if self.wanted is not None and class_name not in self.wanted:
                self.left_out["of classes that class_names leaves out"] += len(
                    self.entries(folder, count=False)[1]
                )
                continue
            files = self._images(path, folder)
            # a name in two Unicode forms is one class to every eye
            by_class[class_name] = sorted([*by_class.get(class_name, []), *files], key=_order)
        if self.wanted is not None:
            missing = [name for name in self.wanted if name not in by_class]
            if missing and split == "train":
                raise invalid(
                    "class_names",
                    f"names of class folders in '{printable(path)}'",
                    missing[0],
                    candidates=[normal_name(folder.name) for folder in folders],
                    remedy=f"There are {listing([normal_name(f.name) for f in folders])}.",
                )
            by_class = {name: by_class[name] for name in self.wanted if name in by_class}
        if split == "train" and len(by_class) < 2:
            raise _layout_error(path, f"Its only class is {listing(by_class)}, and two are needed.")
        return dict(by_class) if self.wanted is not None else dict(sorted(by_class.items()))

    def _images(self, path: Path, folder: Path) -> list[Path]:
        """Return the image files of a class folder."""
        before = self.left_out.copy()
        inner, files = self.entries(folder)
        if inner:
            raise _layout_error(
                path,
                f"Class folder '{printable(folder.name)}' holds the folder '{printable(inner[0].name)}', "
                f"and class folders hold images only. If '{printable(folder.name)}' is not a class, pass the "
                "folder that holds the classes.",
            )
        if not files:
            lost = self.left_out - before
            held = ", ".join(f"{count} {reason}" for reason, count in lost.items()) or "nothing"
            raise _layout_error(
                path,
                f"Class folder '{printable(folder.name)}' holds no images that can be read; it holds "
                f"{held}. Add images, or remove it.",
            )
        return files

    def entries(self, path: Path, *, count: bool = True) -> tuple[list[Path], list[Path]]:
        """Return the folders and the image files in a folder, each sorted by name."""
        folders: list[Path] = []
        files: list[Path] = []
        for entry in sorted(path.iterdir(), key=_order):
            hidden = entry.name.startswith(".") or entry.name.lower() in JUNK
            named = self.wanted is not None and normal_name(entry.name) in self.wanted
            if entry.is_dir():
                if not hidden or named:
                    folders.append(entry)
                elif count and (images := sum(is_image(each) for each in entry.iterdir() if each.is_file())):
                    self.left_out["in hidden folders"] += images
                    logger.warning(
                        "the hidden folder '%s' is left out, with %d images; rename it without the dot, "
                        "or list it in class_names=, if it is a class",
                        printable(entry),
                        images,
                    )
            elif hidden:
                self.left_out["hidden"] += count
            elif is_image(entry):
                files.append(entry)
            elif count:
                foreign = entry.suffix.lower() in FOREIGN
                self.left_out[
                    f"{entry.suffix.lower()} (Pillow does not open it)" if foreign else "not an image"
                ] += 1
        return folders, files


def _order(path: Path) -> tuple[str, str]:
    """Sort by code points, the same on every system; Path itself ignores case on some."""
    return normal_name(path.name), path.name


def _layout_error(path: Path, sentence: str) -> InvalidInputError:
    return invalid("path", LAYOUT, printable(path), remedy=sentence)


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
