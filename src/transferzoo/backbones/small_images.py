"""Residual networks for 32×32 images, trained from scratch: ResNet-20 to 56 and Wide ResNets."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def small_resnet(depth: int, *, input_shape: tuple[int, int, int]) -> keras.Model:
    """Build the residual network that its authors used on CIFAR-10.

    Three groups of blocks with 16, 32 and 64 channels, each block two 3×3 convolutions; the first blocks of
    the second and third group halve the map. A shortcut that meets more channels is filled up with zeros
    (the paper's option A), so it has no parameters.

    Parameters
    ----------
    depth : int
        Layers with weights, the classifier counted: 6n + 2, such as 20, 32, 44 or 56.
    input_shape : tuple of 3 ints
        Height, width and channels.

    Returns
    -------
    keras.Model
        ``(batch, height, width, channels)`` to ``(batch, height / 4, width / 4, 64)``.

    References
    ----------
    He, Zhang, Ren, Sun (2016), "Deep Residual Learning for Image Recognition", CVPR, section 4.2.

    Examples
    --------
    >>> small_resnet(20, input_shape=(32, 32, 3)).output_shape
    (None, 8, 8, 64)
    """
    images = keras.Input(input_shape, name="images")
    x = _activated(_convolution(images, 16, 1, "stem_conv"), "stem")
    for group, filters in enumerate((16, 32, 64), start=1):
        for block in range((depth - 2) // 6):
            name = f"group{group}_block{block + 1}"
            stride = 2 if group > 1 and block == 0 else 1
            shortcut = _without_parameters(x, filters, f"{name}_shortcut") if stride == 2 else x
            x = _activated(_convolution(x, filters, stride, f"{name}_conv1"), f"{name}_1")
            x = _normalised(_convolution(x, filters, 1, f"{name}_conv2"), f"{name}_2_bn")
            x = layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))
    return keras.Model(images, x, name=f"resnet{depth}")


def wide_resnet(depth: int, width: int, *, input_shape: tuple[int, int, int]) -> keras.Model:
    """Build a Wide ResNet: few residual blocks with many channels, normalised before each convolution.

    Parameters
    ----------
    depth : int
        Layers with weights, as the paper counts them: 6n + 4, such as 16 or 28.
    width : int
        How many times more channels than 16, 32 and 64.
    input_shape : tuple of 3 ints
        Height, width and channels.

    Returns
    -------
    keras.Model
        ``(batch, height, width, channels)`` to ``(batch, height / 4, width / 4, 64 * width)``.

    References
    ----------
    Zagoruyko, Komodakis (2016), "Wide Residual Networks", BMVC, arXiv:1605.07146, section 2, without
    dropout.

    Examples
    --------
    >>> wide_resnet(16, 4, input_shape=(32, 32, 3)).output_shape
    (None, 8, 8, 256)
    """
    images = keras.Input(input_shape, name="images")
    x = _convolution(images, 16, 1, "stem_conv")
    for group, filters in enumerate((16 * width, 32 * width, 64 * width), start=1):
        for block in range((depth - 4) // 6):
            name = f"group{group}_block{block + 1}"
            stride = 2 if group > 1 and block == 0 else 1
            before = _activated(x, f"{name}_1")
            # where the channels change, the shortcut too begins after normalisation
            shortcut = x
            if block == 0:
                shortcut = _convolution(before, filters, stride, f"{name}_shortcut", size=1)
            x = _convolution(before, filters, stride, f"{name}_conv1")
            x = _convolution(_activated(x, f"{name}_2"), filters, 1, f"{name}_conv2")
            x = layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.Model(images, _activated(x, "out"), name=f"wide_resnet{depth}_{width}")


def _convolution(x: Any, filters: int, stride: int, name: str, *, size: int = 3) -> Any:
    convolution = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    return convolution(x)


def _normalised(x: Any, name: str) -> Any:
    # Keras' own momentum of 0.99 needs hundreds of steps, and an epoch of a small dataset has few
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _activated(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_relu")(_normalised(x, f"{name}_bn"))


def _without_parameters(x: Any, filters: int, name: str) -> Any:
    """Take every second cell of a map, and add channels of zeros."""
    x = layers.AveragePooling2D(1, strides=2, name=f"{name}_every_second")(x)
    # no built-in layer adds channels, but one adds rows
    x = layers.Permute((3, 1, 2), name=f"{name}_channels_first")(x)
    added = filters - x.shape[1]
    x = layers.ZeroPadding2D(((added // 2, added - added // 2), (0, 0)), name=f"{name}_zeros")(x)
    return layers.Permute((2, 3, 1), name=f"{name}_channels_last")(x)
