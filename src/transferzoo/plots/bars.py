"""Models side by side, as bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import is_fraction, less_is_better, metric_title, readable
from transferzoo.plots.axes import BLUE, check_axes, finite_number, format_axis, new_axes, on_one_line, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonData:
    """What `comparison` draws, the best row first.

    Parameters
    ----------
    metric : str
    names : tuple of str, length n
    values : ndarray of float64, shape (n,)
        NaN where a row has no value; these rows come last.
    low, high : ndarray of float64, shape (n,)
        The values' intervals; NaN where a row has none.
    """

    metric: str
    names: tuple[str, ...]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def ends(self) -> NDArray[np.float64]:
        """Where each bar with its interval ends."""
        return np.where(np.isfinite(self.high), np.fmax(self.high, self.values), np.nan_to_num(self.values))


def comparison_data(rows: Any, metric: str = "accuracy") -> ComparisonData:
    """Return what `comparison` draws of rows, checked and in order."""
    records = records_of(rows)
    values = column_of(records, "metric", metric)
    order = np.argsort(values if less_is_better(metric) else -values, kind="stable")
    low, high = (
        np.array([finite_number(records[index].get(f"{metric}_{end}")) for index in order])
        for end in ("low", "high")
    )
    values = values[order]
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(values)
    return ComparisonData(
        metric=metric,
        names=tuple(on_one_line(records[index]["model"]) for index in order),
        values=values,
        low=np.where(known, low, np.nan),
        high=np.where(known, high, np.nan),
    )


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
    found = comparison_data(rows, metric)
    values, ends, names = found.values, found.ends, found.names
    finite = values[np.isfinite(values)]
    check_axes(ax)
    if ax is None:
        ax = new_axes(8, 1.1 + 0.36 * len(names))
    positions = np.arange(len(names))
    ax.barh(positions, np.nan_to_num(values), color=BLUE, height=0.7)
    known = np.isfinite(found.high)
    reach = [np.abs(values - found.low)[known], np.abs(found.high - values)[known]]
    ax.errorbar(
        values[known], positions[known], xerr=reach, fmt="none", ecolor="black", elinewidth=1, capsize=3
    )
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


def records_of(rows: Any) -> list[Mapping[str, Any]]:
    """Return rows as dicts, each with a model, or raise."""
    every = rows.to_records() if hasattr(rows, "to_records") else rows
    accepted = "one or more dicts with 'model' and metrics, or an object with to_records()"
    if isinstance(every, (str, Mapping)) or not isinstance(every, Iterable):
        raise invalid("rows", accepted, rows)
    records = list(every)
    if not records or not all(isinstance(row, Mapping) and "model" in row for row in records):
        raise invalid("rows", accepted, rows)
    return records


def column_of(records: list[Mapping[str, Any]], argument: str, metric: Any) -> NDArray[np.float64]:
    """Return a column of numbers, NaN where a row has none; raise where no row has one."""
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
