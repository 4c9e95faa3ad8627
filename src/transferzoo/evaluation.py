"""From true classes and predicted probabilities to numbers: metrics, confusion, one line per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.calibration import (
    SMALLEST,
    apply_temperature,
    brier_score,
    expected_calibration_error,
    fit_temperature,
)
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array, check_count
from transferzoo.judging.prediction_checks import (
    Found,
    check_class_names,
    check_labels,
    check_normalize,
    check_probabilities,
    count_of_classes,
)
from transferzoo.statistics import accuracy_interval


def evaluate(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    top_k: int = 5,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    groups: ArrayLike | None = None,
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
    validation : pair of arrays, optional
        True classes and probabilities of the validation images, on which a temperature is fitted; shapes
        (m,) and (m, k). Without it nothing is said of calibrated probabilities.
    groups : array of str or int, shape (n,), optional
        What each image belongs to; the accuracy's interval then counts groups as the independent units.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``top5_accuracy``, fractions in ``[0, 1]``;
        ``accuracy_low`` and ``accuracy_high``, its 95 % interval (`statistics.accuracy_interval`);
        ``log_loss`` in nats, where a probability of 0 counts as 2.2e-16 and so costs 36.04 at most;
        ``brier_score`` in ``[0, 2]``;
        ``ece`` and ``ece_equal_mass``, the expected calibration error in 15 bins of equal width and of equal
        mass, in ``[0, 1]``. With `validation` also ``temperature``, and ``calibrated_log_loss``,
        ``calibrated_brier_score``, ``calibrated_ece`` and ``calibrated_ece_equal_mass`` of the test images'
        probabilities at that temperature.
        Balanced accuracy averages over the classes found in `y_true`, macro F1 over those found in
        `y_true` or predicted. Equal probabilities rank the lower class first.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range, or the two do not belong together.

    References
    ----------
    Brodersen et al. (2010), The balanced accuracy and its posterior distribution, ICPR. For the others see
    `calibration` and `statistics.wilson_interval`.

    Examples
    --------
    >>> metrics = evaluate([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    >>> metrics["accuracy"], round(metrics["log_loss"], 4)
    (0.75, 0.4004)
    """
    from sklearn.metrics import f1_score, recall_score

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
        "accuracy": float((guesses == truth).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(f1_score(truth, guesses, labels=every, average="macro", zero_division=np.nan)),
        **_losses(truth, scaled),
    }
    if num_classes > top_k:
        # top_k_accuracy_score breaks ties the other way from argmax: top-5 could fall below accuracy
        of_truth = probabilities[np.arange(n), truth][:, None]
        before = (probabilities > of_truth).sum(axis=1)
        before += ((probabilities == of_truth) & (every < truth[:, None])).sum(axis=1)
        metrics[f"top{top_k}_accuracy"] = float((before < top_k).mean())
    interval = accuracy_interval(guesses == truth, groups=groups)
    metrics |= {"accuracy_low": interval.low, "accuracy_high": interval.high}
    if validation is not None:
        temperature = _validation_temperature(validation, num_classes)
        after = _losses(truth, apply_temperature(scaled, temperature))
        metrics["temperature"] = temperature
        metrics |= {f"calibrated_{name}": value for name, value in after.items()}
    return metrics


def groups_to_count(groups: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return groups as `evaluate` takes them: None where there are fewer than two."""
    return None if groups is None or len(np.unique(groups)) < 2 else groups


def _validation_temperature(validation: tuple[ArrayLike, ArrayLike], num_classes: int) -> float:
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise invalid("validation", "a pair: true classes, and probabilities", validation)
    probabilities = check_probabilities(validation[1], argument="validation[1]")
    if probabilities.shape[1] != num_classes:
        raise invalid(
            "validation[1]", f"of {num_classes} classes, like y_prob", Found(f"shape {probabilities.shape}")
        )
    truth = check_labels("validation[0]", validation[0], num_classes=num_classes, length=len(probabilities))
    return fit_temperature(truth, probabilities)


def _losses(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    # scikit-learn's log loss, without its table of ones and zeros
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth], SMALLEST, 1 - SMALLEST)
    return {
        "log_loss": float(-np.log(of_truth).mean()),
        "brier_score": brier_score(truth, probabilities),
        "ece": expected_calibration_error(truth, probabilities),
        "ece_equal_mass": expected_calibration_error(truth, probabilities, strategy="equal_mass"),
    }


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
    second = check_array(
        "y_pred", y_pred_or_prob, "predicted classes, shape (n,), or probabilities, shape (n, k)"
    )
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
        num_classes = count_of_classes("y_true", np.concatenate([truth, guesses]))
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
