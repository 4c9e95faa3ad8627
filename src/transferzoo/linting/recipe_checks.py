"""What is doubtful about how a model is to be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transferzoo.linting.data_checks import half_width
from transferzoo.linting.findings import Finding, found, points
from transferzoo.linting.model_checks import ModelFacts
from transferzoo.recipes.phase import Phase

HIGH_RATES = {"sgd": 0.1, "adamw": 1e-2}
SMALL_BATCH = 16
# of the statistics that a model began with, at the end
MUCH_LEFT = 0.1
LONG_WARMUP = 0.5
FEW_VALIDATION_IMAGES, VERY_FEW_VALIDATION_IMAGES = 400, 100


@dataclass(frozen=True)
class Stretch:
    """One phase as it will run."""

    phase: Phase
    images: int
    steps: int
    still: bool

    @property
    def total(self) -> int:
        """Steps over all epochs."""
        return self.steps * self.phase.epochs


def stretches(run: Any, facts: ModelFacts) -> list[Stretch]:
    """Return the phases that a run goes through."""
    parts = facts.backbone is not None or facts.preprocessing is not None
    made = []
    for phase in run.recipe.phases:
        if not parts and phase.trainable != "as_built":
            continue
        images = min(len(run.data.x_train), phase.max_images or len(run.data.x_train))
        still = phase.trainable == "none" or (phase.trainable == "as_built" and facts.frozen)
        made.append(Stretch(phase, images, math.ceil(images / phase.batch_size), still))
    return made


def recipe_findings(run: Any, facts: ModelFacts) -> Iterator[Finding]:
    """Find what is doubtful about a run's recipe, for its model and data."""
    yield from _faults(run)
    plan = stretches(run, facts)
    for stretch in plan:
        if stretch.phase.optimizer != "lbfgs":
            yield from _rate_findings(run, facts, stretch)
            yield from _norm_findings(run, facts, stretch)
    yield from _random_findings(run, facts, plan)
    if plan:
        yield from _selection_findings(run, plan[-1])


def _faults(run: Any) -> Iterator[Finding]:
    faults, main = run.recipe.faults, run.recipe.phases[-1]
    augmentation = main.augmentation and main.augmentation.for_flip_safe(run.data.flip_safe)
    how = "Leave faithful=True out."
    if "augmented_validation" in faults and augmentation is not None:
        yield found(
            "TZ301",
            "error",
            subject=run.name,
            what=f"All {len(run.data.x_validation):,} validation images are changed at random each epoch.",
            why="The validation accuracy is that of other images than will be tested: biased, and noisy "
            "where it decides about rates and epochs (keras issue 10458, tensorflow issue 44587).",
            how=how,
        )
    if "repeated_validation" in faults:
        images = len(run.data.x_validation)
        counted = math.ceil(images * 5 / 3 / main.batch_size) * main.batch_size
        yield found(
            "TZ302",
            "error",
            subject=run.name,
            what=f"The {images:,} validation images are counted as {counted:,}: {counted - images:,} twice.",
            why="Some images weigh twice as much as others in the validation accuracy.",
            how=how,
        )
    before = run.settings.get("rate_carried_from")
    if before is not None:
        floor = f", which may be {main.plateau.minimum:g}" if main.plateau else ""
        yield found(
            "TZ303",
            "error",
            subject=run.name,
            what=f"The model begins at the rate that '{before}' ended with{floor}, not at "
            f"{main.learning_rate:g}.",
            why="Models are then compared at different rates; the order in which they are named decides.",
            how=how,
        )


