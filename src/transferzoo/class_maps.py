"""Where in an image a model looks: Grad-CAM on the last feature map, on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.data.checking import check_pixels, image_array
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count, whole
from transferzoo.models.construct import connect_map, head_of
from transferzoo.models.prediction import PREDICTION_BATCH


def grad_cam(
    model: keras.Model,
    images: ArrayLike,
    classes: Sequence[int] | int | None = None,
    *,
    batch_size: int = PREDICTION_BATCH,
) -> NDArray[np.float32]:
    """How much each place of an image speaks for a class, by Grad-CAM on the backbone's last feature map.

    The channels of the map are summed, each weighted by the mean gradient of the class's logit over its
    cells; what speaks against the class counts 0. Tokens of a vision transformer are laid out as the grid
    that they come from, without the token that stands for the class. Of features of several stages the last
    one's map is taken, and what the others say is left as it is.

    Parameters
    ----------
    model : keras.Model
        From `build`, trained or not; a run's is ``result.model``.
    images : array, uint8 or float, shape (n, height, width, channels)
        0 to 255, as the model takes them.
    classes : int or sequence of int, optional
        The class that is asked about, one for all images or one for each. By default the model's guesses.
    batch_size : int, default 128
        Images at a time.

    Returns
    -------
    ndarray of float32, shape (n, height, width)
        0 to 1 over each image, enlarged from the feature map (bilinear); all 0 where nothing speaks for the
        class.

    Raises
    ------
    InvalidInputError
        If the model is not from `build`, its backbone gives vectors or one cell, or the images or classes
        are not what it takes.

    References
    ----------
    Selvaraju et al. (2017), "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV, arXiv:1610.02391, equations 1 and 2.

    Examples
    --------
    >>> from transferzoo import build, load_dataset
    >>> model = build("mobilenet_025", 10, weights=None, image_size=96)
    >>> grad_cam(model, load_dataset("digits").x_test[:2]).shape
    (2, 32, 32)
    """
    if not isinstance(model, keras.Model) or head_of(model) is None:
        raise invalid("model", "a keras.Model from tz.build", model)
    pixels = image_array("images", images)
    check_pixels("images", pixels)
    batch_size = check_count("batch_size", batch_size, 1)
    if pixels.shape[1:] != tuple(model.input_shape[1:]):
        raise invalid("images", f"of shape (n, {', '.join(map(str, model.input_shape[1:]))})", pixels.shape)
    asked = _classes(classes, len(pixels), int(model.output_shape[-1]))

    inputs = keras.Input(model.input_shape[1:])
    extractor = keras.Model(inputs, list(connect_map(model, inputs)))
    grid = _grid(tuple(extractor.outputs[0].shape[1:]))
    logits = _logits_of(head_of(model))
    maps = []
    for start in range(0, len(pixels), batch_size):
        part = slice(start, start + batch_size)
        last, features = extractor(pixels[part].astype("float32"), training=False)
        maps.append(_maps(last, features, logits, None if asked is None else asked[part], grid))
    found = np.concatenate(maps)[..., np.newaxis]
    enlarged = keras.ops.image.resize(found, pixels.shape[1:3], interpolation="bilinear")
    return np.asarray(keras.ops.convert_to_numpy(enlarged))[..., 0]


def _classes(classes: Any, images: int, count: int) -> NDArray[np.int64] | None:
    if classes is None:
        return None
    accepted = f"a class from 0 to {count - 1}, or one for each of the {images} images"
    given = [classes] * images if whole(classes) is not None else classes
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str) or len(given) != images:
        raise invalid("classes", accepted, classes)
    numbers = [whole(each) for each in given]
    if any(each is None or not 0 <= each < count for each in numbers):
        raise invalid("classes", accepted, classes)
    return np.array(numbers, "int64")


def _grid(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return rows and columns of the cells, and how many tokens stand before them."""
    if len(shape) == 3 and shape[0] * shape[1] > 1:
        return shape[0], shape[1], 0
    if len(shape) == 2:
        for before in (0, 1):
            side = math.isqrt(shape[0] - before)
            if side > 1 and side * side == shape[0] - before:
                return side, side, before
    raise InvalidInputError(
        f"grad_cam needs a backbone with a map of several cells. This one gives {shape}. "
        "Build the model with a larger image_size, or with another stem.",
        argument="model",
    )


def _logits_of(head: Any) -> keras.Model:
    """Return a head's network without its last activation, whose gradients fade where it is sure."""
    last = head.get_layer("outputs")
    return keras.Model(head.inputs[0], last.input)


def _maps(
    last: Any,
    features: Any,
    logits: keras.Model,
    classes: NDArray[np.int64] | None,
    grid: tuple[int, int, int],
) -> NDArray[np.float32]:
    if classes is None:
        classes = keras.ops.convert_to_numpy(logits(features, training=False)).argmax(axis=1)
    chosen = keras.utils.to_categorical(classes, logits.output_shape[-1]).astype("float32")
    weights = keras.ops.convert_to_tensor(chosen)

    def score(values: Any) -> Any:
        if len(features.shape) < len(values.shape):
            # features of several stages, those of this map last
            means = keras.ops.mean(values, axis=(1, 2))
            values = keras.ops.concatenate([features[:, : -values.shape[-1]], means], axis=-1)
        return keras.ops.sum(logits(values, training=False) * weights)

    slopes = keras.ops.convert_to_numpy(gradient(score, last)).astype("float32")
    values = keras.ops.convert_to_numpy(last).astype("float32")
    rows, columns, before = grid
    shape = (len(values), -1, values.shape[-1])
    values, slopes = values.reshape(shape)[:, before:], slopes.reshape(shape)[:, before:]
    found = np.maximum((values * slopes.mean(axis=1, keepdims=True)).sum(axis=-1), 0)
    most = found.max(axis=1, keepdims=True)
    found = np.divide(found, most, out=np.zeros_like(found), where=most > 0)
    return found.reshape(len(values), rows, columns)


def gradient(function: Callable[[Any], Any], values: Any) -> Any:
    """Return the gradient of a function of one tensor to a number, on the backend in use."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        return tape.gradient(result, values)
    if backend == "jax":
        import jax

        return jax.grad(function)(values)
    if backend == "torch":
        values = values.detach().requires_grad_(True)
        function(values).backward()
        return values.grad
    raise InvalidInputError(f"grad_cam runs on TensorFlow, JAX and torch. Keras is on {backend}.")
