"""`verify`: what saved runs report, recomputed from what they saved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import InvalidInputError, RecordError
from transferzoo.evaluation import evaluate, groups_to_count
from transferzoo.ground.storage.files import check_path
from transferzoo.judging.prediction_checks import ROW_SUM_TOLERANCE
from transferzoo.results.comparison_files import MARKDOWN, TABLE, check_study
from transferzoo.results.discrepancies import TOLERANCE, Ledger, Rerun, Verification, one_line
from transferzoo.results.folder import MODEL, PREDICTIONS, RUN
from transferzoo.results.identity import identity_hash, plain, settings_hash
from transferzoo.results.predictor import bytes_by_keras
from transferzoo.results.saved_files import SavedRun, label_of

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset

# the temperature is searched for, up to a part in 100,000; its last digits are the machine's
SEARCHED_TOLERANCE = 1e-4
# predictions of one model by another backend, version or device
RERUN_TOLERANCE = 1e-3
# the file that was weighed is another than the one that was kept: a zip archive with dates in it
FILE_TOLERANCE = 0.01

FAILURE = "failure.json"


def verify(
    folder: str | Path, *, model: bool = False, rerun: bool = False, data: Dataset | None = None
) -> Verification:
    """Recompute every figure that saved runs report, and say where one differs.

    From ``predictions.npz`` come all metrics, within 1e-6 (the temperature and what follows from it within
    1e-4: it is searched for). Compared are also the number of epochs with ``history.csv``, the hash of the
    settings with those on record and in the folder's name, the counts of images and classes, and, where a
    study's folder holds ``comparison.csv`` and ``comparison.md``, every figure in them. A file that is
    damaged is a discrepancy too. Seconds and bytes of memory are measured once, and cannot be recomputed.

    Parameters
    ----------
    folder : str or Path
        A run's folder; or one with runs in it, such as a study's.
    model : bool, default False
        Load each ``model.keras`` too, and compare its weights' hash, its parameters, their bytes and its
        multiply-accumulates.
    rerun : bool, default False
        Let each ``model.keras`` predict the test images again: the probabilities must be those saved,
        within 1e-3.
    data : Dataset, optional
        The dataset that the runs were tested on. By default it is loaded again, by the calls on record,
        where `rerun` needs it.

    Returns
    -------
    Verification
        ``ok``, ``discrepancies``, ``checked``; ``print`` shows them.

    Raises
    ------
    RecordError
        If there is no such folder, or nothing of a run in it.

    Examples
    --------
    >>> import tempfile
    >>> from transferzoo import fit_and_evaluate, load_dataset
    >>> digits = load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = fit_and_evaluate("mobilenet_025", digits, weights=None, epochs=1, out=f"{folder}/run")
    ...     verify(f"{folder}/run").ok
    True
    """
    path = check_path("folder", folder).absolute()
    ledger = Ledger()
    runs, tables = _runs_within(path), _studies_within(path)
    for at in sorted(_visible(path, FAILURE)):
        if at.parent not in runs:
            ledger.notes.append(f"{label_of(at.parent, path)}: a run that failed; see {FAILURE}")
    if not runs and not ledger.notes:
        raise RecordError(
            f"'{path}' holds no runs. A run's folder has a {RUN} in it; a study's has one folder per run.",
            argument="folder",
            value=str(path),
        )
    datasets = _Datasets(data)
    saved = [SavedRun(folder=each, label=label_of(each, path)) for each in runs]
    for run in saved:
        run.read(ledger)
        _check_record(run, ledger)
        _check_predictions(run, ledger)
        _check_model(run, ledger, count=model, rerun=rerun, datasets=datasets)
        run.check_digests(ledger)
    for at in tables:
        check_study(at, [run for run in saved if run.folder.parent == at], ledger, path)
    return Verification(
        folder=path,
        runs=tuple(run.label for run in saved),
        checked=ledger.checked,
        discrepancies=tuple(ledger.discrepancies),
        reruns=tuple(ledger.reruns),
        notes=tuple(ledger.notes),
    )


@dataclass
class _Datasets:
    """The dataset that was given, or those that runs were made on, each loaded once."""

    given: Dataset | None
    loaded: dict[str, Dataset | str] = field(default_factory=dict)

    def of(self, run: SavedRun) -> Dataset | str:
        """Return a run's dataset, or why it cannot be loaded."""
        if self.given is not None:
            return self.given
        calls = run.part("provenance", "call").get("data")
        if not isinstance(calls, list):
            return (
                f"its dataset, {calls or 'of which nothing is on record'}, cannot be loaded again; pass data="
            )
        key = json.dumps(calls, sort_keys=True)
        if key not in self.loaded:
            from transferzoo.data.catalog import repeat_calls

            try:
                self.loaded[key] = repeat_calls(calls)
            except Exception as error:
                # the calls come from a file: whatever they lead to is a reason, not a crash
                self.loaded[key] = f"its dataset cannot be loaded again: {' '.join(str(error).split())[:300]}"
        return self.loaded[key]


