"""Find, fetch and load a backbone's weights; a damaged or foreign file is refused before it does harm."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone, Weights
from transferzoo.errors import WeightsError, invalid, nearest
from transferzoo.ground.progress import Progress
from transferzoo.ground.storage.downloads import download
from transferzoo.ground.storage.files import cache_folder, check_path, file_hash

logger = logging.getLogger("transferzoo")

SUFFIXES = (".h5", ".hdf5")


def available_weights(backbone: Backbone, weights: Any) -> Any:
    """Return `weights`; None, with a log line, where "imagenet" is asked and none are published.

    So that one call can compare such a backbone, trained from scratch, with pretrained ones.
    """
    if isinstance(weights, str) and weights == "imagenet" and not backbone.weights:
        logger.warning("%s has no published weights: it is trained from scratch", backbone.name)
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
    if isinstance(weights, str) and backbone.published_weights(weights):
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
            f"A weights file must end in .weights.h5 or .h5. Got '{path.name}'. "
            "Other formats may hold code; save the weights alone with model.save_weights('….weights.h5').",
            argument="weights",
            value=str(weights),
        )
    check_is_whole(path)


def check_is_whole(path: Path) -> None:
    """Raise if an HDF5 file is cut short or is something else."""
    import h5py

    try:
        with h5py.File(path):
            pass
    except OSError as error:
        raise WeightsError(
            f"The weights file '{path}' is damaged or no HDF5 file ({path.stat().st_size:,} bytes). "
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
    published = backbone.published_weights(str(weights))
    if published is None:
        return Path(weights).expanduser()
    path = cache_folder() / "models" / published.file
    if not path.exists():
        download(
            published.url,
            path,
            published.hash,
            what=f"the {published.name} weights of {backbone.name}",
            progress=progress,
        )
    check_hash(path, published)
    check_is_whole(path)
    return path


def check_hash(path: Path, published: Weights) -> None:
    """Raise if the file's hash is known and differs from the published one."""
    if published.hash is None:
        return
    algorithm, _, expected = published.hash.partition(":")
    actual = file_hash(path, algorithm)
    if actual != expected:
        raise WeightsError(
            f"The weights file '{path}' is not the published one: its {algorithm} is {actual}, "
            f"and {expected} is expected. Delete it, and it is downloaded again from {published.url}",
            argument="weights",
            value=str(path),
        )


def load_weights(network: Any, path: Path, backbone: Backbone) -> None:
    """Load `path` into the Keras model `network`.

    Raises
    ------
    WeightsError
        If the file is of another architecture, or holds a classifier as well.
    """
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.filterwarnings("always", message="Skipping nested container")
            network.load_weights(path)
        if said:
            raise ValueError(str(said[0].message))
    # h5py raises RuntimeError on some damaged files
    except (ValueError, KeyError, OSError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"The weights file '{path.name}' does not fit '{backbone.name}'. "
            f"It must hold that backbone's weights without a classifier, "
            f"{network.count_params():,} parameters. "
            f"Reason: {reason[:240]}",
            argument="weights",
            value=str(path),
        ) from error
