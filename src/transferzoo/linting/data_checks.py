"""What is doubtful about a dataset, whatever is trained on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from transferzoo.data.dataset import Dataset
from transferzoo.data.splits import SPLITS
from transferzoo.errors import listing
from transferzoo.linting.duplicates import image_hashes, near_copies
from transferzoo.linting.findings import Finding, found, points
from transferzoo.linting.image_checks import image_findings, places_of

# above this share of the test images, what they add to the accuracy is no longer a detail
MANY_COPIES = 0.05
# so many validation images in the test set are no accident
SELECTING_SHARE = 0.1
IMBALANCED, VERY_IMBALANCED = 3, 10
FEW_TEST_IMAGES, VERY_FEW_TEST_IMAGES = 400, 100
CHANCE, NOTABLE = 1e-3, 0.05
# of one class: fewer training or test images than this say next to nothing of it
SCARCE_TRAIN, SCARCE_TEST = 5, 3
# widths of intervals are given for this accuracy
AT = 0.9

WITHOUT_COPIES = (
    "Remove copies before splitting: keep = np.unique(x, axis=0, return_index=True)[1]; then "
    "tz.from_arrays(x[keep], y[keep])."
)

_KEPT: dict[tuple[str, ...], tuple[Finding, ...]] = {}
_MOST_KEPT = 16


def data_findings(data: Dataset) -> tuple[Finding, ...]:
    """Return what is found in the images and labels; looked for once a process and content."""
    beside = [*data.files.values(), *data.origins.values()]
    files = "\0".join(str(name) for names in beside for name in names)
    key = (data.name, data.content_hash(), files)
    if key not in _KEPT:
        while len(_KEPT) >= _MOST_KEPT:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = (*_copies(data), *_labels(data), *image_findings(data))
    return _KEPT[key]


def half_width(n: int, accuracy: float = AT) -> float:
    """Return half the width of an accuracy's 95 % interval on `n` images."""
    return float(1.96 * np.sqrt(accuracy * (1 - accuracy) / n))


def _copies(data: Dataset) -> Iterator[Finding]:
    hashes = {split: image_hashes(x) for split, (x, _) in data.splits.items()}
    trained_on = np.concatenate([hashes["train"], hashes["validation"]])
    selecting = np.isin(hashes["validation"], hashes["test"])
    in_test = np.isin(hashes["test"], trained_on)
    if selecting.mean() >= SELECTING_SHARE:
        yield found(
            "TZ203",
            "error",
            what=f"{selecting.sum():,} of {len(selecting):,} validation images are test images.",
            why="Epochs and settings are chosen on the validation images, so the test accuracy is chosen "
            "too, and comes out too high (Cawley and Talbot 2010, JMLR 11, 2079-2107).",
            how="Leave x_validation out of tz.from_arrays(…): validation images are then split off the "
            "training images.",
        )
    elif in_test.any():
        share = float(in_test.mean())
        yield found(
            "TZ201",
            "error" if share >= MANY_COPIES else "warning",
            what=f"{in_test.sum():,} of {len(in_test):,} test images ({points(share)}) are among the "
            "training or validation images, pixel for pixel; the first is "
            f"{data.name_of('test', int(np.flatnonzero(in_test)[0]))}.",
            why="A model may know these by heart; the accuracy on them says nothing about new images. "
            f"It can be too high by up to {points(share)}.",
            how=f"{WITHOUT_COPIES} result.without_copies has the accuracy on the others.",
            images=[("test", int(place)) for place in np.flatnonzero(in_test)],
        )
    repeated = np.isin(hashes["validation"], hashes["train"])
    if repeated.any():
        share = float(repeated.mean())
        yield found(
            "TZ210",
            "error" if share >= MANY_COPIES else "warning",
            what=f"{repeated.sum():,} of {len(repeated):,} validation images ({points(share)}) are among the "
            "training images, pixel for pixel.",
            why="The validation accuracy is too high, and overfitting does not show in it.",
            how=WITHOUT_COPIES,
        )
    yield from _contradictions(data, np.concatenate([hashes[split] for split in SPLITS]))
    if selecting.mean() < SELECTING_SHARE:
        yield from _near_copies(data, in_test)


