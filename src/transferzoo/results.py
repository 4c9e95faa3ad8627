"""What a run left behind, as one record that saves, loads and draws itself."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
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
from transferzoo.evaluation import check_class_names, check_labels
from transferzoo.files import folder_written_beside, refuse_full_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = 1
KIND = "transferzoo run"
COST_WORDS = {
    "parameters": "{} parameters",
    "trainable_parameters": "{} of them trainable",
    "size_bytes": "{}",
    "train_seconds": "trained in {}",
    "images_per_second": "predicts {} images/s",
}
RUN, HISTORY, PREDICTIONS, MODEL = "run.json", "history.csv", "predictions.npz", "model.keras"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Result:
    """What a run left behind: numbers, curves, predictions, settings, and the model.

    Saved, it is a folder that needs neither this library nor Python to be read::

        mobilenet/
            run.json            name, metrics, settings, costs, environment, class names
            history.csv         one line for each epoch
            predictions.npz     y_true and y_prob
            model.keras         the trained model; loads with Keras alone

    Attributes
    ----------
    name : str
        The run's label, such as ``"mobilenet"``.
    metrics : dict of str to float
        As :func:`transferzoo.evaluation.evaluate` gives them; accuracies are fractions in ``[0, 1]``.
    history : dict of str to list
        One entry an epoch: floats, and str under ``"phase"``. Empty where nothing was trained.
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
    <Result 'mobilenet': accuracy 50.0% on 2 images of 2 classes>
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
    folder: Path | None = None
    _model: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        y_prob = np.asarray(self.y_prob, dtype=np.float32)
        if y_prob.ndim != 2:
            raise invalid("y_prob", "class probabilities, shape (n, k)", y_prob.shape)
        # not held to summing to 1: a run that diverged to NaN is a result too
        n, k = y_prob.shape
        values = {
            "name": str(self.name),
            "metrics": _numbers(self.metrics),
            "history": _history(self.history),
            "y_true": check_labels("y_true", self.y_true, num_classes=k, length=n),
            "y_prob": y_prob,
            "class_names": check_class_names(self.class_names, k),
            "settings": plain(self.settings),
            "costs": _numbers(self.costs),
            "environment": {str(key): str(value) for key, value in self.environment.items()},
            "folder": None if self.folder is None else Path(self.folder),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

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

    def _read_model(self) -> Any:
        if self.folder is None or not (self.folder / MODEL).is_file():
            where = "in memory, and it was not saved" if self.folder is None else f"in '{self.folder}'"
            raise RecordError(
                f"The model of run '{self.name}' is not {where}. "
                "Its numbers and predictions are here; to have the model, run again and keep it."
            )
        import keras

        path = self.folder / MODEL
        try:
            return keras.models.load_model(path)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise _unreadable(self.folder, MODEL, f"Keras could not load it: {reason}") from error

    @property
    def accuracy(self) -> float:
        """Fraction of images classified rightly, in ``[0, 1]``; NaN where it was not measured."""
        return self.metrics.get("accuracy", math.nan)

    @property
    def epochs(self) -> int:
        """Epochs trained, over all phases."""
        return max((len(values) for values in self.history.values()), default=0)

    def row(self) -> dict[str, Any]:
        """Return the run as one line of a table.

        Returns
        -------
        dict
            ``model``, ``accuracy``, ``parameters``, ``size_bytes``, ``train_seconds``,
            ``images_per_second``, ``epochs``, then the other metrics and the other costs. What was not
            measured is NaN.
        """
        first = ("parameters", "size_bytes", "train_seconds", "images_per_second")
        row = {"model": self.name, "accuracy": self.accuracy}
        row |= {key: self.costs.get(key, math.nan) for key in first}
        row["epochs"] = self.epochs
        for table in (self.metrics, self.costs):
            row |= {key: value for key, value in table.items() if key not in row}
        return row

    def __repr__(self) -> str:
        n, k = self.y_prob.shape
        shown = plots.readable("accuracy", self.accuracy)
        return f"<Result {self.name!r}: accuracy {shown} on {n:,} images of {k} classes>"

    def __str__(self) -> str:
        n, k = self.y_prob.shape
        shown = plots.readable("accuracy", self.accuracy)
        lines = [f"{self.name}: accuracy {shown} on {n:,} images of {k} classes"]
        figures = [
            f"{key.replace('_', ' ')} {plots.readable(key, value)}"
            for key, value in self.metrics.items()
            if key != "accuracy" and math.isfinite(value)
        ]
        spent = [
            words.format(plots.readable(key, self.costs[key]))
            for key, words in COST_WORDS.items()
            if math.isfinite(self.costs.get(key, math.nan))
        ]
        lines += ["  " + ", ".join(parts) for parts in (figures, spent) if parts]
        if self.epochs:
            phases = list(dict.fromkeys(self.history.get("phase", [])))
            named = f", phases {', '.join(phases)}" if phases else ""
            lines.append(f"  {self.epochs} epoch{'s' if self.epochs > 1 else ''}{named}")
        if self.folder is not None:
            lines.append(f"  saved in {self.folder}")
        return "\n".join(lines)

    def plot_history(self, ax: Any = None) -> NDArray[Any]:
        """Draw loss and accuracy over the epochs; see :func:`transferzoo.plots.history`."""
        return plots.history(self.history, ax=ax)

    def plot_confusion_matrix(self, normalize: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw what was taken for what; see :func:`transferzoo.plots.confusion_matrix`."""
        return plots.confusion_matrix(self, normalize=normalize, ax=ax)

    def classification_report(self) -> str:
        """Return scikit-learn's table of precision, recall, F1 and support, a line a class."""
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
        path = Path(folder).expanduser().absolute()
        refuse_full_folder(path)
        with folder_written_beside(path) as part:
            self._write(part, model=model)
        return path

    def write_into(self, folder: str | Path, *, model: bool = True) -> Path:
        """Write the run to its own folder, which may hold its checkpoint.

        Files are put in place one by one, ``run.json`` last: without it the folder holds no finished run.
        """
        path = Path(folder).expanduser().absolute()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as name:
            part = Path(name)
            self._write(part, model=model)
            for file in (MODEL, HISTORY, PREDICTIONS, RUN):
                if (part / file).exists():
                    (part / file).replace(path / file)
        return path

    def _write(self, part: Path, *, model: bool) -> None:
        text = json.dumps(self._run(), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
        (part / RUN).write_text(text + "\n", encoding="utf-8")
        _write_history(part / HISTORY, self.history, self.epochs)
        np.savez_compressed(part / PREDICTIONS, y_true=self.y_true, y_prob=self.y_prob)
        if model and self._model is not None:
            self._model.save(part / MODEL)
        elif model and self.folder is not None and (self.folder / MODEL).is_file():
            shutil.copyfile(self.folder / MODEL, part / MODEL)

    def _run(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": KIND,
            "name": self.name,
            "metrics": plain(self.metrics),
            "settings": self.settings,
            "costs": plain(self.costs),
            "environment": self.environment,
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
        path = Path(folder).expanduser().absolute()
        run = _read_run(path)
        y_true, y_prob = _read_predictions(path)
        history = _read_history(path)
        try:
            result = cls(
                name=run["name"],
                metrics=run["metrics"],
                history=history,
                y_true=y_true,
                y_prob=y_prob,
                class_names=run["class_names"],
                settings=run["settings"],
                costs=run["costs"],
                environment=run["environment"],
                folder=path,
            )
        except KeyError as error:
            raise _unreadable(path, RUN, f"it has no entry {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise _unreadable(path, RUN, f"it disagrees with {HISTORY} or {PREDICTIONS}: {error}") from error
        if result.epochs != run.get("epochs", result.epochs):
            raise _unreadable(path, HISTORY, f"it has {result.epochs} epochs where {run['epochs']} were run")
        return result


def is_run(folder: str | Path) -> bool:
    """Return whether `folder` holds a saved run, judged by its ``run.json`` alone."""
    return read_settings(folder) is not None


def read_settings(folder: str | Path) -> dict[str, Any] | None:
    """Return the settings of the run saved in `folder`, or None where there is no run.

    Only ``run.json`` is read.

    Examples
    --------
    >>> read_settings("no/such/folder") is None
    True
    """
    try:
        run = json.loads((Path(folder).expanduser() / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(run, dict) or run.get("kind") != KIND or not isinstance(run.get("settings"), dict):
        return None
    return run["settings"]


def plain(value: Any) -> Any:
    """Return `value` in the types that JSON has; a number that is not finite becomes None.

    Records become dicts, arrays lists, paths strings, and functions their dotted name. Whatever else
    there is becomes its text: a finished run is worth more than one odd argument in its settings.

    Examples
    --------
    >>> plain({"rate": np.float32(0.5), "sizes": (32, np.int64(96)), "loss": float("nan")})
    {'rate': 0.5, 'sizes': [32, 96], 'loss': None}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(entry) for entry in value), key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    # an address would differ from run to run and say nothing
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _numbers(table: Mapping[str, Any]) -> dict[str, Any]:
    values = {str(key): plain(value) for key, value in table.items()}
    return {key: math.nan if value is None else value for key, value in values.items()}


def _history(history: Mapping[str, Any]) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {}
    for key, values in history.items():
        try:
            lists[str(key)] = [_entry(key, value) for value in values]
        except (TypeError, ValueError):
            raise invalid(f"history[{key!r}]", "a list of numbers, one for each epoch", values) from None
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1 or "epoch" in lists:
        raise invalid("history", "lists of one length, one entry for each epoch, none named 'epoch'", lengths)
    return lists


def _entry(key: str, value: Any) -> Any:
    if key == "phase":
        return str(value)
    return math.nan if value is None else float(value)


def _unreadable(folder: Path, file: str, why: str) -> RecordError:
    return RecordError(
        f"'{folder}' cannot be read as a run: {file}: {why}. "
        "Check the path, copy the folder again from where it was made, or run again.",
        argument="folder",
        value=str(folder),
    )


def _read_run(folder: Path) -> dict[str, Any]:
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _unreadable(folder, RUN, "it is missing") from error
    except (OSError, ValueError) as error:
        raise _unreadable(folder, RUN, f"it is damaged: {error}") from error
    if not isinstance(run, dict) or run.get("kind") != KIND:
        raise _unreadable(folder, RUN, f"it is not of kind '{KIND}'")
    number = run.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise RecordError(
            f"'{folder}' cannot be read: {RUN} has format {number}, written by a newer transferzoo; this one "
            f"reads up to {FORMAT}. Upgrade with: pip install --upgrade transferzoo",
            argument="folder",
            value=str(folder),
        )
    if number != FORMAT:
        raise _unreadable(folder, RUN, f"it has the unknown format {number!r}")
    return run


def _read_predictions(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        # given a path, np.load leaves the file open when the archive is damaged
        with (folder / PREDICTIONS).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            y_true, y_prob = arrays["y_true"], arrays["y_prob"]
    except FileNotFoundError as error:
        raise _unreadable(folder, PREDICTIONS, "it is missing") from error
    except KeyError as error:
        raise _unreadable(folder, PREDICTIONS, "it does not hold both y_true and y_prob") from error
    except Exception as error:
        # zipfile, zlib and the array header each raise kinds of their own on damaged bytes
        raise _unreadable(folder, PREDICTIONS, f"it is damaged: {error}") from error
    if y_true.dtype.kind not in "iu" or y_prob.dtype.kind != "f" or y_prob.shape[:1] != y_true.shape:
        found = f"{y_true.dtype} {y_true.shape} and {y_prob.dtype} {y_prob.shape}"
        raise _unreadable(folder, PREDICTIONS, f"its arrays do not belong together: {found}")
    return y_true, y_prob


def _write_history(path: Path, history: Mapping[str, list[Any]], epochs: int) -> None:
    columns = sorted(history, key=lambda key: key != "phase")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", *columns])
        for index in range(epochs):
            entries = (history[key][index] for key in columns)
            # an empty cell is what other programs read as missing
            writer.writerow([index + 1, *("" if entry != entry else entry for entry in entries)])


def _read_history(folder: Path) -> dict[str, list[Any]]:
    try:
        with (folder / HISTORY).open(encoding="utf-8", newline="") as stream:
            header, *lines = csv.reader(stream)
        columns = zip(*lines, strict=True) if lines else ((),) * len(header)
        table = dict(zip(header, columns, strict=True))
        del table["epoch"]
        return {
            key: [entry if key == "phase" else float(entry or "nan") for entry in entries]
            for key, entries in table.items()
        }
    except FileNotFoundError as error:
        raise _unreadable(folder, HISTORY, "it is missing") from error
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise _unreadable(folder, HISTORY, f"it is damaged: {error}") from error
