"""Which weights a run returns: those of its best epoch, or those that the phase began with."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from scipy.special import logsumexp

from transferzoo.errors import DivergedError
from transferzoo.models.prediction import predict
from transferzoo.recipes.phase import Phase
from transferzoo.training.callbacks import Origin
from transferzoo.training.linear_head import FEW_VALIDATION

logger = logging.getLogger("transferzoo")


def origin_of(network: keras.Model, images: np.ndarray, labels: np.ndarray, *, logits: bool) -> Origin:
    """Return where a phase begins, as the validation images judge it; `logits`: what the outputs are."""
    correct, likelihood = _judged(network, images, labels, logits)
    weights = [np.array(value) for value in network.get_weights()]
    return Origin(weights=weights, correct=correct, likelihood=likelihood)


def choose_weights(
    network: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    origin: Origin,
    *,
    logits: bool,
    phase: str,
    before: str | None,
) -> bool:
    """Set a network to where its phase began, unless it is better now; tell whether it is.

    It is better if its validation accuracy is higher; of two equal ones the lower log loss decides. Under 100
    validation images decide little. There the phase before, the simpler model, is returned unless the network
    is ahead of it by more than one standard error of their difference (Breiman et al. 1984, Classification
    and Regression Trees, section 3.4.3), in accuracy or in log loss, and behind it by as much in neither.

    Parameters
    ----------
    network : keras.Model
        With the weights of its best epoch.
    images, labels : ndarray
        For validation.
    origin : Origin
    logits : bool
        Whether its outputs are logits.
    phase, before : str
        Names of the phase and of the one before it.
    """
    correct, likelihood = _judged(network, images, labels, logits)
    gain, error = _mean_and_error(correct.astype(float) - origin.correct)
    likelier, likelier_error = _mean_and_error(likelihood - origin.likelihood)
    if len(labels) < FEW_VALIDATION:
        better = gain > error or likelier > likelier_error
        better = better and gain >= -error and likelier >= -likelier_error
    else:
        better = (gain, likelier) > (0.0, 0.0)
    if not better:
        network.set_weights(origin.weights)
        logger.warning(
            "phase '%s' was not better than phase '%s' before it "
            "(on %d validation images: accuracy %+.1f points, standard error %.1f; log loss %+.3f, "
            "standard error %.3f), so the model of phase '%s' is returned. More training images may "
            "change that; recipe='linear_probe' saves the time",
            *(phase, before, len(labels), 100 * gain, 100 * error, -likelier, likelier_error, before),
        )
    return better


def refuse_divergence(network: keras.Model, rows: Sequence[Mapping[str, Any]], phase: Phase) -> None:
    """Raise where a phase's losses or weights became NaN or infinite.

    Raises
    ------
    DivergedError
    """
    found = None
    # what an epoch's last step does shows in the validation loss alone
    for title, key in (("loss", "loss"), ("validation loss", "val_loss")):
        wild = [i for i, row in enumerate(rows) if not math.isfinite(row[key])]
        if wild and found is None:
            found = f"the {title} is {rows[wild[0]][key]} in epoch {wild[0] + 1}"
    # XLA's relu turns NaN into 0, so that a finite loss may come of weights that are lost
    if found is None and not all(np.isfinite(value).all() for value in network.get_weights()):
        found = "weights are NaN or infinite at the end"
    if found is not None:
        raise DivergedError(
            f"Training diverged: {found} of phase '{phase.name}'. "
            f"Pass a lower learning_rate; it was {phase.learning_rate:g}."
        )


def _judged(
    network: keras.Model, images: np.ndarray, labels: np.ndarray, logits: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return which images a network gets right, and the log-probability of each one's class."""
    outputs = predict(network, images).astype("float64")
    if logits:
        outputs -= logsumexp(outputs, axis=1, keepdims=True)
    else:
        outputs = np.log(np.clip(outputs, 1e-7, 1.0))
    return outputs.argmax(axis=1) == labels, outputs[np.arange(len(labels)), labels]


def _mean_and_error(differences: np.ndarray) -> tuple[float, float]:
    """Return a mean and its standard error."""
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))
