"""An exported model, read back by its own runtime, with what it takes to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from transferzoo.errors import RecordError
from transferzoo.exporting.formats import Compute, ExportFormat
from transferzoo.ground.storage.files import file_hash, read_json
from transferzoo.results.predictor import FORMAT, KIND, Predictor, from_record

BATCH = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedModel:
    """A model that its own runtime computes: ONNX Runtime, LiteRT, OpenVINO, or TensorFlow.

    ``tz.load_model("mine.onnx").model`` is one.

    Parameters
    ----------
    format : str
        ``"saved_model"``, ``"onnx"``, ``"litert"`` or ``"openvino"``.
    path : Path
    compute : callable
        From images, float32 ``(n, height, width, channels)``, 0 to 255, to outputs ``(n, k)``.
    outputs : {"probabilities", "logits"}
    record : mapping
        What was written beside it: ``precision``, ``parameters``, ``classes``, ``file_bytes``,
        ``sha256`` of each file, ``check``.
    """

    format: str
    path: Path
    compute: Compute
    outputs: str
    record: Mapping[str, Any]

    def predict_on_batch(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return the model's outputs, float32 ``(n, k)``, computed at once."""
        return np.asarray(self.compute(np.ascontiguousarray(images, np.float32)), np.float32)

    def probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return class probabilities, float32 ``(n, k)``, in batches of 32."""
        parts = [
            self.predict_on_batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)
        ]
        if not parts:
            return np.empty((0, self.output_shape[1]), np.float32)
        return as_probabilities(np.concatenate(parts), self.outputs)

    @property
    def output_shape(self) -> tuple[None, int]:
        """As Keras has it: any number of images, and the classes."""
        return None, int(self.record["classes"])


def open_exported(path: Path, form: ExportFormat) -> Predictor:
    """Read an exported model and the record beside it.

    Raises
    ------
    RecordError
        If there is no record, it is damaged, or the files are not those that it describes.
    ExportError
        If the runtime is not installed.
    """
    beside = form.record_of(path)
    try:
        record = read_json(beside)
    except FileNotFoundError:
        raise _unreadable(
            path,
            f"there is no '{beside.name}' beside it, which holds the class names; result.export wrote it",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, f"its record '{beside.name}' is damaged: {error}") from error
    exported = record.get("exported") if isinstance(record, dict) else None
    if not isinstance(exported, dict) or record.get("kind") != KIND:
        raise _unreadable(path, f"'{beside.name}' is not the record of an exported model")
    if not isinstance(record.get("format"), int) or record["format"] > FORMAT:
        raise _unreadable(path, "a newer transferzoo wrote it. Upgrade with: pip install -U transferzoo")
    numbers = (exported.get(key) for key in ("classes", "parameters", "file_bytes"))
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        raise _unreadable(path, f"its record '{beside.name}' is damaged")
    if exported.get("format") != form.name or exported.get("outputs") not in ("probabilities", "logits"):
        raise _unreadable(path, f"'{beside.name}' describes another model")
    if digests(path, form) != exported.get("sha256"):
        raise _unreadable(
            path, f"its files are not those that '{beside.name}' describes: damaged, changed or exchanged"
        )
    form.refuse_missing(form.reads_with)
    try:
        compute = form.load(path)
    except Exception as error:
        raise _unreadable(path, f"its runtime says: {' '.join(str(error).split())[:200]}") from error
    model = ExportedModel(
        format=form.name,
        path=path,
        compute=compute,
        outputs=exported["outputs"],
        record=exported,
    )
    return from_record(model, record, f"'{path}'")


def as_probabilities(outputs: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return probabilities from outputs; those of int8 are steps of 1/256, and are made to sum to 1."""
    if kind == "logits":
        return np.asarray(softmax(outputs, axis=1), np.float32)
    return outputs / np.maximum(outputs.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)


def digests(path: Path, form: ExportFormat) -> dict[str, str] | None:
    """Return the SHA-256 of each of a model's files, by their names; None where one is missing."""
    base = path if not form.suffix else path.parent
    files = form.files(path)
    if not all(each.is_file() for each in files):
        return None
    return {each.relative_to(base).as_posix(): file_hash(each) for each in files}


def write_record(path: Path, predictor: Predictor, exported: Mapping[str, Any]) -> None:
    """Write a model's record to `path`."""
    record = {**predictor.record(), "exported": dict(exported)}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _unreadable(path: Path, why: str) -> RecordError:
    return RecordError(
        f"'{path}' cannot be read as an exported model: {why}.", argument="path", value=str(path)
    )
