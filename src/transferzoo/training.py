"""A recipe applied to a model and data: phases in, history out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.data.batches import Batches
from transferzoo.data.dataset import Dataset
from transferzoo.errors import DivergedError, InvalidInputError
from transferzoo.features import split_at_features
from transferzoo.models import backbone_of, connect, head_of, model_settings, set_trainable
from transferzoo.prediction import Advance, compiles_with_xla, gives_probabilities, predict
from transferzoo.progress import Progress
from transferzoo.recipes import Phase, Recipe

logger = logging.getLogger("transferzoo")

# 250 batches of 100 against 15,000 validation images, as in the article
REPEATED_VALIDATION = 250 * 100 / 15_000


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """One phase, with all that is decided before anything is computed."""

    phase: Phase
    features_once: bool
    steps: int
    seed: tuple[int, ...]

    @property
    def batch_norm_momentum(self) -> float | None:
        """The momentum that the phase's BatchNorm gets, or None where it keeps its own."""
        return max(1 - 10 / self.steps, 0.9) if self.phase.batch_norm == "train" else None


def plan(model: keras.Model, data: Dataset, recipe: Recipe, *, seed: int) -> list[PhasePlan]:
    """Decide which phases run and how, without computing anything."""
    settings = model_settings(model)
    backbone = backbone_of(model)
    pretrained = settings is None or settings.weights is not None
    frozen = backbone is not None and not backbone.trainable_weights
    plans: list[PhasePlan] = []
    for number, phase in enumerate(recipe.phases_for(pretrained=pretrained)):
        if backbone is None and phase.trainable != "as_built":
            logger.info("phase '%s' left out: the model has no part called 'backbone'", phase.name)
            continue
        if frozen and phase.trainable == "as_built" and any(p.phase.trainable == "none" for p in plans):
            logger.info("phase '%s' left out: the backbone was built frozen", phase.name)
            continue
        still = phase.trainable == "none" or (phase.trainable == "as_built" and frozen)
        plans.append(
            PhasePlan(
                phase=phase,
                features_once=still and phase.augmentation is None and head_of(model) is not None,
                steps=math.ceil(len(data.x_train) / phase.batch_size),
                seed=(seed, number),
            )
        )
    if not plans:
        raise InvalidInputError(
            f"recipe '{recipe.name}' has no phase for this model. Its phases need a model made by tz.build."
        )
    return plans


def train(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> dict[str, list[Any]]:
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
        Given to every phase.
    progress : Progress, optional

    Returns
    -------
    dict of str to list
        An entry an epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase.

    Raises
    ------
    DivergedError
        If the loss becomes infinite or no number.
    """
    plans = plan(model, data, recipe, seed=seed)
    progress = progress or Progress()
    backbone = backbone_of(model)
    as_built = _training_state(backbone) if backbone else []
    history: dict[str, list[Any]] = {}
    try:
        for step in plans:
            if backbone is not None:
                _restore(backbone, as_built)
                if step.phase.trainable != "as_built":
                    set_trainable(backbone, step.phase.trainable)
            is_main = step is plans[-1]
            figures = _run_phase(model, data, recipe, step, list(callbacks), progress, is_main=is_main)
            for key, values in figures.items():
                history.setdefault(key, []).extend(values)
    finally:
        if backbone is not None:
            _restore(backbone, as_built)
    return history


def _run_phase(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    step: PhasePlan,
    callbacks: list[keras.callbacks.Callback],
    progress: Progress,
    *,
    is_main: bool,
) -> dict[str, list[Any]]:
    phase = step.phase
    from_logits = not gives_probabilities(model, data.x_train)
    x_train, x_validation = data.x_train, data.x_validation
    if step.features_once:
        extractor, learner = split_at_features(model)
        logger.info("phase '%s': features of %d images", phase.name, len(x_train) + len(x_validation))
        x_train = predict(extractor, x_train, progress=progress)
        x_validation = predict(extractor, x_validation, progress=progress)
    else:
        learner = _training_twin(model, step)
    augmentation = phase.augmentation and phase.augmentation.for_mirror_safe(data.mirror_safe)
    training = Batches(
        x_train,
        data.y_train,
        batch_size=phase.batch_size,
        num_classes=data.num_classes,
        shuffle=True,
        augmentation=augmentation,
        seed=step.seed,
    )
    repeats = "repeated_validation" in recipe.faults
    validation = Batches(
        x_validation,
        data.y_validation,
        batch_size=phase.batch_size,
        num_classes=data.num_classes,
        augmentation=augmentation if "augmented_validation" in recipe.faults else None,
        seed=(*step.seed, 1),
        steps=math.ceil(len(x_validation) * REPEATED_VALIDATION / phase.batch_size) if repeats else None,
    )
    learner.compile(
        optimizer=make_optimizer(phase, training.num_batches),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=from_logits, label_smoothing=phase.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=compiles_with_xla(),
    )
    record = _EpochRecord(phase.name)
    bar = Advance(progress, phase.name, phase.epochs * training.num_batches)
    kept = _keep(recipe, is_main=is_main)
    plateau = []
    if phase.plateau is not None:
        plateau = [
            keras.callbacks.ReduceLROnPlateau(
                monitor=phase.plateau.monitor,
                factor=phase.plateau.factor,
                patience=phase.plateau.patience,
                min_lr=phase.plateau.minimum,
            )
        ]
    with bar.shown():
        learner.fit(
            training,
            validation_data=validation,
            epochs=phase.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[record, keras.callbacks.TerminateOnNaN(), *plateau, *kept, bar, *callbacks],
        )
    _refuse_divergence(learner, record.columns, phase)
    return record.columns


def _refuse_divergence(learner: keras.Model, columns: dict[str, list[Any]], phase: Phase) -> None:
    found = None
    # what an epoch's last step does shows in the validation loss alone
    for title, key in (("loss", "loss"), ("validation loss", "val_loss")):
        wild = np.flatnonzero(~np.isfinite(columns[key]))
        if wild.size and found is None:
            found = f"the {title} is {columns[key][wild[0]]} in epoch {wild[0] + 1}"
    # XLA's relu turns NaN into 0, so that a finite loss may come of weights that are lost
    if found is None and not all(np.isfinite(value).all() for value in learner.get_weights()):
        found = "weights are infinite or no numbers at the end"
    if found is not None:
        raise DivergedError(
            f"Training diverged: {found} of phase '{phase.name}'. "
            f"Pass a lower learning_rate; it was {phase.learning_rate:g}."
        )


def make_optimizer(phase: Phase, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return a fresh optimizer for a phase."""
    rate: Any = phase.learning_rate
    if phase.schedule == "cosine":
        total = phase.epochs * steps_per_epoch
        warmup = round(total * phase.warmup)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else phase.learning_rate,
            max(1, total - warmup),
            warmup_target=phase.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    decay = phase.weight_decay or None
    if phase.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=decay or 0.0)
    return keras.optimizers.SGD(rate, momentum=phase.momentum, nesterov=phase.nesterov, weight_decay=decay)