def _contradictions(data: Dataset, hashes: np.ndarray) -> Iterator[Finding]:
    y = np.concatenate([labels for _, labels in data.splits.values()])
    _, image, count = np.unique(hashes, return_inverse=True, return_counts=True)
    lowest, highest = np.full(len(count), data.num_classes), np.full(len(count), -1)
    np.minimum.at(lowest, image, y)
    np.maximum.at(highest, image, y)
    torn = np.flatnonzero(lowest < highest)
    if not len(torn):
        return
    first = torn[0]
    names = [data.class_names[lowest[first]], data.class_names[highest[first]]]
    images = int(count[torn].sum())
    places = places_of(data)
    together = np.argsort(image, kind="stable")
    yield found(
        "TZ204",
        "error" if images / len(y) >= MANY_COPIES else "warning",
        what=f"{len(torn):,} images occur more than once with different labels ({images:,} copies in all); "
        f"one is labelled {listing(names)}.",
        why="No model can be right about all copies, and training pulls both ways.",
        how="Look at these images, and correct or remove them.",
        images=[places[index] for index in together if lowest[image[index]] < highest[image[index]]],
    )


def _near_copies(data: Dataset, in_test: np.ndarray) -> Iterator[Finding]:
    others = np.flatnonzero(~in_test)
    if not len(others):
        return
    labels = np.concatenate([data.y_train, data.y_validation])
    near = near_copies(data.x_test[others], (data.x_train, data.x_validation), mirrored=data.flip_safe)
    if not len(near.pairs):
        return
    query, partner = others[near.pairs[:, 0]], near.pairs[:, 1]
    share = len(query) / near.looked_at
    differing = int((data.y_test[query] != labels[partner]).sum())
    place = int(partner[0])
    where = data.name_of("train", place) if place < len(data.x_train) else ""
    where = where or data.name_of("validation", place - len(data.x_train))
    of = f"{near.looked_at:,}" if near.looked_at == len(data.x_test) else f"the {near.looked_at:,} looked at"
    yield found(
        "TZ202",
        "error" if share >= MANY_COPIES else "warning",
        what=f"{len(query):,} of {of} test images ({points(share)}) are near-copies of training or "
        f"validation images, {differing:,} of them with another label; the closest are "
        f"{data.name_of('test', int(query[0]))} and {where}. {near.mirrored:,} of them are mirrored. "
        "Strongly cropped copies are not counted.",
        why="Such images are easier than new ones. CIFAR-10 and CIFAR-100 are known to have 3.25 % and 10 % "
        "of them (Barz and Denzler 2020, arXiv:1902.00423); with these replaced, the error of a ResNeXt-29 "
        "rose from 3.56 to 3.95 % and from 18.4 to 20.8 % (the leaderboard of ciFAIR).",
        how="Compare models on the same test images, as tz.compare does. result.without_copies has the "
        "accuracy on the other test images, which is nearer to that on new ones.",
        images=[("test", int(place)) for place in np.sort(query)],
    )


def _labels(data: Dataset) -> Iterator[Finding]:
    counts = data.class_counts
    for split in SPLITS:
        if np.count_nonzero(counts[split]) == 1:
            only = data.class_names[int(counts[split].argmax())]
            yield found(
                "TZ209",
                "error",
                what=f"All {len(data.splits[split][1]):,} {split} images are labelled {listing([only])}.",
                why="A model that always gives this answer is perfect here.",
                how="Give labels of all classes: tz.from_arrays(x, y) splits them in equal shares.",
            )
    for split in ("validation", "test"):
        absent = [data.class_names[label] for label in np.flatnonzero(counts[split] == 0)]
        if absent and np.count_nonzero(counts[split]) > 1:
            yield found(
                "TZ206",
                "warning",
                what=f"{len(absent)} of {data.num_classes} classes have no {split} image: {listing(absent)}.",
                why="Nothing is measured for these, and averages over the classes leave them out.",
                how="Split in the proportions of the classes: tz.from_arrays(x, y) does.",
            )
    yield from _imbalance(data)
    yield from _scarce(data)
    yield from _few_test_images(data)
    yield from _uneven(data)


