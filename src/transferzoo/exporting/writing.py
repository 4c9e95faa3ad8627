"""Writes a trained model in another format, once it has been seen to compute the same."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import ExportError, OutputExistsError, invalid
from transferzoo.exporting.conversion import convert
from transferzoo.exporting.exported import as_probabilities, digests, write_record
from transferzoo.exporting.formats import FORMATS, ExportFormat
from transferzoo.ground.arguments import check_choice
from transferzoo.ground.quiet import load_keras
from transferzoo.ground.storage.files import check_path, check_writable
from transferzoo.results.predictor import Predictor

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset

logger = logging.getLogger("transferzoo")

PRECISIONS = ("float32", "float16", "int8")
# probabilities of the same network computed by another runtime; int8 is judged by its answers alone
TOLERANCES = {"float32": 1e-3, "float16": 5e-2}
LEAST_AGREEMENT = 0.95
CHECKED, CALIBRATED, GENERATED = 256, 200, 16


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written, and how far it is from the model that it came from.

    Parameters
    ----------
    path : Path
    format, precision : str
    file_bytes : int
        Of all its files.
    images : int
        How many both models were given.
    images_from : str
        Which: ``"test images of 'cifar10'"``, or generated ones.
    largest_difference : float
        Between the probabilities of the two models, over these images and all classes.
    agreement : float
        Share of these images that both take for the same class, 0 to 1.
    seconds : float
        Of the conversion.
    """

    path: Path
    format: str
    precision: str
    file_bytes: int
    images: int
    images_from: str
    largest_difference: float
    agreement: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**self.__dict__, "path": str(self.path)}

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.format}, {self.precision}, {self.file_bytes / 1e6:.3g} MB. On {self.images} "
            f"{self.images_from} it gives the same class for {self.agreement:.1%}; probabilities differ by "
            f"{self.largest_difference:.2g} at most."
        )


def export_model(
    predictor: Predictor, format: str, path: str | Path, *, precision: str, data: Dataset | None
) -> Export:
    """Write a model in another format; see `Predictor.export`."""
    check_choice("format", format, tuple(FORMATS))
    form = FORMATS[format]
    check_choice("precision", precision, PRECISIONS)
    if precision not in form.precisions:
        able = [each.name for each in FORMATS.values() if precision in each.precisions]
        raise invalid(
            "precision",
            f"{' or '.join(map(repr, form.precisions))} for the format '{form.name}'",
            precision,
            remedy=f"{', '.join(able)} can be written in {precision}.",
        )
    target = _new_path(path, form)
    load_keras()
    import keras

    if not isinstance(predictor.model, keras.Model):
        raise ExportError(f"Only a Keras model can be exported, not {type(predictor.model).__name__}.")
    form.refuse_missing(form.writes_with)
    images, images_from = _images(predictor, data)
    ranges = _ranges(precision, data)
    reference = predictor.probabilities(images)
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as name:
        part = Path(name) / target.name
        began = time.perf_counter()
        convert(predictor.model, form, part, precision, ranges)
        seconds = time.perf_counter() - began
        outputs = _outputs_kind(predictor.model, images)
        found = _computed(form, part, images)
        theirs = as_probabilities(np.asarray(found, np.float32), outputs)
        made = Export(
            path=target,
            format=form.name,
            precision=precision,
            file_bytes=sum(each.stat().st_size for each in form.files(part)),
            images=len(images),
            images_from=images_from,
            largest_difference=float(np.abs(theirs - reference).max()),
            agreement=float((theirs.argmax(axis=1) == reference.argmax(axis=1)).mean()),
            seconds=seconds,
        )
        _judge(made, reference)
        write_record(
            form.record_of(part),
            predictor,
            {
                "format": form.name,
                "precision": precision,
                "outputs": outputs,
                "parameters": int(predictor.model.count_params()),
                "classes": reference.shape[1],
                "file_bytes": made.file_bytes,
                "sha256": digests(part, form),
                "check": {
                    key: made.to_dict()[key]
                    for key in ("images", "images_from", "largest_difference", "agreement")
                },
            },
        )
        if form.suffix:
            # the file that names the model comes last: without it there is none
            for each in (form.record_of(part), *form.files(part)):
                each.replace(target.parent / each.name)
        else:
            part.replace(target)
    return made


