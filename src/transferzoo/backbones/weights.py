"""Find and fetch a backbone's weights; a damaged or foreign file is refused before it does harm."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.weight_files import (
    SHIPPED_FOLDER,
    checked_sha256,
    file_at_hand,
    is_imported,
    models_folder,
)
from transferzoo.errors import WeightsError, invalid, nearest
from transferzoo.ground.progress import Progress
from transferzoo.ground.storage.downloads import download
from transferzoo.ground.storage.files import check_path, file_hash

logger = logging.getLogger("transferzoo")

SUFFIXES = (".h5", ".hdf5", ".keras", ".safetensors")


def available_weights(backbone: Backbone, weights: Any) -> Any:
    """Return `weights`; None, with a log line, where "imagenet" is asked and none are published.

    So that one call can compare such a backbone, trained from scratch, with pretrained ones.
    """
    presets = [each.name for each in backbone.weights if each.preset is not None]
    if isinstance(weights, str) and weights == "imagenet" and presets:
        # the default, where the weights have another name
        return presets[0]
    if isinstance(weights, str) and weights == "imagenet" and not backbone.published_weights(weights):
        if is_imported(backbone, weights):
            return weights
        others = [each.name for each in backbone.weights]
        which = f"ImageNet weights (weights='{others[0]}' are there)" if others else "published weights"
        logger.warning("%s has no %s: it is trained from scratch", backbone.name, which)
        return None
    return weights


def check_weights(backbone: Backbone, weights: Any) -> None:
    """Raise unless `weights` is None, the name of published weights, or an existing weights file.

    Looks, but neither downloads nor reads a whole file.
    """
    if weights is None:
        return
    if not isinstance(weights, str | Path):
        raise invalid("weights", "'imagenet', None or a file path", weights)
    if isinstance(weights, str) and (backbone.published_weights(weights) or is_imported(backbone, weights)):
        return
    published = [record.name for record in backbone.weights]
    path = check_path("weights", weights, "'imagenet', None or a file path")
    if not path.is_file():
        close = nearest(str(weights), [*published, "imagenet"]) if published else None
        hint = f" Did you mean '{close}'?" if close else ""
        raise WeightsError(
            f"weights must be {' or '.join(repr(name) for name in published) + ', ' if published else ''}"
            f"None or the path of a weights file. '{weights}' is no file.{hint}",
            argument="weights",
            value=str(weights),
            suggestion=close,
        )
    if path.suffix not in SUFFIXES:
        raise WeightsError(
            "A weights file must end in .weights.h5, .h5, .keras or .safetensors. "
            f"Got '{path.name}'. Other formats may hold code; save the weights alone with "
            "model.save_weights('….weights.h5').",
            argument="weights",
            value=str(weights),
        )
    check_is_whole(path)


def check_is_whole(path: Path) -> None:
    """Raise if an HDF5 file, or a saved model, is cut short or is something else."""
    kind = "saved model" if path.suffix == ".keras" else "HDF5 file"
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as saved:
                saved.getinfo("model.weights.h5")
        elif path.suffix in (".h5", ".hdf5"):
            import h5py

            with h5py.File(path):
                pass
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"The weights file '{path}' is damaged or no {kind} ({path.stat().st_size:,} bytes). "
            f"Delete it and download it again. Reason: {' '.join(str(error).split())[:160]}",
            argument="weights",
            value=str(path),
        ) from error


def locate_weights(
    backbone: Backbone, weights: str | Path | None, *, progress: Progress | None = None
) -> Path | None:
    """Return the file that holds `weights`, downloaded to the cache when it is published and not there.

    Raises
    ------
    WeightsError
        If a file is missing, damaged, or its hash is not the published one.
    DownloadError
        If it cannot be downloaded; the message says how to place it by hand.
    """
    check_weights(backbone, weights)
    if weights is None:
        return None
    name = str(weights)
    published = backbone.published_weights(name)
    if published is not None and published.preset is not None:
        # KerasHub keeps it, and loads it
        return None
    found = file_at_hand(backbone, name)
    if found is None and published is None:
        return Path(weights).expanduser()
    if found is None:
        assert published is not None
        if published.shipped:
            raise WeightsError(
                f"The weights '{name}' of '{backbone.name}' are missing from this installation. "
                "Install it again: pip install --force-reinstall --no-deps transferzoo",
                argument="weights",
                value=name,
            )
        found = models_folder() / published.file
        download(
            published.url,
            found,
            published.hash,
            what=f"the {published.name} weights of {backbone.name}",
            progress=progress,
        )
    weights_digest(backbone, weights, found)
    check_is_whole(found)
    return found


def weights_digest(backbone: Backbone, weights: str | Path, path: Path) -> str:
    """Return the SHA-256 of a weights file, checked where it is known what it should be.

    Raises
    ------
    WeightsError
        If it is not the published file, or not what it was at its first use.
    """
    if path.parent not in (models_folder(), SHIPPED_FOLDER):
        return file_hash(path)
    return checked_sha256(path, backbone.published_weights(str(weights)))
