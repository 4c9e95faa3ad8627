"""`fit_and_evaluate`: one run, from the call to its Result."""

from __future__ import annotations

import datetime
import inspect
import logging
import math
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.weights import available_weights, locate_weights
from transferzoo.costs.measure import PeakMemory, measure_costs
from transferzoo.data.catalog import resolve_data
from transferzoo.data.dataset import Dataset
from transferzoo.errors import (
    DivergedError,
    InvalidInputError,
    OutputExistsError,
    UnknownOptionError,
    check_count,
    unknown_option,
)
from transferzoo.evaluation import evaluate
from transferzoo.features.store import FeatureStore
from transferzoo.ground.progress import Progress, choose_progress
from transferzoo.ground.storage.files import file_hash, refuse_full_folder
from transferzoo.heads import head_name, is_linear
from transferzoo.linting.checks import findings_for, log_findings
from transferzoo.models.construct import (
    backbone_digest,
    build,
    check_build,
    head_digest,
    learning_digest,
    model_digest,
    model_settings,
    seeded,
)
from transferzoo.models.prediction import gives_probabilities, predict
from transferzoo.recipes.catalog import resolve_recipe
from transferzoo.recipes.recipe import OPTIONS as RECIPE_OPTIONS
from transferzoo.recipes.recipe import Recipe
from transferzoo.results.differences import differing
from transferzoo.results.result import (
    Result,
    identity_hash,
    identity_of,
    is_run,
    plain,
    read_settings,
    settings_hash,
)
from transferzoo.training.budget import Budget, check_minutes
from transferzoo.training.checkpoints import Checkpoints, read_unfinished
from transferzoo.training.loop import train
from transferzoo.training.plan import is_frozen, plan, recipe_for

logger = logging.getLogger("transferzoo")

