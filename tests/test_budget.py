"""Minutes in place of epochs: what is chosen, and that it can be repeated without the clock."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.data.batches import Batches
from transferzoo.errors import InvalidInputError, UnknownOptionError
from transferzoo.training import loop
from transferzoo.training.budget import Budget, Pace, choose_epochs, time_phase

PACE = Pace(step=0.1, trace=3.0, image=0.001, predict_trace=0.5)
SIZES = {"full": 700, "validation": 5000, "evaluated": 15_000, "most": 40}


def needed(chosen, pace=PACE, full=700, validation=5000, evaluated=15_000):
    """Return the seconds that a choice takes by the pace, training and what follows it."""
    steps = chosen["steps_per_epoch"] or full
    training = pace.trace + chosen["epochs"] * (steps * pace.step + validation * pace.image)
    return training + pace.predict_trace + (evaluated + validation) * pace.image


# --- the choice


@pytest.mark.parametrize("left", [40, 60, 75, 100, 101, 130, 200, 333, 600, 1000, 1800, 2900])
def test_what_is_chosen_fills_the_time_and_does_not_exceed_it(left):
    chosen = choose_epochs(left, PACE, **SIZES, may_skip=True)
    assert 0.82 * left <= needed(chosen) <= left


def test_epochs_are_whole_where_that_wastes_little():
    assert choose_epochs(1640, PACE, **SIZES, may_skip=True)["steps_per_epoch"] is None


def test_no_more_epochs_are_chosen_than_help():
    assert choose_epochs(1e6, PACE, **SIZES, may_skip=True) == {"epochs": 40, "steps_per_epoch": None}


@pytest.mark.parametrize("left", [-50, 0, 10, 28])
def test_a_phase_that_may_be_left_out_is_where_there_is_no_time(left):
    assert choose_epochs(left, PACE, **SIZES, may_skip=True)["epochs"] == 0


@pytest.mark.parametrize("left", [-50, 0, 10, 28])
def test_a_model_that_nothing_trained_is_trained_a_little(left):
    assert choose_epochs(left, PACE, **SIZES, may_skip=False) == {"epochs": 1, "steps_per_epoch": 10}


def test_a_single_batch_an_epoch_is_no_reason_to_leave_a_phase_out():
    chosen = choose_epochs(60, PACE, full=1, validation=10, evaluated=20, most=40, may_skip=True)
    assert chosen == {"epochs": 40, "steps_per_epoch": None}


@pytest.mark.parametrize("left", [29.4 + i / 50 for i in range(60)])
@pytest.mark.parametrize("full", [1, 3, 700])
def test_epochs_whose_validation_outlasts_their_steps_stay_whole(left, full):
    pace = Pace(step=0.01, trace=3.0, image=0.001, predict_trace=0.5)
    chosen = choose_epochs(left, pace, full=full, validation=500, evaluated=15_000, most=40, may_skip=False)
    assert chosen["epochs"] >= 1
    assert chosen["steps_per_epoch"] is None or 1 <= chosen["steps_per_epoch"] < full


def test_the_time_of_earlier_sittings_counts():
    budget = Budget(seconds=60, began=time.perf_counter(), evaluated=10)
    assert budget.left(45.0) == pytest.approx(15, abs=1)


@pytest.mark.medium
def test_timing_leaves_weights_statistics_and_random_states_as_they_were():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("float32")
    batches = Batches(images, np.arange(40) % 2, batch_size=8, num_classes=2)
    before = [keras.ops.convert_to_numpy(each).copy() for each in model.variables]
    kept = [each.path for each in model.variables]
    pace = time_phase(model, model, batches, images, seconds=0.1)
    after = {each.path: keras.ops.convert_to_numpy(each) for each in model.variables}
    for path, value in zip(kept, before, strict=True):
        if "optimizer" not in path and "loss" not in path:
            np.testing.assert_array_equal(after[path], value, err_msg=path)
    assert pace.step > 0
    assert pace.image > 0


# --- bad calls


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "ten"])
def test_minutes_must_be_a_number_above_nothing(tiny, tiny_digits, quick, minutes):
    with pytest.raises(InvalidInputError, match="minutes must be a number above 0"):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, weights=None, minutes=minutes)


@pytest.mark.parametrize("option", ["epochs", "steps_per_epoch"])
def test_minutes_and_epochs_are_not_both_given(tiny, tiny_digits, option):
    with pytest.raises(InvalidInputError, match=f"minutes=2 chooses .* {option}=3 was given too"):
        tz.fit_and_evaluate(tiny, tiny_digits, weights=None, minutes=2, **{option: 3})


def test_a_head_that_is_solved_in_one_go_has_no_use_for_minutes(tiny, tiny_digits, tiny_weights):
    with pytest.raises(UnknownOptionError, match="solves its head in one go here, so 'minutes' cannot"):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe="linear_probe", weights=tiny_weights, minutes=2)


# --- steps_per_epoch


def test_epochs_of_fewer_steps_see_other_images_each(tiny_digits):
    batches = Batches(
        np.arange(100), np.zeros(100, int), batch_size=10, num_classes=1, shuffle=True, steps=3, seed=(0,)
    )
    seen = []
    for epoch in range(4):
        batches.epoch = epoch
        seen.append(np.concatenate([batches[i][0] for i in range(batches.num_batches)]))
    assert [len(set(each.tolist())) for each in seen] == [30] * 4
    assert len(set(np.concatenate(seen).tolist())) > 60


@pytest.mark.medium
def test_more_steps_than_there_are_images_are_cut_to_one_look_at_each(tiny, tiny_digits):
    runs = [
        tz.fit_and_evaluate(tiny, tiny_digits, weights=None, epochs=1, lint=False, **options)
        for options in ({}, {"steps_per_epoch": 1000})
    ]
    np.testing.assert_array_equal(runs[0].y_prob, runs[1].y_prob)


@pytest.mark.medium
def test_fewer_steps_end_at_the_end_of_the_schedule(tiny, tiny_digits):
    result = tz.fit_and_evaluate(tiny, tiny_digits, weights=None, epochs=2, steps_per_epoch=2, lint=False)
    assert result.history["learning_rate"][-1] == pytest.approx(0, abs=1e-9)
    assert len(result.history["loss"]) == 2


# --- runs


@pytest.fixture
def steady(monkeypatch):
    """A machine whose pace is known: steps are taken for the timing, and what they took is not looked at."""
    time_really = loop.time_phase

    def timed(*given):
        time_really(*given)
        return Pace(step=0.2, trace=1.0, image=1e-4, predict_trace=0.1)

    monkeypatch.setattr(loop, "time_phase", timed)
    monkeypatch.setattr(Budget, "left", lambda self, earlier=0.0: 5.0)


@pytest.mark.medium
@pytest.mark.usefixtures("steady")
def test_a_run_is_repeated_without_the_clock(tiny, tiny_digits, tiny_weights):
    first = tz.fit_and_evaluate(tiny, tiny_digits, weights=tiny_weights, minutes=0.08, lint=False)
    chosen = first.provenance["chosen"]
    assert chosen["epochs"] >= 1
    assert f"minutes=0.08: epochs={chosen['epochs']}" in str(first)
    again = tz.fit_and_evaluate(
        tiny,
        tiny_digits,
        weights=tiny_weights,
        epochs=chosen["epochs"],
        steps_per_epoch=chosen["steps_per_epoch"],
        lint=False,
    )
    np.testing.assert_array_equal(first.y_prob, again.y_prob)
    for ours, theirs in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.medium
@pytest.mark.usefixtures("steady")
def test_a_head_on_cached_features_is_given_its_minutes_too(tiny, tiny_digits, tiny_weights):
    first = tz.fit_and_evaluate(
        tiny, tiny_digits, recipe="head", weights=tiny_weights, minutes=0.05, lint=False
    )
    chosen = first.provenance["chosen"]
    again = tz.fit_and_evaluate(
        tiny,
        tiny_digits,
        recipe="head",
        weights=tiny_weights,
        epochs=chosen["epochs"],
        steps_per_epoch=chosen["steps_per_epoch"],
        lint=False,
    )
    np.testing.assert_array_equal(first.y_prob, again.y_prob)


@pytest.mark.medium
def test_the_head_is_returned_where_there_is_time_for_no_more(tiny, tiny_digits, tiny_weights, caplog):
    result = tz.fit_and_evaluate(tiny, tiny_digits, weights=tiny_weights, minutes=1e-4, lint=False)
    assert result.provenance["returned"] == "phase 'probe'"
    assert result.provenance["chosen"]["epochs"] == 0
    assert set(result.history["phase"]) == {"probe"}
    assert "leave no time for phase 'fine_tune'" in caplog.text
    probe = tz.fit_and_evaluate(tiny, tiny_digits, weights=tiny_weights, trainable="none", lint=False)
    np.testing.assert_allclose(result.y_prob, probe.y_prob, atol=1e-6)


@pytest.mark.medium
def test_minutes_are_part_of_what_a_run_is(tiny, tiny_digits, tmp_path):
    given = {"weights": None, "out": tmp_path / "run", "lint": False}
    first = tz.fit_and_evaluate(tiny, tiny_digits, minutes=1e-4, **given)
    assert first.settings["minutes"] == 1e-4
    loaded = tz.fit_and_evaluate(tiny, tiny_digits, minutes=1e-4, **given)
    assert loaded.provenance["started"] == first.provenance["started"]
    with pytest.raises(tz.errors.OutputExistsError, match="minutes"):
        tz.fit_and_evaluate(tiny, tiny_digits, minutes=1, **given)


@pytest.mark.slow
def test_a_study_says_how_long_each_run_was_given(tiny, tiny_digits):
    study = tz.compare(
        {"a": tiny, "b": {"model": tiny, "head": "mlp"}}, tiny_digits, weights=None, minutes=1e-4, lint=False
    )
    assert "0.0001 minutes a run" in study.caption()
    assert all(run.provenance["chosen"]["epochs"] == 1 for run in study.results)


@pytest.mark.slow
def test_models_of_a_study_may_be_given_other_minutes_and_it_says_so(tiny, tiny_digits):
    study = tz.compare(
        {"a": tiny, "b": {"model": tiny, "minutes": 2e-4}}, tiny_digits, weights=None, minutes=1e-4
    )
    assert "minutes (a 0.0001, b 0.0002)" in str(study)
    assert "0.0001 or 0.0002 minutes a run" in study.caption()


RUN = textwrap.dedent(
    """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from conftest import make_tiny
    import transferzoo as tz
    from transferzoo.training import checkpoints

    out, point, options = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
    checkpoints.INTERVAL = 0.0
    saves = 0
    save = checkpoints.Checkpoints.save

    def save_and_die(self, state):
        global saves
        save(self, state)
        saves += 1
        if saves == point:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.Checkpoints.save = save_and_die
    tz.register_backbone("tiny", make_tiny, minimum_size=8, default_size=32, feature_channels=16)
    data = tz.load_dataset("digits").subset(train=100, validation=50, test=50, seed=0)
    weights = out + ".weights.h5"
    if not os.path.exists(weights):
        tz.build("tiny", 10, weights=None, seed=1).get_layer("backbone").save_weights(weights)
    options |= {{"cache": False, "batch_size": 16, "lint": False}}
    tz.fit_and_evaluate("tiny", data, weights=weights, out=out, **options)
    """
)


def run(folder, point=0, **options):
    code = RUN.format(tests=str(Path(__file__).parent))
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), str(point), repr(options)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def weights(folder):
    return [each.tobytes() for each in keras.models.load_model(folder / "model.keras").get_weights()]


@pytest.mark.slow
@pytest.mark.parametrize("point", [9])
def test_a_killed_run_goes_on_with_what_was_chosen_to_the_same_weights(tmp_path, point):
    folder = tmp_path / "run"
    killed = run(folder, point, minutes=0.3)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(folder, minutes=0.3)
    assert resumed.returncode == 0, resumed.stderr
    chosen = json.loads((folder / "run.json").read_text())["provenance"]["chosen"]
    # the clock is out of it: the choice alone gives the same weights in one sitting
    options = {key: chosen[key] for key in ("epochs", "steps_per_epoch")}
    (tmp_path / "again.weights.h5").write_bytes((tmp_path / "run.weights.h5").read_bytes())
    once = run(tmp_path / "again", **options)
    assert once.returncode == 0, once.stderr
    assert weights(folder) == weights(tmp_path / "again")
