"""Random changes to training images: one affine transform a sample, seeded, the same on every backend."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transferzoo.errors import invalid

FILLS = ("constant", "nearest", "reflect")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a training image. Evaluation data never sees it.

    Parameters
    ----------
    horizontal_flip : bool, default False
        Mirror half of the images.
    rotation : float, default 0
        Degrees; uniform in [-rotation, rotation].
    zoom : float, default 0
        Height and width are each scaled by a factor uniform in [1 - zoom, 1 + zoom]; below 1.
    shift : int, default 0
        Whole pixels; uniform in [-shift, shift] along both sides, which is a crop from a padded image.
    fill : {"nearest", "constant", "reflect"}, default "nearest"
        What stands outside the image; ``"constant"`` is black.

    Examples
    --------
    >>> Augmentation(horizontal_flip=True, shift=4).transforms(2, 32, 32, np.random.default_rng(0)).shape
    (2, 8)
    """

    horizontal_flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shift: int = 0
    fill: str = "nearest"

    def __post_init__(self) -> None:
        for argument in ("rotation", "zoom", "shift"):
            value = getattr(self, argument)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise invalid(argument, "a number", value)
        if not 0 <= self.rotation <= 180:
            raise invalid("rotation", "degrees from 0 to 180", self.rotation)
        if not 0 <= self.zoom < 1:
            raise invalid("zoom", "a number from 0 to below 1", self.zoom)
        if self.shift < 0 or int(self.shift) != self.shift:
            raise invalid("shift", "a whole number of pixels, 0 or more", self.shift)
        if self.fill not in FILLS:
            raise invalid("fill", "'nearest', 'constant' or 'reflect'", self.fill, candidates=FILLS)

    def for_mirror_safe(self, mirror_safe: bool) -> Augmentation:
        """Return it without flips where a mirrored image means something else."""
        return self if mirror_safe else replace(self, horizontal_flip=False)

    def transforms(self, count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Draw what happens to each of `count` images.

        Returns
        -------
        ndarray of float32, shape (count, 8)
            Rows ``a0 a1 a2 b0 b1 b2 0 0``: output pixel ``(x, y)`` is read from
            ``(a0 x + a1 y + a2, b0 x + b1 y + b2)``, as `keras.ops.image.affine_transform` takes them.
        """
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, count))
        zoom_x, zoom_y = rng.uniform(1 - self.zoom, 1 + self.zoom, (2, count))
        shift_x, shift_y = rng.integers(-self.shift, self.shift, (2, count), endpoint=True)
        mirror = np.where(self.horizontal_flip & (rng.random(count) < 0.5), -1.0, 1.0)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        a0, a1 = np.cos(angle) * zoom_x * mirror, -np.sin(angle) * zoom_y
        b0, b1 = np.sin(angle) * zoom_x * mirror, np.cos(angle) * zoom_y
        a2 = centre_x - a0 * centre_x - a1 * centre_y + shift_x
        b2 = centre_y - b0 * centre_x - b1 * centre_y + shift_y
        zeros = np.zeros(count)
        return np.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1).astype("float32")

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> Any:
        """Return changed copies of `images`, float32 ``(n, height, width, channels)``, 0 to 255."""
        from keras import ops

        rows = self.transforms(len(images), images.shape[1], images.shape[2], rng)
        changed = ops.image.affine_transform(
            images.astype("float32"),
            rows,
            interpolation="bilinear",
            fill_mode=self.fill,
            data_format="channels_last",
        )
        return ops.convert_to_numpy(changed)


ARTICLE = Augmentation(horizontal_flip=True, rotation=2.0, zoom=0.1)
"""The article's: rotation up to 2°, flips, zoom up to 0.1, edges repeated."""

LIGHT = Augmentation(horizontal_flip=True, shift=4, fill="reflect")
"""Flips and crops from an image padded by 4 pixels, as CIFAR work has used since He et al. (2016)."""

AUGMENTATIONS: dict[str, Augmentation | None] = {"none": None, "article": ARTICLE, "light": LIGHT}
