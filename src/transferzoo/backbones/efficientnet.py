"""EfficientNet B0 to B7, with the scaling of pixels that their published weights were trained with."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.backbones.strides import changed_copy, set_layer_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def efficientnet(variant: str, *, input_shape: tuple[int, int, int], **arguments: Any) -> keras.Model:
    """Build one of Keras' EfficientNets, from 0-255 pixels to a feature map.

    The published files hold standard deviations where Keras' layer wants variances, so that it divides by
    their square root alone; Keras adds a layer that divides by it once more, but only when it fetches the
    file itself. This adds it always, and begins with the published numbers.

    Parameters
    ----------
    variant : str
        ``"B0"`` to ``"B7"``.
    input_shape : tuple of 3 ints
        Height, width and 3 channels.
    **arguments
        Of Keras' own function.

    Returns
    -------
    keras.Model
        ``(batch, height, width, 3)`` to ``(batch, h, w, channels)``.

    References
    ----------
    The layer's reason: github.com/tensorflow/tensorflow/issues/49930.
    """
    network = getattr(keras.applications, f"EfficientNet{variant}")(input_shape=input_shape, **arguments)
    normalization = next(layer for layer in network.layers if isinstance(layer, layers.Normalization))
    published = [np.array(values, "float32") for values in (MEAN, STD)]
    set_layer_weights(normalization, [*published, normalization.get_weights()[2]])

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        outputs = layer(*inputs, **options)
        if layer.name == normalization.name:
            scale = [1 / math.sqrt(std) for std in STD]
            outputs = layers.Rescaling(scale, name="second_division")(outputs)
        return outputs

    return changed_copy(network, input_shape, call=call)
