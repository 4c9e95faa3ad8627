"""`rank`: which backbones promise most for a dataset, from frozen features and without training one."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo import statistics
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.data.dataset import Dataset
from transferzoo.data.groups import groups_of_classes
from transferzoo.data.splits import fold_indices, stratified_indices
from transferzoo.errors import InvalidInputError, invalid, unknown_option
from transferzoo.evaluation import groups_to_count
from transferzoo.ground.arguments import check_count, check_flag, check_seed
from transferzoo.judging.evidence import logme
from transferzoo.judging.proportions import resampled_accuracies
from transferzoo.recipes.phase import STRENGTHS
from transferzoo.studies.candidates import (
    OPTIONS,
    Candidate,
    candidates_at_hand,
    check_candidate,
    fetch_weights,
    named_candidates,
)
from transferzoo.studies.ranking import RankedBackbone, Ranking

if TYPE_CHECKING:
    from transferzoo.features.store import FeatureStore
    from transferzoo.ground.progress import Progress

logger = logging.getLogger("transferzoo")

CONFIDENCE = 0.95
RESAMPLES = 10_000
# a standard deviation from ten is itself uncertain by a quarter, which is enough to read a score by
GROUPS = 10
HELD_BACK = 0.2
NEIGHBOURS = 20
FOLDS = 5
# with so many an accuracy of 80 % is known to ± 2.5 points, and four probes more add little
ENOUGH_VALIDATION = 1_000

_Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """A row before it is compared with the others."""

    known: Mapping[str, Any]
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def rank(
    backbones: Sequence[str] | Mapping[str, Any] | None = None,
    data: str | Path | Dataset = "cifar10",
    *,
    max_images: int = 5_000,
    folds: int | None = None,
    seed: int = 0,
    store: FeatureStore | None = None,
    cache: bool = True,
    verbose: bool | str | Progress = "auto",
    **options: Any,
) -> Ranking:
    """Rank backbones for a dataset by their frozen features, without training one.

    Three scores, from features that are computed once: the accuracy of a linear probe, a logistic
    regression on standardised features whose penalty is chosen on a fifth of its training images; that of
    the nearest training images by cosine similarity (20, fewer where classes are small); and LogME, on the
    training images alone (see `logme`). The accuracies are cross-validated: training and validation images
    are put together, and each is judged by a probe that was fitted to the other folds. Where there are
    1,000 validation images and more, those alone are judged. Beside them stand two figures that know nothing
    of the data: the published ImageNet accuracy, and the multiply-accumulates. Rows are in the order of the
    probe's accuracy. Test images are not looked at.

    Parameters
    ----------
    backbones : sequence of str, or mapping of str to str, keras.Model or dict, optional
        Backbones' names; or names of your own, and what they stand for, as `compare` takes them: a dict
        names the backbone under ``"model"``, beside options that are its alone. Left out, every registered
        backbone with published weights that are in the cache already; of those nothing is downloaded.
    data : str or Dataset, default "cifar10"
        A dataset's name, or a dataset.
    max_images : int, default 5,000
        Training images, and validation images, at most; where there are more, a stratified choice.
    folds : int, optional
        Folds of the cross-validation, in the proportions of the classes and of whole groups. 1: the
        validation images are judged. Left out: 5, or as many as the rarest class has images, where there
        are fewer than 1,000 validation images, and 1 where there are more, or a class is too rare.
    seed : int, default 0
        Of the split where `data` is a name, of the choice of images and the folds, and of random weights.
    store : FeatureStore, optional
        Where features are kept; by default the common one.
    cache : bool, default True
        Whether features are kept on disk at all.
    verbose : {"auto", True, False}, default "auto"
        Show progress on standard error: bars in a terminal or a notebook, lines elsewhere.
    **options
        `weights`, `image_size`, `preprocessing`, `stem`, `output_stride` and `stages`, as `build` takes
        them, for all backbones. As with `build`, weights of a named backbone are downloaded where they are
        missing, and a backbone that has no published ones gets random ones, with a warning.

    Returns
    -------
    Ranking
        ``print(ranking)`` shows the table; ``ranking.best`` names the first and those that are not
        distinguishable from it.

    Raises
    ------
    UnknownNameError, UnknownOptionError, InvalidInputError
        For a bad call; before anything slow starts.
    WeightsError, DownloadError
        If weights cannot be downloaded; the message says how to place them by hand.

    References
    ----------
    You, Liu, Wang, Long (2021), LogME: Practical Assessment of Pre-trained Models for Transfer Learning,
    ICML, arXiv:2102.11005. Kornblith, Shlens, Le (2019), Do Better ImageNet Models Transfer Better?, CVPR,
    arXiv:1805.08974, for the probe.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50)
    >>> sizes = {"small": 32, "large": 64}
    >>> models = {
    ...     name: {"model": "mobilenet_025", "image_size": size} for name, size in sizes.items()
    ... }
    >>> ranking = tz.rank(models, data, weights=None, cache=False)
    >>> len(ranking), ranking.folds, ranking.judged_images
    (2, 5, 150)
    """
    from transferzoo.data.catalog import resolve_data
    from transferzoo.features.store import FeatureStore
    from transferzoo.ground.progress import choose_progress
    from transferzoo.ground.quiet import load_keras

    load_keras()
    seed = check_seed(seed)
    max_images = check_count("max_images", max_images, 1)
    if folds is not None:
        folds = check_count("folds", folds, 1)
    cache = check_flag("cache", cache)
    progress = choose_progress(verbose)
    if store is not None and not isinstance(store, FeatureStore):
        raise invalid("store", "a tz.FeatureStore, or left out", store)
    for option in options:
        if option not in OPTIONS:
            raise unknown_option(
                "rank", option, (*OPTIONS, "max_images", "folds", "seed", "store", "cache", "verbose")
            )
    if backbones is None:
        candidates, left_out = candidates_at_hand(options)
    else:
        candidates, left_out = named_candidates(backbones, options), ()
    data = resolve_data(data, seed=seed, progress=progress)
    data = _few(data, max_images, seed)
    parts = _parts(data, folds, seed)
    for candidate in candidates:
        check_candidate(candidate, data)
    for candidate in candidates:
        fetch_weights(candidate, progress)
    kept = (store or FeatureStore()) if cache else False
    found = [_scores(each, data, parts, seed=seed, store=kept, progress=progress) for each in candidates]
    judged = np.sort(np.concatenate([part for _, part in parts]))
    groups = None
    if data.groups:
        groups = groups_to_count(np.concatenate([data.groups["train"], data.groups["validation"]])[judged])
    return Ranking(
        rows=_compared(found, groups, seed),
        data=data.name,
        train_images=len(data.x_train),
        validation_images=len(data.x_validation),
        folds=len(parts),
        seed=seed,
        left_out=left_out,
        groups=groups,
    )


def _parts(data: Dataset, folds: int | None, seed: int) -> list[tuple[_Indices, _Indices]]:
    """Return which images fit a probe and which it judges: places among training, then validation images."""
    first = len(data.y_train)
    held_out = [(np.arange(first), np.arange(first, first + len(data.y_validation)))]
    if folds == 1 or (folds is None and len(data.y_validation) >= ENOUGH_VALIDATION):
        return held_out
    y = np.concatenate([data.y_train, data.y_validation])
    groups = None
    counts = dict(zip(data.class_names, np.bincount(y, minlength=data.num_classes).tolist(), strict=True))
    if data.groups:
        groups = np.concatenate([data.groups["train"], data.groups["validation"]])
        counts = groups_of_classes(y, groups, data.class_names)
    fewest = min(count for count in counts.values() if count)
    if fewest >= max(3, folds or 0):
        judged = list(fold_indices(y, folds or min(FOLDS, fewest), seed, groups))
        parts = [(np.setdiff1d(np.arange(len(y)), part), part) for part in judged]
        # one image of a class is held back where the penalty is chosen; whole groups may leave too few
        if all(np.bincount(y[others])[np.unique(y)].min() >= 2 for others, _ in parts):
            return parts
    if folds is None:
        return held_out
    scarce = {name: count for name, count in counts.items() if count <= max(folds, 3)}
    raise invalid(
        "folds",
        f"at most the {'images' if groups is None else 'groups'} of each class, of which 3 are needed",
        folds,
        remedy=f"The rarest classes have {scarce or counts}; folds=1 judges the validation images alone.",
    )


def _logme(features: NDArray[Any], labels: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return LogME and its standard deviation, by the jackknife that leaves out a tenth of each class.

    Images drawn twice, as by a bootstrap, would look like evidence; and half of the images alone use their
    features less well. On CIFAR-10's features at 64 pixels, 500 or 1,000 images at a time, it gave 0.0081
    and 0.0066, where scores of other images deviated by 0.0083 and 0.0068.
    """
    from threadpoolctl import threadpool_limits

    groups = min(GROUPS, len(labels))
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    member = np.empty(len(labels), dtype=np.int64)
    member[shuffled] = np.arange(len(labels)) % groups
    # eigenvalues take many short steps: on cores that others use too, waking threads took 20 times as long
    with threadpool_limits(1, user_api="blas"):
        scores = [logme(features[member != each], labels[member != each]) for each in range(groups)]
        return logme(features, labels), float(np.std(scores) * math.sqrt(groups - 1))


