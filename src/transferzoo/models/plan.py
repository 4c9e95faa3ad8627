"""A model that `build` is to make, all decided and checked, before its network is built."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.stages import join_stages
from transferzoo.backbones.strides import StridePlan, apply_strides, plan_strides
from transferzoo.backbones.weight_files import is_imported
from transferzoo.backbones.weights import check_weights, locate_weights, weights_digest
from transferzoo.errors import InvalidInputError, TransferZooError, invalid, printable
from transferzoo.ground.arguments import check_count, check_seed
from transferzoo.ground.progress import Progress
from transferzoo.heads import RECORDS, Head, apply_head, head_name, resolve_head
from transferzoo.models.architecture import architecture_digest
from transferzoo.models.freezing import set_trainable
from transferzoo.models.options import BuildOptions, choose_image_size

BACKBONE = "backbone"
HEAD = "head"
_seeding = threading.RLock()
logger = logging.getLogger("transferzoo")


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """A model that is decided: nothing in it is looked up by name again.

    Parameters
    ----------
    backbone : Backbone
    num_classes : int
    input_shape : tuple of 3 ints
        Of the images that the model is given.
    options : BuildOptions
        What was asked for.
    make_logits : callable
        The head: from features to logits.
    image_size : pair of ints
        Height and width that reach the backbone.
    stem_factor : int
        By how much less the stem shrinks than it would as published.
    weights_file, weights_sha256 : Path and str, optional
        The file that the weights are read from, and its hash: of a file of one's own at once, of a
        published one when it is there, after `with_weights`.
    """

    backbone: Backbone
    num_classes: int
    input_shape: tuple[int, int, int]
    options: BuildOptions
    make_logits: Callable[..., Any] = field(repr=False)
    image_size: tuple[int, int]
    stem_factor: int = 1
    weights_file: Path | None = None
    weights_sha256: str | None = None

    def with_weights(self, progress: Progress | None = None) -> BuildPlan:
        """Return the plan with its weights on disk, verified and hashed; published ones are downloaded.

        Raises
        ------
        WeightsError, DownloadError
            As from `locate_weights`.
        """
        if self.options.weights is None or self.weights_file is not None:
            return self
        path = locate_weights(self.backbone, self.options.weights, progress=progress)
        if path is None:
            return self
        digest = weights_digest(self.backbone, self.options.weights, path)
        return replace(self, weights_file=path, weights_sha256=digest)

    @property
    def preset(self) -> str | None:
        """The KerasHub preset whose weights are used, if they are."""
        published = self.backbone.published_weights(str(self.options.weights))
        return None if published is None else published.preset

    @property
    def _own_file(self) -> bool:
        """Whether the weights are of a file of one's own, not of a published one."""
        weights = self.options.weights
        if weights is None:
            return False
        published = self.backbone.published_weights(str(weights)) is not None
        return not published or is_imported(self.backbone, str(weights))

    def describe(self) -> dict[str, Any]:
        """Return the model as a run's settings have it, digests of what its names stand for included."""
        options = self.options
        published = None
        if options.weights is not None:
            published = self.backbone.published_weights(str(options.weights))
        return {
            "backbone": self.backbone.name,
            "backbone_sha256": _backbone_digest(self.backbone),
            "weights": None if options.weights is None else (published.name if published else "file"),
            # a published file need not be here yet, and its name says which it is
            "weights_sha256": None if published and not self._own_file else self.weights_sha256,
            "head": head_name(options.head),
            "head_sha256": _head_digest(self.make_logits, self.backbone, self.num_classes, options.stages),
            "input_shape": list(self.input_shape),
            "image_size": list(self.image_size),
            "trainable": options.trainable,
            "classifier_activation": options.classifier_activation,
            "preprocessing": options.preprocessing,
            "stem": options.stem,
            "output_stride": options.output_stride,
            "stages": options.stages,
        }


def plan_build(
    backbone: Backbone, num_classes: int, options: BuildOptions, *, input_shape: tuple[int, int, int]
) -> BuildPlan:
    """Decide what `build` will do, and check all of it against the backbone; nothing is downloaded.

    Raises
    ------
    InvalidInputError
        For a value that this backbone does not take.
    WeightsError
        For a weights file that is missing, or is none.
    """
    num_classes = check_count(
        "num_classes", num_classes, 2, "Count the classes; a yes-no problem has 2 classes here."
    )
    check_weights(backbone, options.weights)
    if keras.config.image_data_format() != "channels_last":
        raise InvalidInputError(
            "Keras must be set to 'channels_last'. Got 'channels_first'. "
            "Call keras.config.set_image_data_format('channels_last')."
        )
    if options.stem not in backbone.stems:
        raise invalid(
            "stem",
            f"{' or '.join(map(repr, backbone.stems))} for '{backbone.name}'",
            options.stem,
            remedy=f"tz.backbone_info('{backbone.name}').note says why." if backbone.note else "",
        )
    published = None if options.weights is None else backbone.published_weights(str(options.weights))
    sizing: dict[str, Any] = {"pretrained": options.weights is not None}
    if published is not None:
        sizing["default_size"] = published.size
        if options.stem != published.stem:
            logger.warning(
                "the weights '%s' of %s were trained with stem='%s'; with '%s' kernels see other images",
                published.name,
                backbone.name,
                published.stem,
                options.stem,
            )
    size = choose_image_size(backbone, input_shape, options.image_size, **sizing)
    factor = 1
    by_name = options.trainable not in ("all", "none") and not options.trainable.startswith("top:")
    changed = options.stem != "original" or options.output_stride is not None
    if changed or by_name:
        with generators_kept():
            network = build_network(backbone, size)
        if by_name:
            set_trainable(network, options.trainable)
        if changed:
            factor = strides_of(network, backbone, options).stem_factor
            size = choose_image_size(backbone, input_shape, options.image_size, stem_factor=factor, **sizing)
    if options.stages > 1:
        with generators_kept():
            network = build_network(backbone, (size[0] * factor, size[1] * factor))
            changed_network(network, backbone, options, size)
    plan = BuildPlan(
        backbone=backbone,
        num_classes=num_classes,
        input_shape=input_shape,
        options=options,
        make_logits=resolve_head(options.head),
        image_size=size,
        stem_factor=factor,
    )
    return plan.with_weights() if plan._own_file else plan


