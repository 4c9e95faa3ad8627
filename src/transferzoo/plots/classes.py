"""Classes one by one: each one's accuracy, and where two models confuse them differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.evaluation import confusion
from transferzoo.ground.arguments import check_count, check_sequence
from transferzoo.judging.prediction_checks import check_class_names, check_labels, check_probabilities
from transferzoo.plots.axes import check_axes, fitted, new_axes, on_one_line, plain_legend
from transferzoo.plots.lines import COLOURS, MARKERS
from transferzoo.statistics import wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULT = "a result, with y_true, y_prob and class_names"


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassData:
    """What `class_accuracies` draws.

    Parameters
    ----------
    class_names : tuple of str, length k
        The least accurate first, by the first model.
    images : ndarray of int64, shape (k,)
        Test images of each class.
    models : mapping of str to ndarray of float64, shape (3, k)
        Accuracy of each class, and the low and high ends of its 95 % interval; NaN without images.
    left_out : int
        Classes that are not shown, more accurate than these.
    """

    class_names: tuple[str, ...]
    images: NDArray[np.int64]
    models: dict[str, NDArray[np.float64]]
    left_out: int


def class_data(results: Any, limit: int = 30) -> ClassData:
    """Return what `class_accuracies` draws, checked."""
    limit = check_count("limit", limit, 1)
    named = _named(results)
    first = next(iter(named.values()))
    truth, names = first[0], first[2]
    k = len(names)
    images = np.bincount(truth, minlength=k)
    models: dict[str, NDArray[np.float64]] = {}
    for label, (y_true, guesses, own_names) in named.items():
        if own_names != names or not np.array_equal(y_true, truth):
            raise invalid("results", "of the same test images and classes", label)
        right = np.bincount(y_true[guesses == y_true], minlength=k)
        rows = np.full((3, k), np.nan)
        for place in np.flatnonzero(images):
            low, high = wilson_interval(int(right[place]), int(images[place]))
            rows[:, place] = right[place] / images[place], low, high
        models[label] = rows
    order = np.argsort(next(iter(models.values()))[0], kind="stable")
    shown = order[:limit]
    return ClassData(
        class_names=tuple(names[place] for place in shown),
        images=images[shown],
        models={label: rows[:, shown] for label, rows in models.items()},
        left_out=k - len(shown),
    )


def class_accuracies(results: Any, *, limit: int = 30, ax: Axes | None = None) -> Axes:
    """Accuracy of each class with its interval, the least accurate at the top; one model or several.

    Parameters
    ----------
    results : a result, a sequence of them, or a mapping of labels to them
        Each with ``y_true`` (int, shape (n,)), ``y_prob`` (float, shape (n, k)) and ``class_names``; all of
        the same test images.
    limit : int, default 30
        Classes to show; what is left out is more accurate, by the first model.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the classes.

    Returns
    -------
    matplotlib Axes
        For each class the share of its images that was classified rightly (recall), with Wilson's 95 %
        interval; its images in brackets.

    Raises
    ------
    InvalidInputError
        If a result lacks one of these, or they are not of the same images.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> run = SimpleNamespace(y_true=[0, 0, 1], y_prob=[[1, 0], [0, 1], [0, 1]], class_names=["cat", "dog"])
    >>> [label.get_text() for label in class_accuracies(run).get_yticklabels()]
    ['cat (2)', 'dog (1)']
    """
    from matplotlib.ticker import PercentFormatter

    found = class_data(results, limit)
    count = len(found.class_names)
    check_axes(ax)
    if ax is None:
        ax = new_axes(7.5, 1.3 + 0.28 * count * max(1, len(found.models) / 2))
    places = np.arange(count)
    for number, (label, (accuracies, low, high)) in enumerate(found.models.items()):
        shift = 0.0 if len(found.models) == 1 else 0.5 * (number / (len(found.models) - 1) - 0.5)
        ax.errorbar(
            accuracies,
            places + shift,
            xerr=[np.maximum(accuracies - low, 0), np.maximum(high - accuracies, 0)],
            fmt=MARKERS[number % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            markersize=5,
            capsize=2,
            linewidth=1.2,
            label=label,
        )
    ticks = [
        f"{fitted(name, 140, 9)} ({images})"
        for name, images in zip(found.class_names, found.images, strict=True)
    ]
    ax.set_yticks(places, ticks, fontsize=9, parse_math=False)
    ax.set_ylim(count - 0.5, -0.5)
    ax.set_xlim(0, 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    more = f"; {found.left_out} more accurate classes are not shown" if found.left_out else ""
    ax.set_xlabel(f"Share of the class's test images classified rightly{more}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", alpha=0.3)
    if len(found.models) > 1:
        plain_legend(ax, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    return ax


def confusion_difference(
    a: Any, b: Any, *, names: tuple[str, str] = ("a", "b"), ax: Axes | None = None
) -> Axes:
    """Where `b` takes classes for others more often than `a`, or less: true classes down, guesses across.

    Parameters
    ----------
    a, b : results
        Each with ``y_true`` (int, shape (n,)), ``y_prob`` (float, shape (n, k)) and ``class_names``; of the
        same test images.
    names : pair of str, default ("a", "b")
        What to call them.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the classes.

    Returns
    -------
    matplotlib Axes
        Each cell is `b`'s share of the row's images minus `a`'s, in points: on the diagonal positive is
        better, elsewhere worse. Up to 20 classes have a number in each cell that is not zero.

    Raises
    ------
    InvalidInputError
        If a result lacks one of these, or they are not of the same images.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> one = SimpleNamespace(y_true=[0, 1], y_prob=[[1, 0], [1, 0]], class_names=["cat", "dog"])
    >>> two = SimpleNamespace(y_true=[0, 1], y_prob=[[1, 0], [0, 1]], class_names=["cat", "dog"])
    >>> [text.get_text() for text in confusion_difference(one, two).texts]
    ['-100', '+100']
    """
    labels = [on_one_line(name) for name in check_sequence("names", "a pair of names", names)]
    if len(labels) != 2:
        raise invalid("names", "a pair of names", names)
    first, second = _checked("a", a), _checked("b", b)
    if first[2] != second[2] or not np.array_equal(first[0], second[0]):
        raise invalid("b", "a result of the same test images and classes as a", type(b).__name__)
    classes = first[2]
    k = len(classes)
    shares = [
        confusion(truth, guesses, num_classes=k, normalize="true") for truth, guesses, _ in (first, second)
    ]
    change = 100 * (shares[1] - shares[0])
    check_axes(ax)
    if ax is None:
        side = min(3.6 + 0.42 * k, 11.0)
        ax = new_axes(side + 1, side)
    reach = max(float(np.abs(change).max()), 1e-9)
    # blue and red apart for every kind of colour vision, white where nothing changed
    image = ax.imshow(change, cmap="RdBu_r", vmin=-reach, vmax=reach)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04)
    bar.set_label(f"{fitted(labels[1], 120, 9)} minus {fitted(labels[0], 120, 9)}, points", parse_math=False)
    if k <= 20:
        for row, column in zip(*np.nonzero(np.abs(change) >= 0.5), strict=True):
            value = change[row, column]
            colour = "white" if abs(value) > 0.6 * reach else "black"
            ax.text(column, row, f"{value:+.0f}", ha="center", va="center", fontsize=8, color=colour)
    shown = np.arange(0, k, math.ceil(k / 25))
    ticks = [fitted(classes[place], 120, 8) for place in shown]
    ax.set_xticks(shown, ticks, rotation=45, ha="right", rotation_mode="anchor", fontsize=8, parse_math=False)
    ax.set_yticks(shown, ticks, fontsize=8, parse_math=False)
    ax.set_xlabel("Predicted class")
    ax.set_ylabel("True class")
    return ax


def _named(results: Any) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]]:
    if isinstance(results, Mapping):
        given = {on_one_line(label): each for label, each in results.items()}
    elif hasattr(results, "y_prob"):
        given = {on_one_line(getattr(results, "name", "")): results}
    else:
        given = {}
        for each in check_sequence("results", f"{RESULT}, or several", results):
            label = on_one_line(getattr(each, "name", ""))
            given[label if label not in given else f"{label} #{len(given) + 1}"] = each
    if not given:
        raise invalid("results", "one or more results", results)
    return {label: _checked("results", each) for label, each in given.items()}


def _checked(argument: str, result: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Return true classes, guesses and class names of a result."""
    if not all(hasattr(result, part) for part in ("y_true", "y_prob")):
        raise invalid(argument, RESULT, type(result).__name__)
    probabilities = check_probabilities(result.y_prob)
    n, k = probabilities.shape
    truth = check_labels("y_true", result.y_true, num_classes=k, length=n)
    names = check_class_names(getattr(result, "class_names", None), k)
    return truth, probabilities.argmax(axis=1), tuple(names)
