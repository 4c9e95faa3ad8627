"""How images are shared out among the splits: by seed, in the proportions of their classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from transferzoo.data.groups import grouped_indices, groups_of_classes
from transferzoo.errors import invalid
from transferzoo.ground.arguments import whole

SPLITS = ("train", "validation", "test")
SHARE = "a fraction above 0 and below 1, or a whole number of images of 1 or more"
WHY_NEEDED = {
    "validation": "Choosing the best epoch needs validation images; pass a small share such as 0.1.",
    "test": "Pass a small share such as 0.1, or 0 for no test images; tz.fit needs none.",
}


def check_share(argument: str, value: Any) -> int | float:
    """Return a split's share, a fraction or a count, or raise with why it cannot be nothing.

    The test split alone may be: of 0 images.
    """
    if isinstance(value, bool | np.bool_):
        raise invalid(argument, SHARE, value)
    if (count := whole(value)) is not None:
        if count < 1 and (count, argument) != (0, "test"):
            raise invalid(argument, SHARE, value, remedy=WHY_NEEDED[argument])
        return count
    if not isinstance(value, float | np.floating) or not 0 < value < 1:
        raise invalid(argument, SHARE, value, remedy=WHY_NEEDED[argument] if value == 0.0 else "")
    return float(value)


def split_sizes(
    y: np.ndarray,
    class_names: tuple[str, ...],
    shares: Mapping[str, int | float],
    *,
    groups: np.ndarray | None = None,
    argument: str = "y_train",
    noun: str = "labels",
) -> dict[str, int]:
    """Return how many images each share takes, one after the other, or raise where classes would run out."""
    classes = len(class_names)
    counts = np.bincount(y, minlength=classes)
    splits = [split for split in SPLITS if split == "train" or split in shares]
    by_class = {} if groups is None else groups_of_classes(y, groups, class_names)
    if few := {name: count for name, count in by_class.items() if count < len(splits)}:
        raise invalid(
            "groups",
            f"at least {len(splits)} groups of each class, one for each split to be made "
            f"({', '.join(splits)})",
            few,
            remedy="Add images of other groups, leave these classes out, or give the splits yourself.",
        )
    scarce = {class_names[label]: int(counts[label]) for label in np.flatnonzero(counts < len(splits))}
    if scarce:
        raise invalid(
            argument,
            f"{noun} with at least {len(splits)} images of each class, one for each split to be made "
            f"({', '.join(splits)})",
            scarce,
            remedy="Add images of what is scarce, or leave it out.",
        )
    sizes: dict[str, int] = {}
    left = len(y)
    for position, (split, share) in enumerate(shares.items()):
        count = share if isinstance(share, int) else max(1, math.floor(share * left + 0.5))
        most = left - classes * (len(shares) - position)
        if not classes <= count <= most:
            raise invalid(
                split,
                f"from {classes} to {most} images of the {left} there are, so that each split has every "
                f"one of the {classes} classes",
                share,
                remedy="" if isinstance(share, int) else f"That is {count} of {left} images.",
            )
        sizes[split] = count
        left -= count
    return sizes


def split_indices(
    y: np.ndarray, sizes: Mapping[str, int], seed: int, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return sorted indices into `y` for each split of `sizes`, taken in turn, and for what is left.

    With `groups` the sizes are met as nearly as whole groups allow.
    """
    # Each split has a stream of its own: giving a test set does not move the validation images' seed.
    streams = dict(zip(SPLITS, np.random.SeedSequence(seed).spawn(len(SPLITS)), strict=True))
    left = np.arange(len(y))
    parts: dict[str, np.ndarray] = {}
    for position, (split, count) in enumerate(sizes.items()):
        spare = len(sizes) - position
        if groups is None:
            chosen = stratified_indices(y[left], count, streams[split], spare=spare)
        else:
            chosen = grouped_indices(y[left], groups[left], count, streams[split], spare=spare)
        parts[split] = left[chosen]
        left = np.delete(left, chosen)
    parts["train"] = left
    return parts


def stratified_indices(
    y: np.ndarray, count: int, seed: int | np.random.SeedSequence, *, spare: int = 0
) -> np.ndarray:
    """Return sorted indices of `count` labels in the proportions of `y`, at least one of each class.

    Of every class `spare` labels are left behind. scikit-learn's ``train_test_split`` refuses to leave fewer
    than one of each class behind, and may take none of a rare one; otherwise this does the same.
    """
    rng = np.random.default_rng(seed)
    _, sizes = np.unique(y, return_counts=True)
    members = np.split(np.argsort(y, kind="stable"), np.cumsum(sizes)[:-1])
    # Drawn before the counts are settled: a larger count then adds to the images of a smaller one.
    shuffled = [rng.permutation(member) for member in members]
    order = rng.permutation(len(sizes))
    quota = sizes * (count / len(y))
    taken = np.clip(np.floor(quota + 1e-9).astype(np.int64), 1, sizes - spare)
    while (missing := count - int(taken.sum())) != 0:
        step = 1 if missing > 0 else -1
        movable = taken < sizes - spare if step > 0 else taken > 1
        gap = np.where(movable, (quota - taken) * step, -np.inf)
        # Rounding hides float noise, so that a tie is a tie and `order` breaks it.
        taken[order[np.argmax(np.round(gap[order], 9))]] += step
    return np.sort(np.concatenate([who[:many] for who, many in zip(shuffled, taken, strict=True)]))


def fold_indices(
    y: np.ndarray, folds: int, seed: int, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield the sorted indices of each fold, in the proportions of the classes, and of whole groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    for _, held_out in kind(folds, shuffle=True, random_state=seed).split(y, y, groups):
        yield np.sort(held_out)


def subset_count(split: str, share: Any, y: np.ndarray) -> int:
    """Return how many of the labels `y` a share of None, a count or a fraction keeps, or raise."""
    if share is None:
        return len(y)
    if not len(y):
        raise invalid(split, "None, as the dataset has no such images", share)
    present = len(np.unique(y))
    accepted = f"a whole number of images from {present} (one for each class) to {len(y)} (all there are)"
    if isinstance(share, float | np.floating):
        count = math.floor(share * len(y) + 0.5) if 0 < share <= 1 else 0
        if count < present:
            raise invalid(split, f"{accepted}, or a fraction above 0 and up to 1 that makes as many", share)
        return count
    wanted = whole(share)
    if wanted is None:
        raise invalid(split, f"{accepted}, a fraction above 0 and up to 1, or None", share)
    if not present <= wanted <= len(y):
        raise invalid(split, accepted, share)
    return wanted
