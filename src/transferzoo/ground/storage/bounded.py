"""A folder of entries that together stay under a number of bytes; several processes may share it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from transferzoo.ground.storage.files import folder_written_beside

logger = logging.getLogger("transferzoo")

LOCKS = ".locks"
NAME = re.compile(r"[0-9a-f]{32}")
# beside an entry's numbers: the header of one file, and the record
OVERHEAD_BYTES = 8192
# files whose bytes were compared with their hash in this process
_CHECKED: set[tuple[str, int, int, int]] = set()


@dataclass(frozen=True)
class BoundedFolder:
    """Entries, each a folder with a record in it; the least recently used one is evicted first.

    Parameters
    ----------
    folder : Path
    max_bytes : int
        What all entries may take together.
    record : str
        The file in each entry whose time of change says when the entry was used last.

    Notes
    -----
    Names of entries are 32 hexadecimal digits. An entry appears by a rename. Each has a lock of its own,
    which a killed process gives up.
    """

    folder: Path
    max_bytes: int
    record: str

    def entries(self) -> list[Path]:
        """Return the entries' folders, in no order."""
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir()]

    def last_used(self, entry: Path) -> float:
        """Return seconds since 1970; 0 for an entry without its record, which is then evicted first."""
        try:
            return (entry / self.record).stat().st_mtime
        except OSError:
            return 0.0

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold an entry's lock, and wait for it where another process has it."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logger.info("waiting for the process that computes the same entry")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def adding(self, name: str, size: int) -> Iterator[Path]:
        """Yield a folder to fill; as the block ends it becomes the entry, and older ones make way.

        The caller holds the entry's lock.

        Raises
        ------
        OSError
            If the disk has no room for `size` bytes, or the bound has none.
        """
        for part in self.folder.glob(f".{name}-*"):
            shutil.rmtree(part, ignore_errors=True)  # a dead process's: its lock is ours now
        self.refuse_full_disk(size)
        with contextlib.ExitStack() as until_renamed, folder_written_beside(self.folder / name) as part:
            yield part
            until_renamed.enter_context(self.locked("adding"))
            self._make_room(folder_size(part), sparing=name)

    def refuse_full_disk(self, size: int) -> None:
        """Raise an OSError if the disk has no room for an entry of `size` bytes."""
        free = shutil.disk_usage(self.folder).free
        if size + OVERHEAD_BYTES > free:
            raise OSError(errno.ENOSPC, f"{size} bytes are needed, and {free} are free")

    def remove(self, entry: Path) -> int:
        """Delete an entry, renamed first so that no process finds half of it; return the bytes freed."""
        size = folder_size(entry)
        gone = entry.with_name(f".gone-{entry.name}-{secrets.token_hex(4)}")
        try:
            entry.replace(gone)
        except OSError:
            return 0
        shutil.rmtree(gone, ignore_errors=True)
        return size

    def sweep(self, *, sparing: str = "") -> int:
        """Delete what killed processes left half done; what a running one works at is behind its lock."""
        freed = 0
        for folder in self.folder.glob(".*-*"):
            name = folder.name[1:33]
            if not folder.is_dir() or name == sparing:
                continue
            size = folder_size(folder)
            if folder.name.startswith(".gone-"):
                shutil.rmtree(folder, ignore_errors=True)
            elif NAME.fullmatch(name):
                with contextlib.suppress(OSError), self._lock(name).acquire(timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            freed += size if not folder.exists() else 0
        return freed

    def _make_room(self, size: int, *, sparing: str) -> None:
        self.sweep(sparing=sparing)
        entries = sorted(self.entries(), key=self.last_used)
        excess = sum(map(folder_size, entries)) + size - self.max_bytes
        for entry in entries:
            if excess <= 0:
                return
            excess -= self.remove(entry)
        if excess > 0:
            raise OSError(errno.ENOSPC, f"entries in use leave no room within {self.max_bytes} bytes")

    def _lock(self, name: str) -> filelock.BaseFileLock:
        # never deleted: a process that waits on a deleted lock file would hold a lock that no other sees
        (self.folder / LOCKS).mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder / LOCKS / f"{name}.lock")


def folder_size(folder: Path) -> int:
    """Return the bytes of the files in a folder, as far as they can be seen."""
    total = 0
    with contextlib.suppress(OSError):  # another process may delete it meanwhile
        for path in folder.iterdir():
            total += path.stat().st_size
    return total


def check_bytes(path: Path, expected: str) -> None:
    """Raise a ValueError if a file is not the one that was written; read once a process."""
    status = path.stat()
    seen = (str(path), status.st_mtime_ns, status.st_size, status.st_ino)
    if seen in _CHECKED:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise ValueError("its bytes are not those that were written")
    _CHECKED.add(seen)
