"""What is done to images before they reach a backbone: their size, their channels, their pixels' scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from transferzoo.backbones.backbone import RAW, Backbone, Preprocessing
from transferzoo.errors import invalid
from transferzoo.ground.arguments import whole

PREPROCESSING = "preprocessing"


def check_input_shape(shape: Any) -> tuple[int, int, int]:
    """Return ``(height, width, channels)`` as ints, or raise."""
    accepted = "(height, width, channels) with 1 or 3 channels, such as (32, 32, 3)"
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise invalid("input_shape", accepted, shape)
    if any((whole(side) or 0) < 1 for side in shape):
        raise invalid("input_shape", accepted, shape)
    if shape[2] not in (1, 3):
        remedy = "Move the channels last." if shape[0] in (1, 3) else ""
        raise invalid("input_shape", accepted, shape, remedy=remedy)
    return int(shape[0]), int(shape[1]), int(shape[2])


def choose_image_size(
    backbone: Backbone,
    input_shape: tuple[int, int, int],
    image_size: int | tuple[int, int] | str | None,
    *,
    pretrained: bool,
    stem_factor: int = 1,
) -> tuple[int, int]:
    """Return the height and width that reach the backbone.

    A stem that shrinks images `stem_factor` times less shows the kernels behind it as much of an image that
    is so much smaller. (A changed output stride does not: its kernels see what they saw.)
    """
    height, width = input_shape[:2]
    if image_size is None:
        least = backbone.minimum_size
        wanted = max(round(backbone.default_size / stem_factor), least) if pretrained else least
        scale = max(1.0, wanted / min(height, width))
        return round(height * scale), round(width * scale)
    if image_size == "input":
        if min(height, width) < backbone.minimum_size:
            raise invalid(
                "image_size",
                f"at least {backbone.minimum_size} for '{backbone.name}'",
                f"input: {height}×{width}",
                remedy="Leave it out, and images are enlarged.",
            )
        return height, width
    pair = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(pair) != 2:
        raise invalid("image_size", "a whole number, a pair (height, width), or 'input'", image_size)
    for side in pair:
        least = backbone.minimum_size
        if (whole(side) or 0) < least:
            raise invalid(
                "image_size",
                f"a whole number of at least {least} for '{backbone.name}', or a pair of them",
                image_size,
                remedy=f"Pass {least} or more, or leave it out.",
            )
    return int(pair[0]), int(pair[1])


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
