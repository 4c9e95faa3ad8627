"""What plateau and early stopping know outlives a break, and each epoch leaves a row."""

import itertools
import json
import math

import keras
import numpy as np
import pytest

from transferzoo.errors import RecordError
from transferzoo.training.callbacks import (
    EpochRecord,
    KeepBest,
    best_weights,
    model_arrays,
    recall,
    remember,
    restore_model,
    unique_variables,
)

RATE = 0.1
# up, down, a plateau, up again, a plateau that outlasts any patience here
CURVE = [0.2, 0.5, 0.4, 0.5, 0.45, 0.6, 0.6, 0.55, 0.3, 0.2, 0.1]


def small_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(RATE), loss="mse")
    return model


def rate_of(model):
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def watching():
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor="val_accuracy", mode="max", factor=0.5, patience=2, cooldown=1
        ),
        KeepBest(monitor="val_accuracy", mode="max", patience=4, restore_best_weights=True),
    ]


def begin(callbacks, model):
    model.stop_training = False
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()


def go(callbacks, model, epochs):
    """Live through epochs in which the weights say which one it is; return rates and the last epoch."""
    rates = {}
    for epoch in epochs:
        model.set_weights([np.full((2, 1), epoch, "float32"), np.zeros(1, "float32")])
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"val_accuracy": CURVE[epoch]})
        rates[epoch] = rate_of(model)
        if model.stop_training:
            break
    for callback in callbacks:
        callback.on_train_end()
    return rates


@pytest.fixture(scope="module")
def unbroken():
    model, callbacks = small_model(), watching()
    begin(callbacks, model)
    rates = go(callbacks, model, range(len(CURVE)))
    return rates, remember(callbacks), best_weights(callbacks)


def test_the_curve_lowers_the_rate_and_stops_the_training(unbroken):
    # the tests below would say little otherwise
    rates, _, _ = unbroken
    assert len(set(rates.values())) > 2
    assert max(rates) == 9


@pytest.mark.parametrize("broken_at", list(range(1, 9)))
def test_a_broken_training_goes_on_as_if_it_were_whole(unbroken, broken_at):
    model, callbacks = small_model(), watching()
    begin(callbacks, model)
    first = go(callbacks, model, range(broken_at))
    kept = json.loads(json.dumps(remember(callbacks))), best_weights(callbacks)

    later_model, later = small_model(), watching()
    later_model.optimizer.learning_rate = rate_of(model)
    begin(later, later_model)
    recall(later, *kept)
    second = go(later, later_model, range(broken_at, len(CURVE)))

    rates, known, best = unbroken
    assert {**first, **second} == pytest.approx(rates)
    assert remember(later) == known
    assert all(map(np.array_equal, best_weights(later), best))


@pytest.mark.parametrize("kept_apart", [0, 1])
def test_a_callback_that_is_not_reminded_goes_another_way(unbroken, kept_apart):
    # what makes the test above one of `recall`
    model, callbacks = small_model(), watching()
    begin(callbacks, model)
    go(callbacks, model, range(8))
    states = remember(callbacks)
    later_model, later = small_model(), watching()
    later_model.optimizer.learning_rate = rate_of(model)
    begin(later, later_model)
    recall(
        later[1 - kept_apart : 2 - kept_apart],
        states[1 - kept_apart : 2 - kept_apart],
        best_weights(callbacks),
    )
    go(later, later_model, range(8, len(CURVE)))
    assert remember(later) != unbroken[1]


def test_what_is_remembered_is_plain_json():
    callback = KeepBest(monitor="val_accuracy", mode="max")
    callback.best, callback.wait, callback.best_epoch = np.float32(0.5), np.int64(3), None
    (state,) = remember([callback])
    assert state["best"] == 0.5
    assert state["wait"] == 3
    assert state["best_epoch"] is None
    assert json.loads(json.dumps(state)) == state


def test_a_callback_without_such_a_state_is_left_alone():
    plain = keras.callbacks.Callback()
    before = dict(vars(plain))
    assert remember([plain]) == [{}]
    recall([plain], [{}], [])
    assert vars(plain) == before


def test_states_of_other_callbacks_are_refused():
    with pytest.raises(RecordError, match="1 callbacks for"):
        recall(watching(), [{}], [])


# --- the best weights


def test_keep_best_leaves_the_weights_at_the_end():
    model = small_model()
    ours = KeepBest(monitor="val_accuracy", mode="max", patience=4, restore_best_weights=True)
    theirs = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=4, restore_best_weights=True
    )
    for callback, left in ((ours, 9), (theirs, 5)):
        begin([callback], model)
        go([callback], model, range(len(CURVE)))
        assert model.get_weights()[0][0, 0] == left


