"""Class weights and balanced sampling: what a recipe does about classes with few images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_mapping, finite
from transferzoo.ground.frozen import FrozenMap

CLASS_WEIGHT = "'balanced', a mapping of class names to numbers above 0, or None"
SAMPLINGS = ("as_is", "balanced")


def check_class_weight(value: Any) -> str | FrozenMap | None:
    """Return an argument `class_weight`, or raise."""
    if value is None or value == "balanced":
        return None if value is None else "balanced"
    if isinstance(value, str) or not isinstance(value, Mapping):
        raise invalid("class_weight", CLASS_WEIGHT, value, candidates=["balanced"])
    check_mapping("class_weight", value, CLASS_WEIGHT)
    weights = {}
    for name, weight in value.items():
        number = finite(weight)
        if number is None or number <= 0:
            raise invalid(f"class_weight[{name!r}]", "a number above 0", weight)
        weights[name] = number
    return FrozenMap(weights)


def refuse_unknown_classes(class_weight: Any, class_names: Sequence[str]) -> None:
    """Raise where a weight is given for a class that the dataset does not have."""
    if not isinstance(class_weight, Mapping):
        return
    for name in class_weight:
        if name not in class_names:
            raise invalid(
                "class_weight", "a mapping of the dataset's class names", name, candidates=class_names
            )


def class_weights(class_weight: Any, y: np.ndarray, class_names: Sequence[str]) -> np.ndarray | None:
    """Return the weight of each class in the loss, float64, shape (k,), or None where all weigh the same.

    ``"balanced"`` gives class c the weight ``n / (k * n_c)`` for its n_c of n training images, so that all k
    classes weigh the same in all, and the mean over the images is 1 (King and Zeng 2001, Political Analysis
    9, 137-163; scikit-learn's rule of the same name). A mapping gives its numbers, and 1 for other classes.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, Mapping):
        return np.array([float(class_weight.get(name, 1.0)) for name in class_names])
    counts = np.bincount(y, minlength=len(class_names))
    present = counts > 0
    return np.where(present, len(y) / (present.sum() * np.maximum(counts, 1)), 1.0)
