"""The most confident errors of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count
from transferzoo.judging.prediction_checks import check_class_names, check_labels, check_probabilities
from transferzoo.plots.axes import VERMILLION
from transferzoo.plots.pictures import captioned, displayable, empty_grid, image_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class MistakeData:
    """A model's errors, the most confident one first.

    Parameters
    ----------
    index : ndarray of int64, shape (m,)
        Places of the images that were classified wrongly.
    true, predicted : tuple of str, length m
        Names of the true classes, and of the predicted ones.
    confidence : ndarray of float64, shape (m,)
        Probability of the predicted class, in [0, 1].
    images : int
        How many images were predicted.
    """

    index: NDArray[np.int64]
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: NDArray[np.float64]
    images: int


def mistake_data(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    length: int | None = None,
) -> MistakeData:
    """Return all errors, the most confident one first, checked."""
    probabilities = check_probabilities(y_prob)
    if length is not None and len(probabilities) != length:
        raise invalid("y_prob", f"as many rows as there are images, {length}", len(probabilities))
    count, classes = probabilities.shape
    truth = check_labels("y_true", y_true, num_classes=classes, length=count)
    names = check_class_names(class_names, classes)
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != truth)
    wrong = wrong[np.argsort(-probabilities[wrong, guesses[wrong]], kind="stable")]
    return MistakeData(
        index=wrong,
        true=tuple(names[label] for label in truth[wrong]),
        predicted=tuple(names[label] for label in guesses[wrong]),
        confidence=probabilities[wrong, guesses[wrong]],
        images=count,
    )


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
    array, accepted = image_array(images)
    found = mistake_data(y_true, y_prob, class_names, length=len(array))
    chosen = found.index[: rows * columns]
    ax, used_columns = empty_grid(ax, len(chosen), columns, array.shape[1] / array.shape[2])
    ax.set_title(
        f"{len(found.index):,} of {found.images:,} test images classified wrongly "
        f"({len(found.index) / found.images:.1%})",
        fontsize=10,
        parse_math=False,
    )
    if len(chosen):
        captions = [
            [(true, "black"), (f"✗ {predicted} {confidence:.0%}", VERMILLION)]
            for true, predicted, confidence in zip(found.true, found.predicted, found.confidence, strict=True)
        ]
        captioned(ax, displayable(array[chosen], accepted), captions[: len(chosen)], used_columns)
    return ax
