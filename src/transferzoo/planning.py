"""One run, all decided and checked, before anything slow starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.weights import available_weights
from transferzoo.data.catalog import resolve_data
from transferzoo.data.dataset import Dataset
from transferzoo.errors import (
    InvalidInputError,
    OutputExistsError,
    UnknownOptionError,
    invalid,
    unknown_option,
)
from transferzoo.ground.arguments import check_seed
from transferzoo.ground.progress import Progress
from transferzoo.ground.storage.files import check_path, check_writable, refuse_full_folder
from transferzoo.heads import is_linear
from transferzoo.models.construct import learning_digest, model_digest, model_settings
from transferzoo.models.options import OPTIONS as BUILD_OPTIONS
from transferzoo.models.options import BuildOptions, read_options
from transferzoo.models.plan import BuildPlan, plan_build
from transferzoo.models.prediction import output_activation
from transferzoo.recipes.catalog import resolve_recipe
from transferzoo.recipes.recipe import OPTIONS as RECIPE_OPTIONS
from transferzoo.recipes.recipe import Recipe
from transferzoo.recipes.weighting import refuse_unknown_classes
from transferzoo.results.differences import differing
from transferzoo.results.folder import LEFTOVERS, is_run, read_settings
from transferzoo.results.identity import identity_hash, identity_of, plain
from transferzoo.training.budget import check_minutes
from transferzoo.training.checkpoints import read_unfinished
from transferzoo.training.plan import is_frozen, recipe_for

logger = logging.getLogger("transferzoo")


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run, all decided and checked, nothing computed."""

    name: str
    model: keras.Model | None
    build_plan: BuildPlan | None
    recipe: Recipe
    data: Dataset
    seed: int
    out: Path | None
    settings: Mapping[str, Any]
    call: Mapping[str, Any]
    keep_features: bool
    minutes: float | None = None
    # what lint found beforehand, for the record
    findings: tuple[Mapping[str, Any], ...] = ()

    @property
    def backbone(self) -> Backbone | None:
        """The backbone that is built, or None where the model is built already."""
        return None if self.build_plan is None else self.build_plan.backbone

    @property
    def digest(self) -> str:
        """SHA-256 that names the run: the same for the same run, wherever and whenever it is asked for."""
        return identity_hash(self.settings)

    def in_words(self) -> str:
        """Return what the run is, in a line: for the beginning of its progress."""
        phases = [
            f"{phase.name} ({phase.epochs} epochs)" if phase.optimizer != "lbfgs" else phase.name
            for phase in self.recipe.phases
        ]
        if len(phases) == 1 and phases[0] == self.recipe.name:
            phases = []
        data = self.data
        sizes = f"{len(data.y_train):,} training, {len(data.y_validation):,} validation"
        height, width, _ = data.input_shape
        lost = sum(data.left_out.values())
        return (
            f"{self.name}, recipe {self.recipe.name}"
            + (f": {', then '.join(phases)}" if phases else "")
            + f"; {sizes} and {len(data.y_test):,} test images of {height}×{width}"
            + f" in {data.num_classes} classes"
            + (f" ({lost:,} files left out)" if lost else "")
            + ("" if self.minutes is None else f"; at most {self.minutes:g} minutes")
        )

    def finished(self) -> bool:
        """Tell whether the output folder holds this very run."""
        held = None if self.out is None else read_settings(self.out)
        return held is not None and identity_of(held) == identity_of(self.settings)

    def refuse_other_run(self) -> None:
        """Raise if the output folder holds anything but this run, finished or not, and our own leftovers."""
        if self.out is None or self.finished():
            return
        unfinished = None if is_run(self.out) else read_unfinished(self.out)
        if unfinished is not None and identity_of(unfinished) == identity_of(self.settings):
            return
        if unfinished is None and not is_run(self.out):
            refuse_full_folder(self.out, ignoring=LEFTOVERS)
            return
        held = unfinished or read_settings(self.out) or {}
        apart = [_set_apart(*each) for each in differing(identity_of(held), identity_of(self.settings))]
        words = "; ".join(sorted(apart)) or "its results"
        raise OutputExistsError(
            f"'{self.out}' holds another {'unfinished ' if unfinished else ''}run; nothing in it was "
            f"touched. It differs in {words}. Choose another folder, or move it away first.",
            argument="out",
            value=str(self.out),
        )


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
    for_training: bool = True,
    for_testing: bool = True,
) -> RunPlan:
    """Check a call and decide everything, before anything slow starts; downloads a dataset at most."""
    seed = check_seed(seed)
    folder = None if out is None else check_path("out", out, "a folder, as text or a Path")
    if not isinstance(model, str | keras.Model):
        remedy = "keras.models.load_model reads a saved one." if isinstance(model, Path) else ""
        raise invalid("model", "a backbone's name or a keras.Model", model, remedy=remedy)
    given_recipe, resolved = recipe, resolve_recipe(recipe)
    for option in options:
        if option not in BUILD_OPTIONS and option not in RECIPE_OPTIONS:
            raise unknown_option(caller, option, (*BUILD_OPTIONS, *RECIPE_OPTIONS))
    settle = _settle_built if isinstance(model, keras.Model) else _settle_named
    settled = settle(model, resolved, options, caller)
    minutes = check_minutes(minutes, settled.recipe, options)
    data = resolve_data(data, seed=seed, progress=progress)
    if for_testing and not len(data.y_test):
        raise InvalidInputError(
            f"Dataset '{data.name}' has no test images, and {caller} tests the model. tz.fit trains "
            "without a test; test=0.2 sets test images aside when the data is loaded.",
            argument="data",
            value=data.name,
        )
    refuse_unknown_classes(settled.recipe.class_weight, data.class_names)
    # how many epochs a recipe has may depend on the images
    settled = replace(settled, recipe=settled.recipe.for_images(len(data.x_train)))
    timed = {} if minutes is None else {"minutes": minutes}
    carried = {"rate_carried_from": after} if after and "carried_rate" in settled.recipe.faults else {}
    build_plan = None
    if settled.model is None:
        assert settled.backbone is not None
        assert settled.build_options is not None
        build_plan = plan_build(
            settled.backbone, data.num_classes, settled.build_options, input_shape=data.input_shape
        )
        described = build_plan.describe()
    else:
        if for_training:
            _refuse_outputs(settled.model)
        described = _check_model(settled.model, data, settled.recipe)
    settings = {
        "model": described,
        "data": describe_data(data),
        "recipe": settled.recipe.to_dict(),
        "seed": seed,
        **timed,
        **carried,
    }
    call = {
        "model": model if isinstance(model, str) else f"keras.Model '{settled.label}'",
        "data": list(data.calls) or f"arrays named '{data.name}'",
        "recipe": given_recipe if isinstance(given_recipe, str) else resolved.name,
        "seed": seed,
        **timed,
        "options": dict(options),
    }
    run = RunPlan(
        name=name or settled.label,
        model=settled.model,
        build_plan=build_plan,
        recipe=settled.recipe,
        data=data,
        seed=seed,
        out=folder,
        settings=plain(settings),
        call=plain(call),
        keep_features=keep_features,
        minutes=minutes,
    )
    # a finished run may be read where nothing can be written
    if run.out is not None and not run.finished():
        run.refuse_other_run()
        check_writable("out", run.out)
    return run


