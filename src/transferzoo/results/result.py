"""What a run left behind, as one record that saves, loads and draws itself."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo import plots
from transferzoo.errors import RecordError, invalid
from transferzoo.evaluation import groups_to_count
from transferzoo.ground.arguments import check_array, check_mapping
from transferzoo.ground.progress import Progress
from transferzoo.ground.quiet import load_keras
from transferzoo.ground.storage.files import check_path, folder_written_beside, refuse_full_folder
from transferzoo.judging.prediction_checks import check_class_names, check_labels
from transferzoo.results.copies import WithoutCopies, without_copies
from transferzoo.results.fields import check_rows, history_of, index_of, names_of, numbers_of
from transferzoo.results.folder import (
    FORMAT,
    HISTORY,
    KIND,
    MODEL,
    NAMES,
    PREDICTIONS,
    RUN,
    SAVING,
    check_file,
    file_digests,
    read_history,
    read_predictions,
    read_run,
    sealed,
    unreadable,
    write_history,
)
from transferzoo.results.identity import plain
from transferzoo.results.mistakes import Confusion, Mistake, find_confusions, find_mistakes
from transferzoo.results.predictor import (
    Prediction,
    Predictor,
    confidence_of,
    from_record,
    images_record,
)
from transferzoo.results.sentences import in_sentences
from transferzoo.statistics import accuracy_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from transferzoo.data.dataset import Dataset
    from transferzoo.exporting.writing import Export


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Result:
    """What a run left behind: numbers, curves, predictions, settings, and the model.

    Saved, it is a folder that holds JSON, CSV, NumPy and Keras files:

        mobilenet/
            run.json            name, metrics, settings, costs, environment, provenance, class names
            history.csv         one line for each epoch
            predictions.npz     index, y_true, y_prob, files, groups; validation_true, validation_prob
            model.keras         the trained model; loads with Keras alone, and with tz.load_model

    Attributes
    ----------
    name : str
        The run's label, such as ``"mobilenet"``.
    metrics : dict of str to float
        As :func:`transferzoo.evaluation.evaluate` gives them; accuracies are fractions in ``[0, 1]``.
    history : dict of str to list
        One entry per epoch: floats, and str under ``"phase"``. Empty where nothing was trained.
    y_true : ndarray of int64, shape (n,)
        True classes of the images that the run was judged on.
    y_prob : ndarray of float32, shape (n, k)
        Class probabilities that the model gave for them.
    class_names : tuple of str
        The ``k`` names.
    settings : dict
        The full call, in plain JSON types.
    costs : dict of str to number
        ``parameters``, ``trainable_parameters``, ``size_bytes``, ``train_seconds``,
        ``images_per_second`` and more. What is unknown is NaN.
    environment : dict of str to str
        Versions, backend and device.
    index : ndarray of int64, shape (n,)
        Place of each image in the test split it was taken from; by default ``0`` to ``n - 1``.
    files, groups : ndarray of str, shape (n,), or None
        The file that each test image came from, and what it belongs to; None where that is not known.
    validation_true, validation_prob : ndarray of int64, shape (m,), and of float32, shape (m, k), or None
        The same for the validation images, which the temperature was fitted on.
    provenance : dict
        What does not change the outcome, or follows from it: ``call``, the call as it was made; ``hashes``
        (SHA-256) of data, weights and the trained model; ``durations`` in seconds; when it ``started``.
    folder : Path or None
        Where it is saved.

    Raises
    ------
    InvalidInputError
        If the arrays, names or lists do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> result = Result(
    ...     name="mobilenet",
    ...     metrics={"accuracy": 0.5},
    ...     history={"loss": [0.7], "accuracy": [0.5]},
    ...     y_true=np.array([0, 1]),
    ...     y_prob=np.array([[0.9, 0.1], [0.6, 0.4]]),
    ...     class_names=("cat", "dog"),
    ...     settings={"seed": 0},
    ...     costs={"parameters": 3_200_000},
    ...     environment={"keras": "3.8.0"},
    ... )
    >>> result
    <Result 'mobilenet': accuracy 50.0% (9.5 to 90.5%) on 2 images of 2 classes>
    """

    name: str
    metrics: dict[str, float]
    history: dict[str, list[Any]]
    y_true: NDArray[np.int64]
    y_prob: NDArray[np.float32]
    class_names: tuple[str, ...]
    settings: dict[str, Any]
    costs: dict[str, Any]
    environment: dict[str, str]
    index: NDArray[np.int64] | None = None
    files: NDArray[np.str_] | None = None
    groups: NDArray[np.str_] | None = None
    validation_true: NDArray[np.int64] | None = None
    validation_prob: NDArray[np.float32] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    _model: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for table in ("settings", "environment", "provenance"):
            check_mapping(table, getattr(self, table))
        y_prob = check_array("y_prob", self.y_prob, "class probabilities, shape (n, k)").astype(np.float32)
        if y_prob.ndim != 2:
            raise invalid("y_prob", "class probabilities, shape (n, k)", y_prob.shape)
        n, k = y_prob.shape
        check_rows("y_prob", y_prob)
        values = {
            "name": str(self.name),
            "metrics": numbers_of("metrics", self.metrics),
            "history": history_of(self.history),
            "y_true": check_labels("y_true", self.y_true, num_classes=k, length=n),
            "y_prob": y_prob,
            "class_names": check_class_names(self.class_names, k),
            "settings": plain(self.settings),
            "costs": numbers_of("costs", self.costs),
            "environment": {str(key): str(value) for key, value in self.environment.items()},
            "index": index_of(self.index, n),
            "files": names_of("files", self.files, n),
            "groups": names_of("groups", self.groups, n),
            "provenance": plain(self.provenance),
            "folder": None if self.folder is None else Path(self.folder),
        }
        if (self.validation_true is None) != (self.validation_prob is None):
            raise invalid("validation_prob", "given together with validation_true", self.validation_prob)
        if self.validation_prob is not None:
            probabilities = np.asarray(self.validation_prob, dtype=np.float32)
            if probabilities.ndim != 2 or probabilities.shape[1] != k:
                raise invalid("validation_prob", f"of shape (m, {k}), as y_prob", probabilities.shape)
            check_rows("validation_prob", probabilities)
            values["validation_prob"] = probabilities
            labels: Any = self.validation_true
            values["validation_true"] = check_labels(
                "validation_true", labels, num_classes=k, length=len(probabilities)
            )
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image was classified rightly: bool, shape (n,)."""
        return np.asarray(self.y_prob.argmax(axis=1) == self.y_true)

    @property
    def seed(self) -> int | None:
        """The seed of random weights, order and augmentation, where it is on record."""
        return self.settings.get("seed")

    @property
    def model(self) -> Any:
        """The trained ``keras.Model``: the one in memory, else read once from the folder.

        Raises
        ------
        RecordError
            If the run was kept without its model, or the file cannot be read.
        """
        if self._model is None:
            object.__setattr__(self, "_model", self._read_model())
        return self._model

    @property
    def predictor(self) -> Predictor:
        """The trained model with its class names and how photos are read for it; see `Predictor`.

        Raises
        ------
        RecordError
            If the run was kept without its model, or says nothing of its images.
        """
        return self._predictor(self.model)

    def _predictor(self, model: Any) -> Predictor:
        images = self.provenance.get("images")
        if not isinstance(images, Mapping):
            # a run that was put together by hand, or by an earlier version: the model knows its size
            shape = getattr(model, "input_shape", None)
            if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
                raise RecordError(f"Run '{self.name}' does not say what size its images have.")
            images = images_record(shape[1:], None)
        return from_record(
            model,
            {
                **images,
                "class_names": self.class_names,
                "confidence": confidence_of(self.validation_prob),
            },
            f"Run '{self.name}'",
        )

    def predict(
        self,
        images: Any,
        *,
        top: int = 3,
        reject: float | None = None,
        on_error: str = "raise",
        verbose: bool | str | Progress = "auto",
    ) -> list[Prediction]:
        """Name what is on new photos: a path, a folder, a list of paths, Pillow images, or an array.

        Photos are read exactly as in training. For the arguments see :meth:`Predictor.predict`.

        Returns
        -------
        list of Prediction
            One for each image, in order, with class names and probabilities.

        Raises
        ------
        InvalidInputError
            If an argument does not fit, or a file cannot be read.
        RecordError
            If the run was kept without its model.
        """
        return self.predictor.predict(images, top=top, reject=reject, on_error=on_error, verbose=verbose)

    def export(
        self,
        format: str,
        path: str | Path,
        *,
        precision: str = "float32",
        data: Dataset | None = None,
    ) -> Export:
        """Write the model as ``"saved_model"``, ``"onnx"``, ``"litert"`` or ``"openvino"``; and check it.

        As :meth:`Predictor.export`; here `data` is loaded again where the run's record says how, and where
        it is the same still.
        """
        from transferzoo.results.run_data import same_data

        data = same_data(self) if data is None else data
        return self.predictor.export(format, path, precision=precision, data=data)

    def _read_model(self) -> Any:
        if self.folder is None or not (self.folder / MODEL).is_file():
            where = "in memory, and it was not saved" if self.folder is None else f"in '{self.folder}'"
            raise RecordError(
                f"The model of run '{self.name}' is not {where}. "
                "Its numbers and predictions are here; to have the model, run again with save_model=True, in "
                "another folder or after deleting this one."
            )
        load_keras()
        import keras

        path = self.folder / MODEL
        check_file(self.folder, MODEL, read_run(self.folder))
        try:
            return keras.models.load_model(path)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise unreadable(self.folder, MODEL, f"Keras could not load it: {reason}") from error

    @property
    def accuracy(self) -> float:
        """Fraction of images classified rightly, in ``[0, 1]``; NaN where it was not measured."""
        return self.metrics.get("accuracy", math.nan)

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 % interval, fractions in ``[0, 1]``; see `statistics.accuracy_interval`."""
        found = accuracy_interval(self.correct, groups=groups_to_count(self.groups))
        return found.low, found.high

    @property
    def without_copies(self) -> WithoutCopies | None:
        """Accuracy without test images that are copies of training images; None where lint found none."""
        return without_copies(self)

    @property
    def epochs(self) -> int:
        """Epochs trained, over all phases."""
        return max((len(values) for values in self.history.values()), default=0)

    def row(self) -> dict[str, Any]:
        """Return the run as one line of a table.

        Returns
        -------
        dict
            ``model``, ``seed``, ``accuracy``, ``parameters``, ``size_bytes``, ``train_seconds``,
            ``images_per_second``, ``epochs``, then the other metrics and the other costs. What was not
            measured is NaN.
        """
        first = ("parameters", "size_bytes", "train_seconds", "images_per_second")
        row = {"model": self.name, "seed": self.seed, "accuracy": self.accuracy}
        row |= {key: self.costs.get(key, math.nan) for key in first}
        row["epochs"] = self.epochs
        for table in (self.metrics, self.costs):
            row |= {key: value for key, value in table.items() if key not in row}
        return row

    def __repr__(self) -> str:
        return f"<Result {self.name!r}: {self._accuracy_in_words()}>"

    def headline(self) -> str:
        """Return the run's name, its accuracy with the 95 % interval, and what it was measured on."""
        return f"{self.name}: {self._accuracy_in_words('95 % interval ')}"

    def _accuracy_in_words(self, words: str = "") -> str:
        n, k = self.y_prob.shape
        shown = plots.readable("accuracy", self.accuracy)
        if math.isfinite(self.accuracy):
            low, high = self.interval
            shown += f" ({words}{100 * low:.1f} to {100 * high:.1f}%)"
        return f"accuracy {shown} on {n:,} images of {k} classes"

    def __str__(self) -> str:
        return in_sentences(self)

    def plot_history(self, ax: Any = None) -> NDArray[Any]:
        """Draw loss and accuracy over the epochs; see :func:`transferzoo.plots.history`."""
        return plots.history(self.history, title=self._title(), ax=ax)

    def _title(self, tested: str = "") -> str:
        """Return what a plot of the run is called: model and dataset."""
        data = self.settings.get("data")
        name = data.get("name") if isinstance(data, Mapping) else None
        return f"{self.name} on {name}{tested}" if name else f"{self.name}{tested}"

    def plot_confusion_matrix(self, normalize: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw what was taken for what; see :func:`transferzoo.plots.confusion_matrix`."""
        title = self._title(f", {len(self.y_true):,} test images")
        return plots.confusion_matrix(self, normalize=normalize, title=title, ax=ax)

    def mistakes(self, limit: int | None = None) -> list[Mistake]:
        """Return the test images that were classified wrongly, the most confident errors first.

        Parameters
        ----------
        limit : int, optional
            At most so many, 1 or more. Default: all.
        """
        return find_mistakes(self, limit)

    def most_confused(self, limit: int | None = 10) -> list[Confusion]:
        """Return which classes were taken for which, the most frequent pair first.

        Parameters
        ----------
        limit : int or None, default 10
            At most so many, 1 or more; None: all.
        """
        return find_confusions(self, limit)

    def classification_report(self) -> str:
        """Return scikit-learn's table of precision, recall, F1 and support, one line per class."""
        from sklearn.metrics import classification_report

        return str(
            classification_report(
                self.y_true,
                self.y_prob.argmax(axis=1),
                labels=np.arange(len(self.class_names)),
                target_names=list(self.class_names),
                digits=3,
                zero_division=0,
            )
        )

    def save(self, folder: str | Path, *, model: bool = True) -> Path:
        """Write the run to a folder, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            A folder that does not exist yet, or is empty.
        model : bool, default True
            Write the model too, where it is at hand.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        OutputExistsError
            If the folder holds something; nothing in it is touched.
        """
        path = check_path("folder", folder).absolute()
        refuse_full_folder(path)
        with folder_written_beside(path) as part:
            self._write(part, model=model)
        return path

    def write_into(self, folder: str | Path, *, model: bool = True) -> Path:
        """Write the run to its own folder, which may hold its checkpoint.

        Files are put in place one by one, ``run.json`` last: without it the folder holds no finished run.
        """
        path = check_path("folder", folder).absolute()
        path.mkdir(parents=True, exist_ok=True)
        for left in path.glob(f"{SAVING}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=SAVING, dir=path) as name:
            part = Path(name)
            self._write(part, model=model)
            for file in (MODEL, HISTORY, PREDICTIONS, RUN):
                if (part / file).exists():
                    (part / file).replace(path / file)
        return path

    def _write(self, part: Path, *, model: bool) -> None:
        write_history(part / HISTORY, self.history, self.epochs)
        arrays: dict[str, Any] = {"index": self.index, "y_true": self.y_true, "y_prob": self.y_prob}
        arrays |= {key: names for key in NAMES if (names := getattr(self, key)) is not None}
        if self.validation_prob is not None:
            arrays |= {"validation_true": self.validation_true, "validation_prob": self.validation_prob}
        np.savez_compressed(part / PREDICTIONS, **arrays)
        if model and self._model is not None:
            self._model.save(part / MODEL)
            # a model that does not tell its size is saved all the same
            with contextlib.suppress(RecordError):
                self._predictor(self._model).describe_into(part / MODEL)
        elif model and self.folder is not None and (self.folder / MODEL).is_file():
            shutil.copyfile(self.folder / MODEL, part / MODEL)
        run = sealed({**self._run(), "files": file_digests(part)})
        text = json.dumps(run, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
        (part / RUN).write_text(text + "\n", encoding="utf-8")

    def _run(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": KIND,
            "name": self.name,
            "metrics": plain(self.metrics),
            "settings": self.settings,
            "costs": plain(self.costs),
            "environment": self.environment,
            "provenance": self.provenance,
            "class_names": list(self.class_names),
            "epochs": self.epochs,
        }

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Read a saved run back; the model is read when it is first asked for.

        Parameters
        ----------
        folder : str or Path
            What :meth:`save` wrote.

        Returns
        -------
        Result
            With ``folder`` set.

        Raises
        ------
        RecordError
            If the folder holds no run, one by a newer transferzoo, or one that is damaged. The message
            names the file.
        """
        path = check_path("folder", folder).absolute()
        run = read_run(path)
        predictions = read_predictions(path)
        history = read_history(path)
        try:
            result = cls(
                name=run["name"],
                metrics=run["metrics"],
                history=history,
                **predictions,
                class_names=run["class_names"],
                settings=run["settings"],
                costs=run["costs"],
                environment=run["environment"],
                provenance=run.get("provenance", {}),
                folder=path,
            )
        except KeyError as error:
            raise unreadable(path, RUN, f"it has no entry {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise unreadable(path, RUN, f"it disagrees with {HISTORY} or {PREDICTIONS}: {error}") from error
        if result.epochs != run.get("epochs", result.epochs):
            raise unreadable(path, HISTORY, f"it has {result.epochs} epochs where {run['epochs']} were run")
        for file in (HISTORY, PREDICTIONS):
            check_file(path, file, run)
        return result
