"""Accuracy against what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import metric_title
from transferzoo.plots.axes import (
    BLUE,
    CHARACTER,
    GREY,
    check_axes,
    finite_number,
    format_axis,
    new_axes,
    on_one_line,
)
from transferzoo.plots.bars import column_of, records_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class CostData:
    """What `accuracy_against_cost` draws, one point for each row that has both figures.

    Parameters
    ----------
    cost : str
    names : tuple of str, length n
    costs, accuracies : ndarray of float64, shape (n,)
    low, high : ndarray of float64, shape (n,)
        The accuracies' intervals; NaN where a row has none.
    on_frontier : ndarray of bool, shape (n,)
        Whether a point lies on the Pareto frontier; all True where the rows do not say.
    probability : ndarray of float64, shape (n,)
        How often it does where images and seeds are drawn again, in [0, 1]; NaN where unknown.
    has_frontier : bool
        Whether the rows say which points are on it.
    """

    cost: str
    names: tuple[str, ...]
    costs: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    on_frontier: NDArray[np.bool_]
    probability: NDArray[np.float64]
    has_frontier: bool

    @property
    def logarithmic(self) -> bool:
        """Whether the costs span more than a factor of 10."""
        return bool(self.costs.min() > 0 and self.costs.max() / self.costs.min() > 10)

    @property
    def labels(self) -> list[str]:
        """The names, each with its probability in brackets where the frontier is known."""
        shares = self.probability if self.has_frontier else np.full(len(self.names), np.nan)
        return [
            name if math.isnan(share) else f"{name} ({share:.0%})"
            for name, share in zip(self.names, shares, strict=True)
        ]


def cost_data(rows: Any, cost: str = "parameters") -> CostData:
    """Return what `accuracy_against_cost` draws of rows, checked."""
    records = records_of(rows)
    costs = column_of(records, "cost", cost)
    accuracies = column_of(records, "metric", "accuracy")
    both = np.isfinite(costs) & np.isfinite(accuracies)
    if not both.any():
        raise invalid("rows", f"records of which one or more hold both 'accuracy' and {cost!r}", rows)
    kept = [row for row, here in zip(records, both, strict=True) if here]
    low, high, probability = (
        np.array([finite_number(row.get(key)) for row in kept])
        for key in ("accuracy_low", "accuracy_high", "frontier_probability")
    )
    known = np.isfinite(low) & np.isfinite(high)
    return CostData(
        cost=cost,
        names=tuple(on_one_line(row["model"]) for row in kept),
        costs=costs[both],
        accuracies=accuracies[both],
        low=np.where(known, low, np.nan),
        high=np.where(known, high, np.nan),
        on_frontier=np.array([bool(row.get("on_frontier", True)) for row in kept]),
        probability=probability,
        has_frontier=any("on_frontier" in row for row in kept),
    )


def accuracy_against_cost(rows: Any, *, cost: str = "parameters", ax: Axes | None = None) -> Axes:
    """Accuracy of each model against what it costs, as labelled points.

    Parameters
    ----------
    rows : list of dict, or an object with ``to_records()``
        Each with ``model``, ``accuracy`` (a fraction in ``[0, 1]``) and the cost, such as
        ``Result.row()`` gives. Rows without both are left out. Where there are ``accuracy_low`` and
        ``accuracy_high``, they are drawn as the accuracy's interval. Where there is ``on_frontier`` (bool),
        points that are off it are hollow, and a line joins those on it; ``frontier_probability`` (a
        fraction) stands beside the name, as a percentage.
    cost : str, default "parameters"
        The column across. Its axis is logarithmic when the costs span more than a factor of 10.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        One point per row, each beside its name.

    Raises
    ------
    InvalidInputError
        If `rows` is empty, or no row has both an accuracy and the cost.

    Examples
    --------
    >>> rows = [{"model": "mobilenet", "accuracy": 0.81, "parameters": 3_200_000},
    ...         {"model": "vgg16", "accuracy": 0.71, "parameters": 138_000_000}]
    >>> accuracy_against_cost(rows).get_xscale()
    'log'
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    found = cost_data(rows, cost)
    costs, accuracies, on = found.costs, found.accuracies, found.on_frontier
    figure: Any = None
    check_axes(ax)
    if ax is None:
        ax = new_axes(8, 5)
        figure = ax.figure
    ax.scatter(costs[on], accuracies[on], color=BLUE, s=36, zorder=3)
    ax.scatter(costs[~on], accuracies[~on], facecolor="white", edgecolor=BLUE, s=36, zorder=3)
    known = np.isfinite(found.high)
    if known.any():
        reach = [np.maximum(accuracies - found.low, 0)[known], np.maximum(found.high - accuracies, 0)[known]]
        ax.errorbar(
            costs[known],
            accuracies[known],
            yerr=reach,
            fmt="none",
            ecolor=BLUE,
            alpha=0.6,
            capsize=3,
            zorder=2,
        )
    if found.has_frontier:
        order = np.argsort(costs[on], kind="stable")
        ax.plot(
            costs[on][order],
            accuracies[on][order],
            color=GREY,
            linewidth=1,
            linestyle="--",
            drawstyle="steps-post",
            zorder=1,
            label="Pareto frontier",
        )
        if np.isfinite(found.probability).any():
            title = "Pareto frontier; in brackets how often a model lies on it, images and seeds drawn again"
            ax.set_title(title, loc="left", fontsize=8, color=GREY)
    if found.logarithmic:
        ax.set_xscale("log")
        decades = math.log10(costs.max() / costs.min())
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.12, y=0.12)
    format_axis(ax.xaxis, cost, costs)
    format_axis(ax.yaxis, "accuracy", accuracies)
    ax.set_xlabel(metric_title(cost))
    ax.set_ylabel("Accuracy")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    if figure is not None:
        # the constrained layout moves the panel, and the labels are placed by where the points lie on it
        figure.draw_without_rendering()
    bars = [np.column_stack([costs[known], ends]) for ends in (found.low[known], found.high[known])]
    _label_points(ax, costs, accuracies, found.labels, bars=bars)
    return ax


