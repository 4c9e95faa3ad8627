"""Processes that are killed, ended or meet, disks that are full, files that are damaged: nothing is lost."""

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import transferzoo as tz
from conftest import QUICK, tiny_registered
from transferzoo.errors import InvalidInputError, OutputError, OutputExistsError, RecordError
from transferzoo.ground.environment import environment
from transferzoo.ground.storage.files import check_writable, written_beside
from transferzoo.ground.storage.locking import folder_held
from transferzoo.results.folder import sealed
from transferzoo.training.checkpoints import CHECKPOINT, Checkpoints, TrainingState

SAVED = ["history.csv", "model.keras", "predictions.npz", "run.json"]


@pytest.fixture
def fit(tiny, tiny_digits, quick):
    def call(out, model=tiny, data=tiny_digits, **options):
        weights = {"weights": None} if isinstance(model, str) else {}
        given = {"verbose": False, "lint": False, **weights, **options}
        return tz.fit_and_evaluate(model, data, recipe=quick, out=out, **given)

    return call


@pytest.fixture
def saved(saved_run, tmp_path):
    return saved_run(tmp_path / "study" / "run")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# --- killed processes


@pytest.mark.medium
def test_what_a_kill_within_the_first_checkpoint_leaves_does_not_block_the_same_call(fit, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".checkpoint-abc.npz").write_bytes(b"half")
    (out / ".lock").touch()
    (out / ".running.json").write_text("{")
    fit(out)
    assert names(out) == SAVED


@pytest.mark.medium
def test_what_a_kill_while_a_run_is_saved_leaves_goes_with_the_next_call(fit, saved):
    left = saved / ".saving-abc"
    left.mkdir()
    (left / "model.keras").write_bytes(b"half")
    shutil.copy(saved / "run.json", left)
    study = tz.Study.load(saved.parent)
    assert len(study.results) == 1
    fit(saved)
    assert names(saved) == SAVED
    assert names(saved.parent) == ["run"]


def test_a_study_does_not_count_hidden_folders(saved):
    shutil.copytree(saved, saved.parent / ".run-abc")
    assert len(tz.Study.load(saved.parent).results) == 1


def test_old_half_written_files_are_deleted_and_new_ones_left(tmp_path):
    old, new = tmp_path / ".data-old.npz", tmp_path / ".data-new.npz"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    with written_beside(tmp_path / "data.npz") as part:
        part.write_bytes(b"whole")
    assert names(tmp_path) == [".data-new.npz", "data.npz"]


TERMINATED = textwrap.dedent(
    """
    import signal
    import sys
    import transferzoo as tz
    from transferzoo.training import checkpoints
    sys.path.insert(0, {tests!r})
    from conftest import make_tiny

    # tests that were started with nohup ignore it
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    checkpoints.INTERVAL = 0.0
    save = checkpoints.Checkpoints.save

    def save_and_say(self, state):
        save(self, state)
        print("saved", flush=True)

    checkpoints.Checkpoints.save = save_and_say
    tz.register_backbone("tiny", make_tiny, minimum_size=8, default_size=32, feature_channels=16)
    data = tz.load_dataset("digits").subset(train=100, validation=50, test=50, seed=0)
    tz.fit_and_evaluate(
        "tiny", data, recipe="from_scratch",
        weights=None, epochs=200, batch_size=8, out=sys.argv[1], lint=False
    )
    """
)


@pytest.mark.medium
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_saves_and_says_how_to_go_on(tmp_path, number):
    out = tmp_path / "run"
    code = TERMINATED.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert f"is saved in '{out}'; the same call continues from there" in said
    assert "Traceback" not in said
    assert names(out) == [CHECKPOINT]


# --- processes that meet


def held(folder, identity, began, over):
    with folder_held(folder, identity):
        began.set()
        over.wait(60)


@pytest.fixture
def holder():
    """Holds a folder in another thread, which is as good as another process."""
    began, over = threading.Event(), threading.Event()
    threads = []

    def hold(folder, identity):
        thread = threading.Thread(target=held, args=(folder, identity, began, over))
        thread.start()
        threads.append(thread)
        assert began.wait(10)
        return over

    yield hold
    over.set()
    for thread in threads:
        thread.join()


