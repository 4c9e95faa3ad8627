"""How far predicted probabilities can be believed: Brier score, calibration error, temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count, finite
from transferzoo.judging.prediction_checks import check_labels, check_probabilities

STRATEGIES = ("equal_width", "equal_mass")

# The floor that scikit-learn's log loss has too, so that both speak of the same probabilities.
SMALLEST = float(np.finfo(np.float64).eps)

LOWEST_TEMPERATURE = 0.01
HIGHEST_TEMPERATURE = 100.0


def brier_score(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Mean squared distance between the probabilities and the truth, summed over the classes.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1 within 0.005; rows are scaled to sum to 1.

    Returns
    -------
    float
        In ``[0, 2]``; 0 is perfect, 2 is certain and wrong every time, and equal probabilities for ``k``
        classes score ``1 - 1 / k``. With two classes this is twice the score that looks at one of them.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or the two do not belong together.

    References
    ----------
    Brier (1950), Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78, 1-3.

    Examples
    --------
    >>> round(brier_score([0, 1], [[0.9, 0.1], [0.4, 0.6]]), 4)
    0.17
    """
    truth, probabilities = _checked(y_true, y_prob)
    # sum over classes of (p - 1[c = truth])^2, without an array of ones and zeros
    right = probabilities[np.arange(len(truth)), truth]
    return float(np.mean(np.einsum("nk,nk->n", probabilities, probabilities) - 2 * right + 1))


def expected_calibration_error(
    y_true: ArrayLike, y_prob: ArrayLike, *, bins: int = 15, strategy: str = "equal_width"
) -> float:
    """Gap between how sure the model is and how often it is right, averaged over the images.

    Images are put into bins by the probability of their most probable class. The error is the mean over
    the images of the gap in their bin: ``sum(count * abs(accuracy - confidence)) / n``.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1 within 0.005; rows are scaled to sum to 1.
    bins : int, default 15
        How many bins.
    strategy : {"equal_width", "equal_mass"}, default "equal_width"
        Bins of one width, ``(0, 1/15]`` to ``(14/15, 1]``, or of one number of images as far as can be.
        Images of the same confidence are never separated: all go where the first of them falls.

    Returns
    -------
    float
        In ``[0, 1]``; 0 is perfect. Few images in many bins raise it by chance alone, so compare it only
        at the same number of images and bins.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or an option is not one of these.

    References
    ----------
    Guo et al. (2017), On calibration of modern neural networks, arXiv:1706.04599: equal width, 15 bins.
    Nguyen and O'Connor (2015), Posterior calibration and exploratory analysis for natural language
    processing models, arXiv:1508.05154: equal mass. Nixon et al. (2019), Measuring calibration in deep
    learning, arXiv:1904.01685: how much the binning matters.

    Examples
    --------
    >>> round(expected_calibration_error([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.8, 0.2]]), 4)
    0.2333
    """
    rows = reliability(y_true, y_prob, bins=bins, strategy=strategy)
    n = sum(row["count"] for row in rows)
    return float(sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / n)


def reliability(
    y_true: ArrayLike, y_prob: ArrayLike, *, bins: int = 15, strategy: str = "equal_width"
) -> list[dict[str, Any]]:
    """Confidence against accuracy, one row for each bin: the numbers of a reliability diagram.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1 within 0.005; rows are scaled to sum to 1.
    bins : int, default 15
        How many bins.
    strategy : {"equal_width", "equal_mass"}, default "equal_width"
        As in `expected_calibration_error`.

    Returns
    -------
    list of dict
        ``low`` and ``high``, the bin's edges (equal mass: its least and greatest confidence);
        ``confidence`` and ``accuracy``, the means over the bin's images; ``count``, how many they are.
        Lowest confidence first; bins without images are left out.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or an option is not one of these.

    Examples
    --------
    >>> reliability([0, 1], [[0.75, 0.25], [0.75, 0.25]], bins=2)
    [{'low': 0.5, 'high': 1.0, 'confidence': 0.75, 'accuracy': 0.5, 'count': 2}]
    """
    bins = check_count("bins", bins, 1)
    if strategy not in STRATEGIES:
        raise invalid("strategy", "'equal_width' or 'equal_mass'", strategy, candidates=STRATEGIES)
    truth, probabilities = _checked(y_true, y_prob)
    n = len(truth)
    guesses = probabilities.argmax(axis=1)
    right = guesses == truth
    confidence = probabilities[np.arange(n), guesses]
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "equal_width":
        number = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    else:
        rank_of_the_first_equal = np.searchsorted(np.sort(confidence), confidence, side="left")
        number = rank_of_the_first_equal * bins // n
    counts = np.bincount(number, minlength=bins)
    confidences = np.bincount(number, weights=confidence, minlength=bins)
    hits = np.bincount(number, weights=right, minlength=bins)
    rows = []
    for place in np.flatnonzero(counts):
        low, high = edges[place], edges[place + 1]
        if strategy == "equal_mass":
            inside = confidence[number == place]
            low, high = inside.min(), inside.max()
        rows.append(
            {
                "low": float(low),
                "high": float(high),
                "confidence": float(confidences[place] / counts[place]),
                "accuracy": float(hits[place] / counts[place]),
                "count": int(counts[place]),
            }
        )
    return rows


