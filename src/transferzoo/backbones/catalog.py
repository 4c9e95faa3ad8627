"""The table of backbones: another keras.applications model is one more entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from transferzoo.backbones.backbone import (
    IMAGENET_BGR,
    MINUS_ONE_TO_ONE,
    Backbone,
    Preprocessing,
    Weights,
)
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_sequence
from transferzoo.ground.registry import Registry

BACKBONES: Registry[Backbone] = Registry("backbone", lambda record: isinstance(record, Backbone))

# What every keras.applications function is asked for: no classifier, and no download of its own.
_BARE = {"include_top": False, "weights": None}
_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications"


def _imagenet(path: str, licence: str, source: str, md5: str | None = None) -> tuple[Weights, ...]:
    return (
        Weights(
            name="imagenet",
            url=f"{_KERAS_FILES}/{path}",
            hash=f"md5:{md5}" if md5 else None,
            trained_on="ImageNet-1k (ILSVRC 2012)",
            licence=licence,
            source=source,
        ),
    )


_MOBILENET = "Howard et al. (2017), MobileNets, arXiv:1704.04861"
_MOBILENET_V2 = "Sandler et al. (2018), MobileNetV2, CVPR, arXiv:1801.04381"
_VGG = "Simonyan, Zisserman (2015), Very Deep Convolutional Networks, ICLR, arXiv:1409.1556"
_OXFORD = "CC BY 4.0, as published by the Visual Geometry Group, Oxford"

_TABLE = [
    Backbone(
        name="resnet50",
        family="resnet",
        paper="He et al. (2016), Deep Residual Learning for Image Recognition, CVPR, arXiv:1512.03385",
        builder="keras.applications:ResNet50",
        arguments=_BARE,
        parameters=23_587_712,
        feature_channels=2048,
        reduction=32,
        preprocessing=IMAGENET_BGR,
        weights=_imagenet(
            "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "MIT, as published by the authors",
            "converted from the authors' Caffe model by the Keras project",
            "4d473c1dd8becc155b73f8504c6f6626",
        ),
    ),
    Backbone(
        name="vgg16",
        family="vgg",
        paper=_VGG,
        builder="keras.applications:VGG16",
        arguments=_BARE,
        parameters=14_714_688,
        feature_channels=512,
        reduction=32,
        preprocessing=IMAGENET_BGR,
        weights=_imagenet(
            "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            _OXFORD,
            "converted from the authors' Caffe model by the Keras project",
            "6d6bbae143d832006294945121d1f1fc",
        ),
    ),
    Backbone(
        name="vgg19",
        family="vgg",
        paper=_VGG,
        builder="keras.applications:VGG19",
        arguments=_BARE,
        parameters=20_024_384,
        feature_channels=512,
        reduction=32,
        preprocessing=IMAGENET_BGR,
        weights=_imagenet(
            "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            _OXFORD,
            "converted from the authors' Caffe model by the Keras project",
            "253f8cb515780f3b799900260a226db6",
        ),
    ),
    Backbone(
        name="alexnet",
        family="alexnet",
        paper="Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep CNNs, NeurIPS 25",
        builder="transferzoo.backbones.alexnet:alexnet",
        parameters=3_747_200,
        feature_channels=256,
        reduction=32,
        stems=("original",),
        preprocessing=MINUS_ONE_TO_ONE,
        note=(
            "No public Keras weights: trained from scratch. One tower, no local response normalisation; "
            "below 63 pixels the first convolution has stride 1 and the reduction is about 13. "
            "head='alexnet' adds the paper's two layers of 4,096."
        ),
    ),
]

# width: (parameters, feature channels, the width as the published file spells it)
_MOBILENET_WIDTHS = {
    0.25: (218_544, 256, "2_5"),
    0.50: (829_536, 512, "5_0"),
    0.75: (1_832_976, 768, "7_5"),
    1.0: (3_228_864, 1024, "1_0"),
}
_MOBILENET_V2_WIDTHS = {
    0.35: (410_208, 1280),
    0.50: (706_224, 1280),
    0.75: (1_382_064, 1280),
    1.0: (2_257_984, 1280),
    1.3: (3_766_048, 1664),
    1.4: (4_363_712, 1792),
}


def _with_width(name: str, width: float) -> str:
    return name if width == 1.0 else f"{name}_{round(width * 100):03d}"


_TABLE += [
    Backbone(
        name=_with_width("mobilenet", width),
        family="mobilenet",
        paper=_MOBILENET,
        builder="keras.applications:MobileNet",
        arguments={**_BARE, "alpha": width},
        parameters=parameters,
        feature_channels=channels,
        reduction=32,
        preprocessing=MINUS_ONE_TO_ONE,
        weights=_imagenet(
            f"mobilenet/mobilenet_{spelt}_224_tf_no_top.h5",
            "Apache-2.0, as published by the authors",
            "converted from the authors' TensorFlow model by the Keras project",
        ),
        note=f"Width multiplier {width:g}.",
    )
    for width, (parameters, channels, spelt) in _MOBILENET_WIDTHS.items()
]
_TABLE += [
    Backbone(
        name=_with_width("mobilenet_v2", width),
        family="mobilenet_v2",
        paper=_MOBILENET_V2,
        builder="keras.applications:MobileNetV2",
        arguments={**_BARE, "alpha": width},
        parameters=parameters,
        feature_channels=channels,
        reduction=32,
        preprocessing=MINUS_ONE_TO_ONE,
        weights=_imagenet(
            f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224_no_top.h5",
            "Apache-2.0, as published by the authors",
            "converted from the authors' TensorFlow model by the Keras project",
        ),
        note=f"Width multiplier {width:g}.",
    )
    for width, (parameters, channels) in _MOBILENET_V2_WIDTHS.items()
]

for _entry in _TABLE:
    BACKBONES.register(_entry.name, _entry)


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the backbones that `build` knows, sorted.

    Parameters
    ----------
    pattern : str, default "*"
        Shell-style wildcards; case does not matter.

    Returns
    -------
    list of str

    Examples
    --------
    >>> list_backbones("vgg*")
    ['vgg16', 'vgg19']
    """
    return BACKBONES.names(pattern)


