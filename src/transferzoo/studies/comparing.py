"""`compare`: several models and seeds on the same data and recipe, here or in other processes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import (
    check_count,
    check_flag,
    check_seed,
    check_seeds,
    check_sequence,
    whole,
)
from transferzoo.ground.quiet import load_keras
from transferzoo.ground.storage.files import check_path, check_writable
from transferzoo.judging.power import check_rope
from transferzoo.results.result import Result
from transferzoo.studies.calls import keep_call
from transferzoo.studies.candidates import model_and_options
from transferzoo.studies.failures import FAILURE, Failure
from transferzoo.studies.study import ROPE, Study

if TYPE_CHECKING:
    import keras

    from transferzoo.data.dataset import Dataset
    from transferzoo.ground.progress import Progress
    from transferzoo.planning import RunPlan
    from transferzoo.recipes.recipe import Recipe

logger = logging.getLogger("transferzoo")

LOCKS = ".locks"
DIGITS = 10
# a folder is named after it, and file systems take 255 bytes
LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A model of the comparison, with the options that are its alone."""

    name: str
    model: str | keras.Model
    recipe: str | Recipe
    minutes: float | None
    options: Mapping[str, Any]


def compare(
    models: Sequence[str] | Mapping[str, Any],
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe = "default",
    minutes: float | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    n_jobs: int = 1,
    out: str | Path | None = None,
    callbacks: Iterable[Any] = (),
    save_model: bool = True,
    cache: bool = True,
    lint: bool = True,
    rope: float = ROPE,
    verbose: bool | str | Progress = "auto",
    **options: Any,
) -> Study:
    """Train and test several models on the same split, with the same seeds, recipe and options.

    Parameters
    ----------
    models : sequence of str, or mapping of str to str, keras.Model or dict
        Backbones' names; or names of your own, and what they stand for. A dict names the backbone under
        ``"model"``, beside options that are this model's alone; the study then says in what the models
        were not treated alike.
    data : str, Path or Dataset
        A dataset's name, a folder of class folders with photos, or a dataset.
    recipe : str or Recipe, default "default"
    minutes : float, optional
        How long each run may take, in place of `epochs`; see `fit_and_evaluate`. The time in which the
        dataset is read and weights are fetched is not part of it.
    seed : int, default 0
        Of the split, where `data` is a name; and of the one run of each model.
    seeds : sequence of int, optional
        Run each model once with each of these seeds of random weights, order and augmentation, on the same
        split. Intervals then count how seeds vary.
    n_jobs : int, default 1
        Runs at a time, each in a process of its own with its share of the cores; -1: as many as there are
        cores. They are given to joblib, so that ``with joblib.parallel_config(backend=…)`` takes them
        wherever joblib can reach.
    out : str or Path, optional
        Folder for the study. Each run gets a folder in it, named after the model and the hash of the run's
        settings: a run that it holds already is loaded instead of made again, one that was interrupted
        continues from its checkpoint, and several processes may fill the same study at once: by the same
        call, or by `studies.join`.
    callbacks, save_model, cache, verbose, **options
        As `fit_and_evaluate` takes them, for every model.
    lint : bool, default True
        Whether what `tz.lint` finds is said, each finding once a process, before the training begins.
    rope : float, default 0.005
        The region of practical equivalence, a fraction: two models whose difference lies within ``-rope`` to
        ``rope``, with its whole interval, count as practically equal.

    Returns
    -------
    Study
        ``print(study)`` shows the table and the verdicts. A run that fails is on record under
        ``study.failures``, with its reason, and the others continue.

    Raises
    ------
    TransferZooError
        As from `fit_and_evaluate`, for a bad call; every model's is checked, and all weights are fetched,
        before the first training begins.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> names = ["mobilenet_025", "mobilenet_v2_035"]
    >>> len(tz.compare(names, data, weights=None, recipe="linear_probe"))
    2
    """
    from transferzoo.data.catalog import resolve_data
    from transferzoo.ground.progress import choose_progress
    from transferzoo.ground.quiet import load_keras

    load_keras()
    from transferzoo.training.user_callbacks import check_callbacks

    save_model, cache, lint = (
        check_flag(argument, value)
        for argument, value in (("save_model", save_model), ("cache", cache), ("lint", lint))
    )
    rope = check_rope(rope)
    entries = _entries(models, recipe, minutes, options)
    numbers = _seeds(seed, seeds)
    jobs = _jobs(n_jobs)
    progress = choose_progress(verbose)
    folder = None if out is None else check_path("out", out, "a folder, as text or a Path")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise invalid("out", "a folder", str(folder))
    for entry in entries:
        if not isinstance(entry.model, str) and (len(numbers) > 1 or jobs != 1):
            raise InvalidInputError(
                f"'{entry.name}' is a built model, which can be trained once and here. "
                "For several seeds or processes give its backbone's name, with options in a dict.",
                argument="models",
                value=entry.name,
            )
    _refuse_shared_layers(entries)
    data = resolve_data(data, seed=seed, progress=progress)
    rounds = [_planned(entries, data, number, folder, cache) for number in numbers]
    waiting = folder is not None and not all(run.finished() for planned in rounds for run in planned)
    if folder is not None and waiting:
        check_writable("out", folder)
    listed = check_callbacks(callbacks)
    for run in rounds[0]:
        check_callbacks(listed, run.recipe.phases[-1])
    if lint:
        rounds = _linted(rounds, len(numbers))
    rounds = _with_weights(rounds, progress)
    given = {"callbacks": tuple(listed), "save_model": save_model}
    carried = any("carried_rate" in run.recipe.faults for run in rounds[0])
    chains = rounds if carried else [[run] for planned in rounds for run in planned]
    progress.say(_what_will_show(len(data.y_test)))
    # a finished study may be read where nothing can be written
    if folder is not None and waiting:
        told = {"minutes": minutes, "seed": seed, "seeds": numbers, "save_model": save_model}
        told |= {"cache": cache, "rope": rope}
        keep_call(folder, models, data.calls, recipe, options, told)
    if jobs == 1:
        outcomes = _one_after_another(chains, {**given, "progress": progress})
    else:
        outcomes = _side_by_side(chains, given, jobs, progress)
    found = {(each.name, seed_of(each)): each for each in outcomes}
    ordered = [found[entry.name, number] for entry in entries for number in numbers]
    return Study(
        results=tuple(each for each in ordered if isinstance(each, Result)),
        failures=tuple(each for each in ordered if isinstance(each, Failure)),
        folder=folder,
        rope=rope,
    )


