"""What `build` is told about a model, as a record that checks itself and needs no Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone, check_strides
from transferzoo.errors import invalid, unknown_option
from transferzoo.ground.arguments import LARGEST_SIDE, check_choice, check_count, whole
from transferzoo.heads import resolve_head
from transferzoo.models.freezing import check_policy_form

PREPROCESSINGS = ("backbone", "none")


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The options of `build`, with their defaults; see there for what each means.

    Raises
    ------
    UnknownNameError
        For a head that does not exist, with the nearest name.
    InvalidInputError
        For a value that no backbone takes.

    Examples
    --------
    >>> BuildOptions(head="mlp").trainable
    'all'
    """

    weights: str | Path | None = "imagenet"
    head: str | Callable[..., Any] = "linear"
    image_size: int | tuple[int, int] | str | None = None
    trainable: str = "all"
    classifier_activation: str | None = "softmax"
    preprocessing: str = "backbone"
    stem: str = "original"
    output_stride: int | None = None
    stages: int = 1

    def __post_init__(self) -> None:
        resolve_head(self.head)
        activation = self.classifier_activation
        if activation is not None and (not isinstance(activation, str) or activation != "softmax"):
            raise invalid(
                "classifier_activation",
                "'softmax' for probabilities or None for logits",
                activation,
                candidates=("softmax",),
            )
        check_choice("preprocessing", self.preprocessing, PREPROCESSINGS)
        if self.weights is not None and not isinstance(self.weights, str | Path):
            raise invalid("weights", "'imagenet', None or a file path", self.weights)
        check_policy_form(self.trainable)
        check_strides(self.stem, self.output_stride)
        check_count("stages", self.stages, 1)
        if isinstance(self.image_size, list):
            object.__setattr__(self, "image_size", tuple(self.image_size))


OPTIONS = tuple(field.name for field in fields(BuildOptions))


def read_options(given: Mapping[str, Any], caller: str) -> BuildOptions:
    """Return the record of options given by name.

    Raises
    ------
    UnknownOptionError
        For a name that is none of `build`'s options, with the nearest one.
    """
    for option in given:
        if option not in OPTIONS:
            raise unknown_option(caller, option, OPTIONS)
    return BuildOptions(**given)


def check_input_shape(shape: Any) -> tuple[int, int, int]:
    """Return ``(height, width, channels)`` as ints, or raise."""
    accepted = "(height, width, channels) with 1 or 3 channels, such as (32, 32, 3)"
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise invalid("input_shape", accepted, shape)
    if any((whole(side) or 0) < 1 for side in shape):
        raise invalid("input_shape", accepted, shape)
    if max(shape) > LARGEST_SIDE:
        raise invalid("input_shape", f"{accepted} and sides of at most {LARGEST_SIDE:,}", shape)
    if shape[2] not in (1, 3):
        remedy = "Move the channels last." if shape[0] in (1, 3) else ""
        raise invalid("input_shape", accepted, shape, remedy=remedy)
    return int(shape[0]), int(shape[1]), int(shape[2])


def choose_image_size(
    backbone: Backbone,
    input_shape: tuple[int, int, int],
    image_size: int | tuple[int, int] | str | None,
    *,
    pretrained: bool,
    stem_factor: int = 1,
    default_size: int | None = None,
) -> tuple[int, int]:
    """Return the height and width that reach the backbone.

    A stem that shrinks images `stem_factor` times less shows the kernels behind it as much of an image that
    is so much smaller. (A changed output stride does not: its kernels see what they saw.) `default_size` goes
    before the backbone's, for weights that saw images of another size.
    """
    height, width = input_shape[:2]
    if backbone.fixed_size:
        native = (backbone.native_size, backbone.native_size)
        asked = (height, width) if isinstance(image_size, str) and image_size == "input" else image_size
        if asked is not None and asked != native and asked != native[0]:
            raise invalid("image_size", f"{native[0]} for '{backbone.name}', or left out", image_size)
        return native
    if image_size is None:
        least = backbone.minimum_size
        usual = default_size or backbone.default_size
        wanted = max(round(usual / stem_factor), least) if pretrained else least
        scale = max(1.0, wanted / min(height, width))
        return round(height * scale), round(width * scale)
    if isinstance(image_size, str) and image_size == "input":
        if min(height, width) < backbone.minimum_size:
            raise invalid(
                "image_size",
                f"at least {backbone.minimum_size} for '{backbone.name}'",
                f"input: {height}×{width}",
                remedy="Leave it out, and images are enlarged.",
            )
        return height, width
    if isinstance(image_size, str):
        raise invalid(
            "image_size",
            "a whole number, a pair (height, width), or 'input'",
            image_size,
            candidates=("input",),
        )
    pair = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(pair) != 2:
        raise invalid("image_size", "a whole number, a pair (height, width), or 'input'", image_size)
    for side in pair:
        least = backbone.minimum_size
        if (whole(side) or 0) < least:
            raise invalid(
                "image_size",
                f"a whole number of at least {least} for '{backbone.name}', or a pair of them",
                image_size,
                remedy=f"Pass {least} or more, or leave it out.",
            )
        if side > LARGEST_SIDE:
            raise invalid("image_size", f"at most {LARGEST_SIDE:,}", image_size)
    return int(pair[0]), int(pair[1])
