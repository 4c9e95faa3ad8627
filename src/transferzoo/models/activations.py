"""What a network with its weights computes from a fixed image: proof that it is the network that it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.weight_files import record_activations, recorded_activations

# of the largest value. One backend differs from another by 1e-5 or so; another epsilon in BatchNorm, or
# channels in another order, by more than 1e-2
TOLERANCE = 1e-3
VALUES = 32


@dataclass(frozen=True, kw_only=True)
class ActivationCheck:
    """How far a network's features lie from those on record.

    Parameters
    ----------
    difference : float or None
        Largest difference as a share of the largest recorded value; None where nothing was on record.
    recorded : str
        ``"with the library"``, ``"on this machine"``, or ``"now"`` where nothing was.
    """

    difference: float | None
    recorded: str

    @property
    def ok(self) -> bool:
        """Whether the difference is within `TOLERANCE`."""
        return self.difference is None or self.difference <= TOLERANCE


def fixed_image(side: int) -> np.ndarray:
    """Return the image whose features are recorded, uint8 ``(1, side, side, 3)``: whole numbers alone."""
    y, x, channel = np.indices((side, side, 3))
    return ((7 * x + 13 * y + 29 * channel + x * y // 5) % 256).astype("uint8")[np.newaxis]


def features_of_fixed_image(backbone: Backbone, path: Path) -> np.ndarray:
    """Return a backbone's features of the fixed image, averaged over the map, float64 ``(channels,)``."""
    import keras

    from transferzoo.models.construct import build, connect

    side = max(backbone.default_size, backbone.minimum_size)
    model = build(
        backbone.name, 2, weights=path, input_shape=(side, side, 3), image_size="input", trainable="none"
    )
    features = keras.Model(model.inputs[0], connect(model, model.inputs[0])[0])
    found = keras.ops.convert_to_numpy(features(fixed_image(side), training=False))[0]
    return found.reshape(-1, found.shape[-1]).mean(axis=0, dtype="float64")


def check_activations(backbone: Backbone, weights: str, path: Path, sha256: str) -> ActivationCheck:
    """Compute a backbone's features with its weights, and compare them with those on record.

    Where there is no record, they are recorded, for the next time: after an update of Keras, on another
    backend.
    """
    found = summary(features_of_fixed_image(backbone, path))
    key = f"{backbone.name}/{weights}"
    shipped = _shipped().get(key)
    if shipped is not None:
        return ActivationCheck(difference=_difference(shipped, found), recorded="with the library")
    known = recorded_activations().get(key)
    if known is not None and known.get("sha256") == sha256:
        return ActivationCheck(difference=_difference(known, found), recorded="on this machine")
    record_activations(key, {"sha256": sha256, **found})
    return ActivationCheck(difference=None, recorded="now")


def summary(features: np.ndarray) -> dict[str, Any]:
    """Return what is kept of features: some of the values, and their sum of squares, as plain JSON types."""
    places = np.linspace(0, len(features) - 1, min(VALUES, len(features))).astype(int)
    return {
        "values": [float(f"{value:.6g}") for value in features[places]],
        "norm": float(f"{np.linalg.norm(features):.6g}"),
    }


def _difference(known: dict[str, Any], found: dict[str, Any]) -> float:
    theirs = np.array([*known["values"], known["norm"]], "float64")
    ours = np.array([*found["values"], found["norm"]], "float64")
    if theirs.shape != ours.shape:
        return float("inf")
    scale = np.abs(theirs[:-1]).max()
    apart = np.abs(theirs - ours) / np.array([*[scale] * (len(theirs) - 1), theirs[-1]])
    return float(apart.max())


def _shipped() -> dict[str, Any]:
    place = resources.files("transferzoo.backbones").joinpath("activations.json")
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found
