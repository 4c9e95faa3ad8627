"""Runs that are killed, interrupted and gone on with: the same weights, bit for bit."""

import hashlib
import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import OutputExistsError, RecordError
from transferzoo.training.checkpoints import CHECKPOINT, Checkpoints, TrainingState, read_unfinished

# a real run: a head solved on cached features, then dropout, augmentation, mixup, AdamW with a rate for each
# layer, a plateau, early stopping, and batches that do not divide the images evenly
RUN = textwrap.dedent(
    """
    import os, signal, sys
    import numpy as np
    import transferzoo as tz
    from transferzoo.training import checkpoints
    sys.path.insert(0, {tests!r})
    from conftest import make_tiny

    out, how, point = sys.argv[1], sys.argv[2], int(sys.argv[3])
    checkpoints.INTERVAL = 0.0
    saves = 0
    save, savez = checkpoints.Checkpoints.save, np.savez

    def save_and_die(self, state):
        global saves
        save(self, state)
        saves += 1
        print("saved", flush=True)
        if how == "after" and saves == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_half_and_die(stream, **arrays):
        if how == "during" and saves == point:
            stream.write(b"PK half a file")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        savez(stream, **arrays)

    checkpoints.Checkpoints.save, np.savez = save_and_die, write_half_and_die
    tz.register_backbone("tiny", make_tiny, minimum_size=8, default_size=32, feature_channels=16)
    data = tz.load_dataset("digits").subset(train=100, validation=50, test=50, seed=0)
    recipe = tz.Recipe(
        name="all_of_it",
        description="whatever has a state",
        keep="best",
        patience=2,
        phases=(
            tz.Phase(
                name="head", trainable="none", epochs=2, learning_rate=0.01, optimizer="adamw", batch_size=32
            ),
            tz.Phase(
                name="tune", epochs=3, learning_rate=0.003, optimizer="adamw", weight_decay=0.05,
                batch_size=32, layer_decay=0.8, batch_norm="train", label_smoothing=0.1,
                plateau=tz.Plateau(factor=0.5, patience=1),
                augmentation=tz.Augmentation(horizontal_flip=True, shift=2, rotation=5, mixup=0.2),
            ),
        ),
    )
    head = tz.Head(
        tz.heads.Pool(), tz.heads.Dropout(0.3), tz.heads.Dense(16), tz.heads.Dropout(0.3),
        tz.heads.Classifier(),
    )
    tz.fit_and_evaluate("tiny", data, recipe=recipe, weights=None, head=head, out=out, cache=False)
    """
)


def run(folder, how="never", point=0, **options):
    code = RUN.format(tests=str(Path(__file__).parent))
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), how, str(point)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def weights(folder):
    import keras

    model = keras.models.load_model(folder / "model.keras")
    return hashlib.sha256(b"".join(value.tobytes() for value in model.get_weights())).hexdigest()


def history(folder):
    lines = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    seconds = lines[0].index("seconds")
    return [line[:seconds] + line[seconds + 1 :] for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.count("saved")


@pytest.mark.medium
def test_an_uninterrupted_run_leaves_no_checkpoint(whole):
    folder, saves = whole
    assert saves > 15
    assert {file.name for file in folder.iterdir()} == {
        "run.json",
        "history.csv",
        "predictions.npz",
        "model.keras",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "point"),
    [("after", 1), ("after", 4), ("during", 5), ("after", 8), ("after", 11), ("during", 14), ("after", -1)],
)
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(whole, tmp_path, how, point):
    expected, saves = whole
    folder = tmp_path / "run"
    killed = run(folder, how, point if point > 0 else saves)
    assert killed.returncode == -signal.SIGKILL
    assert (folder / CHECKPOINT).is_file()
    assert not (folder / "run.json").exists()
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert weights(folder) == weights(expected)
    assert history(folder) == history(expected)
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in expected.iterdir())


@pytest.mark.slow
def test_a_run_may_be_killed_again_and_again(whole, tmp_path):
    expected, _ = whole
    folder = tmp_path / "run"
    kills = 0
    while (done := run(folder, "after", 3)).returncode:
        assert done.returncode == -signal.SIGKILL
        kills += 1
        assert kills < 20
    assert kills > 3
    assert weights(folder) == weights(expected)


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(whole, tmp_path):
    expected, _ = whole
    folder = tmp_path / "run"
    code = RUN.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), "never", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(6):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert f"is saved in '{folder}'; the same call continues from there" in said
    assert run(folder).returncode == 0
    assert weights(folder) == weights(expected)


