"""Images, labels and class names as a person passes them, brought into one form or refused with a way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from transferzoo.errors import InvalidInputError, invalid, listing

BLOCK = 256
IMAGES = "images of shape (n, height, width, channels) with 1 or 3 channels"


def image_array(argument: str, value: Any) -> np.ndarray:
    """Return images with a channel axis, their pixels not looked at yet."""
    x = _as_array(argument, value, IMAGES)
    if x.dtype.kind not in "iuf":
        remedy = "Multiply by 255." if x.dtype.kind == "b" else "Pass one array of numbers from 0 to 255."
        raise invalid(argument, f"whole numbers or floats, {IMAGES}", str(x.dtype), remedy=remedy)
    if x.ndim == 3 and x.shape[-1] in (1, 3, 4):
        raise invalid(
            argument,
            IMAGES,
            x.shape,
            remedy=f"This looks like a single image; {argument}[None] makes it a set.",
        )
    if x.ndim == 3:
        return x[..., None]
    if x.ndim != 4:
        remedy = ""
        if x.ndim == 2:
            remedy = f"These look flattened; pass {argument}.reshape(-1, height, width, channels)."
        raise invalid(argument, IMAGES, x.shape, remedy=remedy)
    if x.shape[-1] in (1, 3):
        return x
    if x.shape[1] in (1, 3):
        remedy = f"The channels come first here; pass np.transpose({argument}, (0, 2, 3, 1))."
    elif x.shape[-1] == 4:
        remedy = f"The fourth channel is transparency; {argument}[..., :3] leaves it out."
    elif x.shape[-1] == 2:
        remedy = f"The second channel looks like transparency; {argument}[..., :1] leaves it out."
    else:
        remedy = "Choose three of the channels, or average them to one."
    raise invalid(argument, IMAGES, x.shape, remedy=remedy)


def check_pixels(argument: str, x: np.ndarray) -> bool:
    """Raise unless all pixels lie in 0 to 255; return whether all are whole numbers."""
    if x.dtype == np.uint8:
        return True
    low, high, whole = np.inf, -np.inf, True
    # In blocks: a check must not need as much memory again as the images.
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        if x.dtype.kind == "f":
            finite = np.isfinite(block).all(axis=(1, 2, 3))
            if not finite.all():
                first = start + int(np.argmin(finite))
                bad = x[first][~np.isfinite(x[first])][0]
                raise invalid(
                    argument,
                    "free of NaN and infinite pixels",
                    float(bad),
                    remedy=f"The first is in {argument}[{first}]; drop such images or mend them.",
                )
            whole = whole and bool((block == np.rint(block)).all())
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    got = f"{low:g} to {high:g}"
    if x.dtype.kind == "f" and low >= -1 and high <= 1:
        mend = f"{argument} * 255" if low >= 0 else f"({argument} + 1) * 127.5"
        raise invalid(
            argument,
            "pixels from 0 to 255",
            got,
            remedy=f"These look scaled already; pass {mend}, as scaling is the model's first step.",
        )
    if low < 0 or high > 255:
        raise invalid(
            argument,
            "pixels from 0 to 255",
            got,
            remedy="Pass the images as they were before any scaling or standardising.",
        )
    return whole


def label_array(argument: str, value: Any) -> np.ndarray:
    """Return labels as int64 of shape (n,)."""
    what = "whole-number labels of shape (n,), counted from 0"
    y = _as_array(argument, value, what)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.reshape(-1)
    if y.ndim == 2:
        raise invalid(
            argument,
            what,
            y.shape,
            remedy=f"These look one-hot encoded; pass {argument}.argmax(axis=1).",
        )
    if y.ndim != 1:
        raise invalid(argument, what, y.shape)
    if y.dtype.kind in "USO":
        raise invalid(
            argument,
            what,
            str(y.flat[0]),
            remedy=f"class_names, {argument} = np.unique({argument}, return_inverse=True) numbers them.",
        )
    if y.dtype.kind == "f":
        remedy = f"If they are whole numbers, pass {argument}.astype('int64')."
        raise invalid(argument, what, f"dtype {y.dtype}", remedy=remedy)
    if y.dtype.kind not in "iub":
        raise invalid(argument, what, f"dtype {y.dtype}")
    if y.dtype.kind == "i" and y.min() < 0:
        raise invalid(argument, what, int(y.min()), remedy="Number the classes 0, 1, 2, ….")
    return y.astype(np.int64, copy=False)


def _as_array(argument: str, value: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise invalid(argument, what, type(value).__name__, remedy=f"numpy says: {error}.") from error
    if array.size == 0:
        raise invalid(argument, f"{what}, at least one", array.shape)
    return array


def name_classes(
    class_names: Iterable[str] | None, labels: Mapping[str, np.ndarray] | None
) -> tuple[str, ...]:
    """Return checked names; numbers for names where none are given."""
    highest = max((int(y.max()) for y in labels.values()), default=0) if labels else 0
    if class_names is None:
        # A slip such as a label of a million must not become a million names.
        if labels and highest > 10 * sum(len(y) for y in labels.values()):
            raise invalid("y_train", "labels counted from 0 without gaps", highest, remedy=_renumber())
        return tuple(str(label) for label in range(highest + 1))
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise invalid("class_names", "a list of names, one for each label", class_names)
    names = tuple(class_names)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise invalid("class_names", "names that are strings and not empty", name)
    names = tuple(str(name) for name in names)
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise invalid("class_names", "different from one another", doubles)
    if len(names) <= highest:
        raise invalid(
            "class_names",
            f"{highest + 1} names or more, as the labels go from 0 to {highest}",
            f"{len(names)} names",
        )
    if len(names) < 2:
        raise invalid("class_names", "at least two names", list(names))
    return names


def check_classes(labels: Mapping[str, np.ndarray], names: tuple[str, ...]) -> None:
    """Raise where training has a single class, or lacks one that is named or tested."""
    counts = np.bincount(labels["train"], minlength=len(names))
    if np.count_nonzero(counts) < 2:
        only = names[int(labels["train"][0])]
        raise InvalidInputError(
            f"y_train must be of two classes or more. Got only class '{only}', {len(labels['train'])} times. "
            "Add images of another class.",
            argument="y_train",
            value=only,
            accepted="of two classes or more",
        )
    absent = [names[label] for label in np.flatnonzero(counts == 0)]
    if absent:
        where = [f"y_{s}" for s, y in labels.items() if s != "train" and (counts[np.unique(y)] == 0).any()]
        seen = f"Labels of such a class are in {' and '.join(where)}. " if where else ""
        raise InvalidInputError(
            f"y_train must be labels with at least one image of each class. Got none of {listing(absent)}. "
            f"{seen}Add images, or leave the class out: {_renumber()}",
            argument="y_train",
            value=absent,
            accepted="labels with at least one image of each class",
        )


def _renumber() -> str:
    return "names, y = np.unique(y, return_inverse=True) numbers the classes anew."
