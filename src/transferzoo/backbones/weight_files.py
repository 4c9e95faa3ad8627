"""Weights files on this machine: where they are, and what is known of each, without Keras.

A small file beside them, `transferzoo-weights.json`, remembers the SHA-256 of every file that was checked, so
that it is not hashed at each build, and refuses a later change where no hash was published.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone, Weights
from transferzoo.errors import WeightsError
from transferzoo.ground.storage.files import cache_folder, file_hash, read_json, written_beside

logger = logging.getLogger("transferzoo")

LEDGER = "transferzoo-weights.json"
SHIPPED_FOLDER = Path(__file__).parent / "shipped_weights"


@dataclass(frozen=True, kw_only=True)
class KnownFile:
    """What is remembered of a file.

    Parameters
    ----------
    sha256 : str
    size : int
        Bytes.
    modified_ns : int
        When it was last written, nanoseconds since 1970. With `size`, tells a file that was touched.
    checked_by : str
        ``"published hash"``, ``"first use"`` or ``"import"``.
    """

    sha256: str
    size: int
    modified_ns: int
    checked_by: str


def models_folder() -> Path:
    """Return the folder of weights files, ``$KERAS_HOME/models``; Keras' own."""
    return cache_folder() / "models"


def file_at_hand(backbone: Backbone, weights: str) -> Path | None:
    """Return the file that stands for a backbone's weights of a name, an imported one first; or None."""
    name = imported_files().get(backbone.name, {}).get(weights)
    if name is not None and (models_folder() / name).is_file():
        return models_folder() / name
    published = backbone.published_weights(weights)
    if published is None or not published.url:
        return None
    path = (SHIPPED_FOLDER if published.shipped else models_folder()) / published.file
    return path if path.is_file() else None


def is_imported(backbone: Backbone, weights: str) -> bool:
    """Tell whether a backbone's weights of a name come from an imported file."""
    return weights in imported_files().get(backbone.name, {}) and file_at_hand(backbone, weights) is not None


def imported_files() -> dict[str, dict[str, str]]:
    """Return the names of imported files, by backbone and by name of weights."""
    found = _read()["imported"]
    return {name: dict(files) for name, files in found.items() if isinstance(files, dict)}


def known_file(path: Path) -> KnownFile | None:
    """Return what is remembered of a file in the folder of weights, or None."""
    entry = _read()["files"].get(path.name)
    try:
        return KnownFile(**entry) if isinstance(entry, dict) and path.parent == models_folder() else None
    except TypeError:
        return None


def checked_sha256(path: Path, published: Weights | None, *, again: bool = False) -> str:
    """Return a file's SHA-256, checked against its published hash, or against what it was at first use.

    A file that has not been written since it was checked is not read, unless `again`.

    Raises
    ------
    WeightsError
        If the file is not the published one, or is another than at first use.
    """
    known, stat = known_file(path), path.stat()
    if known and not again and (known.size, known.modified_ns) == (stat.st_size, stat.st_mtime_ns):
        return known.sha256
    sha256 = file_hash(path)
    if published is not None and published.hash is not None and path.name == published.file:
        if not is_published(path, sha256, published.hash):
            algorithm, _, expected = published.hash.partition(":")
            raise WeightsError(
                f"The weights file '{path}' is not the published one: its {algorithm} is "
                f"{file_hash(path, algorithm)}, and {expected} is expected. Delete it, and it is downloaded "
                f"again from {published.url}",
                argument="weights",
                value=str(path),
            )
        how = "published hash"
    elif known is not None and known.sha256 != sha256:
        raise WeightsError(
            f"The weights file '{path}' is not what it was: its sha256 is {sha256}, and was {known.sha256} "
            f"when it was first used. Delete it to have it downloaded again; if the new one is right, remove "
            f"its entry from '{models_folder() / LEDGER}'.",
            argument="weights",
            value=str(path),
        )
    else:
        how = known.checked_by if known is not None else "first use"
    remember(path, sha256, how)
    return sha256


def is_published(path: Path, sha256: str, published: str) -> bool:
    """Tell whether a file, whose SHA-256 is known, has its published hash: ``"md5:…"`` or ``"sha256:…"``."""
    algorithm, _, expected = published.partition(":")
    return (sha256 if algorithm == "sha256" else file_hash(path, algorithm)).lower() == expected.lower()


def remember(path: Path, sha256: str, how: str) -> None:
    """Note that a file in the folder of weights was checked; nothing where the folder cannot be written."""
    if path.parent != models_folder():
        return
    stat = path.stat()
    entry = KnownFile(sha256=sha256, size=stat.st_size, modified_ns=stat.st_mtime_ns, checked_by=how)
    _change(lambda ledger: ledger["files"].update({path.name: asdict(entry)}))


def imported_name(backbone: Backbone, weights: str) -> str:
    """Return what the names of imported files of a backbone begin with; the ending follows."""
    return f"{backbone.name}-{weights}-imported."


def remember_import(backbone: Backbone, weights: str, path: Path) -> None:
    """Note that a file stands for a backbone's weights from now on."""
    _change(lambda ledger: ledger["imported"].setdefault(backbone.name, {}).update({weights: path.name}))


def recorded_activations() -> dict[str, Any]:
    """Return the activations that were recorded on this machine, by backbone and name of weights."""
    return dict(_read()["activations"])


def record_activations(key: str, values: dict[str, Any]) -> None:
    """Keep what a network computed, to compare later."""
    _change(lambda ledger: ledger["activations"].update({key: values}))


def _read() -> dict[str, dict[str, Any]]:
    found: Any = {}
    with contextlib.suppress(OSError, ValueError):
        found = read_json(models_folder() / LEDGER)
    parts = ("files", "imported", "activations")
    return {
        part: found[part] if isinstance(found, dict) and isinstance(found.get(part), dict) else {}
        for part in parts
    }


def _change(edit: Callable[[dict[str, dict[str, Any]]], None]) -> None:
    from filelock import FileLock

    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{LEDGER}.lock"):
            ledger = _read()
            edit(ledger)
            with written_beside(folder / LEDGER) as part:
                part.write_text(json.dumps(ledger, indent=1, sort_keys=True), encoding="utf-8")
    except OSError as error:
        # a folder that is shared and read-only: files are then hashed at each use
        logger.debug("what is known of weights files is not kept: %s", error)
