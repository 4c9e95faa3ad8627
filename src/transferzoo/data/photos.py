"""A dataset from listed image files: what class folders and tables have in common."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.data.arrays import gather
from transferzoo.data.dataset import Dataset, left_out_text
from transferzoo.data.groups import check_groups
from transferzoo.data.reading import (
    LARGEST_SIDE,
    Reading,
    check_background,
    check_on_error,
    check_resize,
    check_size,
    read_files,
    readable_formats,
    strict_pillow,
)
from transferzoo.data.splits import SPLITS, check_share, split_sizes
from transferzoo.errors import invalid, printable
from transferzoo.ground.arguments import check_seed
from transferzoo.ground.metrics import bytes_in_words

logger = logging.getLogger("transferzoo")

UNREADABLE = "unreadable"
# left out without any loss of images: said, but no warning
HARMLESS = frozenset({"hidden", "not an image"})
# so many images of one size settle the size of all
SETTLES = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """How listed files become a dataset: checked, and nothing read yet.

    The fields are the arguments of `from_directory` and `from_table` of the same names.
    """

    validation: int | float = 0.2
    test: int | float = 0.2
    seed: int = 0
    image_size: int | tuple[int, int] | None = None
    resize: str = "crop"
    background: str | tuple[int, int, int] = "white"
    on_error: str = "raise"
    flip_safe: bool = True

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_share("test", self.test)
        check_share("validation", self.validation)
        if self.image_size is not None:
            check_size(self.image_size)
        check_resize(self.resize)
        check_background(self.background)
        check_on_error(self.on_error)

    def record(self) -> dict[str, Any]:
        """Return plain JSON types, for the record of a call."""
        record = dataclasses.asdict(self)
        for key in ("image_size", "background"):
            if isinstance(record[key], tuple):
                record[key] = list(record[key])
        return record


def _refuse_too_many(count: int, size: tuple[int, int], argument: str) -> None:
    """Raise where images would not fit into memory, before minutes of decoding."""
    import psutil

    needed, free = count * size[0] * size[1] * 3, psutil.virtual_memory().available
    if needed > free:
        fitting = int((free / 2 / (3 * count)) ** 0.5)
        raise invalid(
            argument,
            f"images that fit into memory, of which {bytes_in_words(free)} are free",
            f"{count:,} of {size[0]}×{size[1]} pixels, {bytes_in_words(needed)}",
            remedy=f"Pass image_size={max(fitting, 1)}, or take fewer images.",
        )


def dataset_from_files(
    files: Mapping[str, Sequence[Path]],
    labels: Mapping[str, np.ndarray],
    class_names: tuple[str, ...],
    options: PhotoOptions,
    *,
    shown: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[Any]] | None = None,
    name: str,
    source: str,
    left_out: Mapping[str, int],
    argument: str,
    noun: str,
) -> Dataset:
    """Read files and split off what is not given.

    Parameters
    ----------
    files, labels : mappings of split to paths and to int64 arrays
        ``"train"``, and ``"validation"`` and ``"test"`` where they are given.
    class_names : tuple of str
    options : PhotoOptions
    shown : mapping of split to sequence of str
        What each file is called in the dataset's records.
    groups : mapping of split to sequence, optional
        What each image belongs to.
    name, source : str
    left_out : mapping of str to int
        What the listing left out, by reason.
    argument, noun : str
        What the files came from, for an error: ``"path"``, ``"a folder"``.
    """
    shares = {"test": options.test, "validation": options.validation}
    # Splits that cannot be made are refused here, before minutes of decoding.
    wanted = {split: share for split, share in shares.items() if split not in files and share}
    grouped = None if groups is None else check_groups("groups", groups["train"], len(labels["train"]))
    split_sizes(
        labels["train"],
        class_names,
        wanted,
        groups=grouped if wanted else None,
        argument=argument,
        noun=noun,
    )
    every = [path for paths in files.values() for path in paths]
    size = common_size(every) if options.image_size is None else check_size(options.image_size)
    background = check_background(options.background)
    reading = Reading(size=size, resize=options.resize, background=background)
    _refuse_too_many(len(every), size, argument)
    read = read_files(every, reading, on_error=options.on_error, argument=argument)
    counts = dict(left_out)
    if read.broken:
        counts[UNREADABLE] = counts.get(UNREADABLE, 0) + len(read.broken)
    given: dict[str, tuple[Any, Any]] = dict.fromkeys(SPLITS, (None, None))
    beside: dict[str, dict[str, Sequence[Any]]] = {"files": {}, "origins": {}}
    beside |= {} if groups is None else {"groups": {}}
    start = place = 0
    for split, paths in files.items():
        kept = read.kept[(read.kept >= start) & (read.kept < start + len(paths))] - start
        given[split] = read.images[place : place + len(kept)], labels[split][kept]
        beside["files"][split] = [printable(shown[split][number]) for number in kept]
        beside["origins"][split] = read.origins[place : place + len(kept)]
        if groups is not None:
            beside["groups"][split] = [groups[split][number] for number in kept]
        start, place = start + len(paths), place + len(kept)
        if not len(kept):
            # nothing of the split can be read: from_arrays would split another one off
            raise invalid(argument, f"files of which at least one of the {split} set can be read", "none")
    if counts:
        lost = {reason: count for reason, count in counts.items() if reason not in HARMLESS}
        level = logging.WARNING if lost else logging.INFO
        logger.log(level, "%s: left out: %s", name, left_out_text(counts))
    data = gather(
        given,
        shares,
        class_names=class_names,
        beside=beside,
        seed=options.seed,
        name=name,
        source=source,
        flip_safe=options.flip_safe,
    )
    return dataclasses.replace(data, left_out=counts, reading=reading)


def common_size(files: Sequence[Path]) -> tuple[int, int]:
    """Return the height and width that almost all images have, if small; 224×224 otherwise."""
    tally = tally_sizes(files)
    small = Counter({size: count for size, count in tally.items() if size is not None})
    if small:
        (size, count), total = small.most_common(1)[0], tally.total()
        if count >= SETTLES * total:
            if count < total:
                logger.warning(
                    "%d of %d images have another size than %d×%d, which most have, and are resized to it; "
                    "image_size= sets another size",
                    total - count,
                    total,
                    *size,
                )
            return size
    return LARGEST_SIDE, LARGEST_SIDE


def tally_sizes(files: Sequence[Path]) -> Counter[tuple[int, int] | None]:
    """Count images by height and width as decoded; None for those with more than 224 pixels on a side."""
    from PIL import Image, ImageOps

    found: Counter[tuple[int, int] | None] = Counter()
    with strict_pillow():
        for path in files:
            try:
                with Image.open(path, formats=readable_formats()) as opened:
                    if max(opened.size) > LARGEST_SIDE:
                        found[None] += 1
                        continue
                    # a header does not tell what a TIFF's or an icon's size is in the end
                    opened.load()
                    width, height = ImageOps.exif_transpose(opened).size
            except Exception:
                # read_files meets it again, and names it with all others
                continue
            found[height, width] += 1
    return found