def strides_of(network: keras.Model, backbone: Backbone, options: BuildOptions) -> StridePlan:
    """Return which strides of a backbone's network go."""
    return plan_strides(network, stem=options.stem, output_stride=options.output_stride, name=backbone.name)


def changed_network(
    network: keras.Model, backbone: Backbone, options: BuildOptions, size: tuple[int, int]
) -> keras.Model:
    """Return a backbone's network with the strides and the features that were asked for, and its weights."""
    if options.stem != "original" or options.output_stride is not None:
        # the copy's own random weights are not used, and must not change the head's
        with generators_kept():
            network = apply_strides(network, strides_of(network, backbone, options), (*size, 3))
    network = join_stages(network, options.stages, backbone.name)
    network.name = BACKBONE
    return network


def build_network(backbone: Backbone, size: tuple[int, int], **further: Any) -> keras.Model:
    """Return a backbone's network with random weights, as its builder makes it, its form checked."""
    try:
        network = backbone.resolve_builder()(input_shape=(*size, 3), **backbone.arguments, **further)
    except TransferZooError:
        raise
    except Exception as error:
        # a stranger's builder may raise anything
        raise InvalidInputError(
            f"The builder of '{backbone.name}' failed for images of {size[0]}×{size[1]}: "
            f"{type(error).__name__}: {printable(error)[:300]}",
            argument="builder",
            value=backbone.name,
        ) from error
    if not isinstance(network, keras.Model):
        raise InvalidInputError(
            f"The builder of '{backbone.name}' must return a keras.Model. Got {type(network).__name__}."
        )
    if len(network.outputs) != 1 or len(network.outputs[0].shape) not in (2, 3, 4):
        shapes = [tuple(output.shape) for output in network.outputs]
        raise InvalidInputError(
            f"The builder of '{backbone.name}' must return a model with one output, a feature map "
            f"(batch, h, w, channels), tokens (batch, tokens, channels) or vectors (batch, channels). "
            f"Got {shapes}."
        )
    network.name = BACKBONE
    return network


def build_head(
    make_logits: Callable[..., Any], feature_shape: Any, num_classes: int, activation: str | None
) -> keras.Model:
    """Return a head's network, from features to float32 outputs."""
    features = keras.Input(tuple(feature_shape), name="features")
    logits = apply_head(make_logits, features, num_classes)
    outputs = keras.layers.Activation(activation or "linear", dtype="float32", name="outputs")(logits)
    return keras.Model(features, outputs, name=HEAD)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed Keras for the block; Python's and NumPy's own generators are put back afterwards.

    The generators belong to the process, so a block in another thread waits: two at once would draw from one
    another's, and neither could be repeated.
    """
    if seed is None:
        yield
        return
    with _seeding, generators_kept():
        keras.utils.set_random_seed(check_seed(seed))
        yield


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Leave the random generators as they are found, whatever the block draws."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _backbone_digest(backbone: Backbone) -> str:
    """Return a SHA-256 hex digest of what stands behind a backbone's name: its network and preprocessing."""
    built: Any = backbone.builder
    if callable(built):
        built = architecture_digest(_trial_network(backbone))
    what = (built, sorted(backbone.arguments.items()), backbone.preprocessing)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _head_digest(make_logits: Callable[..., Any], backbone: Backbone, num_classes: int, stages: int) -> str:
    """Return a SHA-256 hex digest of what a head computes, whatever it is called.

    A head that is a function, or holds one, is built for it, on a feature map such as the backbone gives.
    """
    if isinstance(make_logits, Head) and all(type(part) in RECORDS for part in make_logits.parts):
        return hashlib.sha256(repr(make_logits).encode()).hexdigest()
    with generators_kept():
        shape = join_stages(_trial_network(backbone), stages, backbone.name).output_shape[1:]
        return architecture_digest(build_head(make_logits, shape, num_classes, None))


def _trial_network(backbone: Backbone) -> keras.Model:
    size = max(backbone.minimum_size, backbone.default_size)
    with generators_kept():
        return build_network(backbone, (size, size))
