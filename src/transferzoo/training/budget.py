"""How long a phase may train, where the caller gave minutes in place of epochs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from transferzoo.data.batches import Batches
from transferzoo.errors import InvalidInputError, UnknownOptionError, invalid
from transferzoo.ground.arguments import finite
from transferzoo.models.prediction import PREDICTION_BATCH, predict
from transferzoo.recipes.phase import Phase
from transferzoo.recipes.recipe import Recipe
from transferzoo.training.callbacks import unique_variables

logger = logging.getLogger("transferzoo")

# of the time that is left, so that a machine that is a little slower later is still in time
USED = 0.98
# an epoch costs this much beyond its steps and its validation
EPOCH_SECONDS = 0.2
# fewer steps than this move weights without teaching them anything
FEWEST_STEPS = 10
# whole epochs are taken where they leave less than this share of the time
SPARE = 0.08
# a few images could be seen thousands of times, to no use: at most so many times the recipe's epochs
MOST = 5
# how long the steps that are timed may take, as a share of the budget and in seconds, and their least number
TIMED_SHARE, TIMED_SECONDS, TIMED_STEPS = 0.03, 8.0, 4
TIMED_IMAGES = 512
# predictions behind the latency and the throughput on record, in images, and the traces they begin with
COST_IMAGES, COST_TRACES, SAVE_SECONDS = 450, 4, 1.5


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The time that a call may take.

    Parameters
    ----------
    seconds : float
        From the call to its return.
    began : float
        When it began, on `time.perf_counter`.
    evaluated : int
        Images that are predicted after the training.
    """

    seconds: float
    began: float
    evaluated: int

    def left(self, earlier: float = 0.0) -> float:
        """Return the seconds that are left, where earlier sittings took some."""
        return self.seconds - earlier - (time.perf_counter() - self.began)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a phase's parts take, in seconds.

    Parameters
    ----------
    step : float
        A step of training.
    trace : float
        What the first steps of training and of validation take beyond that.
    image : float
        A prediction, once it is traced.
    predict_trace : float
        What the first prediction takes beyond that.
    """

    step: float
    trace: float
    image: float
    predict_trace: float


def check_minutes(minutes: Any, recipe: Recipe, options: Mapping[str, Any]) -> float | None:
    """Return the minutes as a float, or None where none are given.

    Raises
    ------
    InvalidInputError
        If they are no number above 0.
    UnknownOptionError
        If the epochs are given too, or the recipe does not train in epochs.
    """
    if minutes is None:
        return None
    number = finite(minutes)
    if number is None or number <= 0:
        raise invalid("minutes", "a number above 0", minutes)
    for option in ("epochs", "steps_per_epoch"):
        if options.get(option) is not None:
            raise InvalidInputError(
                f"minutes={minutes:g} chooses the number of epochs, and {option}={options[option]!r} was "
                "given too. Leave one of them out.",
                argument="minutes",
                value=minutes,
            )
    if recipe.phases[-1].optimizer == "lbfgs":
        raise UnknownOptionError(
            f"recipe '{recipe.name}' solves its head in one go here, so 'minutes' cannot apply. "
            "Leave it out; recipe='default' uses the time, if the backbone may learn.",
            argument="minutes",
        )
    return number


def choose_epochs(
    left: float, pace: Pace, *, full: int, validation: int, evaluated: int, most: int, may_skip: bool
) -> dict[str, int | None]:
    """Choose a phase's epochs, and the steps of each where not even one or two whole ones fit.

    Parameters
    ----------
    left : float
        Seconds until the call must return.
    pace : Pace
    full : int
        Steps in which all training images are seen once.
    validation, evaluated : int
        Images predicted after each epoch, and at the end.
    most : int
        Epochs, at most.
    may_skip : bool
        Whether the phase may be left out, as the model is trained already.

    Returns
    -------
    dict
        ``epochs``, 0 where the phase is to be left out, and ``steps_per_epoch``, None for all.

    Examples
    --------
    >>> pace = Pace(step=0.1, trace=2.0, image=0.001, predict_trace=0.5)
    >>> sizes = {"full": 700, "validation": 5000, "evaluated": 15000, "most": 40}
    >>> choose_epochs(600, pace, **sizes, may_skip=True)
    {'epochs': 7, 'steps_per_epoch': None}
    >>> choose_epochs(450, pace, **sizes, may_skip=True)
    {'epochs': 6, 'steps_per_epoch': 638}
    >>> choose_epochs(5, pace, **sizes, may_skip=True)
    {'epochs': 0, 'steps_per_epoch': None}
    """
    after = (
        (evaluated + validation + COST_IMAGES) * pace.image + COST_TRACES * pace.predict_trace + SAVE_SECONDS
    )
    usable = left * USED - pace.trace - pace.predict_trace - after
    fixed = validation * pace.image + EPOCH_SECONDS
    whole = full * pace.step + fixed
    epochs = max(0, math.floor(usable / whole))
    if epochs >= most:
        return {"epochs": most, "steps_per_epoch": None}
    if epochs and usable - epochs * whole <= SPARE * usable:
        return {"epochs": epochs, "steps_per_epoch": None}
    whole_ones, epochs = epochs, epochs + 1
    steps = min(full, math.floor((usable / epochs - fixed) / pace.step))
    if whole_ones and epochs * steps <= whole_ones * full:
        # an epoch more costs its validation too, which here takes longer than the steps that it adds
        return {"epochs": whole_ones, "steps_per_epoch": None}
    if epochs == 1 and steps < min(FEWEST_STEPS, full):
        if may_skip:
            return {"epochs": 0, "steps_per_epoch": None}
        steps = min(FEWEST_STEPS, full)
    return {"epochs": epochs, "steps_per_epoch": None if steps == full else steps}


def time_phase(
    network: keras.Model, model: keras.Model, batches: Batches, images: np.ndarray, seconds: float
) -> Pace:
    """Time a few steps and predictions; weights and random states are put back.

    Parameters
    ----------
    network : keras.Model
        Compiled. It is to be compiled again, as its optimizer has moved.
    model : keras.Model
        The user's, which shares its weights.
    batches : Batches
        Training batches.
    images : ndarray
        What the network takes, at least one.
    seconds : float
        The budget, of which the timed steps may take a small share; there are four at least.
    """
    variables = unique_variables(model, network)
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        took = [_seconds(lambda: network.train_on_batch(*batches[0]))]
        while len(took) <= TIMED_STEPS or sum(took[1:]) < min(TIMED_SHARE * seconds, TIMED_SECONDS):
            index = len(took) % batches.steps
            took.append(_seconds(lambda index=index: network.train_on_batch(*batches[index])))  # type: ignore[misc]
        validated = _seconds(lambda: network.test_on_batch(*batches[0]))
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    step = float(np.mean(took[1:]))
    some = np.take(images, range(min(TIMED_IMAGES, max(PREDICTION_BATCH, len(images)))), axis=0, mode="wrap")
    first = _seconds(lambda: predict(network, some))
    again = _seconds(lambda: predict(network, some))
    return Pace(
        step=step,
        trace=max(0.0, took[0] - step) + validated,
        image=again / len(some),
        predict_trace=max(0.0, first - again),
    )


def log_choice(phase: Phase, chosen: Mapping[str, Any], seconds: float) -> None:
    """Say how long a phase trains."""
    if not chosen["epochs"]:
        logger.warning(
            "minutes=%g leave no time for phase '%s', which needs %.2f s per step and %.1f s to begin; the "
            "model is returned as it is",
            seconds / 60,
            phase.name,
            chosen["seconds_a_step"],
            chosen["seconds_to_begin"],
        )
        return
    logger.info("phase '%s': %s fit into minutes=%g", phase.name, in_words(chosen), seconds / 60)


def in_words(chosen: Mapping[str, Any]) -> str:
    """Return a choice in words.

    Examples
    --------
    >>> in_words({"epochs": 3, "steps_per_epoch": 500})
    '3 epochs of 500 steps'
    """
    epochs, steps = chosen["epochs"], chosen["steps_per_epoch"]
    return f"{epochs} epoch{'' if epochs == 1 else 's'}" + (f" of {steps:,} steps" if steps else "")


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
