"""What `rank` was told to rank, as records that are checked before anything slow starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transferzoo.backbones.catalog import BACKBONES
from transferzoo.data.dataset import Dataset
from transferzoo.errors import InvalidInputError, invalid, unknown_option
from transferzoo.ground.arguments import check_sequence

if TYPE_CHECKING:
    import keras

    from transferzoo.ground.progress import Progress

logger = logging.getLogger("transferzoo")

OPTIONS = ("weights", "image_size", "preprocessing", "stem", "output_stride", "stages")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model to be ranked: a registered backbone with its options, or a built model."""

    model: str
    backbone: str | None = None
    built: keras.Model | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def model_and_options(argument: str, what: Any) -> tuple[Any, dict[str, Any]]:
    """Return a model and the options that are its alone, where it was given as a dict with them."""
    if not isinstance(what, Mapping):
        return what, {}
    own = dict(what)
    if "model" not in own:
        raise invalid(argument, "a backbone's name, or a dict with one under 'model'", dict(what))
    return own.pop("model"), own


def candidates_at_hand(options: Mapping[str, Any]) -> tuple[list[Candidate], tuple[str, ...]]:
    """Return the backbones whose published weights are in the cache, and the names of the others."""
    from transferzoo.backbones.weight_files import file_at_hand, imported_files, models_folder

    wanted = options.get("weights", "imagenet")
    if not isinstance(wanted, str):
        raise invalid(
            "backbones",
            "named where weights is not the name of published ones",
            None,
            remedy="tz.list_backbones() shows them.",
        )
    candidates, left_out = [], []
    for name in BACKBONES.names("*"):
        record = BACKBONES.get(name)
        named = {*(each.name for each in record.weights), *imported_files().get(name, {})}
        there = sorted(each for each in named if file_at_hand(record, each))
        # a backbone of one's own may call its weights what it likes
        own = {each for each in there if not getattr(record.published_weights(each), "shipped", False)}
        fitting = [each for each in there if each == wanted or ("weights" not in options and each in own)]
        fitting.sort(key=lambda each: each != wanted)
        if fitting:
            mine = {**options, "weights": fitting[0]}
            candidates.append(Candidate(model=name, backbone=name, options=mine))
        else:
            left_out.append(name)
    if not candidates:
        raise InvalidInputError(
            f"No backbone's weights are in '{models_folder()}'. Name backbones, and their weights are "
            "downloaded; or pass weights=None with them, for random ones.",
            argument="backbones",
        )
    return candidates, tuple(left_out)


def named_candidates(backbones: Any, options: Mapping[str, Any]) -> list[Candidate]:
    """Return what was named, with options of its own before those for all."""
    import keras

    if isinstance(backbones, str):
        raise invalid(
            "backbones", "a list of backbones' names", backbones, remedy=f"Pass ['{backbones}', …]."
        )
    if not isinstance(backbones, Mapping):
        accepted = "a list of backbones' names, or a mapping of names to models"
        names = [str(name) for name in check_sequence("backbones", accepted, backbones)]
        if len(set(names)) < len(names):
            raise invalid(
                "backbones",
                "names, each once",
                names,
                remedy="To rank one with other options, give a mapping: "
                "{'small': {'model': 'mobilenet', 'image_size': 64}, …}.",
            )
        backbones = {name: name for name in names}
    if not backbones:
        raise invalid("backbones", "one or more backbones' names", backbones)
    candidates = []
    for label, what in backbones.items():
        what, own = model_and_options(f"backbones[{label!r}]", what)
        for option in own:
            if option not in OPTIONS:
                raise unknown_option("rank", option, OPTIONS)
        if isinstance(what, keras.Model):
            if own:
                raise invalid(f"backbones[{label!r}]", "a built model without options", own)
            candidates.append(Candidate(model=str(label), built=what))
            continue
        given = {**options, **own}
        if given.get("weights", "imagenet") == "imagenet" and not BACKBONES.get(what).published_weights(
            "imagenet"
        ):
            logger.warning("%s has no published weights: random ones are ranked", what)
            given["weights"] = None
        candidates.append(Candidate(model=str(label), backbone=what, options=given))
    return candidates


def check_candidate(candidate: Candidate, data: Dataset) -> None:
    """Raise unless a candidate can be built for these images, or was."""
    from transferzoo.models.construct import backbone_of, head_of
    from transferzoo.models.options import read_options
    from transferzoo.models.plan import plan_build

    built = candidate.built
    if built is None:
        assert candidate.backbone is not None
        backbone = BACKBONES.get(candidate.backbone)
        plan_build(
            backbone,
            data.num_classes,
            read_options(candidate.options, "rank"),
            input_shape=data.input_shape,
        )
    elif backbone_of(built) is None or head_of(built) is None or len(built.input_shape) != 4:
        raise invalid(f"backbones[{candidate.model!r}]", "a model from tz.build", built.name)
    elif any(
        ours not in (None, theirs)
        for ours, theirs in zip(built.input_shape[1:], data.input_shape, strict=True)
    ):
        raise invalid(
            f"backbones[{candidate.model!r}]",
            f"a model for images of shape {data.input_shape}",
            built.input_shape[1:],
            remedy=f"Build it with input_shape={data.input_shape}.",
        )


def fetch_weights(candidate: Candidate, progress: Progress) -> None:
    """Download a candidate's weights where they are missing."""
    from transferzoo.backbones.weights import locate_weights

    if candidate.backbone is not None:
        backbone = BACKBONES.get(candidate.backbone)
        locate_weights(backbone, candidate.options.get("weights", "imagenet"), progress=progress)
