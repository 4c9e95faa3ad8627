"""Images that two runs took for different classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.ground.arguments import check_count, check_seed
from transferzoo.judging.prediction_checks import (
    check_class_names,
    check_labels,
    count_of_classes,
    count_of_names,
)
from transferzoo.plots.axes import BLUE, VERMILLION
from transferzoo.plots.pictures import captioned, displayable, empty_grid, image_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class FlipData:
    """Where two runs predict different classes.

    Parameters
    ----------
    only_first, only_second, neither : ndarray of int64
        Places of the images that only the first run got right, only the second, and neither of them.
    y_true, predicted_a, predicted_b : ndarray of int64, shape (n,)
    class_names : tuple of str
    """

    only_first: NDArray[np.int64]
    only_second: NDArray[np.int64]
    neither: NDArray[np.int64]
    y_true: NDArray[np.int64]
    predicted_a: NDArray[np.int64]
    predicted_b: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def kinds(self) -> tuple[NDArray[np.int64], ...]:
        """The three of them, in that order."""
        return self.only_first, self.only_second, self.neither


def flip_data(
    y_true: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    length: int | None = None,
) -> FlipData:
    """Return where two runs predict different classes, checked."""
    known = count_of_names(class_names)
    truth, first, second = (
        check_labels(argument, each, num_classes=known, length=length)
        for argument, each in (("y_true", y_true), ("predicted_a", predicted_a), ("predicted_b", predicted_b))
    )
    every = np.concatenate([truth, first, second])
    differ = first != second
    return FlipData(
        only_first=np.flatnonzero(differ & (first == truth)),
        only_second=np.flatnonzero(differ & (second == truth)),
        neither=np.flatnonzero(differ & (first != truth) & (second != truth)),
        y_true=truth,
        predicted_a=first,
        predicted_b=second,
        class_names=tuple(check_class_names(class_names, known or count_of_classes("y_true", every))),
    )


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
    array, accepted = image_array(images)
    found = flip_data(y_true, predicted_a, predicted_b, class_names, length=len(array))
    titles = found.class_names
    chosen = _shares(found.kinds, rows * columns, np.random.default_rng(check_seed(seed)))
    ax, used_columns = empty_grid(ax, len(chosen), columns, array.shape[1] / array.shape[2])
    counts = [len(kind) for kind in found.kinds]
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
            (titles[found.y_true[index]], "black"),
            *(
                (f"{'✓' if right else '✗'} {titles[guess]}: {name}", BLUE if right else VERMILLION)
                for name, guess in zip(
                    names, (found.predicted_a[index], found.predicted_b[index]), strict=True
                )
                for right in (guess == found.y_true[index],)
            ),
        ]
        for index in chosen
    ]
    captioned(ax, displayable(array[chosen], accepted), captions, used_columns)
    return ax


def _verdict(titles: Sequence[str], name: str, guess: int, true: int) -> tuple[str, str]:
    """Return what a run took an image for, and the colour of that line."""
    right = guess == true
    return f"{'✓' if right else '✗'} {titles[guess]}: {name}", BLUE if right else VERMILLION


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
