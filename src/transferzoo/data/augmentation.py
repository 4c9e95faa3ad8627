"""Random changes to training images: drawn for each sample, and made alike on every backend."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace

import numpy as np

from transferzoo.data.colour import CHANGES
from transferzoo.data.warping import FILLS, crop, warp
from transferzoo.errors import invalid
from transferzoo.ground.arguments import LARGEST_SIDE, check_flag

# Not keras.layers.RandAugment: it draws one operation for a whole batch, from a generator's state.
# These are the paper's 14, with their reach at the highest magnitude.
GEOMETRIC = {
    "rotate": 30.0,
    "shear_x": 0.3,
    "shear_y": 0.3,
    "translate_x": 150 / 331,
    "translate_y": 150 / 331,
}
OPERATIONS = ("identity", *GEOMETRIC, *CHANGES)
HIGHEST_MAGNITUDE = 30
# more leave nothing of an image, and each draws two numbers an image
MOST_OPERATIONS = 100
ENHANCEMENT = 0.9
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 1 / 0.3)
# Columns of the table of draws; after these, two for each operation of RandAugment: which one, and its sign.
ANGLE, ZOOM_X, ZOOM_Y, SHIFT_X, SHIFT_Y, MIRROR, ERASE, ERASE_AREA, ERASE_RATIO, ERASE_X, ERASE_Y = range(11)
OPERATION_START = 11


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
    shift : int or float, default 0
        Whole pixels, or a share of the side below 1, rounded to whole pixels; uniform in [-shift, shift]
        along both sides, which is a crop from a padded image.
    fill : {"nearest", "constant", "reflect"}, default "nearest"
        What stands outside the image; ``"constant"`` is black.
    rand_augment : int, default 0
        Operations per image, drawn from RandAugment's 14. Those that move pixels are made one with rotation,
        zoom and shift, so that an image is resampled once; those that change colours follow, in their order.
    magnitude : float, default 9
        Strength of these operations, 0 to 30, as in the paper.
    erase : float, default 0
        Probability that a rectangle of 2 to 33 % of the image is filled with the image's mean colour.
    mixup : float, default 0
        Parameter of the Beta distribution of the share that an image and its label keep; the rest is another
        sample's. 0 mixes nothing; 0.2 is usual.
    cutmix : float, default 0
        The same, the other sample filling a rectangle; 1 is usual. With both, half of the samples have each.

    Raises
    ------
    InvalidInputError
        If a number is outside its range.

    References
    ----------
    Cubuk et al. (2020), RandAugment, arXiv:1909.13719; magnitudes as in torchvision's. Zhong et al. (2020),
    Random erasing, arXiv:1708.04896. Zhang et al. (2018), mixup, arXiv:1710.09412. Yun et al. (2019), CutMix,
    arXiv:1905.04899.

    Examples
    --------
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> changed = Augmentation(horizontal_flip=True, shift=4)(images, np.random.default_rng(0))
    >>> changed.shape, changed.dtype
    ((2, 32, 32, 3), dtype('float32'))
    """

    horizontal_flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0
    fill: str = "nearest"
    rand_augment: int = 0
    magnitude: float = 9.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for argument in (
            "rotation",
            "zoom",
            "shift",
            "rand_augment",
            "magnitude",
            "erase",
            "mixup",
            "cutmix",
        ):
            value = getattr(self, argument)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise invalid(argument, "a number", value)
        object.__setattr__(self, "horizontal_flip", check_flag("horizontal_flip", self.horizontal_flip))
        if not 0 <= self.rotation <= 180:
            raise invalid("rotation", "degrees from 0 to 180", self.rotation)
        if not 0 <= self.zoom < 1:
            raise invalid("zoom", "a number from 0 to below 1", self.zoom)
        if not 0 <= self.shift <= LARGEST_SIDE or (self.shift > 1 and self.shift % 1):
            raise invalid(
                "shift", "a whole number of pixels, 0 or more, or a share of the side below 1", self.shift
            )
        if not isinstance(self.fill, str) or self.fill not in FILLS:
            raise invalid("fill", "'nearest', 'constant' or 'reflect'", self.fill, candidates=FILLS)
        if not 0 <= self.rand_augment <= MOST_OPERATIONS or self.rand_augment % 1:
            raise invalid(
                "rand_augment", f"a whole number of operations from 0 to {MOST_OPERATIONS}", self.rand_augment
            )
        if not 0 <= self.magnitude <= HIGHEST_MAGNITUDE:
            raise invalid("magnitude", f"a number from 0 to {HIGHEST_MAGNITUDE}", self.magnitude)
        if not 0 <= self.erase <= 1:
            raise invalid("erase", "a probability from 0 to 1", self.erase)
        for argument in ("mixup", "cutmix"):
            if not 0 <= getattr(self, argument) < np.inf:
                raise invalid(argument, "a number of 0 or more", getattr(self, argument))

    def for_flip_safe(self, flip_safe: bool) -> Augmentation:
        """Return it without flips where a mirrored image means something else."""
        return self if flip_safe else replace(self, horizontal_flip=False)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw all that is left to chance, a row a sample; row ``i`` does not depend on `count`.

        Returns
        -------
        ndarray of float64, shape (count, 11 + 2 rand_augment)
            Uniform in [0, 1).
        """
        return rng.random((count, OPERATION_START + 2 * int(self.rand_augment)))

    def apply(self, images: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return changed copies, float32 ``(n, height, width, channels)``; `draws` holds a row for each."""
        if self.rotation or self.zoom or self.rand_augment:
            changed = warp(images, self._maps(draws, *images.shape[1:3]), self.fill)
        else:
            changed = crop(images, self._mirrored(draws), *self._shifts(draws, *images.shape[1:3]), self.fill)
        for operation, sign in self._operations(draws):
            self._recolour(changed, operation, sign)
        if self.erase:
            self._erase(changed, draws)
        return changed

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw for each of `images`, uint8 or float32, and `apply`."""
        return self.apply(images, self.draw(len(images), rng))

    def transforms(self, count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Draw where each pixel of `count` images comes from.

        Returns
        -------
        ndarray of float32, shape (count, 6)
            Rows ``a0 a1 a2 b0 b1 b2``: output pixel ``(x, y)`` is read from
            ``(a0 x + a1 y + a2, b0 x + b1 y + b2)``.
        """
        return self._maps(self.draw(count, rng), height, width)

    def _mirrored(self, draws: np.ndarray) -> np.ndarray:
        return self.horizontal_flip & (draws[:, MIRROR] < 0.5)

    def _shifts(self, draws: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        share = 0 < self.shift < 1
        reach = np.array([round(self.shift * side) if share else int(self.shift) for side in (width, height)])
        places = np.floor(draws[:, [SHIFT_X, SHIFT_Y]] * (2 * reach + 1)).astype("int64") - reach
        return places[:, 0], places[:, 1]

    def _operations(self, draws: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, a pair for each operation of RandAugment, its number and its sign for each image."""
        table = draws[:, OPERATION_START:]
        which = (table[:, 0::2] * len(OPERATIONS)).astype("int64")
        signs = np.where(table[:, 1::2] < 0.5, -1.0, 1.0)
        return list(zip(which.T, signs.T, strict=True))

    def _maps(self, draws: np.ndarray, height: int, width: int) -> np.ndarray:
        angle = np.deg2rad(self.rotation * (2 * draws[:, ANGLE] - 1))
        zoom_x, zoom_y = 1 + self.zoom * (2 * draws[:, [ZOOM_X, ZOOM_Y]].T - 1)
        mirror = np.where(self._mirrored(draws), -1.0, 1.0)
        # About the centre, which stays; what happens later to an image is a factor further right.
        maps = np.zeros((len(draws), 3, 3))
        maps[:, 0, 0], maps[:, 0, 1] = np.cos(angle) * zoom_x * mirror, -np.sin(angle) * zoom_y
        maps[:, 1, 0], maps[:, 1, 1] = np.sin(angle) * zoom_x * mirror, np.cos(angle) * zoom_y
        maps[:, 0, 2], maps[:, 1, 2] = self._shifts(draws, height, width)
        maps[:, 2, 2] = 1
        for operation, sign in self._operations(draws):
            maps = maps @ self._operation_maps(operation, sign, height, width)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        linear = maps[:, :2, :2]
        offset = centre - linear @ centre + maps[:, :2, 2]
        return np.concatenate([linear, offset[:, :, None]], axis=2).reshape(-1, 6).astype("float32")

    def _operation_maps(self, operation: np.ndarray, sign: np.ndarray, height: int, width: int) -> np.ndarray:
        strength = sign * self.magnitude / HIGHEST_MAGNITUDE
        reach = {
            name: np.where(operation == OPERATIONS.index(name), strength * GEOMETRIC[name], 0)
            for name in GEOMETRIC
        }
        angle = np.deg2rad(reach["rotate"])
        maps = np.zeros((len(operation), 3, 3))
        maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
        maps[:, 0, 1] = reach["shear_x"] - np.sin(angle)
        maps[:, 1, 0] = reach["shear_y"] + np.sin(angle)
        maps[:, 0, 2], maps[:, 1, 2] = reach["translate_x"] * width, reach["translate_y"] * height
        maps[:, 2, 2] = 1
        return maps

    def _recolour(self, images: np.ndarray, operation: np.ndarray, sign: np.ndarray) -> None:
        share = self.magnitude / HIGHEST_MAGNITUDE
        strengths = {"solarize": 255 * (1 - share), "posterize": 8 - round(4 * share)}
        for name, change in CHANGES.items():
            chosen = np.flatnonzero(operation == OPERATIONS.index(name))
            if len(chosen):
                strength = strengths.get(name, 1 + sign[chosen] * ENHANCEMENT * share)
                images[chosen] = change(images[chosen], np.broadcast_to(strength, len(chosen)))

    def _erase(self, images: np.ndarray, draws: np.ndarray) -> None:
        _, height, width, _ = images.shape
        low, high = ERASED_AREA
        area = height * width * (low + (high - low) * draws[:, ERASE_AREA])
        ratio = np.exp(np.log(ERASED_RATIO[0]) + np.ptp(np.log(ERASED_RATIO)) * draws[:, ERASE_RATIO])
        tall = np.clip(np.rint(np.sqrt(area * ratio)), 1, height).astype("int64")
        wide = np.clip(np.rint(np.sqrt(area / ratio)), 1, width).astype("int64")
        top = (draws[:, ERASE_Y] * (height - tall + 1)).astype("int64")
        left = (draws[:, ERASE_X] * (width - wide + 1)).astype("int64")
        for one in np.flatnonzero(draws[:, ERASE] < self.erase):
            rectangle = images[one, top[one] : top[one] + tall[one], left[one] : left[one] + wide[one]]
            rectangle[...] = images[one].mean(axis=(0, 1))


ARTICLE = Augmentation(horizontal_flip=True, rotation=2.0, zoom=0.1)
"""The article's: rotation up to 2°, flips, zoom up to 0.1, edges repeated."""

LIGHT = Augmentation(horizontal_flip=True, shift=0.125, fill="reflect")
"""Flips and crops from an image padded by an eighth of its side: 4 of 32 pixels, as CIFAR work has used
since He et al. (2016), and 28 of 224."""

STRONG = Augmentation(
    horizontal_flip=True, shift=0.125, fill="reflect", rand_augment=2, magnitude=9.0, erase=0.25
)
"""Light, two operations of RandAugment, and a rectangle erased from a quarter of the images."""

AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "article": ARTICLE,
    "light": LIGHT,
    "strong": STRONG,
}
