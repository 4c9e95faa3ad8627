"""Heads on standardised features: a linear one solved in one go, any other trained as well as that one."""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.errors import InvalidInputError

logger = logging.getLogger("transferzoo")

ITERATIONS = 500
# far below any other class's logit, for a class that no training image shows
ABSENT = -30.0


def has_linear_head(head: keras.Model | None) -> bool:
    """Tell whether a head is one Dense layer behind pooling, flattening or dropout at most."""
    if head is None:
        return False
    weighted = [layer for layer in head.layers if layer.weights]
    passing = (
        layers.InputLayer
        | layers.GlobalAveragePooling2D
        | layers.GlobalMaxPooling2D
        | layers.Flatten
        | layers.Dropout
        | layers.Activation
    )
    others = [layer for layer in head.layers if not layer.weights]
    return (
        len(weighted) == 1
        and isinstance(weighted[0], layers.Dense)
        and weighted[0].get_config()["activation"] == "linear"
        and head.layers.index(weighted[0]) >= len(head.layers) - 2
        and all(isinstance(layer, passing) for layer in others)
    )


def solve_head(
    learner: keras.Model,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    strengths: Sequence[float],
) -> dict[str, float]:
    """Set the weights of a linear head to a logistic regression's.

    Features are standardised with the training images' mean and deviation, which are then folded into the
    weights, so that the head takes features as they are.

    Parameters
    ----------
    learner : keras.Model
        From features to outputs; `has_linear_head` must hold.
    training, validation : pairs of ndarrays
        Features ``(n, …)``, and labels ``(n,)``.
    strengths : sequence of float
        Inverse strengths C of the penalty to try; validation accuracy chooses, and the stronger penalty
        where two are equal.

    Returns
    -------
    dict of str to float
        loss, accuracy, val_loss, val_accuracy, strength, seconds.

    References
    ----------
    Kornblith, Shlens, Le (2019), "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    began = time.perf_counter()
    (x, y), (x_validation, y_validation) = training, validation
    x, x_validation = _rows(x), _rows(x_validation)
    mean, deviation = _moments(x)
    standard = ((x - mean) / deviation).astype("float32")
    (dense,) = [layer for layer in learner.layers if layer.weights]
    classes = dense.units
    if len(np.unique(y)) < 2:
        raise InvalidInputError("A head needs training images of 2 or more classes. Got one class.")
    solver = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    for strength in sorted(strengths):
        solver.set_params(C=strength)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            solver.fit(standard, y)
        if said:
            logger.info("C = %g: the solver stopped after %d iterations", strength, ITERATIONS)
        kernel, bias = _as_dense(solver, mean, deviation, classes)
        accuracy = float(((x_validation @ kernel + bias).argmax(axis=1) == y_validation).mean())
        logger.info("C = %g: validation accuracy %.4f", strength, accuracy)
        if best is None or accuracy > best[0]:
            best = accuracy, strength, kernel, bias
    assert best is not None
    accuracy, strength, kernel, bias = best
    dense.set_weights([kernel.astype("float32"), bias.astype("float32")][: len(dense.weights)])

    def loss(features: np.ndarray, labels: np.ndarray) -> float:
        logits = features @ kernel + bias
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return float(log_loss(labels, chances, labels=np.arange(classes)))

    return {
        "loss": loss(x, y),
        "accuracy": float(((x @ kernel + bias).argmax(axis=1) == y).mean()),
        "val_loss": loss(x_validation, y_validation),
        "val_accuracy": accuracy,
        "strength": strength,
        "seconds": time.perf_counter() - began,
    }


class StandardisedHead:
    """A head that learns on standardised features, though it takes them as they are before and after.

    Raw features differ in scale from channel to channel, which slows every gradient method down. The
    head's first Dense layer is rescaled on entering and on leaving, so that what the head computes is
    never changed by it.

    Parameters
    ----------
    head : keras.Model
        From features to outputs.
    features : ndarray, shape (n, …, channels)
        The training images'.

    Attributes
    ----------
    learner : keras.Model
        What to fit, on raw features. It is `head` itself where that does not begin with a Dense layer,
        behind pooling, flattening or dropout at most.
    """

    def __init__(self, head: keras.Model, features: np.ndarray) -> None:
        self._dense = _first_dense(head)
        self._head = self.learner = head
        self._sample = np.asarray(features[:8])
        if self._dense is None:
            return
        mean, deviation = _moments(features)
        if not self._dense.use_bias:
            mean = np.zeros_like(mean)
        inputs = keras.Input(features.shape[1:])
        standard = (inputs - mean.astype("float32")) / deviation.astype("float32")
        self.learner = keras.Model(inputs, head(standard))
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
        after = self.learner.predict_on_batch(self._sample)
        if not np.allclose(before, after, rtol=1e-2, atol=1e-3):
            # features reach the outputs by another way too
            self._dense.set_weights(weights)
            self._dense, self.learner = None, self._head

    def leave(self) -> None:
        """Rescale the Dense layer to features as they are."""
        if self._dense is not None:
            kernel, *bias = (value.astype("float64") for value in self._dense.get_weights())
            kernel = kernel / self._deviation[:, None]
            self._set(kernel, [each - self._mean @ kernel for each in bias])

    def _set(self, kernel: np.ndarray, bias: list[np.ndarray]) -> None:
        assert self._dense is not None
        self._dense.set_weights([value.astype("float32") for value in (kernel, *bias)])


def _first_dense(head: keras.Model) -> layers.Dense | None:
    passing = layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D | layers.Flatten | layers.Dropout
    rest = itertools.dropwhile(
        lambda layer: isinstance(layer, passing | layers.InputLayer), iter(head.layers)
    )
    first = next(rest, None)
    return first if isinstance(first, layers.Dense) else None


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each channel's mean and standard deviation, float64; 1 for one that never moves."""
    axes = tuple(range(features.ndim - 1))
    mean = features.mean(axis=axes, dtype="float64")
    deviation = features.std(axis=axes, dtype="float64")
    # a channel that never fires says nothing, whatever it is divided by
    deviation[deviation < 1e-6] = 1.0
    return mean, deviation


def _rows(features: np.ndarray) -> np.ndarray:
    return np.asarray(features).reshape(len(features), -1)


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
