"""Differences and counts in words."""

from __future__ import annotations


def points_in_words(size: float, low: float, high: float) -> tuple[str, str]:
    """Return a difference and its bounds in words; a bound that is not 0 is not written as 0.0."""
    digits = 2 if any(0 < abs(value) < 0.0005 for value in (size, low, high)) else 1
    # adding 0.0 makes a rounded -0.0 a plain 0.0
    words = [f"{round(100 * value, digits) + 0.0:.{digits}f}" for value in (size, low, high)]
    return f"{words[0]} points", f"{words[1]} to {words[2]}"


def about(count: int) -> str:
    """Return a count to two digits, rounded up: what it rests on is no more exact."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return f"{-(-count // unit) * unit:,}"
