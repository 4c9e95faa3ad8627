"""Images, labels and class names as a person passes them, brought into one form or refused with a way out."""

from __future__ import annotations

import contextlib
import logging
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.errors import InvalidInputError, invalid, listing, printable

logger = logging.getLogger("transferzoo")

BLOCK = 256
PIXELS = "pixels from 0 to 255"
# in float images: what a bicubic or Lanczos resize adds at most
OVERSHOOT = 30
# a share of whole-number images that use 0 and 1 alone, from which they are no night pictures
MIXED = 0.1
# the brightest pixel of a set that is on 0 to 255 is brighter
DIM = 64
FEW_VALUES = 16
FEW_SHARE = 0.005
LABELS = "whole-number labels of shape (n,) counted from 0, or class names"
IMAGES = "images of shape (n, height, width, channels) with 1 or 3 channels"


def image_array(argument: str, value: Any) -> np.ndarray:
    """Return images with a channel axis, their pixels not looked at yet."""
    x = _as_array(argument, value, IMAGES)
    if x.dtype.kind in "USO" and x.ndim == 1 and isinstance(x.flat[0], str | bytes | Path):
        raise invalid(
            argument,
            f"whole numbers or floats, {IMAGES}",
            printable(x.flat[0]),
            remedy="These look like paths: tz.from_table({'image': paths, 'label': labels}) reads them with "
            "their labels, tz.read_images(paths, 96) reads them alone.",
        )
    if x.dtype.kind == "O":
        # an array of arrays of one shape is what a data frame's column makes of images
        with contextlib.suppress(ValueError, TypeError):
            x = np.stack([np.asarray(each) for each in x])
    if x.dtype.kind == "O":
        raise invalid(argument, IMAGES, _ragged(value), remedy=_same_size(argument, IMAGES))
    if x.dtype.kind not in "iuf":
        remedy = (
            f"Pass {argument} * 255." if x.dtype.kind == "b" else "Pass one array of numbers from 0 to 255."
        )
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
    """Raise unless each image has pixels from 0 to 255; return whether all are whole numbers."""
    check = PixelCheck(argument)
    # in blocks: a check must not need as much memory again as the images
    for start in range(0, len(x), BLOCK):
        check.add(x[start : start + BLOCK])
    return check.finish()