def _check_record(run: SavedRun, ledger: Ledger) -> None:
    """Compare what ``run.json`` says twice, and what its folder is called."""
    if not run.run:
        return
    for key in ("settings", "metrics", "costs", "environment"):
        if not isinstance(run.run.get(key), Mapping):
            ledger.differ(run.label, key, run.run.get(key), "no table of names and values")
    hashes, settings = run.part("provenance", "hashes"), run.part("settings")
    digest = identity_hash(settings)
    for key, recomputed in (("settings", settings_hash(settings)), ("identity", digest)):
        if hashes.get(key) is not None:
            ledger.compare(run.label, f"provenance.hashes.{key}", hashes[key], recomputed)
    for key, known in (
        ("data", run.part("settings", "data").get("sha256")),
        ("weights", run.part("settings", "model").get("weights_sha256")),
    ):
        if hashes.get(key) is not None and known is not None:
            ledger.compare(run.label, f"provenance.hashes.{key}", hashes[key], known)
    durations = run.part("provenance", "durations")
    trained = durations.get("train")
    if isinstance(trained, int | float) and "train_seconds" in run.part("costs"):
        reused = durations.get("reused_features", 0.0)
        trained += reused if isinstance(reused, int | float) else 0.0
        ledger.compare(
            run.label, "costs.train_seconds", run.part("costs")["train_seconds"], trained, tolerance=TOLERANCE
        )
    named = re.fullmatch(r"(.+)-([0-9a-f]{10})", run.folder.name)
    # a folder of the user's may end in ten digits too
    if named and (named[1] == run.run.get("name") or named[2] == digest[:10]):
        expected = f"{run.run.get('name')}-{digest[:10]}"
        ledger.compare(run.label, "the folder's name", run.folder.name, expected)


def _check_predictions(run: SavedRun, ledger: Ledger) -> None:
    """Compare every count and every metric with the saved predictions."""
    if not run.arrays:
        return
    y_true, y_prob = run.arrays["y_true"], run.arrays["y_prob"]
    data, names = run.part("settings", "data"), run.run.get("class_names")
    if "test" in data:
        ledger.compare(run.label, "settings.data.test", data["test"], len(y_true))
    if "validation" in data and "validation_true" in run.arrays:
        count = len(run.arrays["validation_true"])
        ledger.compare(run.label, "settings.data.validation", data["validation"], count)
    if y_prob.ndim != 2:
        ledger.differ(run.label, "y_prob", "probabilities, shape (n, k)", f"shape {y_prob.shape}")
        return
    if isinstance(names, list):
        ledger.compare(run.label, "class_names", len(names), y_prob.shape[1])
    _check_labels(run, ledger, "y_true", y_prob.shape[1])
    _check_index(run, ledger)
    _check_rows(run, ledger, "y_prob")
    if "validation_prob" in run.arrays:
        _check_labels(run, ledger, "validation_true", y_prob.shape[1])
        _check_rows(run, ledger, "validation_prob")
    reported = {key: plain(value) for key, value in run.part("metrics").items()}
    recomputed, reason = _recomputed(run.arrays, reported)
    for key, value in reported.items():
        if key in recomputed:
            searched = key == "temperature" or key.startswith("calibrated_")
            ledger.compare(
                run.label,
                f"metrics.{key}",
                value,
                recomputed[key],
                tolerance=SEARCHED_TOLERANCE if searched else TOLERANCE,
                share=SEARCHED_TOLERANCE if searched else 0,
            )
        elif value is None:
            continue
        elif reason:
            ledger.differ(run.label, f"metrics.{key}", value, f"nothing: {reason}")
        elif key == "temperature" or key.startswith("calibrated_"):
            ledger.differ(run.label, f"metrics.{key}", value, "nothing: no validation predictions are saved")
        elif re.fullmatch(r"top\d+_accuracy", key):
            ledger.differ(run.label, f"metrics.{key}", value, f"nothing: there are {y_prob.shape[1]} classes")
        else:
            ledger.notes.append(f"{run.label}: metrics.{key} is not one that can be recomputed")