def _label_points(
    ax: Axes, x: NDArray[Any], y: NDArray[Any], names: list[str], *, bars: Any = None, size: float = 9
) -> None:
    """Put each name on that side of its point where it covers least of the points and names so far."""
    scale = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y])) / scale
    frame = ax.get_window_extent()
    left, bottom, right, top = (edge / scale for edge in (frame.x0, frame.y0, frame.x1, frame.y1))
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in points]
    for low, high in () if bars is None else zip(*bars, strict=True):
        (px, bottom_end), (_, top_end) = ax.transData.transform([low, high]) / scale
        taken.append((px - 4, bottom_end, px + 4, top_end))
    sides = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
    for (px, py), xy, name in zip(points, zip(x, y, strict=True), names, strict=True):
        width, height = CHARACTER * size * len(name), 1.25 * size
        best, best_cover = None, math.inf
        for across, up in sides:
            gap_x, gap_y = (7 if up == 0 else 5), (7 if across == 0 else 5)
            start = px + (gap_x if across > 0 else -gap_x - width if across < 0 else -width / 2)
            floor = py + (gap_y if up > 0 else -gap_y - height if up < 0 else -height / 2)
            box = (start, floor, start + width, floor + height)
            outside = max(left - box[0], 0) + max(box[2] - right, 0)
            outside += max(bottom - box[1], 0) + max(box[3] - top, 0)
            cover = outside * height + sum(_overlap(box, other) for other in taken)
            if cover < best_cover - 1e-9:
                best, best_cover = (across, up, gap_x * across, gap_y * up, box), cover
        assert best is not None
        across, up, dx, dy, box = best
        taken.append(box)
        ax.annotate(
            name,
            xy,
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=size,
            ha={1: "left", 0: "center", -1: "right"}[across],
            va={1: "bottom", 0: "center", -1: "top"}[up],
            parse_math=False,
            # the frontier runs behind names
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
            zorder=4,
        )


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
