"""One pickled batch of CIFAR images, read as plain arrays without running what it names."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from transferzoo.errors import InvalidInputError, listing

SIDE = 32


def read_batch(stream: IO[bytes], label_key: str, where: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Return one pickled batch's images and labels; `where` names it in an error."""
    try:
        batch = _BatchUnpickler(stream, encoding="bytes").load()
    except InvalidInputError as error:
        raise damaged(where, str(error)) from error
    except Exception as error:
        raise damaged(where, f"{type(error).__name__}: {error}") from error
    if not isinstance(batch, dict):
        raise damaged(where, f"it holds a {type(batch).__name__}, not a batch")
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    missing = [key for key in ("data", label_key) if key not in batch]
    if missing:
        raise damaged(where, f"it lacks {listing(missing)}")
    data, labels = batch["data"], batch[label_key]
    x = data.array if isinstance(data, _PickledArray) else None
    y = labels.array if isinstance(labels, _PickledArray) else _int_list(labels)
    if x is None or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3 * SIDE * SIDE:
        raise damaged(where, "its 'data' is not an array of uint8 of shape (n, 3072)")
    if y is None or y.shape != x.shape[:1]:
        raise damaged(where, f"its '{label_key}' is not a list of {len(x)} whole numbers")
    # Rows hold the red plane, then the green, then the blue.
    return np.ascontiguousarray(x.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), y


def damaged(path: Path | str, reason: str) -> InvalidInputError:
    """Return the error for a file that holds no such batch, or no such arrays."""
    return InvalidInputError(
        f"{path} cannot be read as CIFAR data: {reason.rstrip('.')}. Delete it and fetch it again, "
        "or pass another path.",
        argument="path",
        value=str(path),
    )


def _int_list(labels: Any) -> np.ndarray | None:
    if isinstance(labels, list) and labels and all(type(label) is int for label in labels):
        return np.array(labels, np.int64)
    return None


class _PickledDtype:
    """Stands in for numpy.dtype: whole numbers of the machine's byte order, and nothing else."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(code.decode("latin1") if isinstance(code, bytes) else str(code))
        if self.dtype.kind not in "iu":
            raise InvalidInputError(f"its arrays have dtype {self.dtype}, and CIFAR's are of whole numbers")

    def __setstate__(self, state: Any) -> None:
        # "<" or ">"; "|" where a number is a single byte.
        order: Any = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(order)


class _PickledArray:
    """Stands in for numpy.ndarray, whose constructor can be made to read memory that is not its own."""

    array: np.ndarray | None = None

    def __init__(self) -> None:
        pass

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> _PickledArray:
        if not isinstance(dtype, _PickledDtype):
            raise InvalidInputError("it holds an array without a dtype of numpy's")
        self.array = np.frombuffer(content, dtype.dtype).reshape(shape, order=order)
        return self

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, in_columns, content = state
        self.fill(content, dtype, shape, "F" if in_columns else "C")


def _reconstruct(kind: Any, *_: Any) -> _PickledArray:
    if kind is not _PickledArray:
        raise InvalidInputError("it holds an array of a kind of its own")
    return _PickledArray()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _PickledArray:
    return _PickledArray().fill(content, dtype, shape, order)


def _encode(text: str, encoding: Any) -> bytes:
    # Python 3 writes bytes so in the old protocols; other codecs could unpack far more than they are given.
    if encoding not in ("latin1", "latin-1", b"latin1", b"latin-1"):
        raise InvalidInputError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


# Numpy renamed its core in version 2; files of both kinds are about. All that a batch may name is here, and
# what stands behind it is ours: a pickle calls what it names.
ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledDtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED_GLOBALS:
            return ALLOWED_GLOBALS[module, name]
        raise InvalidInputError(
            f"it asks for {module}.{name}, which a batch of plain arrays has no use for and which could run "
            "code; nothing was run"
        )
