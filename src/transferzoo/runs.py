"""`fit_and_evaluate`: one run, from the call to its Result."""

from __future__ import annotations

import datetime
import logging
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from transferzoo.costs.measure import costs_in_use
from transferzoo.data.dataset import Dataset
from transferzoo.errors import OutputExistsError, RecordError, invalid
from transferzoo.evaluation import evaluate, groups_to_count
from transferzoo.fitting import budget_of, trained_model, warn_of_the_end
from transferzoo.ground.arguments import check_flag
from transferzoo.ground.environment import environment
from transferzoo.ground.progress import Progress, choose_progress
from transferzoo.ground.storage.files import check_path, check_writable, output_failed
from transferzoo.ground.storage.locking import folder_held
from transferzoo.linting.checks import findings_for, log_findings
from transferzoo.models.construct import backbone_of, model_digest, model_settings
from transferzoo.models.prediction import predict_probabilities
from transferzoo.planning import RunPlan, plan_run
from transferzoo.recipes.recipe import Recipe
from transferzoo.results.folder import sweep_leftovers
from transferzoo.results.identity import settings_hash
from transferzoo.results.predictor import images_record
from transferzoo.results.result import Result
from transferzoo.training.checkpoints import Checkpoints
from transferzoo.training.loop import Trained
from transferzoo.training.user_callbacks import check_callbacks

logger = logging.getLogger("transferzoo")


def fit_and_evaluate(
    model: str | keras.Model,
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe = "default",
    minutes: float | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    save_model: bool = True,
    save_backbone: str | Path | None = None,
    cache: bool = True,
    lint: bool = True,
    verbose: bool | str | Progress = "auto",
    **options: Any,
) -> Result:
    """Train a model on the training images, then evaluate it once on the test images.

    Parameters
    ----------
    model : str or keras.Model
        A backbone's name, or a model from `build` (any Keras classifier from images to probabilities or
        logits will do). A model is trained in place.
    data : str, Path or Dataset
        A dataset's name, a folder of class folders with photos, or what `load_dataset`, `from_arrays`,
        `from_directory`, `from_table` or `from_batches` returned.
    recipe : str or Recipe, default "default"
        One of `list_recipes()`, or a record.
    minutes : float, optional
        How long the call may take, in place of `epochs`. When all earlier phases are over, a few steps of
        the last one are timed, and as many epochs follow as fit, with the learning rate's schedule at its
        end. At least the earlier phases run. Under the record's ``provenance["chosen"]`` stand ``epochs``
        and ``steps_per_epoch``, which repeat the run without the clock. More than five times the
        recipe's epochs are never chosen, so the call may return sooner.
    seed : int, default 0
        Of random weights, order and augmentation.
    out : str or Path, optional
        Folder to save the run in, new or empty. While it runs, the folder holds a checkpoint, written at the
        end of each epoch and every minute: the same call continues from there, and on a CPU ends with the
        weights of a run that was never interrupted. If the folder holds this very run already, finished, the
        run is loaded instead.
    callbacks : iterable of keras.callbacks.Callback
        Called in every phase that trains in epochs, and in the last one, which shows as one epoch if it
        solves the head in one go. Their `self.model` is the model that the run returns: saved within a
        callback, it predicts what the run would predict at that moment. `LearningRateScheduler` and
        `ReduceLROnPlateau` act in the last phase, and need ``schedule="constant"`` there.
    save_model : bool, default True
        Whether `out` gets ``model.keras`` too.
    save_backbone : str or Path, optional
        A new file, ``….weights.h5``, for the trained backbone's weights alone: ``build(name, …,
        weights="mine.weights.h5")`` begins another model with them.
    cache : bool, default True
        Whether features of a frozen backbone are kept on disk, for other heads, seeds and recipes; see
        `FeatureStore`.
    lint : bool, default True
        Whether what `tz.lint` finds is said, each finding once a process, before the training begins.
    verbose : {"auto", True, False}, default "auto"
        Show progress on standard error: bars in a terminal and in a notebook, lines elsewhere, one at the
        start and one an epoch. False: show nothing.
    **options
        Where a backbone's name is given, what `build` takes: `weights`, `head`, `image_size`, `stem`,
        `output_stride`, `stages`, `trainable`, `preprocessing`, `classifier_activation`. And what the recipe
        takes (see `Recipe.with_options`): of the last phase `epochs`, `steps_per_epoch`, `learning_rate`,
        `warmup`, `schedule`, `weight_decay`, `layer_decay`, `label_smoothing`, `batch_norm`,
        `augmentation`, `mixup`, `rand_augment`, `keep`, `patience`; of all phases `batch_size`,
        `class_weight`, `sampling`; and `faithful`.

    Returns
    -------
    Result
        Metrics on the test set, history, probabilities, costs, and the settings.

    Raises
    ------
    UnknownNameError, UnknownOptionError, InvalidInputError
        For a bad call; before anything slow starts, and with nothing written.
    OutputExistsError
        If `out` holds something else, or an unfinished run with other settings; the message names them.
    RecordError
        If `out` holds a damaged checkpoint.
    WeightsError, DownloadError
        If weights cannot be downloaded.
    DivergedError
        If the loss becomes NaN or infinite.
    KeyboardInterrupt
        On Ctrl-C; with `out`, after the batch underway and with all of it saved.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> result = tz.fit_and_evaluate("mobilenet_025", data, weights=None, epochs=1)
    >>> sorted(result.metrics)[:2]
    ['accuracy', 'accuracy_high']
    """
    began = time.perf_counter()
    progress = choose_progress(verbose)
    save_model, cache, lint = (
        check_flag(argument, value)
        for argument, value in (("save_model", save_model), ("cache", cache), ("lint", lint))
    )
    callbacks = check_callbacks(callbacks)
    backbone_file = None if save_backbone is None else _new_weights_file(save_backbone)
    run = plan_run(
        model,
        data,
        recipe=recipe,
        minutes=minutes,
        seed=seed,
        out=out,
        options=options,
        keep_features=cache,
        progress=progress,
    )
    if lint and not run.finished():
        found = findings_for(run)
        log_findings(found)
        run = replace(run, findings=tuple(each.record() for each in found))
    if backbone_file is not None and run.model is not None and backbone_of(run.model) is None:
        raise invalid(
            "save_backbone", "left out for a model without a part 'backbone', as from tz.build", save_backbone
        )
    result = execute(run, callbacks=callbacks, save_model=save_model, progress=progress, began=began)
    if backbone_file is not None:
        _write_backbone(result, backbone_file)
    return result


