"""A recipe applied to a model and data: phases in, history out."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import layers
from scipy.special import logsumexp

from transferzoo.budget import MOST, TIMED_IMAGES, Budget, choose_epochs, log_choice, time_phase
from transferzoo.callbacks import (
    EpochRecord,
    KeepBest,
    Keeper,
    Origin,
    best_weights,
    model_arrays,
    restore_model,
)
from transferzoo.checkpoints import Checkpoints, Progressed
from transferzoo.data.batches import Batches
from transferzoo.data.dataset import Dataset
from transferzoo.errors import DivergedError
from transferzoo.feature_store import FeatureStore
from transferzoo.features import frozen_features, split_at_features
from transferzoo.models import backbone_of, connect, head_of, model_settings, set_trainable
from transferzoo.optimizers import make_optimizer, rate_factors
from transferzoo.prediction import (
    Advance,
    compiles_with_xla,
    gives_probabilities,
    needs_floats,
    predict,
)
from transferzoo.progress import Progress
from transferzoo.recipes.phase import Phase
from transferzoo.recipes.recipe import Recipe
from transferzoo.solving import FEW_VALIDATION, StandardisedHead, has_linear_head, solve_head
from transferzoo.user_callbacks import RATE_CALLBACKS, UserCallbacks, check_callbacks

logger = logging.getLogger("transferzoo")

# 250 batches of 100 against 15,000 validation images, as in the article
REPEATED_VALIDATION = 250 * 100 / 15_000
# a phase on part of the images takes this share of them from validation
VALIDATION_SHARE = 5


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """One phase, with all that is decided before anything is computed."""

    phase: Phase
    features_once: bool
    images: int
    steps: int
    seed: tuple[int, ...]

    @property
    def batch_norm_momentum(self) -> float | None:
        """The momentum that the phase's BatchNorm gets, or None where it keeps its own."""
        return max(1 - 10 / self.steps, 0.9) if self.phase.batch_norm == "train" else None


def plan(model: keras.Model, data: Dataset, recipe: Recipe, *, seed: int) -> list[PhasePlan]:
    """Decide which phases run and how, without computing anything."""
    recipe = recipe_for(model, recipe)
    frozen = is_frozen(model)
    plans: list[PhasePlan] = []
    for number, phase in enumerate(recipe.phases):
        still = phase.trainable == "none" or (phase.trainable == "as_built" and frozen)
        images = min(len(data.x_train), phase.max_images or len(data.x_train))
        plans.append(
            PhasePlan(
                phase=phase,
                features_once=still and phase.augmentation is None and head_of(model) is not None,
                images=images,
                steps=min(math.ceil(images / phase.batch_size), phase.steps_per_epoch or images),
                seed=(seed, number),
            )
        )
    return plans


def is_frozen(model: keras.Model) -> bool:
    """Tell whether a model has a backbone, and none of it learns."""
    backbone = backbone_of(model)
    return backbone is not None and not backbone.trainable_weights


def recipe_for(model: keras.Model, recipe: Recipe) -> Recipe:
    """Return a recipe with the phases that apply to a model; one that was settled before stays as it is."""
    settings = model_settings(model)
    # a head given as a function may turn out linear once it is built
    solvable = any(phase.heads == "linear" for phase in recipe.phases)
    return recipe.for_model(
        pretrained=settings is None or settings.weights is not None,
        linear_head=solvable and has_linear_head(head_of(model)),
        frozen=is_frozen(model),
        has_backbone=backbone_of(model) is not None,
    )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training left beside the weights.

    Parameters
    ----------
    history : dict of str to list
        An entry an epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase, and
        strength where a head was solved. What a phase does not have is NaN.
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
        Where to save, and to go on from.
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
        logger.info("going on from %s", start.where())
        restore_model(model, start.arrays)
    start = start or Progressed()
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
    with checkpoints.interruptible() if checkpoints is not None else contextlib.nullcontext():
        for number, step in enumerate(plans[start.phase :], start.phase):
            run.before = plans[number - 1].phase.name if number else None
            within = number == start.phase and (start.epoch or start.batch)
            here = start if within else Progressed(phase=number)
            with set_for(step, model):
                run.phase(step, here, is_main=step is plans[-1])
    return Trained(
        history=_columns(run.rows),
        seconds=run.seconds,
        reused_seconds=run.reused,
        returned=run.returned or f"phase '{plans[-1].phase.name}'",
        chosen=run.chosen,
    )


