"""`build`: preprocessing, backbone and head as one plain keras.Model; and what a built model is."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.backbones.backbone import RAW, Backbone, Preprocessing
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.strides import StridePlan, apply_strides, check_strides, plan_strides
from transferzoo.backbones.weights import (
    available_weights,
    check_weights,
    load_weights,
    locate_weights,
)
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count
from transferzoo.ground.progress import Progress
from transferzoo.ground.storage.files import file_hash
from transferzoo.heads import Head, apply_head, head_name, resolve_head
from transferzoo.models.architecture import architecture_digest, network_digest
from transferzoo.models.freezing import check_policy_form, set_trainable
from transferzoo.models.preprocessing import (
    PREPROCESSING,
    build_preprocessing,
    check_input_shape,
    choose_image_size,
    scaling_layers,
)

logger = logging.getLogger("transferzoo.models.construct")

BACKBONE = "backbone"
HEAD = "head"
ACTIVATIONS = ("softmax", None)
PREPROCESSINGS = ("backbone", "none")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What `build` was asked for, and what it settled on; kept beside the model, not in it."""

    backbone: str
    num_classes: int
    weights: str | None
    weights_sha256: str | None
    head: str
    input_shape: tuple[int, int, int]
    image_size: tuple[int, int]
    trainable: str
    classifier_activation: str | None
    preprocessing: str
    stem: str
    output_stride: int | None
    seed: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


_SETTINGS: weakref.WeakKeyDictionary[Any, ModelSettings] = weakref.WeakKeyDictionary()


def model_settings(model: keras.Model) -> ModelSettings | None:
    """Return what `build` was asked for, or None for a model that it did not make in this process."""
    return _SETTINGS.get(model)