def _new_weights_file(given: str | Path) -> Path:
    path = check_path("save_backbone", given)
    if not path.name.endswith(".weights.h5"):
        raise invalid("save_backbone", "a file that ends in .weights.h5", str(given))
    if path.exists():
        raise OutputExistsError(
            f"'{path}' exists; nothing in it was touched. Choose another name, or move it away first.",
            argument="save_backbone",
            value=str(path),
        )
    check_writable("save_backbone", path.parent)
    return path


def _write_backbone(result: Result, path: Path) -> None:
    network = backbone_of(result.model)
    assert network is not None
    try:
        # Keras takes no other ending than .weights.h5, and the file must not be there by half
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as beside:
            part = Path(beside) / path.name
            network.save_weights(part)
            part.replace(path)
    except OSError as error:
        raise output_failed(path.parent, error) from error
    logger.info("the backbone's weights are in '%s'", path)


def execute(
    run: RunPlan,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    save_model: bool = True,
    progress: Progress | None = None,
    first_rate: float | None = None,
    began: float | None = None,
) -> Result:
    """Carry out a plan: build, train, evaluate, measure, save; `began` is when the call did.

    The output folder is held from here on, so that no other process writes into it.
    """
    began = time.perf_counter() if began is None else began
    progress = progress or Progress()
    if run.out is None:
        result = _fresh(run, None, callbacks, progress, first_rate, began)
        progress.say(result.headline())
        return result
    if run.finished():
        return _loaded(run.out)
    with folder_held(run.out, run.digest):
        run.refuse_other_run()
        if run.finished():
            # another process has made it meanwhile
            return _loaded(run.out)
        checkpoints = Checkpoints(run.out, run.settings, environment())
        checkpoints.sweep()
        result = _fresh(run, checkpoints, callbacks, progress, first_rate, began)
        progress.say(result.headline())
        try:
            result = replace(result, folder=result.write_into(run.out, model=save_model))
        except OSError as error:
            raise output_failed(run.out, error) from error
        checkpoints.remove()
        logger.info("saved in '%s'", run.out)
        return result


