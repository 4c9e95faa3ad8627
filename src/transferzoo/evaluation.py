"""From true classes and predicted probabilities to numbers: metrics, confusion, one line a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import check_count, invalid

# bfloat16 rounds each probability by up to 1 part in 512, so a row of them may miss 1 by 0.002;
# float32 softmax stays within 1e-5. Logits, percentages and unscaled scores miss it by far more.
ROW_SUM_TOLERANCE = 5e-3

NORMALIZE = ("true", "pred", "all")


def check_labels(
    argument: str, labels: ArrayLike, *, num_classes: int | None = None, length: int | None = None
) -> NDArray[np.int64]:
    """Return class numbers as int64, shape (n,), or raise saying what is wrong with `argument`."""
    array = np.asarray(labels)
    accepted = "whole numbers, one for each image, shape (n,)"
    if array.ndim != 1:
        remedy = ""
        if array.ndim == 2:
            remedy = (
                f"Pass {argument}.ravel()."
                if array.shape[1] == 1
                else f"If it is one-hot, pass {argument}.argmax(axis=1)."
            )
        raise invalid(argument, accepted, Found(f"shape {array.shape}"), remedy=remedy)
    if array.size == 0:
        raise invalid(argument, accepted + ", with one or more images", Found("no images"))
    if not np.issubdtype(array.dtype, np.integer):
        raise invalid(
            argument, accepted, Found(f"dtype {array.dtype}"), remedy=f"Pass {argument}.astype('int64')."
        )
    if length is not None and len(array) != length:
        raise invalid(argument, f"as long as the predictions, {length}", Found(f"{len(array)} entries"))
    low, high = int(array.min()), int(array.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "" if num_classes is None else f" to {num_classes - 1}"
        raise invalid(argument, f"class numbers from 0{top}", Found(f"values from {low} to {high}"))
    return array.astype(np.int64, copy=False)


def check_probabilities(y_prob: ArrayLike, *, argument: str = "y_prob") -> NDArray[np.float64]:
    """Return probabilities as float64, shape (n, k), or raise saying what is wrong with them."""
    accepted = "class probabilities, shape (n, k) with two or more classes, each row summing to 1"
    raw = np.asarray(y_prob)
    if raw.ndim != 2 or raw.shape[0] == 0 or raw.shape[1] < 2:
        remedy = ""
        if raw.ndim == 1 or (raw.ndim == 2 and raw.shape[1] == 1):
            remedy = "For two classes pass both columns: numpy.stack([1 - p, p], axis=1)."
        raise invalid(argument, accepted, Found(f"shape {raw.shape}"), remedy=remedy)
    try:
        array = raw.astype(np.float64)
    except (TypeError, ValueError):
        raise invalid(argument, accepted, Found(f"dtype {raw.dtype}")) from None
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise invalid(
            argument,
            accepted,
            Found(f"NaN or infinity, first in row {row}"),
            remedy="The model may have diverged; try a lower learning rate.",
        )
    sums = array.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if array.min() < 0 or abs(sums[worst] - 1) > ROW_SUM_TOLERANCE:
        found = (
            f"a value of {array.min():.4g}" if array.min() < 0 else f"row {worst} with sum {sums[worst]:.6g}"
        )
        raise invalid(argument, accepted, Found(found), remedy="If these are logits, pass their softmax.")
    return array


def check_class_names(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """Return one name for each class; without `class_names`, its number."""
    if class_names is None:
        return tuple(str(number) for number in range(num_classes))
    if isinstance(class_names, str) or len(class_names) != num_classes:
        raise invalid("class_names", f"{num_classes} names, one for each class", class_names)
    return tuple(str(name) for name in class_names)


def check_normalize(normalize: str | None) -> str | None:
    """Return `normalize`, or raise with the nearest accepted value."""
    if normalize is not None and normalize not in NORMALIZE:
        raise invalid("normalize", "None, 'true', 'pred' or 'all'", normalize, candidates=NORMALIZE)
    return normalize


class Found:
    """A description that an error shows where it would show a value's repr."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def evaluate(
    y_true: ArrayLike, y_prob: ArrayLike, *, class_names: Sequence[str] | None = None, top_k: int = 5
) -> dict[str, float]:
    """Metrics of a classifier, from the true classes and the probabilities that it gave.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1 within 0.005; ``k`` is 2 or more. Half-precision rows
        pass, and are scaled to sum to 1 before the log loss.
    class_names : sequence of str, optional
        The ``k`` names. They do not change the numbers; their count is checked.
    top_k : int, default 5
        Guesses allowed in ``"top{k}_accuracy"``. The key is there only when there are more classes.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``top5_accuracy``, fractions in ``[0, 1]``;
        ``log_loss`` in nats, where a probability of 0 counts as 2.2e-16 and so costs 36.04 at most.
        Balanced accuracy averages over the classes found in `y_true`, macro F1 over those found in
        `y_true` or predicted. Equal probabilities rank the lower class first.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or the two do not belong together.

    References
    ----------
    Brodersen et al. (2010), The balanced accuracy and its posterior distribution, ICPR.

    Examples
    --------
    >>> metrics = evaluate([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    >>> metrics["accuracy"], round(metrics["log_loss"], 4)
    (0.75, 0.4004)
    """
    from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

    probabilities = check_probabilities(y_prob)
    n, num_classes = probabilities.shape
    truth = check_labels("y_true", y_true, num_classes=num_classes, length=n)
    check_class_names(class_names, num_classes)
    top_k = check_count("top_k", top_k, 1)
    guesses = probabilities.argmax(axis=1)
    scaled = probabilities / probabilities.sum(axis=1, keepdims=True)
    every = np.arange(num_classes)

    # recall over the classes present *is* balanced accuracy; balanced_accuracy_score warns when a
    # class is predicted that y_true does not hold
    recalls = recall_score(truth, guesses, labels=np.unique(truth), average=None, zero_division=0)
    metrics = {
        "accuracy": float(accuracy_score(truth, guesses)),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(f1_score(truth, guesses, labels=every, average="macro", zero_division=np.nan)),
        "log_loss": float(log_loss(truth, scaled, labels=every)),
    }
    if num_classes > top_k:
        # top_k_accuracy_score breaks ties the other way from argmax: top-5 could fall below accuracy
        ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        metrics[f"top{top_k}_accuracy"] = float((ranked == truth[:, None]).any(axis=1).mean())
    return metrics


