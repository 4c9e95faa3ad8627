"""Accuracy against what was varied: training images, or pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import metric_title
from transferzoo.plots.axes import check_axes, finite_number, format_axis, new_axes, on_one_line, plain_legend
from transferzoo.plots.bars import records_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {"train": "Training images", "image_size": "Image size, pixels"}
# told apart without colour too
MARKERS = "osD^vPX"
# Okabe and Ito's colours, those that are dark enough for a line on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


@dataclass(frozen=True, kw_only=True, eq=False)
class LineData:
    """What `accuracy_by` draws: one line for each model.

    Parameters
    ----------
    by : str
    lines : mapping of str to tuple of 4 ndarrays, each of float64, shape (n,)
        By model: the values across, ascending; accuracies; the low and high ends of their intervals, NaN
        where a row has none.
    """

    by: str
    lines: dict[str, tuple[NDArray[np.float64], ...]]


def line_data(rows: Any, by: str) -> LineData:
    """Return what `accuracy_by` draws of rows, checked."""
    if not isinstance(by, str):
        raise invalid("by", "the name of a column", by)
    found: dict[str, list[tuple[float, ...]]] = {}
    for row in records_of(rows):
        across, accuracy = finite_number(row.get(by)), finite_number(row.get("accuracy"))
        if np.isfinite(across) and np.isfinite(accuracy):
            ends = (finite_number(row.get(key)) for key in ("accuracy_low", "accuracy_high"))
            found.setdefault(on_one_line(row.get("model", "")), []).append((across, accuracy, *ends))
    if not found:
        raise invalid("rows", f"records of which one or more hold both 'accuracy' and {by!r}", rows)
    lines = {}
    for name, points in found.items():
        points.sort()
        lines[name] = tuple(np.array(column, np.float64) for column in zip(*points, strict=True))
    return LineData(by=by, lines=lines)


def accuracy_by(rows: Any, *, by: str = "train", ax: Axes | None = None) -> Axes:
    """Accuracy against the number of training images, or another number, as one line for each model.

    Parameters
    ----------
    rows : list of dict, or an object with ``to_records()``
        Each with ``model``, ``accuracy`` (a fraction in ``[0, 1]``) and the number, such as
        `studies.sweep` gives. Rows without both are left out. Where there are ``accuracy_low`` and
        ``accuracy_high``, a band shows the accuracy's interval.
    by : str, default "train"
        The column across: ``"train"``, ``"image_size"``, or any other. Its axis is logarithmic where the
        largest number is more than four times the smallest.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InvalidInputError
        If no row has both an accuracy and the number.

    Examples
    --------
    >>> rows = [{"model": "vgg16", "train": 100, "accuracy": 0.5},
    ...         {"model": "vgg16", "train": 1000, "accuracy": 0.7}]
    >>> accuracy_by(rows).get_xscale()
    'log'
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    found = line_data(rows, by)
    check_axes(ax)
    if ax is None:
        ax = new_axes(7.5, 4.5)
    for place, (name, (across, accuracies, low, high)) in enumerate(found.lines.items()):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        ax.plot(across, accuracies, color=colour, marker=marker, markersize=6, linewidth=1.6, label=name)
        known = np.isfinite(low) & np.isfinite(high)
        if known.any():
            ax.fill_between(across[known], low[known], high[known], color=colour, alpha=0.15, linewidth=0)
    ticks = np.unique(np.concatenate([across for across, *_ in found.lines.values()]))
    if ticks[0] > 0 and ticks[-1] > 4 * ticks[0]:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
    if len(ticks) <= 8:
        ax.set_xticks(ticks)
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    every = np.concatenate([accuracies for _, accuracies, *_ in found.lines.values()])
    format_axis(ax.yaxis, "accuracy", every)
    ax.set_xlabel(TITLES.get(by) or metric_title(by))
    ax.set_ylabel("Test accuracy")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    plain_legend(ax)
    return ax
