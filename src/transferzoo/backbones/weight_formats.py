"""Read a backbone's weights from each kind of file, none of which can run code."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.strides import set_layer_weights
from transferzoo.errors import WeightsError

logger = logging.getLogger("transferzoo")

# what h5py, zipfile and Keras raise on files that are damaged or of another network
_UNREADABLE = (ValueError, KeyError, OSError, TypeError, AttributeError, IndexError, RuntimeError)


def load_weights(network: Any, path: Path, backbone: Backbone) -> None:
    """Load a file into a backbone's network; what the file holds besides is left, and named in the log.

    Raises
    ------
    WeightsError
        If the file is damaged, or of another architecture; a layer that is missing is named.
    """
    try:
        if path.suffix == ".keras":
            _load_model(network, path)
        elif path.suffix == ".safetensors":
            _load_named(network, _read_safetensors(path), path)
        elif _is_legacy(path):
            _load_legacy(network, path)
        else:
            _load_hdf5(network, path)
    except _UNREADABLE as error:
        if isinstance(error, WeightsError):
            raise
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"The weights file '{path.name}' does not fit '{backbone.name}'. "
            f"It must hold that backbone's weights, {network.count_params():,} parameters. "
            f"Reason: {reason[:240]}",
            argument="weights",
            value=str(path),
        ) from error


def _load_hdf5(network: Any, path: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", message="Skipping nested container")
        network.load_weights(path)
    if said:
        raise ValueError(str(said[0].message))


def _is_legacy(path: Path) -> bool:
    import h5py

    with h5py.File(path) as file:
        return "layer_names" in file.attrs or "model_weights" in file


def _load_legacy(network: Any, path: Path) -> None:
    """Read Keras 2's layout: layers by name or, where names differ, in order; a classifier may follow."""
    import h5py

    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        stored = {
            name: [np.asarray(group[each]) for each in group.attrs["weight_names"]]
            for name in map(_text, root.attrs["layer_names"])
            if len((group := root[name]).attrs["weight_names"])
        }
    ours = [layer for layer in network.layers if layer.weights]
    if len(stored) == len(ours):
        # Keras' own order also fits networks whose layers it named anew
        _load_hdf5(network, path)
        return
    names = [layer.name for layer in ours]
    if set(names) <= set(stored):
        chosen = {name: stored[name] for name in names}
    elif len(stored) > len(ours) and _shapes_fit(ours, list(stored.values())[: len(ours)]):
        chosen = dict(zip(names, list(stored.values())[: len(ours)], strict=True))
    else:
        missing = [name for name in names if name not in stored]
        raise ValueError(f"it holds {len(stored)} layers, of {len(ours)}. Missing: {_some(missing)}.")
    for layer in ours:
        if not _shapes_fit([layer], [chosen[layer.name]]):
            raise ValueError(f"its layer '{layer.name}' has weights of other shapes.")
    for layer in ours:
        set_layer_weights(layer, chosen[layer.name])
    used = {id(values) for values in chosen.values()}
    _say_ignored(path, [name for name, values in stored.items() if id(values) not in used])


def _load_model(network: Any, path: Path) -> None:
    """Take the backbone out of a saved model, or the whole model where it has no such part."""
    import keras

    saved = keras.models.load_model(path, compile=False, safe_mode=True)
    parts = {layer.name: layer for layer in saved.layers}
    source = parts.get("backbone", saved)
    theirs, ours = source.get_weights(), network.get_weights()
    if [each.shape for each in theirs] != [each.shape for each in ours]:
        raise ValueError(f"its backbone holds {source.count_params():,} parameters.")
    for mine, layer in zip(
        (each for each in network.layers if each.weights),
        (each for each in source.layers if each.weights),
        strict=True,
    ):
        set_layer_weights(mine, layer.get_weights())
    if source is not saved:
        _say_ignored(path, [name for name, layer in parts.items() if layer is not source and layer.weights])


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise WeightsError(
            "A .safetensors file needs the package 'safetensors': pip install 'transferzoo[safetensors]'.",
            argument="weights",
            value=str(path),
        ) from error
    try:
        return {key.replace(".", "/"): value for key, value in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"it is damaged: {error}") from error


def _load_named(network: Any, stored: Mapping[str, np.ndarray], path: Path) -> None:
    """Read arrays by the names of layers and variables: ``conv1/kernel`` or ``conv1.kernel``."""
    names = [variable.path.removeprefix(f"{network.name}/") for variable in network.weights]
    missing = [name for name in names if name not in stored]
    if missing:
        raise ValueError(f"it holds {len(stored)} arrays. Missing: {_some(missing)}.")
    for layer in network.layers:
        mine = [variable.path.removeprefix(f"{network.name}/") for variable in layer.weights]
        values = [stored[name] for name in mine]
        if not _shapes_fit([layer], [values]):
            raise ValueError(f"its layer '{layer.name}' has weights of other shapes.")
        if values:
            set_layer_weights(layer, values)
    _say_ignored(path, [name for name in stored if name not in set(names)])


def _shapes_fit(layers: Sequence[Any], stored: Sequence[Sequence[np.ndarray]]) -> bool:
    return [[tuple(each.shape) for each in layer.weights] for layer in layers] == [
        [tuple(each.shape) for each in values] for values in stored
    ]


def _say_ignored(path: Path, names: Sequence[str]) -> None:
    if names:
        logger.warning("'%s' holds more than the backbone, which is not used: %s", path.name, _some(names))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)