def _refuse_shared_layers(entries: Sequence[_Entry]) -> None:
    """Raise where two built models hold the same weights: the second would start already trained."""
    owners: dict[int, str] = {}
    models: dict[int, str] = {}
    for entry in entries:
        if isinstance(entry.model, str) or not hasattr(entry.model, "variables"):
            continue
        first = models.setdefault(id(entry.model), entry.name)
        if first != entry.name:
            raise InvalidInputError(
                f"models must be models of their own. '{first}' and '{entry.name}' are one and the same "
                "object, so the second run would begin with the weights that the first one ended with. "
                "Build it twice, or give its backbone's name.",
                argument="models",
                value=entry.name,
            )
        # random generators have no weights to share
        for layer in entry.model._flatten_layers(include_self=False):
            for variable in layer.variables:
                first = owners.setdefault(id(variable), entry.name)
                if first != entry.name:
                    raise InvalidInputError(
                        f"models must not share layers. '{first}' and '{entry.name}' share "
                        f"'{layer.name}', so the second run would begin with layers that the first one "
                        "trained. Build each model from layers of its own, for instance "
                        "keras.models.clone_model(model) and set_weights, or give backbones' names.",
                        argument="models",
                        value=entry.name,
                    )


def run_folder(folder: Path, run: RunPlan) -> Path:
    """Return where a study keeps a run."""
    return folder / f"{run.name}-{run.digest[:DIGITS]}"


def seed_of(outcome: Result | Failure) -> int | None:
    """Return the seed on an outcome's record."""
    return outcome.settings.get("seed")


def _planned(
    entries: Sequence[_Entry], data: Dataset, seed: int, folder: Path | None, cache: bool
) -> list[RunPlan]:
    from dataclasses import replace

    from transferzoo.planning import plan_run

    plans: list[RunPlan] = []
    for entry in entries:
        run = plan_run(
            entry.model,
            data,
            recipe=entry.recipe,
            minutes=entry.minutes,
            seed=seed,
            out=None,
            options=entry.options,
            name=entry.name,
            after=plans[-1].name if plans else None,
            keep_features=cache,
            caller="compare",
        )
        plans.append(run if folder is None else replace(run, out=run_folder(folder, run)))
    return plans


def _what_will_show(images: int) -> str:
    """Return what differences the test images can show, before anything is trained."""
    from transferzoo.judging.power import smallest_visible_difference

    size = smallest_visible_difference(images)
    if math.isnan(size):
        return f"{images:,} test images are too few to show that two good models differ"
    return (
        f"{images:,} test images show differences above about {100 * size:.1f} points "
        "(two trained models that disagree on a tenth of the images, 80 % power)"
    )


