"""Features kept on disk: one memory-mapped array a folder, found by what it was computed from."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import itertools
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count, finite
from transferzoo.ground.storage.bounded import OVERHEAD_BYTES, BoundedFolder, check_bytes, folder_size
from transferzoo.ground.storage.files import cache_folder, check_path, read_json
from transferzoo.version import __version__

logger = logging.getLogger("transferzoo.features.store")

FORMAT = 2
DEFAULT_MAX_BYTES = 4 * 10**9
FEATURES = "features.npy"
ENTRY = "entry.json"
SECONDS_A_DAY = 86_400
HASHED_BYTES = 2**22

Blocks = Callable[[], Iterable[np.ndarray]]


def features_folder() -> Path:
    """Return where features are kept by default; `FeatureStore` says where that is."""
    named = os.environ.get("TRANSFERZOO_CACHE")
    return (Path(named).expanduser() if named else cache_folder() / "transferzoo") / "features"


@dataclass(frozen=True, kw_only=True)
class FeatureEntry:
    """One array of features on disk, and what is known about it.

    Attributes
    ----------
    folder : Path
        Holds ``features.npy`` and ``entry.json``.
    description : mapping of str
        What it is: ``"backbone"``, ``"image_size"``, ``"layer"``, as far as known.
    key : mapping of str
        What it was computed from, digests for the most part; another key is another entry.
    shape : tuple of int
        The first counts images.
    dtype : str
    size_bytes : int
        On disk, both files.
    made : datetime
        In UTC.
    last_used : datetime
        In UTC. The least recently used entry is evicted first.
    seconds : float
        What it took to compute.
    versions : mapping of str
        Of transferzoo and numpy.
    """

    folder: Path
    description: Mapping[str, Any] = field(default_factory=dict)
    key: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    made: datetime.datetime
    last_used: datetime.datetime
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)


class FeatureStore:
    """Features on disk, computed once for every head, seed and process that asks for them.

    Parameters
    ----------
    folder : str or Path, optional
        Where entries are kept. By default ``$TRANSFERZOO_CACHE/features``, else
        ``$KERAS_HOME/transferzoo/features`` (``~/.keras/transferzoo/features``).
    max_bytes : int, default 4 GB (4 * 10**9)
        What all entries may take together. The least recently used entry is evicted for a new one; an entry
        above the bound is computed, used and not kept.

    Notes
    -----
    An entry appears by a rename, so nobody reads half of one. A lock an entry makes the second process
    that asks wait for the first. On POSIX an array stays readable after its entry was deleted; Windows
    refuses to delete a file in use, and the entry stays. Nothing raises because the disk is full or cannot
    be written: a warning is logged, and the features are computed into memory.

    Examples
    --------
    >>> import tempfile
    >>> store = FeatureStore(tempfile.mkdtemp(), max_bytes=2**20)
    >>> features = store.get_or_compute(
    ...     {"what": "squares"}, (4, 1), "float32", lambda: [np.array([[0], [1], [4], [9]])]
    ... )
    >>> features[3], len(store.entries())
    (array([9.], dtype=float32), 1)
    """

    def __init__(self, folder: str | Path | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._kept = BoundedFolder(
            check_path("folder", folder) if folder is not None else features_folder(),
            check_count("max_bytes", max_bytes, 0, "It is a number of bytes, such as 10**9.", most=2**63 - 1),
            record=ENTRY,
        )

    @property
    def folder(self) -> Path:
        """Where entries are kept."""
        return self._kept.folder

    @property
    def max_bytes(self) -> int:
        """What all entries may take together."""
        return self._kept.max_bytes

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, max_bytes={self.max_bytes})"

    def get_or_compute(
        self,
        key: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: Any,
        blocks: Blocks,
        *,
        description: Mapping[str, Any] | None = None,
        reused: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Return the array that belongs to a key, computed unless it is there.

        Parameters
        ----------
        key : mapping of str
            What the array follows from, in JSON types: digests, names, sizes.
        shape : tuple of int
            Of the whole array; at least one axis.
        dtype : dtype
        blocks : function without arguments
            Gives the array in pieces, along the first axis and in order. Each piece is written to disk
            before the next is asked for. May be called again if the disk fails underway.
        description : mapping of str, optional
            What the array is, for people, in JSON types.
        reused : function of a float, optional
            Called with the seconds that the array took to compute, if it was there.

        Returns
        -------
        ndarray, shape `shape`
            Read-only, and mapped from disk.
        """
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise invalid("dtype", "numbers; objects would be written as their addresses", str(dtype))
        shape = tuple(int(n) for n in shape)
        name = key_digest(key)[:32]
        size = int(np.prod(shape)) * dtype.itemsize
        if size == 0:
            return _in_memory(shape, dtype, blocks)
        found = self._read(name, key, shape, dtype, reused=reused)
        if found is not None:
            return found
        if size + OVERHEAD_BYTES > self.max_bytes:
            logger.info("%d bytes of features are above the cache's %d: not kept", size, self.max_bytes)
            return self._in_unnamed_file(shape, dtype, blocks)
        try:
            with self._kept.locked(name):
                found = self._read(name, key, shape, dtype, remove_damaged=True, reused=reused)
                if found is None:
                    self._write(name, key, shape, dtype, blocks, description or {})
                    found = self._read(name, key, shape, dtype)
        except _ComputingFailed as failure:
            raise failure.error from None
        except (OSError, NotImplementedError) as error:  # filelock: where the file system knows no locks
            reason = " ".join(str(error).split())
            logger.warning("features are not kept in %s: %s", self.folder, reason)
        return found if found is not None else _in_memory(shape, dtype, blocks)

    def entries(self) -> list[FeatureEntry]:
        """Return what is kept, the one used last first.

        Returns
        -------
        list of FeatureEntry
        """
        found = []
        for folder in self._kept.entries():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
                found.append(_entry(folder, self._kept.last_used(folder)))
        return sorted(found, key=lambda entry: entry.last_used, reverse=True)

    def clear(self, *, older_than_days: float | None = None) -> int:
        """Delete entries, and what killed processes left.

        Parameters
        ----------
        older_than_days : float, optional
            Leave the entries that were used within this many days. By default all go.

        Returns
        -------
        int
            Bytes freed.
        """
        if older_than_days is not None and (finite(older_than_days) is None or older_than_days < 0):
            raise invalid("older_than_days", "a number of days, 0 or more", older_than_days)
        if not self.folder.is_dir():
            return 0
        freed = self._kept.sweep()
        latest = time.time() - older_than_days * SECONDS_A_DAY if older_than_days is not None else None
        for folder in self._kept.entries():
            if latest is None or self._kept.last_used(folder) <= latest:
                freed += self._kept.remove(folder)
        return freed

    def _read(
        self,
        name: str,
        key: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        remove_damaged: bool = False,
        reused: Callable[[float], None] | None = None,
    ) -> np.ndarray | None:
        """Return a whole entry's array, or None; damaged ones are removed only by who holds the lock."""
        folder = self.folder / name
        try:
            # a pipe in its place would be waited for without end
            if not all((folder / file).is_file() for file in (ENTRY, FEATURES)):
                raise FileNotFoundError
            record = read_json(folder / ENTRY)
            array = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
            whole = (folder / FEATURES).stat().st_size == array.offset + array.nbytes
            if (
                not whole
                or (array.shape, array.dtype) != (shape, dtype)
                or record["key"] != json.loads(json.dumps(dict(key)))
            ):
                raise ValueError("it does not hold what it should")
            seconds = float(record["seconds"])
            check_bytes(folder / FEATURES, record["sha256"])
        except (FileNotFoundError, NotADirectoryError):
            if not folder.is_dir():
                return None
            problem = "a file is missing"
        except Exception as error:
            # a damaged header of an array raises whatever Python's parser meets in it
            problem = str(error)
        else:
            with contextlib.suppress(OSError):  # a cache that others fill may be read-only
                os.utime(folder / ENTRY)
            if reused is not None:
                reused(seconds)
            return np.asarray(array)
        if remove_damaged:
            logger.warning("the features in %s are damaged and computed again: %s", folder, problem)
            self._kept.remove(folder)
        return None

    def _write(
        self,
        name: str,
        key: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: np.dtype,
        blocks: Blocks,
        description: Mapping[str, Any],
    ) -> None:
        started = time.perf_counter()
        with self._kept.adding(name, int(np.prod(shape)) * dtype.itemsize) as part:
            # written, not mapped: a full disk is an OSError here, and would kill the process there
            digest = hashlib.sha256()
            with (part / FEATURES).open("wb") as stream:
                for piece in itertools.chain([_header(shape, dtype)], _checked(blocks, shape, dtype)):
                    stream.write(piece.data)
                    digest.update(piece.data)
            record = {
                "format": FORMAT,
                "description": dict(description),
                "key": dict(key),
                "shape": list(shape),
                "dtype": dtype.name,
                "sha256": digest.hexdigest(),
                "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - started, 3),
                "versions": {"transferzoo": __version__, "numpy": np.__version__},
            }
            (part / ENTRY).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def _in_unnamed_file(self, shape: tuple[int, ...], dtype: np.dtype, blocks: Blocks) -> np.ndarray:
        """Compute into a file that is gone as soon as the array is; into memory where that fails."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._kept.refuse_full_disk(int(np.prod(shape)) * dtype.itemsize)
            with tempfile.TemporaryFile(dir=self.folder) as stream:
                for block in _checked(blocks, shape, dtype):
                    stream.write(block.data)
                stream.flush()
                return np.asarray(np.memmap(stream, dtype=dtype, mode="r", shape=shape))
        except _ComputingFailed as failure:
            raise failure.error from None
        except OSError as error:
            logger.warning("features go to memory, not to %s: %s", self.folder, error)
            return _in_memory(shape, dtype, blocks)


class _ComputingFailed(Exception):
    """Tells an OSError of the computation from one of the disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def key_digest(key: Mapping[str, Any]) -> str:
    """Return a SHA-256 hex digest of a key, whatever the order of its parts."""
    text = json.dumps({"format": FORMAT, **key}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def array_digest(array: np.ndarray) -> str:
    """Return a SHA-256 hex digest of an array's shape, dtype and bytes, without a copy of the whole."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    rows = max(1, HASHED_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _header(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return the bytes that an ``.npy`` file of such an array begins with."""
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return np.frombuffer(stream.getvalue(), np.uint8)


def _checked(blocks: Blocks, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    rows = 0
    try:
        for block in blocks():
            if block.shape[1:] != shape[1:] or rows + len(block) > shape[0]:
                raise invalid("blocks", f"pieces of an array of shape {shape}", block.shape)
            rows += len(block)
            yield np.ascontiguousarray(block, dtype=dtype)
    except OSError as error:
        raise _ComputingFailed(error) from error
    if rows != shape[0]:
        raise invalid("blocks", f"{shape[0]} rows in all", rows)


def _in_memory(shape: tuple[int, ...], dtype: np.dtype, blocks: Blocks) -> np.ndarray:
    array = np.empty(shape, dtype)
    start = 0
    try:
        for block in _checked(blocks, shape, dtype):
            array[start : start + len(block)] = block
            start += len(block)
    except _ComputingFailed as failure:
        raise failure.error from None
    array.flags.writeable = False  # as those from disk are
    return array


def _entry(folder: Path, last_used: float) -> FeatureEntry:
    if not (folder / ENTRY).is_file():
        raise ValueError("it is no file")
    record = read_json(folder / ENTRY)
    if not all(isinstance(record[name], Mapping) for name in ("description", "key", "versions")):
        raise TypeError("its tables are none")
    return FeatureEntry(
        folder=folder,
        description=record["description"],
        key=record["key"],
        shape=tuple(map(int, record["shape"])),
        dtype=str(record["dtype"]),
        size_bytes=folder_size(folder),
        made=datetime.datetime.fromisoformat(record["made"]),
        last_used=datetime.datetime.fromtimestamp(last_used, datetime.UTC),
        seconds=float(record["seconds"]),
        versions=record["versions"],
    )
