"""What a model says of images, a batch at a time; and how far it has come."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from transferzoo.data.batches import Batches
from transferzoo.ground.progress import Progress, duration
from transferzoo.ground.quiet import traces_expected
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
    if runs_once(images, batch_size):
        return outputs_at_once(model, images)
    callback = ProgressCallback(progress or Progress(), "predicting", math.ceil(len(images) / batch_size))
    batches = Batches(images, batch_size=batch_size, num_classes=0, as_float=needs_floats(model))
    with callback.shown(), traces_expected():
        return np.asarray(model.predict(batches, verbose=0, callbacks=[callback]))


def runs_once(images: np.ndarray, batch_size: int) -> bool:
    """Tell whether images are better shown to a model as they are, without compiling it first.

    On TensorFlow a single batch costs less than the trace of a graph for it. After several models with a
    batch each, TensorFlow also takes their traces for one function that is traced again and again, and warns.
    JAX compiles operation by operation where the whole is not compiled, which takes longer.
    """
    return keras.backend.backend() == "tensorflow" and len(images) <= batch_size


def outputs_at_once(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the model's outputs, float32, for images that are one batch."""
    inputs: Any = np.asarray(images, "float32")
    # a model made of lists of tensors wants a list, and warns of anything else
    if isinstance(getattr(model, "_inputs_struct", None), list):
        inputs = [inputs]
    (outputs,) = keras.tree.flatten(model(inputs, training=False))
    return np.asarray(keras.ops.convert_to_numpy(outputs))


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
    """Moves a progress bar on at each batch, and says how each epoch ended.

    Parameters
    ----------
    progress : Progress
    description : str
    total : int
        Batches in all.
    epochs : int, optional
        The number of the last epoch, where there are epochs.
    """

    def __init__(
        self, progress: Progress, description: str, total: int, *, epochs: int | None = None
    ) -> None:
        super().__init__()
        self._progress = progress
        self._description = description
        self._total = total
        self._epochs = epochs
        self._task: Any = None
        self._began = self._compiling = 0.0
        self._waiting = False

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar while the block runs."""
        with self._progress.task(self._description, self._total) as self._task:
            yield

    def on_train_begin(self, logs: Any = None) -> None:
        """Say what the wait before the first step is for."""
        self._task.describe(f"{self._description}: compiling")
        self._waiting = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._began, self._compiling = time.monotonic(), 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move on by one."""
        if self._waiting:
            self._waiting, self._compiling = False, time.monotonic() - self._began
            self._task.describe(self._description)
        self._task.advance()

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move on by one."""
        self._task.advance()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Say how it stands, and how long the rest will take."""
        figures = logs or {}
        if self._epochs is None or "val_accuracy" not in figures:
            return
        took = time.monotonic() - self._began
        self._task.describe(f"{self._description}: validation {figures['val_accuracy']:.1%}")
        left = (self._epochs - epoch - 1) * (took - self._compiling)
        self._progress.say(
            f"{self._description}, epoch {epoch + 1} of {self._epochs}: loss {figures['loss']:.3f}, "
            f"validation accuracy {figures['val_accuracy']:.1%}, {duration(took)}"
            + (f"; {duration(left)} left" if left else "")
        )
