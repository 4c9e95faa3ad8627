"""The ladder of an audited study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferzoo.errors import invalid
from transferzoo.plots.axes import BLUE, GREY, VERMILLION, check_axes, new_axes, on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDED = ("label", "accuracy", "low", "high")


def ladder(steps: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Accuracy step by step, from the first at the top to the last, and what each step gained.

    Parameters
    ----------
    steps : sequence of mapping
        Each with ``label`` (str), ``accuracy``, ``low`` and ``high`` (its interval), fractions in ``[0, 1]``;
        and, but for the first, ``gain``, ``gain_low`` and ``gain_high``, fractions too.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the steps.

    Returns
    -------
    matplotlib Axes
        A point with its interval for each step; to the right the points gained, grey where the interval of
        the gain holds 0.

    Raises
    ------
    InvalidInputError
        If there is no step, or one lacks an entry.

    Examples
    --------
    >>> steps = [
    ...     {"label": "as published", "accuracy": 0.4, "low": 0.39, "high": 0.41},
    ...     {"label": "repaired", "accuracy": 0.6, "low": 0.59, "high": 0.61,
    ...      "gain": 0.2, "gain_low": 0.18, "gain_high": 0.22},
    ... ]
    >>> [text.get_text() for text in ladder(steps).texts]
    ['40.0 %', '60.0 %', '+20.0  (+18.0 to +22.0)']
    """
    from matplotlib.ticker import PercentFormatter

    every = list(steps)
    if not every:
        raise invalid("steps", "one or more steps", every)
    for step in every:
        missing = [key for key in NEEDED if step.get(key) is None]
        if missing:
            raise invalid("steps", f"mappings with {', '.join(NEEDED)}", sorted(step))
    check_axes(ax)
    if ax is None:
        ax = new_axes(9, 1.3 + 0.5 * len(every))
    places = np.arange(len(every))
    accuracies = np.array([float(step["accuracy"]) for step in every])
    lows = np.array([float(step["low"]) for step in every])
    highs = np.array([float(step["high"]) for step in every])
    ax.hlines(places, 0, accuracies, color=BLUE, alpha=0.25, linewidth=7)
    ax.errorbar(
        accuracies,
        places,
        xerr=[np.maximum(accuracies - lows, 0), np.maximum(highs - accuracies, 0)],
        fmt="o",
        color=BLUE,
        markersize=5,
        capsize=3,
        linewidth=1.5,
    )
    for place, accuracy, high in zip(places, accuracies, highs, strict=True):
        ax.annotate(
            f"{100 * accuracy:.1f} %",
            (high, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    side = ax.get_yaxis_transform()
    for row, step in enumerate(every):
        if step.get("gain") is None:
            continue
        gain, low, high = (100 * float(step[key]) for key in ("gain", "gain_low", "gain_high"))
        clear = low > 0 or high < 0
        colour = (BLUE if gain > 0 else VERMILLION) if clear else GREY
        words = f"{gain:+.1f}  ({low:+.1f} to {high:+.1f})" + ("" if clear else "  unclear")
        ax.text(1.02, row, words, transform=side, va="center", fontsize=9, color=colour)
    if any(step.get("gain") is not None for step in every):
        ax.set_title("points gained (95 % interval)", loc="right", fontsize=9, color=GREY, x=1.38)
    ax.set_yticks(places, [on_one_line(step["label"]) for step in every], parse_math=False)
    ax.set_ylim(len(every) - 0.5, -0.5)
    top = float(np.nanmax(highs))
    ax.set_xlim(0, min(1.1, (top if math.isfinite(top) else 1.0) * 1.18 + 0.02))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("Test accuracy")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", alpha=0.3)
    return ax
