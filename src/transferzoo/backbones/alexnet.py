"""AlexNet's convolutional part, with the paper's widths, in built-in Keras layers."""

from __future__ import annotations

import keras
from keras import layers

SMALL_IMAGE = 63


def alexnet(input_shape: tuple[int, int, int] = (224, 224, 3), name: str = "alexnet") -> keras.Model:
    """Build the five convolutions of AlexNet.

    Two things differ from the paper. One tower instead of two (the split served the memory of two GPUs;
    its author dropped it in 2014). No local response normalisation, which Keras has no layer for and
    which Simonyan and Zisserman (2015, table 3, A against A-LRN) found of no use. Below 63 pixels the
    first convolution moves by 1 pixel instead of 4, as else nothing would be left of the image.

    Parameters
    ----------
    input_shape : tuple of 3 ints, default (224, 224, 3)
        Height, width and channels; sides of at least 32.
    name : str, default "alexnet"
        The model's name.

    Returns
    -------
    keras.Model
        From images, float32 ``(batch, height, width, 3)``, to features ``(batch, h, w, 256)``:
        6×6 at 224×224, 2×2 at 32×32.

    References
    ----------
    Krizhevsky, Sutskever, Hinton (2012), "ImageNet Classification with Deep Convolutional Neural
    Networks", NeurIPS 25. Krizhevsky (2014), arXiv:1404.5997.

    Examples
    --------
    >>> alexnet((224, 224, 3)).output_shape
    (None, 6, 6, 256)
    """
    stride = 4 if min(input_shape[:2]) >= SMALL_IMAGE else 1

    def convolution(x: keras.KerasTensor, filters: int, size: int, title: str) -> keras.KerasTensor:
        return layers.Conv2D(
            filters, size, padding="same", activation="relu", kernel_initializer="he_normal", name=title
        )(x)

    images = keras.Input(input_shape, name="images")
    x = layers.ZeroPadding2D(2, name="conv1_pad")(images)
    x = layers.Conv2D(
        96, 11, strides=stride, activation="relu", kernel_initializer="he_normal", name="conv1"
    )(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = convolution(x, 256, 5, "conv2")
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    x = convolution(x, 384, 3, "conv3")
    x = convolution(x, 384, 3, "conv4")
    x = convolution(x, 256, 3, "conv5")
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    return keras.Model(images, x, name=name)
