"""A trained model with all that it takes to read new photos and to name what is on them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import RecordError, TransferZooError, invalid, printable
from transferzoo.ground.arguments import check_count
from transferzoo.ground.progress import Progress, choose_progress
from transferzoo.ground.quiet import load_keras
from transferzoo.ground.storage.files import check_path
from transferzoo.judging.prediction_checks import check_class_names

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.data.reading import Reading
    from transferzoo.exporting.writing import Export
    from transferzoo.results.result import Result

# what a model's file holds beside what Keras reads
MEMBER, FORMAT, KIND = "transferzoo.json", 1, "transferzoo model"
# a file of ours is far smaller; nothing larger is read
MOST_BYTES = 50_000_000
# steps of half a hundredth, between which shares are interpolated
QUANTILES = 201


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one image.

    Parameters
    ----------
    file : str or None
        The photo's path; None where the image came as an array.
    top : tuple of (str, float)
        Class names and probabilities, the most probable first.
    rejected : bool
        Whether the most probable class is less probable than `reject` asks for: "none of these".
    """

    file: str | None
    top: tuple[tuple[str, float], ...]
    rejected: bool = False

    @property
    def class_name(self) -> str | None:
        """The most probable class; None where the image is rejected."""
        return None if self.rejected else self.top[0][0]

    @property
    def probability(self) -> float:
        """Of the most probable class, 0 to 1."""
        return self.top[0][1]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: ``file``, ``class_name``, ``probability``, ``rejected``, ``top``."""
        return {
            "file": self.file,
            "class_name": self.class_name,
            "probability": self.probability,
            "rejected": self.rejected,
            "top": [{"class_name": name, "probability": chance} for name, chance in self.top],
        }

    def __str__(self) -> str:
        words = ", ".join(f"{name} {chance:.1%}" for name, chance in self.top)
        said = f"none of these ({words})" if self.rejected else words
        return said if self.file is None else f"{printable(self.file)}: {said}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A trained model, its class names, and how photos are read for it.

    `load_model` returns one, and ``result.predictor`` is one.

    Parameters
    ----------
    model : keras.Model
        From images to probabilities or logits.
    class_names : tuple of str
        In label order.
    reading : Reading
        Size in pixels, resize mode and background, as in training.
    channels : {1, 3}
        Of an image.
    confidence : tuple of float, or None
        Quantiles of the highest probability over the validation images, from 0 to 1 in equal steps; None
        where there were none. `reject` needs them.
    """

    model: Any
    class_names: tuple[str, ...]
    reading: Reading
    channels: int = 3
    confidence: tuple[float, ...] | None = None

    def predict(
        self,
        images: Any,
        *,
        top: int = 3,
        reject: float | None = None,
        on_error: str = "raise",
        verbose: bool | str | Progress = "auto",
    ) -> list[Prediction]:
        """Name what is on new photos.

        Parameters
        ----------
        images : path, list of paths, Pillow images, or array
            Photo files, which are read exactly as in training; a folder, whose photos are taken with those
            in its subfolders, sorted by path; or pixels from 0 to 255, shape (height, width, channels) or
            (n, height, width, channels). Whole-number images of another size are resized as photos are.
        top : int, default 3
            How many classes to name, the most probable first.
        reject : float, optional
            Share of the validation images, above 0 and below 1, whose highest probability is too low to be
            trusted. Images below that threshold are marked ``rejected``: "none of these". 0.05 loses one in
            twenty images of the known classes. Default: none is rejected.
        on_error : {"raise", "skip"}, default "raise"
            Whether files that cannot be read raise an error that names all of them, or are left out, with a
            warning that names all of them.
        verbose : {"auto", True, False}, default "auto"
            Show progress on standard error: bars in a terminal or a notebook, lines elsewhere.

        Returns
        -------
        list of Prediction
            One for each image, in order.

        Raises
        ------
        InvalidInputError
            If an argument is not as above, a file cannot be read, or an array has other channels.

        References
        ----------
        Hendrycks and Gimpel (2017), "A Baseline for Detecting Misclassified and Out-of-Distribution Examples
        in Neural Networks", arXiv:1610.02136: the threshold is on the highest probability.

        Examples
        --------
        >>> import transferzoo as tz
        >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
        >>> result = tz.fit_and_evaluate("mobilenet_025", data, weights=None, recipe="linear_probe")
        >>> first = result.predictor.predict(data.x_test[:2], top=2)[0]
        >>> len(first.top), first.file is None
        (2, True)
        """
        from transferzoo.data.given import CHUNK, ImageForm
        from transferzoo.data.reading import check_on_error, say_broken

        top = min(check_count("top", top, 1), len(self.class_names))
        threshold = self.threshold(reject)
        check_on_error(on_error)
        progress = choose_progress(verbose)
        form = ImageForm(reading=self.reading, channels=self.channels)
        files, arrays = form.gather(images)
        found: list[Prediction] = []
        broken: list[tuple[Path, str]] = []
        total = len(files) if files else len(arrays)
        with progress.task("predicting", -(-total // CHUNK)) as task:
            for paths, pixels in form.chunks(files, arrays, broken):
                if len(pixels):
                    found += self._predictions(paths, pixels, top, threshold)
                task.advance()
        if broken:
            say_broken(broken, total, on_error, "images")
        return found

    def probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return class probabilities of images that have the model's own size, float32 ``(n, k)``.

        Parameters
        ----------
        images : ndarray, shape (n, height, width, channels)
            0 to 255.
        """
        from transferzoo.models.prediction import predict_probabilities

        expected = (*self.reading.size, self.channels)
        if images.shape[1:] != expected:
            raise invalid("images", f"images of shape {expected}, as in training", images.shape[1:])
        # an exported model is computed by its own runtime
        if (own := getattr(self.model, "probabilities", None)) is not None:
            return np.asarray(own(images), np.float32)
        return predict_probabilities(self.model, images)

    def export(
        self,
        format: str,
        path: str | Path,
        *,
        precision: str = "float32",
        data: Dataset | None = None,
    ) -> Export:
        """Write the model in another format, with its class names beside it, and check that it is the same.

        The file takes images as the model does: float32, shape (n, height, width, channels), 0 to 255, RGB,
        any number at once. It gives what the model gives, usually probabilities. `load_model` reads it back.

        Parameters
        ----------
        format : {"saved_model", "onnx", "litert", "openvino"}
            ONNX needs tf2onnx and ONNX Runtime, OpenVINO its package: ``pip install 'transferzoo[export]'``.
        path : str or Path
            A new file that ends in ``.onnx``, ``.tflite`` or ``.xml``, or a new folder. Nothing that is
            there already is written over.
        precision : {"float32", "float16", "int8"}, default "float32"
            Of the weights; LiteRT has all three. int8 measures the ranges of values on 200 training images.
        data : Dataset, optional
            Both models are given its first 256 test images, and int8 its training images. Without it they
            are given 16 generated images, and int8 is refused.

        Returns
        -------
        Export
            With the largest difference between probabilities, and the share of images of the same class.

        Raises
        ------
        InvalidInputError
            If an argument is not as above.
        OutputExistsError
            If there is something at `path`.
        ExportError
            If a package is missing, Keras cannot export the model, or the probabilities differ by more than
            0.001 (float32) or 0.05 (float16). Nothing is written then.

        Examples
        --------
        >>> import tempfile
        >>> import transferzoo as tz
        >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
        >>> result = tz.fit_and_evaluate("mobilenet_025", data, weights=None, recipe="linear_probe")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = result.predictor.export("litert", f"{folder}/digits.tflite", data=data)
        >>> made.images, made.largest_difference < 1e-3
        (50, True)
        """
        from transferzoo.exporting.writing import export_model

        return export_model(self, format, path, precision=precision, data=data)

    def evaluate(self, data: Dataset, *, name: str | None = None) -> Result:
        """Test the model on a dataset's test images, as a row beside other models.

        Parameters
        ----------
        data : Dataset
            With images of the model's size, and its classes in the same order.
        name : str, optional
            The row's label. Default: the exported file's name, or the model's.

        Returns
        -------
        Result
            With metrics, predictions and costs. ``tz.Study(results=(result, other))`` compares it with others
            that were tested on the same images. An exported model's costs are its own: the bytes of its
            files, and the time that its runtime takes.

        Raises
        ------
        InvalidInputError
            If `data` has other images, other classes, or no test images.

        Examples
        --------
        >>> import transferzoo as tz
        >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
        >>> result = tz.fit_and_evaluate("mobilenet_025", data, weights=None, recipe="linear_probe")
        >>> again = result.predictor.evaluate(data, name="again")
        >>> again.accuracy == result.accuracy
        True
        """
        from transferzoo.exporting.rows import evaluate_predictor

        return evaluate_predictor(self, data, name)

    def threshold(self, reject: Any) -> float:
        """Return the probability below which an image is rejected; 0 where `reject` is None."""
        if reject is None:
            return 0.0
        number = isinstance(reject, float | np.floating) and not isinstance(reject, bool)
        if not number or not 0 < reject < 1:
            raise invalid("reject", "a share of the validation images, above 0 and below 1", reject)
        if self.confidence is None:
            raise invalid(
                "reject",
                "left out for this model",
                reject,
                remedy="Its record holds no validation probabilities to take a threshold from.",
            )
        return float(np.interp(reject, np.linspace(0, 1, len(self.confidence)), self.confidence))

    def record(self) -> dict[str, Any]:
        """Return what a model's file says beside what Keras reads, as plain JSON types."""
        return {
            "kind": KIND,
            "format": FORMAT,
            "class_names": list(self.class_names),
            "reading": self.reading.record(),
            "channels": self.channels,
            "confidence": None if self.confidence is None else list(self.confidence),
        }

    def describe_into(self, path: Path) -> None:
        """Add the record to a model's file that Keras has written; Keras reads it as before."""
        # a date of its own would make two files of one model differ
        member = zipfile.ZipInfo(MEMBER)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, json.dumps(self.record(), ensure_ascii=False))

    def _predictions(
        self, paths: Sequence[Path | None], images: NDArray[Any], top: int, threshold: float
    ) -> list[Prediction]:
        y_prob = self.probabilities(images)
        # the lower class first where two are equal, as in evaluation
        order = np.argsort(-y_prob, axis=1, kind="stable")[:, :top]
        return [
            Prediction(
                file=None if path is None else str(path),
                top=tuple((self.class_names[label], float(row[label])) for label in best),
                rejected=bool(row[best[0]] < threshold),
            )
            for path, row, best in zip(paths, y_prob, order, strict=True)
        ]


def images_record(input_shape: Sequence[int], reading: Reading | None) -> dict[str, Any]:
    """Return what a run has on record of its images: their size, how files became them, and channels."""
    from transferzoo.data.reading import Reading

    reading = reading or Reading(size=(input_shape[0], input_shape[1]))
    return {"reading": reading.record(), "channels": int(input_shape[2])}


def confidence_of(y_prob: NDArray[Any] | None) -> tuple[float, ...] | None:
    """Return quantiles of the highest probabilities, in equal steps from 0 to 1."""
    if y_prob is None or not len(y_prob):
        return None
    quantiles = np.quantile(np.asarray(y_prob, np.float64).max(axis=1), np.linspace(0, 1, QUANTILES))
    return tuple(round(float(each), 6) for each in quantiles) if np.isfinite(quantiles).all() else None


def load_model(path: str | Path) -> Predictor:
    """Read a saved model, ready for new photos.

    Parameters
    ----------
    path : str or Path
        A ``model.keras`` that `fit_and_evaluate` or ``Result.save`` wrote, wherever it was moved to; a run's
        folder; or what `Predictor.export` wrote, with the record beside it: a ``.onnx``, ``.tflite`` or
        ``.xml`` file, or a SavedModel's folder. Open only models that you trust: a SavedModel is a program.

    Returns
    -------
    Predictor
        With ``predict``. Its ``model`` is the ``keras.Model``, or the `ExportedModel`.

    Raises
    ------
    RecordError
        If the file holds no model, or one without class names.
    ExportError
        If the runtime of an exported model is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> result = tz.fit_and_evaluate("mobilenet_025", data, weights=None, recipe="linear_probe")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = result.save(f"{folder}/run") / "model.keras"
    ...     predictor = load_model(file)
    >>> predictor.predict(data.x_test[:1])[0] == result.predict(data.x_test[:1])[0]
    True
    """
    from transferzoo.exporting.formats import format_of

    file = check_path("path", path, "a model.keras file, a run's folder, or an exported model")
    if file.exists() and (form := format_of(file)) is not None:
        from transferzoo.exporting.exported import open_exported

        return open_exported(file, form)
    if file.is_dir():
        from transferzoo.results.result import Result

        return Result.load(file).predictor
    if not file.is_file():
        raise _unreadable(file, "there is no such file")
    record = _read_record(file)
    load_keras()
    import keras

    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:
        raise _unreadable(file, f"Keras could not load it: {' '.join(str(error).split())[:200]}") from error
    return from_record(model, record, f"'{file}'")


def from_record(model: Any, record: Mapping[str, Any], where: str) -> Predictor:
    """Return the predictor of a model and a record of `images_record`'s or `Predictor.record`'s form."""
    from transferzoo.data.reading import Reading

    try:
        reading = Reading(**record["reading"])
        confidence = record.get("confidence")
        if confidence is not None:
            confidence = tuple(float(each) for each in confidence)
            if len(confidence) < 2 or not np.isfinite(confidence).all():
                raise ValueError("confidence")
        if record["channels"] not in (1, 3):
            raise ValueError("channels")
        outputs = getattr(model, "output_shape", None)
        classes = outputs[-1] if isinstance(outputs, tuple) else len(record["class_names"])
        return Predictor(
            model=model,
            class_names=check_class_names(record["class_names"], classes),
            reading=reading,
            channels=int(record["channels"]),
            confidence=confidence,
        )
    except (KeyError, TypeError, ValueError, TransferZooError) as error:
        raise RecordError(
            f"{where} cannot be used for new photos: its record of classes and images is damaged ({error})."
        ) from error


def bytes_by_keras(file: Path) -> int | None:
    """Return the size of a model's file without what `Predictor.describe_into` added; None if damaged."""
    size = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            added = archive.getinfo(MEMBER)
    except KeyError:
        return size
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return None
    # a header of 30 bytes before it and one of 46 in the directory, each with its name
    return size - added.compress_size - 30 - 46 - 2 * len(MEMBER)


def _read_record(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo(MEMBER).file_size > MOST_BYTES:
                raise _unreadable(file, f"its {MEMBER} is too large")
            record = json.loads(archive.read(MEMBER).decode("utf-8"))
    except KeyError:
        raise RecordError(
            f"'{file}' holds no class names, as it was not saved by transferzoo, or by an earlier version. "
            "keras.models.load_model reads it as a plain model; tz.Result.load reads a run's folder.",
            argument="path",
            value=str(file),
        ) from None
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _unreadable(file, f"it is no file of Keras: {error}") from error
    except Exception as error:
        # zlib raises an error of its own on damaged bytes
        raise _unreadable(file, f"it is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise _unreadable(file, f"its {MEMBER} is not of kind '{KIND}'")
    if not isinstance(record.get("format"), int) or record["format"] > FORMAT:
        raise _unreadable(file, "a newer transferzoo wrote it. Upgrade with: pip install -U transferzoo")
    return record


def _unreadable(file: Path, why: str) -> RecordError:
    return RecordError(f"'{file}' cannot be read as a model: {why}.", argument="path", value=str(file))
