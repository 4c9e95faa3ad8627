"""Models side by side, and against what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import is_fraction, less_is_better, metric_title, readable
from transferzoo.plots.axes import (
    BLUE,
    CHARACTER,
    GREY,
    check_axes,
    finite_number,
    format_axis,
    new_axes,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _records(rows: Any) -> list[Mapping[str, Any]]:
    every = rows.to_records() if hasattr(rows, "to_records") else rows
    accepted = "one or more dicts with 'model' and metrics, or an object with to_records()"
    if isinstance(every, (str, Mapping)) or not isinstance(every, Iterable):
        raise invalid("rows", accepted, rows)
    records = list(every)
    if not records or not all(isinstance(row, Mapping) and "model" in row for row in records):
        raise invalid("rows", accepted, rows)
    return records


def _column(records: list[Mapping[str, Any]], argument: str, metric: Any) -> NDArray[np.float64]:
    values = np.array(
        [finite_number(row.get(metric) if isinstance(metric, str) else None) for row in records]
    )
    if np.isnan(values).all():
        known = dict.fromkeys(
            key for row in records for key in row if not math.isnan(finite_number(row[key]))
        )
        accepted = "a column that holds numbers" + (f": {', '.join(map(repr, known))}" if known else "")
        raise invalid(argument, accepted, metric, candidates=[str(key) for key in known])
    return values


def _whiskers(
    ax: Axes, records: Sequence[Mapping[str, Any]], values: NDArray[np.float64], metric: str
) -> NDArray[np.float64]:
    """Draw the rows' intervals; return where each bar with its interval ends."""
    lows, highs = (
        np.array([finite_number(row.get(f"{metric}_{end}")) for row in records]) for end in ("low", "high")
    )
    known = np.isfinite(lows) & np.isfinite(highs) & np.isfinite(values)
    reach = [np.abs(values[known] - lows[known]), np.abs(highs[known] - values[known])]
    ax.errorbar(
        values[known], np.flatnonzero(known), xerr=reach, fmt="none", ecolor="black", elinewidth=1, capsize=3
    )
    return np.where(known, np.fmax(highs, values), np.nan_to_num(values))


def comparison(
    rows: Any, *, metric: str = "accuracy", title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Models side by side on one metric, as bars with the best on top.

    Parameters
    ----------
    rows : list of dict, or an object with ``to_records()``
        Each with ``model`` and metrics, such as ``Result.row()`` gives.
    metric : str, default "accuracy"
        Which to show. Losses, errors, times, sizes and counts have the lowest on top.
    title : str, optional
        What stands above. Default: nothing.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the rows.

    Returns
    -------
    matplotlib Axes
        One bar per row, with its interval where the row has the metric's ``…_low`` and ``…_high``. An axis of
        fractions ends at 100 %. A row without a finite value comes last, marked ``n/a``.

    Raises
    ------
    InvalidInputError
        If `rows` is empty or no row has the metric.

    Examples
    --------
    >>> rows = [{"model": "vgg16", "accuracy": 0.71}, {"model": "mobilenet", "accuracy": 0.81}]
    >>> ax = comparison(rows)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['mobilenet', 'vgg16']
    """
    records = _records(rows)
    values = _column(records, "metric", metric)
    order = np.argsort(values if less_is_better(metric) else -values, kind="stable")
    values, names = values[order], [str(records[index]["model"]) for index in order]
    finite = values[np.isfinite(values)]
    check_axes(ax)
    if ax is None:
        ax = new_axes(8, 1.1 + 0.36 * len(names))
    positions = np.arange(len(names))
    ax.barh(positions, np.nan_to_num(values), color=BLUE, height=0.7)
    ends = _whiskers(ax, [records[index] for index in order], values, metric)
    for position, value, end in zip(positions, values, ends, strict=True):
        ax.annotate(
            readable(metric, value),
            (end, position),
            xytext=(4 if end >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if end >= 0 else "right",
            va="center",
            fontsize=9,
            # it may stand to the right of an axis that ends at 100 %
            annotation_clip=False,
        )
    ax.set_yticks(positions, names, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    low, high = min(0.0, finite.min()), max(0.0, finite.max(), ends.max())
    room = 0.14 * ((high - low) or 1.0)
    fraction = is_fraction(metric) and low >= 0 and high <= 1
    ax.set_xlim(low - room if low < 0 else 0, 1 if fraction else high + room)
    titled(ax, title)
    format_axis(ax.xaxis, metric, finite)
    ax.set_xlabel(metric_title(metric) + (" (less is better)" if less_is_better(metric) else ""))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


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

    records = _records(rows)
    costs = _column(records, "cost", cost)
    accuracies = _column(records, "metric", "accuracy")
    both = np.isfinite(costs) & np.isfinite(accuracies)
    if not both.any():
        raise invalid("rows", f"records of which one or more hold both 'accuracy' and {cost!r}", rows)
    costs, accuracies = costs[both], accuracies[both]
    names = [str(row["model"]) for row, kept in zip(records, both, strict=True) if kept]
    figure: Any = None
    check_axes(ax)
    if ax is None:
        ax = new_axes(8, 5)
        figure = ax.figure
    kept = [row for row, here in zip(records, both, strict=True) if here]
    on = np.array([bool(row.get("on_frontier", True)) for row in kept])
    ax.scatter(costs[on], accuracies[on], color=BLUE, s=36, zorder=3)
    ax.scatter(costs[~on], accuracies[~on], facecolor="white", edgecolor=BLUE, s=36, zorder=3)
    lows = np.array([finite_number(row.get("accuracy_low")) for row in kept])
    highs = np.array([finite_number(row.get("accuracy_high")) for row in kept])
    known = np.isfinite(lows) & np.isfinite(highs)
    if known.any():
        ends = [np.maximum(accuracies - lows, 0)[known], np.maximum(highs - accuracies, 0)[known]]
        ax.errorbar(
            costs[known],
            accuracies[known],
            yerr=ends,
            fmt="none",
            ecolor=BLUE,
            alpha=0.6,
            capsize=3,
            zorder=2,
        )
    if any("on_frontier" in row for row in kept):
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
        shares = [finite_number(row.get("frontier_probability")) for row in kept]
        names = [
            name if math.isnan(share) else f"{name} ({share:.0%})"
            for name, share in zip(names, shares, strict=True)
        ]
        title = "Pareto frontier; in brackets how often a model lies on it, images and seeds drawn again"
        if not all(map(math.isnan, shares)):
            ax.set_title(title, loc="left", fontsize=8, color=GREY)
    logarithmic = costs.min() > 0 and costs.max() / costs.min() > 10
    if logarithmic:
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
    bars = [np.column_stack([costs[known], ends]) for ends in (lows[known], highs[known])]
    _label_points(ax, costs, accuracies, names, bars=bars)
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
