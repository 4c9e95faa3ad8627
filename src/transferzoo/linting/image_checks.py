"""What pixels, files and names give away, without any network: shortcuts, drift, empty and grouped images."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.data.dataset import Dataset
from transferzoo.data.splits import SPLITS
from transferzoo.errors import listing
from transferzoo.linting.findings import Finding, found, points

BLOCK = 500
# pixels along a side that brightness and contrast are taken from; blur needs all of them
SIDE = 64
# area under the curve of brightness that tells one class from the rest: 0.5 tells nothing, 1 all
TELLS, FEW = 0.85, 20
# of the accuracy that is left above the most frequent class, what format and size of the files gain
FILES_GAIN, ERRORS = 0.1, 3.0
DRIFT, CHANCE = 0.15, 1e-3
# CleanVision's bounds, of 255
DARK, LIGHT = 0.22 * 255, 0.95 * 255
ONE_COLOUR = 3.0
# variance of the Laplacian, of images of 64 pixels and more
BLURRED, SHARP_SIDE = 15.0, 64
# a file that is enlarged so many times is smooth whatever it shows; beyond the second, it is named
SOFT, ENLARGED = 1.5, 2.0
MANY = 0.01
# groups that names show: at least so many, of so many images on average
GROUPS, PER_GROUP = 5, 2.0


@dataclass(frozen=True, eq=False)
class Looks:
    """Numbers of each image.

    Parameters
    ----------
    brightness, contrast : ndarray of float64, shape (n,)
        Mean and standard deviation of the gray image, 0 to 255.
    high, low : ndarray of float64, shape (n,)
        Its 99th and 5th percentile.
    detail : ndarray of float64, shape (n,)
        Variance of its Laplacian; NaN for images of less than 64 pixels along a side.
    """

    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    detail: NDArray[np.float64]


def looks_of(images: NDArray[Any]) -> Looks:
    """Return the numbers of images, uint8 or float ``(n, height, width, channels)``; a block at a time."""
    count, height, width = images.shape[:3]
    step = max(1, -(-max(height, width) // SIDE))
    sharp = min(height, width) >= SHARP_SIDE
    columns: list[NDArray[np.float64]] = []
    for start in range(0, count, BLOCK):
        block = images[start : start + BLOCK]
        gray = block[:, ::step, ::step].mean(axis=-1, dtype=np.float32).reshape(len(block), -1)
        low, high = np.percentile(gray, (5, 99), axis=1)
        detail = _detail(block) if sharp else np.full(len(block), np.nan)
        columns.append(np.stack([gray.mean(axis=1), gray.std(axis=1), high, low, detail]))
    table = np.concatenate(columns, axis=1) if columns else np.empty((5, 0))
    return Looks(*table.astype(np.float64))


def _detail(block: NDArray[Any]) -> NDArray[np.float64]:
    gray = block.mean(axis=-1, dtype=np.float32)
    laplacian = -4 * gray[:, 1:-1, 1:-1]
    laplacian += gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    return np.asarray(laplacian.reshape(len(block), -1).var(axis=1))


def image_findings(data: Dataset) -> Iterator[Finding]:
    """Yield what pixels, files and names give away."""
    looks = {split: looks_of(x) for split, (x, _) in data.splits.items()}
    yield from _brightness(data, looks["train"])
    yield from _files(data)
    yield from _drift(data, looks)
    times = {split: _times(data, split) for split in SPLITS}
    # pixels on another scale are TZ102's
    if looks["train"].high.max() >= DARK:
        yield from _empty(data, looks, times)
    yield from _enlarged(data, times)
    yield from _grouped(data)


def places_of(data: Dataset) -> list[tuple[str, int]]:
    """Return split and place of each image, split by split."""
    return [(split, place) for split in SPLITS for place in range(len(data.splits[split][1]))]


def tells_apart(values: NDArray[np.float64], of_class: NDArray[np.bool_]) -> float:
    """Return the area under the curve with which one number tells a class from the rest, 0.5 to 1."""
    from scipy.stats import rankdata

    inside, outside = int(of_class.sum()), int((~of_class).sum())
    ranks = rankdata(values)[of_class].sum()
    area = (ranks - inside * (inside + 1) / 2) / (inside * outside)
    return float(max(area, 1 - area))


def _brightness(data: Dataset, looks: Looks) -> Iterator[Finding]:
    told = []
    for label, name in enumerate(data.class_names):
        of_class = data.y_train == label
        if min(of_class.sum(), (~of_class).sum()) < FEW:
            continue
        area = tells_apart(looks.brightness, of_class)
        if area >= TELLS:
            medians = (np.median(looks.brightness[each]) for each in (of_class, ~of_class))
            told.append((area, name, *medians))
    if not told:
        return
    told.sort(reverse=True)
    shown = "; ".join(
        f"{listing([name])} (median {inside:.0f}, of the others {outside:.0f})"
        for _, name, inside, outside in told[:3]
    )
    yield found(
        "TZ212",
        "warning",
        what=f"Brightness alone tells {len(told)} of {data.num_classes} classes from the others: {shown}.",
        why="A network may learn the brightness instead of the thing: it is then right on these images, and "
        "wrong on others (Geirhos et al. 2020, Shortcut learning in deep neural networks, arXiv:2004.07780).",
        how="Look at these images (tz.plots.image_grid). If they were taken or processed in another way than "
        "the others, add images of all classes taken in the same way.",
    )


def _origins(data: Dataset, split: str) -> tuple[list[str], NDArray[np.float64]]:
    """Return the format, and width and height, of each file of a split."""
    kinds, sizes = [], []
    for origin in data.origins[split]:
        kind, _, size = str(origin).rpartition(" ")
        width, _, height = size.partition("×")
        kinds.append(kind or "unknown")
        sizes.append((float(width or 0), float(height or 0)))
    return kinds, np.array(sizes, np.float64).reshape(-1, 2)


def _files(data: Dataset) -> Iterator[Finding]:
    if not data.origins:
        return
    from sklearn.tree import DecisionTreeClassifier

    tables = {}
    names = sorted({str(origin).rpartition(" ")[0] for each in data.origins.values() for origin in each})
    for split in SPLITS:
        kinds, sizes = _origins(data, split)
        one_hot = np.array([[kind == name for name in names] for kind in kinds], float)
        proportions = sizes[:, :1] / np.maximum(sizes[:, 1:], 1)
        tables[split] = np.hstack([one_hot.reshape(len(kinds), len(names)), sizes, proportions])
    held = np.vstack([tables["validation"], tables["test"]])
    y_held = np.concatenate([data.y_validation, data.y_test])
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(tables["train"], data.y_train)
    reached = float((tree.predict(held) == y_held).mean())
    most = int(np.bincount(data.y_train).argmax())
    common = float((y_held == most).mean())
    error = np.sqrt(max(common * (1 - common), 1e-9) / len(y_held))
    if reached - common <= max(ERRORS * error, FILES_GAIN * (1 - common)):
        return
    columns = [*(f"format {name}" for name in names), "width", "height", "proportions"]
    used = [columns[place] for place in np.argsort(-tree.feature_importances_)][:2]
    used = [name for name in used if tree.feature_importances_[columns.index(name)] > 0.1]
    yield found(
        "TZ213",
        "warning",
        what=f"Without looking at any pixel, {points(reached)} of the held-out images get the right class "
        f"from the files' {' and '.join(used)}; always answering {listing([data.class_names[most]])} gets "
        f"{points(common)}.",
        why="The classes come from different sources, and compression or resizing leaves marks that a "
        "network can learn instead of the thing.",
        how="Bring all images to one format and size before training, and test on images from one source.",
    )


def _drift(data: Dataset, looks: dict[str, Looks]) -> Iterator[Finding]:
    from scipy.stats import ks_2samp

    told = []
    for split in ("validation", "test"):
        if len(data.splits[split][1]) < FEW:
            continue
        numbers = {word: (getattr(looks["train"], word), getattr(looks[split], word)) for word in
                   ("brightness", "contrast")}  # fmt: skip
        if data.origins:
            (kinds, sizes), (other_kinds, other_sizes) = _origins(data, "train"), _origins(data, split)
            numbers["file size in pixels"] = (sizes.prod(axis=1), other_sizes.prod(axis=1))
            for kind in sorted(set(kinds)):
                numbers[f"share of {kind} files"] = (
                    np.array([each == kind for each in kinds], float),
                    np.array([each == kind for each in other_kinds], float),
                )
        for word, (here, there) in numbers.items():
            test = ks_2samp(here, there)
            if test.statistic >= DRIFT and test.pvalue < CHANCE:
                typical = np.mean if word.startswith("share") else np.median
                told.append(
                    f"{word} of the {split} images ({typical(here):.3g} in training, {typical(there):.3g})"
                )
    if told:
        yield found(
            "TZ214",
            "warning",
            what=f"The splits differ by more than chance: {'; '.join(told[:4])}.",
            why="A split that is not drawn at random measures how well the model does on other images than "
            "it was trained for. That may be what you want; it is not what a random split measures.",
            how="Put the images together and split them at random, or say in what the test images differ.",
        )


def _times(data: Dataset, split: str) -> NDArray[np.float64]:
    """Return how many times larger each image is than its file along a side; NaN where no file is known."""
    images = data.splits[split][0]
    if not data.origins:
        return np.full(len(images), np.nan)
    _, sizes = _origins(data, split)
    height, width = images.shape[1:3]
    ratios = np.array([width, height]) / np.where(sizes > 0, sizes, np.nan)
    padded = data.reading is not None and data.reading.resize == "pad"
    return np.asarray(ratios.min(axis=1) if padded else ratios.max(axis=1))


def _enlarged(data: Dataset, by_split: dict[str, NDArray[np.float64]]) -> Iterator[Finding]:
    times = np.concatenate(list(by_split.values()))
    small = np.flatnonzero(times >= ENLARGED)
    if not len(small):
        return
    names = places_of(data)
    height, width = data.x_train.shape[1:3]
    share = len(small) / len(times)
    worst = small[np.argsort(-times[small], kind="stable")]
    split, place = names[int(worst[0])]
    file = str(data.origins[split][place]).rpartition(" ")[2]
    mixed = MANY < share <= 0.5
    yield found(
        "TZ218",
        "warning" if mixed else "note",
        what=f"{len(small):,} of {len(times):,} files ({points(share)}) are enlarged {ENLARGED:g} times or "
        f"more to {height}×{width}; the most {data.name_of(split, place)}, of {file}, "
        f"{times[worst[0]]:.1f} times.",
        why="Enlarged files are smooth. Where some are enlarged and others are not, a network may learn that "
        "instead of the thing; where all are, it computes more than there is to see.",
        how="Get larger files of the same things, or leave these out. If most files are small, read all of "
        "them at a smaller size: tz.from_directory(…, image_size=…).",
        images=[names[index] for index in worst] if share <= 0.5 else (),
    )


def _empty(
    data: Dataset, looks: dict[str, Looks], times: dict[str, NDArray[np.float64]]
) -> Iterator[Finding]:
    words = {
        "nearly black": lambda split: looks[split].high < DARK,
        "nearly white": lambda split: looks[split].low > LIGHT,
        "of one colour": lambda split: looks[split].contrast < ONE_COLOUR,
        "blurred": lambda split: (looks[split].detail < BLURRED) & ~(times[split] > SOFT),
    }
    counts, total = Counter[str](), 0
    first: dict[str, str] = {}
    named: list[tuple[str, int]] = []
    for split in SPLITS:
        total += len(looks[split].brightness)
        seen = np.zeros(len(looks[split].brightness), bool)
        for word, check in words.items():
            places = np.flatnonzero(check(split) & ~seen)
            seen[places] = True
            counts[word] += len(places)
            named += [(split, int(place)) for place in places]
            if len(places):
                first.setdefault(word, data.name_of(split, int(places[0])))
    told = [f"{counts[word]:,} {word}, the first {first[word]}" for word in words if counts[word]]
    if not told:
        return
    share = sum(counts.values()) / total
    yield found(
        "TZ215",
        "warning" if share > MANY else "note",
        what=f"{sum(counts.values()):,} of {total:,} images show little ({points(share)}): "
        f"{'; '.join(told)}.",
        why="Such images teach nothing, and a test that has them is unfair to every model.",
        how="Look at them, and leave out those that show nothing.",
        images=named if share <= 0.5 else (),
    )


def _grouped(data: Dataset) -> Iterator[Finding]:
    """Yield a finding where the names of the files begin alike in groups that splits divide."""
    if not data.files or data.groups:
        return
    splits: defaultdict[str, set[str]] = defaultdict(set)
    counts = Counter[str]()
    for split in SPLITS:
        for file in data.files[split]:
            group = _group_of(str(file))
            if group is None:
                return
            splits[group].add(split)
            counts[group] += 1
    several = [group for group, count in counts.items() if count > 1]
    divided = [group for group in several if len(splits[group]) > 1]
    if len(several) < GROUPS or len(divided) < GROUPS or sum(counts.values()) / len(counts) < PER_GROUP:
        return
    most = max(divided, key=lambda group: counts[group])
    yield found(
        "TZ216",
        "warning",
        what=f"The files' names fall into {len(counts):,} groups, and {len(divided):,} of them are in more "
        f"than one split; {counts[most]} images are called {listing([most])} and a number.",
        why="Frames of one video or photos of one patient are much alike. With some of them in training the "
        "test accuracy says too much about new ones (Roberts et al. 2017, Ecography 40, 913-929).",
        how="If images of one name belong together, keep them in one split: "
        r"tz.from_directory(…, groups=r'([^/]*?)[-_ ]?\d+\.\w+$').",
    )


def _group_of(file: str) -> str | None:
    """Return what a file's name begins with, before the number at its end; None where it has none."""
    stem = file.rpartition("/")[2].rpartition(".")[0]
    match = re.fullmatch(r"(.*?)[-_ .]?\d+", stem)
    return match[1] if match and match[1] and not match[1].isdigit() else None
