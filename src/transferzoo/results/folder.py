"""A run's folder: the names of its files, and reading them with care."""

from __future__ import annotations

import contextlib
import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import RecordError
from transferzoo.ground.storage.files import file_hash, read_json
from transferzoo.ground.storage.locking import HOLDER, LOCK
from transferzoo.results.identity import settings_hash

FORMAT = 3


KIND = "transferzoo run"


RUN, HISTORY, PREDICTIONS, MODEL = "run.json", "history.csv", "predictions.npz", "model.keras"


# of all else in the record, and what it is called there
DIGEST = "digest"
# where a run's files stand until they are whole, within its folder
SAVING = ".saving-"
# what a killed process may leave in a run's folder
LEFTOVERS = (LOCK, HOLDER, ".checkpoint-*.npz", f"{SAVING}*")


# of text, and not known of every dataset
NAMES = ("files", "groups")
ARRAYS = ("index", "y_true", "y_prob", *NAMES, "validation_true", "validation_prob")


def sweep_leftovers(folder: Path) -> None:
    """Delete what killed processes left in a finished run's folder, and its checkpoint."""
    for pattern in (*LEFTOVERS[2:], "checkpoint.npz"):
        for left in folder.glob(pattern):
            with contextlib.suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def is_run(folder: str | Path) -> bool:
    """Return whether `folder` holds a saved run, judged by its ``run.json`` alone."""
    return read_settings(folder) is not None


def read_settings(folder: str | Path) -> dict[str, Any] | None:
    """Return the settings of the run saved in `folder`, or None where there is no run.

    Only ``run.json`` is read.

    Examples
    --------
    >>> read_settings("no/such/folder") is None
    True
    """
    try:
        run = read_json(Path(folder).expanduser() / RUN)
    except (OSError, ValueError):
        return None
    if not isinstance(run, dict) or run.get("kind") != KIND or not isinstance(run.get("settings"), dict):
        return None
    return run["settings"]


def unreadable(folder: Path, file: str, why: str) -> RecordError:
    """Return the error for a file of a run that cannot be read."""
    return RecordError(
        f"'{folder}' cannot be read as a run: {file}: {why}. "
        "Check the path, copy the folder again from where it was made, or delete it and run again.",
        argument="folder",
        value=str(folder),
    )


def sealed(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the digest of all that it says."""
    content = {key: value for key, value in run.items() if key != DIGEST}
    return {**content, DIGEST: settings_hash(content)}


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of a run's files but ``run.json``, which has them."""
    there = [name for name in (HISTORY, PREDICTIONS, MODEL) if (folder / name).is_file()]
    return {name: file_hash(folder / name) for name in there}


def check_file(folder: Path, name: str, run: Mapping[str, Any]) -> None:
    """Raise where a run's file is not the one that was written, as far as the record knows it."""
    if run.get("format") != FORMAT or not isinstance(run.get("files"), Mapping):
        return
    known = run["files"].get(name)
    if known is not None and (folder / name).is_file() and file_hash(folder / name) != known:
        raise unreadable(folder, name, "it is not the file that was written: its SHA-256 is another")


def read_run(folder: Path, *, checked: bool = True) -> dict[str, Any]:
    """Return what ``run.json`` holds, its digest compared unless `checked` is False."""
    try:
        run = read_json(folder / RUN)
    except FileNotFoundError as error:
        raise unreadable(folder, RUN, "it is missing") from error
    except (OSError, ValueError) as error:
        raise unreadable(folder, RUN, f"it is damaged: {error}") from error
    if not isinstance(run, dict) or run.get("kind") != KIND:
        raise unreadable(folder, RUN, f"it is not of kind '{KIND}'")
    number = run.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise RecordError(
            f"'{folder}' cannot be read: {RUN} has format {number}, written by a newer transferzoo; this one "
            f"reads up to {FORMAT}. Upgrade with: pip install --upgrade transferzoo",
            argument="folder",
            value=str(folder),
        )
    if checked and number == FORMAT and run.get(DIGEST) != sealed(run)[DIGEST]:
        raise unreadable(folder, RUN, "it was changed after it was written: its digest does not fit")
    for table in ("settings", "metrics", "costs", "environment", "provenance"):
        if not isinstance(run.get(table, {}), dict):
            raise unreadable(folder, RUN, f"its entry '{table}' is no table")
    # the first had neither index, validation predictions nor provenance, the second no digests
    if number not in (1, 2, FORMAT):
        raise unreadable(folder, RUN, f"it has the unknown format {number!r}")
    return run


def read_predictions(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``predictions.npz``."""
    try:
        # given a path, np.load leaves the file open when the archive is damaged
        with (folder / PREDICTIONS).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ARRAYS if name in arrays}
    except FileNotFoundError as error:
        raise unreadable(folder, PREDICTIONS, "it is missing") from error
    except Exception as error:
        # zipfile, zlib and the array header each raise kinds of their own on damaged bytes
        raise unreadable(folder, PREDICTIONS, f"it is damaged: {error}") from error
    if not {"y_true", "y_prob"} <= set(found):
        raise unreadable(folder, PREDICTIONS, "it does not hold both y_true and y_prob")
    for labels, probabilities in (("y_true", "y_prob"), ("validation_true", "validation_prob")):
        true, prob = found.get(labels), found.get(probabilities)
        if true is None and prob is None:
            continue
        if (
            true is None
            or prob is None
            or true.dtype.kind not in "iu"
            or prob.dtype.kind != "f"
            or prob.shape[:1] != true.shape
        ):
            shapes = [f"{array.dtype} {array.shape}" for array in (true, prob) if array is not None]
            raise unreadable(
                folder, PREDICTIONS, f"its arrays do not belong together: {' and '.join(shapes)}"
            )
    return found


def write_history(path: Path, history: Mapping[str, list[Any]], epochs: int) -> None:
    """Write ``history.csv``: one line per epoch, a phase's name first."""
    columns = sorted(history, key=lambda key: key != "phase")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", *columns])
        for index in range(epochs):
            entries = (history[key][index] for key in columns)
            # an empty cell is what other programs read as missing
            writer.writerow([index + 1, *("" if entry != entry else entry for entry in entries)])


def read_history(folder: Path) -> dict[str, list[Any]]:
    """Return the columns of ``history.csv``."""
    try:
        with (folder / HISTORY).open(encoding="utf-8", newline="") as stream:
            header, *lines = csv.reader(stream)
        columns = zip(*lines, strict=True) if lines else ((),) * len(header)
        table = dict(zip(header, columns, strict=True))
        del table["epoch"]
        return {
            key: [entry if key == "phase" else float(entry or "nan") for entry in entries]
            for key, entries in table.items()
        }
    except FileNotFoundError as error:
        raise unreadable(folder, HISTORY, "it is missing") from error
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise unreadable(folder, HISTORY, f"it is damaged: {error}") from error