def _recomputed(arrays: Mapping[str, NDArray[Any]], reported: Iterable[str]) -> tuple[dict[str, float], str]:
    """Return the metrics of saved predictions, and why there are not all of them."""
    found = (re.fullmatch(r"top([1-9]\d*)_accuracy", key) for key in reported)
    guesses = {int(match[1]) for match in found if match} or {5}
    truth, probabilities = arrays["y_true"], arrays["y_prob"]
    groups = groups_to_count(arrays.get("groups"))
    metrics: dict[str, float] = {}
    try:
        for top_k in sorted(guesses):
            metrics |= evaluate(truth, probabilities, top_k=top_k, groups=groups)
        if "validation_prob" in arrays:
            validation = (arrays["validation_true"], arrays["validation_prob"])
            metrics |= evaluate(truth, probabilities, validation=validation, groups=groups)
    except InvalidInputError as error:
        return metrics, str(error)
    return metrics, ""


def _check_labels(run: SavedRun, ledger: Ledger, key: str, classes: int) -> None:
    labels = run.arrays[key]
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    ledger.checked += 1
    if low < 0 or high >= classes:
        ledger.differ(run.label, key, f"classes 0 to {classes - 1}", f"classes {low} to {high}")


def _check_index(run: SavedRun, ledger: Ledger) -> None:
    index, count = run.arrays.get("index"), len(run.arrays["y_true"])
    if index is None:
        return  # the first format had none
    ledger.checked += 1
    if index.shape != (count,) or index.dtype.kind not in "iu":
        found = f"{index.dtype} of shape {index.shape}"
    elif len(np.unique(index)) < count:
        found = f"{len(np.unique(index)):,} of {count:,} that differ"
    elif count and index.min() < 0:
        found = f"{index.min()} among them"
    else:
        return
    ledger.differ(run.label, "index", f"{count:,} places from 0, each once", found)


def _check_rows(run: SavedRun, ledger: Ledger, key: str) -> None:
    rows = run.arrays[key].astype(np.float64)
    finite = np.isfinite(rows).all(axis=1)
    ledger.checked += 1
    if not finite.all():
        ledger.notes.append(f"{run.label}: {key}: {int((~finite).sum()):,} rows hold no numbers")
    rows = rows[finite]
    if not len(rows):
        return
    sums = rows.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > ROW_SUM_TOLERANCE or rows.min() < 0:
        found = f"a sum of {sums[worst]:.6g}" if rows.min() >= 0 else f"a value of {rows.min():.6g}"
        ledger.differ(run.label, key, "rows that sum to 1", found)


def _check_model(run: SavedRun, ledger: Ledger, *, count: bool, rerun: bool, datasets: _Datasets) -> None:
    """Compare the costs with the model's file, and its predictions with those saved."""
    path, costs = run.folder / MODEL, run.part("costs")
    same = True
    if datasets.given is not None and run.run and run.arrays:
        same = _check_data(run, ledger, datasets.given)
    if not path.is_file():
        if count or rerun:
            ledger.notes.append(f"{run.label}: no {MODEL} was kept, so it could not be looked at")
        return
    if costs.get("file_bytes") is not None and (size := bytes_by_keras(path)) is not None:
        ledger.compare(run.label, "costs.file_bytes", costs["file_bytes"], size, share=FILE_TOLERANCE)
    if not count and not rerun:
        return
    import keras

    try:
        model = keras.models.load_model(path)
    except Exception as error:
        ledger.differ(run.label, MODEL, "a model", f"Keras could not load it: {one_line(error)}")
        return
    if count:
        _check_counts(run, ledger, model)
    if rerun and same and run.run and run.arrays:
        data = datasets.of(run)
        if isinstance(data, str):
            ledger.notes.append(f"{run.label}: not predicted again: {data}")
        elif datasets.given is not None or _check_data(run, ledger, data):
            _predict_again(run, ledger, model, data)