def test_a_folder_in_which_another_run_is_made_is_refused_with_who_makes_it(fit, holder, tmp_path):
    holder(tmp_path / "run", "another run")
    with pytest.raises(OutputExistsError, match=f"in use: process {os.getpid()} on .*another run"):
        fit(tmp_path / "run")


def test_a_process_that_makes_this_very_run_is_waited_for(holder, tmp_path, caplog):
    over = holder(tmp_path / "run", "this run")
    threading.Timer(0.3, over.set).start()
    with folder_held(tmp_path / "run", "this run"):
        assert over.is_set()
    assert "makes this very run; waiting for it" in caplog.text
    assert not (tmp_path / "run").exists()


def test_two_processes_with_other_seeds_do_not_overwrite_each_other(fit, saved):
    first = tz.Result.load(saved)
    with pytest.raises(OutputExistsError, match=r"seed \(0 there, 1 here\)"):
        fit(saved, seed=1)
    assert np.array_equal(tz.Result.load(saved).y_prob, first.y_prob)


# --- disks


@pytest.mark.parametrize("out", ["/proc/run", "/dev/null/run"])
def test_a_folder_that_cannot_be_written_in_is_refused_before_training(fit, out, monkeypatch):
    monkeypatch.setattr("transferzoo.fitting.construct", None)
    with pytest.raises(InvalidInputError, match="out must be a folder that can be written in"):
        fit(out)


