"""How many test images or seeds a question takes, and what a test set can show, before any training."""

from __future__ import annotations

import math
from typing import Any

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count, finite
from transferzoo.judging.proportions import check_confidence
from transferzoo.judging.variation import Variation, images_for_pairs, images_for_runs, seeds_for_runs

# the share of images that one of two good models alone gets right, where nothing better is known
DISAGREEMENT = 0.1


def images_needed(
    difference: float,
    *,
    disagreement: float = DISAGREEMENT,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int:
    """Test images on which a difference of this size between two trained models would be seen.

    Parameters
    ----------
    difference : float
        Of the two accuracies, a fraction above 0 and up to `disagreement`: 0.01 is one point.
    disagreement : float, default 0.1
        Share of the images that one of the two models alone gets right, in (0, 1].
    confidence : float, default 0.95
        Of the test, between 0 and 1.
    power : float, default 0.8
        The chance to see the difference; from 0.5 to below 1.

    Returns
    -------
    int
        Images, for McNemar's test (mid-p) on one run of each model.

    Raises
    ------
    InvalidInputError
        If a number is out of range.

    References
    ----------
    Connor (1987), Sample size for testing differences in proportions for the paired-sample design,
    Biometrics 43, 207-211.

    Examples
    --------
    >>> images_needed(0.03), images_needed(0.01)
    (870, 7847)
    """
    share = _share("disagreement", disagreement)
    size = _size(difference, share)
    found = images_for_pairs(size, share, alpha=1 - check_confidence(confidence), power=check_power(power))
    assert found is not None
    return found


def smallest_visible_difference(
    images: int,
    *,
    disagreement: float = DISAGREEMENT,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float:
    """Return the smallest difference of two trained models that so many test images would show.

    Parameters
    ----------
    images : int
        Test images, 1 or more.
    disagreement, confidence, power
        As `images_needed` takes them.

    Returns
    -------
    float
        A fraction, up to `disagreement`; NaN where even a difference of that size would not be seen.

    Raises
    ------
    InvalidInputError
        If a number is out of range.

    References
    ----------
    Connor (1987), as `images_needed`.

    Examples
    --------
    >>> round(smallest_visible_difference(359), 3), round(smallest_visible_difference(10_000), 4)
    (0.047, 0.0089)
    """
    images = check_count("images", images, 1)
    share = _share("disagreement", disagreement)
    alpha, power = 1 - check_confidence(confidence), check_power(power)

    def enough(size: float) -> bool:
        needed = images_for_pairs(size, share, alpha=alpha, power=power)
        return needed is not None and needed <= images

    if not enough(share):
        return math.nan
    low, high = 0.0, share
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def seeds_needed(
    difference: float,
    images: int,
    seed_deviation: float,
    *,
    disagreement: float = DISAGREEMENT,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Runs of each model that would show a difference of this size between two recipes.

    Parameters
    ----------
    difference : float
        Of the two mean accuracies, a fraction above 0 and up to `disagreement`.
    images : int
        Test images, 2 or more.
    seed_deviation : float
        Standard deviation of a model's accuracy over seeds, a fraction of 0 or more; 0.003 to 0.01 is
        common.
    disagreement, confidence, power
        As `images_needed` takes them.

    Returns
    -------
    int or None
        2 or more; None where no number up to 1,000 would: the test images are too few.

    Raises
    ------
    InvalidInputError
        If a number is out of range.

    References
    ----------
    Hillis (2007), Stat. Med. 26, 596-619, for the degrees of freedom.

    Examples
    --------
    >>> seeds_needed(0.01, 10_000, 0.003), seeds_needed(0.01, 1_000, 0.003)
    (7, None)
    """
    share = _share("disagreement", disagreement)
    size = _size(difference, share)
    deviation = finite(seed_deviation)
    if deviation is None or not 0 <= deviation < 1:
        raise invalid("seed_deviation", "a fraction from 0 to below 1, such as 0.005", seed_deviation)
    spread = (deviation**2, deviation**2)
    parts = Variation(
        images=check_count("images", images, 2), seeds=(2, 2), image=share, run=spread, residual=(0.0, 0.0)
    )
    return seeds_for_runs(size, parts, alpha=1 - check_confidence(confidence), power=check_power(power))


def needed_for(
    estimate: float, discordant: float, parts: Variation | None, *, alpha: float, power: float
) -> tuple[int | None, int | None]:
    """Return the images, and the seeds of each model, that would settle a difference of this size."""
    if parts is None:
        return images_for_pairs(estimate, discordant, alpha=alpha, power=power), None
    images = images_for_runs(estimate, parts, alpha=alpha, power=power)
    return images, seeds_for_runs(estimate, parts, alpha=alpha, power=power)


def check_power(value: Any) -> float:
    """Return an argument `power`, or raise."""
    number = finite(value)
    if number is None or not 0.5 <= number < 1:
        raise invalid("power", "a number from 0.5 to below 1, such as 0.8", value)
    return number


def check_rope(value: Any) -> float:
    """Return an argument `rope`, the half-width of what counts as no difference, or raise."""
    number = finite(value)
    if number is None or not 0 <= number < 1:
        raise invalid("rope", "a fraction from 0 to below 1, such as 0.005 for half a point", value)
    return number


def _share(argument: str, value: Any) -> float:
    number = finite(value)
    if number is None or not 0 < number <= 1:
        raise invalid(argument, "a fraction above 0 and up to 1, such as 0.1", value)
    return number


def _size(difference: Any, most: float) -> float:
    number = finite(difference)
    if number is None or not 0 < number <= most:
        raise invalid(
            "difference",
            f"a fraction above 0 and up to disagreement, {most:g}",
            difference,
            remedy="Two models cannot differ by more than the share of images that they disagree on.",
        )
    return number
