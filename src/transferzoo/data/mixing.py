"""Mixup and CutMix: two samples made one, image and one-hot label alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Partners:
    """Whom each sample of an epoch is mixed with, and how; all arrays have a value a sample."""

    index: np.ndarray
    """The other sample."""
    share: np.ndarray
    """What the sample itself keeps, in [0, 1]."""
    cut: np.ndarray
    """Whether the other fills a rectangle (CutMix) instead of shining through (mixup)."""
    centre: np.ndarray
    """The rectangle's, as fractions of height and width; shape (n, 2)."""

    def of(self, samples: np.ndarray) -> Partners:
        """Return those of some samples."""
        return Partners(
            index=self.index[samples],
            share=self.share[samples],
            cut=self.cut[samples],
            centre=self.centre[samples],
        )

    def mix(
        self, x: np.ndarray, y: np.ndarray, other_x: np.ndarray, other_y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mixed images and labels, float32; none of the arrays given is written to."""
        share = self.share.astype("float32")
        blended = np.where(self.cut, np.float32(1), share)[:, None, None, None]
        images = (blended * x + (1 - blended) * other_x).astype("float32", copy=False)
        height, width = x.shape[1:3]
        for one in np.flatnonzero(self.cut):
            side = np.sqrt(1 - share[one]) * np.array([height, width])
            middle = self.centre[one] * (height, width)
            top, left = np.maximum(np.rint(middle - side / 2), 0).astype(int)
            bottom, right = np.minimum(np.rint(middle + side / 2), (height, width)).astype(int)
            images[one, top:bottom, left:right] = other_x[one, top:bottom, left:right]
            # A rectangle that reaches over the edge is smaller than was drawn.
            share[one] = 1 - max(bottom - top, 0) * max(right - left, 0) / (height * width)
        kept = share[:, None]
        return images, (kept * y + (1 - kept) * other_y).astype("float32", copy=False)


def draw_partners(count: int, mixup: float, cutmix: float, rng: np.random.Generator) -> Partners:
    """Draw for all `count` samples of an epoch; each sample is the other one of exactly one."""
    cut = np.full(count, bool(cutmix))
    if mixup and cutmix:
        cut = rng.random(count) < 0.5
    return Partners(
        index=rng.permutation(count),
        share=np.where(
            cut,
            rng.beta(cutmix, cutmix, count) if cutmix else 1.0,
            rng.beta(mixup, mixup, count) if mixup else 1.0,
        ),
        cut=cut,
        centre=rng.random((count, 2)),
    )