def test_looking_whether_a_folder_can_be_written_in_leaves_nothing(tmp_path):
    check_writable("out", tmp_path / "a" / "b")
    assert names(tmp_path) == []


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.medium
def test_a_checkpoint_that_finds_no_room_does_not_end_the_training(fit, tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", no_space)
        assert fit(tmp_path / "run").folder == tmp_path / "run"
    assert "No space left on device" in caplog.text
    assert caplog.text.count("could not be written") == 1
    assert names(tmp_path / "run") == SAVED


@pytest.mark.medium
def test_a_run_that_finds_no_room_goes_on_from_its_checkpoint(fit, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", no_space)
        with pytest.raises(OutputError, match=r"No space left on device\. Free some space, and make"):
            fit(tmp_path / "run")
    assert names(tmp_path / "run") == [CHECKPOINT]
    with monkeypatch.context() as patch:
        # nothing is left to train
        patch.setattr("keras.Model.fit", None)
        fit(tmp_path / "run")
    assert names(tmp_path / "run") == SAVED


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch):
    from transferzoo.features.store import features_folder

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("KERAS_HOME", "TRANSFERZOO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert features_folder().name == "features"


@pytest.mark.medium
def test_no_graph_of_a_training_is_kept(fit):
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow keeps graphs")

    def graphs():
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    before = graphs()
    for seed in range(2):
        fit(None, seed=seed)
    assert graphs() <= before


def test_plain_keras_would_keep_one(tiny, tiny_digits):
    # if this fails, traces_freed has had its day
    import keras
    from tensorflow.python.framework import ops

    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow keeps graphs")
    before = set(ops.gradient_registry.list())
    model = tz.build(tiny, 10, weights=None)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(tiny_digits.x_train, tiny_digits.y_train, verbose=0)
    left = set(ops.gradient_registry.list()) - before
    assert left
    assert all(name.startswith("CustomGradient-") for name in left)


# --- damaged records


@pytest.mark.parametrize("file", ["history.csv", "predictions.npz", "run.json"])
@pytest.mark.parametrize("seed", range(3))
def test_a_changed_byte_is_found(saved, file, seed):
    path = saved / file
    content = bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    place = np.random.default_rng(seed).choice(digits)
    content[place] = ord("1") if content[place] != ord("1") else ord("2")
    path.write_bytes(content)
    with pytest.raises(RecordError, match=file.replace(".", r"\.")):
        tz.Result.load(saved)
    assert not tz.verify(saved).ok


@pytest.mark.medium
def test_a_damaged_model_is_found_when_it_is_read(saved):
    path = saved / "model.keras"
    path.write_bytes(path.read_bytes() + b"\0")
    result = tz.Result.load(saved)
    with pytest.raises(RecordError, match=r"model\.keras: it is not the file that was written"):
        _ = result.model


@pytest.mark.medium
def test_a_damaged_run_says_how_to_make_it_again_and_that_works(fit, saved):
    (saved / "predictions.npz").unlink()
    with pytest.raises(RecordError, match="once it is deleted, the same call makes the run again"):
        fit(saved)
    shutil.rmtree(saved)
    assert names(fit(saved).folder) == SAVED


@pytest.mark.medium
def test_a_damaged_run_does_not_hide_the_others_of_a_study(saved_run, saved, caplog):
    saved_run(saved.parent / "other", seed=1)
    (saved / "predictions.npz").write_bytes(b"")
    study = tz.Study.load(saved.parent)
    assert [result.seed for result in study.results] == [1]
    assert [failure.error for failure in study.failures] == ["RecordError"]
    assert "predictions.npz" in caplog.text


@pytest.mark.parametrize("file", ["run.json", "failure.json"])
def test_json_that_is_nested_without_end_is_no_crash(tmp_path, file):
    folder = tmp_path / "study" / "run"
    folder.mkdir(parents=True)
    (folder / file).write_text("[" * 100_000)
    with pytest.raises(RecordError):
        tz.Result.load(folder)
    with pytest.raises(RecordError):
        tz.Study.load(folder.parent)


@pytest.mark.parametrize(
    "changes",
    [{"metrics": {"accuracy": "x"}}, {"costs": {"parameters": [1]}}, {"settings": 5}, {"provenance": [1]}],
)
def test_values_of_the_wrong_type_are_refused_even_where_the_digest_fits(saved, changes):
    run = json.loads((saved / "run.json").read_text())
    (saved / "run.json").write_text(json.dumps(sealed({**run, **changes})))
    with pytest.raises(RecordError, match=r"run\.json"):
        tz.Result.load(saved)


@pytest.fixture(scope="module")
def first_checkpoint(tiny_digits, tmp_path_factory):
    """The settings and the state of a run's first checkpoint."""

    class Stop(Exception):
        pass

    kept = []

    def keep_and_stop(self, state):
        kept.append((self.settings, dict(vars(state))))
        raise Stop

    with tiny_registered() as tiny, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", keep_and_stop)
        with pytest.raises(Stop):
            tz.fit_and_evaluate(
                tiny,
                tiny_digits,
                recipe=QUICK,
                weights=None,
                epochs=2,
                verbose=False,
                lint=False,
                out=tmp_path_factory.mktemp("checkpoint") / "run",
            )
    return kept[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": "x"},
        {"phase": 99},
        {"epoch": -1},
        {"epoch": 99},
        {"stopped": "no"},
        {"seconds": "long"},
        {"rows": 5},
        {"arrays": {}},
        {"arrays": {"model_0": np.zeros(3)}},
        {"arrays": {"model_1": np.zeros(3)}},
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(fit, first_checkpoint, tmp_path, changes):
    settings, state = first_checkpoint
    (tmp_path / "run").mkdir()
    Checkpoints(tmp_path / "run", settings, environment()).save(TrainingState(**{**state, **changes}))
    with pytest.raises(RecordError, match="Delete it, and the run starts from the beginning"):
        fit(tmp_path / "run", epochs=2)


# --- models and images that cannot be meant


def test_a_model_that_gives_neither_probabilities_nor_logits_is_refused(fit):
    import keras

    for activation in ("sigmoid", "relu"):
        images = keras.Input((32, 32, 3))
        x = keras.layers.GlobalAveragePooling2D()(images)
        model = keras.Model(images, keras.layers.Dense(10, activation=activation)(x))
        with pytest.raises(InvalidInputError, match=f"must end in logits or in a softmax.*'{activation}'"):
            fit(None, model)


def test_a_model_of_several_inputs_or_outputs_is_refused(fit):
    import keras

    one, two = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(one)
    outputs = [keras.layers.Dense(10)(x), keras.layers.Dense(10)(x)]
    y = keras.layers.GlobalAveragePooling2D()(two)
    map_of_them = keras.layers.Conv2D(10, 3)(one)
    for model in (
        keras.Model(one, outputs),
        keras.Model([one, two], keras.layers.Dense(10)(keras.layers.Add()([x, y]))),
        keras.Model(one, map_of_them),
    ):
        with pytest.raises(InvalidInputError, match=r"The model must have one (in|out)put"):
            fit(None, model)


def test_the_same_images_for_training_and_testing_are_refused():
    x = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)
    y = np.arange(20) % 2
    with pytest.raises(InvalidInputError, match="x_test must be other images than x_train"):
        tz.from_arrays(x, y, x.copy(), y)


def test_numpys_numbers_are_numbers(tiny):
    model = tz.build(
        tiny,
        np.int64(4),
        weights=None,
        head=tz.Head(
            tz.heads.Pool(),
            tz.heads.Dense(np.int64(8)),
            tz.heads.Dropout(np.float32(0.25)),
            tz.heads.Classifier(),
        ),
    )
    assert model.output_shape == (None, 4)


def test_photos_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    import psutil
    from PIL import Image

    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for number in range(10):
            Image.new("RGB", (20, 20), (number, 0, 0)).save(tmp_path / kind / f"{number}.png")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000})())
    with pytest.raises(InvalidInputError, match=r"20 of 20×20 pixels.*Pass image_size=9"):
        tz.from_directory(tmp_path)


