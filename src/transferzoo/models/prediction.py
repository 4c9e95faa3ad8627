"""What a model says of images, a batch at a time; and how far it has come."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from transferzoo.data.batches import Batches
from transferzoo.ground.progress import Progress
from transferzoo.models.construct import model_settings

PREDICTION_BATCH = 128


def predict(
    model: keras.Model,
    images: np.ndarray,
    *,
    batch_size: int = PREDICTION_BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the model's outputs, float32 ``(n, …)``, a batch at a time so that memory stays flat."""
    callback = ProgressCallback(progress or Progress(), "predicting", math.ceil(len(images) / batch_size))
    batches = Batches(images, batch_size=batch_size, num_classes=0, as_float=needs_floats(model))
    with callback.shown():
        return np.asarray(model.predict(batches, verbose=0, callbacks=[callback]))


def predict_probabilities(
    model: keras.Model, images: np.ndarray, *, progress: Progress | None = None
) -> np.ndarray:
    """Return class probabilities, float32 ``(n, k)``, whether the model ends in logits or in a softmax."""
    outputs = predict(model, images, progress=progress)
    return (outputs if gives_probabilities(model, images) else softmax(outputs, axis=1)).astype("float32")


def needs_floats(model: keras.Model) -> bool:
    """Tell whether a model must be given floats: Keras casts for models of connected layers alone."""
    return not (getattr(model, "inputs", None) and getattr(model, "outputs", None))


def as_input(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return images of a dtype that a model takes."""
    return images.astype("float32") if needs_floats(model) else images


def gives_probabilities(model: keras.Model, images: np.ndarray) -> bool:
    """Tell whether a model's outputs on a few images are probabilities rather than logits."""
    settings = model_settings(model)
    if settings is not None:
        return settings.classifier_activation is not None
    outputs = keras.ops.convert_to_numpy(model(images[:4].astype("float32"), training=False))
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-2))


def output_activation(model: keras.Model) -> str | None:
    """Return the name of the activation that a model's only output comes from; None where none shows."""
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return None
    layer = getattr(getattr(outputs[0], "_keras_history", None), "operation", None)
    if isinstance(layer, keras.Model):
        return output_activation(layer)
    return getattr(getattr(layer, "activation", None), "__name__", None)


def compiles_with_xla() -> bool | str:
    """Return what to tell Keras: XLA slows TensorFlow down two- to fourfold on a CPU."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow

    return "auto" if tensorflow.config.list_physical_devices("GPU") else False


class ProgressCallback(keras.callbacks.Callback):
    """Moves a progress bar on at each batch."""

    def __init__(self, progress: Progress, description: str, total: int) -> None:
        super().__init__()
        self._progress = progress
        self._description = description
        self._total = total
        self._task: Any = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar while the block runs."""
        with self._progress.task(self._description, self._total) as self._task:
            yield

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move on by one."""
        self._task.advance()

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move on by one."""
        self._task.advance()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Say how validation stands."""
        accuracy = (logs or {}).get("val_accuracy")
        if accuracy is not None:
            self._task.describe(f"{self._description}, epoch {epoch + 1}: validation {accuracy:.1%}")
