"""The model that a phase fits: which layers learn, how BatchNorm acts, and what it is compiled with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.features.extract import split_at_features
from transferzoo.models.architecture import layers_within
from transferzoo.models.construct import backbone_of, connect, set_trainable
from transferzoo.models.prediction import compiles_with_xla, gives_probabilities
from transferzoo.training.linear_head import StandardisedHead
from transferzoo.training.optimizers import make_optimizer, rate_factors
from transferzoo.training.plan import PhasePlan


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingModel:
    """What a phase fits.

    Parameters
    ----------
    network : keras.Model
        Shares its weights with the user's model: the whole of it, or its head alone, on features.
    as_returned : callable
        Returns a context in which the user's model predicts what the run would return at that moment.
    """

    network: keras.Model
    as_returned: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext


@contextlib.contextmanager
def training_model(step: PhasePlan, model: keras.Model, x_train: np.ndarray) -> Iterator[TrainingModel]:
    """Yield what a phase fits on `x_train`, images or features; then the model is the user's own again.

    Within the block those layers learn that the phase trains, BatchNorm has the phase's momentum, and a head
    that is trained in epochs on features takes them standardised. Afterwards, whatever happened, layers learn
    as they were built, momenta are the old ones, and the head takes features as they are.
    """
    with set_for(step, model):
        if not step.features_once:
            yield TrainingModel(network=training_twin(step, model))
            return
        head = split_at_features(model)[1]
        if step.phase.optimizer == "lbfgs":
            yield TrainingModel(network=head)
            return
        standardised = StandardisedHead(head, x_train)
        standardised.enter()
        try:
            yield TrainingModel(network=standardised.head_model, as_returned=standardised.as_it_was)
        finally:
            standardised.leave()


@contextlib.contextmanager
def set_for(step: PhasePlan, model: keras.Model) -> Iterator[None]:
    """Let those layers learn that the phase trains; afterwards layers learn as they were built."""
    backbone = backbone_of(model)
    learns = backbone is None or backbone.trainable
    within = layers_within(backbone or model)
    layers_as_built = [(layer, layer.trainable, getattr(layer, "momentum", None)) for layer in within]
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


def compile_for(step: PhasePlan, network: keras.Model, model: keras.Model, images: np.ndarray) -> None:
    """Give a network, which shares its weights with `model`, the phase's optimizer and loss."""
    phase = step.phase
    network.compile(
        optimizer=make_optimizer(
            phase, step.steps, rate_factors=rate_factors(network, backbone_of(model), phase.layer_decay)
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=not gives_probabilities(model, images), label_smoothing=phase.label_smoothing
        ),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        jit_compile=compiles_with_xla(),
    )
    # TensorFlow traces the first step twice if that step makes variables: an optimizer's, or those of a
    # metric that is given by its name
    network.optimizer.build(network.trainable_variables)


def training_twin(step: PhasePlan, model: keras.Model) -> keras.Model:
    """Return a model on the same weights to compile and fit, so that the user's own is left uncompiled."""
    set_momentum(step, model)
    backbone = backbone_of(model)
    if backbone is not None and step.phase.batch_norm == "inference":
        images = keras.Input(model.input_shape[1:])
        return keras.Model(images, connect(model, images, inference_statistics=True)[1])
    functional = bool(getattr(model, "inputs", None)) and bool(getattr(model, "outputs", None))
    return keras.Model(model.inputs[0], model.outputs[0]) if functional else model


def set_momentum(step: PhasePlan, model: keras.Model) -> None:
    """Give BatchNorm the momentum of the phase; `set_for` takes it back."""
    if step.batch_norm_momentum is None:
        return
    for layer in layers_within(backbone_of(model) or model):
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = step.batch_norm_momentum