def _training_twin(model: keras.Model, step: PhasePlan) -> keras.Model:
    """Return a model on the same weights to compile and fit, so that the user's own is left uncompiled."""
    backbone = backbone_of(model)
    momentum = step.batch_norm_momentum
    if momentum is not None:
        for layer in _leaves(backbone or model):
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = momentum
    if backbone is not None and step.phase.batch_norm == "inference":
        images = keras.Input(model.input_shape[1:])
        return keras.Model(images, connect(model, images, inference_statistics=True)[1])
    functional = bool(getattr(model, "inputs", None)) and bool(getattr(model, "outputs", None))
    return keras.Model(model.inputs, model.outputs) if functional else model


def _keep(recipe: Recipe, *, is_main: bool) -> list[keras.callbacks.Callback]:
    if not is_main or (recipe.keep == "last" and recipe.patience is None):
        return []
    return [
        keras.callbacks.EarlyStopping(
            monitor="val_accuracy",
            mode="max",
            patience=recipe.patience if recipe.patience is not None else 10**9,
            restore_best_weights=recipe.keep == "best",
        )
    ]


def _leaves(model: keras.Model) -> list[Any]:
    found = []
    for layer in model.layers:
        found.extend(_leaves(layer) if isinstance(layer, keras.Model) else [layer])
    return found


def _training_state(backbone: keras.Model) -> list[tuple[Any, bool, float | None]]:
    """Return what a phase may change for itself: each layer's trainable flag and momentum."""
    return [(layer, layer.trainable, getattr(layer, "momentum", None)) for layer in _leaves(backbone)]


def _restore(backbone: keras.Model, state: Sequence[tuple[Any, bool, float | None]]) -> None:
    backbone.trainable = True
    for layer, trainable, momentum in state:
        layer.trainable = trainable
        if momentum is not None:
            layer.momentum = momentum


class _EpochRecord(keras.callbacks.Callback):
    """Collects each epoch's figures, with its rate and its seconds."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase = phase
        self.columns: dict[str, list[Any]] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        figures = {key: float(value) for key, value in (logs or {}).items() if key != "learning_rate"}
        figures["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        figures["seconds"] = time.perf_counter() - self._began
        for key, value in figures.items():
            self.columns.setdefault(key, []).append(value)
        self.columns.setdefault("phase", []).append(self.phase)
        logger.info(
            "%s, epoch %d: %s",
            self.phase,
            epoch + 1,
            ", ".join(f"{key} {value:.4g}" for key, value in figures.items()),
        )
