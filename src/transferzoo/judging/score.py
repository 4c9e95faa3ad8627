"""Tango's score interval: a paired difference of accuracies, sound where the runs hardly disagree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.judging.proportions import Interval, check_confidence, check_pair
from transferzoo.judging.variation import normal_quantile


def tango_interval(correct_a: ArrayLike, correct_b: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Score interval for the difference of two accuracies on the same images.

    It holds all differences that a score test does not reject. Where both runs are right on the same images
    it has a width, unlike a bootstrap's: on n images it reaches from ``-z² / (n + z²)`` to ``z² / (n + z²)``.

    Parameters
    ----------
    correct_a, correct_b : array of bool, shape (n,)
        Whether each image was classified rightly.
    confidence : float, default 0.95
        Between 0 and 1.

    Returns
    -------
    Interval
        Of accuracy `a` minus accuracy `b`, fractions in ``[-1, 1]``.

    Raises
    ------
    InvalidInputError
        If the arrays are not of one length, or not of bool.

    References
    ----------
    Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Stat. Med. 17, 891-908.

    Examples
    --------
    >>> right = np.arange(100) % 10 != 0
    >>> interval = tango_interval(right, right)
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.037, 0.037)
    """
    a, b = check_pair(correct_a, correct_b)
    n, only_a, only_b = a.size, int((a & ~b).sum()), int((b & ~a).sum())
    confidence = check_confidence(confidence)
    low, high = tango_bounds(only_a, only_b, n, confidence=confidence)
    return Interval(estimate=(only_a - only_b) / n, low=low, high=high, confidence=confidence)


def bounds_of_means(
    a: NDArray[np.bool_], b: NDArray[np.bool_], units: NDArray[Any] | None, confidence: float
) -> tuple[float, float]:
    """Return Tango's bounds of the runs' means, on as many images as there are independent units."""
    change = a.mean(axis=0) - b.mean(axis=0)
    n = a.shape[1]
    share = 1.0 if units is None else len(np.unique(units)) / n
    only_a, only_b = float(change[change > 0].sum()), float(-change[change < 0].sum())
    return tango_bounds(share * only_a, share * only_b, share * n, confidence=confidence)


def tango_bounds(only_a: float, only_b: float, n: float, *, confidence: float) -> tuple[float, float]:
    """Return Tango's bounds from the images that one run alone got right, of `n`."""
    quantile = normal_quantile(1 - (1 - confidence) / 2)
    estimate = (only_a - only_b) / n

    def bound(outer: float, reach: float) -> float:
        # the statistic falls as the difference rises
        low, high = (outer, estimate) if reach > 0 else (estimate, outer)
        for _ in range(80):
            middle = (low + high) / 2
            if _score(middle, only_a, only_b, n) > reach:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    return bound(-1.0, quantile), bound(1.0, -quantile)


def _score(difference: float, only_a: float, only_b: float, n: float) -> float:
    """Return the score statistic of a difference, with the nuisance share at its constrained estimate."""
    b = -only_a - only_b + (2 * n - only_a + only_b) * difference
    c = -only_b * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    distance = only_a - only_b - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return float(distance / np.sqrt(variance))