def _rate_findings(run: Any, facts: ModelFacts, stretch: Stretch) -> Iterator[Finding]:
    phase = stretch.phase
    rate, plateau = phase.learning_rate or 0.0, phase.plateau
    if plateau is not None and plateau.minimum >= rate:
        yield found(
            "TZ304",
            "warning",
            subject=run.name,
            what=f"Phase '{phase.name}' begins at a rate of {rate:g}, at or below the plateau's floor of "
            f"{plateau.minimum:g}.",
            why="The plateau can never lower the rate.",
            how=f"Give the phase tz.Plateau(minimum={rate / 1000:g}), or a higher learning_rate.",
        )
    elif plateau is not None and rate * plateau.factor <= plateau.minimum * (1 + 1e-6):
        yield found(
            "TZ304",
            "warning",
            subject=run.name,
            what=f"The first plateau of phase '{phase.name}' takes the rate from {rate:g} to "
            f"{plateau.minimum:g}, its floor, in one step (factor {plateau.factor:g}), and after "
            f"{plateau.patience} epochs without improvement.",
            why=f"From there on it learns {rate / max(plateau.minimum, 1e-12):,.0f} times more slowly: an "
            "early unlucky stretch ends the training in all but name.",
            how=f"Give the phase plateau=tz.Plateau(factor=0.1, patience={plateau.patience}, "
            f"minimum={rate / 1000:g}), or schedule='cosine'.",
        )
    if phase.schedule != "constant" and phase.warmup > LONG_WARMUP:
        yield found(
            "TZ305",
            "warning",
            subject=run.name,
            what=f"The rate of phase '{phase.name}' rises for {points(phase.warmup)} of its "
            f"{stretch.total:,} steps.",
            why="Little is left of the training at and below the highest rate, where a model settles.",
            how="Pass warmup=0.05 to 0.3.",
        )
    limit = HIGH_RATES.get(phase.optimizer, math.inf)
    if facts.pretrained and not stretch.still and rate >= limit:
        yield found(
            "TZ306",
            "warning",
            subject=run.name,
            what=f"Phase '{phase.name}' trains published weights with {phase.optimizer} at {rate:g}.",
            why="Steps that large can undo what the weights hold within the first epoch. The recipes "
            "'default' and 'fine_tune' use 5e-4 and 1e-4 with AdamW; how much the rate decides is "
            "shown by Li et al. (2020, arXiv:2002.11770).",
            how=f"Pass learning_rate={limit / 10:g}, or let tz.find_learning_rate(…) suggest one.",
        )


def _norm_findings(run: Any, facts: ModelFacts, stretch: Stretch) -> Iterator[Finding]:
    phase = stretch.phase
    learning = [
        norm
        for norm in facts.norms
        if not norm.in_backbone
        or (not stretch.still and phase.batch_norm != "inference" and (norm.learns or _unfreezes(phase)))
    ]
    if not learning:
        return
    if phase.batch_size < SMALL_BATCH:
        yield found(
            "TZ307",
            "warning",
            subject=run.name,
            what=f"{len(learning)} BatchNorm layers learn from batches of {phase.batch_size} in phase "
            f"'{phase.name}'.",
            why="Mean and variance of so few images are rough; the error grows quickly below 16 images a "
            "batch (Wu and He 2018, Group normalization, arXiv:1803.08494, figure 1).",
            how="Pass batch_size=32 or more, or batch_norm='inference', which keeps the stored statistics.",
        )
    last = stretch.images % phase.batch_size
    if last == 1 and phase.batch_size > 1:
        yield found(
            "TZ309",
            "warning",
            subject=run.name,
            what=f"{stretch.images:,} images in batches of {phase.batch_size} leave a last batch of one "
            f"image, from which {len(learning)} BatchNorm layers learn.",
            why="A single image's statistics stand for all; on a 1×1 feature map its variance is 0.",
            how=f"Pass batch_size={_fitting(stretch.images, phase.batch_size)}, or leave an image out: "
            f"data.subset(train={stretch.images - 1}).",
        )
    momentum = max(_momentum(norm, stretch) for norm in learning)
    left = momentum**stretch.total
    if left > MUCH_LEFT:
        loaded = bool(facts.pretrained) and any(norm.in_backbone for norm in learning)
        yield found(
            "TZ308",
            "warning",
            subject=run.name,
            what=f"BatchNorm's moving statistics have a momentum of {momentum:g} and {stretch.total:,} steps "
            f"in phase '{phase.name}': {points(left)} of what they began with is left at the end.",
            why="They are used in evaluation, and "
            + (
                "are then a mixture of the old images' and the new ones'"
                if loaded
                else "still lean on their initial mean of 0 and variance of 1"
            )
            + ": evaluation falls behind training without any overfitting (keras issue 9965).",
            how="Train longer or in smaller batches, or pass batch_norm='train', which sets the momentum by "
            "the number of steps (Kornblith et al. 2019, arXiv:1805.08974, appendix A.5).",
        )


