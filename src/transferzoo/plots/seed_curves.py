"""One figure over the epochs, for models that were each trained with several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_sequence
from transferzoo.ground.metrics import metric_title
from transferzoo.plots.axes import check_axes, format_axis, new_axes, on_one_line, plain_legend
from transferzoo.plots.learning_curves import history_data
from transferzoo.plots.lines import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = ("val_accuracy", "val_loss", "accuracy", "loss")
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedCurveData:
    """What `histories` draws.

    Parameters
    ----------
    metric : str
    models : mapping of str to ndarray of float64, shape (seeds, epochs)
        Runs that stopped early end in NaN.
    """

    metric: str
    models: dict[str, NDArray[np.float64]]


def seed_curve_data(runs: Any, metric: str = "val_accuracy") -> SeedCurveData:
    """Return what `histories` draws, checked."""
    if not isinstance(metric, str) or metric not in METRICS:
        raise invalid("metric", " or ".join(map(repr, METRICS)), metric, candidates=METRICS)
    accepted = "a mapping of labels to runs, or to lists of runs"
    names = getattr(runs, "names", None)
    if names is not None and hasattr(runs, "runs"):
        runs = {name: runs.runs(name) for name in names}
    if not isinstance(runs, Mapping) or not runs:
        raise invalid("runs", accepted, runs)
    models: dict[str, NDArray[np.float64]] = {}
    for label, given in runs.items():
        single = isinstance(given, Mapping) or hasattr(given, "history")
        every = (given,) if single else check_sequence("runs", accepted, given)
        curves = [history_data(each).epochs.get(metric, np.zeros(0)) for each in every]
        longest = max(map(len, curves), default=0)
        if not longest:
            raise invalid("runs", f"runs with {metric!r} by epoch", on_one_line(label))
        rows = np.full((len(curves), longest), np.nan)
        for row, curve in zip(rows, curves, strict=True):
            row[: len(curve)] = curve
        models[on_one_line(label)] = rows
    return SeedCurveData(metric=metric, models=models)


def histories(runs: Any, *, metric: str = "val_accuracy", ax: Axes | None = None) -> Axes:
    """One figure over the epochs: each model's mean over its seeds, in a band from lowest to highest.

    Parameters
    ----------
    runs : study, or mapping of str to a run, or to a list of runs
        A run is what `history` takes: a mapping of lists, or an object whose ``history`` is one. Heads that
        were solved in one go are no epochs, and are left out.
    metric : {"val_accuracy", "val_loss", "accuracy", "loss"}, default "val_accuracy"
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        The mean is over the runs that reached an epoch.

    Raises
    ------
    InvalidInputError
        If there is no run, or one lacks the figure.

    Examples
    --------
    >>> run = {"loss": [1.2, 0.8], "accuracy": [0.5, 0.7], "val_accuracy": [0.4, 0.6]}
    >>> histories({"vgg16": [run, run]}).lines[0].get_ydata().tolist()
    [0.4, 0.6]
    """
    from matplotlib.ticker import MaxNLocator

    found = seed_curve_data(runs, metric)
    check_axes(ax)
    if ax is None:
        ax = new_axes(7.5, 4.2)
    for place, (label, rows) in enumerate(found.models.items()):
        epochs = np.arange(1, rows.shape[1] + 1)
        several = len(rows) > 1
        name = f"{label} ({len(rows)} seeds)" if several else label
        colour, line = COLOURS[place % len(COLOURS)], LINES[place % len(LINES)]
        ax.plot(epochs, np.nanmean(rows, axis=0), color=colour, linestyle=line, linewidth=1.6, label=name)
        if several:
            low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
            ax.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
    every = np.concatenate([rows.ravel() for rows in found.models.values()])
    format_axis(ax.yaxis, metric, every[np.isfinite(every)])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("Epoch")
    ax.set_ylabel(metric_title(metric))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    plain_legend(ax)
    return ax
