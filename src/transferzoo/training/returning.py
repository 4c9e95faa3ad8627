"""Which weights a run returns: those of its best epoch, or those that the phase began with."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from scipy.special import logsumexp

from transferzoo.errors import DivergedError
from transferzoo.models.prediction import predict
from transferzoo.recipes.phase import Phase
from transferzoo.training.callbacks import Origin
from transferzoo.training.linear_head import FEW_VALIDATION

logger = logging.getLogger("transferzoo")

Chosen = Literal["before", "mean", "now"]
# which images are right, and the log-probability of each one's class
_Judged = tuple[np.ndarray, np.ndarray]


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
    safe: bool,
    phase: str,
    before: str | None,
) -> Chosen:
    """Set a network to where its phase began, to where it is now, or halfway; tell which.

    It stays as it is if its validation accuracy is higher than where it began; of two equal ones the lower
    log loss decides.

    Under 100 validation images decide little, and the best of many epochs is ahead on them by chance. There,
    to be safe, the mean of both ends is set, weight by weight: it lies closer to the simpler model, and is
    often better than either (Wortsman et al. 2022, Robust Fine-Tuning of Zero-Shot Models, CVPR,
    arXiv:2109.01903, section 3, with alpha 0.5). Where the beginning is ahead of the mean by more than one
    standard error of the difference, in accuracy and in log loss, it is set (Breiman et al. 1984,
    Classification and Regression Trees, section 3.4.3); where the network is ahead of both by more than two,
    it stays as it is.

    Parameters
    ----------
    network : keras.Model
        With the weights of its best epoch.
    images, labels : ndarray
        For validation.
    origin : Origin
    logits : bool
        Whether its outputs are logits.
    safe : bool
        Whether the mean is set where validation images are few.
    phase, before : str
        Names of the phase and of the one before it.

    Returns
    -------
    {"before", "mean", "now"}
    """
    now = _judged(network, images, labels, logits)
    began = (origin.correct, origin.likelihood)
    (gain, error), (likelier, likelier_error) = _ahead(now, began)
    chosen: Chosen = "now" if (gain, likelier) > (0.0, 0.0) else "before"
    if safe and len(labels) < FEW_VALIDATION:
        trained = [np.array(value) for value in network.get_weights()]
        network.set_weights([_halfway(*both) for both in zip(origin.weights, trained, strict=True)])
        between = _judged(network, images, labels, logits)
        chosen = "mean"
        if _clearly(_ahead(began, between), errors=1):
            chosen = "before"
        if all(_clearly(_ahead(now, other), errors=2) for other in (between, began)):
            chosen = "now"
            network.set_weights(trained)
    if chosen == "before":
        network.set_weights(origin.weights)
        logger.warning(
            "phase '%s' was not better than phase '%s' before it "
            "(on %d validation images: accuracy %+.1f points, standard error %.1f; log loss %+.3f, "
            "standard error %.3f), so the model of phase '%s' is returned. More training images may "
            "change that; recipe='linear_probe' saves the time",
            *(phase, before, len(labels), 100 * gain, 100 * error, -likelier, likelier_error, before),
        )
    return chosen


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


def _judged(network: keras.Model, images: np.ndarray, labels: np.ndarray, logits: bool) -> _Judged:
    """Return which images a network gets right, and the log-probability of each one's class."""
    outputs = predict(network, images).astype("float64")
    if logits:
        outputs -= logsumexp(outputs, axis=1, keepdims=True)
    else:
        outputs = np.log(np.clip(outputs, 1e-7, 1.0))
    return outputs.argmax(axis=1) == labels, outputs[np.arange(len(labels)), labels]


def _ahead(one: _Judged, other: _Judged) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return by how much one is ahead in accuracy and in log-probability, each with its standard error."""
    return _mean_and_error(one[0].astype(float) - other[0]), _mean_and_error(one[1] - other[1])


def _clearly(ahead: tuple[tuple[float, float], ...], *, errors: int) -> bool:
    """Tell whether all are ahead by more than so many standard errors."""
    return all(gain > errors * error for gain, error in ahead)


def _halfway(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the mean of a weight's values; of counters the latter."""
    if other.dtype.kind in "biu":
        return other
    return (one + (other - one) / 2).astype(other.dtype)


def _mean_and_error(differences: np.ndarray) -> tuple[float, float]:
    """Return a mean and its standard error."""
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))
