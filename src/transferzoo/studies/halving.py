"""Successive halving: many models trained for short, the better half for twice as long, until one is left."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferzoo import statistics
from transferzoo.data.dataset import BESIDE
from transferzoo.data.splits import split_indices, split_sizes
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count, check_seed
from transferzoo.ground.storage.files import check_path
from transferzoo.studies.candidates import OPTIONS
from transferzoo.studies.comparing import compare, named_models
from transferzoo.studies.ranking import Ranking
from transferzoo.studies.study import Study
from transferzoo.studies.transferability import rank

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.recipes.recipe import Recipe

HELD_BACK = 0.2


@dataclass(frozen=True, kw_only=True)
class Halving:
    """What each round of `successive_halving` found. ``print`` shows it.

    Parameters
    ----------
    ranking : Ranking or None
        The linear probes that made the short list; None where all models fitted into it.
    epochs : tuple of int
        Epochs of each round.
    rounds : tuple of Study
        One for each round. What they call test images are the dataset's validation images.
    data : str
        The dataset's name.
    train_images, judging_images : int
        How many each run was trained on, and how many judged it.
    seed : int

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=200, validation=100)
    >>> found = tz.studies.successive_halving(["resnet20", "mobilenet_025"], data, weights="cifar10",
    ...                                       lint=False, verbose=False)
    >>> found.winner, found.epochs
    ('resnet20', (1,))
    """

    ranking: Ranking | None
    epochs: tuple[int, ...]
    rounds: tuple[Study, ...]
    data: str
    train_images: int
    judging_images: int
    seed: int

    @property
    def winner(self) -> str:
        """The first of the last round."""
        return _in_order(self.rounds[-1])[0]

    @property
    def names(self) -> tuple[str, ...]:
        """All models, those that came furthest first."""
        names: dict[str, None] = {}
        for study in reversed(self.rounds):
            names |= dict.fromkeys(_in_order(study))
            names |= dict.fromkeys(each.name for each in study.failures)
        if self.ranking is not None:
            names |= dict.fromkeys(row.model for row in self.ranking.rows)
        return tuple(names)

    @property
    def seconds(self) -> float:
        """What ranking and trainings took together."""
        ranked = 0.0 if self.ranking is None else sum(row.seconds for row in self.ranking.rows)
        return ranked + sum(run.costs["train_seconds"] for study in self.rounds for run in study.results)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one plain dict for each model, those that came furthest first.

        Returns
        -------
        list of dict
            ``model``; ``probe``, the accuracy of its linear probe, None without a ranking; ``epochs``, of its
            last round, 0 where the probe left it out; ``accuracy``, ``accuracy_low`` and ``accuracy_high``
            in that round, fractions, None where there are none; ``left_out_by_chance``: whether what stayed
            in its place is not distinguishable from it (the 95 % interval of their paired difference
            holds 0).
        """
        return [self._record(name) for name in self.names]

    def _record(self, name: str) -> dict[str, Any]:
        last: dict[str, Any] = {"epochs": 0, "accuracy": None, "accuracy_low": None, "accuracy_high": None}
        for epochs, study in zip(self.epochs, self.rounds, strict=True):
            for row in study.summary():
                if row["model"] == name:
                    last = {"epochs": epochs} | {key: row[key] for key in last if key != "epochs"}
        probe = None if self.ranking is None else self.ranking[name].accuracy
        return {"model": name, "probe": probe, **last, "left_out_by_chance": self._by_chance(name)}

    def _by_chance(self, name: str) -> bool:
        """Whether the last that stayed in the round that a model left is not distinguishable from it."""
        entered = [_in_order(study) for study in self.rounds]
        for place, names in enumerate(entered):
            stayed = entered[place + 1] if place + 1 < len(entered) else names[:1]
            if name in names and name not in stayed:
                study = self.rounds[place]
                last = [each for each in names if each in stayed][-1]
                found = statistics.difference(
                    study.correct(last), study.correct(name), groups=study.groups_of(name)
                )
                return found.low <= 0
        if self.ranking is not None and not any(name in names for names in entered):
            if name in {each.name for each in self.rounds[0].failures}:
                return False
            listed = [row for row in self.ranking.rows if row.model in entered[0]]
            if not listed:
                return False
            found = statistics.difference(
                listed[-1].correct, self.ranking[name].correct, groups=self.ranking.groups
            )
            return found.low <= 0
        return False

    def verdicts(self) -> list[str]:
        """Return what the last round says of the winner, as `Study.verdicts` does, and what failed."""
        last = self.rounds[-1]
        said = last.verdicts()
        chance = max(np.bincount(last.results[0].y_true)) / self.judging_images
        if last.summary()[0]["accuracy_low"] <= chance:
            said.append(
                f"{self.winner} is not shown to be better than naming the most frequent class, {chance:.1%}: "
                "give the first round more epochs"
            )
        return said + [str(failure) for study in self.rounds for failure in study.failures]

    def __str__(self) -> str:
        rows = self.to_records()
        width = max(len("model"), *(len(row["model"]) for row in rows))
        columns = [f"{epochs} epoch{'s' * (epochs > 1)}" for epochs in self.epochs]
        heads = [*(["probe"] if self.ranking is not None else []), *columns]
        lines = ["  ".join([f"{'model':<{width}} ", *(f"{head:>9}" for head in heads)]).rstrip()]
        for row in rows:
            cells = [] if row["probe"] is None else [f"{row['probe']:.1%}"]
            for study in self.rounds:
                found = {each["model"]: each["accuracy"] for each in study.summary()}
                cells.append(f"{found[row['model']]:.1%}" if row["model"] in found else "")
            mark = "*" if row["left_out_by_chance"] else " "
            line = "  ".join([f"{row['model']:<{width}}{mark}", *(f"{cell:>9}" for cell in cells)])
            lines.append(line.rstrip())
        if any(row["left_out_by_chance"] for row in rows):
            lines.append("* left out, but not distinguishable from the last that stayed")
        lines.append(
            f"{self.data}: trained on {self.train_images:,} images, judged on {self.judging_images:,} "
            f"validation images, seed {self.seed}; test images were not looked at; {self.seconds:,.0f} s"
        )
        return "\n".join([*lines, *self.verdicts()])