@contextlib.contextmanager
def set_for(step: PhasePlan, model: keras.Model) -> Iterator[None]:
    """Let those layers learn that the phase trains; afterwards layers learn as they were built."""
    backbone = backbone_of(model)
    learns = backbone is None or backbone.trainable
    layers_as_built = [
        (layer, layer.trainable, getattr(layer, "momentum", None)) for layer in _leaves(backbone or model)
    ]
    if backbone is not None and step.phase.trainable != "as_built":
        set_trainable(backbone, step.phase.trainable)
    try:
        yield
    finally:
        if backbone is not None:
            backbone.trainable = True
        for layer, trainable, momentum in layers_as_built:
            if backbone is not None:
                layer.trainable = trainable
            if momentum is not None:
                layer.momentum = momentum
        if backbone is not None and not learns:
            backbone.trainable = False


def images_for(step: PhasePlan, data: Dataset) -> Dataset:
    """Return the images that the phase is for."""
    if step.images == len(data.x_train):
        return data
    validation = max(data.num_classes, step.images // VALIDATION_SHARE)
    return data.subset(
        train=max(data.num_classes, step.images),
        validation=min(validation, len(data.x_validation)),
        seed=step.seed[0],
    )


def training_batches(
    step: PhasePlan,
    data: Dataset,
    x_train: np.ndarray,
    *,
    first_epoch: int = 0,
    first_batch: int = 0,
    as_float: bool = False,
) -> Batches:
    """Return the phase's batches of `x_train`, the training images of `data` or their features."""
    phase = step.phase
    return Batches(
        x_train,
        data.y_train,
        batch_size=phase.batch_size,
        num_classes=data.num_classes,
        shuffle=True,
        steps=step.steps if step.steps < math.ceil(len(x_train) / phase.batch_size) else None,
        augmentation=phase.augmentation and phase.augmentation.for_mirror_safe(data.mirror_safe),
        seed=step.seed,
        first_epoch=first_epoch,
        first_batch=first_batch,
        as_float=as_float,
    )


def compile_for(step: PhasePlan, learner: keras.Model, model: keras.Model, images: np.ndarray) -> None:
    """Give a learner, which shares its weights with `model`, the phase's optimizer and loss."""
    phase = step.phase
    learner.compile(
        optimizer=make_optimizer(
            phase, step.steps, rate_factors=rate_factors(learner, backbone_of(model), phase.layer_decay)
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=not gives_probabilities(model, images), label_smoothing=phase.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=compiles_with_xla(),
    )


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

    def phase(self, step: PhasePlan, start: Progressed, *, is_main: bool) -> None:
        """Carry out one phase, from where it stands, and save what came of it."""
        part = images_for(step, self.data)
        x_train, x_validation = part.x_train, part.x_validation
        if step.features_once:
            extractor, learner = split_at_features(self.model)
            x_train, x_validation = (
                self._features(extractor, x, step.phase, split)
                for split, x in (("train", x_train), ("validation", x_validation))
            )
        else:
            learner = training_twin(step, self.model)
        if step.phase.optimizer == "lbfgs":
            solved = solve_head(
                learner, (x_train, part.y_train), (x_validation, part.y_validation), step.phase.strengths
            )
            self.rows.append({**solved, "phase": step.phase.name})
            if is_main:
                self._tell_of_solution(learner, solved)
            logger.info(
                "%s: C = %g, validation accuracy %.4f",
                step.phase.name,
                solved["strength"],
                solved["val_accuracy"],
            )
        elif step.features_once:
            head = StandardisedHead(learner, x_train)
            head.enter()
            try:
                self._fit(
                    step,
                    start,
                    head.learner,
                    part,
                    x_train,
                    x_validation,
                    is_main=is_main,
                    as_returned=head.as_it_was,
                )
            finally:
                head.leave()
        else:
            self._fit(step, start, learner, part, x_train, x_validation, is_main=is_main)
        if self.checkpoints is not None:
            self.checkpoints.save(
                Progressed(
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

    def _tell_of_solution(self, learner: keras.Model, solved: Mapping[str, float]) -> None:
        """Let the user's callbacks see a head that was solved in one go, as an epoch."""
        told = UserCallbacks(self.callbacks, self.model)
        told.set_params({"epochs": 1, "steps": 1, "verbose": 0})
        told.set_model(learner)
        logs = {key: solved[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        told.on_train_begin({})
        told.on_epoch_begin(0, {})
        told.on_epoch_end(0, logs)
        told.on_train_end(logs)

    def _features(self, extractor: keras.Model, images: np.ndarray, phase: Phase, split: str) -> np.ndarray:
        logger.info("phase '%s': features of %d images", phase.name, len(images))
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
        self,
        step: PhasePlan,
        start: Progressed,
        learner: keras.Model,
        part: Dataset,
        x_train: np.ndarray,
        x_validation: np.ndarray,
        *,
        is_main: bool,
        as_returned: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        faults = self.recipe.faults
        origin = None
        keeps_best = self.recipe.keep == "best" or (self.recipe.keep == "safe" and self.before is not None)
        if is_main and keeps_best and self.before is not None:
            origin = Origin.of(start.arrays) or self._origin(learner, x_validation, part.y_validation)
        if is_main and self.budget is not None:
            shortened = self._within(self.budget, step, learner, part, x_train, x_validation)
            if shortened is None:
                self.returned = f"phase '{self.before}'"
                return
            step = shortened
        phase = step.phase
        augmentation = phase.augmentation and phase.augmentation.for_mirror_safe(self.data.mirror_safe)

        repeated = math.ceil(len(x_validation) * REPEATED_VALIDATION / phase.batch_size)

        def validation(epoch: int) -> Batches:
            return Batches(
                x_validation,
                part.y_validation,
                batch_size=phase.batch_size,
                num_classes=part.num_classes,
                augmentation=augmentation if "augmented_validation" in faults else None,
                seed=(*step.seed, 1),
                steps=repeated if "repeated_validation" in faults else None,
                first_epoch=epoch,
                as_float=needs_floats(learner),
            )

        compile_for(step, learner, self.model, part.x_train)
        if self.first_rate is not None and start.phase == 0:
            learner.optimizer.learning_rate = self.first_rate
        rows_before = len(self.rows)
        record = EpochRecord(phase.name, self.rows, start.epoch_seconds)
        bar = Advance(self.progress, phase.name, (phase.epochs - start.epoch) * step.steps - start.batch)
        watching = [
            *_plateau(phase),
            *_keep(self.recipe, is_main=is_main, keeps_best=keeps_best),
        ]
        theirs = [each for each in self.callbacks if is_main or not isinstance(each, RATE_CALLBACKS)]
        users = [UserCallbacks(theirs, self.model, as_returned)] if theirs else []
        keepers = []
        if self.checkpoints is not None:
            keepers = [
                Keeper(
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

        def fit(epoch: int, batch: int, until: int) -> None:
            batches = training_batches(
                step,
                part,
                x_train,
                first_epoch=epoch,
                first_batch=batch,
                as_float=needs_floats(learner),
            )
            learner.fit(
                batches,
                validation_data=validation(epoch),
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
        if keepers and (stopped or epoch == phase.epochs):
            keepers[0].bring_back(learner)
        with bar.shown():
            if start.batch:
                fit(epoch, start.batch, epoch + 1)
                epoch, stopped = epoch + 1, learner.stop_training
            if epoch < phase.epochs and not stopped:
                fit(epoch, 0, phase.epochs)
        best = best_weights(watching)
        if best and keeps_best:
            learner.set_weights(best)
        try:
            _refuse_divergence(learner, self.rows[rows_before:], phase)
        except DivergedError as error:
            if origin is None:
                raise
            learner.set_weights(origin.weights)
            self.returned = f"phase '{self.before}'"
            logger.warning("%s The model of phase '%s', before it, is returned.", error, self.before)
            return
        if is_main:
            chosen = watching if keeps_best else []
            self._choose(phase, learner, chosen, origin, x_validation, part.y_validation)

    def _within(
        self,
        budget: Budget,
        step: PhasePlan,
        learner: keras.Model,
        part: Dataset,
        x_train: np.ndarray,
        x_validation: np.ndarray,
    ) -> PhasePlan | None:
        """Return the phase with as many epochs as the budget has time for, or None where it has for none."""
        if not self.chosen:
            compile_for(step, learner, self.model, part.x_train)
            batches = training_batches(step, part, x_train, as_float=needs_floats(learner))
            pace = time_phase(learner, self.model, batches, x_train[:TIMED_IMAGES], budget.seconds / 50)
            chosen = choose_epochs(
                budget.left(self.earlier),
                pace,
                full=step.steps,
                validation=len(x_validation),
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

    def _origin(self, learner: keras.Model, images: np.ndarray, labels: np.ndarray) -> Origin:
        correct, likelihood = self._judged(learner, images, labels)
        weights = [np.array(value) for value in learner.get_weights()]
        return Origin(weights=weights, correct=correct, likelihood=likelihood)

    def _judged(
        self, learner: keras.Model, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return which images a classifier gets right, and the log-probability of each one's class."""
        outputs = predict(learner, images).astype("float64")
        if gives_probabilities(self.model, self.data.x_train):
            outputs = np.log(np.clip(outputs, 1e-7, 1.0))
        else:
            outputs -= logsumexp(outputs, axis=1, keepdims=True)
        return outputs.argmax(axis=1) == labels, outputs[np.arange(len(labels)), labels]

    def _choose(
        self,
        phase: Phase,
        learner: keras.Model,
        watching: Sequence[keras.callbacks.Callback],
        origin: Origin | None,
        images: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        """Settle which weights the run returns, and say so.

        The best epoch is returned if its validation accuracy is higher than where the phase began; of two
        equal ones the lower log loss decides. Under 100 validation images decide little. There the phase
        before, the simpler model, is returned unless the epoch is ahead of it by more than one standard error
        of their difference (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3), in
        accuracy or in log loss, and behind it by as much in neither.
        """
        epoch = next((each.best_epoch for each in watching if isinstance(each, KeepBest)), None)
        if epoch is None:
            self.returned = f"the last epoch of phase '{phase.name}'"
            return
        self.returned = f"epoch {epoch + 1} of phase '{phase.name}'"
        if origin is None:
            return
        correct, likelihood = self._judged(learner, images, labels)
        gain, error = _mean_and_error(correct.astype(float) - origin.correct)
        likelier, likelier_error = _mean_and_error(likelihood - origin.likelihood)
        if len(labels) < FEW_VALIDATION:
            better = gain > error or likelier > likelier_error
            better = better and gain >= -error and likelier >= -likelier_error
        else:
            better = (gain, likelier) > (0.0, 0.0)
        if not better:
            learner.set_weights(origin.weights)
            self.returned = f"phase '{self.before}'"
            logger.warning(
                "phase '%s' was not better than phase '%s' before it "
                "(on %d validation images: accuracy %+.1f points, standard error %.1f; log loss %+.3f, "
                "standard error %.3f), so the model of phase '%s' is returned. More training images may "
                "change that; recipe='linear_probe' saves the time",
                phase.name,
                self.before,
                len(labels),
                100 * gain,
                100 * error,
                -likelier,
                likelier_error,
                self.before,
            )


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


def _refuse_divergence(learner: keras.Model, rows: Sequence[dict[str, Any]], phase: Phase) -> None:
    found = None
    # what an epoch's last step does shows in the validation loss alone
    for title, key in (("loss", "loss"), ("validation loss", "val_loss")):
        wild = [i for i, row in enumerate(rows) if not math.isfinite(row[key])]
        if wild and found is None:
            found = f"the {title} is {rows[wild[0]][key]} in epoch {wild[0] + 1}"
    # XLA's relu turns NaN into 0, so that a finite loss may come of weights that are lost
    if found is None and not all(np.isfinite(value).all() for value in learner.get_weights()):
        found = "weights are infinite or no numbers at the end"
    if found is not None:
        raise DivergedError(
            f"Training diverged: {found} of phase '{phase.name}'. "
            f"Pass a lower learning_rate; it was {phase.learning_rate:g}."
        )


def training_twin(step: PhasePlan, model: keras.Model) -> keras.Model:
    """Return a model on the same weights to compile and fit, so that the user's own is left uncompiled."""
    set_momentum(step, model)
    backbone = backbone_of(model)
    if backbone is not None and step.phase.batch_norm == "inference":
        images = keras.Input(model.input_shape[1:])
        return keras.Model(images, connect(model, images, inference_statistics=True)[1])
    functional = bool(getattr(model, "inputs", None)) and bool(getattr(model, "outputs", None))
    return keras.Model(model.inputs, model.outputs) if functional else model


def set_momentum(step: PhasePlan, model: keras.Model) -> None:
    """Give BatchNorm the momentum of the phase; `set_for` takes it back."""
    if step.batch_norm_momentum is None:
        return
    for layer in _leaves(backbone_of(model) or model):
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = step.batch_norm_momentum


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


def _mean_and_error(differences: np.ndarray) -> tuple[float, float]:
    """Return a mean and its standard error."""
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))


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


def _leaves(model: keras.Model) -> list[Any]:
    found = []
    for layer in model.layers:
        found.extend(_leaves(layer) if isinstance(layer, keras.Model) else [layer])
    return found
