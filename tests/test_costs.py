import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.costs import count_parameters, measure_throughput
from transferzoo.heads import Classifier, Dropout, Head, Pool

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


def test_throughput_is_the_median_between_its_extremes(tiny):
    images = np.zeros((40, 32, 32, 3), "uint8")
    speed = measure_throughput(tz.build(tiny, 3, weights=None), images, repeats=5)
    assert 0 < speed["images_per_second_min"] <= speed["images_per_second"] <= speed["images_per_second_max"]


def test_throughput_is_measured_after_two_warm_up_batches(counting):
    measure_throughput(counting, np.zeros((40, 32, 32, 3), "uint8"), batch_size=8, repeats=3)
    assert counting.sizes == [8] * 5


def test_few_images_are_repeated_to_fill_a_batch(counting):
    speed = measure_throughput(counting, np.zeros((3, 32, 32, 3), "uint8"), batch_size=8, repeats=1)
    assert (speed["throughput_batch_size"], set(counting.sizes)) == (8, {8})
