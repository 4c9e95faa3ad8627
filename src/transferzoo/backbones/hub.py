"""KerasHub's presets as backbones, named ``hub:resnet_50_imagenet`` or ``hub:`` and a preset's folder."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone, Preprocessing, Weights
from transferzoo.errors import InvalidInputError, WeightsError, printable

PREFIX = "hub:"

logger = logging.getLogger("transferzoo")


def hub_backbone(name: str) -> Backbone:
    """Return the record of a KerasHub preset; reads its configuration, which may be downloaded.

    Pixels are prepared as the preset's own image converter prepares them. Features may be a map, vectors, or
    tokens ``(batch, tokens, channels)``; a network with a fixed image size gets images of that size.

    Parameters
    ----------
    name : str
        ``"hub:"`` and what `keras_hub.models.Backbone.from_preset` takes: a preset's name, the address of one
        on Kaggle or Hugging Face, or a folder.

    Raises
    ------
    InvalidInputError
        If KerasHub is not installed, or does not have the preset, or the preset says nothing of its pixels.
    """
    preset = name.removeprefix(PREFIX)
    network, converter = _read(preset)
    height = network.inputs[0].shape[1]
    size = getattr(converter, "image_size", None)
    native = int(height or (size[0] if size else 224))
    return Backbone(
        name=name,
        family="keras_hub",
        paper=f"see the card of KerasHub's preset '{preset}'",
        builder="transferzoo.backbones.hub:hub_network",
        arguments={"preset": preset, "content": _content(preset)},
        native_size=native,
        minimum_size=native if height else 32,
        default_size=native if height else max(32, round(native * 96 / 224 / 32) * 32),
        fixed_size=height is not None,
        stems=("original",),
        preprocessing=_preprocessing(converter, preset),
        weights=(
            Weights(
                name="preset",
                url="",
                preset=preset,
                hash=None,
                trained_on="see the preset's card",
                licence="see the preset's card",
                source="KerasHub",
            ),
        ),
        licence="Apache-2.0",
        note="Needs keras-hub to build, and for networks with layers of its own also to load a saved model.",
    )


def hub_network(
    preset: str, content: str = "", *, input_shape: tuple[int, int, int], load: bool = False
) -> Any:
    """Build a preset's network for images of a size, with its own weights if `load`.

    `content` is the digest of a preset's folder: a run with another content is another run.
    """
    import keras

    hub = _keras_hub()
    try:
        network = hub.models.Backbone.from_preset(preset, load_weights=load, image_shape=input_shape)
    except Exception as error:
        raise WeightsError(
            f"KerasHub's preset '{preset}' cannot be built: {type(error).__name__}: {printable(error)[:300]}",
            argument="weights",
            value=preset,
        ) from error
    if len(network.inputs) != 1 or isinstance(network.output, dict | list):
        raise InvalidInputError(
            f"KerasHub's preset '{preset}' must be a network from one image to one output. Got the inputs "
            f"{[each.name for each in network.inputs]} and {len(network.outputs)} outputs.",
            argument="name",
            value=preset,
        )
    # without KerasHub's own class, a network of built-in layers loads where KerasHub is not installed
    return keras.Model(network.inputs[0], network.output, name=network.name)


def _read(preset: str) -> tuple[Any, Any]:
    hub = _keras_hub()
    try:
        network = hub.models.Backbone.from_preset(preset, load_weights=False)
        converter = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:
        raise InvalidInputError(
            f"KerasHub has no image backbone for '{preset}': {type(error).__name__}: "
            f"{printable(error)[:300]} A preset needs an image converter, which says what is done to pixels.",
            argument="name",
            value=preset,
        ) from error
    return network, converter


def _keras_hub() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise InvalidInputError(
            "A backbone 'hub:…' needs the package keras-hub: pip install 'transferzoo[hub]'.", argument="name"
        ) from error
    return keras_hub


def _preprocessing(converter: Any, preset: str) -> Preprocessing:
    """Return ``pixel * scale + offset`` as mean and standard deviation."""
    scale = _three(getattr(converter, "scale", None), 1.0)
    offset = _three(getattr(converter, "offset", None), 0.0)
    if not all(scale):
        raise InvalidInputError(f"The preset '{preset}' scales pixels by 0.", argument="name", value=preset)
    return Preprocessing(
        mean=(-offset[0] / scale[0], -offset[1] / scale[1], -offset[2] / scale[2]),
        std=(1 / scale[0], 1 / scale[1], 1 / scale[2]),
    )


def _three(value: Any, otherwise: float) -> list[float]:
    if value is None:
        return [otherwise] * 3
    if isinstance(value, int | float):
        return [float(value)] * 3
    return [float(each) for each in value]


def _content(preset: str) -> str:
    """Return a digest of a preset's folder, or nothing for one that KerasHub fetches."""
    folder = Path(preset).expanduser()
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
