"""The call that began a study, kept in its folder, so that another process can help with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transferzoo.errors import RecordError
from transferzoo.ground.storage.files import read_json, written_beside

logger = logging.getLogger("transferzoo")

STUDY = "study.json"
FORMAT = 1


def keep_call(
    folder: Path,
    models: Any,
    data: Sequence[Mapping[str, Any]],
    recipe: Any,
    options: Mapping[str, Any],
    told: Mapping[str, Any],
) -> None:
    """Write a call of `compare` into the study's folder; nothing where it holds more than plain values.

    Parameters
    ----------
    folder : Path
    models, recipe, options
        As `compare` got them.
    data : sequence of mapping
        The calls that made the dataset; none for arrays.
    told : mapping
        Its other arguments.
    """
    call = {
        "models": {name: _plain(each) for name, each in models.items()}
        if isinstance(models, Mapping)
        else list(models),
        "data": [dict(each) for each in data],
        "recipe": recipe if isinstance(recipe, str) else recipe.to_dict(),
        **told,
        "options": dict(options),
    }
    try:
        if not call["data"]:
            raise TypeError("the data came as arrays")
        text = json.dumps({"format": FORMAT, "call": call}, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        logger.debug("the study's call is not kept: %s", error)
        (folder / STUDY).unlink(missing_ok=True)
        return
    with written_beside(folder / STUDY) as part:
        part.write_text(text, encoding="utf-8")


def _plain(model: Any) -> Any:
    """Return a model's options with its recipe in plain types."""
    if isinstance(model, Mapping) and hasattr(model.get("recipe"), "to_dict"):
        return {**model, "recipe": model["recipe"].to_dict()}
    return dict(model) if isinstance(model, Mapping) else model


def read_call(folder: Path) -> dict[str, Any]:
    """Return the call that began a study.

    Raises
    ------
    RecordError
        If the folder holds none, or one that cannot be read.
    """
    path = folder / STUDY
    if not path.is_file():
        raise RecordError(
            f"'{folder}' does not say how its study was begun: there is no {STUDY} in it. compare writes it "
            "where models are given by name and data by name or folder. Make the same call of compare "
            "instead: it helps with the study too.",
            argument="folder",
            value=str(folder),
        )
    try:
        record = read_json(path)
        call = record["call"]
        if record["format"] != FORMAT or not isinstance(call, dict) or not isinstance(call["data"], list):
            raise ValueError("it is of another format")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"'{path}' cannot be read: {' '.join(str(error).split())}. Make the same call of compare again.",
            argument="folder",
            value=str(folder),
        ) from error
    return call