BUILD_OPTIONS = tuple(
    name
    for name, parameter in inspect.signature(build).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("input_shape", "seed", "progress")
)


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run, all decided and checked, nothing computed."""

    name: str
    model: keras.Model | None
    backbone: Backbone | None
    build_options: Mapping[str, Any]
    recipe: Recipe
    data: Dataset
    seed: int
    out: Path | None
    settings: Mapping[str, Any]
    call: Mapping[str, Any]
    keep_features: bool
    minutes: float | None = None

    @property
    def digest(self) -> str:
        """SHA-256 that names the run: the same for the same run, wherever and whenever it is asked for."""
        return identity_hash(self.settings)

    def finished(self) -> bool:
        """Tell whether the output folder holds this very run."""
        held = None if self.out is None else read_settings(self.out)
        return held is not None and identity_of(held) == identity_of(self.settings)


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
        Folder to save the run in, new or empty. Underway it holds a checkpoint, written at the end of each
        epoch and every minute: the same call goes on from there, and on a CPU ends with the weights of a
        run that was never interrupted. If it holds this very run already, finished, that is loaded instead.
    callbacks : iterable of keras.callbacks.Callback
        Called in every phase that trains in epochs, and in the last one, which shows as one epoch if it
        solves the head in one go. Their `self.model` is the model that the run returns: saved within a
        callback, it predicts what the run would predict at that moment. `LearningRateScheduler` and
        `ReduceLROnPlateau` act in the last phase, and need ``schedule="constant"`` there.
    save_model : bool, default True
        Whether `out` gets ``model.keras`` too.
    cache : bool, default True
        Whether features of a frozen backbone are kept on disk, for other heads, seeds and recipes; see
        `FeatureStore`.
    lint : bool, default True
        Whether what `tz.lint` finds is said, each finding once a process, before the training begins.
    verbose : {"auto", True, False}, default "auto"
        Show progress; ``"auto"``: when standard error is a terminal.
    **options
        Whatever belongs to `build` (`weights`, `head`, `image_size`, …) where a name is given, or to the
        recipe (`epochs`, `batch_size`, `learning_rate`, …: see `Recipe.with_options`).

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
        If weights cannot be had.
    DivergedError
        If the loss leaves the numbers.
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
        log_findings(findings_for(run))
    return execute(run, callbacks=callbacks, save_model=save_model, progress=progress, began=began)


def plan_run(
    model: str | keras.Model,
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe,
    seed: int,
    out: str | Path | None,
    options: Mapping[str, Any],
    name: str | None = None,
    after: str | None = None,
    keep_features: bool = True,
    progress: Progress | None = None,
    caller: str = "fit_and_evaluate",
    minutes: float | None = None,
) -> RunPlan:
    """Check a call and decide everything, before anything slow starts; downloads a dataset at most."""
    seed = check_count("seed", seed, 0)
    given_recipe, recipe = recipe, resolve_recipe(recipe)
    build_options = {key: value for key, value in options.items() if key in BUILD_OPTIONS}
    recipe_options = {key: value for key, value in options.items() if key in RECIPE_OPTIONS}
    for option in options:
        if option not in BUILD_OPTIONS and option not in RECIPE_OPTIONS:
            raise unknown_option(caller, option, (*BUILD_OPTIONS, *RECIPE_OPTIONS))
    backbone = None
    if isinstance(model, keras.Model):
        label = str(model.name)
        if build_options:
            raise UnknownOptionError(
                f"The model is built already, so {', '.join(map(repr, build_options))} cannot apply. "
                f"Pass it to tz.build, or give {caller} a backbone's name.",
                argument=next(iter(build_options)),
            )
        known = model_settings(model)
        settled = recipe_for(model, recipe)
        _refuse_frozen(recipe, settled, frozen=is_frozen(model))
        recipe = settled.with_options(known.backbone if known else None, **recipe_options)
    else:
        backbone = BACKBONES.get(model)
        label = backbone.name
        if recipe_options.get("faithful"):
            recipe = recipe.with_faults(recipe_options["faithful"])
        given = {**recipe.build_options(backbone.name), **build_options}
        weights = available_weights(backbone, given.get("weights", "imagenet"))
        build_options = {
            **recipe.build_options(backbone.name, pretrained=weights is not None),
            **build_options,
            "weights": weights,
        }
        frozen = build_options.get("trainable", "all") == "none"
        settled = recipe.for_model(
            pretrained=weights is not None,
            linear_head=is_linear(build_options.get("head", "linear")),
            frozen=frozen,
        )
        _refuse_frozen(recipe, settled, frozen=frozen)
        recipe = settled.with_options(backbone.name, **recipe_options)
    minutes = check_minutes(minutes, recipe, recipe_options)
    data = resolve_data(data, seed=seed, progress=progress)
    recipe = recipe.for_images(len(data.x_train))
    if isinstance(model, keras.Model):
        described = _check_model(model, data, recipe)
    else:
        assert backbone is not None
        described = _check_build(backbone, build_options, data)
    target = None if out is None else Path(out).expanduser()
    call = {
        "model": model if isinstance(model, str) else f"keras.Model '{label}'",
        "data": list(data.calls) or f"arrays named '{data.name}'",
        "recipe": given_recipe if isinstance(given_recipe, str) else recipe.name,
        "seed": seed,
        **({} if minutes is None else {"minutes": minutes}),
        "options": dict(options),
    }
    settings = plain(
        {
            "model": described,
            "data": {
                "name": data.name,
                "sha256": data.content_hash(),
                "test_sha256": data.test_hash,
                "train": len(data.x_train),
                "validation": len(data.x_validation),
                "test": len(data.x_test),
                "seed": data.seed,
                "mirror_safe": data.mirror_safe,
            },
            "recipe": recipe.to_dict(),
            "seed": seed,
            **({} if minutes is None else {"minutes": minutes}),
            **({"rate_carried_from": after} if after and "carried_rate" in recipe.faults else {}),
        }
    )
    run = RunPlan(
        name=name or label,
        model=model if isinstance(model, keras.Model) else None,
        backbone=backbone,
        build_options=build_options,
        recipe=recipe,
        data=data,
        seed=seed,
        out=target,
        settings=settings,
        call=plain(call),
        keep_features=keep_features,
        minutes=minutes,
    )
    if target is not None and not run.finished():
        _refuse_other_run(target, settings)
    return run


def execute(
    run: RunPlan,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    save_model: bool = True,
    progress: Progress | None = None,
    first_rate: float | None = None,
    began: float | None = None,
) -> Result:
    """Carry out a plan: build, train, evaluate, measure, save; `began` is when the call did."""
    began = time.perf_counter() if began is None else began
    progress = progress or Progress()
    if run.finished():
        assert run.out is not None
        logger.info("'%s' holds this run already; loaded", run.out)
        Checkpoints(run.out, run.settings).remove()
        return Result.load(run.out)
    started = datetime.datetime.now(datetime.UTC)
    clock = _Clock()
    model, data = run.model, run.data
    if model is None:
        assert run.backbone is not None
        model = build(
            run.backbone.name,
            data.num_classes,
            input_shape=data.input_shape,
            seed=run.seed,
            progress=progress,
            **run.build_options,
        )
    plan(model, data, run.recipe, seed=run.seed)
    clock.lap("build")
    checkpoints = None
    if run.out is not None:
        checkpoints = Checkpoints(run.out, run.settings, environment())
        checkpoints.sweep()
    with seeded(run.seed), PeakMemory() as memory:
        try:
            trained = train(
                model,
                data,
                run.recipe,
                seed=run.seed,
                callbacks=callbacks,
                progress=progress,
                store=FeatureStore() if run.keep_features else None,
                checkpoints=checkpoints,
                first_rate=first_rate,
                budget=_budget(run, began),
            )
        except DivergedError:
            if checkpoints is not None:
                checkpoints.remove()
            raise
    clock.lap("train")
    y_prob = _probabilities(model, data.x_test, progress)
    validation_prob = _probabilities(model, data.x_validation, progress)
    clock.lap("predict")
    logger.info("%s: %s is returned", run.name, trained.returned)
    _warn_of_the_end(run.name, trained.history, data.y_validation, validation_prob)
    costs = {
        **measure_costs(model, data.x_test),
        **memory.costs(),
        # features from the cache cost what they cost when they were computed
        "train_seconds": trained.seconds + trained.reused_seconds,
        "reused_feature_seconds": trained.reused_seconds,
    }
    clock.lap("measure")
    settings = model_settings(model)
    result = Result(
        name=run.name,
        metrics=evaluate(
            data.y_test,
            y_prob,
            class_names=data.class_names,
            validation=(data.y_validation, validation_prob),
        ),
        history=trained.history,
        y_true=data.y_test,
        y_prob=y_prob,
        class_names=data.class_names,
        settings=dict(run.settings),
        costs=costs,
        environment=environment(),
        index=data.test_index,
        validation_true=data.y_validation,
        validation_prob=validation_prob,
        provenance={
            "call": run.call,
            "hashes": {
                "settings": settings_hash(run.settings),
                "identity": run.digest,
                "data": data.content_hash(),
                "weights": settings.weights_sha256 if settings else None,
                "trained_model": model_digest(model),
            },
            "durations": {
                **clock.seconds,
                "train": trained.seconds,
                "reused_features": trained.reused_seconds,
                "call": time.perf_counter() - began,
            },
            "left_out": dict(data.left_out),
            "returned": trained.returned,
            **({"chosen": dict(trained.chosen)} if trained.chosen else {}),
            "started": started.isoformat(timespec="seconds"),
        },
        _model=model,
    )
    if run.out is not None:
        assert checkpoints is not None
        result = replace(result, folder=result.write_into(run.out, model=save_model))
        checkpoints.remove()
        logger.info("saved in '%s'", run.out)
    return result


def _budget(run: RunPlan, began: float) -> Budget | None:
    if run.minutes is None:
        return None
    evaluated = len(run.data.x_test) + len(run.data.x_validation)
    return Budget(seconds=60 * run.minutes, began=began, evaluated=evaluated)


def _warn_of_the_end(
    name: str, history: Mapping[str, Sequence[Any]], y_true: np.ndarray, y_prob: np.ndarray
) -> None:
    """Say so where a run ended near chance, or where its validation accuracy fell on the way."""
    n = len(y_true)
    accuracy = float((y_prob.argmax(axis=1) == y_true).mean())
    chance = float(np.bincount(y_true).max() / n)
    if accuracy <= chance + 2 * math.sqrt(chance * (1 - chance) / n):
        logger.warning(
            "%s ended near chance: %.1f %% of %d validation images, and naming the most frequent class "
            "alone gets "
            "%.1f %%. Look at the images and labels (tz.plots.image_grid), try recipe='linear_probe', a "
            "lower "
            "learning_rate, or published weights",
            name,
            100 * accuracy,
            n,
            100 * chance,
        )
        return
    figures = [each for each in history.get("val_accuracy", []) if math.isfinite(each)]
    if not figures:
        return
    fall = max(figures) - accuracy
    if fall > 2 * math.sqrt(max(figures) * (1 - max(figures)) / n) + 1e-9 and len(figures) > 1:
        logger.warning(
            "%s: validation accuracy fell from %.1f to %.1f %% during training; keep='best' returns the "
            "best epoch, "
            "a lower learning_rate or fewer epochs avoid the fall",
            name,
            100 * max(figures),
            100 * accuracy,
        )


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def _probabilities(model: keras.Model, images: np.ndarray, progress: Progress) -> np.ndarray:
    outputs = predict(model, images, progress=progress)
    return (outputs if gives_probabilities(model, images) else softmax(outputs)).astype("float32")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits ``(n, k)``."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=1)))


def environment() -> dict[str, str]:
    """Return versions, backend and machine, for the record."""
    packages = ("transferzoo", "keras", "tensorflow", "jax", "torch", "numpy", "scipy", "scikit-learn")
    found = {
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "devices": ", ".join(keras.distribution.list_devices()),
        "cores": str(os.cpu_count()),
        "dtype_policy": keras.config.dtype_policy().name,
    }
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "platform": platform.platform(), "machine": platform.machine()}


def _check_build(backbone: Backbone, options: Mapping[str, Any], data: Dataset) -> dict[str, Any]:
    """Check what can be checked of `build`'s options without building, and describe the model."""
    weights = options.get("weights", "imagenet")
    size = check_build(backbone, data.num_classes, input_shape=data.input_shape, **options)
    published = backbone.published_weights(str(weights)) if weights is not None else None
    digest = None
    if weights is not None and published is None:
        path = locate_weights(backbone, weights)
        assert path is not None
        digest = file_hash(path)
    return {
        "backbone": backbone.name,
        "backbone_sha256": backbone_digest(backbone),
        "weights": None if weights is None else (published.name if published else "file"),
        "weights_sha256": digest,
        "head": head_name(options.get("head", "linear")),
        "head_sha256": head_digest(options.get("head", "linear"), backbone, data.num_classes),
        "input_shape": list(data.input_shape),
        "image_size": list(size),
        "trainable": options.get("trainable", "all"),
        "classifier_activation": options.get("classifier_activation", "softmax"),
        "preprocessing": options.get("preprocessing", "backbone"),
        "stem": options.get("stem", "original"),
        "output_stride": options.get("output_stride"),
    }


