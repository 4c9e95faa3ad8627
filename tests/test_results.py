import csv
import dataclasses
import json
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

matplotlib.use("Agg")

from matplotlib import pyplot

from transferzoo.errors import InvalidInputError, OutputExistsError, RecordError
from transferzoo.evaluation import evaluate
from transferzoo.results.folder import is_run, read_settings, sealed
from transferzoo.results.identity import plain
from transferzoo.results.result import Result

Y_TRUE = np.array([0, 1, 2, 1])
Y_PROB = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]])


def make_result(**changes):
    fields = {
        "name": "mobilenet",
        "metrics": evaluate(Y_TRUE, Y_PROB),
        "history": {
            "phase": ["head", "head", "fine-tune"],
            "loss": [1.0, 0.5, 1 / 3],
            "accuracy": [0.5, 0.7, 0.9],
            "val_loss": [1.1, math.nan, 0.4],
            "val_accuracy": [0.4, 0.6, 0.8],
        },
        "y_true": Y_TRUE,
        "y_prob": Y_PROB,
        "class_names": ("cat", "dog", "été"),
        "settings": {"backbone": "mobilenet", "seed": 3, "recipe": None},
        "costs": {"parameters": 3_228_864, "size_bytes": 12_915_456, "train_seconds": 41.5},
        "environment": {"keras": "3.8.0"},
    }
    return Result(**(fields | changes))


@pytest.fixture
def saved(tmp_path):
    return make_result().save(tmp_path / "run")


@pytest.fixture
def _closed_figures():
    yield
    pyplot.close("all")


def rewrite(folder, **changes):
    run = json.loads((folder / "run.json").read_text("utf-8"))
    run.update(changes)
    (folder / "run.json").write_text(json.dumps(sealed(run)), "utf-8")


