"""`verify`: what was tampered with is named, and what was not is not."""

import json
import re
import shutil

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import RecordError
from transferzoo.results.folder import sealed
from transferzoo.results.identity import identity_hash, settings_hash
from transferzoo.results.result import Result
from transferzoo.results.verification import verify
from transferzoo.studies.failures import Failure

IMAGES, CLASSES = 40, 6


def probabilities(rng, count):
    scores = rng.gamma(0.4, size=(count, CLASSES)).astype("float32")
    return scores / scores.sum(axis=1, keepdims=True)


def make_run(folder, *, name="small", seed=0, validation=True, **changes):
    """A run with predictions, saved where a study would put it."""
    rng = np.random.default_rng(seed)
    y_true, y_prob = rng.integers(0, CLASSES, IMAGES), probabilities(rng, IMAGES)
    held_out = (rng.integers(0, CLASSES, 20), probabilities(rng, 20)) if validation else None
    settings = {"seed": seed, "data": {"name": "made", "test": IMAGES, "sha256": "ab", "validation": 20}}
    digest = settings_hash(settings)
    fields = {
        "name": name,
        "metrics": tz.evaluate(y_true, y_prob, validation=held_out),
        "history": {"loss": [1.0, 0.5], "phase": ["all", "all"]},
        "y_true": y_true,
        "y_prob": y_prob,
        "class_names": tuple("abcdef"),
        "settings": settings,
        "costs": {"parameters": 10, "train_seconds": 1.5, "latency_ms": 2.0},
        "environment": {"transferzoo": tz.__version__},
        "index": np.arange(IMAGES) * 2,
        "validation_true": held_out[0] if held_out else None,
        "validation_prob": held_out[1] if held_out else None,
        "provenance": {
            "hashes": {"settings": digest, "identity": identity_hash(settings), "data": "ab"},
            "durations": {"train": 1.5},
        },
    }
    result = Result(**(fields | changes))
    return result.save(folder / f"{name}-{identity_hash(settings)[:10]}")


def write_tables(study, folder):
    """As the command line writes them."""
    (folder / "comparison.csv").write_text(study.to_csv(), "utf-8")
    notes = "\n".join(f"- {line}" for line in study.notes())
    (folder / "comparison.md").write_text(f"{study.to_markdown()}\n\n{notes}\n", "utf-8")


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