def _imbalance(data: Dataset) -> Iterator[Finding]:
    train, test = data.class_counts["train"], data.class_counts["test"]
    most, least = int(train.argmax()), int(train.argmin())
    ratio = train[most] / max(1, train[least])
    if ratio < IMBALANCED:
        return
    split, measured = ("test", test) if test.any() else ("training", train)
    baseline = measured[most] / measured.sum()
    yield found(
        "TZ205",
        "warning" if ratio >= VERY_IMBALANCED else "note",
        what=f"{listing([data.class_names[most]])} has {train[most]:,} training images and "
        f"{listing([data.class_names[least]])} {train[least]:,}, {ratio:.1f} times fewer. "
        f"Always answering {listing([data.class_names[most]])} gives a {split} accuracy of "
        f"{points(baseline)}.",
        why="Accuracy alone hides how the rare classes fare (Brodersen et al. 2010, The balanced accuracy "
        "and its posterior distribution, ICPR).",
        how="Read result.metrics['balanced_accuracy'] and the figures of each class beside the accuracy; "
        "class_weight='balanced' lets all classes weigh the same in training.",
    )


def _scarce(data: Dataset) -> Iterator[Finding]:
    train, test = data.class_counts["train"], data.class_counts["test"]
    scarce = np.flatnonzero((train < SCARCE_TRAIN) | ((test > 0) & (test < SCARCE_TEST)))
    if not len(scarce):
        return
    shown = listing(
        [f"{data.class_names[label]} ({train[label]} training, {test[label]} test)" for label in scarce], 5
    )
    yield found(
        "TZ211",
        "warning",
        what=f"{len(scarce)} of {data.num_classes} classes have fewer than {SCARCE_TRAIN} training images or "
        f"{SCARCE_TEST} test images: {shown}.",
        why="Of so few test images one more or less changes the figure of the class by a third or more, and "
        "a class is hardly learned from so few training images.",
        how="Add images of these classes, merge them with others, leave them out (class_names=), or use "
        "data.folds(5), which tests each image once.",
    )


def _few_test_images(data: Dataset) -> Iterator[Finding]:
    images = len(data.y_test)
    if not 0 < images < FEW_TEST_IMAGES:
        return
    per_class = data.class_counts["test"]
    few = int(per_class[per_class > 0].min())
    yield found(
        "TZ207",
        "warning" if images < VERY_FEW_TEST_IMAGES else "note",
        what=f"{images:,} test images, {few} in the smallest class: the 95 % interval of an accuracy of "
        f"90 % is ± {100 * half_width(images):.1f} points, and ± {100 * min(0.5, half_width(few)):.0f} "
        "for that class.",
        why="Smaller differences than that cannot be distinguished from chance.",
        how="Set more images aside, as in tz.from_arrays(…, test=0.3), or keep all that the dataset has.",
    )


def _uneven(data: Dataset) -> Iterator[Finding]:
    from scipy.stats import chi2_contingency

    for split in ("validation", "test"):
        table: Any = np.stack([data.class_counts["train"], data.class_counts[split]])
        present = np.flatnonzero(table.sum(axis=0))
        table = table[:, present]
        if table.shape[1] < 2 or np.count_nonzero(table[1]) < 2:
            continue
        p_value = chi2_contingency(table).pvalue
        shares = table / table.sum(axis=1, keepdims=True)
        apart = 0.5 * float(np.abs(shares[0] - shares[1]).sum())
        if p_value >= CHANCE or apart < NOTABLE:
            continue
        worst = int(np.abs(shares[0] - shares[1]).argmax())
        name = data.class_names[present[worst]]
        yield found(
            "TZ208",
            "warning",
            what=f"The shares of the classes differ between training and {split} images by more than chance "
            f"(χ² test, p = {p_value:.1g}): {listing([name])} is {points(shares[0][worst])} of the training "
            f"and {points(shares[1][worst])} of the {split} images.",
            why="A split that is not drawn at random, or not in the proportions of the classes, measures "
            "another problem than the one trained for.",
            how="Put the images together and split them in the proportions of the classes: "
            "tz.from_arrays(x, y, seed=0).",
        )
