"""LogME: how well features explain labels, as the evidence of Bayesian linear models."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.judging.prediction_checks import Found

# of the ratio alpha / beta, where features have a mean square of 1: beyond, evidence stands still
RATIOS = (1e-12, 1e12)
ROUNDS, CLOSE = 500, 1e-7


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    """Logarithm of the maximum evidence: how well features explain labels, over all linear models at once.

    Each class in turn is a target ``y`` of ones and zeros, ``y ~ N(F w, 1/β)`` with ``w ~ N(0, 1/α)``. With
    the weights integrated out, ``log p(y | F, α, β)`` is maximised over α and β by MacKay's fixed point, and
    divided by the number of images; LogME is the mean over the classes. It overfits less than a likelihood,
    takes no penalty to choose, and needs no images to validate on. Higher is better. It depends on the
    proportions of the classes, so that scores of different datasets do not compare.

    Written in the singular values of F, where a round costs as much as F has of them (You et al. 2022).
    F divided by a number has the same maximum, with another α, and so is brought to a mean square of 1.

    Parameters
    ----------
    features : array of float, shape (n, channels)
    labels : array of int, shape (n,)
        Two classes or more.

    Returns
    -------
    float
        The mean log evidence an image, a class; in nats.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together, hold no numbers, or there is one class alone.

    References
    ----------
    You, Liu, Wang, Long (2021), ICML, arXiv:2102.11005, algorithm 1. You, Liu, Zhang, Wang, Jordan, Long
    (2022), Ranking and Tuning Pre-trained Models, J. Mach. Learn. Res. 23(209), arXiv:2110.10545. MacKay
    (1992), Bayesian interpolation, Neural Computation 4, 415-447.

    Examples
    --------
    >>> labels = np.arange(200) % 2
    >>> rng = np.random.default_rng(0)
    >>> told, untold = rng.normal(size=(2, 200, 5))
    >>> told[:, 0] += 3 * labels
    >>> logme(told, labels) > logme(untold, labels)
    True
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise invalid("features", "finite numbers, shape (n, channels)", Found(f"shape {x.shape}"))
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise invalid("labels", f"whole numbers, shape ({len(x)},)", Found(f"{y.dtype}, shape {y.shape}"))
    classes, members = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise invalid("labels", "of two or more classes", classes.tolist())
    targets = np.eye(len(classes))[members]
    squares, projected = _in_singular_values(x, targets)
    return float(_greatest_evidence(squares, projected, targets.sum(axis=0), len(x)).mean() / len(x))


def _in_singular_values(
    x: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squared singular values ``(r,)``, and each target's squares along them ``(classes, r)``."""
    x = x / (math.sqrt(np.square(x).mean()) or 1.0)
    tall = x.shape[1] <= len(x)
    # several times cheaper than an SVD; what it blurs is below the last bits of float32 features
    squares, vectors = np.linalg.eigh(x.T @ x if tall else x @ x.T)
    kept = squares > max(squares.max(), 0.0) * max(x.shape) * np.finfo(np.float64).eps
    squares = squares[kept]
    along = vectors[:, kept].T @ (x.T @ targets if tall else targets)
    projected = np.square(along).T / (squares if tall else 1.0)
    return squares, projected


def _greatest_evidence(
    squares: NDArray[np.float64],
    projected: NDArray[np.float64],
    energy: NDArray[np.float64],
    images: int,
) -> NDArray[np.float64]:
    """Return each target's log evidence, maximised over alpha and beta."""
    outside = np.maximum(energy - projected.sum(axis=1), 0.0)
    ratio = np.ones(len(energy))  # alpha / beta, all that the fixed point depends on

    def parts(ratio: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        shrunk = ratio[:, None] + squares
        used = (squares / shrunk).sum(axis=1)
        weights = (squares * projected / shrunk**2).sum(axis=1)
        residual = (projected * (ratio[:, None] / shrunk) ** 2).sum(axis=1) + outside
        return used, weights, residual

    for _ in range(ROUNDS):
        used, weights, residual = parts(ratio)
        with np.errstate(divide="ignore", invalid="ignore"):
            # alpha = used / weights, beta = (images - used) / residual
            step = used * residual / (weights * (images - used))
        new = np.clip(np.where(weights > 0, step, RATIOS[1]), *RATIOS)
        settled = np.abs(np.log(new / ratio)) < CLOSE
        ratio = new
        if settled.all():
            break
    _, weights, residual = parts(ratio)
    # the best beta for this ratio; where the rounds have settled it is the fixed point's
    beta = images / np.maximum(residual + ratio * weights, np.finfo(np.float64).tiny)
    determinant = np.log(ratio[:, None] / (ratio[:, None] + squares)).sum(axis=1)
    return np.asarray((determinant + images * (np.log(beta / (2 * math.pi)) - 1)) / 2)
