"""One process at a time in a folder, by a lock that a killed process gives up; and who holds it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferzoo.errors import OutputExistsError

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger("transferzoo")

LOCK, HOLDER = ".lock", ".running.json"


@contextlib.contextmanager
def folder_held(folder: Path, identity: str) -> Iterator[None]:
    """Keep other processes from a folder while the block lasts.

    A process that wants the folder for the same thing waits; one that wants it for another is refused at
    once. The folder is made, and removed again if the block leaves nothing in it.

    Parameters
    ----------
    folder : Path
    identity : str
        What the folder is held for.

    Raises
    ------
    OutputExistsError
        If another process, or another thread, holds the folder for something else; it is named.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        _acquire(lock, folder, timeout=0)
    except Timeout:
        holder = _read(folder)
        who = f"process {holder.get('process', 'unknown')} on {holder.get('machine', 'an unknown machine')}"
        if holder.get("identity", identity) != identity:
            raise OutputExistsError(
                f"'{folder}' is in use: {who} makes another run in it. "
                "Choose another folder, or wait until that run is over.",
                argument="out",
                value=str(folder),
            ) from None
        logger.warning("'%s' is in use: %s makes this very run; waiting for it", folder, who)
        _acquire(lock, folder, timeout=-1)
    try:
        note = {"process": os.getpid(), "machine": socket.gethostname(), "identity": identity}
        (folder / HOLDER).write_text(json.dumps(note), encoding="utf-8")
        yield
    finally:
        for name in (HOLDER, LOCK):
            with contextlib.suppress(OSError):
                # Windows keeps an open file; filelock removes it there
                (folder / name).unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()


def _acquire(lock: FileLock, folder: Path, *, timeout: float) -> None:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=timeout)
            return
        except FileNotFoundError:
            # who held it has just removed the folder, as it was empty
            continue


def _read(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
