"""The table of backbones, what is known of each, and how to add one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace as changed
from typing import Any

from transferzoo.backbones.applications import APPLICATIONS
from transferzoo.backbones.backbone import MINUS_ONE_TO_ONE, Backbone, Preprocessing, Weights
from transferzoo.backbones.hub import PREFIX, hub_backbone
from transferzoo.backbones.measured import MEASURED
from transferzoo.backbones.shipped import SHIPPED
from transferzoo.backbones.weight_files import file_at_hand
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_choice, check_count, check_sequence
from transferzoo.ground.registry import Registry

BACKBONES: Registry[Backbone] = Registry("backbone", lambda record: isinstance(record, Backbone))

_HE = "He et al. (2016), Deep Residual Learning for Image Recognition, CVPR, arXiv:1512.03385, section 4.2"
_SCRATCH = "For images of 32 pixels. No published weights: trained from scratch."
_SHIPPED = "For images of 32 pixels. weights='cifar10' are part of the library."


def _own(name: str, **fields: Any) -> Backbone:
    counted = MEASURED[name]
    return Backbone(
        name=name,
        parameters=counted.parameters,
        multiply_adds=counted.multiply_adds,
        feature_channels=counted.feature_channels,
        reduction=counted.reduction,
        last_convolution=counted.last_convolution,
        stems=("original",),
        **fields,
    )


_OWN = [
    _own(
        "alexnet",
        family="alexnet",
        paper="Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep CNNs, NeurIPS 25",
        builder="transferzoo.backbones.alexnet:alexnet",
        note=(
            "No public Keras weights: trained from scratch. One tower, no local response normalisation; "
            "below 63 pixels the first convolution has stride 1 and the reduction is about 13. "
            "head='alexnet' adds the paper's two layers of 4,096."
        ),
    ),
    *(
        _own(
            f"resnet{depth}",
            family="small_resnet",
            paper=_HE,
            builder="transferzoo.backbones.small_images:small_resnet",
            arguments={"depth": depth},
            native_size=32,
            minimum_size=8,
            default_size=32,
            note=f"{start} The paper's error on CIFAR-10 (table 6): {error} %.",
        )
        for depth, error, start in (
            (20, "8.75", _SHIPPED),
            (32, "7.51", _SCRATCH),
            (44, "7.17", _SCRATCH),
            (56, "6.97", _SCRATCH),
        )
    ),
    *(
        _own(
            f"wide_resnet{depth}_{width}",
            family="wide_resnet",
            paper="Zagoruyko, Komodakis (2016), Wide Residual Networks, BMVC, arXiv:1605.07146",
            builder="transferzoo.backbones.small_images:wide_resnet",
            arguments={"depth": depth, "width": width},
            native_size=32,
            minimum_size=8,
            default_size=32,
            note=_SCRATCH,
        )
        for depth, width in ((16, 4), (28, 10))
    ),
]

BACKBONES.resolve_with(PREFIX, hub_backbone)
for _entry in (*APPLICATIONS, *_OWN):
    _shipped = (SHIPPED[_entry.name],) if _entry.name in SHIPPED else ()
    BACKBONES.register(_entry.name, changed(_entry, weights=(*_entry.weights, *_shipped)))


def list_backbones(
    pattern: str = "*",
    *,
    family: str | None = None,
    max_parameters: int | None = None,
    max_multiply_adds: int | None = None,
    image_size: int | None = None,
    weights: str | None = None,
) -> list[str]:
    """Names of the backbones that `build` knows, sorted.

    A limit leaves out backbones of which it is not known whether they keep it.

    Parameters
    ----------
    pattern : str, default "*"
        Shell-style wildcards; case does not matter.
    family : str, optional
        Only those of this family, such as ``"resnet"``.
    max_parameters : int, optional
        Only those with at most so many parameters, without a head.
    max_multiply_adds : int, optional
        Only those with at most so many multiply-accumulates for an image of their native size.
    image_size : int, optional
        Only those that take images of this side in pixels as they are.
    weights : {"published", "local", "none"}, optional
        Only those with published weights, those whose weights are on this machine already (in
        ``$KERAS_HOME/models``, or as part of this library), or
        those without any.

    Returns
    -------
    list of str
        Empty where none fits.

    Raises
    ------
    InvalidInputError
        For a family that does not exist, or a limit that is no whole number.

    Examples
    --------
    >>> list_backbones("vgg*")
    ['vgg16', 'vgg19']
    >>> list_backbones("mobile*", max_parameters=500_000, weights="published")
    ['mobilenet_025', 'mobilenet_v2_035', 'mobilenet_v3_small_minimalistic']
    """
    names = BACKBONES.names(pattern)
    if all(limit is None for limit in (family, max_parameters, max_multiply_adds, image_size, weights)):
        # records of installed packages stay unread
        return names
    records = [BACKBONES.get(name) for name in names]
    if family is not None:
        check_choice("family", family, sorted({BACKBONES.get(name).family for name in BACKBONES}))
        records = [record for record in records if record.family == family]
    for limit, most, known in (
        ("max_parameters", max_parameters, "parameters"),
        ("max_multiply_adds", max_multiply_adds, "multiply_adds"),
    ):
        if most is not None:
            most = check_count(limit, most, 1, most=2**63 - 1)
            records = [each for each in records if 0 < (getattr(each, known) or 0) <= most]
    if image_size is not None:
        side = check_count("image_size", image_size, 1)
        records = [record for record in records if record.minimum_size <= side]
    if weights is not None:
        check_choice("weights", weights, ("published", "local", "none"))
        has = {
            "published": lambda record: bool(record.weights),
            "local": lambda record: (
                file_at_hand(record, "imagenet") is not None
                or any(file_at_hand(record, each.name) for each in record.weights)
            ),
            "none": lambda record: not record.weights,
        }[weights]
        records = [record for record in records if has(record)]
    return [record.name for record in records]


def backbone_info(name: str) -> Backbone:
    """What is known about a backbone; needs no Keras.

    Parameters
    ----------
    name : str
        One of `list_backbones()`, or ``"hub:"`` and a preset of KerasHub's.

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
