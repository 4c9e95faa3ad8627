"""What is known about a backbone, as records that need no Keras."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transferzoo.errors import invalid
from transferzoo.ground.arguments import (
    LARGEST_SIDE,
    check_choice,
    check_count,
    check_flag,
    check_mapping,
    check_sequence,
    finite,
    whole,
)
from transferzoo.ground.frozen import FrozenMap

STEMS = ("original", "stride1")


@dataclass(frozen=True)
class Preprocessing:
    """How 0-255 RGB pixels become what a backbone was trained on: ``(pixel - mean) / std``, a channel each.

    Parameters
    ----------
    mean, std : tuple of 3 floats
        In units of 0-255, in the order of `channels`. `std` holds standard deviations, not variances.
    channels : {"rgb", "bgr"}
        The order the backbone wants.

    Examples
    --------
    >>> MINUS_ONE_TO_ONE.mean
    (127.5, 127.5, 127.5)
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str = "rgb"

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, ("rgb", "bgr"))
        for name in ("mean", "std"):
            accepted = "three numbers, one per channel"
            values = check_sequence(name, accepted, getattr(self, name))
            if len(values) != 3 or any(finite(value) is None for value in values):
                raise invalid(name, accepted, values)
            # a list would make the record unhashable
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise invalid("std", "three numbers above 0", self.std)


RAW = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Pixels as they come, 0 to 255."""

MINUS_ONE_TO_ONE = Preprocessing(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
"""Pixels scaled to [-1, 1], as MobileNet was trained."""

IMAGENET_RGB = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
"""ImageNet's mean colour subtracted, divided by its standard deviations, as DenseNet was trained."""

