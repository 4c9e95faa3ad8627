"""A recipe applied to a model and data: phases in, history out."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from transferzoo.data.batches import Batches
from transferzoo.data.dataset import Dataset
from transferzoo.errors import DivergedError, RecordError
from transferzoo.features.extract import frozen_features, split_at_features
from transferzoo.features.store import FeatureStore
from transferzoo.ground.progress import Progress
from transferzoo.models.construct import model_settings
from transferzoo.models.prediction import ProgressCallback, gives_probabilities, needs_floats
from transferzoo.recipes.phase import Phase
from transferzoo.recipes.recipe import Recipe
from transferzoo.training.budget import MOST, TIMED_IMAGES, Budget, choose_epochs, log_choice, time_phase
from transferzoo.training.callbacks import (
    CheckpointCallback,
    EpochRecord,
    KeepBest,
    Origin,
    best_weights,
    model_arrays,
    restore_model,
)
from transferzoo.training.checkpoints import Checkpoints, TrainingState
from transferzoo.training.linear_head import solve_head
from transferzoo.training.plan import (
    PhasePlan,
    images_for,
    plan,
    sample_weights,
    training_batches,
    validation_batches,
)
from transferzoo.training.returning import choose_weights, origin_of, refuse_divergence
from transferzoo.training.traces import traces_freed
from transferzoo.training.training_model import TrainingModel, compile_for, set_momentum, training_model
from transferzoo.training.user_callbacks import RATE_CALLBACKS, UserCallbacks, check_callbacks

logger = logging.getLogger("transferzoo")

SPLIT_WORDS = {"train": "training", "validation": "validation"}
# validation images whose prediction takes long enough to tell a machine's pace, tracing included
LONG_LOOK = 2_000


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training left beside the weights.

    Parameters
    ----------
    history : dict of str to list
        One entry per epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase, and
        C where a head was solved. What a phase does not have is NaN.
    seconds : float
        Over all sittings.
    reused_seconds : float
        What features from the cache took when they were computed, before this run; not part of `seconds`.
    returned : str
        Which weights the model has, in words: ``"phase 'probe'"``, ``"epoch 3 of phase 'fine_tune'"``.
    chosen : dict
        Where a budget decided how long the last phase trains: ``epochs``, ``steps_per_epoch``, and the
        seconds that were timed.
    """

    history: dict[str, list[Any]]
    seconds: float
    reused_seconds: float = 0.0
    returned: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)


