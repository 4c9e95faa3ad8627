"""Images in a grid: any, those that two runs see differently, and those that one gets wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array, check_count, check_seed
from transferzoo.judging.prediction_checks import (
    Found,
    check_class_names,
    check_labels,
    check_probabilities,
    count_of_classes,
    count_of_names,
)
from transferzoo.plots.axes import (
    BLUE,
    CHARACTER,
    VERMILLION,
    check_axes,
    fitted,
    new_axes,
    size_in_points,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    seed = check_seed(seed)
    if all(hasattr(images, name) for name in ("x_train", "y_train", "class_names")):
        labels = images.y_train if labels is None else labels
        class_names = images.class_names if class_names is None else class_names
        images = images.x_train
    accepted = "images of 0 to 255, shape (n, height, width, channels), or a dataset"
    array = check_array("images", images, accepted)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3, 4):
        raise invalid("images", accepted, Found(f"shape {array.shape}") if array.ndim else images)
    chosen = np.random.default_rng(seed).permutation(len(array))[: rows * columns]
    sample = displayable(array[chosen], accepted)
    titles = _image_titles(labels, class_names, len(array), chosen)

    height_over_width = sample.shape[1] / sample.shape[2]
    gap, band = 0.08, 0.2 if titles else 0.0
    cell_width, cell_height = 1 + gap, height_over_width + band + gap
    used_columns = min(columns, len(sample))
    used_rows = math.ceil(len(sample) / used_columns)
    check_axes(ax)
    if ax is None:
        ax = new_axes(1.5 * used_columns * cell_width, 1.5 * used_rows * cell_height)
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
        width, height = size_in_points(ax)
        room = width * cell_width / (used_columns * cell_width) * 0.97
        tallest = 0.8 * band * height / (used_rows * cell_height)
        longest = max(len(title) for title in titles)
        size = min(10.0, tallest, room / (CHARACTER * max(longest, 1)))
        size = max(size, min(6.0, tallest))
        for index, title in enumerate(titles):
            ax.text(
                index % used_columns * cell_width + 0.5,
                -(index // used_columns) * cell_height - band * 0.9,
                fitted(title, room, size),
                fontsize=size,
                ha="center",
                va="bottom",
                parse_math=False,
            )
    return ax


def displayable(sample: NDArray[Any], accepted: str) -> NDArray[np.uint8]:
    """Return images as uint8, 0 to 255, or raise saying what would be accepted."""
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
    known = count_of_names(class_names)
    numbers = check_labels("labels", labels, num_classes=known)
    if len(numbers) != count:
        raise invalid("labels", f"as many as the images, {count}", len(numbers))
    names = check_class_names(class_names, known or count_of_classes("labels", numbers))
    return [names[number] for number in numbers[chosen]]


def flips(
    images: Any,
    y_true: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    names: tuple[str, str] = ("a", "b"),
    rows: int = 4,
    columns: int = 6,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Images that two runs took for different classes, under their true class and both guesses.

    Parameters
    ----------
    images : array, shape (n, height, width, channels) or (n, height, width)
        uint8 or float, 0 to 255, as `image_grid` takes them.
    y_true, predicted_a, predicted_b : array of int, shape (n,)
        True classes and both runs' guesses. Images on which the guesses agree are not drawn.
    class_names : sequence of str, optional
        The name of each class; by default its number.
    names : pair of str, default ("a", "b")
        What to call the runs.
    rows, columns : int, default 4, 6
        Size of the grid. Where more images differ, each kind gets its share of the places.
    seed : int, default 0
        Decides which are drawn.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        First images that only the first run got right, then only the second, then neither. A right guess is
        marked ✓, a wrong one ✗. The title counts all of each kind.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((3, 8, 8, 3), dtype="uint8")
    >>> ax = flips(images, [0, 1, 1], [0, 1, 0], [1, 1, 1], ["cat", "dog"], names=("old", "new"))
    >>> len(ax.images), ax.get_title()
    (2, '2 predictions differ: only old right 1, only new right 1, neither 0')
    """
    rows, columns = check_count("rows", rows, 1), check_count("columns", columns, 1)
    array, accepted = _image_array(images)
    known = count_of_names(class_names)
    truth, first, second = (
        check_labels(argument, each, num_classes=known, length=len(array))
        for argument, each in (("y_true", y_true), ("predicted_a", predicted_a), ("predicted_b", predicted_b))
    )
    every = np.concatenate([truth, first, second])
    titles = check_class_names(class_names, known or count_of_classes("y_true", every))
    differ = first != second
    kinds = [
        np.flatnonzero(differ & (first == truth)),
        np.flatnonzero(differ & (second == truth)),
        np.flatnonzero(differ & (first != truth) & (second != truth)),
    ]
    chosen = _shares(kinds, rows * columns, np.random.default_rng(check_seed(seed)))
    used_columns = max(1, min(columns, len(chosen)))
    used_rows = max(1, math.ceil(len(chosen) / used_columns))
    ax = _empty_grid(ax, used_rows, used_columns, array.shape[1] / array.shape[2])
    counts = [len(kind) for kind in kinds]
    ax.set_title(
        f"{sum(counts):,} predictions differ: only {names[0]} right {counts[0]:,}, "
        f"only {names[1]} right {counts[1]:,}, neither {counts[2]:,}",
        fontsize=10,
        parse_math=False,
    )
    if not len(chosen):
        return ax
    captions = [
        [
            (titles[truth[index]], "black"),
            *(
                (f"{'✓' if right else '✗'} {titles[guess]}: {name}", BLUE if right else VERMILLION)
                for name, guess in zip(names, (first[index], second[index]), strict=True)
                for right in (guess == truth[index],)
            ),
        ]
        for index in chosen
    ]
    _captioned(ax, displayable(array[chosen], accepted), captions, used_columns)
    return ax


