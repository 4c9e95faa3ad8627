"""Likely label errors, by confident learning on the backbone's features."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.data.dataset import Dataset
from transferzoo.data.splits import SPLITS, stratified_indices
from transferzoo.errors import InvalidInputError, listing
from transferzoo.features.extract import frozen_features, split_at_features
from transferzoo.features.store import FeatureStore
from transferzoo.ground.progress import Progress
from transferzoo.linting.findings import Finding, found, points
from transferzoo.models.construct import construct, head_of

logger = logging.getLogger("transferzoo")

FOLDS = 5
# inverse strengths of the penalty on standardised features, until the log loss rises; and the least deviation
# as a share of the largest
C_VALUES, FLOOR = (0.003, 0.03, 0.3), 0.1
# of a probability that is the same for all classes: an image's own class is below this
OWN = 0.1
# the solver's time grows with the images
MOST = 20_000
# of all labels: as they are, CIFAR-10 has 0.3 % named, most of them hard images
FEW_ERRORS = 0.005
SHOWN = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """Images that look like another class than they are labelled as, the most certain first.

    Parameters
    ----------
    index : ndarray of int64, shape (k,)
        Places among the images that were looked at.
    looks_like : ndarray of int64, shape (k,)
        The class that each looks like.
    probability : ndarray of float64, shape (k,)
        Of that class, by a classifier that was trained without the image.
    """

    index: NDArray[np.int64]
    looks_like: NDArray[np.int64]
    probability: NDArray[np.float64]


def label_errors(features: NDArray[Any], y: NDArray[np.int64], groups: Any = None) -> LabelErrors:
    """Find labels that are likely wrong, by confident learning.

    A logistic regression on standardised features predicts each image in a fold that it was not trained on.
    The mean probability that the images of a class get for it is the class's threshold. An image counts where
    another class reaches its threshold and is the more probable one, and the class that it is labelled as
    gets less than a tenth of an even share: at an even share many images of hard classes would count too.

    Parameters
    ----------
    features : array of float, shape (n, channels)
    y : ndarray of int64, shape (n,)
    groups : array, shape (n,), optional
        Images that belong together, and are in one fold.

    References
    ----------
    Northcutt, Jiang, Chuang (2021), Confident learning, J. Artif. Intell. Res. 70, 1373-1411,
    arXiv:1911.00068. Northcutt, Athalye, Mueller (2021), arXiv:2103.14749.
    """
    probability = _out_of_fold(features, y, groups)
    rows, classes = np.arange(len(y)), probability.shape[1]
    own = probability[rows, y]
    threshold = np.array([own[y == label].mean() for label in range(classes)])
    others = np.where(probability >= threshold, probability, 0.0)
    others[rows, y] = 0.0
    looks_like = others.argmax(axis=1)
    likely = others[rows, looks_like]
    index = np.flatnonzero((likely > own) & (own < OWN / classes))
    index = index[np.argsort(own[index] - likely[index], kind="stable")]
    return LabelErrors(index=index, looks_like=looks_like[index], probability=likely[index])


def _out_of_fold(features: NDArray[Any], y: NDArray[np.int64], groups: Any) -> NDArray[np.float64]:
    """Return the class probabilities of each image, by a classifier that was trained without it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

    x = np.asarray(features, np.float32)
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.maximum(deviation, FLOOR * max(float(deviation.max()), 1e-12))
    folds = (StratifiedKFold if groups is None else StratifiedGroupKFold)(FOLDS, shuffle=True, random_state=0)
    best, least = np.empty(0), np.inf
    for c in C_VALUES:
        probability = cross_val_predict(
            LogisticRegression(C=c, max_iter=200), x, y, groups=groups, cv=folds, method="predict_proba"
        ).astype(np.float64)
        loss = -np.log(np.maximum(probability[np.arange(len(y)), y], 1e-12)).mean()
        if loss >= least:
            break
        best, least = probability, loss
    return best


def feature_findings(run: Any, progress: Progress | None = None) -> Iterator[Finding]:
    """Yield what the features of a run's backbone say about its labels; they are computed, and kept on disk.

    Raises
    ------
    InvalidInputError
        For a model without a backbone and a head of its own.
    """
    data: Dataset = run.data
    model = run.model
    if model is None:
        model = construct(run.build_plan, seed=run.seed, progress=progress)
    if head_of(model) is None:
        raise InvalidInputError(
            "features=True needs a model that tz.build made, or a backbone's name.", argument="features"
        )
    few = int(np.sum(list(data.class_counts.values()), axis=0).min())
    if few < FOLDS:
        return
    extractor, store = split_at_features(model)[0], FeatureStore()
    parts, places = [], []
    for split, (x, y) in data.splits.items():
        chosen = np.arange(len(y))
        others = sum(len(labels) for name, (_, labels) in data.splits.items() if name != "train")
        room = max(MOST - others, data.num_classes)
        if split == "train" and len(y) > room:
            chosen = stratified_indices(y, room, run.seed)
        if len(chosen):
            features = frozen_features(extractor, x[chosen], store=store, progress=progress)
            parts.append(features.reshape(len(features), -1))
            places += [(split, int(place)) for place in chosen]
    labels = np.array([data.splits[split][1][place] for split, place in places])
    groups = None
    if data.groups:
        groups = np.array([data.groups[split][place] for split, place in places])
    errors = label_errors(np.concatenate(parts), labels, groups)
    if not len(errors.index):
        return
    named = "; ".join(
        f"{data.name_of(*places[index])} is labelled {listing([data.class_names[labels[index]]])} and looks "
        f"like {listing([data.class_names[other]])} ({probability:.0%})"
        for index, other, probability in zip(
            errors.index[:SHOWN], errors.looks_like, errors.probability, strict=False
        )
    )
    by_split = {split: sum(places[index][0] == split for index in errors.index) for split in SPLITS}
    counted = ", ".join(f"{count:,} {split}" for split, count in by_split.items() if count)
    share = len(errors.index) / len(labels)
    yield found(
        "TZ217",
        "warning" if share >= FEW_ERRORS else "note",
        what=f"{len(errors.index):,} of {len(labels):,} images ({points(share)}; "
        f"{counted}) look like another class than they are labelled as: {named}.",
        why="A wrong label pulls training the wrong way, and in the test set it counts right answers as "
        "wrong: ten common test sets have 3.3 % of them on average (Northcutt et al. 2021, "
        "arXiv:2103.14749).",
        how="Look at these images, and correct or remove them. "
        + ("Some" if share >= FEW_ERRORS else "Most")
        + " will be right: hard images look wrong too.",
        subject=run.name,
        images=(places[index] for index in errors.index),
    )
