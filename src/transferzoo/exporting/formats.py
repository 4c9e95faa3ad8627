"""The formats that a trained model is exported to, and the runtimes that read them."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import ExportError
from transferzoo.ground.quiet import quiet_import

# from images, float32, to the model's outputs
Compute = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format.

    Parameters
    ----------
    name : str
    keras_name : str
        What ``keras.Model.export`` calls it.
    suffix : str
        Of its file; empty for a folder.
    open : callable
        From a path to a function that computes outputs from images.
    writes_with, reads_with : tuple of str
        Modules that must be installed, beside TensorFlow.
    precisions : tuple of str
    """

    name: str
    keras_name: str
    suffix: str
    open: Callable[[Path], Compute]
    writes_with: tuple[str, ...] = ()
    reads_with: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32",)

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the files that the model at `path` is made of, the one that names it last."""
        if not self.suffix:
            inside = (each for each in sorted(path.rglob("*")) if each.is_file())
            return tuple(each for each in inside if each.name != RECORD)
        return (path.with_suffix(".bin"), path) if self.name == "openvino" else (path,)

    def load(self, path: Path) -> Compute:
        """Return the function that computes outputs from images, without the runtime's notices."""
        with quiet_import(), without_notices():
            return self.open(path)

    def record_of(self, path: Path) -> Path:
        """Return where the record of the model at `path` is: class names, image size, hashes."""
        return path.with_name(f"{path.name}.json") if self.suffix else path / RECORD

    def refuse_missing(self, modules: tuple[str, ...]) -> None:
        """Raise for modules that are not installed."""
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            raise ExportError(
                f"The format '{self.name}' needs {' and '.join(missing)}: pip install 'transferzoo[export]'.",
                argument="format",
                value=self.name,
            )


RECORD = "transferzoo.json"


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Hold back what converters say: old names of NumPy, runtimes that will move, files of their own."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _open_saved_model(path: Path) -> Compute:
    import tensorflow

    archive = tensorflow.saved_model.load(str(path))
    # the archive owns the weights, and must live as long as its function
    return lambda images, archive=archive: np.asarray(archive.serve(images))  # type: ignore[misc]


def _open_onnx(path: Path) -> Compute:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def _open_openvino(path: Path) -> Compute:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: np.asarray(compiled(images)[0])


def _open_litert(path: Path) -> Compute:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow

        Interpreter = tensorflow.lite.Interpreter
    interpreter = Interpreter(model_path=str(path))
    # its notices come now, and not in the midst of predictions
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    ready: list[tuple[int, ...]] = []

    def compute(images: NDArray[np.float32]) -> NDArray[Any]:
        if ready != [images.shape]:
            interpreter.resize_tensor_input(given["index"], images.shape)
            interpreter.allocate_tensors()
            ready[:] = [images.shape]
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(made["index"]))

    return compute


FORMATS = {
    each.name: each
    for each in (
        ExportFormat(name="saved_model", keras_name="tf_saved_model", suffix="", open=_open_saved_model),
        ExportFormat(
            name="onnx",
            keras_name="onnx",
            suffix=".onnx",
            open=_open_onnx,
            writes_with=("tf2onnx", "onnx", "onnxruntime"),
            reads_with=("onnxruntime",),
        ),
        ExportFormat(
            name="litert",
            keras_name="litert",
            suffix=".tflite",
            open=_open_litert,
            precisions=("float32", "float16", "int8"),
        ),
        ExportFormat(
            name="openvino",
            keras_name="openvino",
            suffix=".xml",
            open=_open_openvino,
            writes_with=("openvino",),
            reads_with=("openvino",),
        ),
    )
}


def format_of(path: Path) -> ExportFormat | None:
    """Return the format of the exported model at `path`, by its name; None where it is none."""
    if path.is_dir():
        return FORMATS["saved_model"] if (path / "saved_model.pb").is_file() else None
    return next((each for each in FORMATS.values() if each.suffix and each.suffix == path.suffix), None)
