"""Frozen features, computed once."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from transferzoo.models import connect, head_of


def split_at_features(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return two models that share the weights of a built one: images to features, features to outputs.

    The cut is after the head's pooling where it begins with one, as pooled features are the smallest.
    """
    head = head_of(model)
    assert head is not None
    images = keras.Input(model.input_shape[1:])
    features, _ = connect(model, images)
    first = head.layers[1]
    readers = [layer for layer in head.layers[1:] if _reads(layer, head.inputs[0])]
    pooling = isinstance(first, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D)
    if pooling and all(layer is first for layer in readers):
        pooled = type(first).from_config(first.get_config())(features)
        return keras.Model(images, pooled), keras.Model(first.output, head.outputs[0])
    return keras.Model(images, features), head


def _reads(layer: Any, tensor: Any) -> bool:
    return any(each is tensor for each in keras.tree.flatten(layer.input))