def _probe(
    training: tuple[NDArray[Any], NDArray[np.int64]],
    judged: tuple[NDArray[Any], NDArray[np.int64]],
    classes: int,
    seed: int,
) -> tuple[NDArray[np.bool_], float]:
    """Return whether a linear probe is right on each judged image, and the strength of its penalty."""
    import keras

    from transferzoo.models.plan import seeded
    from transferzoo.training.linear_head import solve_head

    x, y = training
    held = stratified_indices(y, max(len(np.unique(y)), round(HELD_BACK * len(y))), seed, spare=1)
    kept = np.delete(np.arange(len(y)), held)
    with seeded(seed):
        head_model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(classes)])
    chosen = solve_head(head_model, (x[kept], y[kept]), (x[held], y[held]), STRENGTHS)["C"]
    solve_head(head_model, training, judged, [chosen])
    kernel, bias = head_model.layers[-1].get_weights()
    return (judged[0] @ kernel + bias).argmax(axis=1) == judged[1], chosen


def _nearest(
    training: tuple[NDArray[Any], NDArray[np.int64]], judged: tuple[NDArray[Any], NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Return whether the class of each judged image is that of its nearest training images."""
    from sklearn.neighbors import KNeighborsClassifier

    x, y = training
    # with more, the neighbours of a small class are mostly others
    count = max(1, min(NEIGHBOURS, int(np.bincount(y)[np.unique(y)].min())))
    classifier = KNeighborsClassifier(n_neighbors=count, metric="cosine", weights="distance")
    return np.asarray(classifier.fit(x, y).predict(judged[0]) == judged[1])


def _scores(
    candidate: Candidate,
    data: Dataset,
    parts: Sequence[tuple[_Indices, _Indices]],
    *,
    seed: int,
    store: FeatureStore | bool,
    progress: Progress,
) -> _Scores:
    from transferzoo.costs.measure import counted_macs
    from transferzoo.features.extract import extract_features
    from transferzoo.models.construct import backbone_of, build, model_settings

    clock = [time.perf_counter()]
    model = candidate.built
    if model is None:
        assert candidate.backbone is not None
        model = build(
            candidate.backbone,
            data.num_classes,
            input_shape=data.input_shape,
            seed=seed,
            **candidate.options,
        )
    train, validation = (
        _vectors(extract_features(model, images, store=store, progress=progress))
        for images in (data.x_train, data.x_validation)
    )
    clock.append(time.perf_counter())
    score, deviation = _logme(train, data.y_train, seed)
    clock.append(time.perf_counter())
    x, y = np.concatenate([train, validation]), np.concatenate([data.y_train, data.y_validation])
    correct, near = np.zeros(len(y), dtype=bool), np.zeros(len(y), dtype=bool)
    strengths = []
    for others, part in parts:
        correct[part], strength = _probe((x[others], y[others]), (x[part], y[part]), data.num_classes, seed)
        strengths.append(strength)
    clock.append(time.perf_counter())
    for others, part in parts:
        near[part] = _nearest((x[others], y[others]), (x[part], y[part]))
    judged = np.sort(np.concatenate([part for _, part in parts]))
    clock.append(time.perf_counter())
    settings, network = model_settings(model), backbone_of(model)
    assert network is not None
    height, width = network.input_shape[1:3]
    spent = dict(zip(("feature", "logme", "probe", "knn"), np.diff(clock).tolist(), strict=True))
    published = None
    if settings and settings.weights == "imagenet" and settings.backbone in BACKBONES:
        published = BACKBONES.get(settings.backbone).top1
    known = {
        "model": candidate.model,
        "backbone": settings.backbone if settings else None,
        "weights": settings.weights if settings else None,
        "image_size": (height, width),
        "channels": train.shape[1],
        "logme": score,
        "logme_deviation": deviation,
        "C": median_low(strengths),
        "knn": float(near[judged].mean()),
        "published_top1": published,
        "macs": counted_macs(model),
        **{f"{part}_seconds": seconds for part, seconds in spent.items()},
    }
    logger.info("%s: probe %.1f %%, LogME %.4f", candidate.model, 100 * correct[judged].mean(), score)
    return _Scores(known=known, correct=correct[judged])


def _resampled(
    correct: Sequence[NDArray[np.bool_]], groups: NDArray[Any] | None, seed: int
) -> NDArray[np.float64]:
    """Return each model's accuracy in each resample of the images, or of their groups."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return np.stack(resampled_accuracies(correct, RESAMPLES, rng))
    _, member = np.unique(groups, return_inverse=True)
    sizes = np.bincount(member)
    right = np.stack([np.bincount(member, each, len(sizes)) for each in correct])
    blocks = []
    for _ in range(RESAMPLES // 100):
        drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=100)
        blocks.append(right @ drawn.T / (drawn @ sizes))
    return np.concatenate(blocks, axis=1)


def _compared(found: Sequence[_Scores], groups: NDArray[Any] | None, seed: int) -> tuple[RankedBackbone, ...]:
    ranked = sorted(found, key=lambda each: -each.accuracy)
    drawn = _resampled([each.correct for each in ranked], groups, seed)
    first = drawn == drawn.max(axis=0)
    chances = (first / first.sum(axis=0)).mean(axis=1)
    behind = [
        statistics.difference(ranked[0].correct, each.correct, groups=groups, confidence=CONFIDENCE)
        for each in ranked[1:]
    ]
    corrected = statistics.holm([each.p_value for each in behind]).tolist() if behind else []
    comparisons = [(None, None), *zip(behind, corrected, strict=True)]
    rows = []
    for each, chance, (apart, p_value) in zip(ranked, chances.tolist(), comparisons, strict=True):
        interval = statistics.accuracy_interval(each.correct, groups=groups, confidence=CONFIDENCE)
        rows.append(
            RankedBackbone(
                **each.known,
                accuracy=each.accuracy,
                low=interval.low,
                high=interval.high,
                probability_best=chance,
                behind=apart,
                p_holm=p_value,
                distinguishable=apart is not None and p_value < 1 - CONFIDENCE and apart.low > 0,
                correct=each.correct,
            )
        )
    return tuple(rows)


def _vectors(features: NDArray[Any]) -> NDArray[Any]:
    """Return one vector per image; a feature map, for a head without pooling, is averaged over its cells."""
    if features.ndim == 2:
        return np.asarray(features)
    return np.asarray(features.mean(axis=tuple(range(1, features.ndim - 1)), dtype=np.float32))


def _few(data: Dataset, max_images: int, seed: int) -> Dataset:
    """Return the dataset with so many training and validation images at most."""
    if max_images < 2 * data.num_classes:
        raise invalid("max_images", f"{2 * data.num_classes} or more, two images of each class", max_images)
    train, validation = (min(max_images, len(y)) for y in (data.y_train, data.y_validation))
    few = data.subset(train=train, validation=validation, seed=seed)
    counts = few.class_counts["train"]
    if counts.min() < 2:
        rarest = data.class_names[int(counts.argmin())]
        raise InvalidInputError(
            f"rank needs two or more training images of each class. Of '{rarest}' it got {counts.min()}. "
            "Add images of it, leave it out, or pass a larger max_images.",
            argument="data",
        )
    return few