def predicted_classes(y_prob: ArrayLike) -> NDArray[np.int64]:
    """Most probable class of each row.

    Parameters
    ----------
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1.

    Returns
    -------
    ndarray of int64, shape (n,)
        Classes in ``[0, k)``; of equal probabilities, the lower class.

    Raises
    ------
    InvalidInputError
        If `y_prob` does not hold probabilities.

    Examples
    --------
    >>> predicted_classes([[0.9, 0.1], [0.2, 0.8]])
    array([0, 1])
    """
    return check_probabilities(y_prob).argmax(axis=1).astype(np.int64, copy=False)


def confusion(
    y_true: ArrayLike,
    y_pred_or_prob: ArrayLike,
    *,
    num_classes: int | None = None,
    normalize: str | None = None,
) -> NDArray[Any]:
    """Confusion matrix: how often each true class (row) was taken for each class (column).

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_pred_or_prob : array of int, shape (n,), or of float, shape (n, k)
        Predicted classes, or class probabilities.
    num_classes : int, optional
        ``k``. Left out, it is the number of probability columns, else the largest class plus 1.
    normalize : {"true", "pred", "all"}, optional
        Give fractions that sum to 1 over each row, each column or everything. Default: counts. A row or
        column without images holds zeros.

    Returns
    -------
    ndarray of int64 or, normalised, float64, shape (k, k)
        Counts, or fractions in ``[0, 1]``.

    Raises
    ------
    InvalidInputError
        If an array or option is not one of these, or the arrays do not belong together.

    Examples
    --------
    >>> confusion([0, 1, 1, 0], [0, 1, 0, 0])
    array([[2, 0],
           [1, 1]])
    """
    from sklearn.metrics import confusion_matrix

    check_normalize(normalize)
    if num_classes is not None:
        num_classes = check_count("num_classes", num_classes, 1)
    second = np.asarray(y_pred_or_prob)
    if second.ndim == 2:
        probabilities = check_probabilities(second)
        if num_classes is not None and num_classes != probabilities.shape[1]:
            raise invalid("num_classes", f"{probabilities.shape[1]}, the columns of y_prob", num_classes)
        num_classes = probabilities.shape[1]
        guesses = probabilities.argmax(axis=1)
    else:
        guesses = check_labels("y_pred", second, num_classes=num_classes)
    truth = check_labels("y_true", y_true, num_classes=num_classes, length=len(guesses))
    if num_classes is None:
        num_classes = int(max(truth.max(), guesses.max())) + 1
    return np.asarray(confusion_matrix(truth, guesses, labels=np.arange(num_classes), normalize=normalize))


def per_class(
    y_true: ArrayLike, y_prob: ArrayLike, class_names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, in class order.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        True classes, each in ``[0, k)``.
    y_prob : array of float, shape (n, k)
        Class probabilities, each row summing to 1.
    class_names : sequence of str, optional
        The ``k`` names; by default the class numbers.

    Returns
    -------
    list of dict
        ``class_name``; ``precision``, ``recall`` and ``f1``, fractions in ``[0, 1]``, 0.0 where there is
        nothing to divide by; ``support``, the images of that class in `y_true`.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or the names are not ``k``.

    Examples
    --------
    >>> rows = per_class([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["cat", "dog"])
    >>> rows[1]
    {'class_name': 'dog', 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}
    """
    from sklearn.metrics import precision_recall_fscore_support

    probabilities = check_probabilities(y_prob)
    n, num_classes = probabilities.shape
    truth = check_labels("y_true", y_true, num_classes=num_classes, length=n)
    names = check_class_names(class_names, num_classes)
    columns = precision_recall_fscore_support(
        truth, probabilities.argmax(axis=1), labels=np.arange(num_classes), zero_division=0
    )
    return [
        {
            "class_name": name,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(names, *columns, strict=True)
    ]
