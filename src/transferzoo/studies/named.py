"""Studies that have a name: the article's, repaired one fault at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferzoo import statistics
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count, check_sequence
from transferzoo.recipes.catalog import recipe_info
from transferzoo.recipes.recipe import Recipe
from transferzoo.studies.comparing import compare
from transferzoo.studies.study import Study

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.ground.progress import Progress

# the article's 15,000 validation images beside 35,000 for training
VALIDATION = 0.3
# what the article's first model left its optimizer at: the floor of the plateau
CARRIED_RATE = 1e-5
FIRST_MODEL = "resnet50"
REPAIRED_SIZE = 96


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rung of the ladder: a fault that was repaired, and what that brought.

    Parameters
    ----------
    key : str
        Short name; the run's label ends in it.
    label : str
        What was changed, in words.
    accuracy, low, high : float
        Mean test accuracy with its 95 % interval, fractions in ``[0, 1]``.
    gain, gain_low, gain_high : float or None
        What it is above the step before, with its 95 % interval; None for the first.
    p_value : float or None
        Of no difference, Holm-corrected over the steps.
    """

    key: str
    label: str
    accuracy: float
    low: float
    high: float
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    p_value: float | None = None

    def __str__(self) -> str:
        text = f"{self.label}: {self.accuracy:.1%} ({100 * self.low:.1f} to {100 * self.high:.1f})"
        if self.gain is None:
            return text
        assert self.gain_low is not None
        assert self.gain_high is not None
        clear = "" if self.gain_low > 0 or self.gain_high < 0 else "; not distinguishable from none"
        return (
            f"{text}, {100 * self.gain:+.1f} points "
            f"({100 * self.gain_low:+.1f} to {100 * self.gain_high:+.1f}{clear})"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit:
    """A study run as it was published, and again with one fault more repaired at each step.

    Parameters
    ----------
    study : Study
        Its runs, ``<model>-<number>-<step>`` each.
    ladders : mapping of str to tuple of Step
        The steps of each model, in order.
    """

    study: Study
    ladders: Mapping[str, tuple[Step, ...]] = field(repr=False)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one plain dict per step: model, and the fields of `Step`."""
        return [{"model": model, **vars(step)} for model, steps in self.ladders.items() for step in steps]

    def to_markdown(self) -> str:
        """Return the ladders as a Markdown table."""
        lines = ["| model | step | test accuracy | points gained |", "| --- | --- | ---: | ---: |"]
        for model, steps in self.ladders.items():
            for step in steps:
                gained = ""
                if step.gain is not None and step.gain_low is not None and step.gain_high is not None:
                    gained = (
                        f"{100 * step.gain:+.1f} ({100 * step.gain_low:+.1f} to {100 * step.gain_high:+.1f})"
                    )
                accuracy = f"{step.accuracy:.1%} ({100 * step.low:.1f}–{100 * step.high:.1f})"
                lines.append(f"| {model} | {step.label} | {accuracy} | {gained} |")
        return "\n".join(lines)

    def __str__(self) -> str:
        lines = []
        for model, steps in self.ladders.items():
            lines += [f"{model}:", *(f"  {number}. {step}" for number, step in enumerate(steps))]
        lines.append(self.study.caption().replace("; recipe 'article' (faithful)", ""))
        lines += [f"failed: {failure}" for failure in self.study.failures]
        return "\n".join(lines)

    def plot(self, model: str | None = None, *, ax: Any = None) -> Any:
        """Draw one model's ladder, the first's by default, and return the Axes; see `plots.ladder`."""
        from transferzoo import plots

        if not self.ladders:
            raise InvalidInputError("There is no ladder to draw: no run of the study was finished.")
        name = next(iter(self.ladders)) if model is None else model
        if name not in self.ladders:
            raise invalid("model", "one of the audited models", name, candidates=self.ladders)
        return plots.ladder([vars(step) for step in self.ladders[name]], ax=ax)


def article(
    models: Iterable[str] = ("mobilenet",),
    data: str | Dataset = "cifar10",
    *,
    train_size: int | None = 10_000,
    epochs: int = 5,
    seeds: Sequence[int] = (0, 1, 2),
    image_size: int = REPAIRED_SIZE,
    weights: str | Path | None = "imagenet",
    out: str | Path | None = None,
    n_jobs: int = 1,
    save_model: bool = False,
    verbose: bool | str | Progress = "auto",
) -> Audit:
    """Run the article's study as it was published, then repair one fault at a time.

    Each step keeps the repairs of those before it. What a step brings is what its fault cost in this order
    and at this scale; the article trained on 35,000 images, ResNet-50 for 30 epochs and MobileNet for 100.

    0. as published: raw pixels 0 to 255, 32×32 images, five fresh Dense layers as the head, SGD; and every
       model but ResNet-50, which came first, at the rate that the shared optimizer had come down to, 1e-5;
    1. ``own-optimizer``: the rate begins at 0.001 (every model but ResNet-50);
    2. ``preprocessing``: pixels as the backbone was trained with;
    3. ``plain-validation``: validation images not augmented, each counted once;
    4. ``cosine``: the rate falls along half a cosine, not to its floor at the first plateau;
    5. ``larger-images``: enlarged to `image_size`, so that the last feature map is larger than 1×1;
    6. ``linear-head``: the same single Dense layer on averaged features for every model;
    7. ``default-recipe``: the head is trained first, then the backbone, and the rest of recipe ``default``.

    Parameters
    ----------
    models : iterable of str, default ("mobilenet",)
        Backbones' names. A single name will do.
    data : str or Dataset, default "cifar10"
        A dataset's name, of which `train_size` images and 3/7 as many validation images are taken; or a
        Dataset, used as it is.
    train_size : int or None, default 10,000
        Training images; None: the article's 35,000 of CIFAR-10.
    epochs : int, default 5
        The same for every model and step.
    seeds : sequence of int, default (0, 1, 2)
        Runs of each step.
    image_size : int, default 96
        Of step 5 on.
    weights : str, Path or None, default "imagenet"
    out : str or Path, optional
        Folder for the runs; the same call continues from there.
    n_jobs, save_model, verbose
        As `compare` takes them; models are not saved by default.

    Returns
    -------
    Audit
        ``print(audit)`` shows the ladder, ``audit.plot()`` draws it, ``audit.study`` has the runs.

    Raises
    ------
    TransferZooError
        As from `compare`.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=60, validation=30, test=40)
    >>> audit = tz.studies.article(  # doctest: +SKIP
    ...     "mobilenet_025", data, epochs=1, seeds=(0,), image_size=64, weights=None
    ... )
    >>> [step.key for step in audit.ladders["mobilenet_025"]][:3]  # doctest: +SKIP
    ['published', 'own-optimizer', 'preprocessing']
    """
    if isinstance(models, str):
        models = [models]
    accepted = "a backbone's name, or a list of them"
    names = [str(name) for name in check_sequence("models", accepted, models)]
    check_count("epochs", epochs, 1)
    if train_size is not None:
        check_count("train_size", train_size, 1)
    if isinstance(data, str):
        from transferzoo.ground.progress import choose_progress

        data = article_data(data, train_size, progress=choose_progress(verbose))
    entries = {
        f"{name}-{number}-{key}": {"model": name, **options}
        for name in names
        for number, (key, _, options) in enumerate(_steps(name, image_size))
    }
    study = compare(
        entries,
        data,
        epochs=epochs,
        seeds=seeds,
        weights=weights,
        out=out,
        n_jobs=n_jobs,
        save_model=save_model,
        lint=False,
        verbose=verbose,
    )
    return Audit(study=study, ladders={name: _ladder(study, name, image_size) for name in names})


def article_data(
    name: str = "cifar10", train_size: int | None = None, *, progress: Progress | None = None
) -> Dataset:
    """Load a dataset split as the article split it: 70 % for training, 30 % for validation.

    Parameters
    ----------
    name : str, default "cifar10"
    train_size : int, optional
        Training images to take, with 3/7 as many validation images; by default all.

    Returns
    -------
    Dataset
        Seeded and stratified, which the article's split was not.

    Examples
    --------
    >>> article_data("digits", 70)
    <Dataset 'digits': 70 train, 30 validation, 359 test images of 32×32×3, 10 classes>
    """
    from transferzoo.data.catalog import load_dataset

    data = load_dataset(name, validation=VALIDATION, progress=progress)
    if train_size is None:
        return data
    held_out = round(check_count("train_size", train_size, data.num_classes) * 3 / 7)
    return data.subset(train=train_size, validation=max(data.num_classes, held_out))


def _steps(name: str, image_size: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Return each step's key, its label, and what `compare` is told for it."""
    published = recipe_info("article").with_options(name)
    faults = ("raw_pixels", "augmented_validation", "repeated_validation")
    head = "article_resnet50" if name == FIRST_MODEL else "article_mobilenet"
    first = replace(published, faults=faults)
    steps: list[tuple[str, str, dict[str, Any]]] = []

    def add(key: str, label: str, recipe: Recipe | str, **options: Any) -> None:
        steps.append((key, label, {"recipe": recipe, **options}))

    if name == FIRST_MODEL:
        add("published", "as published", first, head=head)
    else:
        add("published", "as published, rate carried over", _with_rate(first, CARRIED_RATE), head=head)
        add("own-optimizer", "an optimizer of its own", first, head=head)
    add("preprocessing", "pixels as the backbone expects", replace(first, faults=faults[1:]), head=head)
    add("plain-validation", "validation images as they are", replace(first, faults=()), head=head)
    cosine = _with_cosine(replace(first, faults=()))
    add("cosine", "cosine in place of the plateau", cosine, head=head)
    size = {"image_size": image_size}
    add("larger-images", f"images enlarged to {image_size} pixels", cosine, head=head, **size)
    add("linear-head", "one linear layer as the head", cosine, head="linear", **size)
    add("default-recipe", "the default recipe", "default", head="linear", **size)
    return steps


