"""The Dataset record: checked images and labels in three splits."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from transferzoo.data.checking import IMAGES, name_classes
from transferzoo.data.groups import groups_of_classes, refuse_divided
from transferzoo.data.reading import Reading
from transferzoo.data.splits import (
    SPLITS,
    check_share,
    fold_indices,
    split_indices,
    split_sizes,
    stratified_indices,
    subset_count,
)
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count, check_flag, check_seed
from transferzoo.ground.metrics import bytes_in_words

# what each image may have beside its label
BESIDE = ("files", "groups", "origins")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset:
    """Labelled images in a train, a validation and a test split.

    Build one with `from_arrays`, ``from_directory`` or ``load_dataset``, which convert and check what
    they are given; the constructor itself takes only arrays that are in their final form. The arrays of a
    Dataset are read-only views.

    Parameters
    ----------
    name : str
        What the dataset is called in reports.
    x_train, x_validation, x_test : ndarray of uint8 or float32, shape (n, height, width, channels)
        Images, 0 to 255, 1 or 3 channels; float32 only where the given pixels were no whole numbers. The test
        set may be empty: `fit` needs none.
    y_train, y_validation, y_test : ndarray of int64, shape (n,)
        Labels, ``0`` to ``num_classes - 1``.
    class_names : tuple of str
        One name for each label, in label order.
    seed : int
        Seed that the splits were drawn with.
    source : str
        One line: where the images came from.
    flip_safe : bool
        Whether a mirrored image keeps its label. False for digits and letters: training then skips
        horizontal flips. Default True.
    test_index : ndarray of int64, shape (n,), optional
        Place of each test image in the test split it was taken from, so that runs on different subsets can
        be paired image by image. Default ``0`` to ``n - 1``.
    left_out : mapping of str to int
        How many files were left out when the images were read, by reason. Empty by default.
    calls : tuple of dict
        The calls that made it, each as ``{function: arguments}``, for the record of a run. Empty where the
        images came as arrays.
    reading : Reading, optional
        How files became images, so that new photos can be read in the same way. None where the images came
        as arrays.
    files : mapping of str to ndarray of str, shape (n,)
        For each split the name of each image's file: its path within the folder, or as the table has it.
        Empty where the images came as arrays.
    groups : mapping of str to ndarray of str, shape (n,)
        For each split what each image belongs to. No group is in two splits. Empty where no groups were
        given.
    origins : mapping of str to ndarray of str, shape (n,)
        For each split the format and the size of each image's file, such as ``"JPEG 640×480"``, width first.
        Empty where the images came as arrays.

    Raises
    ------
    InvalidInputError
        If an array, a label or a class name does not have the form above.

    Examples
    --------
    >>> from transferzoo.data.catalog import load_dataset
    >>> data = load_dataset("digits")
    >>> data
    <Dataset 'digits': 1150 train, 288 validation, 359 test images of 32×32×3, 10 classes>
    >>> data.x_train.shape, data.x_train.dtype
    ((1150, 32, 32, 3), dtype('uint8'))
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    seed: int
    source: str
    flip_safe: bool = True
    test_index: np.ndarray | None = None
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    calls: tuple[Mapping[str, Any], ...] = ()
    reading: Reading | None = None
    files: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    origins: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        how = "Build the dataset with from_arrays, which converts."
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "flip_safe", check_flag("flip_safe", self.flip_safe))
        for argument in ("name", "source"):
            if not isinstance(getattr(self, argument), str):
                raise invalid(argument, "text", getattr(self, argument))
        object.__setattr__(self, "class_names", name_classes(self.class_names, None))
        for split in SPLITS:
            for argument in (f"x_{split}", f"y_{split}"):
                array = getattr(self, argument)
                if not isinstance(array, np.ndarray):
                    raise invalid(argument, "a numpy array", type(array).__name__, remedy=how)
                # A view that cannot be written to keeps content_hash true and the caller's array as it was.
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, argument, view)
            x, y = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
            if x.dtype not in (np.uint8, np.float32):
                raise invalid(f"x_{split}", "of dtype uint8 or float32", str(x.dtype), remedy=how)
            may_be_empty = 1 if split == "test" else 0
            if x.ndim != 4 or x.shape[-1] not in (1, 3) or 0 in x.shape[may_be_empty:]:
                raise invalid(f"x_{split}", IMAGES, x.shape, remedy=how)
            if x.shape[1:] != self.x_train.shape[1:]:
                raise invalid(f"x_{split}", f"images of shape {self.x_train.shape[1:]}, as x_train", x.shape)
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                got = f"{y.dtype} of shape {y.shape}"
                raise invalid(f"y_{split}", f"int64 of shape ({len(x)},)", got, remedy=how)
            if len(y) and (y.min() < 0 or y.max() >= len(self.class_names)):
                outside = int(y.min() if y.min() < 0 else y.max())
                raise invalid(f"y_{split}", f"labels from 0 to {len(self.class_names) - 1}", outside)
        index = np.arange(len(self.y_test)) if self.test_index is None else np.array(self.test_index)
        if index.shape != self.y_test.shape or index.dtype.kind not in "iu":
            raise invalid("test_index", f"int64 of shape ({len(self.y_test)},)", index.shape, remedy=how)
        index = index.astype(np.int64, copy=False)
        index.flags.writeable = False
        object.__setattr__(self, "test_index", index)
        object.__setattr__(self, "calls", tuple(self.calls))
        if not isinstance(self.reading, Reading | None):
            raise invalid("reading", "a Reading record or None", self.reading)
        object.__setattr__(self, "left_out", dict(self.left_out))
        for argument in BESIDE:
            object.__setattr__(self, argument, self._beside(argument))
        refuse_divided(self.groups, "groups")

    def _beside(self, argument: str) -> dict[str, np.ndarray]:
        """Return the names that each split has beside its images, checked: for all splits or for none."""
        given = dict(getattr(self, argument))
        if given and set(given) != set(SPLITS):
            raise invalid(argument, f"a mapping of {', '.join(SPLITS)} to names", list(given))
        for split, values in given.items():
            names = np.asarray(values).astype(str)
            if names.shape != getattr(self, f"y_{split}").shape:
                raise invalid(argument, f"one name for each image of the {split} set", names.shape)
            names.flags.writeable = False
            given[split] = names
        return given

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: height, width, channels."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @property
    def splits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Images and labels under ``"train"``, ``"validation"`` and ``"test"``."""
        return {split: (getattr(self, f"x_{split}"), getattr(self, f"y_{split}")) for split in SPLITS}

    @property
    def class_counts(self) -> dict[str, np.ndarray]:
        """Images of each class in each split: int64, shape (num_classes,)."""
        return {split: np.bincount(y, minlength=self.num_classes) for split, (_, y) in self.splits.items()}

    def summary(self) -> str:
        """Describe the splits in a plain-text table.

        Returns
        -------
        str
            For each split its shape, dtypes, pixel range and memory; then the images of each class, or past
            20 classes the fewest, the median and the most.

        Examples
        --------
        >>> from transferzoo.data.catalog import load_dataset
        >>> print(load_dataset("digits").summary().splitlines()[0])
        digits: 10 classes, images of 32×32×3 (height×width×channels)
        """
        rows: list[tuple[str, ...]] = [("split", "shape", "dtype", "labels", "pixels", "memory")]
        for split, (x, y) in self.splits.items():
            pixels = f"{x.min():g} to {x.max():g}" if len(x) else "–"
            memory = bytes_in_words(x.nbytes + y.nbytes)
            rows.append((split, str(x.shape), str(x.dtype), str(y.dtype), pixels, memory))
        counts = self.class_counts
        per_class: list[tuple[str, ...]]
        if self.num_classes <= 20:
            per_class = [("class", *SPLITS)]
            for label, class_name in enumerate(self.class_names):
                per_class.append((class_name, *(f"{counts[split][label]:,}" for split in SPLITS)))
        else:
            per_class = [("images per class", *SPLITS)]
            for word, statistic in (("fewest", np.min), ("median", np.median), ("most", np.max)):
                per_class.append((word, *(f"{statistic(counts[split]):,g}" for split in SPLITS)))
        mirrored = "keeps" if self.flip_safe else "does not keep"
        return "\n".join(
            [
                f"{self.name}: {self.num_classes} classes, images of {self._shape_text()} "
                "(height×width×channels)",
                f"source: {self.source}",
                f"split seed {self.seed}; a mirrored image {mirrored} its label",
                *([self._groups_text()] if self.groups else []),
                *([f"left out: {left_out_text(self.left_out)}"] if self.left_out else []),
                "",
                *_table(rows, left=4),
                "",
                *_table(per_class, left=1),
            ]
        )

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(y)} {split}" for split, (_, y) in self.splits.items())
        return f"<Dataset '{self.name}': {sizes} images of {self._shape_text()}, {self.num_classes} classes>"

    def name_of(self, split: str, place: int) -> str:
        """Return what to call an image in a message: its file, else its split and place."""
        if not self.files:
            return f"{'training' if split == 'train' else split} image {place}"
        return f"'{self.files[split][place]}' ({split})"

    def _groups_text(self) -> str:
        counts = (f"{len(np.unique(self.groups[split])):,} {split}" for split in SPLITS)
        return f"groups, none of them in two splits: {', '.join(counts)}"

    def _shape_text(self) -> str:
        return "×".join(str(side) for side in self.input_shape)

    def content_hash(self) -> str:
        """Identify the content: two datasets with the same hash hold the same images in the same order.

        Returns
        -------
        str
            SHA-256 over all six arrays and the class names, 64 hex digits; computed once.

        Examples
        --------
        >>> from transferzoo.data.catalog import load_dataset
        >>> load_dataset("digits").content_hash() == load_dataset("digits").content_hash()
        True
        """
        return self._content_hash

    @functools.cached_property
    def _content_hash(self) -> str:
        digest = hashlib.sha256()
        for split, pair in self.splits.items():
            for array in pair:
                digest.update(f"{split} {array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
        digest.update("\0".join(self.class_names).encode())
        return digest.hexdigest()

    @functools.cached_property
    def test_hash(self) -> str:
        """SHA-256 over the test images, their labels and the class names: 64 hex digits, computed once."""
        digest = hashlib.sha256()
        for array in (self.x_test, self.y_test):
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update("\0".join(self.class_names).encode())
        return digest.hexdigest()

    def subset(
        self,
        train: int | float | None = None,
        validation: int | float | None = None,
        test: int | float | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Keep fewer images, in the same proportions of classes.

        Where all classes are of one size, a smaller subset of the same seed is part of a larger one.

        Parameters
        ----------
        train, validation, test : int, float or None
            How much of each split to keep: a whole number of images (at least one for each class), a
            fraction above 0 and up to 1, or None to keep all. Default None.
        seed : int
            Chooses the images. Default 0.

        Returns
        -------
        Dataset
            The images that were chosen, in the order they had.

        Raises
        ------
        InvalidInputError
            If more images are asked for than there are, or fewer than one for each class.

        Examples
        --------
        >>> from transferzoo.data.catalog import load_dataset
        >>> load_dataset("digits").subset(train=100, test=0.5)
        <Dataset 'digits': 100 train, 288 validation, 180 test images of 32×32×3, 10 classes>
        """
        asked = {"train": train, "validation": validation, "test": test}
        seeds = np.random.SeedSequence(check_seed(seed)).spawn(len(SPLITS))
        changes: dict[str, Any] = {}
        beside = {argument: dict(getattr(self, argument)) for argument in BESIDE}
        for (split, share), split_seed in zip(asked.items(), seeds, strict=True):
            x, y = self.splits[split]
            count = subset_count(split, share, y)
            if count < len(y):
                chosen = stratified_indices(y, count, split_seed)
                changes |= {f"x_{split}": x[chosen], f"y_{split}": y[chosen]}
                if split == "test" and self.test_index is not None:
                    changes["test_index"] = self.test_index[chosen]
                for by_split in beside.values():
                    if by_split:
                        by_split[split] = by_split[split][chosen]
        if changes:
            changes |= beside
            kept = ", ".join(f"{split}={share}" for split, share in asked.items() if share is not None)
            changes["source"] = f"{self.source}; subset({kept}, seed={seed})"
            if self.calls:
                given = {split: share for split, share in asked.items() if share is not None}
                changes["calls"] = (*self.calls, {"subset": {**given, "seed": seed}})
        return dataclasses.replace(self, **changes)

    def folds(self, folds: int = 5, *, validation: int | float = 0.2, seed: int = 0) -> Iterator[Dataset]:
        """Yield datasets for cross-validation: in each, another part of all images is the test set.

        All images of all three splits are divided again, in the proportions of the classes; where the
        dataset has `groups`, none is divided. Each image is a test image once.

        Parameters
        ----------
        folds : int, default 5
            How many parts, 2 or more; each class needs as many images, or groups.
        validation : float or int, default 0.2
            Share of the other parts that is held out for validation.
        seed : int, default 0
            Shares the images out.

        Yields
        ------
        Dataset
            Its `test_index` counts the images of all three splits, in the order train, validation, test.

        Raises
        ------
        InvalidInputError
            If there are too few images, or groups, of a class.

        Notes
        -----
        The parts come from scikit-learn's ``StratifiedKFold``, or ``StratifiedGroupKFold``.

        Examples
        --------
        >>> from transferzoo.data.catalog import load_dataset
        >>> data = load_dataset("digits").subset(train=100, validation=40, test=60)
        >>> [len(fold.y_test) for fold in data.folds(4)]
        [50, 50, 50, 50]
        """
        folds, seed = check_count("folds", folds, 2), check_seed(seed)
        share = check_share("validation", validation)
        x, y = (np.concatenate([getattr(self, f"{axis}_{split}") for split in SPLITS]) for axis in "xy")
        beside = {
            argument: np.concatenate([getattr(self, argument)[split] for split in SPLITS])
            for argument in BESIDE
            if getattr(self, argument)
        }
        groups = beside.get("groups")
        if groups is None:
            counts = dict(zip(self.class_names, np.bincount(y).tolist(), strict=True))
        else:
            counts = groups_of_classes(y, groups, self.class_names)
        few = {name: count for name, count in counts.items() if count < max(folds, 3)}
        if few:
            word = "images" if groups is None else "groups"
            raise invalid("folds", f"at most the {word} of each class, and 3 {word} are needed", few)
        return self._folds(x, y, beside, folds, share, seed)

    def _folds(
        self,
        x: np.ndarray,
        y: np.ndarray,
        beside: Mapping[str, np.ndarray],
        folds: int,
        share: int | float,
        seed: int,
    ) -> Iterator[Dataset]:
        groups = beside.get("groups")
        for number, test in enumerate(fold_indices(y, folds, seed, groups)):
            rest = np.setdiff1d(np.arange(len(y)), test)
            theirs = None if groups is None else groups[rest]
            sizes = split_sizes(y[rest], self.class_names, {"validation": share}, groups=theirs)
            parts = {
                **{
                    split: rest[chosen]
                    for split, chosen in split_indices(y[rest], sizes, seed, theirs).items()
                },
                "test": test,
            }
            call = {"folds": folds, "fold": number, "validation": share, "seed": seed}
            changes: dict[str, Any] = {f"x_{split}": x[chosen] for split, chosen in parts.items()}
            changes |= {f"y_{split}": y[chosen] for split, chosen in parts.items()}
            for argument, values in beside.items():
                changes[argument] = {split: values[chosen] for split, chosen in parts.items()}
            yield dataclasses.replace(
                self,
                **changes,
                test_index=test,
                seed=seed,
                source=f"{self.source}; fold {number + 1} of {folds}, seed={seed}",
                calls=(*self.calls, {"folds": call}) if self.calls else (),
            )


def left_out_text(left_out: Mapping[str, int]) -> str:
    """Return how many files were left out, and why, as one line."""
    parts = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
    return f"{sum(left_out.values())} files ({parts})"


def _table(rows: list[tuple[str, ...]], left: int) -> list[str]:
    """Return rows as aligned lines, the first `left` columns to the left and the rest to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