def test_keep_best_holds_the_weights_of_the_best_epoch(unbroken):
    _, _, (kernel, _) = unbroken
    assert kernel[0, 0] == max(np.flatnonzero(np.equal(CURVE, max(CURVE))))


def test_without_keeping_there_are_no_best_weights():
    callback = KeepBest(monitor="val_accuracy", mode="max", patience=4, restore_best_weights=False)
    model = small_model()
    begin([callback], model)
    go([callback], model, range(len(CURVE)))
    assert best_weights([callback]) == []
    assert best_weights([keras.callbacks.Callback()]) == []


# --- rows


@pytest.fixture
def record():
    rows = [{"loss": 9.0, "phase": "before"}]
    record = EpochRecord("tune", rows)
    record.set_model(small_model())
    return record


def test_each_epoch_adds_a_row_behind_those_that_are_there(record):
    for epoch, loss in enumerate((0.5, 0.25)):
        record.on_epoch_begin(epoch)
        record.on_epoch_end(epoch, {"loss": np.float32(loss), "val_loss": 1})
    assert [row["loss"] for row in record.rows] == [9.0, 0.5, 0.25]
    assert [row["phase"] for row in record.rows] == ["before", "tune", "tune"]
    assert all(type(value) is float for row in record.rows for name, value in row.items() if name != "phase")
    assert list(record.rows[-1]) == ["loss", "val_loss", "learning_rate", "seconds", "phase"]


def test_a_row_holds_the_rate_of_the_optimizer_whatever_the_logs_say(record):
    record.model.optimizer.learning_rate = 0.02
    record.on_epoch_begin(0)
    record.on_epoch_end(0, {"loss": 1.0, "learning_rate": 7.0})
    assert record.rows[-1]["learning_rate"] == pytest.approx(0.02)


def test_a_row_holds_the_rate_that_a_schedule_has_come_to():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    record = EpochRecord("tune", [])
    model = small_model()
    model.compile(optimizer=keras.optimizers.SGD(schedule), loss="mse")
    record.set_model(model)
    model.optimizer.iterations.assign(4)
    record.on_epoch_end(0, {"loss": 1.0})
    assert record.rows[-1]["learning_rate"] == pytest.approx(0.6)


def test_an_epoch_that_was_broken_off_counts_its_earlier_seconds_once(monkeypatch):
    clock = itertools.count(100.0, 2.0)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    record = EpochRecord("tune", [], earlier_seconds=50.0)
    record.set_model(small_model())
    seconds = []
    for epoch in range(2):
        record.on_epoch_begin(epoch)
        record.on_epoch_end(epoch, {"loss": 1.0})
        seconds.append(record.rows[-1]["seconds"])
    assert seconds[0] >= 52
    assert seconds[1] < 10
    assert all(math.isfinite(value) for value in seconds)


def test_an_epoch_without_figures_leaves_a_row_too(record):
    record.on_epoch_begin(0)
    record.on_epoch_end(0)
    assert set(record.rows[-1]) == {"learning_rate", "seconds", "phase"}


# --- a model's variables


def dropping():
    parts = [
        keras.Input((2,)),
        keras.layers.Dropout(0.5),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(1),
    ]
    return keras.Sequential(parts)


def test_variables_are_random_states_too_and_each_is_there_once():
    model = dropping()
    found = unique_variables(model, model)
    assert len({id(variable) for variable in found}) == len(found) == len(model.variables)
    assert any("seed" in variable.path for variable in found)
    assert len(found) > len(model.weights)


def test_metrics_and_the_optimizer_are_left_out():
    model = dropping()
    count = len(unique_variables(model))
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    model.train_on_batch(np.zeros((2, 2)), np.zeros((2, 1)))
    assert len(unique_variables(model)) == count


def test_a_model_is_restored_to_the_last_bit():
    model, other = dropping(), dropping()
    model.compile(optimizer="adam", loss="mse")
    model.train_on_batch(np.ones((2, 2)), np.zeros((2, 1)))
    restore_model(other, model_arrays(model))
    assert all(map(np.array_equal, model_arrays(model).values(), model_arrays(other).values()))


def test_of_epochs_that_are_equally_good_the_last_is_kept():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    best = KeepBest(monitor="val_accuracy", mode="max", patience=3, restore_best_weights=True)
    best.set_model(model)
    best.on_train_begin()
    for epoch, accuracy in enumerate((0.5, 0.7, 0.7, 0.6)):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy})
    assert (best.best_epoch, best.best_weights[0].item()) == (2, 2)
    # a tie is no progress
    assert best.wait == 2
