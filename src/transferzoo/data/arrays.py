"""A dataset from images and labels in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from transferzoo.data.checking import (
    check_classes,
    check_pixels,
    image_array,
    name_classes,
    number_labels,
)
from transferzoo.data.dataset import Dataset
from transferzoo.data.groups import check_groups, refuse_divided
from transferzoo.data.splits import SPLITS, check_share, split_indices, split_sizes
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_flag, check_seed


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
    groups: Any = None,
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
        Share of all images, in the same form. Ignored when `x_test` is given. 0 makes no test set: `fit`
        needs none, and `Dataset.folds` makes one for each fold. Default 0.2.
    groups : sequence of str or int, shape (n,), optional
        What each training image belongs to: a patient, a video, a place. A group is never divided between
        splits, so that the test images come from groups that training has not seen. Shares are then met as
        nearly as whole groups allow, and each class needs a group for each split. Default: every image is
        by itself.
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
        If arrays, labels, names or shares are not as above; the message says how to correct them.

    Examples
    --------
    >>> import numpy as np
    >>> from transferzoo.data.arrays import from_arrays
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.integers(0, 256, (100, 8, 8, 3)), np.arange(100) % 4
    >>> from_arrays(x, y, class_names=["a", "b", "c", "d"])
    <Dataset 'arrays': 64 train, 16 validation, 20 test images of 8×8×3, 4 classes>
    """
    return gather(
        {
            "train": (x_train, y_train),
            "validation": (x_validation, y_validation),
            "test": (x_test, y_test),
        },
        {"test": test, "validation": validation},
        class_names=class_names,
        beside={} if groups is None else {"groups": {"train": groups}},
        seed=seed,
        name=name,
        source=source,
        flip_safe=flip_safe,
    )


def gather(
    given: Mapping[str, tuple[Any, Any]],
    shares: Mapping[str, int | float],
    *,
    class_names: Iterable[str | int] | Mapping[Any, Any] | None,
    beside: Mapping[str, Mapping[str, Any]],
    seed: int,
    name: str,
    source: str,
    flip_safe: bool,
) -> Dataset:
    """Check images and labels by split, and split off what is not given.

    Parameters
    ----------
    given : mapping of split to (images, labels)
        ``(None, None)`` for a split that is to be made.
    shares : mapping of split to int or float
        How much to split off, in this order.
    beside : mapping of str to mapping of split to sequence of str
        What else is known of each image: ``"files"``, ``"groups"`` and ``"origins"``.
    class_names, seed, name, source, flip_safe
        As `from_arrays` takes them.
    """
    seed = check_seed(seed)
    flip_safe = check_flag("flip_safe", flip_safe)
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
    known = {
        key: {split: np.asarray(values) for split, values in by_split.items()}
        for key, by_split in beside.items()
    }
    if "groups" in known:
        known["groups"] = {
            split: check_groups("groups", values, len(labels[split]))
            for split, values in beside["groups"].items()
        }
        refuse_divided(known["groups"], "groups")
    groups = known.get("groups", {}).get("train")
    checked = {split: check_share(split, share) for split, share in shares.items() if split not in images}
    wanted = {split: share for split, share in checked.items() if share}
    sizes = split_sizes(labels["train"], names, wanted, groups=groups if wanted else None)
    # Every array is looked through, also where an earlier one has settled the dtype already.
    whole = [check_pixels(f"x_{split}", x) for split, x in images.items()]
    dtype = np.uint8 if all(whole) else np.float32

    _refuse_same_images(images)
    x, y = images.pop("train"), labels.pop("train")
    parts = split_indices(y, sizes, seed, groups)
    of_training = {key: by_split.pop("train") for key, by_split in known.items()}
    parts |= {split: np.arange(0) for split, share in checked.items() if not share}
    for split, indices in parts.items():
        untouched = len(indices) == len(y)
        images[split] = x if untouched else x[indices]
        labels[split] = y if untouched else y[indices]
        for key, values in of_training.items():
            known[key][split] = values[indices]
    arrays: dict[str, Any] = {f"x_{split}": images[split].astype(dtype, copy=False) for split in SPLITS}
    arrays |= {f"y_{split}": labels[split] for split in SPLITS}
    for by_split in known.values():
        for split in SPLITS:
            # of a split that was given as an array nothing is known
            by_split.setdefault(split, np.full(len(labels[split]), ""))
    return Dataset(
        name=name,
        class_names=names,
        seed=seed,
        source=source,
        flip_safe=flip_safe,
        files=known.get("files", {}),
        groups=known.get("groups", {}),
        origins=known.get("origins", {}),
        **arrays,
    )


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