def _check_model(model: keras.Model, data: Dataset, recipe: Recipe) -> dict[str, Any]:
    inputs, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if isinstance(outputs, tuple) and outputs[-1] != data.num_classes:
        raise InvalidInputError(
            f"The model gives {outputs[-1]} classes and dataset '{data.name}' has {data.num_classes}. "
            f"Build it with num_classes={data.num_classes}.",
            argument="model",
            value=outputs[-1],
        )
    if isinstance(inputs, tuple):
        fits = zip(inputs[1:], data.input_shape, strict=False)
        if any(ours is not None and ours != theirs for ours, theirs in fits):
            raise InvalidInputError(
                f"The model takes images of shape {inputs[1:]} and dataset '{data.name}' has "
                f"{data.input_shape}. Build it with input_shape={data.input_shape}.",
                argument="model",
                value=inputs[1:],
            )
    settings = model_settings(model)
    if "raw_pixels" in recipe.faults and not (settings and settings.preprocessing == "none"):
        raise InvalidInputError(
            "faithful=True needs a model that is given raw pixels. "
            "Give fit_and_evaluate the backbone's name, or build the model with preprocessing='none'.",
            argument="faithful",
            value=True,
        )
    return {
        **(settings.to_dict() if settings else {"name": model.name}),
        "digest": model_digest(model),
        "learning_sha256": learning_digest(model),
    }