@dataclass(frozen=True, kw_only=True)
class _Settled:
    """A model, built or to be built, and the recipe's phases that apply to it, with all options in place."""

    label: str
    recipe: Recipe
    model: keras.Model | None = None
    backbone: Backbone | None = None
    build_options: BuildOptions | None = None


def _settle_built(model: keras.Model, recipe: Recipe, options: Mapping[str, Any], caller: str) -> _Settled:
    given = [option for option in options if option in BUILD_OPTIONS]
    if given:
        raise UnknownOptionError(
            f"The model is built already, so {', '.join(map(repr, given))} cannot apply. "
            f"Pass it to tz.build, or give {caller} a backbone's name.",
            argument=given[0],
        )
    known = model_settings(model)
    settled = recipe_for(model, recipe)
    _refuse_frozen(recipe, settled, frozen=is_frozen(model))
    settled = settled.with_options(known.backbone if known else None, **options)
    return _Settled(label=str(model.name), recipe=settled, model=model)


def _settle_named(name: str, recipe: Recipe, options: Mapping[str, Any], caller: str) -> _Settled:
    backbone = BACKBONES.get(name)
    own = {key: value for key, value in options.items() if key in RECIPE_OPTIONS}
    told = {key: value for key, value in options.items() if key in BUILD_OPTIONS}
    recipe = recipe.with_faults(own.get("faithful"))
    stems = backbone.stems
    given = {**recipe.build_options(backbone.name, stems=stems), **told}
    weights = available_weights(backbone, given.get("weights", "imagenet"))
    pretrained = weights is not None
    build_options = read_options(
        {
            **recipe.build_options(backbone.name, pretrained=pretrained, stems=stems),
            **told,
            "weights": weights,
        },
        f"build, which recipe '{recipe.name}' gives options to,",
    )
    frozen = build_options.trainable == "none"
    settled = recipe.for_model(
        pretrained=pretrained, linear_head=is_linear(build_options.head), frozen=frozen
    )
    _refuse_frozen(recipe, settled, frozen=frozen)
    return _Settled(
        label=backbone.name,
        recipe=settled.with_options(backbone.name, **own),
        backbone=backbone,
        build_options=build_options,
    )


def describe_data(data: Dataset) -> dict[str, Any]:
    """Return what a run has on record of its dataset."""
    return {
        "name": data.name,
        "sha256": data.content_hash(),
        "test_sha256": data.test_hash,
        "train": len(data.x_train),
        "validation": len(data.x_validation),
        "test": len(data.x_test),
        "seed": data.seed,
        "flip_safe": data.flip_safe,
    }


def _refuse_outputs(model: keras.Model) -> None:
    """Raise for a model whose outputs are neither probabilities nor logits: their loss means nothing."""
    activation = output_activation(model)
    if activation not in (None, "linear", "softmax", "log_softmax"):
        raise InvalidInputError(
            f"The model must end in logits or in a softmax. Its last activation is '{activation}', which "
            "would be taken for logits. End it in keras.layers.Dense(num_classes), or with "
            "activation='softmax'.",
            argument="model",
            value=activation,
        )


def _check_model(model: keras.Model, data: Dataset, recipe: Recipe) -> dict[str, Any]:
    inputs, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    for word, tensors, shape in (
        ("input", getattr(model, "inputs", None), inputs),
        ("output", getattr(model, "outputs", None), outputs),
    ):
        rank = 4 if word == "input" else 2
        if tensors and (len(tensors) != 1 or len(tensors[0].shape) != rank):
            accepted = "images (batch, height, width, channels)" if rank == 4 else "a row of (batch, classes)"
            raise InvalidInputError(
                f"The model must have one {word}, {accepted}. Got {shape}.", argument="model", value=shape
            )
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


def _set_apart(path: str, there: Any, here: Any) -> str:
    """Name a setting that differs, with both values where they are short."""
    values = f"{there!r} there, {here!r} here"
    return f"{path} ({values})" if len(values) <= 80 else path
