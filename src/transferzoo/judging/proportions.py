"""Right and wrong, counted: intervals and tests for one run, or for two on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array, check_count, check_flag, check_seed, finite
from transferzoo.judging.prediction_checks import Found
from transferzoo.judging.variation import normal_quantile

# numpy draws one count of a multinomial in the time of some 20 images drawn one by one
IMAGES_IN_THE_TIME_OF_A_KIND = 20
BLOCK = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its interval.

    Parameters
    ----------
    estimate, low, high : float
        Fractions; a difference lies in ``[-1, 1]``.
    confidence : float
        Of the interval, in ``(0, 1)``.
    """

    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """What `mcnemar` found.

    Parameters
    ----------
    only_a, only_b : int
        Images that one run alone got right.
    p_value : float
        Two-sided.
    """

    only_a: int
    only_b: int
    p_value: float


def wilson_interval(successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> NDArray[np.float64]:
    """Interval for a proportion, sound near 0 and 1 too.

    Parameters
    ----------
    successes : int or array of int, shape (k,)
        Correct predictions, each in ``[0, n]``.
    n : int or array of int, shape (k,)
        Images, 1 or more.
    confidence : float, default 0.95

    Returns
    -------
    ndarray of float64, shape (2,) or (k, 2)
        Lower and upper bound, fractions in ``[0, 1]``.

    Raises
    ------
    InvalidInputError
        If a count is negative or above `n`, or `confidence` is not between 0 and 1.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc.
    22, 209-212.

    Examples
    --------
    >>> wilson_interval(8100, 10_000).round(4)
    array([0.8022, 0.8176])
    """
    hits, total = (
        check_array(argument, value, "counts").astype(np.float64)
        for argument, value in (("successes", successes), ("n", n))
    )
    if not (np.isfinite(total) & (total >= 1) & (total % 1 == 0)).all():
        raise invalid("n", "a whole number of 1 or more", n)
    if total.ndim and total.shape != hits.shape:
        raise invalid("n", "one number, or one for each of successes", n)
    if not ((hits >= 0) & (hits <= total) & (hits % 1 == 0)).all():
        raise invalid("successes", "counts from 0 to n", successes)
    quantile = normal_quantile(1 - (1 - check_confidence(confidence)) / 2)
    return wilson_bounds(hits / total, total, quantile)


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, *, exact: bool = False) -> McNemar:
    """McNemar test of two runs being equally accurate on the same images.

    Images that both got right, or both wrong, say nothing. Of the others each run should have about half:
    the p-value is that of a fair coin (binomial, two-sided). The mid-p value counts the outcome that was seen
    half: the exact test rejects true hypotheses less often than it may, and so misses differences.

    Parameters
    ----------
    correct_a, correct_b : array of bool, shape (n,)
        Whether each image was classified rightly.
    exact : bool, default False
        Whether to give the exact p-value in place of the mid-p value.

    Returns
    -------
    McNemar

    Raises
    ------
    InvalidInputError
        If the arrays are not of one length, or not of bool.

    References
    ----------
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12, 153-157. Fagerland, Lydersen, Laake (2013), The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional, BMC Med. Res. Methodol. 13:91.

    Examples
    --------
    >>> a, b = [True] * 9 + [False], [False] * 6 + [True] * 4
    >>> found = mcnemar(a, b)
    >>> found.only_a, found.only_b, round(found.p_value, 4)
    (6, 1, 0.0703)
    >>> mcnemar(a, b, exact=True).p_value
    0.125
    """
    from scipy.stats import binom

    exact = check_flag("exact", exact)
    a, b = check_pair(correct_a, correct_b)
    if a.ndim != 1 or b.ndim != 1:
        raise invalid("correct_a", "of one run, shape (n,); tz.statistics.difference takes several", a.shape)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    total = only_a + only_b
    fewer = min(only_a, only_b)
    p_value = min(1.0, 2 * float(binom.cdf(fewer, total, 0.5))) if total else 1.0
    if total and not exact:
        seen = float(binom.pmf(fewer, total, 0.5))
        p_value = 1 - seen / 2 if only_a == only_b else p_value - seen
    return McNemar(only_a=only_a, only_b=only_b, p_value=p_value)