def _with_rate(recipe: Recipe, rate: float) -> Recipe:
    return replace(recipe, phases=tuple(replace(phase, learning_rate=rate) for phase in recipe.phases))


def _with_cosine(recipe: Recipe) -> Recipe:
    phases = (replace(phase, plateau=None, schedule="cosine") for phase in recipe.phases)
    return replace(recipe, phases=tuple(phases))


def _ladder(study: Study, name: str, image_size: int) -> tuple[Step, ...]:
    rungs: list[dict[str, Any]] = []
    differences = []
    before = None
    for number, (key, label, _) in enumerate(_steps(name, image_size)):
        run = f"{name}-{number}-{key}"
        if run not in study.names:
            continue
        correct = study.correct(run)
        interval = statistics.accuracy_interval(correct)
        rungs.append(
            {
                "key": key,
                "label": label,
                "accuracy": interval.estimate,
                "low": interval.low,
                "high": interval.high,
            }
        )
        if before is not None:
            differences.append(statistics.difference(correct, before))
        before = correct
    adjusted: Any = statistics.holm([each.p_value for each in differences]) if differences else []
    steps = [Step(**rung) for rung in rungs[:1]]
    for rung, gained, p_value in zip(rungs[1:], differences, adjusted, strict=True):
        steps.append(
            Step(
                **rung,
                gain=gained.estimate,
                gain_low=gained.low,
                gain_high=gained.high,
                p_value=float(p_value),
            )
        )
    return tuple(steps)
