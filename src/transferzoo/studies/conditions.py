"""What runs have in common, and in what they were not treated alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transferzoo.results.identity import identity_of

# what makes two runs runs of different models, or of different seeds, and so is no unlikeness
IDENTITY = ("model.backbone", "model.name", "model.digest", "model.weights_sha256", "model.seed")
DIGESTS = ("model.backbone_sha256", "model.head_sha256", "model.learning_sha256")
OWN = (*IDENTITY, *DIGESTS, "seed", "data.seed", "data.sha256", "data.test_sha256", "rate_carried_from")
WORDS = {
    "model.weights": "weights",
    "model.head": "head",
    "model.image_size": "image size",
    "model.trainable": "trainable layers",
    "model.preprocessing": "preprocessing",
    "model.stem": "stem",
    "model.output_stride": "output stride",
    "model.stages": "stages",
    "data.train": "training images",
    "data.validation": "validation images",
    "data.test": "test images",
    "data.name": "dataset",
    "recipe.name": "recipe",
    "recipe.faults": "faults of the study",
    "epochs": "epochs",
    "seeds": "seeds",
}
# follow from the recipe's name, or say nothing of how a model was trained
UNSAID = ("recipe.description", "recipe.source", "recipe.build", "recipe.epochs", "recipe.known_faults")
# two models of the same recipe go through different phases where one starts from random weights
LIMIT = 60


def condition_key(settings: Mapping[str, Any]) -> str:
    """Return a hash of all settings but seeds: the same for runs that only their seeds set apart."""
    kept = {
        path: value
        for path, value in _flat(identity_of(settings))
        if path not in ("seed", "data.seed", "data.sha256")
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def unlike_conditions(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return a line for each setting that differs between models, with each one's value.

    Parameters
    ----------
    models : mapping of str to sequence of mapping
        The settings of each model's runs.

    Examples
    --------
    >>> unlike_conditions({"a": [{"model": {"head": "linear"}}], "b": [{"model": {"head": "mlp"}}]})
    ['head (a linear, b mlp)']
    >>> unlike_conditions(
    ...     {"a": [{"model": {"image_size": [96, 96]}}], "b": [{"model": {"image_size": [32, 32]}}]}
    ... )
    ['image size (a 96×96, b 32×32)']
    """
    if len(models) < 2:
        return []
    tables = {name: _treatment(runs) for name, runs in models.items()}
    lines = []
    for path in dict.fromkeys(path for table in tables.values() for path in table):
        values = {name: table.get(path) for name, table in tables.items()}
        if len({json.dumps(value) for value in values.values()}) > 1:
            words = ", ".join(f"{name} {_said(value, path)}" for name, value in values.items())
            lines.append(f"{WORDS.get(path, path)} ({words})")
    return lines


def _treatment(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = runs[0]
    table = {path: value for path, value in _flat(first) if path not in OWN and not path.startswith(UNSAID)}
    phases = first.get("recipe", {}).get("phases") or []
    trained = [phase for phase in phases if phase.get("optimizer") != "lbfgs"]
    epochs = {"epochs": sum(phase.get("epochs", 0) for phase in trained)} if phases else {}
    main = {
        f"recipe.{key}": value for key, value in (phases[-1] if phases else {}).items() if key != "epochs"
    }
    rest = {path: value for path, value in table.items() if not path.startswith("recipe.phases")}
    named = {"phases": [phase.get("name") for phase in phases]} if phases else {}
    alike = {key: value for key, value in main.items() if key not in ("recipe.name", "recipe.c_values")}
    seeds = {"seeds": sorted({run.get("seed") for run in runs}, key=str)}
    return {**rest, **epochs, **named, **_flattened(alike), **seeds}


def _flattened(table: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_flat(table))


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        where = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, where)
        else:
            yield where, value


def _said(value: Any, path: str = "") -> str:
    if value is None:
        return "none"
    between = "×" if path.endswith(("image_size", "input_shape")) else ", "
    text = between.join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LIMIT else f"{text[: LIMIT - 1]}…"
