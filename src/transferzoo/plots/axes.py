"""What the plots share: colours, units, and room for text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid, printable
from transferzoo.ground.metrics import is_fraction, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008), Color Universal Design: told apart with every common colour blindness
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
SEQUENTIAL = "Blues"

# the width of an average character, in units of the font's size
CHARACTER = 0.58


def check_axes(ax: Any) -> None:
    """Raise unless `ax` is None or a matplotlib Axes."""
    # without matplotlib's own class: nothing that is no Axes has all of these
    if ax is not None and not all(hasattr(ax, name) for name in ("plot", "imshow", "set_xlabel")):
        raise invalid("ax", "a matplotlib Axes, as pyplot.subplots() returns", ax)


def new_axes(width: float, height: float, columns: int = 1) -> Any:
    """Return the Axes of a new figure of so many inches."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
    return axes


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Return the width and height of a panel."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return box.width * 72 / dpi, box.height * 72 / dpi


def on_one_line(name: Any) -> str:
    """Return a name as it can be drawn beside others: no line breaks, tabs or control characters."""
    return printable(" ".join(str(name).split()))


def plain_legend(ax: Axes, **options: Any) -> None:
    """Draw a legend without a frame, whose names are shown as they are: a dollar sign begins no formula."""
    for text in ax.legend(frameon=False, fontsize=9, **options).get_texts():
        text.set_parse_math(False)


def fitted(text: str, points: float, size: float) -> str:
    """Return a name cut in its middle to fit into so many points at a font size.

    Long names often begin alike, and differ at their ends.
    """
    text = on_one_line(text)
    room = max(3, int(points / (CHARACTER * size)))
    if len(text) <= room:
        return text
    end = (room - 1) // 2
    return f"{text[: room - 1 - end]}…{text[len(text) - end :]}"


def predictions_of(y_true: Any, argument: str, accepted: str) -> tuple[Any, Any]:
    """Return true classes and probabilities of a result that was given in place of both."""
    if not all(hasattr(y_true, name) for name in ("y_true", "y_prob")):
        remedy = "Leave it out only where the first argument is a result."
        raise invalid(argument, accepted, None, remedy=remedy)
    return y_true.y_true, y_true.y_prob


def titled(ax: Axes, title: Any, *, above: float = 6.0) -> None:
    """Give a panel a title so many points above it, unless it is None."""
    if title is None:
        return
    if not isinstance(title, str):
        raise invalid("title", "text or None", title)
    ax.set_title(title, loc="left", fontsize=10, pad=above, parse_math=False)


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
