"""All that a run needs to continue exactly, in one file that is never half there."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.errors import RecordError
from transferzoo.ground.interrupts import TERMINATIONS, stopping, terminate
from transferzoo.ground.storage.files import output_failed, written_beside

CHECKPOINT = "checkpoint.npz"
FORMAT = 1
KIND = "transferzoo checkpoint"
# seconds between two checkpoints of one epoch: what a kill may cost
INTERVAL = 60.0

logger = logging.getLogger("transferzoo")


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far a run has come.

    Parameters
    ----------
    phase : int
        Phases that are over.
    epoch, batch : int
        Epochs of the next phase that are over, and batches of its next epoch.
    stopped : bool
        Whether that phase stopped itself.
    seconds : float
        Spent on training, over all sittings.
    epoch_seconds : float
        Spent on the unfinished epoch.
    reused_seconds : float
        What features from the cache took when they were computed, before this run.
    features : list of str
        Which features the run has computed, or counted in `reused_seconds`.
    returned : str
        Which weights the model has, in words, once the last phase is over.
    chosen : mapping
        How long the last phase trains, where the time that it has decided that; empty until then.
    rows : list of mapping
        The figures of each epoch that is over.
    callbacks : list of mapping
        What plateau and early stopping remember.
    arrays : mapping of str to ndarray
        Every variable, by kind and number.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    stopped: bool = False
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    reused_seconds: float = 0.0
    features: Sequence[str] = field(default_factory=list)
    returned: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = field(default_factory=list)
    callbacks: Sequence[Mapping[str, Any]] = field(default_factory=list)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def where(self) -> str:
        """Say it in words."""
        return f"phase {self.phase + 1}, epoch {self.epoch + 1}, batch {self.batch + 1}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


# what a file must hold for each field of a state, the arrays apart
FITTING: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("phase", "epoch", "batch"), _is_count),
    **dict.fromkeys(("seconds", "epoch_seconds", "reused_seconds"), _is_duration),
    **dict.fromkeys(("rows", "callbacks"), _are_tables),
    "stopped": lambda value: isinstance(value, bool),
    "features": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "returned": lambda value: isinstance(value, str),
    "chosen": lambda value: isinstance(value, dict),
}


class Checkpoints:
    """The checkpoint of the run in a folder.

    Parameters
    ----------
    folder : Path
        The run's own; the file is `CHECKPOINT` in it.
    settings : mapping
        What the run is, in plain JSON types; another run's checkpoint is not taken for this one's.
    environment : mapping of str to str
        Versions and machine, for the record.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.environment = dict(environment or {})
        # the number of the signal, once there was one
        self.interrupted = 0
        self.may_wait = False
        self._saved = time.monotonic()
        self._failed = False

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.folder / CHECKPOINT

    def due(self) -> bool:
        """Tell whether it is time to save."""
        return bool(self.interrupted) or time.monotonic() - self._saved >= INTERVAL

    def save(self, state: TrainingState) -> None:
        """Write the state beside the last one, and put it in its place."""
        meta = {
            "kind": KIND,
            "format": FORMAT,
            "settings": self.settings,
            "environment": self.environment,
            **{name: value for name, value in vars(state).items() if name != "arrays"},
        }
        text = np.frombuffer(json.dumps(meta).encode(), dtype="uint8")
        try:
            with written_beside(self.path) as part, part.open("wb") as stream:
                np.savez(stream, **{"meta": text, **state.arrays})  # type: ignore[arg-type]
                stream.flush()
                # a rename may reach the disk before what it names
                os.fsync(stream.fileno())
        except OSError as error:
            if self.interrupted:
                raise output_failed(self.folder, error) from error
            # what is trained is worth more than the checkpoint; the last one stays
            if not self._failed:
                logger.warning(
                    "a checkpoint could not be written in '%s' (%s); training continues without",
                    self.folder,
                    error.strerror or error,
                )
            self._failed = True
        self._saved = time.monotonic()

    def load(self) -> TrainingState | None:
        """Return the last state saved, or None where there is none.

        Raises
        ------
        RecordError
            If the file is damaged or not of this kind.
        """
        if not self.path.exists():
            return None
        meta, arrays = _read(self.path, with_arrays=True)
        known = {name: meta[name] for name in FITTING if name in meta}
        for name, value in known.items():
            if not FITTING[name](value):
                raise _unreadable(self.path, f"its '{name}' is {value!r:.60}")
        return TrainingState(arrays=arrays, **known)

    def remove(self) -> None:
        """Delete the checkpoint, and what a killed process left of one."""
        self.path.unlink(missing_ok=True)
        self.sweep()
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # succeeds where nothing else is in it

    def sweep(self) -> None:
        """Delete the half-written files of killed processes."""
        for part in self.folder.glob(".checkpoint-*.npz"):
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C or termination in the block wait for the end of a batch, for a whole state.

        Only where `may_wait` is set; a second one is not waited with. A termination is one of `TERMINATIONS`
        that nobody else handles: schedulers, containers and closed terminals send them.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: Any) -> None:
            if self.interrupted or not self.may_wait:
                raise stopping(number)
            self.interrupted = number

        previous = {signal.SIGINT: signal.signal(signal.SIGINT, on_signal)}
        for number in TERMINATIONS:
            if signal.getsignal(number) in (signal.SIG_DFL, terminate):
                previous[number] = signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def read_unfinished(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the unfinished run in `folder`, or None where there is none.

    Raises
    ------
    RecordError
        If there is a checkpoint that cannot be read.
    """
    path = folder / CHECKPOINT
    return _read(path, with_arrays=False)[0]["settings"] if path.is_file() else None


def _read(path: Path, *, with_arrays: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            arrays = {name: file[name] for name in file.files if name != "meta"} if with_arrays else {}
    except Exception as error:
        # zipfile, zlib, json and the array header each raise kinds of their own on damaged bytes
        raise _unreadable(path, str(error)) from error
    if (
        not isinstance(meta, dict)
        or not isinstance(meta.get("settings"), dict)
        or (meta.get("kind"), meta.get("format")) != (KIND, FORMAT)
    ):
        raise _unreadable(path, f"it is no '{KIND}' of format {FORMAT}")
    return meta, arrays


def _unreadable(path: Path, reason: str) -> RecordError:
    return RecordError(
        f"'{path}' cannot be read as a checkpoint: {' '.join(reason.split())[:200]}. "
        "Delete it, and the run starts from the beginning.",
        argument="out",
        value=str(path.parent),
    )