def paired_bootstrap(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the difference of two accuracies on the same images.

    Each resample draws images with replacement, the same for both; and, where there are several runs, each
    model's runs with replacement. For one run of each that is a draw of three counts (right in `a` alone,
    in `b` alone, and the rest) from a multinomial, which is what is done.

    Parameters
    ----------
    correct_a, correct_b : array of bool, shape (n,) or (seeds, n)
        Whether each image was classified rightly.
    resamples : int, default 10,000
    confidence : float, default 0.95
    seed : int, default 0

    Returns
    -------
    Interval
        Of accuracy `a` minus accuracy `b`, a fraction in ``[-1, 1]``.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together or an option is out of range.

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapters 8 and 13.

    Examples
    --------
    >>> a = np.arange(1000) % 5 != 0
    >>> interval = paired_bootstrap(a, a & (np.arange(1000) % 50 != 1))
    >>> round(interval.estimate, 4), interval.low > 0
    (0.02, True)
    """
    a, b = check_pair(correct_a, correct_b)
    check_count("resamples", resamples, 1)
    confidence = check_confidence(confidence)
    rng = np.random.default_rng(check_seed(seed))
    if a.ndim == b.ndim == 1:
        n = a.size
        only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
        draws = rng.multinomial(n, [only_a / n, only_b / n, 1 - (only_a + only_b) / n], size=resamples)
        means = (draws[:, 0] - draws[:, 1]) / n
    else:
        first, second = resampled_accuracies([a, b], resamples, rng)
        means = first - second
    tails = [(1 - confidence) / 2, 1 - (1 - confidence) / 2]
    low, high = np.quantile(means, tails)
    return Interval(
        estimate=float(a.mean() - b.mean()), low=float(low), high=float(high), confidence=confidence
    )


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values corrected for how many there are, so that among true hypotheses none is likely rejected.

    Parameters
    ----------
    p_values : array of float, shape (m,)
        Each in ``[0, 1]``.

    Returns
    -------
    ndarray of float64, shape (m,)
        In the order given. Rejecting those below alpha keeps the chance of any false rejection below alpha.

    Raises
    ------
    InvalidInputError
        If a value is no probability.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6, 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = check_array("p_values", p_values, "probabilities, shape (m,)").astype(np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise invalid("p_values", "probabilities, shape (m,)", p_values)
    order = np.argsort(values, kind="stable")
    adjusted = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    result = np.empty_like(values)
    result[order] = np.minimum(adjusted, 1.0)
    return result


def wilson_bounds(share: NDArray[Any], images: NDArray[Any], quantile: float) -> NDArray[np.float64]:
    """Return Wilson's bounds, shape (..., 2); `images` need not be whole."""
    squared = quantile**2 / images
    centre = (share + squared / 2) / (1 + squared)
    half = np.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    low = np.where(share == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(share == 1, 1.0, np.clip(centre + half, 0, 1))
    return np.stack([low, high], axis=-1)


def resampled_accuracies(
    models: Sequence[NDArray[np.bool_]], resamples: int, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Return each model's accuracy in each resample: the same images for all, runs of each by itself."""
    tables = [np.atleast_2d(each) for each in models]
    runs_of_all = np.concatenate(tables)
    total = runs_of_all.shape[1]
    # images that all runs treat alike are interchangeable: it is enough to draw how many of a kind
    _, firsts, kinds, counts = np.unique(
        np.packbits(runs_of_all, axis=0).T.copy().view(f"V{-(-len(runs_of_all) // 8)}").ravel(),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    parts = [table[:, firsts].astype(np.float64) for table in tables]
    found: list[list[NDArray[np.float64]]] = [[] for _ in tables]
    few_kinds = len(counts) * IMAGES_IN_THE_TIME_OF_A_KIND < total
    block = max(1, BLOCK // (len(counts) if few_kinds else total))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        if few_kinds:
            weights = rng.multinomial(total, counts / total, size=size).astype(np.float64)
        else:
            places = kinds[rng.integers(total, size=(size, total))] + len(counts) * np.arange(size)[:, None]
            weights = np.bincount(places.ravel(), minlength=size * len(counts)).astype(np.float64)
            weights = weights.reshape(size, len(counts))
        for part, kept in zip(parts, found, strict=True):
            runs = len(part)
            drawn = rng.multinomial(runs, np.full(runs, 1 / runs), size=size)
            # whole numbers up to the division: equal accuracies come out equal
            kept.append(((weights @ part.T) * drawn).sum(axis=1) / (total * runs))
    return [np.concatenate(kept) for kept in found]


def check_correct(argument: str, correct: ArrayLike) -> NDArray[np.bool_]:
    """Return whether each image was classified rightly, as bool, or raise."""
    accepted = "whether each image was classified rightly: bool, shape (n,) or (seeds, n)"
    array = check_array(argument, correct, accepted, "Pass y_pred == y_true, on the same test images.")
    if array.ndim not in (1, 2) or array.size == 0:
        raise invalid(argument, accepted, Found(f"shape {array.shape}"))
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise invalid(argument, accepted, Found(f"dtype {array.dtype}"), remedy="Pass y_pred == y_true.")
        array = array.astype(bool)
    return array


def check_pair(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return both arrays as bool, on the same images, or raise."""
    a, b = check_correct("correct_a", correct_a), check_correct("correct_b", correct_b)
    check_same_images(a, b, "correct_b")
    return a, b


def check_same_images(a: NDArray[np.bool_], b: NDArray[np.bool_], argument: str) -> None:
    """Raise where `b` is not on as many images as `a`."""
    if a.shape[-1] != b.shape[-1]:
        raise invalid(
            argument,
            f"on the same test images as the first, {a.shape[-1]}",
            Found(f"{b.shape[-1]} images"),
            remedy="The runs must be on the same test images, in the same order.",
        )


def check_units(argument: str, groups: Any, images: int) -> NDArray[Any] | None:
    """Return what each image belongs to, or None where that is not given, or is one group alone; or raise."""
    if groups is None:
        return None
    units = np.asarray(groups)
    if units.shape != (images,) or units.dtype.kind not in "iuUO":
        raise invalid(argument, f"one name or number for each image, shape ({images},)", units.shape)
    units = units.astype(str)
    if len(np.unique(units)) < 2:
        raise invalid(argument, "two groups or more", units[0], remedy="Nothing can be said from one group.")
    return units


def check_confidence(value: float) -> float:
    """Return the confidence, or raise."""
    number = finite(value)
    if number is None or not 0 < number < 1:
        remedy = "For 95 % pass 0.95." if number is not None and 1 < number < 100 else ""
        raise invalid("confidence", "a number above 0 and below 1, such as 0.95", value, remedy=remedy)
    return number
