import logging
import math
import threading
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.costs import measure as costs
from transferzoo.costs.measure import (
    PeakMemory,
    costs_in_use,
    count_parameters,
    measure_file_size,
    measure_latency,
    measure_throughput,
)
from transferzoo.errors import InvalidInputError
from transferzoo.heads import Classifier, Dropout, Head, Pool

IMAGES = np.zeros((40, 32, 32, 3), "uint8")
MEGABYTE = 2**20

# conv1, bn1, conv2, bn2 by hand; of a BatchNorm's four vectors two learn
BACKBONE = 27 * 8 + 4 * 8 + 72 * 16 + 4 * 16
LEARNING = 27 * 8 + 2 * 8 + 72 * 16 + 2 * 16
LINEAR = 16 * 3 + 3


def test_parameters_and_bytes_are_those_counted_by_hand(tiny):
    assert count_parameters(tz.build(tiny, 3, weights=None)) == {
        "parameters": BACKBONE + LINEAR,
        "trainable_parameters": LEARNING + LINEAR,
        "size_bytes": 4 * (BACKBONE + LINEAR),
    }


def test_a_frozen_backbones_parameters_do_not_count_as_trainable(tiny):
    model = tz.build(tiny, 3, weights=None, trainable="none")
    assert count_parameters(model)["trainable_parameters"] == LINEAR


def test_the_state_of_dropouts_generator_is_no_parameter(tiny):
    head = Head(Pool(), Dropout(0.5), Classifier())
    plain, dropped = (count_parameters(tz.build(tiny, 3, weights=None, head=h)) for h in ("linear", head))
    assert plain == dropped


def test_half_precision_takes_half_the_bytes():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, dtype="float16")])
    assert count_parameters(model)["size_bytes"] == 2 * 25


def test_the_counts_agree_with_keras(tiny):
    model = tz.build(tiny, 3, weights=None)
    assert count_parameters(model)["parameters"] == model.count_params()


@pytest.fixture
def counting(tiny):
    """A model that notes the batches it predicts."""

    class Counting:
        sizes = []  # noqa: RUF012
        model = tz.build(tiny, 3, weights=None)

        def predict_on_batch(self, batch):
            self.sizes.append(len(batch))
            return self.model.predict_on_batch(batch)

    return Counting()


@pytest.fixture
def ticking(monkeypatch):
    """Return a function that has predictions take the given seconds, one after another."""

    def let(*seconds):
        ends = np.repeat(np.cumsum([0.0, *seconds]), 2)[1:-1]
        clock = iter(ends.tolist())
        monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))

    return let


def test_throughput_is_measured_after_two_warm_up_batches(counting):
    measure_throughput(counting, IMAGES, batch_size=8, repeats=3)
    assert counting.sizes == [8] * 5


def test_latency_is_that_of_one_image_after_two_that_do_not_count(counting):
    measure_latency(counting, IMAGES, repeats=4)
    assert counting.sizes == [1] * 6


def test_few_images_are_repeated_to_fill_a_batch(counting):
    speed = measure_throughput(counting, IMAGES[:3], batch_size=8, repeats=1)
    assert (speed["throughput_batch_size"], set(counting.sizes)) == (8, {8})


def test_latency_is_the_median_in_milliseconds_with_quartiles_and_extremes(counting, ticking):
    ticking(0.010, 0.050, 0.020, 0.040, 0.030)
    assert measure_latency(counting, IMAGES, repeats=5) == pytest.approx(
        {
            "latency_ms": 30,
            "latency_ms_q1": 20,
            "latency_ms_q3": 40,
            "latency_ms_min": 10,
            "latency_ms_max": 50,
        }
    )


def test_throughput_is_the_median_of_images_a_second_with_quartiles_and_extremes(counting, ticking):
    ticking(1.0, 0.5, 0.25)
    assert measure_throughput(counting, IMAGES, batch_size=8, repeats=3) == pytest.approx(
        {
            "images_per_second": 16,
            "images_per_second_q1": 12,
            "images_per_second_q3": 24,
            "images_per_second_min": 8,
            "images_per_second_max": 32,
            "throughput_batch_size": 8,
        }
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    # 5 s are over after 2 predictions, after 6, and never
    [(3.0, 5), (0.9, 6), (0.001, 30)],
)
def test_a_slow_model_is_timed_for_5_seconds_or_5_times(counting, ticking, seconds, expected):
    ticking(*[seconds] * 30)
    measure_latency(counting, IMAGES)
    assert len(counting.sizes) == expected + costs.WARM_UP


@pytest.mark.parametrize("measure", [measure_latency, measure_throughput])
def test_real_times_are_numbers_in_order(tiny, measure):
    found = measure(tz.build(tiny, 3, weights=None), IMAGES, repeats=5)
    key = next(iter(found))
    ordered = [found[key + end] for end in ("_min", "_q1", "", "_q3", "_max")]
    assert ordered == sorted(ordered)
    assert ordered[0] > 0
    assert math.isfinite(ordered[-1])


