"""Heads on standardised features: a linear one solved in one go, any other trained as well as that one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from threadpoolctl import ThreadpoolController

from transferzoo.errors import InvalidInputError

logger = logging.getLogger("transferzoo")

ITERATIONS = 500
# No channel counts as moving less than the median one, or than this share of the one that moves most.
# Measured on CIFAR-10 with MobileNet's features: docs/recipes/linear_probe.md, "Few images".
FLOOR = 0.1
# fewer validation images than this choose no penalty: the training images do, in turns
FEW_VALIDATION = 100
FOLDS = 5
# weaker penalties take longest; past the best one, so many in a row that are no better end the search.
# On few images accuracy stands still among the strongest penalties, where the loss still falls.
NO_BETTER = 2
# far below any other class's logit, for a class that no training image shows
ABSENT = -30.0
# exact types, as a subclass may compute something else
PASSING = (
    layers.InputLayer,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalMaxPooling1D,
    layers.Flatten,
    layers.Dropout,
)


def has_linear_head(head: keras.Model | None) -> bool:
    """Tell whether a head is one Dense layer behind pooling, flattening or dropout at most."""
    if head is None:
        return False
    dense = _first_dense(head)
    if dense is None or dense.get_config()["activation"] != "linear":
        return False
    operations = _operations(head)
    return all(
        type(each) is layers.Activation and each.get_config()["activation"] in ("linear", "softmax")
        for each in operations[operations.index(dense) + 1 :]
    )


def solve_head(
    head_model: keras.Model,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    c_values: Sequence[float],
    sample_weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Set the weights of a linear head to a logistic regression's.

    Features are standardised with the training images' mean and deviation, which are then folded into the
    weights, so that the head takes features as they are. For a Dense layer without a bias they are divided
    by the deviation alone, and the regression has no intercept.

    Parameters
    ----------
    head_model : keras.Model
        From features to outputs; `has_linear_head` must hold.
    training, validation : pairs of ndarrays
        Features ``(n, …)``, and labels ``(n,)``.
    c_values : sequence of float
        Inverse strengths C of the penalty to try, from the strongest penalty on; validation accuracy
        chooses, and the stronger penalty where two are equal. Two in a row that are no better than those
        before, neither in validation accuracy nor in validation loss, end the search. With fewer than 100
        validation images the training images choose, by five-fold cross-validation.
    sample_weight : ndarray, shape (n,), optional
        What each training image weighs in the regression. By default all weigh the same.

    Returns
    -------
    dict of str to float
        loss, accuracy, val_loss, val_accuracy, C, seconds.

    Raises
    ------
    InvalidInputError
        If the training images are all of one class.

    References
    ----------
    Kornblith, Shlens, Le (2019), "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    began = time.perf_counter()
    (x, y), (x_validation, y_validation) = training, validation
    if len(np.unique(y)) < 2:
        raise InvalidInputError("A head needs training images of 2 or more classes. Got one class.")
    (dense,) = [layer for layer in head_model.layers if layer.weights]
    classes = dense.units
    x, x_validation = _dense_inputs(head_model, dense, x), _dense_inputs(head_model, dense, x_validation)
    mean, deviation = _moments(x)
    if not dense.use_bias:
        mean = np.zeros_like(mean)
    standard = ((x - mean) / deviation).astype("float32")
    solver = LogisticRegression(max_iter=ITERATIONS, warm_start=True, fit_intercept=dense.use_bias)

    def figures(
        features: np.ndarray, labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray
    ) -> tuple[float, float]:
        logits = features @ kernel + bias
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        accuracy = float((logits.argmax(axis=1) == labels).mean())
        return accuracy, float(log_loss(labels, chances, labels=np.arange(classes)))

    if len(y_validation) < FEW_VALIDATION:
        c_values = [_cross_validated(standard, y, c_values, sample_weight, fit_intercept=dense.use_bias)]
    best: tuple[float, float, float, np.ndarray, np.ndarray] | None = None
    lowest, no_better = np.inf, 0
    for c in sorted(c_values):
        solver.set_params(C=c)
        with _short_vectors_on_one_thread(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            solver.fit(standard, y, sample_weight)
        if said:
            logger.info("C = %g: the solver stopped after %d iterations", c, ITERATIONS)
        kernel, bias = _as_dense(solver, mean, deviation, classes)
        if not dense.use_bias:
            # a class that no training image shows has logit 0, and among the others the highest is above
            bias = np.zeros_like(bias)
        accuracy, loss = figures(x_validation, y_validation, kernel, bias)
        logger.info("C = %g: validation accuracy %.4f", c, accuracy)
        better = best is None or accuracy > best[0]
        no_better = 0 if better or loss < lowest else no_better + 1
        lowest = min(lowest, loss)
        if better:
            best = accuracy, loss, c, kernel, bias
        elif no_better == NO_BETTER:
            break
    assert best is not None
    val_accuracy, val_loss, c, kernel, bias = best
    dense.set_weights([kernel.astype("float32"), bias.astype("float32")][: len(dense.weights)])
    accuracy, loss = figures(x, y, kernel, bias)
    return {
        "loss": loss,
        "accuracy": accuracy,
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "C": c,
        "seconds": time.perf_counter() - began,
    }


def _cross_validated(
    standard: np.ndarray,
    y: np.ndarray,
    c_values: Sequence[float],
    sample_weight: np.ndarray | None,
    *,
    fit_intercept: bool,
) -> float:
    """Return the C that is best on training images held out in turns; the strongest penalty of equals.

    The mean log loss decides, as it tells more of few images than the share that is right.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, int(np.bincount(y)[np.unique(y)].min()))
    if folds < 2:
        return sorted(c_values)[len(c_values) // 2]
    order = sorted(c_values)
    losses = np.zeros(len(order))
    for learn, held_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(standard, y):
        solver = LogisticRegression(max_iter=ITERATIONS, warm_start=True, fit_intercept=fit_intercept)
        theirs = None if sample_weight is None else sample_weight[learn]
        weight = np.ones(len(held_out)) if sample_weight is None else sample_weight[held_out]
        for place, c in enumerate(order):
            solver.set_params(C=c)
            with _short_vectors_on_one_thread(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                solver.fit(standard[learn], y[learn], theirs)
            chances = solver.predict_proba(standard[held_out])
            column = np.searchsorted(solver.classes_, y[held_out])
            likelihood = np.log(np.maximum(chances[np.arange(len(column)), column], 1e-12))
            losses[place] -= (weight * likelihood).sum()
    return float(order[int(np.argmin(losses))])


class StandardisedHead:
    """A head that learns on standardised features, though it takes them as they are before and after.

    Raw features differ in scale from channel to channel, which slows every gradient method down. The
    head's first Dense layer is rescaled on entering and on leaving, so that what the head computes is
    never changed by it. A layer that nothing has trained, as its bias of zeros says, is not rescaled on
    entering: its random kernel was drawn for features of deviation 1, and rescaled by deviations of 10 it
    takes longer to unlearn than a few hundred images last.

    Parameters
    ----------
    head : keras.Model
        From features to outputs.
    features : ndarray, shape (n, …, channels)
        The training images'.

    Attributes
    ----------
    head_model : keras.Model
        What to fit, on raw features. It is `head` itself where that does not begin with a Dense layer,
        behind pooling, flattening or dropout at most.
    """

    def __init__(self, head: keras.Model, features: np.ndarray) -> None:
        self._dense = _first_dense(head)
        self._head = self.head_model = head
        self._sample = np.asarray(features[:8])
        self._first: list[np.ndarray] = []
        if self._dense is None:
            return
        mean, deviation = _moments(features)
        if not self._dense.use_bias:
            mean = np.zeros_like(mean)
        inputs = keras.Input(features.shape[1:])
        standard = (inputs - mean.astype("float32")) / deviation.astype("float32")
        self.head_model = keras.Model(inputs, head(standard))
        cells = self._dense.kernel.shape[0] // len(mean)
        self._mean, self._deviation = np.tile(mean, cells), np.tile(deviation, cells)

    def enter(self) -> None:
        """Rescale the Dense layer to standardised features."""
        if self._dense is None:
            return
        before = self._head.predict_on_batch(self._sample)
        weights = self._dense.get_weights()
        kernel, *bias = (value.astype("float64") for value in weights)
        self._set(kernel * self._deviation[:, None], [each + self._mean @ kernel for each in bias])
        after = self.head_model.predict_on_batch(self._sample)
        if not np.allclose(before, after, rtol=1e-2, atol=1e-3):
            # features reach the outputs by another way too
            self._dense.set_weights(weights)
            self._dense, self.head_model = None, self._head
        elif bias and not bias[0].any():
            self._dense.set_weights(weights)
            self._first = weights

    def leave(self) -> None:
        """Rescale the Dense layer to features as they are."""
        if self._dense is not None:
            weights = self._dense.get_weights()
            if self._first and all(map(np.array_equal, weights, self._first)):
                # still untrained: what it was before
                return
            kernel, *bias = (value.astype("float64") for value in weights)
            kernel = kernel / self._deviation[:, None]
            self._set(kernel, [each - self._mean @ kernel for each in bias])

    @contextlib.contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Let the head take features as they are within the block; it then learns on with the same weights.

        They are put back to the last bit, unless the block changes them: then it learns on from those.
        """
        if self._dense is None:
            yield
            return
        learning = self._dense.get_weights()
        self.leave()
        shown = self._dense.get_weights()
        try:
            yield
        finally:
            now = self._dense.get_weights()
            if all(np.array_equal(a, b) for a, b in zip(now, shown, strict=True)):
                self._dense.set_weights(learning)
            else:
                kernel, *bias = (value.astype("float64") for value in now)
                self._set(kernel * self._deviation[:, None], [each + self._mean @ kernel for each in bias])

    def _set(self, kernel: np.ndarray, bias: list[np.ndarray]) -> None:
        assert self._dense is not None
        self._dense.set_weights([value.astype("float32") for value in (kernel, *bias)])


@contextlib.contextmanager
def _short_vectors_on_one_thread() -> Iterator[None]:
    """Keep SciPy's own linear algebra to one thread, and NumPy's, which multiplies the features, to all.

    Between two of those products L-BFGS adds vectors of some thousand numbers; waking threads for each
    takes several times longer than all the rest.
    """
    pools = ThreadpoolController()
    scipys = [pool["filepath"] for pool in pools.info() if "scipy.libs" in pool["filepath"]]
    with pools.select(filepath=scipys).limit(limits=1):
        yield


def _operations(head: keras.Model) -> list[Any]:
    """Return what a head does, in order; nothing where it does not show that."""
    if isinstance(head, keras.Sequential):
        return list(head.layers)
    # a function such as keras.ops.normalize is no layer, so `layers` would leave it out
    return list(getattr(head, "operations", []))


def _first_dense(head: keras.Model) -> layers.Dense | None:
    first = next((each for each in _operations(head) if type(each) not in PASSING), None)
    return first if type(first) is layers.Dense else None


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each channel's mean and standard deviation, float64, the latter no less than a floor."""
    axes = tuple(range(features.ndim - 1))
    mean = features.mean(axis=axes, dtype="float64")
    deviation = features.std(axis=axes, dtype="float64")
    most = float(deviation.max())
    if most <= 1e-7 * float(np.abs(mean).max(initial=0.0)) or most == 0:
        return mean, np.ones_like(deviation)
    # A channel that hardly moves among a few images moves elsewhere: divided by almost nothing, it would
    # decide there. All is judged beside the others, as the features of a network of random weights may all
    # be as small as 1e-18.
    median = float(np.median(deviation[deviation > 1e-6 * most]))
    return mean, np.maximum(deviation, max(median, FLOOR * most))


def _dense_inputs(head_model: keras.Model, dense: layers.Dense, features: np.ndarray) -> np.ndarray:
    """Return what features become on their way to the Dense layer of a linear head: ``(n, inputs)``."""
    if math.prod(features.shape[1:]) == dense.kernel.shape[0]:
        return np.asarray(features).reshape(len(features), -1)
    # a pooling that is not the head's first layer is left to the head
    inputs = tensor = keras.Input(features.shape[1:])
    for layer in itertools.takewhile(lambda each: each is not dense, head_model.layers):
        if not isinstance(layer, layers.InputLayer):
            tensor = layer(tensor)
    return np.asarray(keras.Model(inputs, tensor).predict(features, verbose=0))


def _as_dense(
    solver: Any, mean: np.ndarray, deviation: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel ``(features, classes)`` and bias of the Dense layer that says the same."""
    weights, intercepts = solver.coef_.astype("float64"), solver.intercept_.astype("float64")
    if len(solver.classes_) == 2:
        # scikit-learn keeps the difference of two classes' logits only
        weights, intercepts = (
            np.stack([-weights[0], weights[0]]) / 2,
            np.stack([-intercepts[0], intercepts[0]]) / 2,
        )
    kernel, bias = np.zeros((len(mean), classes)), np.full(classes, ABSENT)
    kernel[:, solver.classes_] = (weights / deviation).T
    bias[solver.classes_] = intercepts - (weights / deviation) @ mean
    return kernel, bias