def _random_findings(run: Any, facts: ModelFacts, plan: list[Stretch]) -> Iterator[Finding]:
    if facts.pretrained is not False or not plan:
        return
    if all(stretch.still for stretch in plan):
        yield found(
            "TZ310",
            "warning",
            subject=run.name,
            what="The backbone has random weights, and none of its layers ever learns.",
            why="The head then classifies random features; the figure says little about the network.",
            how="Leave weights=None out, or pass trainable='all' and a recipe that trains all layers.",
        )
    elif any(norm.in_backbone for norm in facts.norms) and all(
        stretch.still or stretch.phase.batch_norm == "inference" for stretch in plan
    ):
        yield found(
            "TZ310",
            "warning",
            subject=run.name,
            what="The backbone has random weights, and its BatchNorm keeps the statistics that it begins "
            "with, mean 0 and variance 1.",
            why="It then normalises nothing, and deep networks hardly train without (Ioffe and Szegedy 2015, "
            "arXiv:1502.03167).",
            how="Pass batch_norm='train', or a recipe such as 'from_scratch'.",
        )


def _selection_findings(run: Any, main: Stretch) -> Iterator[Finding]:
    recipe, phase = run.recipe, main.phase
    images = len(run.data.x_validation)
    if phase.max_images is not None:
        images = min(images, max(run.data.num_classes, main.images // 5))
    chooses = []
    if phase.optimizer == "lbfgs":
        chooses.append(f"between {len(phase.c_values)} penalties")
    elif recipe.keep == "best":
        chooses.append(f"the best of {phase.epochs} epochs")
    if phase.optimizer != "lbfgs" and recipe.patience is not None:
        chooses.append("when to stop")
    if phase.plateau is not None and phase.plateau.monitor.startswith("val"):
        chooses.append("when the rate falls")
    if not chooses or images >= FEW_VALIDATION_IMAGES:
        return
    yield found(
        "TZ311",
        "warning" if images < VERY_FEW_VALIDATION_IMAGES else "note",
        subject=run.name,
        what=f"{images:,} validation images choose {' and '.join(chooses)}: an accuracy of 90 % on them is "
        f"± {100 * half_width(images):.1f} points.",
        why="What is best on few images is best by luck in part, and its validation accuracy is too high "
        "(Cawley and Talbot 2010, JMLR 11, 2079-2107).",
        how="Set more images aside, as in tz.load_dataset(…, validation=0.3)"
        + (", or pass keep='last'." if recipe.keep == "best" else "."),
    )


def _momentum(norm: Any, stretch: Stretch) -> float:
    # as training.PhasePlan sets it
    if norm.in_backbone and stretch.phase.batch_norm == "train":
        return max(1 - 10 / stretch.steps, 0.9)
    return float(norm.momentum)


def _unfreezes(phase: Phase) -> bool:
    return phase.trainable not in ("as_built", "none")


def _fitting(images: int, batch_size: int) -> int:
    """Return the next smaller batch size that leaves more than one image in the last batch."""
    return next((size for size in range(batch_size - 1, 1, -1) if images % size != 1), batch_size)