class TestSaving:
    def test_a_saved_run_reads_back_as_it_was(self, saved):
        before, after = make_result(), Result.load(saved)
        for name in ("name", "metrics", "class_names", "settings", "costs", "environment"):
            assert getattr(after, name) == getattr(before, name)
        assert after.folder == saved
        assert (after.y_true == before.y_true).all()
        assert (after.y_prob == before.y_prob).all()
        assert after.y_true.dtype == np.int64
        assert after.y_prob.dtype == np.float32
        assert after.history.keys() == before.history.keys()
        for key, values in before.history.items():
            assert str(after.history[key]) == str(values)

    def test_the_folder_holds_the_files_that_the_docstring_draws(self, saved):
        assert sorted(path.name for path in saved.iterdir()) == [
            "history.csv",
            "predictions.npz",
            "run.json",
        ]

    def test_run_json_is_strict_sorted_and_versioned(self, tmp_path):
        folder = make_result(metrics={"accuracy": math.nan}, costs={"latency_ms": math.inf}).save(
            tmp_path / "run"
        )

        def refuse(constant):
            pytest.fail(f"{constant} is not JSON")

        run = json.loads((folder / "run.json").read_text("utf-8"), parse_constant=refuse)
        assert list(run) == sorted(run)
        assert (run["format"], run["kind"]) == (3, "transferzoo run")
        assert run["metrics"] == {"accuracy": None}

    def test_numbers_that_are_not_finite_read_back_as_nan(self, tmp_path):
        folder = make_result(metrics={"accuracy": math.nan}, costs={"latency_ms": math.inf}).save(
            tmp_path / "run"
        )
        loaded = Result.load(folder)
        assert math.isnan(loaded.accuracy)
        assert math.isnan(loaded.costs["latency_ms"])
        assert loaded.settings["recipe"] is None

    def test_history_csv_has_one_line_for_each_epoch(self, saved):
        with (saved / "history.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert [row["phase"] for row in rows] == ["head", "head", "fine-tune"]
        assert rows[1]["val_loss"] == ""

    def test_a_run_without_training_has_no_epochs(self, tmp_path):
        loaded = Result.load(make_result(history={}).save(tmp_path / "run"))
        assert loaded.history == {}
        assert loaded.epochs == 0

    def test_a_diverged_run_can_be_kept(self, tmp_path):
        y_prob = np.full((4, 3), np.nan)
        loaded = Result.load(make_result(y_prob=y_prob, metrics={}).save(tmp_path / "run"))
        assert np.isnan(loaded.y_prob).all()
        assert "n/a" in str(loaded)

    def test_a_full_folder_is_left_alone(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(OutputExistsError):
            make_result().save(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_an_empty_folder_may_be_filled(self, tmp_path):
        (tmp_path / "run").mkdir()
        assert is_run(make_result().save(tmp_path / "run"))

    def test_a_save_that_fails_leaves_nothing(self, tmp_path):
        class Broken:
            def save(self, path):
                Path(path).write_text("half a model")
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            make_result(_model=Broken()).save(tmp_path / "run")
        assert list(tmp_path.iterdir()) == []

    def test_a_saved_run_saved_again_takes_its_model_along(self, saved, tmp_path):
        (saved / "model.keras").write_bytes(b"weights")
        copy = Result.load(saved).save(tmp_path / "copy")
        assert (copy / "model.keras").read_bytes() == b"weights"
        bare = Result.load(saved).save(tmp_path / "bare", model=False)
        assert not (bare / "model.keras").exists()

    @settings(max_examples=25, deadline=None)
    @given(values=st.lists(st.floats(), min_size=1, max_size=5), phase=st.text(max_size=8))
    def test_every_history_survives_the_csv(self, values, phase, tmp_path_factory):
        phase = phase.encode("utf-8", "ignore").decode().replace("\0", "")
        history = {"phase": [phase] * len(values), "loss": values}
        folder = make_result(history=history).save(tmp_path_factory.mktemp("h") / "run")
        loaded = Result.load(folder).history
        np.testing.assert_array_equal(loaded["loss"], values)
        assert loaded["phase"] == history["phase"]


class TestLoading:
    @pytest.mark.parametrize("file", ["run.json", "history.csv", "predictions.npz"])
    def test_a_missing_file_is_named(self, saved, file):
        (saved / file).unlink()
        with pytest.raises(RecordError) as caught:
            Result.load(saved)
        for part in (str(saved), file, "missing"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
    @pytest.mark.parametrize("file", ["run.json", "predictions.npz"])
    def test_a_file_cut_short_is_named(self, saved, file, keep):
        whole = (saved / file).read_bytes()
        (saved / file).write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
        with pytest.raises(RecordError) as caught:
            Result.load(saved)
        assert file in str(caught.value)
        assert str(saved) in str(caught.value)

    def test_flipped_bytes_in_the_predictions_are_noticed(self, saved):
        whole = bytearray((saved / "predictions.npz").read_bytes())
        for at in range(60, 75):
            whole[at] ^= 0xFF
        (saved / "predictions.npz").write_bytes(bytes(whole))
        with pytest.raises(RecordError, match=r"predictions\.npz"):
            Result.load(saved)

    def test_a_history_cut_at_a_line_is_noticed(self, saved):
        lines = (saved / "history.csv").read_text().splitlines(keepends=True)
        (saved / "history.csv").write_text("".join(lines[:-1]))
        with pytest.raises(RecordError, match=r"history\.csv: it has 2 epochs where 3"):
            Result.load(saved)

    @pytest.mark.parametrize("text", ["", "epoch,loss\n1", "loss\n0.5\n", "epoch,loss\n1,high\n"])
    def test_a_damaged_history_is_named(self, saved, text):
        (saved / "history.csv").write_text(text)
        with pytest.raises(RecordError, match=r"history\.csv: it is damaged"):
            Result.load(saved)

    def test_a_newer_format_says_to_upgrade(self, saved):
        rewrite(saved, format=4)
        with pytest.raises(RecordError, match="written by a newer transferzoo"):
            Result.load(saved)

    def test_a_run_of_the_first_format_is_read(self, saved):
        rewrite(saved, format=1)
        with np.load(saved / "predictions.npz") as arrays:
            kept = {name: arrays[name] for name in ("y_true", "y_prob")}
        np.savez(saved / "predictions.npz", **kept)
        assert Result.load(saved).index.tolist() == list(range(len(kept["y_true"])))

    def test_where_the_test_images_stood_and_the_validation_predictions_are_kept(self, tmp_path):
        made = make_result(
            index=np.array([7, 3, 5, 1]),
            validation_true=np.array([2, 0]),
            validation_prob=np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]),
            provenance={"hashes": {"data": "0f"}},
        )
        read = Result.load(made.save(tmp_path / "run"))
        assert read.index.tolist() == [7, 3, 5, 1]
        assert read.validation_prob.shape == (2, 3)
        assert read.provenance == {"hashes": {"data": "0f"}}

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"index": np.array([1, 2])}, "index must be whole numbers"),
            ({"validation_true": np.array([0])}, "given together with validation_true"),
            (
                {"validation_true": np.array([0]), "validation_prob": np.ones((1, 2))},
                r"validation_prob must be of shape \(m, 3\)",
            ),
        ],
    )
    def test_a_result_of_parts_that_do_not_belong_together_is_refused(self, changes, words):
        with pytest.raises(InvalidInputError, match=words):
            make_result(**changes)

    @pytest.mark.parametrize(
        "changes",
        [
            {"settings": []},
            {"provenance": "none"},
            {"kind": "another tool's run"},
            {"format": "1"},
            {"class_names": ["cat"]},
            {"metrics": 3},
            {"environment": []},
        ],
    )
    def test_a_foreign_or_altered_run_is_refused(self, saved, changes):
        rewrite(saved, **changes)
        with pytest.raises(RecordError, match=r"run\.json"):
            Result.load(saved)

    def test_a_run_without_an_entry_names_it(self, saved):
        run = json.loads((saved / "run.json").read_text("utf-8"))
        del run["costs"]
        (saved / "run.json").write_text(json.dumps(sealed(run)), "utf-8")
        with pytest.raises(RecordError, match="no entry 'costs'"):
            Result.load(saved)

    def test_pickled_arrays_are_never_opened(self, saved):
        np.savez(saved / "predictions.npz", y_true=np.array([{}], dtype=object), y_prob=Y_PROB)
        with pytest.raises(RecordError, match=r"predictions\.npz"):
            Result.load(saved)

    @pytest.mark.parametrize(
        "arrays",
        [
            {"y_true": Y_TRUE},
            {"y_true": Y_TRUE[:2], "y_prob": Y_PROB},
            {"y_true": Y_TRUE.astype(float), "y_prob": Y_PROB},
        ],
    )
    def test_arrays_that_do_not_belong_together_are_refused(self, saved, arrays):
        np.savez(saved / "predictions.npz", **arrays)
        with pytest.raises(RecordError, match=r"predictions\.npz"):
            Result.load(saved)

    def test_a_run_is_told_from_another_folder(self, saved, tmp_path):
        assert is_run(saved)
        assert not is_run(tmp_path)
        (tmp_path / "run.json").write_text("[]")
        assert not is_run(tmp_path)

    def test_settings_are_read_without_the_arrays(self, saved, tmp_path):
        (saved / "predictions.npz").unlink()
        assert read_settings(saved) == {"backbone": "mobilenet", "seed": 3, "recipe": None}
        assert read_settings(tmp_path / "nowhere") is None


