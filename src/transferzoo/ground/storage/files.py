"""Files that are never half there: written beside and renamed, and hashed."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transferzoo.errors import InvalidInputError, OutputError, OutputExistsError, invalid

# bytes, on every common file system
LONGEST_NAME = 255
# seconds after which a half-written folder is taken for one of a process that was killed
FORGOTTEN = 3600.0


def home_folder() -> Path:
    """Return the user's folder; where there is none, as in some containers, one of temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: ``$KERAS_HOME``, else ``~/.keras``."""
    home = os.environ.get("KERAS_HOME")
    return Path(home) if home else home_folder() / ".keras"


def check_path(argument: str, value: Any, accepted: str = "a path, as text or a Path") -> Path:
    """Return `value` as a Path, ``~`` replaced, or raise."""
    if not isinstance(value, str | Path) or not str(value):
        raise invalid(argument, accepted, value)
    if "\0" in str(value):
        raise invalid(argument, accepted, value, remedy="A path holds no NUL character.")
    try:
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(value).parts):
            remedy = f"A file's name has at most {LONGEST_NAME} bytes."
            raise invalid(argument, accepted, value, remedy=remedy)
        return Path(value).expanduser()
    except (UnicodeEncodeError, RuntimeError) as error:
        raise invalid(argument, accepted, value, remedy=f"{error}.") from error


def check_writable(argument: str, folder: Path) -> None:
    """Raise unless a folder, there or not yet, can be written in; what is made to find out goes again."""
    made: list[Path] = []
    try:
        for each in (*reversed(folder.absolute().parents), folder):
            if not each.is_dir():
                each.mkdir()
                made.append(each)
        handle, name = tempfile.mkstemp(prefix=".probe-", dir=folder)
        os.close(handle)
        Path(name).unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInputError(
            f"{argument} must be a folder that can be written in. Got '{folder}': {reason}. "
            "Choose another folder, or change its permissions.",
            argument=argument,
            value=str(folder),
        ) from error
    finally:
        for each in reversed(made):
            with contextlib.suppress(OSError):
                each.rmdir()


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's hex digest."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def output_failed(folder: Path, error: OSError) -> OutputError:
    """Return the error for output that could not be written, with what to do."""
    reason = error.strerror or str(error)
    how = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "Correct that"
    return OutputError(
        f"'{folder}' could not be written in: {reason}. {how}, and make the same call again: it continues "
        "from its last checkpoint.",
        argument="out",
        value=str(folder),
    )


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; ValueError where it holds none, or is nested without end."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a file to write next to `path`; it takes that name only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path, path.suffix)
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
    _sweep(path)
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


def _sweep(path: Path, suffix: str = "") -> None:
    """Delete what processes that were killed long ago left beside `path`."""
    stem = path.stem if suffix else path.name
    for left in path.parent.glob(f".{glob.escape(stem)}-*{glob.escape(suffix)}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def refuse_full_folder(path: Path, *, ignoring: Sequence[str] = ()) -> None:
    """Raise unless `path` is absent or a folder that holds nothing but names like those in `ignoring`."""
    if path.is_dir() and all(
        any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in ignoring) for entry in path.iterdir()
    ):
        return
    if path.exists():
        what = "a folder that is not empty" if path.is_dir() else "a file"
        raise OutputExistsError(
            f"'{path}' is {what}; nothing in it was touched. Choose another folder, or move it away first.",
            argument="out",
            value=str(path),
        )
