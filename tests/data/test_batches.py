import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferzoo.data.augmentation import LIGHT
from transferzoo.data.batches import Batches

COUNT = 23


def batches(count=COUNT, **options):
    """Features that say which sample they are."""
    x = np.arange(count, dtype="float32")[:, None]
    return Batches(x, np.arange(count) % 3, **{"batch_size": 5, "num_classes": 3, **options})


def epoch(of):
    return [of[index] for index in range(of.num_batches)]


def seen(of):
    return np.concatenate([x[:, 0] for x, *_ in epoch(of)]).tolist()


def test_samples_come_in_their_order_by_default():
    assert seen(batches()) == list(range(COUNT))


def test_a_shuffled_epoch_holds_each_sample_once():
    assert sorted(seen(batches(shuffle=True))) == list(range(COUNT))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 3))
def test_every_epoch_holds_each_sample_once_whatever_the_batch_size(count, batch_size, epochs):
    of = batches(count, batch_size=batch_size, shuffle=True)
    for _ in range(epochs):
        of.on_epoch_end()
    assert sorted(seen(of)) == list(range(count))


def test_a_shuffled_epoch_is_in_another_order_than_the_one_before():
    of = batches(shuffle=True)
    first = seen(of)
    of.on_epoch_end()
    assert seen(of) != first


def test_the_same_seed_gives_the_same_epochs():
    orders = []
    for _ in range(2):
        of = batches(shuffle=True, seed=(4, 1))
        orders.append([])
        for _ in range(3):
            orders[-1].append(seen(of))
            of.on_epoch_end()
    assert orders[0] == orders[1]


@pytest.mark.parametrize("seed", [(5, 1), (4, 2)])
def test_another_seed_gives_another_order(seed):
    assert seen(batches(shuffle=True, seed=seed)) != seen(batches(shuffle=True, seed=(4, 1)))


def test_a_batch_does_not_depend_on_those_asked_for_before():
    of = batches(shuffle=True)
    backwards = [of[index][0] for index in reversed(range(of.num_batches))][::-1]
    assert all(map(np.array_equal, backwards, [x for x, _ in epoch(batches(shuffle=True))]))


def test_the_last_batch_holds_what_is_left():
    assert [len(x) for x, _ in epoch(batches())] == [5, 5, 5, 5, 3]


def test_a_batch_is_never_larger_than_the_data():
    assert [len(x) for x, _ in epoch(batches(count=3, batch_size=64))] == [3]


def test_past_the_end_the_data_begin_again_where_steps_are_given():
    assert seen(batches(steps=6))[20:] == [20, 21, 22, 0, 1, 2, 3, 4, 5, 6]


def test_labels_are_one_hot_and_stay_with_their_samples():
    for x, y in epoch(batches(shuffle=True)):
        assert np.array_equal(y, np.eye(3, dtype="float32")[x[:, 0].astype(int) % 3])


def test_without_labels_a_batch_holds_the_samples_alone():
    (batch,) = Batches(np.zeros((4, 2)), batch_size=4, num_classes=0)[0]
    assert batch.shape == (4, 2)


def images(count=8):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3)).astype("uint8")


def augmented(**options):
    return Batches(
        images(), np.zeros(8, int), batch_size=4, num_classes=2, augmentation=LIGHT, seed=(1,), **options
    )


def test_images_are_augmented_batch_by_batch():
    assert not np.array_equal(augmented()[0][0], images()[:4])


def test_augmentation_is_repeatable():
    assert np.array_equal(augmented()[1][0], augmented()[1][0])


def test_augmentation_is_another_one_each_epoch():
    of = augmented()
    first = of[0][0]
    of.on_epoch_end()
    assert not np.array_equal(of[0][0], first)


def test_the_data_are_not_written_to():
    x = images()
    x.flags.writeable = False
    epoch(Batches(x, np.zeros(8, int), batch_size=4, num_classes=2, shuffle=True, augmentation=LIGHT))
    assert np.array_equal(x, images())