def _with_weights(rounds: Sequence[Sequence[RunPlan]], progress: Progress) -> list[list[RunPlan]]:
    """Return the plans with their weights on disk, each model's fetched and hashed once for all seeds."""
    from dataclasses import replace

    fetched: list[list[RunPlan]] = []
    for planned in rounds:
        fetched.append([])
        for place, run in enumerate(planned):
            plan = run.build_plan
            if plan is not None and fetched[0] is not fetched[-1]:
                first = fetched[0][place].build_plan
                assert first is not None
                plan = replace(plan, weights_file=first.weights_file, weights_sha256=first.weights_sha256)
            elif plan is not None and not run.finished():
                plan = plan.with_weights(progress)
            fetched[-1].append(replace(run, build_plan=plan))
    return fetched


def _linted(rounds: Sequence[Sequence[RunPlan]], seeds: int) -> list[list[RunPlan]]:
    """Say what is doubtful about the runs and between them; return the plans with it on record."""
    from dataclasses import replace

    from transferzoo.linting.checks import findings_between, findings_for, log_findings

    waiting = {run.name for planned in rounds for run in planned if not run.finished()}
    own = {run.name: findings_for(run) for run in rounds[0] if run.name in waiting}
    between = findings_between(rounds[0], seeds=seeds) if waiting else []
    log_findings([*itertools.chain.from_iterable(own.values()), *between])
    records = {name: tuple(each.record() for each in [*found, *between]) for name, found in own.items()}
    return [[replace(run, findings=records.get(run.name, ())) for run in planned] for planned in rounds]


def _one_after_another(
    chains: Sequence[Sequence[RunPlan]], given: Mapping[str, Any]
) -> list[Result | Failure]:
    """Carry out chains of runs; those that another process works at come last."""
    outcomes: list[Result | Failure] = []
    total, taken = sum(map(len, chains)), []
    for chain in chains:
        if any(_busy(run) for run in chain):
            taken.append(chain)
            continue
        outcomes += _chain(chain, given, len(outcomes), total)
    for chain in taken:
        outcomes += _chain(chain, given, len(outcomes), total, waited=True)
    return outcomes


def _chain(
    chain: Sequence[RunPlan], given: Mapping[str, Any], done: int, total: int, *, waited: bool = False
) -> list[Result | Failure]:
    """Carry out runs of which each may begin at the rate that the one before came down to."""
    outcomes: list[Result | Failure] = []
    rate: float | None = None
    for number, run in enumerate(chain, done + 1):
        logger.info("run %d of %d: %s, seed %d", number, total, run.name, run.seed)
        given["progress"].say(f"run {number} of {total}: {run.name}, seed {run.seed}")
        carried = rate if "carried_rate" in run.recipe.faults else None
        outcome = _outcome(run, first_rate=carried, waited=waited, **given)
        outcomes.append(outcome)
        if isinstance(outcome, Result):
            rate = outcome.history["learning_rate"][-1] if "learning_rate" in outcome.history else None
    return outcomes


def _outcome(run: RunPlan, *, waited: bool = False, **given: Any) -> Result | Failure:
    """Return a run's result; where it fails, the record of that."""
    from transferzoo.runs import execute

    with _claimed(run):
        if run.out is not None and (run.out / FAILURE).exists():
            if waited and (failure := Failure.load(run.out)):
                return failure  # it failed in the process that was waited for
            (run.out / FAILURE).unlink()
        try:
            return execute(run, **given)
        except Exception as error:
            failure = Failure.of(run.name, error, run.settings, run.out)
            logger.warning("run '%s' (seed %d) failed, the others continue: %s", run.name, run.seed, failure)
            logger.debug("where it failed", exc_info=True)
            return failure


@contextlib.contextmanager
def _claimed(run: RunPlan, *, timeout: float = -1) -> Iterator[None]:
    """Keep other processes from the run while the block lasts; freed when a process is killed."""
    if run.out is None:
        yield
        return
    from filelock import FileLock

    folder = run.out.parent / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{run.out.name}.lock", timeout=timeout):
        yield


def _busy(run: RunPlan) -> bool:
    from filelock import Timeout

    if run.out is None or run.finished():
        return False
    try:
        with _claimed(run, timeout=0):
            return False
    except Timeout:
        return True


