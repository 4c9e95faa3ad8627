"""A study that several processes make together: its call on record, `join`, and who makes which run."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import transferzoo as tz
from transferzoo.errors import RecordError
from transferzoo.studies.calls import STUDY

OPTIONS = {"weights": None, "recipe": "linear_probe", "lint": False, "verbose": False, "image_size": 32}

PROBE = tz.Recipe(
    name="own",
    description="two penalties",
    phases=(tz.Phase(name="probe", trainable="none", optimizer="lbfgs", c_values=(0.01, 0.1)),),
)


def digits(**sizes):
    return tz.load_dataset("digits").subset(**{"train": 60, "validation": 40, "test": 40, **sizes})


@pytest.mark.medium
def test_a_study_says_how_it_was_begun_and_is_joined_by_its_folder_alone(tmp_path, monkeypatch):
    models = {"small": "mobilenet_025", "other": {"model": "mobilenet_025", "recipe": PROBE}}
    study = tz.compare(models, digits(), out=tmp_path / "s", seeds=(0, 1), rope=0.02, **OPTIONS)
    call = json.loads((tmp_path / "s" / STUDY).read_text())["call"]
    assert call["seeds"] == [0, 1]
    assert call["options"] == {"weights": None, "image_size": 32}
    monkeypatch.setattr("transferzoo.fitting.train", lambda *args, **kwargs: pytest.fail("trained again"))
    again = tz.studies.join(tmp_path / "s", verbose=False)
    assert [(run.name, run.seed) for run in again.results] == [(run.name, run.seed) for run in study.results]
    assert again.rope == 0.02
    assert len(tz.Study.load(tmp_path / "s")) == 4


@pytest.mark.medium
def test_a_finished_study_is_read_without_writing(tmp_path, monkeypatch):
    tz.compare(["mobilenet_025"], digits(), out=tmp_path / "s", **OPTIONS)
    (tmp_path / "s" / STUDY).unlink()
    monkeypatch.setattr("transferzoo.studies.comparing.keep_call", lambda *_: pytest.fail("it was written"))
    assert len(tz.compare(["mobilenet_025"], digits(), out=tmp_path / "s", **OPTIONS)) == 1
    assert not (tmp_path / "s" / STUDY).exists()


@pytest.mark.medium
def test_a_study_of_arrays_or_built_models_cannot_be_joined(tmp_path):
    data = digits()
    arrays = tz.from_arrays(
        data.x_train, data.y_train, data.x_test, data.y_test, x_validation=data.x_validation,
        y_validation=data.y_validation, flip_safe=False,
    )  # fmt: skip
    tz.compare(["mobilenet_025"], arrays, out=tmp_path / "s", **OPTIONS)
    assert not (tmp_path / "s" / STUDY).exists()
    with pytest.raises(RecordError, match=r"does not say how its study was begun.*same call of compare"):
        tz.studies.join(tmp_path / "s")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"format": 9, "call": {}}', '{"format": 1, "call": {"data": []}}', '{"format": 1}'],
)
def test_a_damaged_call_is_refused_and_named(tmp_path, content):
    (tmp_path / STUDY).write_text(content)
    with pytest.raises(RecordError, match=r"study\.json"):
        tz.studies.join(tmp_path)


@pytest.mark.medium
def test_folds_are_loaded_again_from_their_call(tmp_path):
    fold = list(digits().folds(3))[1]
    study = tz.compare(["mobilenet_025"], fold, out=tmp_path / "s", **OPTIONS)
    assert tz.studies.join(tmp_path / "s", verbose=False).results[0].accuracy == study.results[0].accuracy


@pytest.mark.slow
def test_two_processes_share_the_runs_of_a_study(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        import transferzoo as tz
        data = tz.load_dataset("digits").subset(train=60, validation=40, test=40)
        tz.compare(
            ["mobilenet_025", "mobilenet_v2_035"], data, out=sys.argv[1], seeds=(0, 1), epochs=3,
            weights=None, lint=False, save_model=False,
        )
        """
    )
    out = tmp_path / "s"
    first = subprocess.Popen([sys.executable, "-c", code, out], stderr=subprocess.PIPE, text=True)
    while not (out / STUDY).exists():
        assert first.poll() is None, first.communicate()[1]
    command = [sys.executable, "-m", "transferzoo", "study", "join", out]
    helper = subprocess.run(command, capture_output=True, text=True)
    _, said = first.communicate(timeout=300)
    assert (first.returncode, helper.returncode) == (0, 0), said + helper.stderr
    trained = [line for text in (said, helper.stderr) for line in text.splitlines() if "epochs of" in line]
    assert len(trained) == 4, "each run is trained once"
    assert "epochs of" in helper.stderr
    assert len(tz.Study.load(out)) == 4
    assert not list(Path(out).glob(".*-*"))
