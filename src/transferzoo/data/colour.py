"""RandAugment's changes of colour, over many images at once, as Pillow makes them of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# ITU-R 601, as Pillow turns colours to grey
GREY = np.array([0.299, 0.587, 0.114], "float32")
SMOOTHER = 13.0


def _each(values: np.ndarray) -> np.ndarray:
    return values.astype("float32")[:, None, None, None]


def _grey(images: np.ndarray) -> np.ndarray:
    return (images @ GREY)[..., None] if images.shape[-1] == 3 else images.mean(axis=-1, keepdims=True)


def _towards(plain: np.ndarray, images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Blend: 0 gives `plain`, 1 the images, more than 1 goes beyond them."""
    return np.clip(plain + _each(factor) * (images - plain), 0, 255)


def brightness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Scale all pixels."""
    return np.clip(images * _each(factor), 0, 255)


def contrast(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Spread pixels about the image's mean grey."""
    return _towards(_grey(images).mean(axis=(1, 2), keepdims=True), images, factor)


def saturation(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Move away from grey, or towards it."""
    return _towards(_grey(images), images, factor)


def sharpness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Move away from a blurred image, or towards it; the outermost pixels stay."""
    blurred = images.copy()
    if min(images.shape[1:3]) > 2:
        height, width = images.shape[1:3]
        inner = 4 * images[:, 1:-1, 1:-1]
        for line in range(3):
            for column in range(3):
                inner = inner + images[:, line : line + height - 2, column : column + width - 2]
        blurred[:, 1:-1, 1:-1] = inner / SMOOTHER
    return _towards(blurred, images, factor)


def posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Keep the highest `bits` of the 8 of a pixel."""
    step = _each(2.0 ** (8 - bits))
    return np.floor(images / step) * step


def solarize(images: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Invert pixels from a threshold on."""
    return np.where(images >= _each(threshold), 255 - images, images)


def autocontrast(images: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Stretch each channel to 0 to 255; one of a single value stays."""
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    span = high - low
    flat = span < 1e-3
    return np.where(flat, images, (images - low) * (255 / np.where(flat, 1, span)))


def equalize(images: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Give each channel an even histogram, as `PIL.ImageOps.equalize` does."""
    count, height, width, channels = images.shape
    levels = np.rint(images).astype("int64")
    levels += (np.arange(count)[:, None] * channels + np.arange(channels))[:, None, None, :] * 256
    histogram = np.bincount(levels.reshape(-1), minlength=count * channels * 256).reshape(-1, 256)
    top = 255 - np.argmax(histogram[:, ::-1] > 0, axis=1)
    step = (height * width - np.take_along_axis(histogram, top[:, None], axis=1)) // 255
    before = np.cumsum(histogram, axis=1) - histogram
    table = np.where(step > 0, np.minimum((before + step // 2) // np.maximum(step, 1), 255), np.arange(256))
    return table.astype("float32").reshape(-1).take(levels)


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "solarize": solarize,
    "saturation": saturation,
    "posterize": posterize,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
}
"""Images float32 ``(n, height, width, channels)``, 0 to 255, and a strength for each; changed copies."""
