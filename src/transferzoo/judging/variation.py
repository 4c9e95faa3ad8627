"""How a mean over seeds and test images varies, and how many of either would settle a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Beyond these an answer would be of no use to anyone.
MOST_SEEDS = 1_000
MOST_IMAGES = 10**9


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Where the variance of a mean comes from: images, seeds and what is left, seeds crossed with images.

    Parameters
    ----------
    images : int
        Test images, ``n``.
    seeds : tuple of int
        Runs of each model: of one whose accuracy it is, or of two whose difference it is.
    image : float
        Variance over the images of the per-image mean, or difference of means, as it was seen.
    run : tuple of float
        Variance over each model's runs of their accuracy, as it was seen; 0 for one run, where it is unknown.
    residual : tuple of float
        Residual mean square of each model's table of runs and images; 0 for one run.
    per_group : float, default 1
        Images for each independent unit: more than 1 where images come in groups.
    """

    images: int
    seeds: tuple[int, ...]
    image: float
    run: tuple[float, ...]
    residual: tuple[float, ...]
    per_group: float = 1.0

    @property
    def seed(self) -> tuple[float, ...]:
        """Variance of one run's accuracy that its seed alone makes, for each model.

        What is negative for one model counts against the other: bounded at 0 each by itself, they would be
        too large together.
        """
        signed = [run - left / self.images for run, left in zip(self.run, self.residual, strict=True)]
        total = sum(each / seeds for each, seeds in zip(signed, self.seeds, strict=True))
        positive = [max(each, 0.0) for each in signed]
        whole = sum(each / seeds for each, seeds in zip(positive, self.seeds, strict=True))
        return tuple(each * total / whole if total > 0 else 0.0 for each in positive)

    @property
    def seed_part(self) -> float:
        """The seeds' share of `variance`."""
        return sum(each / seeds for each, seeds in zip(self.seed, self.seeds, strict=True))

    @property
    def variance(self) -> float:
        """Variance of the mean: the image part, which holds the residual once, and the seed part."""
        return self.image / self.images + self.seed_part

    @property
    def degrees(self) -> float:
        """Degrees of freedom of `variance`, Satterthwaite's.

        Where the seeds of two models show no spread of their own, those of the images alone. One model's
        runs may agree by chance, so that its seeds count all the same.
        """
        if len(self.seeds) > 1 and self.seed_part == 0:
            return max(self.images / self.per_group - 1, 1)
        pieces = (self.image / self.images) ** 2 / max(self.images / self.per_group - 1, 1)
        pieces += sum(
            (run / seeds) ** 2 / (seeds - 1)
            for run, seeds in zip(self.run, self.seeds, strict=True)
            if seeds > 1
        )
        return max(self.variance**2 / pieces, 1.0) if pieces > 0 else math.inf

    def of_others(self, images: ArrayLike, seeds: ArrayLike | None = None) -> tuple[NDArray, NDArray]:
        """Return variance and degrees of freedom for other numbers of images, or of seeds of each model."""
        images = np.asarray(images, dtype=np.float64)
        counts = [np.asarray(own if seeds is None else seeds, dtype=np.float64) for own in self.seeds]
        left_now = sum(left / own for left, own in zip(self.residual, self.seeds, strict=True))
        left_then = sum(left / count for left, count in zip(self.residual, counts, strict=True))
        image = (max(self.image - left_now, 0.0) + left_then) / images
        variance, pieces = image, image**2 / np.maximum(images / self.per_group - 1, 1)
        for own, seed, left, count in zip(self.seeds, self.seed, self.residual, counts, strict=True):
            if own > 1:
                variance = variance + seed / count
                pieces = pieces + ((seed + left / images) / count) ** 2 / (count - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            degrees = np.where(pieces > 0, np.maximum(variance**2 / pieces, 1.0), np.inf)
        return np.asarray(variance), degrees


def variation(models: Sequence[NDArray[np.bool_]], groups: NDArray | None = None) -> Variation:
    """Return the variance components of one mean, or of the difference of two.

    Each model is a table of shape ``(seeds, n)`` on the same images: a two-way analysis of variance without
    replication, seeds and images both random. Of images in groups, the groups are the independent units: with
    the sum S_g of a group's deviations from the mean, the mean's variance is ``n⁻² Σ S_g² · G / (G - 1)``
    (the cluster-robust variance), if that is more than the images by themselves would give.
    """
    images = models[0].shape[1]
    columns = [table.mean(axis=0) for table in models]
    run, residual = [], []
    for table, column in zip(models, columns, strict=True):
        seeds, mean, rows = len(table), table.mean(), table.mean(axis=1)
        if seeds == 1:
            run.append(0.0)
            residual.append(0.0)
            continue
        # of entries that are 0 or 1 the total sum of squares is that of a coin
        squares = seeds * images * mean * (1 - mean)
        squares -= images * np.sum((rows - mean) ** 2) + seeds * np.sum((column - mean) ** 2)
        run.append(float(rows.var(ddof=1)))
        residual.append(float(max(squares, 0.0)) / ((seeds - 1) * (images - 1)))
    image = columns[0] if len(models) == 1 else columns[0] - columns[1]
    spread, per_group = float(image.var(ddof=1)), 1.0
    if groups is not None:
        _, number = np.unique(groups, return_inverse=True)
        sums = np.bincount(number, weights=image - image.mean())
        count = len(sums)
        spread = max(spread, float((sums**2).sum()) / images * count / (count - 1))
        per_group = images / count
    return Variation(
        images=images,
        seeds=tuple(len(table) for table in models),
        image=spread,
        per_group=per_group,
        run=tuple(run),
        residual=tuple(residual),
    )


def images_for_pairs(size: float, discordant: float, *, alpha: float, power: float) -> int | None:
    """Return the images on which McNemar's test finds a difference of `size` with `power`.

    Connor (1987): ``n = k² / d²`` with ``k = z(1 - alpha/2) √q + z(power) √(q - d²)``.
    """
    if size == 0:
        return None
    size = abs(size)
    reach = normal_quantile(1 - alpha / 2) * math.sqrt(discordant)
    reach += normal_quantile(power) * math.sqrt(max(discordant - size**2, 0.0))
    return math.ceil((reach / size) ** 2)


def images_for_runs(size: float, found: Variation, *, alpha: float, power: float) -> int | None:
    """Return the images on which as many runs as there were settle `size`; None if no number would."""
    if size == 0:
        return None
    # few seeds and many images have fewer degrees of freedom than few of both, so it is no plain slope
    grid = np.unique(np.geomspace(2, MOST_IMAGES, 400).round())
    settled = np.flatnonzero(_settles(size, *found.of_others(grid), alpha=alpha, power=power))
    if not len(settled):
        return None
    low, high = int(grid[max(settled[0] - 1, 0)]), int(grid[settled[0]])
    while high - low > 1:
        middle = (low + high) // 2
        if _settles(size, *found.of_others(middle), alpha=alpha, power=power):
            high = middle
        else:
            low = middle
    return high


def seeds_for_runs(size: float, found: Variation, *, alpha: float, power: float) -> int | None:
    """Return the runs of each model that settle `size` on the same images; None if no number would."""
    if size == 0 or min(found.seeds) == 1:
        return None
    counts = np.arange(2, MOST_SEEDS + 1)
    settled = _settles(size, *found.of_others(found.images, counts), alpha=alpha, power=power)
    return int(counts[settled.argmax()]) if settled.any() else None


def _settles(size: float, variance: NDArray, degrees: NDArray, *, alpha: float, power: float) -> NDArray:
    """Return whether a t test at `alpha` finds `size` with `power`."""
    reach = t_quantile(1 - alpha / 2, degrees) + t_quantile(power, degrees)
    return np.asarray(reach * np.sqrt(variance) <= abs(size))


def normal_quantile(share: float) -> float:
    """Return the normal quantile."""
    from scipy.special import ndtri

    return float(ndtri(share))


def t_quantile(share: float, degrees: ArrayLike) -> NDArray[np.float64]:
    """Return Student's t quantile; of infinitely many degrees of freedom, the normal one."""
    from scipy.special import ndtri, stdtrit

    degrees = np.asarray(degrees, dtype=np.float64)
    finite = np.where(np.isinf(degrees), 1.0, degrees)
    return np.where(np.isinf(degrees), ndtri(share), stdtrit(finite, share))


def t_p_value(ratio: float, degrees: float) -> float:
    """Return the two-sided p-value of a t statistic."""
    from scipy.special import ndtr, stdtr

    tail = ndtr(-abs(ratio)) if math.isinf(degrees) else stdtr(degrees, -abs(ratio))
    return float(2 * tail)
