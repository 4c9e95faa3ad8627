"""Confidence against accuracy, before and after temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo import calibration
from transferzoo.errors import invalid
from transferzoo.ground.arguments import finite
from transferzoo.judging.proportions import wilson_interval
from transferzoo.plots.axes import BLUE, GREY, VERMILLION, check_axes, new_axes, predictions_of, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, kw_only=True)
class ReliabilityData:
    """What is drawn: of each bin with images, from the lowest confidence on.

    Parameters
    ----------
    confidence, accuracy : ndarray of float, shape (bins,)
        Means over the bin's images, fractions.
    low, high : ndarray of float, shape (bins,)
        95 % interval of the accuracy (Wilson).
    error : float
        Expected calibration error over the same bins.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    error: float


def reliability_data(y_true: ArrayLike, y_prob: ArrayLike, *, bins: int = 15) -> ReliabilityData:
    """Compute what `reliability` draws."""
    rows = calibration.reliability(y_true, y_prob, bins=bins)
    intervals = [wilson_interval(round(row["accuracy"] * row["count"]), row["count"]) for row in rows]
    return ReliabilityData(
        confidence=np.array([row["confidence"] for row in rows]),
        accuracy=np.array([row["accuracy"] for row in rows]),
        low=np.array([low for low, _ in intervals]),
        high=np.array([high for _, high in intervals]),
        error=calibration.expected_calibration_error(y_true, y_prob, bins=bins),
    )


def reliability(
    y_true: Any,
    y_prob: ArrayLike | None = None,
    *,
    temperature: float | None = None,
    bins: int = 15,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Reliability diagram: the share that is right against the confidence, with 95 % intervals.

    Parameters
    ----------
    y_true : array of int, shape (n,), or a result
        True classes. Or, alone, anything with ``y_true`` and ``y_prob``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1.
    temperature : float, optional
        Draw the probabilities after temperature scaling too. Fit it on validation images
        (`calibration.fit_temperature`); a run has it as ``metrics["temperature"]``.
    bins : int, default 15
        Of equal width; those without images are left out.
    title : str, optional
        What stands above. Default: nothing.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        On the diagonal, confidence is what it says. The legend has the calibration errors.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together, or the temperature is not above 0.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks", ICML, arXiv:1706.04599.

    Examples
    --------
    >>> ax = reliability([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], temperature=2.0)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['as they are, error 35.0 %', 'temperature 2.00, error 24.3 %']
    """
    from matplotlib.ticker import PercentFormatter

    if y_prob is None:
        y_true, y_prob = predictions_of(y_true, "y_prob", "class probabilities, shape (n, k)")
    drawn = {"as they are": reliability_data(y_true, y_prob, bins=bins)}
    if temperature is not None:
        value = finite(temperature)
        if value is None or value <= 0:
            raise invalid("temperature", "a number above 0, or None", temperature)
        scaled = calibration.apply_temperature(y_prob, value)
        drawn[f"temperature {value:.2f}"] = reliability_data(y_true, scaled, bins=bins)
    check_axes(ax)
    if ax is None:
        ax = new_axes(4.6, 4.4)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    for (name, data), color, marker in zip(drawn.items(), (BLUE, VERMILLION), ("o", "s"), strict=False):
        ax.errorbar(
            data.confidence,
            data.accuracy,
            yerr=[np.maximum(data.accuracy - data.low, 0), np.maximum(data.high - data.accuracy, 0)],
            color=color,
            marker=marker,
            markersize=5,
            linewidth=1.2,
            elinewidth=0.8,
            label=f"{name}, error {100 * data.error:.1f} %",
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("Confidence")
    ax.set_ylabel("Share that is right")
    # above the axes, as within them any place may hold points
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    titled(ax, title, above=18.0 * len(drawn))
    return ax