def fit_temperature(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """Temperature that makes the probabilities of these images as good as one number can.

    It minimises the log loss of ``softmax(log(y_prob) / temperature)``. Fit it on validation images, and
    judge on others. Above 1 the model was too sure of itself, below 1 not sure enough.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1 within 0.005. Those below 2.2e-16 count as 2.2e-16.

    Returns
    -------
    float
        In ``[0.01, 100]``. Exactly 1.0 where every image is classed right, or where every row holds equal
        probabilities: there no temperature is the best, and none is a reason to become surer.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or the two do not belong together.

    References
    ----------
    Guo et al. (2017), On calibration of modern neural networks, arXiv:1706.04599.

    Examples
    --------
    >>> round(fit_temperature([0, 0, 0, 1], [[0.99, 0.01]] * 4), 3)
    4.183
    """
    from scipy.optimize import minimize_scalar

    truth, probabilities = _checked(y_true, y_prob)
    logs = _logs(probabilities)
    logs -= logs.max(axis=1, keepdims=True)
    of_truth = logs[np.arange(len(truth)), truth]
    # the log loss falls as the temperature falls, without end: it has no minimum
    if not of_truth.any():
        return 1.0
    work = np.empty_like(logs)

    def log_loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        np.multiply(logs, inverse, out=work)
        np.exp(work, out=work)
        return float(np.mean(np.log(work.sum(axis=1)) - inverse * of_truth))

    # convex in 1 / temperature, hence one valley in log temperature
    found = minimize_scalar(
        log_loss,
        bounds=(np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-5},
    )
    return float(np.clip(np.exp(found.x), LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE))


def apply_temperature(y_prob: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Probabilities at another temperature: ``softmax(log(y_prob) / temperature)``.

    Parameters
    ----------
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1 within 0.005. Those below 2.2e-16 count as 2.2e-16.
    temperature : float
        Above 0. Above 1 softens, below 1 sharpens, 1 leaves the rows as they are.

    Returns
    -------
    ndarray of float64, shape (n, k)
        Rows summing to 1. The most probable class of each row stays the same.

    Raises
    ------
    InvalidInputError
        If `y_prob` does not hold probabilities, or the temperature is not a number above 0.

    Examples
    --------
    >>> apply_temperature([[0.9, 0.1]], 2.0)
    array([[0.75, 0.25]])
    """
    probabilities = check_probabilities(y_prob)
    if finite(temperature) is None or temperature <= 0:
        raise invalid("temperature", "a number above 0", temperature)
    logs = _logs(probabilities)
    logs -= logs.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # a temperature near 0: the others' share is 0
        powers = np.exp(logs / float(temperature))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _checked(y_true: ArrayLike, y_prob: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return true classes and rows that sum to 1 exactly, or raise."""
    probabilities = check_probabilities(y_prob)
    n, num_classes = probabilities.shape
    truth = check_labels("y_true", y_true, num_classes=num_classes, length=n)
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


def _logs(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logarithms that are finite, 0 included."""
    return np.asarray(np.log(np.maximum(probabilities, SMALLEST)))