class PixelCheck:
    """Looks at images block by block, and judges each image by its own values.

    Parameters
    ----------
    argument : str
        What the images are called in an error.
    code : str, optional
        What they are called in the code that an error suggests. Default: `argument`.
    """

    def __init__(self, argument: str, code: str | None = None) -> None:
        self.argument = argument
        self.code = code or argument
        self._lows: list[np.ndarray] = []
        self._highs: list[np.ndarray] = []
        self._wholes: list[np.ndarray] = []
        self._count = 0
        self._float = False
        self._bits = 0

    def add(self, block: np.ndarray) -> None:
        """Look at images of shape (n, height, width, channels); raise where a pixel is no number."""
        axes = (1, 2, 3)
        if block.dtype.kind == "f":
            finite = np.isfinite(block).all(axis=axes)
            if not finite.all():
                first = int(np.argmin(finite))
                bad = block[first][~np.isfinite(block[first])][0]
                raise invalid(
                    self.argument,
                    "free of NaN and infinite pixels",
                    float(bad),
                    remedy=f"The first is in {self.code}[{self._count + first}]; drop such images or "
                    "repair them.",
                )
            self._float = True
            self._wholes.append((block == np.rint(block)).all(axis=axes))
        else:
            self._bits = max(self._bits, block.dtype.itemsize * 8)
            self._wholes.append(np.ones(len(block), bool))
        self._lows.append(block.min(axis=axes).astype("float64"))
        self._highs.append(block.max(axis=axes).astype("float64"))
        self._count += len(block)

    def finish(self) -> bool:
        """Raise for images on another scale than 0 to 255; warn about doubtful ones.

        Returns
        -------
        bool
            Whether all pixels are whole numbers.
        """
        lows, highs, wholes = map(np.concatenate, (self._lows, self._highs, self._wholes))
        low, high = float(lows.min()), float(highs.max())
        if low >= -1 and high <= 1 and (high > 0 or self._float):
            raise self._scaled(low, high)
        if low < 0 or high > 255:
            raise invalid(self.argument, PIXELS, _Span(low, high), remedy=self._other_range(low, high))
        dark = (highs <= 1) & (highs > lows)
        mixed = dark & ~wholes if (dark & ~wholes).any() else dark
        if (mixed & ~wholes).any() or mixed.mean() >= MIXED:
            raise self._mixed(mixed, lows, highs)
        self._warn(lows, highs, high)
        return bool(wholes.all())

    def _scaled(self, low: float, high: float) -> InvalidInputError:
        name = self.code
        if not self._float:
            return invalid(
                self.argument,
                PIXELS,
                _Span(low, high),
                remedy=f"If the images are black and white, pass {name} * 255. If they were divided by "
                "255 and rounded, their content is lost: load them again.",
            )
        mend = f"{name} * 255" if low >= 0 else f"({name} + 1) * 127.5"
        return invalid(
            self.argument,
            PIXELS,
            _Span(low, high),
            remedy=f"These look scaled already; pass {mend}. A model from tz.build scales pixels itself. A "
            "model of your own that was trained on scaled pixels needs a layer in front of it: "
            f"{_rescaling(low)}.",
        )

    def _other_range(self, low: float, high: float) -> str:
        name = self.code
        if low >= -OVERSHOOT and high <= 255 + OVERSHOOT:
            return f"Resizing can overshoot; np.clip({name}, 0, 255) cuts that off."
        if low >= 0 and not self._float and high <= 65_535:
            for bits in (10, 12, 14):
                if high < 2**bits:
                    return (
                        f"These look like images of {bits} bits; pass ({name} // {2 ** (bits - 8)})"
                        ".astype('uint8')."
                    )
            return f"These look like images of 16 bits; pass ({name} // 257).astype('uint8')."
        return "Pass the images as they were before any scaling or standardising."

    def _mixed(self, mixed: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> InvalidInputError:
        first = int(np.argmax(mixed))
        name = self.code
        return invalid(
            self.argument,
            f"images that all have {PIXELS}",
            _Words(
                f"{int(mixed.sum())} of {len(mixed)} images from 0 to 1, and others up to "
                f"{_digits(float(highs.max()))}"
            ),
            remedy=f"The first is {name}[{first}], from {_digits(lows[first])} to "
            f"{_digits(highs[first])}. Some readers scale PNG files and leave JPEG files; tz.read_images "
            f"reads both alike. Or scale those images: {name}[{name}.max(axis=(1, 2, 3)) <= 1] *= 255.",
        )

    def _warn(self, lows: np.ndarray, highs: np.ndarray, high: float) -> None:
        if high < DIM:
            factor = 255 / high if high else 1.0
            logger.warning(
                "%s: the brightest pixel of all images is %s of 255. If the images are on a scale from 0 "
                "to %s, multiply them by %.4g",
                self.argument,
                _digits(high),
                _digits(high),
                factor,
            )
            return
        few = (highs - lows) <= FEW_VALUES
        if few.sum() >= max(1, FEW_SHARE * len(few)):
            first = int(np.argmax(few))
            logger.warning(
                "%s: %d of %d images use only a few of the 256 pixel values, such as %s[%d], from %s to %s; "
                "they may be empty, or on another scale",
                self.argument,
                int(few.sum()),
                len(few),
                self.argument,
                first,
                _digits(lows[first]),
                _digits(highs[first]),
            )


class _Words:
    """Stands in an error as it is, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Span(_Words):
    """A range of values in an error."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(f"{_digits(low)} to {_digits(high)}")


def _digits(number: float) -> str:
    """Return a number with as many digits as tell it from its neighbours: 255.00001 is not 255."""
    return f"{float(number):.10g}"


def _rescaling(low: float) -> str:
    arguments = "1 / 255" if low >= 0 else "1 / 127.5, offset=-1"
    return f"keras.Sequential([keras.Input(shape), keras.layers.Rescaling({arguments}), your_model])"


def number_labels(
    labels: Mapping[str, Any], class_names: Any
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """Return labels as int64 and the names in label order; names are None where none are given.

    Labels that are text are matched with `class_names` by name; without it the names are sorted by code
    points.

    Parameters
    ----------
    labels : mapping of str to array
        By argument, such as ``"y_train"``.
    class_names : as the user gave it
    """
    order = class_order(class_names)
    raw = {argument: _as_labels(argument, value) for argument, value in labels.items()}
    texts = [argument for argument, y in raw.items() if y.dtype.kind in "USO"]
    if not texts:
        return {argument: label_array(argument, y) for argument, y in raw.items()}, order
    if len(texts) < len(raw):
        other = next(argument for argument in raw if argument not in texts)
        raise invalid(other, f"names of classes, as {texts[0]} is", f"labels of dtype {raw[other].dtype}")
    named = {argument: text_labels(argument, y) for argument, y in raw.items()}
    if order is None:
        order = tuple(sorted(set(next(iter(named.values())))))
    numbers = {name: label for label, name in enumerate(order)}
    for argument, names in named.items():
        unknown = sorted({name for name in names if name not in numbers})
        if unknown:
            raise invalid(argument, f"labels among {listing(order)}", unknown[0], candidates=order)
    return {
        argument: np.array([numbers[name] for name in names], np.int64) for argument, names in named.items()
    }, order


def _as_labels(argument: str, value: Any) -> np.ndarray:
    y = _as_array(argument, value, LABELS)
    return y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y


def text_labels(argument: str, y: np.ndarray) -> list[str]:
    """Return labels that are names, in one Unicode form."""
    if y.ndim != 1:
        raise invalid(argument, LABELS, y.shape)
    found = []
    for place, each in enumerate(y.tolist()):
        text = each.decode("utf-8", "replace") if isinstance(each, bytes) else each
        if not isinstance(text, str) or not text.strip():
            raise invalid(
                argument, "whole numbers, or names that are not empty", each, remedy=f"It is label {place}."
            )
        found.append(normal_name(text))
    return found


def normal_name(name: str) -> str:
    """Return a class name in one Unicode form (NFC), so that names that look alike are alike.

    The name of a folder may hold bytes that are no UTF-8; they are then read as Windows-1252 or Latin-1.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        try:
            name = raw.decode("cp1252")
        except UnicodeDecodeError:
            name = raw.decode("latin-1")
    return unicodedata.normalize("NFC", name)


def label_array(argument: str, value: Any) -> np.ndarray:
    """Return labels as int64 of shape (n,)."""
    y = _as_labels(argument, value)
    if y.ndim == 2:
        raise invalid(
            argument,
            LABELS,
            y.shape,
            remedy=f"These look one-hot encoded; pass {argument}.argmax(axis=1).",
        )
    if y.ndim != 1:
        raise invalid(argument, LABELS, y.shape)
    if y.dtype.kind == "f":
        remedy = f"If they are whole numbers, pass {argument}.astype('int64')."
        raise invalid(argument, LABELS, f"dtype {y.dtype}", remedy=remedy)
    if y.dtype.kind not in "iub":
        raise invalid(argument, LABELS, f"dtype {y.dtype}")
    if y.dtype.kind == "i" and y.min() < 0:
        raise invalid(argument, LABELS, int(y.min()), remedy=_renumber(argument))
    return y.astype(np.int64, copy=False)


def class_order(class_names: Any) -> tuple[str, ...] | None:
    """Return class names in label order, whatever form they are given in; None for None.

    Parameters
    ----------
    class_names : iterable of str or int, or mapping, or None
        In label order; or ``{name: label}``, as Keras' ``class_indices``; or ``{label: name}``.

    Raises
    ------
    InvalidInputError
        For what has no order, and for a mapping whose labels are not 0, 1, 2, ….
    """
    if class_names is None:
        return None
    accepted = "a list of names in label order, or a mapping of names to labels"
    if isinstance(class_names, Set) and not isinstance(class_names, _KEYS):
        raise invalid(
            "class_names",
            accepted,
            class_names,
            remedy="A set has no order, so names could meet the wrong labels. Pass a list: "
            "sorted(class_names), if the labels follow the alphabet.",
        )
    if isinstance(class_names, Mapping):
        class_names = _ordered(class_names, accepted)
    if isinstance(class_names, str | bytes) or not isinstance(class_names, Iterable):
        raise invalid("class_names", accepted, class_names)
    names = []
    for name in class_names:
        text = str(name) if isinstance(name, int | np.integer) and not isinstance(name, bool) else name
        if not isinstance(text, str) or not text.strip():
            raise invalid("class_names", "names that are strings and not empty", name)
        names.append(normal_name(text))
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise invalid("class_names", "different from one another", doubles)
    return tuple(names)


_KEYS: tuple[type, ...] = (type(dict[str, int]().keys()),)


def _ordered(names: Mapping[Any, Any], accepted: str) -> list[Any]:
    """Return the names of ``{name: label}`` or ``{label: name}`` in label order."""

    def label(value: Any) -> int | None:
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        return int(value) if whole else None

    pairs = [(label(value), key) for key, value in names.items() if not isinstance(value, str)]
    if len(pairs) < len(names):
        pairs = [(label(key), value) for key, value in names.items()]
    if sorted(number for number, _ in pairs if number is not None) != list(range(len(names))):
        raise invalid(
            "class_names",
            accepted,
            dict(names),
            remedy="A mapping must have each label from 0 on once: {'cat': 0, 'dog': 1}.",
        )
    return [name for _, name in sorted(pairs, key=lambda pair: pair[0] or 0)]


def _as_array(argument: str, value: Any, what: str) -> np.ndarray:
    if value is None or isinstance(value, Iterator | Set | Mapping):
        raise invalid(argument, what, value, remedy="Pass an array, or a list of arrays.")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise invalid(argument, what, "masked values", remedy="Fill them: array.filled(…).")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise invalid(argument, what, _ragged(value), remedy=_same_size(argument, what)) from error
    if array.size == 0:
        raise invalid(argument, f"{what}, at least one", array.shape)
    return array


def name_classes(class_names: Any, labels: Mapping[str, np.ndarray] | None) -> tuple[str, ...]:
    """Return checked names; numbers for names where none are given."""
    highest = max((int(y.max()) for y in labels.values()), default=0) if labels else 0
    names = class_order(class_names)
    if names is None:
        # A slip such as a label of a million must not become a million names.
        if labels and highest > 10 * sum(len(y) for y in labels.values()):
            raise invalid(
                "y_train", "labels counted from 0 without gaps", highest, remedy=_renumber("y_train")
            )
        return tuple(str(label) for label in range(highest + 1))
    if len(names) <= highest:
        raise invalid(
            "class_names",
            f"{highest + 1} names or more, as the labels go from 0 to {highest}",
            f"{len(names)} names",
            remedy=f"If the labels are counted from 1, pass y - 1, with {len(names)} names."
            if len(names) == highest
            else "",
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
            f"{seen}Add images, or leave the class out: {_renumber('y_train')}",
            argument="y_train",
            value=absent,
            accepted="labels with at least one image of each class",
        )


def _renumber(argument: str) -> str:
    return (
        f"names, {argument} = np.unique({argument}, return_inverse=True) numbers the classes from 0; pass "
        "class_names=names with them."
    )


def _ragged(value: Any) -> _Words:
    """Say of what shapes the parts of a list are."""
    try:
        shapes = sorted({tuple(np.shape(part)) for part in value})
    except (TypeError, ValueError):
        return _Words(type(value).__name__)
    shown = ", ".join(map(str, shapes[:3])) + (", …" if len(shapes) > 3 else "")
    return _Words(f"a {type(value).__name__} of parts of several shapes: {shown}")


def _same_size(argument: str, what: str) -> str:
    if what == LABELS:
        return "Pass one label for each image."
    return (
        f"Resize them to one size first: {argument} = np.stack([np.asarray(PIL.Image.fromarray(image)"
        f".resize((96, 96))) for image in {argument}]); or pass the files to tz.read_images."
    )