@pytest.mark.medium
def test_a_finished_run_is_not_run_again(whole):
    folder, _ = whole
    before = (folder / "run.json").stat().st_mtime_ns
    done = run(folder)
    assert (done.returncode, done.stdout.count("saved")) == (0, 0)
    assert (folder / "run.json").stat().st_mtime_ns == before


class _Stop(Exception):
    pass


@pytest.fixture
def unfinished(tmp_path, tiny, tiny_digits, quick, monkeypatch):
    folder = tmp_path / "run"
    save = Checkpoints.save

    def save_and_stop(self, state):
        save(self, state)
        raise _Stop

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)
    with pytest.raises(_Stop):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, weights=None, out=folder)
    monkeypatch.setattr(Checkpoints, "save", save)
    return folder


@pytest.mark.medium
def test_a_changed_setting_in_an_unfinished_folder_is_refused_by_name(unfinished, tiny, tiny_digits, quick):
    before = (unfinished / CHECKPOINT).read_bytes()
    with pytest.raises(
        OutputExistsError,
        match=r"unfinished run.*recipe\.phases\[0\]\.learning_rate \(0\.01 there, 0\.02 here\)",
    ):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, weights=None, out=unfinished, learning_rate=0.02)
    assert (unfinished / CHECKPOINT).read_bytes() == before


@pytest.mark.medium
def test_an_unfinished_run_is_gone_on_with(unfinished, tiny, tiny_digits, quick):
    assert read_unfinished(unfinished)["seed"] == 0
    result = tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, weights=None, out=unfinished)
    assert result.epochs == 1
    assert not (unfinished / CHECKPOINT).exists()


@pytest.mark.medium
def test_a_damaged_checkpoint_says_what_to_do(unfinished, tiny, tiny_digits, quick):
    path = unfinished / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecordError, match=r"checkpoint\.npz' cannot be read.*Delete it, and the run starts"):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, weights=None, out=unfinished)


def test_a_checkpoint_holds_no_pickle(tmp_path, tiny, tiny_digits, quick):
    np.savez(tmp_path / CHECKPOINT, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RecordError, match="allow_pickle=False"):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, weights=None, out=tmp_path)


def test_a_state_comes_back_as_it_was(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", {"seed": 1})
    state = TrainingState(
        phase=1,
        epoch=2,
        batch=3,
        stopped=True,
        seconds=1.25,
        rows=[{"loss": 0.1, "phase": "a"}],
        callbacks=[{"best": 0.1 + 0.2, "wait": 1}],
        arrays={"model_0": np.float32([[1.5, 2.5]]), "model_1": np.uint32([7, 8])},
    )
    checkpoints.save(state)
    back = checkpoints.load()
    assert json.dumps({k: v for k, v in vars(back).items() if k != "arrays"}) == json.dumps(
        {k: v for k, v in vars(state).items() if k != "arrays"}
    )
    assert {name: (value.dtype, value.tolist()) for name, value in back.arrays.items()} == {
        name: (value.dtype, value.tolist()) for name, value in state.arrays.items()
    }


def test_a_killed_process_leaves_nothing_behind_after_the_next(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(TrainingState())
    (tmp_path / ".checkpoint-abc.npz").write_bytes(b"half")
    checkpoints.sweep()
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_it_is_time_to_save_once_a_minute_has_passed(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, {})
    assert not checkpoints.due()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert checkpoints.due()


@pytest.mark.medium
def test_a_run_killed_after_its_last_phase_still_knows_what_it_returned(
    tiny, tiny_weights, tiny_digits, tmp_path, monkeypatch
):
    from transferzoo.results.result import Result

    given = {"weights": tiny_weights, "image_size": "input", "epochs": 1, "verbose": False, "lint": False}

    def run():
        return tz.fit_and_evaluate(tiny, tiny_digits, learning_rate=0.5, out=tmp_path / "run", **given)

    with monkeypatch.context() as patch:
        patch.setattr(Result, "write_into", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    assert run().provenance["returned"] == "phase 'probe'"
