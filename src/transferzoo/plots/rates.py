"""Loss against a rising learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.plots.axes import BLUE, VERMILLION, check_axes, finite_number, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class RateCurveData:
    """What `learning_rates` draws.

    Parameters
    ----------
    rates, losses, raw_losses : ndarray of float64, shape (n,)
        Learning rates, the smoothed training loss at each, and that of the single batch.
    suggestion : float
        The rate that is suggested.
    limits : pair of float
        Lowest and highest loss on the axis: one wild batch at the end must not flatten the valley.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    raw_losses: NDArray[np.float64]
    suggestion: float
    limits: tuple[float, float]


def rate_curve_data(curve: Any) -> RateCurveData:
    """Return what `learning_rates` draws of a curve, checked."""
    rates, losses, raw = (_curve_part(curve, name) for name in ("rates", "losses", "raw_losses"))
    suggestion = finite_number(getattr(curve, "suggestion", None))
    if not len(rates) == len(losses) == len(raw) > 0:
        raise invalid(
            "curve", "with rates, losses and raw_losses of one length", (len(rates), len(losses), len(raw))
        )
    if rates.min() <= 0:
        raise invalid("curve.rates", "above 0", float(rates.min()))
    if not suggestion > 0:
        raise invalid("curve.suggestion", "a rate above 0", getattr(curve, "suggestion", None))
    lowest, highest = float(min(losses.min(), raw.min())), float(losses.max())
    margin = 0.08 * max(highest - lowest, 1e-3 * max(abs(highest), 1.0))
    return RateCurveData(
        rates=rates,
        losses=losses,
        raw_losses=raw,
        suggestion=suggestion,
        limits=(lowest - margin, highest + 2 * margin),
    )


def learning_rates(curve: Any, ax: Axes | None = None) -> Axes:
    """Loss against a rising learning rate, with the rate that is suggested.

    Parameters
    ----------
    curve : object
        With ``rates``, ``losses`` and ``raw_losses``, each a sequence of float, shape (n,), and
        ``suggestion`` (float); such as `find_learning_rate` returns. Rates are above 0.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        The batches' own losses faint behind the smoothed ones, over a logarithmic axis of rates; a dashed
        line stands at the suggestion. Losses far above the smoothed ones are cut off.

    Raises
    ------
    InvalidInputError
        If an attribute is missing or does not hold what it must.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rates, losses = [1e-4, 1e-3, 1e-2, 1e-1], [2.3, 2.1, 1.4, 5.0]
    >>> ax = learning_rates(
    ...     SimpleNamespace(rates=rates, losses=losses, raw_losses=losses, suggestion=1e-3)
    ... )
    >>> ax.get_xscale()
    'log'
    """
    found = rate_curve_data(curve)
    check_axes(ax)
    if ax is None:
        ax = new_axes(7, 4)
    ax.plot(found.rates, found.raw_losses, color=BLUE, alpha=0.25, linewidth=1, label="each batch")
    ax.plot(found.rates, found.losses, color=BLUE, linewidth=2, label="smoothed")
    ax.axvline(found.suggestion, color=VERMILLION, linestyle="--", linewidth=1.5)
    ax.set_xscale("log")
    ax.set_ylim(*found.limits)
    left, right = (math.log(limit) for limit in ax.get_xlim())
    place = (math.log(found.suggestion) - left) / (right - left)
    near_left = place < 0.5
    # both stand above the panel, on either side of each other, where no curve can lie under them
    ax.annotate(
        f"suggested: {found.suggestion:.2g}",
        (found.suggestion, 1),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        # away from the legend, unless that would leave the panel
        ha="left" if place < 0.3 or 0.5 <= place < 0.7 else "right",
        va="bottom",
        color=VERMILLION,
        annotation_clip=False,
        parse_math=False,
    )
    side = 1 if near_left else 0
    ax.legend(
        loc="lower right" if near_left else "lower left", bbox_to_anchor=(side, 1), ncols=2, frameon=False
    )
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Training loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.3)
    return ax


def _curve_part(curve: Any, name: str) -> NDArray[np.float64]:
    accepted = "a sequence of finite numbers"
    try:
        values = np.asarray(getattr(curve, name, None), dtype=np.float64)
    except (TypeError, ValueError):
        raise invalid(f"curve.{name}", accepted, getattr(curve, name, None)) from None
    if values.ndim != 1 or not np.isfinite(values).all():
        raise invalid(f"curve.{name}", accepted, getattr(curve, name, None))
    return values
