"""What a run is: its settings in plain types, and the digest that names it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a run's settings as sorted JSON: one changed value changes it.

    Examples
    --------
    >>> settings_hash({"seed": 0})[:10]
    'de7d7744cc'
    """
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# what is said of a recipe and its phases, and changes nothing that they do
_SAID = frozenset({"name", "description", "source", "known_faults", "build", "epochs"})


_SAID_OF_A_PHASE = frozenset({"name", "when", "heads"})


def identity_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a run's settings changes its result: two runs with the same are one and the same run.

    Names and descriptions are left out where a digest of what they stand for is there.

    Examples
    --------
    >>> identity_of({"seed": 0, "recipe": {"description": "mine", "keep": "best"}})
    {'seed': 0, 'recipe': {'keep': 'best'}}
    """
    kept = dict(settings)
    if isinstance(recipe := kept.get("recipe"), Mapping):
        kept["recipe"] = {key: value for key, value in recipe.items() if key not in _SAID}
        if isinstance(phases := recipe.get("phases"), list) and all(isinstance(p, Mapping) for p in phases):
            kept["recipe"]["phases"] = [
                {key: value for key, value in phase.items() if key not in _SAID_OF_A_PHASE}
                for phase in phases
            ]
    if isinstance(data := kept.get("data"), Mapping) and "sha256" in data:
        kept["data"] = {key: data[key] for key in ("sha256", "test_sha256", "flip_safe") if key in data}
    if isinstance(model := kept.get("model"), Mapping):
        named = {"backbone": "backbone_sha256", "head": "head_sha256", "name": "digest"}
        without = {name for name, digest in named.items() if model.get(digest) is not None}
        kept["model"] = {key: value for key, value in model.items() if key not in without}
    return kept


def identity_hash(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 that names a run: of `identity_of` its settings, as sorted JSON."""
    return settings_hash(identity_of(settings))


def plain(value: Any) -> Any:
    """Return `value` in the types that JSON has; a number that is not finite becomes None.

    Records become dicts, arrays lists, paths strings, and functions their dotted name. Whatever else
    there is becomes its text: a finished run is worth more than one odd argument in its settings.

    Examples
    --------
    >>> plain({"rate": np.float32(0.5), "sizes": (32, np.int64(96)), "loss": float("nan")})
    {'rate': 0.5, 'sizes': [32, 96], 'loss': None}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(entry) for entry in value), key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    # an address would differ from run to run and say nothing
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