class TestRecord:
    def test_a_row_begins_with_what_is_compared_and_holds_every_number(self):
        row = make_result().row()
        assert list(row)[:8] == [
            "model",
            "seed",
            "accuracy",
            "parameters",
            "size_bytes",
            "train_seconds",
            "images_per_second",
            "epochs",
        ]
        assert (row["model"], row["accuracy"], row["epochs"]) == ("mobilenet", 0.75, 3)
        assert math.isnan(row["images_per_second"])
        assert {"macro_f1", "log_loss", "balanced_accuracy"} <= row.keys()

    def test_str_gives_name_accuracy_size_and_phases(self):
        text = str(make_result())
        for part in ("mobilenet", "75.0%", "4 images of 3 classes", "3.23 M", "12.9 MB", "head, fine-tune"):
            assert part in text

    @pytest.mark.parametrize("argument", ["y_prob", "validation_prob"])
    @pytest.mark.parametrize("bad", [[0.5, 0.9, 0.1], [2.0, -1.0, 0.0], [np.inf, 0.0, 0.0]])
    def test_probabilities_that_are_none_are_refused(self, argument, bad):
        prob = np.array([bad, [0.2, 0.3, 0.5]])
        given = {"y_true": np.array([0, 1]), "y_prob": prob}
        if argument == "validation_prob":
            given = {"validation_true": np.array([0, 1]), "validation_prob": prob}
        with pytest.raises(InvalidInputError, match=f"{argument} must be class probabilities"):
            make_result(**given)

    def test_repr_stays_one_short_line(self):
        assert repr(make_result()) == (
            "<Result 'mobilenet': accuracy 75.0% (30.1 to 95.4%) on 4 images of 3 classes>"
        )

    def test_fields_cannot_be_set(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            make_result().name = "other"

    def test_the_classification_report_names_each_class(self):
        report = make_result().classification_report()
        assert all(name in report for name in ("cat", "dog", "été", "support"))

    @pytest.mark.usefixtures("_closed_figures")
    def test_it_draws_its_history_and_confusion_matrix(self):
        result = make_result()
        assert result.plot_history()[0].lines[0].get_ydata().tolist() == result.history["loss"]
        ax = result.plot_confusion_matrix(normalize="true")
        assert ax.images[0].get_array()[1].tolist() == [0.5, 0.5, 0.0]

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"y_prob": Y_TRUE}, "y_prob"),
            ({"y_true": Y_TRUE[:2]}, "y_true"),
            ({"y_true": Y_TRUE + 1}, "y_true"),
            ({"class_names": ("cat",)}, "class_names"),
            ({"history": {"loss": [1.0], "accuracy": [0.5, 0.6]}}, "history"),
            ({"history": {"loss": ["high"]}}, "history"),
            ({"history": {"epoch": [1]}}, "history"),
        ],
    )
    def test_fields_that_do_not_belong_together_are_refused(self, changes, word):
        with pytest.raises(InvalidInputError, match=word):
            make_result(**changes)