def train(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    store: FeatureStore | None = None,
    checkpoints: Checkpoints | None = None,
    first_rate: float | None = None,
    budget: Budget | None = None,
) -> Trained:
    """Train a model in place.

    Parameters
    ----------
    model : keras.Model
        As `build` returns it, or any classifier from images to probabilities or logits.
    data : Dataset
    recipe : Recipe
    seed : int
        Of order and augmentation; the model's own random weights are older.
    callbacks : iterable of keras.callbacks.Callback
        Given to every phase that trains in epochs, and to the last one; see `UserCallbacks`. Those that set
        the learning rate act in the last phase alone.
    progress : Progress, optional
    store : FeatureStore, optional
        Where features of a frozen backbone are kept; they stay in memory without one.
    checkpoints : Checkpoints, optional
        Where to save, and to continue from.
    first_rate : float, optional
        What the first phase's rate begins at, in place of its own.
    budget : Budget, optional
        Chooses the last phase's epochs, in place of its own number.

    Returns
    -------
    Trained

    Raises
    ------
    DivergedError
        If the loss becomes infinite or no number.
    RecordError
        If the checkpoint cannot be read.
    """
    plans = plan(model, data, recipe, seed=seed)
    callbacks = check_callbacks(callbacks, plans[-1].phase)
    start = checkpoints.load() if checkpoints is not None else None
    if start is not None:
        if start.phase > len(plans) or (
            start.phase < len(plans) and start.epoch > plans[start.phase].phase.epochs and not start.chosen
        ):
            raise RecordError(
                f"The checkpoint does not fit the recipe: it is at {start.where()}, and there are "
                f"{len(plans)} phases. Delete it, and the run starts from the beginning.",
                argument="out",
            )
        logger.info("going on from %s", start.where())
        restore_model(model, start.arrays, whole=True)
    start = start or TrainingState()
    run = _Run(
        model=model,
        data=data,
        recipe=recipe,
        callbacks=callbacks,
        progress=progress or Progress(),
        store=store,
        checkpoints=checkpoints,
        first_rate=first_rate,
        budget=budget,
        chosen=dict(start.chosen),
        earlier=start.seconds,
        reused=start.reused_seconds,
        features=set(start.features),
        returned=start.returned,
        rows=[dict(row) for row in start.rows],
    )
    waiting = checkpoints.interruptible() if checkpoints is not None else contextlib.nullcontext()
    with waiting, traces_freed():
        for number, step in enumerate(plans[start.phase :], start.phase):
            run.before = plans[number - 1].phase.name if number else None
            within = number == start.phase and (start.epoch or start.batch)
            here = start if within else TrainingState(phase=number)
            run.phase(step, here, is_main=step is plans[-1])
    return Trained(
        history=_columns(run.rows),
        seconds=run.seconds,
        reused_seconds=run.reused,
        returned=run.returned or f"phase '{plans[-1].phase.name}'",
        chosen=run.chosen,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What a phase trains and validates on: images, or features of them."""

    part: Dataset
    x_train: np.ndarray
    x_validation: np.ndarray


@dataclass(kw_only=True)
class _Run:
    """One call of `train`: what all its phases share."""

    model: keras.Model
    data: Dataset
    recipe: Recipe
    callbacks: list[keras.callbacks.Callback]
    progress: Progress
    store: FeatureStore | None
    checkpoints: Checkpoints | None
    first_rate: float | None
    budget: Budget | None
    chosen: dict[str, Any]
    earlier: float
    reused: float
    features: set[str]
    rows: list[dict[str, Any]]
    before: str | None = None
    returned: str = ""
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    def phase(self, step: PhasePlan, start: TrainingState, *, is_main: bool) -> None:
        """Carry out one phase, from where it stands, and save what came of it."""
        part = images_for(step, self.data)
        seen = _Seen(part=part, x_train=part.x_train, x_validation=part.x_validation)
        if step.features_once:
            extractor = split_at_features(self.model)[0]
            seen = replace(
                seen,
                x_train=self._features(extractor, seen.x_train, step.phase, "train"),
                x_validation=self._features(extractor, seen.x_validation, step.phase, "validation"),
            )
        with training_model(step, self.model, seen.x_train) as fitted:
            if step.phase.optimizer == "lbfgs":
                self._solve(step, fitted.network, seen, is_main=is_main)
            else:
                self._fit(step, start, fitted, seen, is_main=is_main)
        if self.checkpoints is not None:
            self.checkpoints.save(
                TrainingState(
                    phase=start.phase + 1,
                    seconds=self.seconds,
                    reused_seconds=self.reused,
                    features=sorted(self.features),
                    returned=self.returned,
                    chosen=self.chosen,
                    rows=self.rows,
                    arrays=model_arrays(self.model),
                )
            )

    def _solve(self, step: PhasePlan, network: keras.Model, seen: _Seen, *, is_main: bool) -> None:
        """Solve a linear head in one go."""
        phase = step.phase
        solved = solve_head(
            network,
            (seen.x_train, seen.part.y_train),
            (seen.x_validation, seen.part.y_validation),
            phase.c_values,
            sample_weights(step, seen.part),
        )
        self.rows.append({**solved, "phase": phase.name})
        if is_main:
            self._tell_of_solution(network, solved)
        self.progress.say(
            f"{phase.name}: head solved, C = {solved['C']:g}, validation accuracy "
            f"{solved['val_accuracy']:.1%}"
        )

    def _tell_of_solution(self, network: keras.Model, solved: Mapping[str, float]) -> None:
        """Let the user's callbacks see a head that was solved in one go, as an epoch."""
        told = UserCallbacks(self.callbacks, self.model)
        told.set_params({"epochs": 1, "steps": 1, "verbose": 0})
        told.set_model(network)
        logs = {key: solved[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        told.on_train_begin({})
        told.on_epoch_begin(0, {})
        told.on_epoch_end(0, logs)
        told.on_train_end(logs)

    def _features(self, extractor: keras.Model, images: np.ndarray, phase: Phase, split: str) -> np.ndarray:
        logger.info("phase '%s': features of %d images", phase.name, len(images))
        self.progress.say(f"{phase.name}: features of {len(images):,} {SPLIT_WORDS[split]} images")
        settings = model_settings(self.model)
        described = {"backbone": settings.backbone, "image_size": settings.image_size} if settings else {}
        seen = f"{split} {len(images)}"

        def reuse(seconds: float) -> None:
            # what this run has computed or counted itself is not counted again
            if seen not in self.features:
                self.reused += seconds

        features = frozen_features(
            extractor,
            images,
            store=self.store,
            progress=self.progress,
            description=described,
            reused=reuse,
        )
        self.features.add(seen)
        return features

    def _fit(
        self, step: PhasePlan, start: TrainingState, fitted: TrainingModel, seen: _Seen, *, is_main: bool
    ) -> None:
        """Train in epochs, and leave the weights that the phase returns."""
        network, part = fitted.network, seen.part
        logits = not gives_probabilities(self.model, part.x_train)
        keeps_best = is_main and (
            self.recipe.keep == "best" or (self.recipe.keep == "safe" and self.before is not None)
        )
        origin = None
        began = time.perf_counter()
        if keeps_best and self.before is not None:
            origin = Origin.of(start.arrays) or origin_of(
                network, seen.x_validation, part.y_validation, logits=logits
            )
        if is_main and self.budget is not None:
            # a second look at how fast images are predicted, a longer one
            predicting = (time.perf_counter() - began) / len(part.y_validation)
            shortened = self._within(self.budget, step, network, seen, predicting)
            if shortened is None:
                self.returned = f"phase '{self.before}'"
                return
            step = shortened
        compile_for(step, network, self.model, part.x_train)
        if self.first_rate is not None and start.phase == 0:
            network.optimizer.learning_rate = self.first_rate
        watching = [*_plateau(step.phase), *_keep(self.recipe, is_main=is_main, keeps_best=keeps_best)]
        rows_before = len(self.rows)
        self._epochs(step, start, fitted, seen, watching, origin, is_main=is_main)
        best = best_weights(watching)
        if best and keeps_best:
            network.set_weights(best)
        try:
            refuse_divergence(network, self.rows[rows_before:], step.phase)
        except DivergedError as error:
            if origin is None:
                raise
            network.set_weights(origin.weights)
            self.returned = f"phase '{self.before}'"
            logger.warning("%s The model of phase '%s', before it, is returned.", error, self.before)
            return
        if not is_main:
            return
        epoch = next((each.best_epoch for each in watching if isinstance(each, KeepBest)), None)
        self.returned = f"the last epoch of phase '{step.phase.name}'"
        if keeps_best and epoch is not None:
            self.returned = f"epoch {epoch + 1} of phase '{step.phase.name}'"
        if origin is not None:
            chosen = choose_weights(
                network,
                seen.x_validation,
                part.y_validation,
                origin,
                logits=logits,
                safe=self.recipe.keep == "safe",
                phase=step.phase.name,
                before=self.before,
            )
            if chosen == "before":
                self.returned = f"phase '{self.before}'"
            elif chosen == "mean":
                self.returned = f"the mean of phase '{self.before}' and {self.returned}"

    def _epochs(
        self,
        step: PhasePlan,
        start: TrainingState,
        fitted: TrainingModel,
        seen: _Seen,
        watching: Sequence[keras.callbacks.Callback],
        origin: Origin | None,
        *,
        is_main: bool,
    ) -> None:
        """Go through the phase's epochs, from where it stands; a broken one is a call of `fit` of its own."""
        network, phase = fitted.network, step.phase
        as_float = needs_floats(network)
        record = EpochRecord(phase.name, self.rows, start.epoch_seconds)
        batches_left = (phase.epochs - start.epoch) * step.steps - start.batch
        bar = ProgressCallback(self.progress, phase.name, batches_left, epochs=phase.epochs)
        self.progress.say(
            f"{phase.name}: {phase.epochs - start.epoch} epochs of {step.steps} steps; compiling first"
        )
        theirs = [each for each in self.callbacks if is_main or not isinstance(each, RATE_CALLBACKS)]
        users = [UserCallbacks(theirs, self.model, fitted.as_returned)] if theirs else []
        keepers = []
        if self.checkpoints is not None:
            keepers = [
                CheckpointCallback(
                    self.checkpoints,
                    start,
                    self.model,
                    watching,
                    batches=step.steps,
                    describe=lambda: {
                        "seconds": self.seconds,
                        "epoch_seconds": record.epoch_seconds,
                        "reused_seconds": self.reused,
                        "features": sorted(self.features),
                        "chosen": self.chosen,
                        "rows": self.rows,
                    },
                    origin=origin,
                )
            ]
        if keepers and (start.stopped or start.epoch == phase.epochs):
            keepers[0].bring_back(network)

        def fit(epoch: int, batch: int, until: int) -> None:
            batches = training_batches(
                step, seen.part, seen.x_train, first_epoch=epoch, first_batch=batch, as_float=as_float
            )
            validation = validation_batches(
                step, seen.part, seen.x_validation, first_epoch=epoch, as_float=as_float
            )
            network.fit(
                batches,
                validation_data=validation,
                initial_epoch=epoch,
                epochs=until,
                shuffle=False,
                verbose=0,
                callbacks=[
                    _InStep(batches),
                    record,
                    keras.callbacks.TerminateOnNaN(),
                    *watching,
                    bar,
                    *users,
                    *keepers,
                ],
            )

        epoch, stopped = start.epoch, start.stopped
        with bar.shown():
            if start.batch:
                fit(epoch, start.batch, epoch + 1)
                epoch, stopped = epoch + 1, network.stop_training
            if epoch < phase.epochs and not stopped:
                fit(epoch, 0, phase.epochs)

    def _within(
        self,
        budget: Budget,
        step: PhasePlan,
        network: keras.Model,
        seen: _Seen,
        predicting: float,
    ) -> PhasePlan | None:
        """Return the phase with as many epochs as the budget has time for, or None where it has for none."""
        if not self.chosen:
            compile_for(step, network, self.model, seen.part.x_train)
            batches = training_batches(step, seen.part, seen.x_train, as_float=needs_floats(network))
            pace = time_phase(network, self.model, batches, seen.x_train[:TIMED_IMAGES], budget.seconds)
            if len(seen.part.y_validation) >= LONG_LOOK:
                pace = replace(pace, image=max(pace.image, predicting))
            chosen = choose_epochs(
                budget.left(self.earlier),
                pace,
                full=step.steps,
                validation=len(seen.x_validation),
                evaluated=budget.evaluated,
                most=MOST * step.phase.epochs,
                may_skip=self.before is not None,
            )
            self.chosen = {
                **chosen,
                "seconds_a_step": pace.step,
                "seconds_to_begin": pace.trace,
                "seconds_an_image_predicted": pace.image,
            }
            log_choice(step.phase, self.chosen, budget.seconds)
        if not self.chosen["epochs"]:
            return None
        phase = replace(
            step.phase, epochs=self.chosen["epochs"], steps_per_epoch=self.chosen["steps_per_epoch"]
        )
        step = replace(step, phase=phase, steps=self.chosen["steps_per_epoch"] or step.steps)
        set_momentum(step, self.model)
        return step


class _InStep(keras.callbacks.Callback):
    """Tells the batches which epoch it is: Keras ends one of its own before training begins."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._batches.epoch = epoch


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, math.nan) for row in rows] for name in names}


def _plateau(phase: Phase) -> list[keras.callbacks.Callback]:
    if phase.plateau is None:
        return []
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor=phase.plateau.monitor,
            factor=phase.plateau.factor,
            patience=phase.plateau.patience,
            min_lr=phase.plateau.minimum,
        )
    ]


def _keep(recipe: Recipe, *, is_main: bool, keeps_best: bool) -> list[keras.callbacks.Callback]:
    if not is_main or (not keeps_best and recipe.patience is None):
        return []
    return [
        KeepBest(
            monitor="val_accuracy",
            mode="max",
            patience=recipe.patience if recipe.patience is not None else 10**9,
            restore_best_weights=keeps_best,
        )
    ]
