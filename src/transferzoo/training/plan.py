"""What a recipe comes to for a model and data, decided before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np

from transferzoo.data.batches import Batches
from transferzoo.data.dataset import Dataset
from transferzoo.models.construct import backbone_of, head_of, model_settings
from transferzoo.recipes.phase import Phase
from transferzoo.recipes.recipe import Recipe
from transferzoo.recipes.weighting import class_weights
from transferzoo.training.linear_head import has_linear_head

# 250 batches of 100 against 15,000 validation images, as in the article
REPEATED_VALIDATION = 250 * 100 / 15_000
# a phase on part of the images takes this share of them from validation
VALIDATION_SHARE = 5


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """One phase, with all that is decided before anything is computed."""

    phase: Phase
    features_once: bool
    images: int
    steps: int
    seed: tuple[int, ...]
    class_weight: tuple[float, ...] | None = None
    balanced: bool = False
    augmented_validation: bool = False
    repeated_validation: bool = False

    @property
    def batch_norm_momentum(self) -> float | None:
        """The momentum that the phase's BatchNorm gets, or None where it keeps its own."""
        return max(1 - 10 / self.steps, 0.9) if self.phase.batch_norm == "train" else None


def plan(model: keras.Model, data: Dataset, recipe: Recipe, *, seed: int) -> list[PhasePlan]:
    """Decide which phases run and how, without computing anything."""
    recipe = recipe_for(model, recipe)
    frozen = is_frozen(model)
    weights = class_weights(recipe.class_weight, data.y_train, data.class_names)
    plans: list[PhasePlan] = []
    for number, phase in enumerate(recipe.phases):
        still = phase.trainable == "none" or (phase.trainable == "as_built" and frozen)
        images = min(len(data.x_train), phase.max_images or len(data.x_train))
        plans.append(
            PhasePlan(
                phase=phase,
                features_once=still and phase.augmentation is None and head_of(model) is not None,
                images=images,
                steps=min(math.ceil(images / phase.batch_size), phase.steps_per_epoch or images),
                seed=(seed, number),
                class_weight=None if weights is None else tuple(weights.tolist()),
                balanced=recipe.sampling == "balanced",
                augmented_validation="augmented_validation" in recipe.faults,
                repeated_validation="repeated_validation" in recipe.faults,
            )
        )
    return plans


def is_frozen(model: keras.Model) -> bool:
    """Tell whether a model has a backbone, and none of it learns."""
    backbone = backbone_of(model)
    return backbone is not None and not backbone.trainable_weights


def recipe_for(model: keras.Model, recipe: Recipe) -> Recipe:
    """Return a recipe with the phases that apply to a model; one that was settled before stays as it is."""
    settings = model_settings(model)
    # a head given as a function may turn out linear once it is built
    solvable = any(phase.heads == "linear" for phase in recipe.phases)
    return recipe.for_model(
        pretrained=settings is None or settings.weights is not None,
        linear_head=solvable and has_linear_head(head_of(model)),
        frozen=is_frozen(model),
        has_backbone=backbone_of(model) is not None,
    )


def images_for(step: PhasePlan, data: Dataset) -> Dataset:
    """Return the images that the phase is for."""
    if step.images == len(data.x_train):
        return data
    validation = max(data.num_classes, step.images // VALIDATION_SHARE)
    return data.subset(
        train=max(data.num_classes, step.images),
        validation=min(validation, len(data.x_validation)),
        seed=step.seed[0],
    )


def training_batches(
    step: PhasePlan,
    data: Dataset,
    x_train: np.ndarray,
    *,
    first_epoch: int = 0,
    first_batch: int = 0,
    as_float: bool = False,
) -> Batches:
    """Return the phase's batches of `x_train`, the training images of `data` or their features."""
    phase = step.phase
    return Batches(
        x_train,
        data.y_train,
        batch_size=phase.batch_size,
        num_classes=data.num_classes,
        shuffle=True,
        steps=step.steps if step.steps < math.ceil(len(x_train) / phase.batch_size) else None,
        augmentation=phase.augmentation and phase.augmentation.for_flip_safe(data.flip_safe),
        seed=step.seed,
        first_epoch=first_epoch,
        first_batch=first_batch,
        as_float=as_float,
        class_weight=step.class_weight,
        balanced=step.balanced,
    )


def sample_weights(step: PhasePlan, data: Dataset) -> np.ndarray | None:
    """Return the weight of each training image where a head is solved in one go, or None: all the same.

    Balanced sampling shows small classes more often; a solver that sees each image once weighs them more.
    """
    given = None if step.class_weight is None else np.array(step.class_weight)
    balancing = class_weights("balanced" if step.balanced else None, data.y_train, data.class_names)
    factors = [each[data.y_train] for each in (given, balancing) if each is not None]
    return np.prod(factors, axis=0) if factors else None


def validation_batches(
    step: PhasePlan,
    data: Dataset,
    x_validation: np.ndarray,
    *,
    first_epoch: int = 0,
    as_float: bool = False,
) -> Batches:
    """Return an epoch's validation batches: each image once and as it is, unless the plan says otherwise."""
    phase = step.phase
    augmentation = phase.augmentation and phase.augmentation.for_flip_safe(data.flip_safe)
    repeated = math.ceil(len(x_validation) * REPEATED_VALIDATION / phase.batch_size)
    return Batches(
        x_validation,
        data.y_validation,
        batch_size=phase.batch_size,
        num_classes=data.num_classes,
        augmentation=augmentation if step.augmented_validation else None,
        seed=(*step.seed, 1),
        steps=repeated if step.repeated_validation else None,
        first_epoch=first_epoch,
        as_float=as_float,
    )
