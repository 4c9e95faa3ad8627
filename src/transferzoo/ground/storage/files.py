"""Files that are never half there: written beside and renamed, and hashed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from transferzoo.errors import OutputExistsError


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: ``$KERAS_HOME``, else ``~/.keras``."""
    home = os.environ.get("KERAS_HOME")
    return Path(home) if home else Path("~/.keras").expanduser()


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's hex digest."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a file to write next to `path`; it takes that name only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_beside(path: Path) -> Iterator[Path]:
    """Yield a folder to fill next to `path`; it takes that name only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        refuse_full_folder(path)
        if path.is_dir():
            path.rmdir()  # Windows renames onto no folder, not even an empty one
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refuse_full_folder(path: Path) -> None:
    """Raise unless `path` is absent or an empty folder."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists():
        what = "a folder that is not empty" if path.is_dir() else "a file"
        raise OutputExistsError(
            f"'{path}' is {what}; nothing in it was touched. Choose another folder, or move it away first.",
            argument="out",
            value=str(path),
        )
