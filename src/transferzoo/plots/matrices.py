"""The confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from transferzoo.evaluation import confusion
from transferzoo.ground.arguments import check_array
from transferzoo.judging.prediction_checks import (
    check_class_names,
    check_normalize,
    check_probabilities,
    count_of_names,
)
from transferzoo.plots.axes import (
    CHARACTER,
    SEQUENTIAL,
    check_axes,
    fitted,
    new_axes,
    predictions_of,
    size_in_points,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_matrix(
    y_true: Any,
    y_pred: ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    normalize: str | None = None,
    title: str | None = None,
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
        Show each row, each column or everything in per cent. Default: counts.
    title : str, optional
        What stands above. Default: nothing.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure that grows with the classes.

    Returns
    -------
    matplotlib Axes
        Up to 20 classes have a number in each cell that is not zero; more have a colour bar, and some of the
        names.

    Raises
    ------
    InvalidInputError
        If an array or option is not one of these, or the arrays do not belong together.

    Examples
    --------
    >>> ax = confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], class_names=["cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['2', '', '1', '1']
    """
    from matplotlib.ticker import PercentFormatter
    from sklearn.metrics import ConfusionMatrixDisplay

    accepted = "predicted classes, shape (n,), or probabilities, shape (n, k)"
    if y_pred is None:
        if class_names is None:
            class_names = getattr(y_true, "class_names", None)
        y_true, y_pred = predictions_of(y_true, "y_pred", accepted)
    check_normalize(normalize)
    predicted = check_array("y_pred", y_pred, accepted)
    if predicted.ndim == 2:
        predicted = check_probabilities(predicted)
        names = check_class_names(class_names, predicted.shape[1])
        matrix = confusion(y_true, predicted, normalize=normalize)
    else:
        known = count_of_names(class_names)
        matrix = confusion(y_true, predicted, num_classes=known, normalize=normalize)
        names = check_class_names(class_names, len(matrix))

    k = len(names)
    with_text = k <= 20
    check_axes(ax)
    if ax is None:
        side = min(3.6 + 0.42 * k, 11.0)
        ax = new_axes(side if with_text else side + 1, side)
    cells = [_shown(value, normalize) for value in matrix.flat]
    longest = max(1, *map(len, cells))
    # tick labels will take some of the room; 0.8 leaves it to them
    cell = 0.8 * min(size_in_points(ax)) / k
    text_size = float(np.clip(cell * 0.85 / (CHARACTER * longest), 4, 11))
    options: dict[str, Any] = {"text_kw": {"fontsize": text_size}} if with_text else {}
    display = ConfusionMatrixDisplay(matrix, display_labels=names).plot(
        ax=ax,
        cmap=SEQUENTIAL,
        include_values=with_text,
        colorbar=not with_text,
        im_kw={"vmin": 0, "vmax": 1 if normalize in ("true", "pred") else max(matrix.max(), 1e-12)},
        **options,
    )
    if with_text:
        for text, cell_text in zip(display.text_.flat, cells, strict=True):
            text.set_text(cell_text)
    elif normalize is not None:
        display.im_.colorbar.formatter = PercentFormatter(1)
        display.im_.colorbar.update_ticks()
    shown = np.arange(0, k, math.ceil(k / 25))
    label_size = float(np.clip(cell * (shown[1] if k > 25 else 1) * 0.9, 5, 10))
    ticks = [fitted(names[index], 140, label_size) for index in shown]
    ax.set_xticks(
        shown, ticks, rotation=45, ha="right", rotation_mode="anchor", fontsize=label_size, parse_math=False
    )
    ax.set_yticks(shown, ticks, fontsize=label_size, parse_math=False)
    ax.set_xlabel("Predicted class")
    ax.set_ylabel("True class")
    titled(ax, title)
    return ax


def _shown(value: float, normalize: str | None) -> str:
    """Return a cell's text: a count or whole per cent, and nothing for none."""
    if value == 0:
        return ""
    if normalize is None:
        return str(int(value))
    # half a per cent would be rounded to none
    return f"{max(1, round(100 * value))}%" if value >= 0.005 else "<1%"