def _loaded(folder: Path) -> Result:
    logger.info("'%s' holds this run already; loaded", folder)
    try:
        result = Result.load(folder)
    except RecordError as error:
        raise RecordError(
            f"{error} '{folder}' holds this very run; once it is deleted, the same call makes the run again.",
            argument="out",
            value=str(folder),
        ) from error
    sweep_leftovers(folder)
    return result


def _fresh(
    run: RunPlan,
    checkpoints: Checkpoints | None,
    callbacks: Iterable[keras.callbacks.Callback],
    progress: Progress,
    first_rate: float | None,
    began: float,
) -> Result:
    """Return the result of a run that continues from its checkpoint, or begins."""
    started = datetime.datetime.now(datetime.UTC)
    clock = _Clock()
    progress.say(run.in_words())
    model, trained, spent = trained_model(
        run,
        callbacks=callbacks,
        progress=progress,
        checkpoints=checkpoints,
        first_rate=first_rate,
        budget=budget_of(run, began, len(run.data.x_test) + len(run.data.x_validation)),
        built=lambda: clock.lap("build"),
    )
    clock.lap("train")
    return _judged(run, model, trained, spent, clock, progress, started, began)


def _judged(
    run: RunPlan,
    model: keras.Model,
    trained: Trained,
    spent: Mapping[str, float],
    clock: _Clock,
    progress: Progress,
    started: datetime.datetime,
    began: float,
) -> Result:
    """Test a trained model, measure what it costs, and put all of it on record."""
    data = run.data
    y_prob = predict_probabilities(model, data.x_test, progress=progress)
    validation_prob = predict_probabilities(model, data.x_validation, progress=progress)
    clock.lap("predict")
    logger.info("%s: %s is returned", run.name, trained.returned)
    warn_of_the_end(run.name, trained.history, data.y_validation, validation_prob)
    costs = {
        **costs_in_use(model, data.x_test),
        **spent,
        # features from the cache cost what they cost when they were computed
        "train_seconds": trained.seconds + trained.reused_seconds,
        "reused_feature_seconds": trained.reused_seconds,
    }
    clock.lap("measure")
    hashes = {
        "settings": settings_hash(run.settings),
        "identity": run.digest,
        "data": data.content_hash(),
        "weights": getattr(model_settings(model), "weights_sha256", None),
        "trained_model": model_digest(model),
    }
    durations = {
        **clock.seconds,
        "train": trained.seconds,
        "reused_features": trained.reused_seconds,
        "call": time.perf_counter() - began,
    }
    return Result(
        name=run.name,
        metrics=evaluate(
            data.y_test,
            y_prob,
            class_names=data.class_names,
            validation=(data.y_validation, validation_prob),
            groups=groups_to_count(data.groups.get("test")),
        ),
        history=trained.history,
        y_true=data.y_test,
        y_prob=y_prob,
        class_names=data.class_names,
        settings=dict(run.settings),
        costs=costs,
        environment=environment(),
        index=data.test_index,
        files=data.files.get("test"),
        groups=data.groups.get("test"),
        validation_true=data.y_validation,
        validation_prob=validation_prob,
        provenance={
            "call": run.call,
            "hashes": hashes,
            "durations": durations,
            "left_out": dict(data.left_out),
            "images": images_record(data.input_shape, data.reading),
            "returned": trained.returned,
            "findings": [dict(each) for each in run.findings],
            **({"chosen": dict(trained.chosen)} if trained.chosen else {}),
            "started": started.isoformat(timespec="seconds"),
        },
        _model=model,
    )


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
