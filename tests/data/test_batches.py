from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferzoo.data.augmentation import LIGHT, STRONG, Augmentation
from transferzoo.data.batches import Batches
from transferzoo.errors import InvalidInputError

COUNT = 23


def batches(count=COUNT, **options):
    """Features that say which sample they are."""
    x = np.arange(count, dtype="float32")[:, None]
    return Batches(x, np.arange(count) % 3, **{"batch_size": 5, "num_classes": 3, **options})


def epoch(of):
    return [of[index] for index in range(of.num_batches)]


def go_through(of):
    """Use an epoch up, as Keras does."""
    of.on_epoch_begin()
    batches = epoch(of)
    of.on_epoch_end()
    return batches


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
        go_through(of)
    assert of.epoch == epochs
    assert sorted(seen(of)) == list(range(count))


def test_a_shuffled_epoch_is_in_another_order_than_the_one_before():
    of = batches(shuffle=True)
    first = seen(of)
    go_through(of)
    assert seen(of) != first


def test_the_same_seed_gives_the_same_epochs():
    orders = []
    for _ in range(2):
        of = batches(shuffle=True, seed=(4, 1))
        orders.append([])
        for _ in range(3):
            orders[-1].append(seen(of))
            go_through(of)
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
    go_through(of)
    assert not np.array_equal(of[0][0], first)


def test_the_data_are_not_written_to():
    x = images()
    x.flags.writeable = False
    epoch(Batches(x, np.zeros(8, int), batch_size=4, num_classes=2, shuffle=True, augmentation=LIGHT))
    assert np.array_equal(x, images())


MIXED = Augmentation(horizontal_flip=True, shift=2, mixup=0.4, cutmix=1.0)


def by_sample(of):
    """Sample -> image and label as they come in this epoch."""
    order = of.order()[of.skipped * of.batch_size :]
    together = [np.concatenate(part) for part in zip(*epoch(of), strict=True)]
    return dict(zip(order.tolist(), zip(*together, strict=True), strict=True))


def pictures(batch_size=5, augmentation=STRONG, **options):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (COUNT, 16, 16, 3)).astype("uint8"), np.arange(COUNT) % 3
    options = {"shuffle": True, "seed": (3,), **options}
    return Batches(x, y, batch_size=batch_size, num_classes=3, augmentation=augmentation, **options)


def same(some, others):
    return all(
        np.array_equal(a, b) for key in some for a, b in zip(some[key], others[key], strict=True)
    ) and set(some) <= set(others)


@pytest.mark.parametrize("augmentation", [LIGHT, STRONG, MIXED])
def test_a_sample_changes_alike_whatever_the_batch_size(augmentation):
    assert same(by_sample(pictures(5, augmentation)), by_sample(pictures(8, augmentation)))


@pytest.mark.parametrize("augmentation", [LIGHT, MIXED])
def test_a_sample_changes_alike_whatever_the_order(augmentation):
    assert same(by_sample(pictures(5, augmentation)), by_sample(pictures(5, augmentation, shuffle=False)))


@pytest.mark.parametrize("augmentation", [STRONG, MIXED])
def test_an_epoch_begun_in_its_middle_goes_on_as_it_would_have(augmentation):
    whole = pictures(5, augmentation)
    for _ in range(3):
        go_through(whole)
    rest = pictures(5, augmentation, first_epoch=3, first_batch=2)
    assert rest.num_batches == 3
    for ours, theirs in zip(epoch(rest), epoch(whole)[2:], strict=True):
        assert all(map(np.array_equal, ours, theirs))
    go_through(rest)
    go_through(whole)
    assert rest.num_batches == 5
    assert same(by_sample(rest), by_sample(whole))


@pytest.mark.parametrize("first_batch", [5, -1])
def test_an_epoch_cannot_begin_past_its_end(first_batch):
    with pytest.raises(InvalidInputError, match="first_batch must be"):
        pictures(first_batch=first_batch)


def handed_out(of, epochs):
    """Epoch and number of each batch that Keras asks for as it trains."""
    import keras

    asked = []

    class Recording(Batches):
        def __getitem__(self, index):
            asked.append((self.epoch, index + self.skipped))
            return super().__getitem__(index)

    of.__class__ = Recording
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(of, epochs=epochs, shuffle=False, verbose=0)
    return set(asked)


def test_keras_trains_on_every_epoch_from_the_first():
    of = pictures()
    assert handed_out(of, epochs=3) == {(number, position) for number in range(3) for position in range(5)}
    assert of.epoch == 3


def test_keras_goes_on_in_the_middle_of_an_epoch():
    of = pictures(first_epoch=2, first_batch=3)
    assert handed_out(of, epochs=1) == {(2, 3), (2, 4)}
    assert of.epoch == 3


@pytest.mark.parametrize("augmentation", [STRONG, MIXED])
def test_threads_that_ask_at_once_get_the_same_batches(augmentation):
    alone, shared = pictures(2, augmentation), pictures(2, augmentation)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(shared.__getitem__, range(shared.num_batches)))
    for ours, theirs in zip(together, epoch(alone), strict=True):
        assert all(map(np.array_equal, ours, theirs))


def test_an_epoch_that_was_only_looked_at_is_not_over():
    of = pictures()
    of.on_epoch_end()
    of.on_epoch_begin()
    of[0]
    of.on_epoch_end()
    assert of.epoch == 0


def test_mixed_labels_are_shares_of_two_classes():
    for _, label in by_sample(pictures(augmentation=MIXED)).values():
        assert label.sum() == pytest.approx(1)
        assert np.count_nonzero(label) <= 2
    labels = np.array([label for _, label in by_sample(pictures(augmentation=MIXED)).values()])
    assert (labels.max(axis=1) < 0.99).sum() > 5


def test_without_labels_nothing_is_mixed():
    x = images()
    (plain,) = Batches(x, batch_size=8, num_classes=0, augmentation=Augmentation(mixup=1.0))[0]
    assert np.array_equal(plain, x)


def test_images_may_lie_in_a_file(tmp_path):
    x = images()
    on_disk = np.memmap(tmp_path / "images", "uint8", "w+", shape=x.shape)
    on_disk[:] = x
    options = {"batch_size": 4, "num_classes": 2, "augmentation": LIGHT, "shuffle": True}
    for ours, theirs in zip(
        epoch(Batches(on_disk, np.zeros(8, int), **options)),
        epoch(Batches(x, np.zeros(8, int), **options)),
        strict=True,
    ):
        assert type(ours[0]) is np.ndarray
        assert np.array_equal(ours[0], theirs[0])


def test_without_augmentation_images_stay_whole_numbers():
    assert Batches(images(), batch_size=4, num_classes=0)[0][0].dtype == np.uint8