def _refuse_frozen(recipe: Recipe, settled: Recipe, *, frozen: bool) -> None:
    """Raise where a recipe that ends in training the backbone meets a frozen one; warn for the default."""
    last = recipe.phases[-1]
    if not frozen or any(phase.name == last.name for phase in settled.phases) or last.trainable != "as_built":
        return
    how = (
        "In a model: model.get_layer('backbone').trainable = True. With a backbone's name: leave "
        "trainable='none' out."
    )
    left = ", ".join(f"'{phase.name}'" for phase in settled.phases)
    if recipe.name == "default":
        logger.warning(
            "the backbone is frozen, so recipe 'default' trains the head alone (phase %s). To train the "
            "backbone too, unfreeze it. %s",
            left,
            how,
        )
        return
    raise InvalidInputError(
        f"recipe '{recipe.name}' trains the backbone in phase '{last.name}', and this backbone is frozen. "
        f"Unfreeze it, or use recipe='linear_probe' or 'head' to train the head alone. {how}",
        argument="recipe",
        value=recipe.name,
    )


def _refuse_other_run(folder: Path, settings: Mapping[str, Any]) -> None:
    unfinished = None if is_run(folder) else read_unfinished(folder)
    if unfinished is not None and identity_of(unfinished) == identity_of(settings):
        return
    if unfinished is None and not is_run(folder):
        refuse_full_folder(folder)
        return
    held = unfinished or read_settings(folder) or {}
    apart = [_set_apart(*each) for each in differing(identity_of(held), identity_of(settings))]
    words = "; ".join(sorted(apart)) or "its results"
    raise OutputExistsError(
        f"'{folder}' holds another {'unfinished ' if unfinished else ''}run; nothing in it was touched. "
        f"It differs in {words}. Choose another folder, or move it away first.",
        argument="out",
        value=str(folder),
    )


def _set_apart(path: str, there: Any, here: Any) -> str:
    """Name a setting that differs, with both values where they are short."""
    values = f"{there!r} there, {here!r} here"
    return f"{path} ({values})" if len(values) <= 80 else path