@dataclasses.dataclass
class Recipe:
    rate: float
    phases: tuple


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (float("inf"), None),
        (Path("a") / "b", str(Path("a") / "b")),
        (np.eye(2, dtype=int), [[1, 0], [0, 1]]),
        ({1: (2, {"b", "a"})}, {"1": [2, ["a", "b"]]}),
        (Recipe(0.1, ("head",)), {"rate": 0.1, "phases": ["head"]}),
        (Recipe, f"{__name__}.Recipe"),
    ],
)
def test_settings_become_plain_json(value, expected):
    got = plain(value)
    assert got == expected
    assert type(got) is type(expected)
    json.dumps(got, allow_nan=False)


def test_an_object_of_unknown_kind_keeps_its_text_without_its_address():
    assert "0x" not in plain(object())


class TestModel:
    def test_the_model_in_memory_is_handed_back(self):
        model = object()
        assert make_result(_model=model).model is model

    def test_without_a_model_it_says_what_to_do(self, saved):
        with pytest.raises(RecordError, match=r"not in memory.*run again"):
            make_result().model
        with pytest.raises(RecordError, match=r"run again") as caught:
            Result.load(saved).model
        assert str(saved) in str(caught.value)

    def test_a_damaged_model_file_is_named(self, saved):
        (saved / "model.keras").write_bytes(b"nothing")
        with pytest.raises(RecordError, match=r"model\.keras"):
            Result.load(saved).model

    def test_a_saved_model_predicts_as_before(self, tmp_path):
        import keras

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        loaded = Result.load(make_result(_model=model).save(tmp_path / "run"))
        x = np.ones((2, 4), "float32")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(loaded.model(x)), keras.ops.convert_to_numpy(model(x)), rtol=1e-6
        )
        assert loaded.model is loaded.model
