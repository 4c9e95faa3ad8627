"""What is done to images before they reach a backbone: their size, their channels, their pixels' scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from transferzoo.backbones.backbone import RAW, Preprocessing

PREPROCESSING = "preprocessing"


def build_preprocessing(
    input_shape: tuple[int, int, int], size: tuple[int, int], how: Preprocessing
) -> keras.Model | None:
    """Return the model from the images given to what a backbone takes, or None where they are the same."""
    images = keras.Input(input_shape, name="pixels")
    x = images
    if input_shape[2] == 1:
        x = layers.Concatenate(name="gray_to_rgb")([x, x, x])
    if size != input_shape[:2]:
        resizing = layers.Resizing(*size, interpolation="bilinear", dtype="float32", name="resize")
        # said outright: its call defaults to training=True, which Keras 3.15 hands on to the backbone's
        # BatchNorms whenever the model is called without `training`
        x = resizing(x, training=False)
    x = preprocess(x, how)
    return None if x is images else keras.Model(images, x, name=PREPROCESSING)


def preprocess(images: Any, how: Preprocessing) -> Any:
    """Apply a preprocessing record to a Keras tensor of 0-255 RGB images ``(batch, height, width, 3)``.

    Of built-in layers alone, no operations: a legacy ``.h5`` file can hold nothing else.
    """
    if how.channels == "bgr":
        images = _reverse_channels(images)
    if how == RAW:
        return images
    scale = [1.0 / std for std in how.std]
    offset = [-mean / std for mean, std in zip(how.mean, how.std, strict=True)]
    if len(set(how.mean)) == len(set(how.std)) == 1:
        return layers.Rescaling(scale[0], offset=offset[0], dtype="float32", name="scale")(images)
    return layers.Rescaling(scale, offset=offset, dtype="float32", name="scale")(images)


def _reverse_channels(images: Any) -> Any:
    """Turn red, green, blue into blue, green, red; no built-in layer flips an axis."""
    # channels become rows, of which all but one are cropped
    rows = layers.Permute((3, 1, 2), dtype="float32", name="channels_first")(images)
    parts = [
        layers.Cropping2D(((index, 2 - index), (0, 0)), dtype="float32", name=name)(rows)
        for index, name in ((2, "blue"), (1, "green"), (0, "red"))
    ]
    reversed_rows = layers.Concatenate(axis=1, dtype="float32", name="blue_green_red")(parts)
    return layers.Permute((2, 3, 1), dtype="float32", name="channels_last")(reversed_rows)


def scaling_layers(network: keras.Model) -> list[str]:
    """Return the names of layers that scale pixels before the first layer with kernels."""
    found = []
    for layer in each_layer(network):
        # Normalization may hold its mean and variance as weights
        if isinstance(layer, layers.Rescaling | layers.Normalization):
            found.append(layer.name)
        elif layer.weights:
            return found
    return found


def each_layer(model: keras.Model) -> Iterator[Any]:
    """Yield a model's layers, those of models within it in their places."""
    for layer in getattr(model, "layers", []):
        if isinstance(layer, keras.Model):
            yield from each_layer(layer)
        else:
            yield layer
