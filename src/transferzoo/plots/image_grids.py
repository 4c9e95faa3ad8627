"""Images of a dataset in a grid, random ones or those of a finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count, check_seed, check_sequence
from transferzoo.judging.prediction_checks import (
    check_class_names,
    check_labels,
    count_of_classes,
    count_of_names,
)
from transferzoo.plots.axes import CHARACTER, check_axes, fitted, new_axes, size_in_points
from transferzoo.plots.pictures import displayable, image_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class GridData:
    """What `image_grid` draws.

    Parameters
    ----------
    index : ndarray of int64, shape (m,)
        Places of the images among those given, or within their splits.
    images : ndarray of uint8, shape (m, height, width, channels)
    titles : tuple of str, length m or 0
    """

    index: NDArray[np.int64]
    images: NDArray[np.uint8]
    titles: tuple[str, ...]


def grid_data(
    images: Any,
    labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    *,
    count: int = 25,
    seed: int = 0,
    at: Sequence[tuple[str, int]] | None = None,
) -> GridData:
    """Return `count` random images, or the first of those asked for, and their titles, checked."""
    if at is not None:
        return _chosen(images, labels, class_names, at, count)
    if all(hasattr(images, name) for name in ("x_train", "y_train", "class_names")):
        labels = images.y_train if labels is None else labels
        class_names = images.class_names if class_names is None else class_names
        images = images.x_train
    array, accepted = image_array(images, " or a dataset")
    chosen = np.random.default_rng(check_seed(seed)).permutation(len(array))[:count]
    return GridData(
        index=chosen.astype(np.int64),
        images=displayable(array[chosen], accepted),
        titles=tuple(_image_titles(labels, class_names, len(array), chosen)),
    )


def _chosen(images: Any, labels: Any, class_names: Any, at: Any, count: int) -> GridData:
    accepted = "split and place of images, such as [('test', 27)]"
    splits = getattr(images, "splits", None)
    if not isinstance(splits, Mapping) or labels is not None or class_names is not None:
        raise invalid("at", "left out but for a dataset, given as images alone", at)
    places: list[tuple[str, int]] = []
    for each in check_sequence("at", accepted, at):
        if not isinstance(each, tuple | list) or len(each) != 2 or each[0] not in list(splits):
            raise invalid("at", accepted, each)
        place = check_count("at", each[1], 0)
        if place >= len(splits[each[0]][1]):
            raise invalid("at", f"places below {len(splits[each[0]][1]):,} of the {each[0]} images", place)
        places.append((each[0], place))
    if not places:
        raise invalid("at", f"one image or more: {accepted}", "none")
    chosen = places[:count]
    array, accepted = image_array(np.stack([splits[split][0][place] for split, place in chosen]))
    return GridData(
        index=np.array([place for _, place in chosen], np.int64),
        images=displayable(array, accepted),
        titles=tuple(str(images.class_names[int(splits[split][1][place])]) for split, place in chosen),
    )


def image_grid(
    images: Any,
    labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    *,
    rows: int = 5,
    columns: int = 5,
    seed: int = 0,
    at: Sequence[tuple[str, int]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Images in a grid, each under the name of its class: random ones, or those that `at` names.

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
    at : sequence of (str, int), optional
        Split and place of the images to draw, of a dataset; the first ones, as far as there is room. What
        `tz.lint` finds has such a list: ``at=finding.images``.
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
    found = grid_data(images, labels, class_names, count=rows * columns, seed=seed, at=at)
    sample, titles = found.images, found.titles
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
