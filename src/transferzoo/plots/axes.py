"""What the plots share: colours, units, and room for text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008), Color Universal Design: told apart with every common colour blindness
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
SEQUENTIAL = "Blues"

# the width of an average character, in units of the font's size
CHARACTER = 0.58


def new_axes(width: float, height: float, columns: int = 1) -> Any:
    """Return the Axes of a new figure of so many inches."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
    return axes


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Return the width and height of a panel."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return box.width * 72 / dpi, box.height * 72 / dpi


def fitted(text: str, points: float, size: float) -> str:
    """Return text cut to fit into so many points at a font size."""
    room = max(3, int(points / (CHARACTER * size)))
    return text if len(text) <= room else text[: room - 1] + "…"


_LESS = (
    *("loss", "seconds", "_bytes", "_ms", "parameters", "macs", "flops", "error", "latency", "deviation"),
    *("nll", "brier", "brier_score", "ece", "mce"),
)


def less_is_better(metric: str) -> bool:
    """Return whether a lower value of `metric` is the better one.

    Examples
    --------
    >>> [less_is_better(metric) for metric in ("nll", "ece", "accuracy", "images_per_second")]
    [True, True, False, False]
    """
    return metric.endswith(_LESS) or "latency" in metric


def is_fraction(metric: str) -> bool:
    """Return whether `metric` is one of those given as a fraction and shown as a percentage."""
    return any(word in metric for word in ("accuracy", "f1", "precision", "recall"))


def readable(metric: str, value: float) -> str:
    """Return `value` as a person would write it: ``81.2%``, ``3.2 M``, ``13 MB``, ``41.5 s``."""
    if not math.isfinite(value):
        return "n/a"
    if is_fraction(metric) and 0 <= value <= 1:
        return f"{value:.1%}"
    if metric.endswith("loss"):
        return f"{value:.3f}"
    unit = ""
    if metric.endswith("_bytes"):
        unit = "B"
    elif metric.endswith("seconds"):
        unit = "s"
    elif metric.endswith("_ms"):
        unit = "ms"
    if unit not in ("s", "ms") and abs(value) >= 1000:
        for power, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            # 999.6 k would read 1e+03 k: round up to the next prefix instead
            if abs(value) >= 0.9995 * power:
                return f"{value / power:.3g} {prefix}{unit}"
    number = f"{value:,.0f}" if abs(value) >= 99.95 or value == int(value) else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def metric_title(metric: str) -> str:
    """Return a metric or cost in words, for an axis."""
    known = {
        "size_bytes": "Weights",
        "file_bytes": "Saved file",
        "peak_memory_bytes": "Peak memory",
        "train_seconds": "Training time",
        "macro_f1": "Macro F1",
        "latency_ms": "Latency, one image",
        "macs": "Multiply-accumulates, one image",
    }
    words = metric.replace("_", " ")
    return known.get(metric, words[:1].upper() + words[1:])


def format_axis(axis: Any, metric: str, values: NDArray[np.float64]) -> None:
    """Give an axis of a metric or cost ticks that a person reads."""
    from matplotlib.ticker import FuncFormatter, PercentFormatter

    if is_fraction(metric) and values.min() >= 0 and values.max() <= 1:
        axis.set_major_formatter(PercentFormatter(1))
    elif not metric.endswith("loss"):
        axis.set_major_formatter(FuncFormatter(lambda value, _: readable(metric, value)))


def finite_number(value: Any) -> float:
    """Return a value as a float; NaN where it is no finite number."""
    if value is None or isinstance(value, (str, bool)):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan
