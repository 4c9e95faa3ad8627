"""What not answering gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from transferzoo.errors import invalid
from transferzoo.ground.arguments import finite
from transferzoo.judging.selective import risk_coverage as curve_of
from transferzoo.plots.axes import BLUE, GREY, VERMILLION, check_axes, new_axes, predictions_of, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def risk_coverage(
    y_true: Any,
    y_prob: ArrayLike | None = None,
    *,
    threshold: float | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of wrong answers against the share of images that are answered at all.

    Parameters
    ----------
    y_true : array of int, shape (n,), or a result
        True classes. Or, alone, anything with ``y_true`` and ``y_prob``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1.
    threshold : float, optional
        A probability, 0 to 1, to mark on the curve: what ``reject=`` of `predict` leaves unanswered.
    title : str, optional
        What stands above. Default: nothing.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        A curve over coverages from 0 to 100 %; at 100 % stands the error of all images.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together.

    References
    ----------
    Geifman and El-Yaniv (2017), arXiv:1705.08500.

    Examples
    --------
    >>> ax = risk_coverage([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    >>> ax.lines[0].get_xdata().tolist()
    [0.25, 0.5, 0.75, 1.0]
    """
    from matplotlib.ticker import PercentFormatter

    if y_prob is None:
        y_true, y_prob = predictions_of(y_true, "y_prob", "class probabilities, shape (n, k)")
    curve = curve_of(y_true, y_prob)
    check_axes(ax)
    if ax is None:
        ax = new_axes(6, 3.8)
    ax.plot(curve.coverage, curve.risk, color=BLUE, linewidth=2)
    ax.axhline(curve.risk[-1], color=GREY, linewidth=0.8, linestyle=":")
    if threshold is not None:
        value = finite(threshold)
        if value is None or not 0 <= value <= 1:
            raise invalid("threshold", "a probability from 0 to 1, or None", threshold)
        answered = np.flatnonzero(curve.threshold >= value)
        place = answered[-1] if len(answered) else 0
        ax.plot(
            [curve.coverage[place]],
            [curve.risk[place]],
            marker="o",
            color=VERMILLION,
            linestyle="none",
            label=f"threshold {value:.2f}: {curve.coverage[place]:.0%} answered, "
            f"{curve.risk[place]:.1%} of them wrong",
        )
        ax.legend(loc="upper left", frameon=False, fontsize="small")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, max(1.1 * float(curve.risk.max()), 0.01))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("Images answered (coverage)")
    ax.set_ylabel("Answers that are wrong (risk)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    titled(ax, title)
    return ax