def _new_path(given: str | Path, form: ExportFormat) -> Path:
    path = check_path("path", given).absolute()
    if path.suffix != form.suffix and (
        form.suffix or path.suffix in {each.suffix for each in FORMATS.values()}
    ):
        wanted = f"a file that ends in {form.suffix}" if form.suffix else "a folder's name"
        raise invalid("path", f"{wanted}, for the format '{form.name}'", str(given))
    expected = (path,) if not form.suffix else (path, form.record_of(path), *form.files(path))
    for each in expected:
        if each.exists():
            raise OutputExistsError(
                f"'{each}' is there already; nothing in it was touched. Choose another name, or move it away "
                "first.",
                argument="path",
                value=str(path),
            )
    check_writable("path", path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _images(predictor: Predictor, data: Dataset | None) -> tuple[NDArray[Any], str]:
    if data is not None:
        check_data(predictor, data)
        if len(data.x_test):
            return data.x_test[:CHECKED], f"test images of '{data.name}'"
    from transferzoo.models.activations import fixed_image

    height, width = predictor.reading.size
    whole = fixed_image(max(height, width) + GENERATED)[0, ..., : predictor.channels]
    parts = [whole[shift : shift + height, shift : shift + width] for shift in range(GENERATED)]
    return np.stack(parts), "generated images"


def check_data(predictor: Predictor, data: Dataset) -> None:
    """Raise unless a dataset has images and classes as the model's were in training."""
    from transferzoo.data.dataset import Dataset

    if not isinstance(data, Dataset):
        raise invalid("data", "a Dataset, as from tz.load_dataset", type(data).__name__)
    expected = (*predictor.reading.size, predictor.channels)
    if data.input_shape != expected:
        raise invalid("data", f"a dataset of images of shape {expected}, as in training", data.input_shape)
    if tuple(data.class_names) != tuple(predictor.class_names):
        raise invalid(
            "data", f"a dataset with the model's classes, {predictor.class_names}", data.class_names
        )


def _ranges(precision: str, data: Dataset | None) -> NDArray[np.float32] | None:
    """Return training images, on which an int8 model's ranges are measured; None for other precisions."""
    if precision != "int8":
        return None
    if data is None or not len(data.x_train):
        raise invalid(
            "data",
            "the run's dataset for precision='int8', which measures ranges on training images",
            data,
            remedy="Pass data=, a Dataset.",
        )
    chosen = np.random.default_rng(0).permutation(len(data.x_train))[:CALIBRATED]
    return np.asarray(data.x_train[np.sort(chosen)], np.float32)


def _computed(form: ExportFormat, path: Path, images: NDArray[Any]) -> NDArray[Any]:
    try:
        return form.load(path)(np.ascontiguousarray(images, np.float32))
    except Exception as error:
        raise ExportError(
            f"The exported model cannot be opened by its own runtime, so nothing was written: "
            f"{' '.join(str(error).split())[:300]}",
            argument="format",
            value=form.name,
        ) from error


def _outputs_kind(model: Any, images: NDArray[Any]) -> str:
    from transferzoo.models.prediction import gives_probabilities

    return "probabilities" if gives_probabilities(model, images) else "logits"


def _judge(made: Export, reference: NDArray[np.float32]) -> None:
    if not np.isfinite(made.largest_difference):
        raise ExportError(f"The exported model gives values that are no numbers; nothing was written. {made}")
    limit = TOLERANCES.get(made.precision)
    if limit is not None and made.largest_difference > limit:
        raise ExportError(
            f"The exported model does not compute what the Keras model does: probabilities differ by "
            f"{made.largest_difference:.2g}, and {limit:g} is allowed for {made.precision}. Nothing was "
            "written.",
        )
    if made.agreement < LEAST_AGREEMENT:
        logger.warning(
            "%s gives another class than the Keras model for %.1f %% of %d %s; test it before it is used",
            made.path.name,
            100 * (1 - made.agreement),
            made.images,
            made.images_from,
        )
    if np.ptp(reference, axis=0).max() < 1e-4:
        logger.warning(
            "the model gives all of the %d %s the same probabilities, so that the check of %s says little",
            made.images,
            made.images_from,
            made.path.name,
        )
