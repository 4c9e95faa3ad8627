"""What a network computes, as a digest: its layers and their settings, without the names of layers."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

import keras
import numpy as np

# What a configuration holds that no output depends on: names that Keras counts up within a process, what
# learns, how it was compiled, and addresses.
WITHOUT_EFFECT = frozenset({"name", "trainable", "compile_config", "shared_object_id"})


def layers_within(model: keras.Model) -> list[Any]:
    """Return a model's layers and those within them, each before its own; models themselves are left out."""
    found = model._flatten_layers(include_self=False)
    return [layer for layer in found if not isinstance(layer, keras.Model)]


def architecture_digest(model: keras.Model) -> str:
    """Return a SHA-256 hex digest over a network's layers, their settings and how they are connected.

    The source of layers that are not Keras's is part of it, as it can change while their settings stay.
    """
    return _architecture(model).hexdigest()


def network_digest(model: keras.Model) -> str:
    """Return a SHA-256 hex digest over all that a network's outputs depend on: architecture and weights."""
    digest = _architecture(model)
    for variable in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _architecture(model: keras.Model) -> Any:
    described = _without_names(json.loads(model.to_json()), {})
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for source in _foreign_sources(model):
        digest.update(source.encode())
    return digest


def _without_names(node: Any, names: dict[str, int]) -> Any:
    """Return a Keras configuration in which layers are known by their place, not by their names."""
    if isinstance(node, list):
        if len(node) == 3 and isinstance(node[0], str) and node[0] in names and isinstance(node[1], int):
            return [names[node[0]], *node[1:]]  # a tensor: layer, call, output
        return [_without_names(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("layers"), list):
        parts = [part for part in node["layers"] if isinstance(part, dict)]
        names = {
            part.get("name") or part.get("config", {}).get("name", ""): i for i, part in enumerate(parts)
        }
    return {key: _without_names(value, names) for key, value in node.items() if key not in WITHOUT_EFFECT}


def _foreign_sources(model: keras.Model) -> list[str]:
    kinds = {
        kind
        for layer in model._flatten_layers()
        for kind in type(layer).__mro__
        if kind.__module__.split(".")[0] not in ("keras", "tensorflow", "jax", "torch", "builtins")
    }
    found = []
    for kind in sorted(kinds, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}"):
        try:
            found.append(inspect.getsource(kind))
        except (OSError, TypeError):  # written at a prompt
            found.append(kind.__qualname__)
    return found