@pytest.fixture
def study(tmp_path):
    """A study of two models with two seeds each, with its tables."""
    folder = tmp_path / "study"
    for name in ("small", "large"):
        for seed in (0, 1):
            make_run(folder, name=name, seed=seed)
    write_tables(tz.Study.load(folder), folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study of two real runs of a tiny network, with models, as the command line leaves it."""
    from conftest import make_tiny
    from transferzoo.backbones.catalog import BACKBONES

    folder = tmp_path_factory.mktemp("trained") / "study"
    data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    phase = tz.Phase(name="all", epochs=2, learning_rate=0.01)
    recipe = tz.Recipe(name="quick", description="one short phase", phases=(phase,))
    before = dict(BACKBONES._records)
    tz.register_backbone("tiny", make_tiny, minimum_size=8, default_size=32, feature_channels=16)
    try:
        options = {"recipe": recipe, "weights": None, "seeds": (0, 1), "lint": False, "verbose": False}
        write_tables(tz.compare(["tiny"], data, out=folder, **options), folder)
    finally:
        BACKBONES._records.clear()
        BACKBONES._records.update(before)
    return folder


@pytest.fixture
def trained_run(trained, tmp_path):
    """A copy of one of them, free to be tampered with."""
    source = sorted(trained.glob("tiny-*"))[0]
    return shutil.copytree(source, tmp_path / source.name)


def rewrite(folder, *keys, value):
    """Put a value into run.json."""
    run = json.loads((folder / "run.json").read_text("utf-8"))
    table = run
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    (folder / "run.json").write_text(json.dumps(sealed(run)), "utf-8")


def rewrite_arrays(folder, **changes):
    with np.load(folder / "predictions.npz") as arrays:
        found = dict(arrays)
    found.update(changes)
    np.savez(folder / "predictions.npz", **{key: value for key, value in found.items() if value is not None})


def figures(found):
    return [each.figure for each in found.discrepancies]


class TestOneRun:
    def test_a_run_that_was_left_alone_agrees_in_every_figure(self, run):
        found = verify(run)
        assert found.ok
        assert found.runs == (run.name,)
        assert found.checked >= 15 + 8  # metrics; counts, hashes, index, rows, name

    def test_every_metric_is_recomputed(self, run):
        metrics = json.loads((run / "run.json").read_text("utf-8"))["metrics"]
        assert {"top5_accuracy", "temperature", "calibrated_ece", "ece_equal_mass"} <= set(metrics)
        for key, value in metrics.items():
            rewrite(run, "metrics", key, value=value * 1.01 + 0.001)
            assert figures(verify(run)) == [f"metrics.{key}"]
            rewrite(run, "metrics", key, value=value)

    def test_a_discrepancy_has_both_values(self, run):
        rewrite(run, "metrics", "accuracy", value=0.99)
        (found,) = verify(run).discrepancies
        assert (found.run, found.reported) == (run.name, 0.99)
        assert found.recomputed == Result.load(run).correct.mean()
        assert f"{run.name}: metrics.accuracy: reported 0.99, recomputed 0." in str(verify(run))

    def test_predictions_that_were_changed_are_found(self, run):
        flipped = 1 - Result.load(run).y_prob
        rewrite_arrays(run, y_prob=(flipped / flipped.sum(axis=1, keepdims=True)).astype("float32"))
        assert "metrics.accuracy" in figures(verify(run))

    def test_a_label_that_was_changed_is_found(self, run):
        y_true = Result.load(run).y_true.copy()
        y_true[0] = (y_true[0] + 1) % CLASSES
        rewrite_arrays(run, y_true=y_true)
        assert "metrics.log_loss" in figures(verify(run))

    @pytest.mark.parametrize(
        ("keys", "value", "figure"),
        [
            (("epochs",), 3, "epochs"),
            (("settings", "data", "test"), 41, "settings.data.test"),
            (("settings", "data", "validation"), 21, "settings.data.validation"),
            (("settings", "data", "sha256"), "cd", "provenance.hashes.data"),
            (("settings", "seed"), 7, "provenance.hashes.settings"),
            (("settings", "seed"), 7, "the folder's name"),
            (("provenance", "hashes", "settings"), "00", "provenance.hashes.settings"),
            (("provenance", "hashes", "data"), "00", "provenance.hashes.data"),
            (("costs", "train_seconds"), 1.0, "costs.train_seconds"),
            (("name",), "large", "the folder's name"),
            (("class_names",), ["a", "b"], "class_names"),
            (("metrics",), None, "run.json"),
            (("settings",), [1], "run.json"),
            (("metrics", "accuracy"), None, "metrics.accuracy"),
            (("metrics", "accuracy"), "high", "metrics.accuracy"),
            (("metrics", "top9_accuracy"), 1.0, "metrics.top9_accuracy"),
        ],
    )
    def test_an_entry_that_was_changed_is_named(self, run, keys, value, figure):
        rewrite(run, *keys, value=value)
        assert figure in figures(verify(run))

    @pytest.mark.parametrize(
        ("arrays", "figure"),
        [
            ({"index": np.zeros(IMAGES, int)}, "index"),
            ({"index": np.arange(IMAGES) - 1}, "index"),
            ({"index": np.arange(IMAGES - 1)}, "index"),
            ({"index": np.arange(IMAGES) / 2}, "index"),
            ({"y_true": np.full(IMAGES, CLASSES)}, "y_true"),
            ({"validation_true": np.full(20, -1)}, "validation_true"),
            ({"y_prob": np.full((IMAGES, CLASSES), 0.5, "float32")}, "y_prob"),
            ({"validation_prob": np.full((20, CLASSES), 0.5, "float32")}, "validation_prob"),
            ({"y_prob": np.zeros(IMAGES, "float32")}, "y_prob"),
            ({"validation_true": None, "validation_prob": None}, "metrics.temperature"),
            ({"validation_true": None}, "predictions.npz"),
        ],
    )
    def test_an_array_that_cannot_be_is_named(self, run, arrays, figure):
        rewrite_arrays(run, **arrays)
        assert figure in figures(verify(run))

    @pytest.mark.parametrize("file", ["run.json", "predictions.npz", "history.csv"])
    @pytest.mark.parametrize("how", ["cut", "gone", "nonsense"])
    def test_a_damaged_file_is_named_and_the_others_are_checked(self, run, file, how):
        if how == "gone":
            (run / file).unlink()
        else:
            text = (run / file).read_bytes()
            (run / file).write_bytes(text[: len(text) // 2] if how == "cut" else b"\0\xff nonsense")
        if (file, how) == ("history.csv", "cut"):
            (run / file).write_text("epoch,loss\n1\n")
        found = verify(run)
        assert figures(found) == [file]
        assert found.checked > 0 or file == "run.json"

    def test_a_damaged_file_is_said_in_one_sentence(self, run):
        (run / "history.csv").unlink()
        assert "history.csv: reported a history, recomputed history.csv: it is missing" in str(verify(run))

    def test_a_missing_epoch_is_found(self, run):
        lines = (run / "history.csv").read_text().splitlines()
        (run / "history.csv").write_text("\n".join(lines[:-1]))
        (found,) = verify(run).discrepancies
        assert (found.figure, found.reported, found.recomputed) == ("epochs", 2, 1)

    def test_a_metric_of_ones_own_is_noted_and_no_fault(self, run):
        rewrite(run, "metrics", "kappa", value=0.4)
        found = verify(run)
        assert found.ok
        assert found.notes == (f"{run.name}: metrics.kappa is not one that can be recomputed",)

    def test_a_run_that_diverged_is_noted_and_no_fault(self, tmp_path):
        y_prob = np.full((IMAGES, CLASSES), np.nan)
        run = make_run(tmp_path, y_prob=y_prob, metrics={"accuracy": np.nan})
        found = verify(run)
        assert found.ok
        assert "40 rows hold no numbers" in found.notes[0]

    def test_a_figure_of_a_run_that_diverged_is_a_fault(self, tmp_path):
        y_prob = np.full((IMAGES, CLASSES), np.nan)
        assert figures(verify(make_run(tmp_path, y_prob=y_prob, metrics={"accuracy": 0.9}))) == [
            "metrics.accuracy"
        ]

    def test_a_run_without_validation_predictions_agrees(self, tmp_path):
        assert verify(make_run(tmp_path, validation=False)).ok

    def test_other_numbers_of_guesses_are_recomputed_too(self, tmp_path):
        run = make_run(tmp_path)
        before = Result.load(run)
        top3 = tz.evaluate(before.y_true, before.y_prob, top_k=3)["top3_accuracy"]
        rewrite(run, "metrics", "top3_accuracy", value=top3)
        assert verify(run).ok
        rewrite(run, "metrics", "top3_accuracy", value=top3 + 0.1)
        assert figures(verify(run)) == ["metrics.top3_accuracy"]

    def test_the_first_format_has_less_to_check(self, run):
        rewrite(run, "format", value=1)
        rewrite(run, "provenance", value={})
        rewrite_arrays(run, index=None)
        assert verify(run).ok

    def test_a_folder_of_any_other_name_may_hold_a_run(self, run):
        run = run.rename(run.parent / "mine-0123456789")
        assert verify(run).ok

    def test_escape_sequences_in_a_name_do_not_reach_the_terminal(self, run):
        rewrite(run, "metrics", "\x1b[2Jaccuracy", value=1.0)
        rewrite(run, "name", value="[red]\x1b[31m")
        assert "\x1b" not in str(verify(run))

    def test_it_is_plain_json(self, run):
        rewrite(run, "metrics", "accuracy", value=None)
        found = json.loads(json.dumps(verify(run).to_dict(), allow_nan=False))
        assert (found["ok"], found["runs"]) == (False, [run.name])
        assert found["discrepancies"][0]["figure"] == "metrics.accuracy"


class TestAStudy:
    def test_a_study_that_was_left_alone_agrees(self, study):
        found = verify(study)
        assert found.discrepancies == ()
        assert len(found.runs) == 4
        assert str(found) == f"{found.checked} figures of 4 runs recomputed; all agree"

    def test_a_figure_in_the_table_is_named_with_its_run(self, study):
        lines = (study / "comparison.csv").read_text().splitlines()
        column = lines[0].split(",").index("log_loss")
        cells = lines[3].split(",")
        cells[column] = "0.125"
        (study / "comparison.csv").write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]))
        (found,) = verify(study).discrepancies
        assert (found.figure, found.reported) == ("comparison.csv: log_loss", 0.125)
        settings = json.loads((study / found.run / "run.json").read_text())["settings"]
        assert (found.run[:5], str(settings["seed"])) == (cells[0], cells[1])

    @pytest.mark.medium
    def test_every_column_of_the_table_is_compared(self, study):
        header, first, *rest = (study / "comparison.csv").read_text().splitlines()
        for number, key in enumerate(header.split(",")[2:], 2):
            cells = first.split(",")
            cells[number] = "77"
            (study / "comparison.csv").write_text("\n".join([header, ",".join(cells), *rest]))
            assert figures(verify(study)) == [f"comparison.csv: {key}"]

    def test_a_row_without_a_run_is_named(self, study):
        with (study / "comparison.csv").open("a") as stream:
            stream.write("huge,0,0.9\n")
        (found,) = [each for each in verify(study).discrepancies if each.run == "comparison.csv"]
        assert found.reported == "huge, seed 0"

    def test_a_run_that_the_table_leaves_out_is_noted(self, study):
        made = make_run(study, name="late")
        found = verify(study)
        assert found.ok
        assert found.notes == (f"not in comparison.csv: {made.name}",)

    def test_a_damaged_table_is_named(self, study):
        (study / "comparison.csv").write_text('model,seed\n"small')
        assert figures(verify(study)) == ["comparison.csv"]

    @pytest.mark.parametrize("column", ["accuracy", "95 % interval", "parameters", "training", "runs"])
    def test_a_cell_of_the_markdown_table_is_named(self, study, column):
        lines = (study / "comparison.md").read_text().splitlines()
        cells = lines[2].split("|")
        cells[[cell.strip() for cell in lines[0].split("|")].index(column)] = " 99.9 "
        (study / "comparison.md").write_text("\n".join([*lines[:2], "|".join(cells), *lines[3:]]))
        assert figures(verify(study)) == [f"{cells[1].strip()}, {column}"]

    def test_a_verdict_that_was_changed_is_named(self, study):
        text = (study / "comparison.md").read_text()
        assert " points" in text
        (study / "comparison.md").write_text(re.sub(r"\d+\.\d points", "30.0 points", text))
        (found,) = verify(study).discrepancies
        assert (found.run, found.figure) == ("comparison.md", "a sentence")

    def test_the_sentences_of_another_version_are_not_compared(self, study):
        for run in study.glob("*/"):
            rewrite(run, "environment", "transferzoo", value="0.0.1")
        text = (study / "comparison.md").read_text()
        (study / "comparison.md").write_text(re.sub(r"\d+\.\d points", "some points", text))
        found = verify(study)
        assert found.ok
        assert "another version's" in found.notes[0]

    def test_a_damaged_run_does_not_keep_the_others_from_being_checked(self, study):
        first, second, *_ = sorted(study.glob("*/"))
        (first / "predictions.npz").write_bytes(b"nothing")
        rewrite(second, "epochs", value=9)
        assert {"predictions.npz", "epochs"} <= set(figures(verify(study)))

    def test_a_run_that_lost_its_record_is_named(self, study):
        first = sorted(study.glob("*/"))[0]
        (first / "run.json").unlink()
        assert (first.name, "run.json") in [(each.run, each.figure) for each in verify(study).discrepancies]

    def test_a_run_that_failed_is_noted(self, study):
        failed = study / "large-0123456789"
        Failure.of("large", MemoryError("too large"), {"seed": 2}, failed)
        found = verify(study)
        assert found.ok
        assert found.notes == (f"{failed.name}: a run that failed; see failure.json",)

    def test_studies_within_a_folder_are_found(self, study):
        found = verify(study.parent)
        assert found.ok
        assert found.runs[0].startswith("study/")

    def test_what_is_being_written_is_left_alone(self, study):
        (study / ".part").mkdir()
        (study / ".part" / "run.json").write_text("{")
        assert verify(study).ok

    @pytest.mark.parametrize("name", ["nothing", "empty"])
    def test_a_folder_without_runs_is_an_error(self, tmp_path, name):
        (tmp_path / "empty").mkdir()
        with pytest.raises(RecordError, match="holds no runs"):
            verify(tmp_path / name)


class TestTheModel:
    @pytest.mark.medium
    def test_a_real_study_agrees_in_every_figure(self, trained):
        found = verify(trained, model=True, rerun=True)
        assert found.discrepancies == ()
        assert found.notes == ()
        assert [each.images for each in found.reruns] == [50, 50]
        assert max(each.largest_difference for each in found.reruns) <= 1e-6

    @pytest.mark.medium
    @pytest.mark.parametrize("key", ["parameters", "trainable_parameters", "size_bytes", "macs"])
    def test_a_count_that_was_changed_is_named(self, trained_run, key):
        rewrite(trained_run, "costs", key, value=12)
        assert verify(trained_run).ok
        assert figures(verify(trained_run, model=True)) == [f"costs.{key}"]

    @pytest.mark.medium
    def test_a_file_of_another_size_is_named(self, trained_run):
        rewrite(trained_run, "costs", "file_bytes", value=1_000)
        assert figures(verify(trained_run)) == ["costs.file_bytes"]

    @pytest.mark.medium
    def test_another_model_is_named(self, trained, trained_run):
        other = sorted(trained.glob("tiny-*"))[1]
        shutil.copyfile(other / "model.keras", trained_run / "model.keras")
        found = verify(trained_run, model=True, rerun=True)
        assert figures(found) == ["provenance.hashes.trained_model", "y_prob"]
        assert found.reruns[0].flips > 0
        assert f"{found.reruns[0].flips} flips" in str(found)

    @pytest.mark.medium
    def test_a_damaged_model_is_named(self, trained_run):
        text = (trained_run / "model.keras").read_bytes()
        (trained_run / "model.keras").write_bytes(text[:-100])
        assert figures(verify(trained_run, model=True)) == ["model.keras"]

    @pytest.mark.medium
    def test_a_run_without_its_model_is_noted(self, trained_run):
        (trained_run / "model.keras").unlink()
        found = verify(trained_run, rerun=True)
        assert found.ok
        assert "no model.keras was kept" in found.notes[0]

    @pytest.mark.medium
    def test_a_dataset_that_is_given_is_compared(self, trained_run):
        whole = tz.load_dataset("digits")
        assert verify(trained_run, rerun=True, data=whole.subset(train=100, validation=50, test=50)).ok
        found = verify(trained_run, rerun=True, data=whole.subset(test=50, seed=1))
        assert "settings.data.test_sha256" in figures(found)
        assert found.reruns == ()

    @pytest.mark.medium
    def test_a_dataset_that_cannot_be_loaded_again_is_noted(self, trained_run):
        rewrite(trained_run, "provenance", "call", "data", value="arrays named 'mine'")
        found = verify(trained_run, rerun=True)
        assert found.ok
        assert "not predicted again" in found.notes[0]
        assert "pass data=" in found.notes[0]

    @pytest.mark.medium
    @pytest.mark.parametrize(
        "calls", [[{"load_dataset": {"name": "gone"}}], [{"system": {}}], [3], [{"x": 1}]]
    )
    def test_a_call_that_leads_nowhere_is_noted(self, trained_run, calls):
        rewrite(trained_run, "provenance", "call", "data", value=calls)
        found = verify(trained_run, rerun=True)
        assert found.ok
        assert "cannot be loaded again" in found.notes[0]
