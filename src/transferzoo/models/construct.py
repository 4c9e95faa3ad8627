"""`build`: preprocessing, backbone and head as one plain keras.Model; and what a built model is."""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from transferzoo.backbones.backbone import RAW, Backbone, Preprocessing
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.stages import joined_map
from transferzoo.backbones.weight_formats import load_weights
from transferzoo.backbones.weights import available_weights
from transferzoo.errors import InvalidInputError
from transferzoo.ground.progress import Progress, check_progress
from transferzoo.heads import head_name
from transferzoo.models.architecture import network_digest
from transferzoo.models.freezing import set_trainable
from transferzoo.models.options import BuildOptions, check_input_shape
from transferzoo.models.plan import (
    BACKBONE,
    HEAD,
    BuildPlan,
    build_head,
    build_network,
    changed_network,
    plan_build,
    seeded,
)
from transferzoo.models.preprocessing import PREPROCESSING, build_preprocessing, scaling_layers

logger = logging.getLogger("transferzoo.models.construct")


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
    stages: int
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
    stages: int = 1,
    seed: int | None = None,
    progress: Progress | None = None,
) -> keras.Model:
    """Build one plain Keras model, from 0-255 pixels to class probabilities.

    Parameters
    ----------
    name : str
        A backbone, one of `list_backbones()`, or ``"hub:"`` and a preset of KerasHub's, such as
        ``"hub:vit_base_patch16_224_imagenet"``, where keras-hub is installed.
    num_classes : int
        2 or more.
    weights : str, Path or None, default "imagenet"
        ``"imagenet"`` for the published weights, None for random ones, or the path of a ``.weights.h5`` or
        legacy ``.h5`` file with the backbone's weights. Published files are kept in
        ``$KERAS_HOME/models`` (``~/.keras/models``). A backbone without published weights, such as
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
    stages : int, default 1
        How many of the network's last stages the head gets features of. With 2 or more, each stage's map is
        averaged over its cells and the means are joined to one vector [2]_, so that a head's own pooling
        has nothing to do. A stage is what is computed at one size of the maps; most networks have five.
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
    .. [2] Evci, Dumoulin, Larochelle, Mozer (2022), "Head2Toe: Utilizing Intermediate Representations for
       Better Transfer Learning", ICML, arXiv:2201.03529, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> model = build("mobilenet_025", 10, weights=None)
    >>> model.predict(np.zeros((2, 32, 32, 3), "uint8"), verbose=0).shape
    (2, 10)
    >>> build("mobilenet_025", 10, weights=None, stem="stride1").get_layer("backbone").output_shape
    (None, 2, 2, 256)
    >>> build("mobilenet_025", 10, weights=None, stages=3).get_layer("backbone").output_shape
    (None, 448)
    """
    check_progress(progress)
    backbone = BACKBONES.get(name)
    options = BuildOptions(
        weights=available_weights(backbone, weights),
        head=head,
        image_size=image_size,
        trainable=trainable,
        classifier_activation=classifier_activation,
        preprocessing=preprocessing,
        stem=stem,
        output_stride=output_stride,
        stages=stages,
    )
    plan = plan_build(backbone, num_classes, options, input_shape=check_input_shape(input_shape))
    return construct(plan, seed=seed, progress=progress)


def construct(plan: BuildPlan, *, seed: int | None = None, progress: Progress | None = None) -> keras.Model:
    """Carry out a plan: build the network, load its weights, put preprocessing and head around it."""
    plan = plan.with_weights(progress)
    backbone, options, size = plan.backbone, plan.options, plan.image_size
    with seeded(seed):
        network = _build_strided(plan)
        how = backbone.preprocessing if options.preprocessing == "backbone" else RAW
        _refuse_double_scaling(backbone, network, how)
        images = keras.Input(plan.input_shape, name="images")
        prepare = build_preprocessing(plan.input_shape, size, how)
        features = network(prepare(images) if prepare is not None else images)
        head_model = build_head(
            plan.make_logits, features.shape[1:], plan.num_classes, options.classifier_activation
        )
        model = keras.Model(images, head_model(features), name=_layer_safe(backbone.name))

    set_trainable(network, options.trainable)
    if tuple(features.shape[1:3]) == (1, 1) and len(features.shape) == 4:
        logger.warning(
            "%s shrinks %d×%d images to a 1×1 feature map; image_size=%d%s keeps more of them",
            backbone.name,
            *size,
            max(backbone.default_size, 2 * max(size)),
            " or stem='stride1'" if options.stem == "original" and "stride1" in backbone.stems else "",
        )
    _SETTINGS[model] = ModelSettings(
        backbone=backbone.name,
        num_classes=plan.num_classes,
        weights=None if options.weights is None else str(options.weights),
        weights_sha256=plan.weights_sha256,
        head=head_name(options.head),
        input_shape=plan.input_shape,
        image_size=size,
        trainable=options.trainable,
        classifier_activation=options.classifier_activation,
        preprocessing=options.preprocessing,
        stem=options.stem,
        output_stride=options.output_stride,
        stages=options.stages,
        seed=seed,
    )
    return model


def learning_digest(model: keras.Model) -> str:
    """Return a SHA-256 hex digest of which layers learn."""
    flags = [bool(layer.trainable) for layer in model._flatten_layers()]
    return hashlib.sha256(bytes(flags)).hexdigest()


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


def connect_map(model: keras.Model, images: Any) -> tuple[Any, Any]:
    """Run a built model on a Keras tensor of images up to its last feature map, and up to its features.

    They are the same, unless the features are those of several stages.
    """
    network = backbone_of(model)
    last = None if network is None else joined_map(network)
    if network is None or last is None:
        features = connect(model, images)[0]
        return features, features
    prepare = _part(model, PREPROCESSING)
    both = keras.Model(network.inputs[0], [last, network.outputs[0]])
    last, features = both(prepare(images) if prepare is not None else images)
    return last, features


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


def _part(model: keras.Model, name: str) -> keras.Model | None:
    part = next((layer for layer in getattr(model, "layers", []) if layer.name == name), None)
    return part if isinstance(part, keras.Model) else None


def _layer_safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_.-" else "_" for c in name)


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


def _build_strided(plan: BuildPlan) -> keras.Model:
    """Build a backbone with its weights, and take out the strides that are to go."""
    backbone, options = plan.backbone, plan.options
    height, width = plan.image_size
    # behind its stem this one has maps of the size that the changed one will have, and pads them so
    size = (height * plan.stem_factor, width * plan.stem_factor)
    network = build_network(backbone, size, **({"load": True} if plan.preset is not None else {}))
    if plan.weights_file is not None:
        load_weights(network, plan.weights_file, backbone)
    return changed_network(network, backbone, options, (height, width))
