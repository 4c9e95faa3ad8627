"""A run that could not be finished, on record with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferzoo.ground.storage.files import read_json, written_beside
from transferzoo.results.identity import plain

FAILURE = "failure.json"
KIND = "transferzoo failure"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run has no result.

    Parameters
    ----------
    name : str
        The run's label.
    error, message : str
        The exception's type, and what it said.
    settings : mapping
        What was asked for, in plain JSON types.
    folder : Path, optional
        Where it is on record, in ``failure.json``.

    Examples
    --------
    >>> print(Failure(name="vgg16", error="MemoryError", message="out of memory", settings={"seed": 1}))
    vgg16, seed 1: MemoryError: out of memory
    """

    name: str
    error: str
    message: str
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    folder: Path | None = None

    @classmethod
    def of(cls, name: str, error: BaseException, settings: Mapping[str, Any], folder: Path | None) -> Failure:
        """Return the record of an exception, and write it where the run has a folder."""
        message = " ".join(str(error).split()) or "no message"
        made = cls(
            name=name, error=type(error).__name__, message=message, settings=dict(settings), folder=folder
        )
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"kind": KIND, **made.to_dict()}, indent=2, sort_keys=True)
            with written_beside(folder / FAILURE) as part:
                part.write_text(text + "\n", encoding="utf-8")
        return made

    @classmethod
    def load(cls, folder: Path) -> Failure | None:
        """Return what a folder has on record, or None."""
        try:
            record = read_json(folder / FAILURE)
            if record["kind"] != KIND:
                return None
            texts = {key: str(record[key]) for key in ("name", "error", "message")}
            return cls(**texts, settings=dict(record["settings"]), folder=folder)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "error": self.error,
            "message": self.message,
            "settings": plain(self.settings),
        }

    def __str__(self) -> str:
        seed = self.settings.get("seed")
        return f"{self.name}{'' if seed is None else f', seed {seed}'}: {self.error}: {self.message}"
