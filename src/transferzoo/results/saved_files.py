"""The files of saved runs, each read by itself, so that a damaged one hides no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from transferzoo.errors import RecordError
from transferzoo.results.discrepancies import Ledger
from transferzoo.results.folder import (
    DIGEST,
    FORMAT,
    HISTORY,
    MODEL,
    PREDICTIONS,
    RUN,
    file_digests,
    read_history,
    read_predictions,
    read_run,
    sealed,
)


@dataclass
class SavedRun:
    """What a run's folder holds; empty where a file cannot be read."""

    folder: Path
    label: str
    run: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def read(self, ledger: Ledger) -> None:
        """Read each file by itself: one that is damaged does not keep the others from being checked."""
        try:
            self.run = read_run(self.folder, checked=False)
        except RecordError as error:
            ledger.differ(self.label, RUN, "a run", _why(error))
        try:
            self.arrays = read_predictions(self.folder)
        except RecordError as error:
            ledger.differ(self.label, PREDICTIONS, "predictions", _why(error))
        try:
            history = read_history(self.folder)
        except RecordError as error:
            ledger.differ(self.label, HISTORY, "a history", _why(error))
        else:
            if "epochs" in self.run:
                epochs = max(map(len, history.values()), default=0)
                ledger.compare(self.label, "epochs", self.run["epochs"], epochs)

    def check_digests(self, ledger: Ledger) -> None:
        """Compare the record and the files with the digests in the record, where nothing else was found."""
        if self.run.get("format") != FORMAT:
            return
        found = any(each.run == self.label for each in ledger.discrepancies)
        known = {DIGEST: self.run.get(DIGEST), **self.part("files")}
        actual = {DIGEST: sealed(self.run)[DIGEST], **file_digests(self.folder)}
        for name, digest in known.items():
            ledger.checked += 1
            # the model may have been left behind to save room
            if digest != actual.get(name, digest if name == MODEL else None) and not found:
                ledger.differ(self.label, name, digest, actual.get(name, "no file"))

    def part(self, *keys: str) -> dict[str, Any]:
        """Return a table of ``run.json``; an empty one where there is none."""
        found: Any = self.run
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return dict(found) if isinstance(found, Mapping) else {}

    @property
    def seed(self) -> Any:
        """The seed on record."""
        return self.part("settings").get("seed")

    def figures(self) -> dict[str, Any]:
        """Return what a study's table says of the run."""
        return {**self.part("costs"), "epochs": self.run.get("epochs"), **self.part("metrics")}


def label_of(path: Path, root: Path) -> str:
    """Return what to call a folder or file within `root`."""
    return path.name if path == root else path.relative_to(root).as_posix()


def _why(error: RecordError) -> str:
    """Return the reason in an error about a folder, without the path and the advice."""
    reason = str(error).partition("cannot be read as a run: ")[2].partition(" Check the path, ")[0]
    return reason.rstrip(".") or str(error)