def backbone_info(name: str) -> Backbone:
    """What is known about a backbone; needs no Keras.

    Parameters
    ----------
    name : str
        One of `list_backbones()`.

    Returns
    -------
    Backbone
        A frozen record: family, paper, parameters, feature channels, native and minimum size,
        preprocessing, weights, licence.

    Raises
    ------
    UnknownNameError
        With the nearest name.

    Examples
    --------
    >>> backbone_info("mobilenet").feature_channels
    1024
    """
    return BACKBONES.get(name)


def register_backbone(
    name: str | Backbone,
    builder: str | Callable[..., Any] | None = None,
    *,
    preprocessing: Preprocessing = MINUS_ONE_TO_ONE,
    family: str = "custom",
    paper: str = "",
    arguments: Mapping[str, Any] | None = None,
    parameters: int | None = None,
    feature_channels: int | None = None,
    reduction: int | None = None,
    native_size: int = 224,
    minimum_size: int = 1,
    default_size: int | None = None,
    weights: Iterable[Weights] = (),
    licence: str = "unknown",
    note: str = "",
    replace: bool = False,
) -> Backbone:
    """Make a backbone of your own a first-class name for `build`, `compare` and the command line.

    Parameters
    ----------
    name : str or Backbone
        The new name; no spaces, slashes or wildcards. Or a whole record, and nothing else but `replace`.
    builder : callable or str
        A function, or ``"module:function"``. Called with ``input_shape=(height, width, 3)`` and
        `arguments`; returns a `keras.Model` from preprocessed images, float32
        ``(batch, height, width, 3)``, to a feature map ``(batch, h, w, channels)`` or vectors
        ``(batch, channels)``. Do not scale pixels in it: say what it expects in `preprocessing`.
    preprocessing : Preprocessing, default pixels scaled to [-1, 1]
        What `build` does to 0-255 pixels before they reach the network.
    family, paper, parameters, feature_channels, reduction, native_size, minimum_size, default_size, \
weights, licence, note
        Fields of `Backbone`, shown by `backbone_info`. `default_size` is `minimum_size` if left out:
        images then stay as they are.
    arguments : mapping, optional
        Further arguments of the builder.
    replace : bool, default False
        Whether to replace a backbone that has this name already.

    Returns
    -------
    Backbone
        The record, as `backbone_info` returns it from now on.

    Raises
    ------
    NameTakenError
        If the name is taken and `replace` is False.
    InvalidInputError
        If the builder is neither a function nor ``"module:function"``.

    Examples
    --------
    >>> def tiny(input_shape):
    ...     import keras
    ...     images = keras.Input(input_shape)
    ...     return keras.Model(images, keras.layers.Conv2D(8, 3, strides=2, activation="relu")(images))
    >>> register_backbone("tiny", tiny, replace=True).family
    'custom'
    """
    if isinstance(name, Backbone):
        if builder is not None:
            raise invalid("builder", "left out where a whole record is given", builder)
        BACKBONES.register(name.name, name, replace=replace)
        return name
    if builder is None:
        raise invalid("builder", "a function, or its place as 'module:function'", builder)
    record = Backbone(
        name=name,
        family=family,
        paper=paper,
        builder=builder,
        arguments={} if arguments is None else arguments,
        parameters=parameters,
        feature_channels=feature_channels,
        reduction=reduction,
        native_size=native_size,
        minimum_size=minimum_size,
        default_size=minimum_size if default_size is None else default_size,
        preprocessing=preprocessing,
        weights=check_sequence("weights", "tz.Weights records", weights),
        licence=licence,
        note=note,
    )
    BACKBONES.register(name, record, replace=replace)
    return record