def _side_by_side(
    chains: Sequence[Sequence[RunPlan]], given: Mapping[str, Any], jobs: int, progress: Progress
) -> list[Result | Failure]:
    """Carry out chains of runs in processes that joblib starts."""
    import cloudpickle
    import joblib

    from transferzoo.ground.progress import Progress

    settled = [chain for chain in chains if all(run.finished() for run in chain)]
    waiting = [chain for chain in chains if chain not in settled]
    outcomes = _one_after_another(settled, {**given, "progress": progress})
    workers = min(jobs, max(1, len(waiting)))
    threads = max(1, (os.cpu_count() or 1) // workers)
    # where nothing is shown here, nothing is shown there
    shown = type(progress) is not Progress
    told = logging.getLogger("transferzoo").level
    total, done = sum(map(len, chains)), len(outcomes)
    tasks = []
    for chain in waiting:
        packed = cloudpickle.dumps(([_portable(run) for run in chain], dict(given)))
        place = (done, total)
        tasks.append(joblib.delayed(_in_worker)(packed, chain[0].data, threads, shown, place, told))
        done += len(chain)
    with _share_of_cores(threads):
        for found in joblib.Parallel(n_jobs=workers, prefer="processes")(tasks):
            outcomes += [Result.load(each) if isinstance(each, Path) else each for each in found]
    return outcomes


def _portable(run: RunPlan) -> dict[str, Any]:
    """Return a plan without its images.

    The images go beside it: joblib shares large arrays between processes.
    """
    return {name: value for name, value in vars(run).items() if name != "data"}


def _in_worker(
    packed: bytes,
    data: Dataset,
    threads: int,
    shown: bool,
    place: tuple[int, int],
    told: int,
) -> list[Result | Failure | Path]:
    """Carry out a chain in a process of its own; what is on disk comes back as its folder."""
    logging.getLogger("transferzoo").setLevel(told)
    with _share_of_cores(threads):
        # first, and without TensorFlow's notices: what is packed imports it
        load_keras()
        import cloudpickle

        from transferzoo.backbones.catalog import BACKBONES
        from transferzoo.ground.progress import LineProgress, Progress
        from transferzoo.planning import RunPlan

        runs, given = cloudpickle.loads(packed)
        chain = [RunPlan(**each, data=data) for each in runs]
        for run in chain:
            # what the caller registered is not known here
            if run.backbone is not None and run.backbone.name not in BACKBONES:
                BACKBONES.register(run.backbone.name, run.backbone)
        names = ", ".join(f"{run.name} seed {run.seed}" for run in chain)
        progress = LineProgress(prefix=f"[{names}] ") if shown else Progress()
        outcomes = _chain(chain, {**given, "progress": progress}, *place)
    return [
        outcome.folder if isinstance(outcome, Result) and outcome.folder is not None else outcome
        for outcome in outcomes
    ]


@contextlib.contextmanager
def _share_of_cores(threads: int) -> Iterator[None]:
    """Tell what computes how many cores it may use; it reads this when a process first imports it."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    values = {**dict.fromkeys(names, str(threads)), "TF_NUM_INTEROP_THREADS": "1"}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _seeds(seed: Any, seeds: Any) -> list[int]:
    seed = check_seed(seed)
    if seeds is None:
        return [seed]
    return check_seeds(seeds)


def _is_run_name(name: Any) -> bool:
    """Tell whether a run's folder can be named so."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= LONGEST_NAME
        and name.isprintable()
        and not any(c in "/\\#" or c.isspace() for c in name)
        and not name.startswith(".")
    )


def _jobs(n_jobs: Any) -> int:
    if whole(n_jobs) == -1:
        return os.cpu_count() or 1
    return check_count("n_jobs", n_jobs, 1, "Or -1, for as many as there are cores.")


def named_models(models: Any) -> dict[str, Any]:
    """Return the models by name, or raise where they are given in no form that `compare` takes."""
    if isinstance(models, str):
        raise invalid("models", "a list of backbones' names", models, remedy=f"Pass ['{models}', …].")
    accepted = "a list of backbones' names, or a mapping of names to models"
    if not isinstance(models, Mapping):
        for name in check_sequence("models", accepted, models):
            if not isinstance(name, str):
                remedy = "Give built models names: {'mine': model}." if hasattr(name, "layers") else ""
                raise invalid("models", accepted, name, remedy=remedy)
    given = dict(models) if isinstance(models, Mapping) else {name: name for name in models}
    if not given:
        raise invalid("models", "one or more backbones' names", models)
    if len(given) < len(models):
        raise InvalidInputError(
            f"models must name each model once. Got {list(models)!r}. "
            "To run one with several seeds, pass seeds=(0, 1, 2); to run it with other options, give a "
            "mapping: {'first': 'mobilenet', 'second': {'model': 'mobilenet', 'head': 'mlp'}}.",
            argument="models",
            value=list(models),
        )
    for name in given:
        if not _is_run_name(name):
            raise invalid(
                "models",
                f"names of at most {LONGEST_NAME} characters, without spaces, slashes, # or a leading dot",
                name,
            )
    return given


def _entries(models: Any, recipe: Any, minutes: Any, options: Mapping[str, Any]) -> list[_Entry]:
    entries = []
    for name, model in named_models(models).items():
        network, own = model_and_options(f"models[{name!r}]", model)
        entries.append(
            _Entry(
                name=name,
                model=network,
                recipe=own.pop("recipe", recipe),
                minutes=own.pop("minutes", minutes),
                options={**options, **own},
            )
        )
    return entries
