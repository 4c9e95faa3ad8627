"""Checks of arguments that many calls share: whole numbers and numbers, of Python's or NumPy's types."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

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


def check_count(argument: str, value: Any, minimum: int, remedy: str = "") -> int:
    """Return `value` as an int of at least `minimum`, or raise.

    Raises
    ------
    InvalidInputError
    """
    number = whole(value)
    if number is None or number < minimum:
        raise invalid(argument, f"a whole number of {minimum} or more", value, remedy=remedy)
    return number
