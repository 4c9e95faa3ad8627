"""`fit`: a model trained and not tested; and the training that it shares with runs that are tested."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferzoo.costs.energy import Energy
from transferzoo.costs.measure import PeakMemory
from transferzoo.data.dataset import Dataset
from transferzoo.errors import DivergedError
from transferzoo.features.store import FeatureStore
from transferzoo.ground.arguments import check_flag
from transferzoo.ground.progress import Progress, choose_progress
from transferzoo.linting.checks import findings_for, log_findings
from transferzoo.models.construct import construct
from transferzoo.models.plan import seeded
from transferzoo.models.prediction import predict_probabilities
from transferzoo.planning import RunPlan, plan_run
from transferzoo.recipes.recipe import Recipe
from transferzoo.training.budget import Budget
from transferzoo.training.checkpoints import Checkpoints
from transferzoo.training.loop import Trained, train
from transferzoo.training.user_callbacks import check_callbacks

logger = logging.getLogger("transferzoo")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A model that was trained and not tested.

    Parameters
    ----------
    model : keras.Model
        From images, 0 to 255, to probabilities or logits.
    class_names : tuple of str
        What the model's outputs stand for, in order.
    history : dict of str to list
        As `Result.history`: one entry per epoch.
    validation_accuracy : float
        Of the returned model, in [0, 1]. Where validation images chose the epoch, it is a little too high.
    returned : str
        Which weights the model has, in words: ``"epoch 3 of phase 'fine_tune'"``.
    chosen : dict
        With `minutes`: ``epochs`` and ``steps_per_epoch``, which repeat the training without the clock.
    settings : mapping
        All that decided the training, in plain JSON types.
    seconds : float
        What the training took.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    history: Mapping[str, list[Any]]
    validation_accuracy: float
    returned: str
    chosen: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float

    def __repr__(self) -> str:
        return (
            f"<Fitted '{self.model.name}': {self.returned}, validation accuracy "
            f"{self.validation_accuracy:.1%}, not tested>"
        )


def fit(
    model: str | keras.Model,
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe = "default",
    minutes: float | None = None,
    seed: int = 0,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    cache: bool = True,
    lint: bool = True,
    verbose: bool | str | Progress = "auto",
    **options: Any,
) -> Fitted:
    """Train a model and do not test it: for a final model on all your images, or inside a loop of your own.

    The dataset needs no test images (``test=0`` when it is loaded). It needs validation images, which recipes
    use to choose the epoch and the penalty.

    Parameters
    ----------
    model, data, recipe, minutes, seed, callbacks, cache, lint, verbose, **options
        As `fit_and_evaluate` takes them. A call with the same ones trains the same weights.

    Returns
    -------
    Fitted
        The model, its history and its accuracy on the validation images.

    Raises
    ------
    UnknownNameError, UnknownOptionError, InvalidInputError
        For a bad call, before anything slow starts.
    WeightsError, DownloadError
        If weights cannot be downloaded.
    DivergedError
        If the loss becomes NaN or infinite.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50)
    >>> fitted = tz.fit("mobilenet_025", data, weights=None, recipe="linear_probe", verbose=False)
    >>> fitted.model.output_shape
    (None, 10)
    """
    began = time.perf_counter()
    progress = choose_progress(verbose)
    cache, lint = check_flag("cache", cache), check_flag("lint", lint)
    callbacks = check_callbacks(callbacks)
    run = plan_run(
        model,
        data,
        recipe=recipe,
        minutes=minutes,
        seed=seed,
        out=None,
        options=options,
        keep_features=cache,
        progress=progress,
        caller="fit",
        for_testing=False,
    )
    if lint:
        log_findings(findings_for(run))
    progress.say(run.in_words())
    evaluated = len(run.data.y_validation)
    network, trained, _ = trained_model(
        run, callbacks=callbacks, progress=progress, budget=budget_of(run, began, evaluated)
    )
    probabilities = predict_probabilities(network, run.data.x_validation, progress=progress)
    warn_of_the_end(run.name, trained.history, run.data.y_validation, probabilities)
    fitted = Fitted(
        model=network,
        class_names=run.data.class_names,
        history=trained.history,
        validation_accuracy=float((probabilities.argmax(axis=1) == run.data.y_validation).mean()),
        returned=trained.returned,
        chosen=dict(trained.chosen),
        settings=run.settings,
        seconds=trained.seconds,
    )
    progress.say(f"{run.name}: {trained.returned}, validation accuracy {fitted.validation_accuracy:.1%}")
    return fitted


def trained_model(
    run: RunPlan,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    first_rate: float | None = None,
    budget: Budget | None = None,
    built: Any = None,
) -> tuple[keras.Model, Trained, dict[str, float]]:
    """Build a run's model and train it; `built` is called once the model stands.

    The third part is what training took at its peak, and in energy: costs by their names.

    Raises
    ------
    DivergedError
        If the loss becomes NaN or infinite; the checkpoint is removed, as no call could continue from it.
    """
    model = run.model
    if model is None:
        assert run.build_plan is not None
        model = construct(run.build_plan, seed=run.seed, progress=progress)
    if built is not None:
        built()
    with seeded(run.seed), PeakMemory() as memory, Energy() as energy:
        try:
            trained = train(
                model,
                run.data,
                run.recipe,
                seed=run.seed,
                callbacks=callbacks,
                progress=progress,
                store=FeatureStore() if run.keep_features else None,
                checkpoints=checkpoints,
                first_rate=first_rate,
                budget=budget,
            )
        except DivergedError:
            if checkpoints is not None:
                checkpoints.remove()
            raise
    return model, trained, {**memory.costs(), **energy.costs()}


def budget_of(run: RunPlan, began: float, evaluated: int) -> Budget | None:
    """Return a run's budget, or None; `evaluated` images are predicted after the training."""
    return None if run.minutes is None else Budget(seconds=60 * run.minutes, began=began, evaluated=evaluated)


def warn_of_the_end(
    name: str, history: Mapping[str, Sequence[Any]], y_true: np.ndarray, y_prob: np.ndarray
) -> None:
    """Say so where a run ended near chance, or where its validation accuracy fell on the way."""
    n = len(y_true)
    accuracy = float((y_prob.argmax(axis=1) == y_true).mean())
    chance = float(np.bincount(y_true).max() / n)
    if accuracy <= chance + 2 * math.sqrt(chance * (1 - chance) / n):
        logger.warning(
            "%s ended near chance: %.1f %% of %d validation images, and naming the most frequent class "
            "alone gets %.1f %%. Look at the images and labels (tz.plots.image_grid), try "
            "recipe='linear_probe', a lower learning_rate, or published weights",
            name,
            100 * accuracy,
            n,
            100 * chance,
        )
        return
    figures = [each for each in history.get("val_accuracy", []) if math.isfinite(each)]
    if not figures:
        return
    fall = max(figures) - accuracy
    if fall > 2 * math.sqrt(max(figures) * (1 - max(figures)) / n) + 1e-9 and len(figures) > 1:
        logger.warning(
            "%s: validation accuracy fell from %.1f to %.1f %% during training; keep='best' returns the "
            "best epoch, a lower learning_rate or fewer epochs avoid the fall",
            name,
            100 * max(figures),
            100 * accuracy,
        )