def mistakes(
    images: Any,
    y_true: ArrayLike,
    y_prob: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    rows: int = 4,
    columns: int = 6,
    ax: Axes | None = None,
) -> Axes:
    """The most confident errors: images under their true class, and what they were taken for.

    Parameters
    ----------
    images : array, shape (n, height, width, channels) or (n, height, width)
        uint8 or float, 0 to 255, as `image_grid` takes them.
    y_true : array of int, shape (n,)
        True classes.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1.
    class_names : sequence of str, optional
        The name of each class; by default its number.
    rows, columns : int, default 4, 6
        Size of the grid.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        The most confident error first. The title counts all errors.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((3, 8, 8, 3), dtype="uint8")
    >>> ax = mistakes(images, [0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], ["cat", "dog"])
    >>> len(ax.images), ax.get_title()
    (1, '1 of 3 test images classified wrongly (33.3%)')
    """
    rows, columns = check_count("rows", rows, 1), check_count("columns", columns, 1)
    array, accepted = _image_array(images)
    probabilities = check_probabilities(y_prob)
    classes = probabilities.shape[1]
    if len(probabilities) != len(array):
        raise invalid("y_prob", f"as many rows as there are images, {len(array)}", len(probabilities))
    truth = check_labels("y_true", y_true, num_classes=classes, length=len(array))
    titles = check_class_names(class_names, classes)
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != truth)
    chosen = wrong[np.argsort(-probabilities[wrong, guesses[wrong]], kind="stable")][: rows * columns]
    used_columns = max(1, min(columns, len(chosen)))
    used_rows = max(1, math.ceil(len(chosen) / used_columns))
    ax = _empty_grid(ax, used_rows, used_columns, array.shape[1] / array.shape[2])
    ax.set_title(
        f"{len(wrong):,} of {len(truth):,} test images classified wrongly ({len(wrong) / len(truth):.1%})",
        fontsize=10,
        parse_math=False,
    )
    if len(chosen):
        captions = [
            [
                (titles[truth[index]], "black"),
                (f"✗ {titles[guesses[index]]} {probabilities[index, guesses[index]]:.0%}", VERMILLION),
            ]
            for index in chosen
        ]
        _captioned(ax, displayable(array[chosen], accepted), captions, used_columns)
    return ax


def _image_array(images: Any) -> tuple[NDArray[Any], str]:
    """Return images with a channel axis, and what would be accepted."""
    accepted = "images of 0 to 255, shape (n, height, width, channels)"
    array = check_array("images", images, accepted)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3, 4):
        raise invalid("images", accepted, Found(f"shape {array.shape}"))
    return array, accepted


# height of the captions, and the gap between two images, where an image's width is 1
BAND, GAP = 0.42, 0.12


def _empty_grid(ax: Axes | None, rows: int, columns: int, ratio: float) -> Axes:
    """Return Axes with room for so many captioned images."""
    check_axes(ax)
    if ax is None:
        ax = new_axes(1.7 * columns, 1.52 * rows * (ratio + BAND + GAP) + 0.4)
    assert ax is not None
    ax.set_xlim(-GAP / 2, columns * (1 + GAP) - GAP / 2)
    ax.set_ylim(-rows * (ratio + BAND + GAP) + GAP / 2, GAP / 2)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _captioned(
    ax: Axes, sample: NDArray[np.uint8], captions: Sequence[Sequence[tuple[str, str]]], columns: int
) -> None:
    """Draw images with lines of text above each, the first line in bold; a line is (text, colour)."""
    ax.apply_aspect()
    width, _ = size_in_points(ax)
    room = width / (columns * (1 + GAP))
    ratio = sample.shape[1] / sample.shape[2]
    longest = max(len(line) for lines in captions for line, _ in lines)
    size = max(min(8.0, 0.27 * room * BAND, room / (CHARACTER * longest)), 6.0)
    for place, (lines, image) in enumerate(zip(captions, sample, strict=True)):
        left = place % columns * (1 + GAP)
        top = -(place // columns) * (ratio + BAND + GAP) - BAND
        picture = image[..., 0] if image.shape[-1] == 1 else image
        ax.imshow(picture, extent=(left, left + 1, top - ratio, top), cmap="gray", vmin=0, vmax=255)
        for number, (line, colour) in enumerate(lines):
            ax.text(
                left,
                top + BAND * (0.96 - 0.31 * number),
                fitted(line, room, size),
                fontsize=size,
                fontweight="bold" if number == 0 else "normal",
                color=colour,
                ha="left",
                va="top",
                parse_math=False,
            )


def _shares(kinds: Sequence[NDArray[Any]], places: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return some of each kind, as many of each as there is room for, kinds in order."""
    left, taken = places, [0] * len(kinds)
    while left and any(have < len(kind) for have, kind in zip(taken, kinds, strict=True)):
        for number, kind in enumerate(kinds):
            if left and taken[number] < len(kind):
                taken[number] += 1
                left -= 1
    parts = [np.sort(rng.permutation(kind)[:count]) for kind, count in zip(kinds, taken, strict=True)]
    return np.concatenate(parts).astype(np.int64)