def build(
    name: str,
    num_classes: int,
    *,
    weights: str | Path | None = "imagenet",
    head: str | Callable[..., Any] = "linear",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    image_size: int | tuple[int, int] | str | None = None,
    trainable: str = "all",
    classifier_activation: str | None = "softmax",
    preprocessing: str = "backbone",
    stem: str = "original",
    output_stride: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> keras.Model:
    """Build one plain Keras model, from 0-255 pixels to class probabilities.

    Parameters
    ----------
    name : str
        A backbone, one of `list_backbones()`.
    num_classes : int
        2 or more.
    weights : str, Path or None, default "imagenet"
        ``"imagenet"`` for the published weights, None for random ones, or the path of a ``.weights.h5`` or
        legacy ``.h5`` file with the backbone's weights. Published files are kept in
        ``$KERAS_HOME/models`` (``~/.keras/models``). A backbone that nobody published weights of, such as
        alexnet, gets random ones, and a warning says so.
    head : str, Head or callable, default "linear"
        One of `list_heads()`, a `Head`, or a function from features to logits ``(batch, num_classes)``.
    input_shape : tuple of 3 ints, default (32, 32, 3)
        Height, width and channels of the images that the model is given; 1 or 3 channels.
    image_size : int, pair of ints or "input", optional
        Images are resized to this inside the model (bilinear); ``"input"`` leaves them as they are. By
        default smaller images are enlarged until both sides reach the backbone's `default_size` if weights
        are loaded, its `minimum_size` if not. With another `stem` they are enlarged only so far that the
        last feature map is as large as it would be with the original.
    trainable : str, default "all"
        Which backbone layers learn: ``"all"``, ``"none"``, ``"top:N"`` (the last N layers that hold
        weights), or the beginning of layer names such as ``"conv5"``.
    classifier_activation : {"softmax", None}, default "softmax"
        Probabilities, or logits.
    preprocessing : {"backbone", "none"}, default "backbone"
        What is done to pixels: what the backbone was trained with, or nothing (raw 0-255).
    stem : {"original", "stride1"}, default "original"
        ``"stride1"`` gives stride 1 to the network's first strided layer, and to a pooling that follows it
        before the next convolution, on the same kernels. ResNet then shrinks images 8-fold instead of 32,
        VGG and MobileNet 16-fold. AlexNet, which adapts its stem to small images itself, takes
        ``"original"`` alone.
    output_stride : int, optional
        How many input pixels, along a side, make one cell of the last feature map at most: a power of two
        below the backbone's own, such as 16 or 8. The last strides become 1, and the layers behind them are
        dilated, so that each kernel sees what it saw [1]_. May be joined with `stem`, which comes first.
    seed : int, optional
        Makes the random weights repeatable.
    progress : Progress, optional
        Shows a download. Default: a bar if standard error is a terminal.

    Returns
    -------
    keras.Model
        Takes images, uint8 or float, ``(batch, *input_shape)``, 0 to 255. Gives float32
        ``(batch, num_classes)``. Its layers ``"preprocessing"`` (absent where nothing is to be done),
        ``"backbone"`` and ``"head"`` are models themselves. It is made of built-in layers, so a saved
        ``.keras`` file loads where transferzoo is not installed.

    Raises
    ------
    UnknownNameError
        For a backbone or head that does not exist, with the nearest name.
    InvalidInputError
        For a bad argument.
    WeightsError, DownloadError
        If weights are missing, damaged, of another architecture, or cannot be fetched.

    References
    ----------
    .. [1] Chen, Papandreou, Schroff, Adam (2017), "Rethinking Atrous Convolution for Semantic Image
       Segmentation", arXiv:1706.05587.

    Examples
    --------
    >>> model = build("mobilenet_025", 10, weights=None)
    >>> model.predict(np.zeros((2, 32, 32, 3), "uint8"), verbose=0).shape
    (2, 10)
    >>> build("mobilenet_025", 10, weights=None, stem="stride1").get_layer("backbone").output_shape
    (None, 2, 2, 256)
    """
    backbone = BACKBONES.get(name)
    input_shape = check_input_shape(input_shape)
    weights = available_weights(backbone, weights)
    size = check_build(
        backbone,
        num_classes,
        input_shape=input_shape,
        weights=weights,
        head=head,
        image_size=image_size,
        trainable=trainable,
        classifier_activation=classifier_activation,
        preprocessing=preprocessing,
        stem=stem,
        output_stride=output_stride,
    )
    make_logits = resolve_head(head)
    weights_file = locate_weights(backbone, weights, progress=progress)

    with seeded(seed):
        network = _build_strided(backbone, size, stem, output_stride, weights_file)
        how = backbone.preprocessing if preprocessing == "backbone" else RAW
        _refuse_double_scaling(backbone, network, how)
        images = keras.Input(input_shape, name="images")
        prepare = build_preprocessing(input_shape, size, how)
        features = network(prepare(images) if prepare is not None else images)
        head_model = _build_head(make_logits, features.shape[1:], num_classes, classifier_activation)
        model = keras.Model(images, head_model(features), name=_layer_safe(name))

    set_trainable(network, trainable)
    if tuple(features.shape[1:3]) == (1, 1) and len(features.shape) == 4:
        logger.warning(
            "%s shrinks %d×%d images to a 1×1 feature map; image_size=%d%s keeps more of them",
            name,
            *size,
            max(backbone.default_size, 2 * max(size)),
            " or stem='stride1'" if stem == "original" and "stride1" in backbone.stems else "",
        )
    _SETTINGS[model] = ModelSettings(
        backbone=name,
        num_classes=num_classes,
        weights=None if weights is None else str(weights),
        weights_sha256=None if weights_file is None else file_hash(weights_file),
        head=head_name(head),
        input_shape=input_shape,
        image_size=size,
        trainable=trainable,
        classifier_activation=classifier_activation,
        preprocessing=preprocessing,
        stem=stem,
        output_stride=output_stride,
        seed=seed,
    )
    return model


def check_build(
    backbone: Backbone,
    num_classes: int,
    *,
    input_shape: tuple[int, int, int],
    weights: str | Path | None = "imagenet",
    head: str | Callable[..., Any] = "linear",
    image_size: int | tuple[int, int] | str | None = None,
    trainable: str = "all",
    classifier_activation: str | None = "softmax",
    preprocessing: str = "backbone",
    stem: str = "original",
    output_stride: int | None = None,
) -> tuple[int, int]:
    """Check what `build` would be told, without building; return the size that reaches the backbone."""
    check_count("num_classes", num_classes, 2, "Count the classes; a yes-no problem has 2 classes here.")
    resolve_head(head)
    if classifier_activation not in ACTIVATIONS:
        raise invalid(
            "classifier_activation",
            "'softmax' for probabilities or None for logits",
            classifier_activation,
            candidates=("softmax",),
        )
    if preprocessing not in PREPROCESSINGS:
        raise invalid("preprocessing", "'backbone' or 'none'", preprocessing, candidates=PREPROCESSINGS)
    check_weights(backbone, weights)
    check_policy_form(trainable)
    if keras.config.image_data_format() != "channels_last":
        raise InvalidInputError(
            "Keras must be set to 'channels_last'. Got 'channels_first'. "
            "Call keras.config.set_image_data_format('channels_last')."
        )
    check_strides(stem, output_stride)
    if stem not in backbone.stems:
        raise invalid(
            "stem",
            f"{' or '.join(map(repr, backbone.stems))} for '{backbone.name}'",
            stem,
            remedy=f"tz.backbone_info('{backbone.name}').note says why." if backbone.note else "",
        )
    pretrained = weights is not None
    size = choose_image_size(backbone, input_shape, image_size, pretrained=pretrained)
    if stem != "original" or output_stride is not None:
        with generators_kept():
            network = _build_network(backbone, size)
        strides = plan_strides(network, stem=stem, output_stride=output_stride, name=backbone.name)
        size = choose_image_size(
            backbone, input_shape, image_size, pretrained=pretrained, stem_factor=strides.stem_factor
        )
    if trainable not in ("all", "none") and not trainable.startswith("top:"):
        with generators_kept():
            set_trainable(_build_network(backbone, size), trainable)
    return size


def learning_digest(model: keras.Model) -> str:
    """Return a SHA-256 hex digest of which layers learn."""
    flags = [bool(layer.trainable) for layer in model._flatten_layers()]
    return hashlib.sha256(bytes(flags)).hexdigest()


def backbone_digest(backbone: Backbone) -> str:
    """Return a SHA-256 hex digest of what stands behind a backbone's name: its network and preprocessing."""
    built: Any = backbone.builder
    if callable(built):
        size = max(backbone.minimum_size, backbone.default_size)
        with generators_kept():
            built = architecture_digest(_build_network(backbone, (size, size)))
    what = (built, sorted(backbone.arguments.items()), backbone.preprocessing)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def head_digest(head: Any, backbone: Backbone, num_classes: int) -> str:
    """Return a SHA-256 hex digest of what a head computes, whatever it is called.

    A head given as a function is built for it, on a feature map such as the backbone gives.
    """
    made = resolve_head(head)
    if isinstance(made, Head):
        return hashlib.sha256(repr(made).encode()).hexdigest()
    size = max(backbone.minimum_size, backbone.default_size)
    with generators_kept():
        shape = _build_network(backbone, (size, size)).output_shape[1:]
        return architecture_digest(_build_head(made, shape, num_classes, None))


def connect(model: keras.Model, images: Any, *, inference_statistics: bool = False) -> tuple[Any, Any]:
    """Run a built model's parts on a Keras tensor of images, on the same weights.

    Parameters
    ----------
    model : keras.Model
        With parts called ``"backbone"`` and ``"head"``.
    images : KerasTensor
    inference_statistics : bool, default False
        Whether the backbone's BatchNorm keeps to its stored statistics even in training, while its scale
        and shift still learn. (Freezing the layer would stop those too.)

    Returns
    -------
    tuple of 2 KerasTensors
        Features and outputs.
    """
    prepare, backbone, head = _part(model, PREPROCESSING), backbone_of(model), head_of(model)
    if backbone is None or head is None:
        raise InvalidInputError("The model must come from tz.build: it has no parts 'backbone' and 'head'.")
    prepared = prepare(images) if prepare is not None else images
    features = _AsInPrediction(backbone)(prepared) if inference_statistics else backbone(prepared)
    return features, head(features)


class _AsInPrediction(layers.Layer):
    """Runs a network with ``training=False`` whatever it stands in.

    Calling the network so is not enough: Keras 3.15 lets a Functional model's own `training` overrule what
    its layers were called with.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=False)


def backbone_of(model: keras.Model) -> keras.Model | None:
    """Return the part of a built model called ``"backbone"``, or None where there is none."""
    return _part(model, BACKBONE)


def head_of(model: keras.Model) -> keras.Model | None:
    """Return the part of a built model called ``"head"``, or None where there is none."""
    return _part(model, HEAD)


def model_digest(model: keras.Model) -> str:
    """Return a SHA-256 hex digest over a model's architecture, without names, and every weight."""
    return network_digest(model)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed Keras for the block; Python's and NumPy's own generators are put back afterwards."""
    if seed is None:
        yield
        return
    with generators_kept():
        keras.utils.set_random_seed(check_count("seed", seed, 0))
        yield


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Leave the random generators as they are found, whatever the block draws."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _part(model: keras.Model, name: str) -> keras.Model | None:
    part = next((layer for layer in getattr(model, "layers", []) if layer.name == name), None)
    return part if isinstance(part, keras.Model) else None


def _layer_safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_.-" else "_" for c in name)


def _build_network(backbone: Backbone, size: tuple[int, int]) -> keras.Model:
    network = backbone.resolve_builder()(input_shape=(*size, 3), **backbone.arguments)
    if not isinstance(network, keras.Model):
        raise InvalidInputError(
            f"The builder of '{backbone.name}' must return a keras.Model. Got {type(network).__name__}."
        )
    if len(network.outputs) != 1 or len(network.outputs[0].shape) not in (2, 4):
        shapes = [tuple(output.shape) for output in network.outputs]
        raise InvalidInputError(
            f"The builder of '{backbone.name}' must return a model with one output, a feature map "
            f"(batch, h, w, channels) or vectors (batch, channels). Got {shapes}."
        )
    network.name = BACKBONE
    return network


def _refuse_double_scaling(backbone: Backbone, network: keras.Model, how: Preprocessing) -> None:
    scaled = (how.mean, how.std) != (RAW.mean, RAW.std)
    inside = scaling_layers(network)
    if scaled and inside:
        raise InvalidInputError(
            f"The network of '{backbone.name}' scales pixels itself, in its layer '{inside[0]}', and its "
            "record scales them before. Register it with preprocessing=tz.Preprocessing((0, 0, 0), (1, 1, "
            "1)), which leaves pixels at 0 to 255, or take the layer out.",
            argument="preprocessing",
            value=inside[0],
        )


def _build_strided(
    backbone: Backbone,
    size: tuple[int, int],
    stem: str,
    output_stride: int | None,
    weights_file: Path | None,
) -> keras.Model:
    """Build a backbone with its weights, and take out the strides that are to go."""
    if stem == "original" and output_stride is None:
        network = _build_network(backbone, size)
        if weights_file is not None:
            load_weights(network, weights_file, backbone)
        return network

    def planned(network: keras.Model) -> StridePlan:
        return plan_strides(network, stem=stem, output_stride=output_stride, name=backbone.name)

    with generators_kept():
        factor = planned(_build_network(backbone, size)).stem_factor
    # behind its stem this one has maps of the size that the changed one will have, and pads them so
    network = _build_network(backbone, (size[0] * factor, size[1] * factor))
    if weights_file is not None:
        load_weights(network, weights_file, backbone)
    # the copy's own random weights are not used, and must not change the head's
    with generators_kept():
        network = apply_strides(network, planned(network), (*size, 3))
    network.name = BACKBONE
    return network


def _build_head(
    make_logits: Callable[..., Any], feature_shape: Any, num_classes: int, activation: str | None
) -> keras.Model:
    features = keras.Input(tuple(feature_shape), name="features")
    logits = apply_head(make_logits, features, num_classes)
    if activation is None:
        outputs = layers.Activation("linear", dtype="float32", name="outputs")(logits)
    else:
        outputs = layers.Activation(activation, dtype="float32", name="outputs")(logits)
    return keras.Model(features, outputs, name=HEAD)