def test_two_threads_do_not_draw_from_each_others_seeds(tiny):
    alone = tz.build(tiny, 4, weights=None, seed=5).get_weights()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(tz.build(tiny, 4, weights=None, seed=5).get_weights()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for each in found for a, b in zip(alone, each, strict=True))


def test_a_feature_entry_of_nonsense_is_passed_over(tmp_path):
    store = tz.FeatureStore(tmp_path)
    for number, text in enumerate(["[" * 100_000, '{"shape": 5}', "5", '{"key": [], "description": 5}']):
        folder = tmp_path / f"{number:064x}"
        folder.mkdir()
        (folder / "entry.json").write_text(text)
    os.mkfifo(tmp_path / f"{0:064x}" / "features.npy")
    assert store.entries() == []


def test_the_command_line_works_where_only_ascii_can_be_shown(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "transferzoo", "info", "mobilenet"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        cwd=tmp_path,
    )
    assert (done.returncode, b"Error" in done.stderr) == (0, False)


@pytest.mark.medium
def test_an_error_of_a_callback_says_that_it_is_the_callbacks(fit):
    import keras

    class Mine(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        fit(None, callbacks=[Mine()])
    assert caught.value.__notes__ == ["It was raised in on_epoch_end of your callback Mine."]


@pytest.mark.parametrize("changes", [{"url": 5}, {"hash": "abc"}, {"hash": 5}, {"licence": None}])
def test_a_weights_record_checks_itself(changes):
    fields = {"name": "w", "url": "u", "hash": None, "trained_on": "t", "licence": "l", "source": "s"}
    with pytest.raises(InvalidInputError):
        tz.Weights(**{**fields, **changes})


@pytest.mark.parametrize("results", [5, "runs", [5], {1}])
def test_a_study_checks_itself(results):
    with pytest.raises(InvalidInputError):
        tz.Study(results=results)


def failing(*_, **__):
    raise KeyError("what the user wrote")


@pytest.mark.parametrize("kind", ["dataset", "head", "builder"])
def test_a_registered_function_that_fails_is_named(tiny, kind):
    tz.register_dataset("mine", lambda validation, seed: failing())
    tz.register_backbone("broken", failing)
    calls = {
        "dataset": lambda: tz.load_dataset("mine"),
        "head": lambda: tz.build(tiny, 3, weights=None, head=failing),
        "builder": lambda: tz.build("broken", 3, weights=None),
    }
    with pytest.raises(InvalidInputError, match=r"failed.*KeyError.*what the user wrote") as caught:
        calls[kind]()
    assert isinstance(caught.value.__cause__, KeyError)
