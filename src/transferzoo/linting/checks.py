"""Likely problems before training: the findings of one run, and of several that are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from transferzoo.data.dataset import Dataset
from transferzoo.errors import listing
from transferzoo.linting.data_checks import data_findings
from transferzoo.linting.findings import CODES, Finding, found, log_findings, worst_first
from transferzoo.linting.model_checks import ModelFacts, model_facts, model_findings
from transferzoo.linting.recipe_checks import recipe_findings, stretches
from transferzoo.recipes.recipe import Recipe

__all__ = ["CODES", "Finding", "Run", "findings_between", "findings_for", "log_findings"]

# findings of a comparison that are its very question where one backbone differs in nothing else
ONE_AT_A_TIME = ("TZ401", "TZ402", "TZ403", "TZ404", "TZ405", "TZ406")


class Run(Protocol):
    """A run that is decided and not begun, as far as the checks look at it."""

    @property
    def name(self) -> str:
        """What the run is called."""
        ...

    @property
    def model(self) -> Any:
        """The built model, or None."""
        ...

    @property
    def backbone(self) -> Any:
        """The backbone that is built, or None."""
        ...

    @property
    def build_plan(self) -> Any:
        """What is to be built, or None."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The phases that apply, with all options in place."""
        ...

    @property
    def data(self) -> Dataset:
        """The images."""
        ...

    @property
    def seed(self) -> int:
        """Of weights, order and augmentation."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """The record of the run."""
        ...


def findings_for(run: Run) -> list[Finding]:
    """Return what is doubtful about one run, the worst first; nothing is trained or downloaded."""
    facts = model_facts(run)
    return worst_first([*model_findings(run, facts), *recipe_findings(run, facts), *data_findings(run.data)])


def findings_between(runs: Sequence[Run], *, seeds: int = 1) -> list[Finding]:
    """Return in what several runs cannot be compared, the worst first.

    Parameters
    ----------
    runs : sequence of Run
        One of each model.
    seeds : int, default 1
        How many runs of each model there will be.
    """
    if len(runs) < 2:
        return []
    found = [*_data_findings(runs), *_model_findings(runs), *_training_findings(runs, seeds)]
    differing = [each for each in found if each.code in ONE_AT_A_TIME and each.severity == "warning"]
    several = len(differing) > 1 or len(_differing_settings(runs)) > 1
    if not several and len(_by(runs, _backbone_words)) == 1:
        # one backbone, and one thing that differs: that is the comparison
        found = [each for each in found if each not in differing]
    return worst_first(found)


def _by(runs: Sequence[Run], value: Any) -> dict[Any, list[str]]:
    groups: dict[Any, list[str]] = {}
    for run in runs:
        groups.setdefault(value(run), []).append(run.name)
    return groups


def _words(groups: Mapping[Any, list[str]]) -> str:
    return "; ".join(f"{value}: {listing(names, 4)}" for value, names in groups.items())


def _data_findings(runs: Sequence[Run]) -> Iterator[Finding]:
    if len(_by(runs, lambda run: run.data.test_hash)) > 1:
        groups = _by(runs, lambda run: f"{run.data.name}, {len(run.data.x_test):,} test images")
        yield found(
            "TZ406",
            "error",
            what=f"The runs are tested on different images ({_words(groups)}).",
            why="Their accuracies measure different things, and no paired test applies.",
            how="Load the dataset once and give it to every run, as tz.compare does.",
        )
    elif len(_by(runs, lambda run: run.data.content_hash())) > 1:
        groups = _by(runs, lambda run: f"{len(run.data.x_train):,} training images")
        yield found(
            "TZ406",
            "warning",
            what=f"The runs train on, or choose by, different images ({_words(groups)}).",
            why="What the images add cannot be told from what the models add.",
            how="Load the dataset once and give it to every run, as tz.compare does.",
        )
    if len(groups := _by(runs, lambda run: run.seed)) > 1:
        yield found(
            "TZ407",
            "note",
            what=f"The runs have different seeds ({_words(groups)}).",
            why="Order and augmentation differ from model to model too.",
            how="Give every model the same seeds: tz.compare(…, seeds=(0, 1, 2)).",
        )


def _model_findings(runs: Sequence[Run]) -> Iterator[Finding]:
    facts = {run.name: model_facts(run) for run in runs}
    described = {run.name: run.settings["model"] for run in runs}
    heads = _by(runs, lambda run: described[run.name].get("head", "of its own"))
    if len(heads) > 1:
        yield found(
            "TZ401",
            "warning",
            what=f"The heads differ ({_words(heads)}).",
            why="A difference may be the head's, its dropout's for example, and not the backbone's.",
            how="Pass one head for all, as in tz.compare(…, head='linear').",
        )
    for alike in _kinds(runs):
        sizes = _by(alike, lambda run: _size_words(facts[run.name], run))
        if len(sizes) < 2:
            continue
        yield found(
            "TZ404",
            "warning",
            what=f"The models see images of different sizes ({_words(sizes)}).",
            why="Size alone changes accuracy and cost, by more than most backbones differ "
            "(Touvron et al. 2019, arXiv:1906.06423).",
            how="Pass one image_size for all, as in tz.compare(…, image_size=96).",
        )
    weights = _by(runs, lambda run: _weights_words(facts[run.name]))
    if len(weights) > 1:
        yield found(
            "TZ405",
            "warning",
            what=f"Some models begin with published weights and others do not ({_words(weights)}).",
            why="What pretraining adds cannot be distinguished from what the network adds. A recipe may "
            "also have other epochs, rates and image sizes for each kind.",
            how="Pass weights=None for all, or compare pretrained models alone.",
        )


def _backbone_words(run: Run) -> str:
    return str(run.settings["model"].get("backbone", run.name))


def _size_words(facts: ModelFacts, run: Run) -> str:
    return "×".join(map(str, facts.image_size or run.data.input_shape[:2]))


def _weights_words(facts: ModelFacts) -> str:
    return {True: "published", False: "random", None: "unknown"}[facts.pretrained]


def _training_findings(runs: Sequence[Run], seeds: int) -> Iterator[Finding]:
    for alike in _kinds(runs):
        epochs = _by(alike, _length)
        if len(epochs) < 2:
            continue
        yield found(
            "TZ402",
            "warning",
            what=f"The models train for different times ({_words(epochs)}).",
            why="More epochs alone may make the difference.",
            how="Pass one number for all, as in tz.compare(…, epochs=30).",
        )
    differing = _differing_settings(runs)
    if differing:
        yield found(
            "TZ403",
            "warning",
            what="The models differ in more than the network: "
            + "; ".join(f"{name} ({_words(groups)})" for name, groups in differing.items())
            + ".",
            why="Each of these may make the difference.",
            how="Leave options of single models out, or read the comparison as one of whole set-ups.",
        )
    if seeds < 2:
        yield found(
            "TZ408",
            "note",
            what=f"One run of each of the {len(runs)} models.",
            why="Seeds alone move the accuracy, often by as much as models differ (Bouthillier et al. 2021, "
            "Accounting for variance in machine learning benchmarks, arXiv:2103.03098).",
            how="Pass seeds=(0, 1, 2) to tz.compare: intervals then count how seeds vary.",
        )


def _kinds(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs in groups whose weights are of one kind; recipes treat the kinds differently."""
    kinds: dict[bool | None, list[Run]] = {}
    for run in runs:
        kinds.setdefault(model_facts(run).pretrained, []).append(run)
    return list(kinds.values())


