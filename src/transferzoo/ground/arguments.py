"""Checks of arguments that many calls share: whole numbers and numbers, of Python's or NumPy's types."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid


def whole(value: Any) -> int | None:
    """Return a whole number of any type as an int, and None for all else, truth values included.

    Examples
    --------
    >>> import numpy as np
    >>> whole(np.int64(3)), whole(True), whole(np.True_), whole(3.0), whole("3")
    (3, None, None, None, None)
    """
    # NumPy's truth values are called bool or bool_, by version
    if type(value).__name__ in ("bool", "bool_"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def finite(value: Any) -> float | None:
    """Return a finite number of any type as a float, and None for all else, truth values included.

    Examples
    --------
    >>> import numpy as np
    >>> finite(np.float32(0.5)), finite(3), finite(True), finite(float("nan")), finite("3")
    (0.5, 3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    return float(value) if math.isfinite(value) else None


# beyond, a count is a slip: no memory holds so much of anything
LARGEST = 2**31 - 1
LARGEST_SEED = 2**32 - 1
# of an image: a square one has a gigabyte of floats
LARGEST_SIDE = 8_192


def check_count(argument: str, value: Any, minimum: int, remedy: str = "", *, most: int = LARGEST) -> int:
    """Return `value` as an int from `minimum` to `most`, or raise.

    Raises
    ------
    InvalidInputError
    """
    number = whole(value)
    if number is None or number < minimum:
        raise invalid(argument, f"a whole number of {minimum} or more", value, remedy=remedy)
    if number > most:
        raise invalid(argument, f"a whole number from {minimum} to {most:,}", value, remedy=remedy)
    return number


def check_seed(value: Any, argument: str = "seed") -> int:
    """Return a seed as an int from 0 to 2**32 - 1, which every random generator here takes, or raise."""
    return check_count(argument, value, 0, most=LARGEST_SEED)


def check_seeds(value: Any) -> list[int]:
    """Return seeds as a list of ints, each once, or raise."""
    numbers = [
        check_seed(number, "seeds")
        for number in check_sequence("seeds", "a sequence of whole numbers, such as (0, 1, 2)", value)
    ]
    if not numbers or len(set(numbers)) < len(numbers):
        raise invalid("seeds", "one or more whole numbers, each once", numbers)
    return numbers


def check_flag(argument: str, value: Any) -> bool:
    """Return True or False, of Python's or NumPy's type, or raise: text such as "no" would count as True."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise invalid(argument, "True or False", value)
    return bool(value)


def check_sequence(argument: str, accepted: str, value: Any) -> tuple[Any, ...]:
    """Return the entries of a list, tuple or array, or raise: a set has no order, a generator one use."""
    if not isinstance(value, list | tuple | range) and type(value).__name__ != "ndarray":
        raise invalid(argument, accepted, value)
    return tuple(value)


def check_array(argument: str, value: Any, accepted: str, remedy: str = "") -> NDArray[Any]:
    """Return numbers or truth values as an array, or raise; nothing that is dropped in silence is taken.

    Raises
    ------
    InvalidInputError
        For rows of unequal length, text, complex numbers, sets, generators, and arrays with masked values.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise invalid(argument, accepted, Described("masked values"), remedy="Fill them: array.filled(…).")
    if value is None or isinstance(value, str | bytes | Set | Mapping | Iterator):
        raise invalid(argument, accepted, value, remedy=remedy)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise invalid(argument, accepted, Described("rows of unequal length"), remedy=remedy) from None
    if array.dtype.kind not in "buif":
        # an extension such as bfloat16 calls itself void, and converts
        if array.dtype.kind == "V" and array.dtype.names is None and "float" in array.dtype.name:
            return array.astype(np.float64)
        found = value if array.ndim == 0 else Described(f"dtype {array.dtype}")
        raise invalid(argument, accepted, found, remedy=remedy)
    return array


class Described:
    """Words that an error shows where it would show a value's repr."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def check_mapping(argument: str, value: Any, accepted: str = "a mapping of names to values") -> None:
    """Raise unless `value` is a mapping whose keys are text."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise invalid(argument, accepted, value)


def check_choice(argument: str, value: Any, choices: Collection[Any]) -> None:
    """Raise unless `value` is one of a few names, with the nearest one."""
    # a list cannot be looked up in a set, and an array is equal to nothing as a whole
    if not isinstance(value, str | None) or value not in choices:
        names = [choice for choice in choices if isinstance(choice, str)]
        raise invalid(argument, " or ".join(map(repr, choices)), value, candidates=names)
