"""Frozen features, computed once: for every head, seed and process that asks for them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.data.checking import check_pixels, image_array
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.features.store import FeatureStore, array_digest
from transferzoo.ground.arguments import check_count
from transferzoo.ground.environment import devices
from transferzoo.ground.progress import Progress, check_progress
from transferzoo.ground.quiet import traces_expected
from transferzoo.models.architecture import network_digest
from transferzoo.models.construct import BACKBONE, PREPROCESSING, backbone_of, connect, head_of
from transferzoo.models.prediction import PREDICTION_BATCH, outputs_at_once, predict, runs_once

AVERAGES = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)
MAXIMA = (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D)

logger = logging.getLogger("transferzoo.features.extract")


def extract_features(
    model: keras.Model,
    images: np.ndarray,
    *,
    layer: str | None = None,
    store: FeatureStore | bool | None = None,
    batch_size: int = PREDICTION_BATCH,
    progress: Progress | None = None,
) -> np.ndarray:
    """Features of images, computed once and kept on disk.

    Parameters
    ----------
    model : keras.Model
        From `build`. Any other Keras model of connected layers will do where `layer` is given.
    images : ndarray, uint8 or float, shape (n, height, width, channels)
        0 to 255, as the model takes them.
    layer : str, optional
        A layer of the backbone (of the model, where it has no backbone), whose output is taken; a feature
        map is averaged over its cells. By default what the head reads: after the head's pooling where it
        begins with one, the feature map where it does not.
    store : FeatureStore or False, optional
        Where features are kept; False computes them in memory. By default the common one,
        ``FeatureStore()``.
    batch_size : int, default 128
        Images at a time. It bounds the memory that is needed, and is no part of what an entry is found by.
    progress : Progress, optional
        Shows how far it has come.

    Returns
    -------
    ndarray of float32, shape (n, channels) or (n, h, w, channels)
        Read-only and mapped from disk where it comes from a store.

    Raises
    ------
    InvalidInputError
        If the images are not what the model takes or look scaled already, the layer does not exist, or
        `layer` is needed and missing.

    Examples
    --------
    >>> from transferzoo import build, load_dataset
    >>> model = build("mobilenet_025", 10, weights=None)
    >>> images = load_dataset("digits").x_test[:20]
    >>> extract_features(model, images, store=False).shape
    (20, 256)
    """
    images = image_array("images", images)
    check_count("batch_size", batch_size, 1)
    if not isinstance(store, FeatureStore) and store is not None and store is not False:
        raise invalid("store", "a tz.FeatureStore, False for none, or left out", store)
    extractor = _extractor(model, layer)
    check_progress(progress)
    expected = tuple(extractor.input_shape[1:])
    if len(expected) != 3 or any(
        want not in (None, got) for want, got in zip(expected, images.shape[1:], strict=True)
    ):
        raise invalid("images", f"of shape (n, {', '.join(map(str, expected))})", images.shape)
    if backbone_of(model) is not None:
        check_pixels("images", images)
    return frozen_features(
        extractor,
        images,
        store=None if store is False else store or FeatureStore(),
        progress=progress,
        description={} if layer is None else {"layer": layer},
        batch_size=batch_size,
    )


def frozen_features(
    extractor: keras.Model,
    images: np.ndarray,
    *,
    store: FeatureStore | None,
    progress: Progress | None = None,
    description: dict[str, Any] | None = None,
    batch_size: int = PREDICTION_BATCH,
    reused: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Return an extractor's outputs, float32 ``(n, …)``, from a store or computed in memory (None).

    `description` says what they are, over what the extractor itself tells. `reused` is told the seconds that
    features from the store took when they were computed, if they were computed before.
    """
    if store is None:
        return predict(extractor, images, batch_size=batch_size, progress=progress)
    try:
        key = feature_key(extractor, images)
    except (NotImplementedError, TypeError) as error:
        logger.warning("features are computed and not kept: the model cannot be described (%s)", error)
        return predict(extractor, images, batch_size=batch_size, progress=progress)
    shape = extractor.output_shape[1:]
    if None in shape:
        shape = keras.ops.shape(extractor(images[:1], training=False))[1:]

    def blocks() -> Iterator[np.ndarray]:
        logger.info("computing features of %d images", len(images))
        if runs_once(images, batch_size):
            yield outputs_at_once(extractor, images)
            return
        total = math.ceil(len(images) / batch_size)
        with (progress or Progress()).task("features", total, unit="batches") as task, traces_expected():
            for start in range(0, len(images), batch_size):
                yield np.asarray(extractor.predict_on_batch(images[start : start + batch_size]))
                task.advance()

    return store.get_or_compute(
        key,
        (len(images), *shape),
        "float32",
        blocks,
        description={**_describe(extractor), **(description or {})},
        reused=reused,
    )