def successive_halving(
    models: Sequence[str] | Mapping[str, Any],
    data: str | Path | Dataset,
    *,
    epochs: int = 1,
    shortlist: int = 4,
    recipe: str | Recipe = "default",
    seed: int = 0,
    out: str | Path | None = None,
    max_images: int = 5_000,
    cache: bool = True,
    **options: Any,
) -> Halving:
    """Find the model to fine-tune among many, without training each of them in full.

    First `rank` makes a short list by linear probes on frozen features. The models on it are trained for
    `epochs` epochs, the better half from its beginning for twice as many, and so on until one is left. Each
    training has the whole schedule of its recipe. A fifth of the training images chooses the epoch within
    each run, and the validation images judge the runs. Test images are not looked at: train the winner with
    `fit_and_evaluate`, and they are still unseen.

    Parameters
    ----------
    models : sequence of str, or mapping of str to str or dict
        As `compare` takes them, two or more; no built models, as each round trains from the beginning.
    data : str, Path or Dataset
        A dataset's name, a folder of class folders with photos, or a dataset.
    epochs : int, default 1
        Of the first round; each round after it has twice as many.
    shortlist : int, default 4
        How many models are trained at all; where there are no more, nothing is ranked.
    recipe : str or Recipe, default "default"
    seed : int, default 0
        Of the splits, the ranking and the runs.
    out : str or Path, optional
        Folder with a study for each round, ``epochs-1``, ``epochs-2`` and so on. A call that was
        interrupted continues.
    max_images : int, default 5,000
        Training images that are ranked by, and validation images, at most.
    cache : bool, default True
        Whether features are kept on disk.
    **options
        As `compare` takes them, for every model.

    Returns
    -------
    Halving
        ``found.winner``; ``print`` shows each round, and which models were left out by chance.

    Raises
    ------
    InvalidInputError
        If there are fewer than two models, or too few training images of a class.
    TransferZooError
        As from `compare`, or where all runs of a round failed.

    References
    ----------
    Jamieson, Talwalkar (2016), Non-stochastic Best Arm Identification and Hyperparameter Optimization,
    AISTATS, arXiv:1502.07943, algorithm 1; here with a fixed first budget in place of a total one.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=200, validation=100)
    >>> models = {
    ...     "resnet": "resnet20",
    ...     "mobile": {"model": "mobilenet_025", "stem": "stride1"},
    ...     "small": {"model": "resnet20", "image_size": 16},
    ... }
    >>> found = tz.studies.successive_halving(models, data, shortlist=2, weights="cifar10", lint=False,
    ...                                       verbose=False)
    >>> len(found.ranking), found.epochs
    (3, (1,))
    """
    from transferzoo.data.catalog import resolve_data

    seed, epochs = check_seed(seed), check_count("epochs", epochs, 1)
    shortlist, max_images = check_count("shortlist", shortlist, 2), check_count("max_images", max_images, 1)
    given = named_models(models)
    if len(given) < 2:
        raise invalid("models", "two models or more", list(given))
    for name, model in given.items():
        backbone = model.get("model") if isinstance(model, Mapping) else model
        if not isinstance(backbone, str):
            raise invalid(
                f"models[{name!r}]",
                "a backbone's name, or a dict with one under 'model'",
                model,
                remedy="Each round trains from the beginning, which a built model cannot.",
            )
    folder = None if out is None else check_path("out", out, "a folder, as text or a Path")
    judged = _judged(resolve_data(data, seed=seed), seed)
    _check(given, judged, {**options, "recipe": recipe, "epochs": epochs}, seed)
    shared = {**options, "recipe": recipe, "seed": seed, "cache": cache}
    ranking = None
    if len(given) > shortlist:
        ranking = _ranked(given, judged, max_images, shared)
        given = {row.model: given[row.model] for row in ranking.rows[:shortlist]}
    rounds: list[Study] = []
    budgets: list[int] = []
    for study in _rounds(given, judged, epochs, folder, shared):
        rounds.append(study)
        budgets.append(epochs * 2 ** len(budgets))
    return Halving(
        ranking=ranking,
        epochs=tuple(budgets),
        rounds=tuple(rounds),
        data=judged.name,
        train_images=len(judged.y_train) + len(judged.y_validation),
        judging_images=len(judged.y_test),
        seed=seed,
    )


