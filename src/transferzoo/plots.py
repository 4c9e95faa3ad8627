"""Arrays and records in, matplotlib Axes out; nothing is ever shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import check_count, invalid
from transferzoo.evaluation import (
    Found,
    check_class_names,
    check_labels,
    check_normalize,
    check_probabilities,
    confusion,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008), Color Universal Design: told apart with every common colour blindness
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
SEQUENTIAL = "Blues"

# the width of an average character, in units of the font's size
CHARACTER = 0.58


def _new_axes(width: float, height: float, columns: int = 1) -> Any:
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
    return axes


def _size_in_points(ax: Axes) -> tuple[float, float]:
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return box.width * 72 / dpi, box.height * 72 / dpi


def _fitted(text: str, points: float, size: float) -> str:
    room = max(3, int(points / (CHARACTER * size)))
    return text if len(text) <= room else text[: room - 1] + "…"


def less_is_better(metric: str) -> bool:
    """Return whether a lower value of `metric` is the better one."""
    endings = ("loss", "seconds", "_bytes", "_ms", "parameters", "macs", "flops", "error", "brier", "latency")
    return metric.endswith(endings) or "latency" in metric


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


def _title(metric: str) -> str:
    known = {
        "size_bytes": "Size on disk",
        "train_seconds": "Training time",
        "macro_f1": "Macro F1",
        "latency_ms": "Latency",
        "macs": "Multiply-adds",
    }
    words = metric.replace("_", " ")
    return known.get(metric, words[:1].upper() + words[1:])


def _format_axis(axis: Any, metric: str, values: NDArray[np.float64]) -> None:
    from matplotlib.ticker import FuncFormatter, PercentFormatter

    if is_fraction(metric) and values.min() >= 0 and values.max() <= 1:
        axis.set_major_formatter(PercentFormatter(1))
    elif not metric.endswith("loss"):
        axis.set_major_formatter(FuncFormatter(lambda value, _: readable(metric, value)))


def image_grid(
    images: Any,
    labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    *,
    rows: int = 5,
    columns: int = 5,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Random images in a grid, each under the name of its class.

    Parameters
    ----------
    images : array, shape (n, height, width, channels) or (n, height, width), or a dataset
        uint8 or float, 0 to 255 (floats of which none exceeds 1 are taken as 0 to 1); 1, 3 or 4 channels.
        Or anything with ``x_train``, ``y_train`` and ``class_names``.
    labels : array of int, shape (n,), optional
        The class of each image, 0 or more. Without it the images have no titles.
    class_names : sequence of str, optional
        The name of each class; by default its number.
    rows, columns : int, default 5
        Size of the grid, at least 1 each. Fewer images fill fewer rows.
    seed : int, default 0
        Decides which images are drawn, without replacement.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With one image artist for each image and one text for each title.

    Raises
    ------
    InvalidInputError
        If the images, labels or names are not as above.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((9, 8, 8, 3), dtype="uint8")
    >>> ax = image_grid(images, np.arange(9) % 2, ["cat", "dog"], rows=2, columns=3)
    >>> len(ax.images)
    6
    """
    rows, columns = check_count("rows", rows, 1), check_count("columns", columns, 1)
    seed = check_count("seed", seed, 0)
    if all(hasattr(images, name) for name in ("x_train", "y_train", "class_names")):
        labels = images.y_train if labels is None else labels
        class_names = images.class_names if class_names is None else class_names
        images = images.x_train
    array = np.asarray(images)
    accepted = "images of 0 to 255, shape (n, height, width, channels), or a dataset"
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3, 4):
        raise invalid("images", accepted, Found(f"shape {array.shape}") if array.ndim else images)
    chosen = np.random.default_rng(seed).permutation(len(array))[: rows * columns]
    sample = _displayable(array[chosen], accepted)
    titles = _image_titles(labels, class_names, len(array), chosen)

    height_over_width = sample.shape[1] / sample.shape[2]
    gap, band = 0.08, 0.2 if titles else 0.0
    cell_width, cell_height = 1 + gap, height_over_width + band + gap
    used_columns = min(columns, len(sample))
    used_rows = math.ceil(len(sample) / used_columns)
    if ax is None:
        ax = _new_axes(1.5 * used_columns * cell_width, 1.5 * used_rows * cell_height)
    for index, image in enumerate(sample):
        left = index % used_columns * cell_width
        top = -(index // used_columns) * cell_height - band
        picture = image[..., 0] if image.shape[-1] == 1 else image
        extent = (left, left + 1, top - height_over_width, top)
        ax.imshow(picture, extent=extent, cmap="gray", vmin=0, vmax=255)
    ax.set_xlim(-gap / 2, used_columns * cell_width - gap / 2)
    ax.set_ylim(-used_rows * cell_height + gap / 2, gap / 2)
    ax.set_aspect("equal")
    ax.axis("off")
    if titles:
        ax.apply_aspect()
        width, height = _size_in_points(ax)
        room = width * cell_width / (used_columns * cell_width) * 0.97
        tallest = 0.8 * band * height / (used_rows * cell_height)
        longest = max(len(title) for title in titles)
        size = min(10.0, tallest, room / (CHARACTER * max(longest, 1)))
        size = max(size, min(6.0, tallest))
        for index, title in enumerate(titles):
            ax.text(
                index % used_columns * cell_width + 0.5,
                -(index // used_columns) * cell_height - band * 0.9,
                _fitted(title, room, size),
                fontsize=size,
                ha="center",
                va="bottom",
                parse_math=False,
            )
    return ax


def _displayable(sample: NDArray[Any], accepted: str) -> NDArray[np.uint8]:
    if sample.dtype == np.uint8:
        return sample
    if not (np.issubdtype(sample.dtype, np.floating) or np.issubdtype(sample.dtype, np.integer)):
        raise invalid("images", accepted, Found(f"dtype {sample.dtype}"))
    low, high = float(sample.min()), float(sample.max())
    if not (low >= 0 and high <= 255):
        remedy = "Pass the images as they were before preprocessing."
        raise invalid("images", accepted, Found(f"values from {low:.4g} to {high:.4g}"), remedy=remedy)
    scale = 255 if np.issubdtype(sample.dtype, np.floating) and high <= 1 else 1
    return np.round(sample.astype(np.float64) * scale).astype(np.uint8)


def _image_titles(
    labels: ArrayLike | None, class_names: Sequence[str] | None, count: int, chosen: NDArray[Any]
) -> list[str]:
    if labels is None:
        return []
    known = None if class_names is None else len(class_names)
    numbers = check_labels("labels", labels, num_classes=known)
    if len(numbers) != count:
        raise invalid("labels", f"as many as the images, {count}", len(numbers))
    names = check_class_names(class_names, known or int(numbers.max()) + 1)
    return [names[number] for number in numbers[chosen]]


def history(history: Any, *, ax: Any = None) -> NDArray[Any]:
    """Loss and accuracy over the epochs, in two panels.

    Parameters
    ----------
    history : mapping of str to list, or an object whose ``history`` is one
        One entry an epoch: ``loss`` and ``accuracy``; where there are, ``val_loss``, ``val_accuracy`` and
        ``phase`` (str). Accuracies are fractions in ``[0, 1]``. Other keys are not drawn.
    ax : pair of matplotlib Axes, optional
        Where to draw loss and accuracy; by default a new figure.

    Returns
    -------
    ndarray of Axes, shape (2,)
        The loss panel and the accuracy panel. A thin line marks where a phase begins.

    Raises
    ------
    InvalidInputError
        If a key is missing, the lists differ in length, or `ax` is not a pair.

    Examples
    --------
    >>> loss, accuracy = history({"loss": [1.2, 0.8], "accuracy": [0.5, 0.7]})
    >>> accuracy.lines[0].get_xydata().tolist()
    [[1.0, 0.5], [2.0, 0.7]]
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    series, phases = _history_series(history)
    if ax is None:
        axes = _new_axes(10, 3.8, columns=2)
    else:
        axes = np.asarray(ax, dtype=object).ravel()
        if axes.shape != (2,) or not all(hasattr(one, "plot") for one in axes):
            raise invalid("ax", "a pair of matplotlib Axes, for loss and accuracy", ax)
    epochs = np.arange(1, len(series["loss"]) + 1)
    marker = "o" if len(epochs) <= 30 else ""
    for panel, name in zip(axes, ("loss", "accuracy"), strict=True):
        panel.plot(epochs, series[name], color=BLUE, marker=marker, markersize=4, label="training")
        if f"val_{name}" in series:
            panel.plot(
                epochs,
                series[f"val_{name}"],
                color=VERMILLION,
                linestyle="--",
                marker=marker and "s",
                markersize=4,
                label="validation",
            )
        _mark_phases(panel, phases, at_top=name == "loss")
        panel.set_xlabel("Epoch")
        panel.set_ylabel(name.capitalize())
        panel.set_xlim(0.5, len(epochs) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        # above the panel, where neither a curve nor a phase's name can lie under it
        panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    return np.asarray(axes)


def _history_series(history: Any) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    lists = history if isinstance(history, Mapping) else getattr(history, "history", None)
    accepted = "a mapping of lists with 'loss' and 'accuracy', or an object whose history is one"
    if not isinstance(lists, Mapping):
        raise invalid("history", accepted, history)
    series = {}
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        if lists.get(key) is None:
            if key in ("loss", "accuracy"):
                raise invalid("history", accepted, sorted(map(str, lists)))
            continue
        try:
            series[key] = np.asarray(lists[key], dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise invalid(f"history[{key!r}]", "a list of numbers, one for each epoch", lists[key]) from None
    phases = [str(phase) for phase in lists.get("phase") or []]
    lengths = {key: len(values) for key, values in series.items()}
    if phases:
        lengths["phase"] = len(phases)
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise invalid("history", "lists of one length, one entry for each epoch", lengths)
    return series, phases


def _mark_phases(panel: Axes, phases: list[str], *, at_top: bool) -> None:
    for index in range(1, len(phases)):
        if phases[index] == phases[index - 1]:
            continue
        panel.axvline(index + 0.5, color=GREY, linewidth=0.8, linestyle=":")
        panel.text(
            index + 0.5,
            0.98 if at_top else 0.02,
            f" {phases[index]} ",
            transform=panel.get_xaxis_transform(),
            rotation=90,
            ha="right",
            va="top" if at_top else "bottom",
            fontsize=8,
            color=GREY,
            parse_math=False,
        )


def confusion_matrix(
    y_true: Any,
    y_pred: ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    normalize: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Confusion matrix as a heat map, true classes down and predicted classes across.

    Parameters
    ----------
    y_true : array of int, shape (n,), or a result
        True classes, each in ``[0, k)``. Or, alone, anything with ``y_true``, ``y_prob`` and
        ``class_names``.
    y_pred : array of int, shape (n,), or of float, shape (n, k)
        Predicted classes, or class probabilities.
    class_names : sequence of str, optional
        The ``k`` names; by default the class numbers.
    normalize : {"true", "pred", "all"}, optional
        Show fractions of each row, each column or everything. Default: counts.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the classes.

    Returns
    -------
    matplotlib Axes
        Up to 20 classes have a number in each cell; more have a colour bar, and some of the names.

    Raises
    ------
    InvalidInputError
        If an array or option is not one of these, or the arrays do not belong together.

    Examples
    --------
    >>> ax = confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], class_names=["cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['2', '0', '1', '1']
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    if y_pred is None:
        if not all(hasattr(y_true, name) for name in ("y_true", "y_prob")):
            raise invalid(
                "y_pred",
                "predicted classes, shape (n,), or probabilities, shape (n, k)",
                None,
                remedy="Leave it out only where the first argument is a result.",
            )
        if class_names is None:
            class_names = getattr(y_true, "class_names", None)
        y_true, y_pred = y_true.y_true, y_true.y_prob
    check_normalize(normalize)
    predicted = np.asarray(y_pred)
    if predicted.ndim == 2:
        predicted = check_probabilities(predicted)
        names = check_class_names(class_names, predicted.shape[1])
        matrix = confusion(y_true, predicted, normalize=normalize)
    else:
        known = None if class_names is None else len(class_names)
        matrix = confusion(y_true, predicted, num_classes=known, normalize=normalize)
        names = check_class_names(class_names, len(matrix))

    k = len(names)
    with_text = k <= 20
    if ax is None:
        side = min(3.6 + 0.42 * k, 11.0)
        ax = _new_axes(side if with_text else side + 1, side)
    values_format = "d" if normalize is None else ".2f"
    longest = max(len(format(value, values_format)) for value in matrix.flat)
    # tick labels will take some of the room; 0.8 leaves it to them
    cell = 0.8 * min(_size_in_points(ax)) / k
    text_size = float(np.clip(cell * 0.85 / (CHARACTER * longest), 4, 11))
    options: dict[str, Any] = {"text_kw": {"fontsize": text_size}} if with_text else {}
    ConfusionMatrixDisplay(matrix, display_labels=names).plot(
        ax=ax,
        cmap=SEQUENTIAL,
        include_values=with_text,
        values_format=values_format,
        colorbar=not with_text,
        im_kw={"vmin": 0, "vmax": 1 if normalize in ("true", "pred") else max(matrix.max(), 1e-12)},
        **options,
    )
    shown = np.arange(0, k, math.ceil(k / 25))
    label_size = float(np.clip(cell * (shown[1] if k > 25 else 1) * 0.9, 5, 10))
    ticks = [_fitted(names[index], 140, label_size) for index in shown]
    ax.set_xticks(
        shown, ticks, rotation=45, ha="right", rotation_mode="anchor", fontsize=label_size, parse_math=False
    )
    ax.set_yticks(shown, ticks, fontsize=label_size, parse_math=False)
    ax.set_xlabel("Predicted class")
    ax.set_ylabel("True class")
    return ax


def _records(rows: Any) -> list[Mapping[str, Any]]:
    every = rows.to_records() if hasattr(rows, "to_records") else rows
    accepted = "one or more dicts with 'model' and metrics, or an object with to_records()"
    if isinstance(every, (str, Mapping)) or not isinstance(every, Iterable):
        raise invalid("rows", accepted, rows)
    records = list(every)
    if not records or not all(isinstance(row, Mapping) and "model" in row for row in records):
        raise invalid("rows", accepted, rows)
    return records


def _number(value: Any) -> float:
    if value is None or isinstance(value, (str, bool)):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _column(records: list[Mapping[str, Any]], argument: str, metric: Any) -> NDArray[np.float64]:
    values = np.array([_number(row.get(metric)) for row in records])
    if np.isnan(values).all():
        known = dict.fromkeys(key for row in records for key in row if not math.isnan(_number(row[key])))
        accepted = "a column that holds numbers" + (f": {', '.join(map(repr, known))}" if known else "")
        raise invalid(argument, accepted, metric, candidates=[str(key) for key in known])
    return values


def comparison(rows: Any, *, metric: str = "accuracy", ax: Axes | None = None) -> Axes:
    """Models side by side on one metric, as bars with the best on top.

    Parameters
    ----------
    rows : list of dict, or an object with ``to_records()``
        Each with ``model`` and metrics, such as ``Result.row()`` gives.
    metric : str, default "accuracy"
        Which to show. Losses, errors, times, sizes and counts have the lowest on top.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the rows.

    Returns
    -------
    matplotlib Axes
        One bar a row. A row without a finite value comes last, marked ``n/a``.

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
    if ax is None:
        ax = _new_axes(8, 1.1 + 0.36 * len(names))
    positions = np.arange(len(names))
    bars = ax.barh(positions, np.nan_to_num(values), color=BLUE, height=0.7)
    ax.bar_label(bars, [readable(metric, value) for value in values], padding=4, fontsize=9)
    ax.set_yticks(positions, names, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    low, high = min(0.0, finite.min()), max(0.0, finite.max())
    room = 0.14 * ((high - low) or 1.0)
    ax.set_xlim(low - room if low < 0 else 0, high + room)
    _format_axis(ax.xaxis, metric, finite)
    ax.set_xlabel(_title(metric) + (" (less is better)" if less_is_better(metric) else ""))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def accuracy_against_cost(rows: Any, *, cost: str = "parameters", ax: Axes | None = None) -> Axes:
    """Accuracy of each model against what it costs, as labelled points.

    Parameters
    ----------
    rows : list of dict, or an object with ``to_records()``
        Each with ``model``, ``accuracy`` (a fraction in ``[0, 1]``) and the cost, such as
        ``Result.row()`` gives. Rows without both are left out.
    cost : str, default "parameters"
        The column across. Its axis is logarithmic when the costs span more than a factor of 10.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        One point a row, each beside its name.

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
    if ax is None:
        ax = _new_axes(8, 5)
        figure = ax.figure
    ax.scatter(costs, accuracies, color=BLUE, s=36, zorder=3)
    logarithmic = costs.min() > 0 and costs.max() / costs.min() > 10
    if logarithmic:
        ax.set_xscale("log")
        decades = math.log10(costs.max() / costs.min())
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.12, y=0.12)
    _format_axis(ax.xaxis, cost, costs)
    _format_axis(ax.yaxis, "accuracy", accuracies)
    ax.set_xlabel(_title(cost))
    ax.set_ylabel("Accuracy")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    if figure is not None:
        # the constrained layout moves the panel, and the labels are placed by where the points lie on it
        figure.draw_without_rendering()
    _label_points(ax, costs, accuracies, names)
    return ax


def _label_points(ax: Axes, x: NDArray[Any], y: NDArray[Any], names: list[str], size: float = 9) -> None:
    """Put each name on that side of its point where it covers least of the points and names so far."""
    scale = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y])) / scale
    frame = ax.get_window_extent()
    left, bottom, right, top = (edge / scale for edge in (frame.x0, frame.y0, frame.x1, frame.y1))
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in points]
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
        )


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


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
    rates, losses, raw = (_curve_part(curve, name) for name in ("rates", "losses", "raw_losses"))
    suggestion = _number(getattr(curve, "suggestion", None))
    if not len(rates) == len(losses) == len(raw) > 0:
        raise invalid(
            "curve", "with rates, losses and raw_losses of one length", (len(rates), len(losses), len(raw))
        )
    if rates.min() <= 0:
        raise invalid("curve.rates", "above 0", float(rates.min()))
    if not suggestion > 0:
        raise invalid("curve.suggestion", "a rate above 0", getattr(curve, "suggestion", None))
    if ax is None:
        ax = _new_axes(7, 4)
    ax.plot(rates, raw, color=BLUE, alpha=0.25, linewidth=1, label="each batch")
    ax.plot(rates, losses, color=BLUE, linewidth=2, label="smoothed")
    ax.axvline(suggestion, color=VERMILLION, linestyle="--", linewidth=1.5)
    ax.set_xscale("log")
    # one wild batch at the end must not flatten the valley
    lowest, highest = min(losses.min(), raw.min()), losses.max()
    room = 0.08 * max(highest - lowest, 1e-3 * max(abs(highest), 1.0))
    ax.set_ylim(lowest - room, highest + 2 * room)
    left, right = (math.log(limit) for limit in ax.get_xlim())
    place = (math.log(suggestion) - left) / (right - left)
    near_left = place < 0.5
    # both stand above the panel, on either side of each other, where no curve can lie under them
    ax.annotate(
        f"suggested: {suggestion:.2g}",
        (suggestion, 1),
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