def feature_key(extractor: keras.Model, images: np.ndarray) -> dict[str, str]:
    """Return what features follow from: the network, the images, and what computes."""
    return {
        "extractor": network_digest(extractor),
        "images": array_digest(images),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        # the same network differs in the last bits from one to the other
        "device": _device(),
        "dtype_policy": keras.config.dtype_policy().name,
    }


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
    pooling = isinstance(first, (*AVERAGES, *MAXIMA))
    if pooling and all(layer is first for layer in readers):
        pooled = type(first).from_config(first.get_config())(features)
        return keras.Model(images, pooled, name=model.name), keras.Model(first.output, head.outputs[0])
    return keras.Model(images, features, name=model.name), head


def _reads(layer: Any, tensor: Any) -> bool:
    return any(each is tensor for each in keras.tree.flatten(layer.input))


def _extractor(model: Any, layer: str | None) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise invalid("model", "a keras.Model, such as tz.build returns", model)
    backbone = backbone_of(model)
    if layer is None:
        if backbone is None or head_of(model) is None:
            raise InvalidInputError(
                "layer must be given for a model without the parts 'backbone' and 'head' of tz.build. "
                "Pass the name of the layer whose output you want.",
                argument="layer",
            )
        return split_at_features(model)[0]
    network = backbone if backbone is not None else model
    names = [each.name for each in getattr(network, "layers", [])]
    if layer not in names:
        where = "backbone" if backbone is not None else "model"
        remedy = f"Its last layers are {', '.join(map(repr, names[-3:]))}." if names else ""
        raise invalid(
            "layer", f"the name of one of the {where}'s layers", layer, candidates=names, remedy=remedy
        )
    try:
        output, inputs = network.get_layer(layer).output, network.inputs
    except (AttributeError, ValueError):
        output, inputs = None, []
    if len(inputs or []) != 1 or not isinstance(output, keras.KerasTensor):
        raise invalid("layer", "one of a model of connected layers, with one input and one output", layer)
    cut = keras.Model(inputs, output, name=BACKBONE)
    images = keras.Input(model.input_shape[1:])
    prepare = next(
        (each for each in model.layers if backbone is not None and each.name == PREPROCESSING), None
    )
    features = cut(prepare(images) if prepare is not None else images)
    if len(features.shape) in (3, 4):
        features = AVERAGES[len(features.shape) - 3]()(features)
    return keras.Model(images, features, name=model.name)


def _describe(extractor: keras.Model) -> dict[str, Any]:
    network = backbone_of(extractor) or extractor
    last = extractor.layers[-1]
    pooled = {**dict.fromkeys(AVERAGES, "features, averaged"), **dict.fromkeys(MAXIMA, "features, maximum")}
    return {
        "backbone": extractor.name,
        "image_size": list(network.input_shape[1:3]),
        "layer": pooled.get(type(last), "features"),
    }


def _device() -> str:
    kinds = {device.split(":")[0].lower() for device in devices()}
    return min(kinds - {"cpu"}, default="cpu")