def _check_counts(run: SavedRun, ledger: Ledger, model: Any) -> None:
    from transferzoo.costs.macs import count_macs
    from transferzoo.costs.measure import count_parameters
    from transferzoo.models.construct import model_digest

    costs, digest = run.part("costs"), run.part("provenance", "hashes").get("trained_model")
    if digest is not None:
        ledger.compare(run.label, "provenance.hashes.trained_model", digest, model_digest(model))
    counted: dict[str, Any] = dict(count_parameters(model))
    if costs.get("macs") is not None:
        try:
            macs = count_macs(model)
        except InvalidInputError as error:
            ledger.differ(run.label, "costs.macs", costs["macs"], f"nothing: {error}")
        else:
            counted["macs"] = None if macs.uncounted else macs.total
    for key, value in counted.items():
        if key in costs:
            ledger.compare(run.label, f"costs.{key}", costs[key], value)


def _check_data(run: SavedRun, ledger: Ledger, data: Dataset) -> bool:
    """Compare a dataset's test images with those on record; return whether they are the same."""
    before, known, truth = len(ledger.discrepancies), run.part("settings", "data"), run.arrays["y_true"]
    if known.get("test_sha256") is not None:
        ledger.compare(run.label, "settings.data.test_sha256", known["test_sha256"], data.test_hash)
    elif known.get("sha256") is not None:
        ledger.compare(run.label, "settings.data.sha256", known["sha256"], data.content_hash())
    if len(truth) != len(data.y_test):
        ledger.differ(run.label, "y_true", f"{len(truth):,} images", f"{len(data.y_test):,} in the dataset")
        return False
    wrong = int((data.y_test != truth).sum())
    ledger.compare(run.label, "y_true, labels unlike the dataset's", 0, wrong)
    index = run.arrays.get("index")
    if index is not None and index.shape == truth.shape:
        wrong = int((np.asarray(data.test_index) != index).sum())
        ledger.compare(run.label, "index, places unlike the dataset's", 0, wrong)
    return len(ledger.discrepancies) == before


def _predict_again(run: SavedRun, ledger: Ledger, model: Any, data: Dataset) -> None:
    from scipy.special import softmax

    from transferzoo.models.prediction import gives_probabilities, predict

    try:
        outputs = predict(model, data.x_test)
        if not gives_probabilities(model, data.x_test):
            outputs = softmax(outputs, axis=1)
    except Exception as error:
        ledger.differ(run.label, MODEL, "a model of these images", f"it cannot predict: {one_line(error)}")
        return
    saved = run.arrays["y_prob"]
    if outputs.shape != saved.shape:
        ledger.differ(run.label, "y_prob", f"shape {saved.shape}", f"shape {outputs.shape}")
        return
    largest = float(np.abs(outputs - saved).max())
    flips = int((outputs.argmax(axis=1) != saved.argmax(axis=1)).sum())
    ledger.reruns.append(Rerun(run=run.label, images=len(saved), largest_difference=largest, flips=flips))
    ledger.checked += 1
    if not largest <= RERUN_TOLERANCE:
        found = f"probabilities that differ by up to {largest:.3g}, {flips:,} flips"
        ledger.differ(run.label, "y_prob", "the model's probabilities", found)


def _runs_within(path: Path) -> list[Path]:
    """Return the folders that hold a run, or what is left of one."""
    return sorted({at.parent for name in (RUN, PREDICTIONS) for at in _visible(path, name)})


def _studies_within(path: Path) -> list[Path]:
    return sorted({at.parent for name in (TABLE, MARKDOWN) for at in _visible(path, name)})


def _visible(path: Path, name: str) -> list[Path]:
    """Return the files of a name within a folder, but for hidden ones: those are being written."""
    found = path.rglob(name) if path.is_dir() else ()
    return [at for at in found if not any(part[0] == "." for part in at.relative_to(path).parts)]