def _check(models: Mapping[str, Any], data: Dataset, options: Mapping[str, Any], seed: int) -> None:
    """Raise for what `compare` would refuse, before anything is ranked."""
    from transferzoo.planning import plan_run

    of_compare = inspect.signature(compare).parameters
    for name, model in models.items():
        own = dict(model) if isinstance(model, Mapping) else {"model": model}
        every = {**options, **own}
        plan_run(
            every.pop("model"),
            data,
            recipe=every.pop("recipe"),
            minutes=every.pop("minutes", None),
            seed=seed,
            out=None,
            options={key: value for key, value in every.items() if key not in of_compare},
            name=name,
            caller="compare",
        )


def _rounds(
    given: Mapping[str, Any], data: Dataset, epochs: int, folder: Path | None, shared: Mapping[str, Any]
) -> Iterator[Study]:
    left, lint = dict(given), shared.get("lint", True)
    while True:
        place = None if folder is None else folder / f"epochs-{epochs}"
        study = compare(left, data, out=place, **{**shared, "epochs": epochs, "lint": lint})
        found = _in_order(study)
        if not found:
            raise InvalidInputError(
                f"No run of {epochs} epochs could be finished: {study.failures[0].message}",
                argument="models",
                value=list(left),
            )
        yield study
        if len(left) <= 2 or len(found) == 1:
            return
        stay = set(found[: math.ceil(len(left) / 2)])
        left = {name: model for name, model in left.items() if name in stay}
        epochs, lint = 2 * epochs, False


def _in_order(study: Study) -> list[str]:
    """Return the models of a round, best first."""
    return [row["model"] for row in study.summary() if math.isfinite(row["accuracy"])]


def _judged(data: Dataset, seed: int) -> Dataset:
    """Return a dataset whose test images are the validation images, and without its own."""
    groups = data.groups.get("train")
    sizes = split_sizes(
        data.y_train, data.class_names, {"validation": HELD_BACK}, groups=groups, argument="data"
    )
    parts = split_indices(data.y_train, sizes, seed, groups)
    changes: dict[str, Any] = {"x_test": data.x_validation, "y_test": data.y_validation, "test_index": None}
    for split, chosen in parts.items():
        changes |= {f"x_{split}": data.x_train[chosen], f"y_{split}": data.y_train[chosen]}
    for argument in BESIDE:
        if values := getattr(data, argument):
            changes[argument] = {split: values["train"][chosen] for split, chosen in parts.items()}
            changes[argument]["test"] = values["validation"]
    source = f"{data.source}; without the test images, validation images in their place, seed={seed}"
    return replace(data, **changes, source=source, calls=())


def _ranked(given: Mapping[str, Any], data: Dataset, max_images: int, shared: Mapping[str, Any]) -> Ranking:
    """Rank the models on all that is not a judging image."""
    known = {"seed", "cache", "verbose", *OPTIONS}
    candidates = {
        name: {key: value for key, value in model.items() if key in ("model", *OPTIONS)}
        if isinstance(model, Mapping)
        else model
        for name, model in given.items()
    }
    return rank(
        candidates,
        data,
        max_images=max_images,
        **{key: value for key, value in shared.items() if key in known},
    )
