"""What true classes and predicted probabilities must look like, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import Described as Found
from transferzoo.ground.arguments import check_array, check_sequence

# bfloat16 rounds each probability by up to 1 part in 512, so a row of them may miss 1 by 0.002;
# float32 softmax stays within 1e-5. Logits, percentages and unscaled scores miss it by far more.
ROW_SUM_TOLERANCE = 5e-3

NORMALIZE = ("true", "pred", "all")
# where nothing says how many there are: a confusion matrix of so many classes still fits into memory
MOST_CLASSES = 1_000


def check_labels(
    argument: str, labels: ArrayLike, *, num_classes: int | None = None, length: int | None = None
) -> NDArray[np.int64]:
    """Return class numbers as int64, shape (n,), or raise saying what is wrong with `argument`."""
    accepted = "whole numbers, one for each image, shape (n,)"
    array = check_array(argument, labels, accepted)
    if array.ndim != 1:
        remedy = ""
        if array.ndim == 2:
            remedy = (
                f"Pass {argument}.ravel()."
                if array.shape[1] == 1
                else f"If it is one-hot, pass {argument}.argmax(axis=1)."
            )
        raise invalid(argument, accepted, Found(f"shape {array.shape}"), remedy=remedy)
    if array.size == 0:
        raise invalid(argument, accepted + ", with one or more images", Found("no images"))
    if not np.issubdtype(array.dtype, np.integer):
        raise invalid(
            argument, accepted, Found(f"dtype {array.dtype}"), remedy=f"Pass {argument}.astype('int64')."
        )
    if length is not None and len(array) != length:
        raise invalid(argument, f"as long as the predictions, {length}", Found(f"{len(array)} entries"))
    low, high = int(array.min()), int(array.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "" if num_classes is None else f" to {num_classes - 1}"
        raise invalid(argument, f"class numbers from 0{top}", Found(f"values from {low} to {high}"))
    return array.astype(np.int64, copy=False)


def check_probabilities(y_prob: ArrayLike, *, argument: str = "y_prob") -> NDArray[np.float64]:
    """Return probabilities as float64, shape (n, k), or raise saying what is wrong with them."""
    accepted = "class probabilities, shape (n, k) with two or more classes, each row summing to 1"
    raw = check_array(argument, y_prob, accepted)
    if raw.ndim != 2 or raw.shape[0] == 0 or raw.shape[1] < 2:
        remedy = ""
        if raw.ndim == 1 or (raw.ndim == 2 and raw.shape[1] == 1):
            remedy = "For two classes pass both columns: numpy.stack([1 - p, p], axis=1)."
        raise invalid(argument, accepted, Found(f"shape {raw.shape}"), remedy=remedy)
    array = raw.astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise invalid(
            argument,
            accepted,
            Found(f"NaN or infinity, first in row {row}"),
            remedy="The model may have diverged; try a lower learning rate.",
        )
    sums = array.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if array.min() < 0 or abs(sums[worst] - 1) > ROW_SUM_TOLERANCE:
        found = (
            f"a value of {array.min():.4g}" if array.min() < 0 else f"row {worst} with sum {sums[worst]:.6g}"
        )
        raise invalid(argument, accepted, Found(found), remedy="If these are logits, pass their softmax.")
    return array


def check_class_names(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """Return one name for each class; without `class_names`, its number."""
    if class_names is None:
        return tuple(str(number) for number in range(num_classes))
    accepted = f"{num_classes} names, one for each class"
    names = check_sequence("class_names", accepted, class_names)
    if len(names) != num_classes:
        raise invalid("class_names", accepted, class_names)
    return tuple(str(name) for name in names)


def count_of_names(class_names: Sequence[str] | None) -> int | None:
    """Return how many class names there are; None where none are given."""
    if class_names is None:
        return None
    return len(check_sequence("class_names", "names, one for each class", class_names))


def count_of_classes(argument: str, labels: NDArray[np.int64]) -> int:
    """Return how many classes labels speak of, or raise where one is so high that it is a slip."""
    highest = int(labels.max())
    if highest >= max(MOST_CLASSES, 10 * len(labels)):
        raise invalid(
            argument,
            "class numbers counted from 0 without gaps",
            highest,
            remedy="Renumber them: numpy.unique(labels, return_inverse=True)[1].",
        )
    return highest + 1


def check_normalize(normalize: str | None) -> str | None:
    """Return `normalize`, or raise with the nearest accepted value."""
    if normalize is not None and (not isinstance(normalize, str) or normalize not in NORMALIZE):
        raise invalid("normalize", "None, 'true', 'pred' or 'all'", normalize, candidates=NORMALIZE)
    return normalize
