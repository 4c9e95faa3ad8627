"""The Dataset record, checked images and labels in three splits, and building one from arrays."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from transferzoo.data.checking import (
    IMAGES,
    check_classes,
    check_pixels,
    image_array,
    name_classes,
    number_labels,
)
from transferzoo.data.reading import Reading
from transferzoo.data.splits import (
    SPLITS,
    check_share,
    split_indices,
    split_sizes,
    stratified_indices,
    subset_count,
)
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_flag, check_seed
from transferzoo.ground.metrics import bytes_in_words


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset:
    """Labelled images in a train, a validation and a test split.

    Build one with :func:`from_arrays`, ``from_directory`` or ``load_dataset``, which convert and check what
    they are given; the constructor itself takes only arrays that are in their final form. The arrays of a
    Dataset are read-only views.

    Parameters
    ----------
    name : str
        What the dataset is called in reports.
    x_train, x_validation, x_test : ndarray of uint8 or float32, shape (n, height, width, channels)
        Images, 0 to 255, 1 or 3 channels; float32 only where the given pixels were no whole numbers.
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
            if x.ndim != 4 or x.shape[-1] not in (1, 3) or 0 in x.shape:
                raise invalid(f"x_{split}", IMAGES, x.shape, remedy=how)
            if x.shape[1:] != self.x_train.shape[1:]:
                raise invalid(f"x_{split}", f"images of shape {self.x_train.shape[1:]}, as x_train", x.shape)
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                got = f"{y.dtype} of shape {y.shape}"
                raise invalid(f"y_{split}", f"int64 of shape ({len(x)},)", got, remedy=how)
            if y.min() < 0 or y.max() >= len(self.class_names):
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
            pixels = f"{x.min():g} to {x.max():g}"
            memory = bytes_in_words(x.nbytes + y.nbytes)
            rows.append((split, str(x.shape), str(x.dtype), str(y.dtype), pixels, memory))
        counts = self.class_counts
        per_class: list[tuple[str, ...]]
        if self.num_classes <= 20:
            per_class = [("class", *SPLITS)]
            for label, class_name in enumerate(self.class_names):
                per_class.append((class_name, *(f"{counts[split][label]:,}" for split in SPLITS)))
        else:
            per_class = [("images a class", *SPLITS)]
            for word, statistic in (("fewest", np.min), ("median", np.median), ("most", np.max)):
                per_class.append((word, *(f"{statistic(counts[split]):,g}" for split in SPLITS)))
        mirrored = "keeps" if self.flip_safe else "does not keep"
        return "\n".join(
            [
                f"{self.name}: {self.num_classes} classes, images of {self._shape_text()} "
                "(height×width×channels)",
                f"source: {self.source}",
                f"split seed {self.seed}; a mirrored image {mirrored} its label",
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
        for (split, share), split_seed in zip(asked.items(), seeds, strict=True):
            x, y = self.splits[split]
            count = subset_count(split, share, y)
            if count < len(y):
                chosen = stratified_indices(y, count, split_seed)
                changes |= {f"x_{split}": x[chosen], f"y_{split}": y[chosen]}
                if split == "test" and self.test_index is not None:
                    changes["test_index"] = self.test_index[chosen]
        if changes:
            kept = ", ".join(f"{split}={share}" for split, share in asked.items() if share is not None)
            changes["source"] = f"{self.source}; subset({kept}, seed={seed})"
            if self.calls:
                given = {split: share for split, share in asked.items() if share is not None}
                changes["calls"] = (*self.calls, {"subset": {**given, "seed": seed}})
        return dataclasses.replace(self, **changes)


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    x_validation: Any = None,
    y_validation: Any = None,
    class_names: Iterable[str | int] | Mapping[Any, Any] | None = None,
    validation: int | float = 0.2,
    test: int | float = 0.2,
    seed: int = 0,
    name: str = "arrays",
    source: str = "arrays in memory",
    flip_safe: bool = True,
) -> Dataset:
    """Check images and labels, and split off what is not given.

    The test images are set aside first, then the validation images from what is left; both keep the
    proportions of the classes, with at least one image of each, and all splits keep the order of the images.
    Arrays given as test or validation set are taken whole, and `seed` then has no say in them. Nothing is
    written to the arrays that are passed in.

    Parameters
    ----------
    x_train : array of int or float, shape (n, height, width, channels) or (n, height, width)
        Images, 0 to 255, with 1 or 3 channels last. Whole numbers are kept as uint8, others as float32.
    y_train : array of int or str, shape (n,) or (n, 1)
        Labels, ``0`` to ``num_classes - 1``, each with at least one image; or the classes' names.
    x_test, y_test : arrays, optional
        The test set. When left out, `test` is split off.
    x_validation, y_validation : arrays, optional
        The validation set. When left out, `validation` is split off the training images.
    class_names : list of str, or mapping, optional
        One name for each label, in label order; or ``{name: label}``, as the ``class_indices`` of Keras, or
        ``{label: name}``. Labels that are names are matched with it by name. Default ``"0"``, ``"1"``, …, or
        the names that are labels, sorted by code points.
    validation : float or int
        Share of the images left for training once the test set is taken: a fraction above 0 and below 1, or
        a whole number of images. Ignored when `x_validation` is given. Default 0.2.
    test : float or int
        Share of all images, in the same form. Ignored when `x_test` is given. Default 0.2.
    seed : int
        Governs the splits that are made here. Default 0.
    name : str
        What to call the dataset. Default ``"arrays"``.
    source : str
        One line: where the images came from. Default ``"arrays in memory"``.
    flip_safe : bool
        Whether a mirrored image keeps its label. Default True.

    Returns
    -------
    Dataset
        With all three splits.

    Raises
    ------
    InvalidInputError
        If arrays, labels, names or shares are not as above; the message says how to mend them.

    Examples
    --------
    >>> import numpy as np
    >>> from transferzoo.data.dataset import from_arrays
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.integers(0, 256, (100, 8, 8, 3)), np.arange(100) % 4
    >>> from_arrays(x, y, class_names=["a", "b", "c", "d"])
    <Dataset 'arrays': 64 train, 16 validation, 20 test images of 8×8×3, 4 classes>
    """
    seed = check_seed(seed)
    if not isinstance(flip_safe, bool):
        raise invalid("flip_safe", "True or False", flip_safe)
    given = {
        "train": (x_train, y_train),
        "validation": (x_validation, y_validation),
        "test": (x_test, y_test),
    }
    images: dict[str, np.ndarray] = {}
    raw: dict[str, Any] = {}
    for split, (x, y) in given.items():
        if split != "train" and x is None and y is None:
            continue
        for argument, value, other in ((f"x_{split}", x, f"y_{split}"), (f"y_{split}", y, f"x_{split}")):
            if value is None:
                raise invalid(argument, f"given together with {other}", None)
        images[split] = image_array(f"x_{split}", x)
        raw[f"y_{split}"] = y
        if images[split].shape[1:] != images["train"].shape[1:]:
            raise invalid(
                f"x_{split}",
                f"images of shape {images['train'].shape[1:]}, as x_train",
                images[split].shape[1:],
                remedy="Resize one of them, so that all splits are alike.",
            )
    numbered, order = number_labels(raw, class_names)
    labels = {argument.removeprefix("y_"): y for argument, y in numbered.items()}
    for split, y in labels.items():
        if len(images[split]) != len(y):
            raise invalid(f"y_{split}", f"as long as x_{split}, {len(images[split])} labels", len(y))
    names = name_classes(order, labels)
    check_classes(labels, names)
    shares = {
        split: check_share(split, share)
        for split, share in (("test", test), ("validation", validation))
        if split not in images
    }
    sizes = split_sizes(labels["train"], names, shares)
    # Every array is looked through, also where an earlier one has settled the dtype already.
    whole = [check_pixels(f"x_{split}", x) for split, x in images.items()]
    dtype = np.uint8 if all(whole) else np.float32

    _refuse_same_images(images)
    x, y = images.pop("train"), labels.pop("train")
    parts = split_indices(y, sizes, seed)
    for split, indices in parts.items():
        untouched = len(indices) == len(y)
        images[split] = x if untouched else x[indices]
        labels[split] = y if untouched else y[indices]
    arrays: dict[str, Any] = {f"x_{split}": images[split].astype(dtype, copy=False) for split in SPLITS}
    arrays |= {f"y_{split}": labels[split] for split in SPLITS}
    return Dataset(name=name, class_names=names, seed=seed, source=source, flip_safe=flip_safe, **arrays)


def _refuse_same_images(images: Mapping[str, np.ndarray]) -> None:
    """Raise where training images were given as test images: accuracy on them says nothing of new ones."""
    if "test" not in images:
        return
    a, b = images["train"], images["test"]
    # the first image differs in nearly every pair that differs at all
    if a is b or (a.shape == b.shape and np.array_equal(a[0], b[0]) and np.array_equal(a, b)):
        raise invalid(
            "x_test",
            "other images than x_train",
            "the same images",
            remedy="Leave x_test and y_test out, and they are split off x_train.",
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
