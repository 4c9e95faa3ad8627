"""What is gained by not answering: how many images are answered, and how many of the answers are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.judging.prediction_checks import check_labels, check_probabilities


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverage:
    """For each threshold on the highest probability: what is answered, and what of it is wrong.

    Parameters
    ----------
    threshold : ndarray of float64, shape (m,)
        Falling; an image is answered where its highest probability is this or more.
    coverage : ndarray of float64, shape (m,)
        Share of the images that are answered, in (0, 1], rising.
    risk : ndarray of float64, shape (m,)
        Share of the answers that are wrong, in [0, 1].
    area : float
        Mean risk over all coverages (AURC): lower is better, at the same accuracy too.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float

    def at_risk(self, most: float) -> float:
        """Return the largest coverage at which at most this share of the answers is wrong; 0 for none."""
        fitting = self.coverage[self.risk <= most]
        return float(fitting.max()) if len(fitting) else 0.0


def risk_coverage(y_true: ArrayLike, y_prob: Any) -> RiskCoverage:
    """Return the trade-off between answering more images and answering more of them rightly.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together.

    References
    ----------
    El-Yaniv and Wiener (2010), On the foundations of noise-free selective classification, JMLR 11,
    1605-1641. Geifman and El-Yaniv (2017), Selective classification for deep neural networks,
    arXiv:1705.08500.

    Examples
    --------
    >>> curve = risk_coverage([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    >>> curve.coverage.tolist(), curve.risk.round(2).tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.33, 0.25])
    >>> curve.at_risk(0.1)
    0.5
    """
    probabilities = check_probabilities(y_prob)
    truth = check_labels("y_true", y_true, num_classes=probabilities.shape[1], length=len(probabilities))
    confidence = probabilities.max(axis=1).astype(np.float64)
    wrong = probabilities.argmax(axis=1) != truth
    order = np.argsort(-confidence, kind="stable")
    confidence, errors = confidence[order], np.cumsum(wrong[order])
    answered = np.arange(1, len(order) + 1)
    # images of one probability are answered together
    last = np.append(confidence[1:] != confidence[:-1], True)
    return RiskCoverage(
        threshold=confidence[last],
        coverage=answered[last] / len(order),
        risk=errors[last] / answered[last],
        area=float((errors / answered).mean()),
    )