def _length(run: Run) -> str:
    plan = stretches(run, model_facts(run))
    if not plan:
        return "none"
    main = plan[-1].phase
    return "solved in one go" if main.optimizer == "lbfgs" else f"{main.epochs} epochs"


def _differing_settings(runs: Sequence[Run]) -> dict[str, dict[Any, list[str]]]:
    """Return what else differs between runs whose weights are of one kind."""
    differing: dict[str, dict[Any, list[str]]] = {}
    for alike in _kinds(runs):
        settings = [(run, _settings(run)) for run in alike]
        for name in dict.fromkeys(name for _, each in settings for name in each):
            groups: dict[Any, list[str]] = {}
            for run, each in settings:
                groups.setdefault(each.get(name, "–"), []).append(run.name)
            if len(groups) > 1:
                differing.setdefault(name, {}).update(groups)
    return differing


def _settings(run: Run) -> dict[str, str]:
    described = run.settings["model"]
    built = ("trainable", "preprocessing", "stem", "output_stride", "stages", "classifier_activation")
    settings = {name: str(described[name]) for name in built if name in described}
    recipe = run.recipe.to_dict()
    settings |= {name: str(recipe[name]) for name in ("name", "keep", "patience", "faults")}
    settings["recipe"] = settings.pop("name")
    main = recipe["phases"][-1]
    own_code = ("epochs", "name", "heads", "when", "c_values")
    own = {name: _short(value) for name, value in main.items() if name not in own_code}
    settings |= {f"the phase's {name}" if name in settings else name: value for name, value in own.items()}
    return settings


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        kept = [f"{name} {part}" for name, part in value.items() if part not in (0, False, None)]
        return ", ".join(kept) or "none"
    return str(value)