@pytest.mark.parametrize("measure", [measure_latency, measure_throughput, costs_in_use])
def test_no_images_are_an_error(tiny, measure):
    with pytest.raises(InvalidInputError, match="images must be one image or more"):
        measure(tz.build(tiny, 3, weights=None), IMAGES[:0])


@pytest.mark.parametrize("options", [{"repeats": 0}, {"batch_size": 0}])
def test_a_number_below_1_is_an_error(counting, options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be a whole number of 1 or more"):
        measure_throughput(counting, IMAGES, **options)


def test_the_file_size_is_that_of_a_saved_model(tiny, tmp_path):
    model = tz.build(tiny, 3, weights=None)
    model.save(tmp_path / "model.keras")
    assert measure_file_size(model) == (tmp_path / "model.keras").stat().st_size


def test_a_file_holds_the_weights_and_little_more():
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000)])
    assert 4 * 1_001_000 < measure_file_size(model) < 4.1 * 1_001_000


def test_measuring_leaves_no_file_behind(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(costs.tempfile, "tempdir", str(tmp_path))
    measure_file_size(tz.build(tiny, 3, weights=None))
    assert list(tmp_path.iterdir()) == []


def test_all_costs_come_in_one_dict(tiny):
    found = costs_in_use(tz.build(tiny, 3, weights=None), IMAGES)
    assert set(found) == {
        *("parameters", "trainable_parameters", "size_bytes", "macs", "file_bytes"),
        *(f"latency_ms{end}" for end in ("", "_q1", "_q3", "_min", "_max")),
        *(f"images_per_second{end}" for end in ("", "_q1", "_q3", "_min", "_max")),
        "throughput_batch_size",
    }
    assert all(math.isfinite(value) for value in found.values())
    assert found["macs"] == 27 * 8 * 15 * 15 + 72 * 16 * 7 * 7 + 16 * 3


class Unknown(keras.layers.Layer):
    """Holds a weight that nobody can count, and cannot be saved."""

    def __init__(self, setting):
        super().__init__()
        self.setting = setting

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],))

    def call(self, inputs):
        return inputs * self.factor


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(keras.ops.mean(inputs, (1, 2)))


def test_macs_are_no_number_where_a_layer_is_unknown_and_the_log_names_it(caplog):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Dense(2)(Unknown(object())(images)))
    with caplog.at_level(logging.INFO, logger="transferzoo"):
        found = costs_in_use(model, np.zeros((2, 4, 4, 3), "float32"))
    assert math.isnan(found["macs"])
    assert "multiply-accumulates not counted, for: Unknown" in caplog.text


def test_a_model_that_cannot_be_saved_has_its_other_costs(caplog):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Dense(2)(Unknown(object())(images)))
    with caplog.at_level(logging.INFO, logger="transferzoo"):
        found = costs_in_use(model, np.zeros((2, 4, 4, 3), "float32"))
    assert math.isnan(found["file_bytes"])
    assert "file size not measured" in caplog.text
    assert found["parameters"] == 3 + 8


def test_macs_are_no_number_for_a_model_without_a_graph(caplog):
    model = Subclassed()
    model(np.zeros((1, 4, 4, 3), "float32"))
    with caplog.at_level(logging.INFO, logger="transferzoo"):
        found = costs_in_use(model, np.zeros((2, 4, 4, 3), "float32"))
    assert math.isnan(found["macs"])
    assert "multiply-accumulates not counted: model must be a keras.Model of connected layers" in caplog.text
    assert found["parameters"] == 12


def test_memory_that_a_block_takes_is_seen():
    with PeakMemory() as memory:
        held = np.ones(200 * MEGABYTE, "uint8")
    found = memory.costs()
    assert held.nbytes == 200 * MEGABYTE
    assert 190 * MEGABYTE < found["peak_memory_growth_bytes"] < 300 * MEGABYTE
    assert found["peak_memory_bytes"] == memory.start + found["peak_memory_growth_bytes"]


def test_memory_that_is_freed_before_the_end_was_seen():
    with PeakMemory() as memory:
        held = np.ones(200 * MEGABYTE, "uint8")
        deadline = time.monotonic() + 30
        while memory.peak < memory.start + 190 * MEGABYTE and time.monotonic() < deadline:
            time.sleep(costs.MEMORY_INTERVAL / 5)
        del held
    assert memory.costs()["peak_memory_growth_bytes"] > 190 * MEGABYTE


def watchers():
    return [thread for thread in threading.enumerate() if thread.name == "transferzoo-memory"]


def test_the_watching_ends_with_the_block_even_if_it_fails():
    memory = PeakMemory()
    with pytest.raises(ZeroDivisionError), memory:
        divmod(1, 0)
    assert watchers() == []
    assert memory.peak >= memory.start > 0


def test_one_thread_watches_while_a_block_runs():
    with PeakMemory():
        assert len(watchers()) == 1


def test_a_watch_can_be_used_again():
    memory = PeakMemory()
    with memory:
        pass
    first = memory.start
    held = np.ones(100 * MEGABYTE, "uint8")
    with memory:
        pass
    assert memory.start > first + 90 * MEGABYTE
    assert held.nbytes == 100 * MEGABYTE