IMAGENET_BGR = Preprocessing(mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), channels="bgr")
"""Blue first, ImageNet's mean colour subtracted, as VGG and ResNet were trained."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One published weights file of a backbone without its classifier.

    Parameters
    ----------
    name : str
        What ``build(weights=…)`` calls it.
    url : str
        Where it is published; the last part is the file's name. Of shipped weights the file's name alone.
    hash : str or None
        ``"md5:…"`` or ``"sha256:…"`` as published; None where its publisher gives none.
    trained_on, licence, source : str
        The data, the terms, and who published it.
    preset : str or None
        A preset of KerasHub's, in place of a file; `url` is then empty.
    shipped : bool
        Whether the file is part of this library.
    stem : {"original", "stride1"}
        The stem that it was trained with.
    size : int or None
        Side in pixels of the images that it was trained on, where that is not the backbone's native size.
    """

    name: str
    url: str
    hash: str | None
    trained_on: str
    licence: str
    source: str
    preset: str | None = None
    shipped: bool = False
    stem: str = "original"
    size: int | None = None

    def __post_init__(self) -> None:
        check_choice("stem", self.stem, STEMS)
        check_flag("shipped", self.shipped)
        if self.size is not None:
            check_count("size", self.size, 1, most=LARGEST_SIDE)
        for field_name in ("name", "url", "trained_on", "licence", "source"):
            if not isinstance(getattr(self, field_name), str):
                raise invalid(field_name, "text", getattr(self, field_name))
        if self.hash is not None and not (
            isinstance(self.hash, str) and re.fullmatch(r"(md5|sha256):[0-9a-fA-F]+", self.hash)
        ):
            raise invalid("hash", "'md5:…' or 'sha256:…' with hexadecimal digits, or None", self.hash)

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network from images to features, and what one must know to use it.

    Parameters
    ----------
    name : str
        What `build` calls it.
    family : str
        Backbones of one design share it.
    paper : str
        Where the design was published.
    builder : str or callable
        ``"module:function"``, or a function. Called with ``input_shape=(height, width, 3)`` and
        `arguments`; returns a `keras.Model` from preprocessed images, float32
        ``(batch, height, width, 3)``, to a feature map ``(batch, h, w, channels)``, tokens
        ``(batch, tokens, channels)`` or vectors ``(batch, channels)``.
    arguments : mapping
        Further arguments of the builder.
    parameters : int or None
        Weights of the backbone alone, without any head; None if unknown.
    feature_channels : int or None
        Length of the feature vector after global pooling.
    reduction : int or None
        How many input pixels, along a side, make one cell of the last feature map.
    native_size : int
        Side in pixels of the images that its published weights saw.
    minimum_size : int
        Smallest side in pixels that it takes.
    default_size : int
        Side that small images are enlarged to when published weights are used.
    multiply_adds : int or None
        Multiply-accumulates for one image of `native_size`, as `count_macs` counts them.
    last_convolution : str or None
        Name of the last layer with a kernel; None where Keras names it anew in each build.
    fixed_size : bool
        Whether it takes images of `native_size` alone; all others are resized to that.
    stems : tuple of str
        What `build` accepts as `stem` for it.
    preprocessing : Preprocessing
        What `build` puts before it.
    weights : tuple of Weights
        The published files. Empty: it can only be trained from scratch.
    top1 : float or None
        Published accuracy in percent, one crop of ImageNet's validation images, with its weights called
        "imagenet".
    top1_source : str
        Where that was read.
    licence : str
        Terms of the network's code.
    note : str
        What else a user should know.
    """

    name: str
    family: str
    paper: str
    builder: str | Callable[..., Any] = field(repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    feature_channels: int | None = None
    reduction: int | None = None
    multiply_adds: int | None = None
    last_convolution: str | None = None
    native_size: int = 224
    minimum_size: int = 32
    default_size: int = 96
    fixed_size: bool = False
    stems: tuple[str, ...] = ("original", "stride1")
    preprocessing: Preprocessing = MINUS_ONE_TO_ONE
    weights: tuple[Weights, ...] = ()
    top1: float | None = None
    top1_source: str = ""
    licence: str = "Apache-2.0"
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise invalid("name", "a name that is not empty", self.name)
        if not callable(self.builder) and not (
            isinstance(self.builder, str) and self.builder.count(":") == 1
        ):
            raise invalid("builder", "a function, or its place as 'module:function'", self.builder)
        if not isinstance(self.preprocessing, Preprocessing):
            raise invalid("preprocessing", "a tz.Preprocessing record", self.preprocessing)
        check_mapping("arguments", self.arguments, "a mapping of the builder's arguments")
        for name in ("native_size", "minimum_size", "default_size"):
            object.__setattr__(self, name, check_count(name, getattr(self, name), 1, most=LARGEST_SIDE))
        for name in ("parameters", "feature_channels", "reduction", "multiply_adds"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_count(name, getattr(self, name), 1, most=2**63 - 1))
        object.__setattr__(self, "fixed_size", check_flag("fixed_size", self.fixed_size))
        for name in ("family", "paper", "licence", "note", "top1_source"):
            if not isinstance(getattr(self, name), str):
                raise invalid(name, "text", getattr(self, name))
        if self.last_convolution is not None and not isinstance(self.last_convolution, str):
            raise invalid("last_convolution", "the name of a layer, or None", self.last_convolution)
        top1 = 0.0 if self.top1 is None else finite(self.top1)
        if top1 is None or not 0 <= top1 <= 100:
            raise invalid("top1", "a percentage, 0 to 100, or None", self.top1)
        stems = check_sequence("stems", "some of 'original' and 'stride1'", self.stems)
        for stem in stems:
            check_choice("stems", stem, STEMS)
        weights = check_sequence("weights", "tz.Weights records", self.weights)
        if not all(isinstance(each, Weights) for each in weights):
            raise invalid("weights", "tz.Weights records", weights)
        object.__setattr__(self, "arguments", FrozenMap(self.arguments))
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "stems", stems)

    def resolve_builder(self) -> Callable[..., Any]:
        """Return the function that builds the network, imported if it was given by name."""
        if callable(self.builder):
            return self.builder
        return pkgutil.resolve_name(self.builder)

    def published_weights(self, name: str) -> Weights | None:
        """Return the published weights called `name`, or None."""
        return next((weights for weights in self.weights if weights.name == name), None)


def check_strides(stem: Any, output_stride: Any) -> None:
    """Raise unless both have a form that some backbone could take; looks at no network."""
    check_choice("stem", stem, STEMS)
    if output_stride is not None and not _is_power_of_two(output_stride):
        raise invalid("output_stride", "None or a power of two: 1, 2, 4, 8 or 16", output_stride)


def _is_power_of_two(value: Any) -> bool:
    number = whole(value)
    return number is not None and number > 0 and number & (number - 1) == 0
