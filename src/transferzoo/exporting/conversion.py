"""Converts a Keras model, in this process or, for other backends, in one of its own with TensorFlow.

A saved model is the same on every backend, and Keras' converters know TensorFlow's graphs best. As a command
it reads a model and writes another format; `convert` calls it so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import ExportError
from transferzoo.exporting.formats import FORMATS, ExportFormat, without_notices
from transferzoo.ground.quiet import quiet_import

NOTHING = "-"
# pixels, where a model leaves its image size open
OPEN = 64


def convert(
    model: Any, form: ExportFormat, path: Path, precision: str, ranges: NDArray[np.float32] | None
) -> None:
    """Write a model in a format.

    Parameters
    ----------
    model : keras.Model
    form : ExportFormat
    path : Path
    precision : str
    ranges : ndarray of float32, shape (n, height, width, channels), optional
        Images on which an int8 model's ranges are measured.

    Raises
    ------
    ExportError
        If Keras cannot write it.
    """
    import keras

    try:
        if keras.backend.backend() == "tensorflow":
            _write(model, form, path, precision, ranges)
        else:
            _write_elsewhere(model, form, path, precision, ranges)
    except Exception as error:
        raise ExportError(
            f"Keras could not export this model as {form.name}: {' '.join(str(error).split())[:300]}",
            argument="format",
            value=form.name,
        ) from error


def _write(
    model: Any, form: ExportFormat, path: Path, precision: str, ranges: NDArray[np.float32] | None
) -> None:
    with without_notices(), quiet_import():
        options = _options(precision, ranges)
        model.export(str(path), format=form.keras_name, verbose=False, **options)


def _options(precision: str, ranges: NDArray[np.float32] | None) -> dict[str, Any]:
    if precision == "float32":
        return {}
    import tensorflow

    options: dict[str, Any] = {"optimizations": [tensorflow.lite.Optimize.DEFAULT]}
    if precision == "float16":
        return {**options, "target_spec": {"supported_types": [tensorflow.float16]}}
    assert ranges is not None

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for place in range(len(ranges)):
            yield [ranges[place : place + 1]]

    return {**options, "representative_dataset": representative}


def _write_elsewhere(
    model: Any, form: ExportFormat, path: Path, precision: str, ranges: NDArray[np.float32] | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        given = Path(name) / "model.keras"
        model.save(given)
        images = NOTHING
        if ranges is not None:
            images = str(Path(name) / "ranges.npy")
            np.save(images, ranges)
        ended = subprocess.run(
            [sys.executable, "-m", __name__, str(given), form.name, str(path), precision, images],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"the process ended with status {ended.returncode}")


def main(arguments: list[str]) -> None:
    """Read a ``.keras`` file and write it in another format."""
    import keras

    given, format, path, precision, images = arguments
    ranges = None if images == NOTHING else np.load(images, allow_pickle=False)
    model = keras.models.load_model(given, compile=False, safe_mode=True)
    # Keras exports no model that was never called
    model(np.zeros((1, *(side or OPEN for side in model.input_shape[1:])), np.float32))
    _write(model, FORMATS[format], Path(path), precision, ranges)


if __name__ == "__main__":
    main(sys.argv[1:])
