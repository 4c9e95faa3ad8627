"""Batches from many kinds of loaders become one dataset."""

import itertools

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError


def arrays(count=60):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 8, 8, 3)).astype("uint8"), np.arange(count) % 3


def in_batches(x, y, size=7):
    return ((x[start : start + size], y[start : start + size]) for start in range(0, len(x), size))


class Numbered(keras.utils.PyDataset):
    """Batches by number; without an end where none is given."""

    def __init__(self, count=None):
        super().__init__()
        self.count = count

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, index):
        x, y = arrays()
        return np.roll(x, index, axis=0)[:10], np.roll(y, index)[:10]


def test_batches_become_what_their_arrays_would():
    x, y = arrays()
    ours, theirs = tz.from_batches(in_batches(x, y), seed=3), tz.from_arrays(x, y, seed=3)
    assert ours.content_hash() == theirs.content_hash()
    assert ours.source == "batches of a generator"


def test_a_test_set_is_taken_whole():
    x, y = arrays()
    data = tz.from_batches(in_batches(x, y), test=in_batches(x[:9], y[:9]))
    assert np.array_equal(data.x_test, x[:9])
    assert len(data.x_train) + len(data.x_validation) == 60


def test_a_share_is_split_off_for_testing():
    assert len(tz.from_batches(in_batches(*arrays()), test=12).x_test) == 12


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y[:, None],
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=int)[y],
        lambda y: y.astype("float32"),
        lambda y: y.tolist(),
    ],
)
def test_labels_may_be_numbers_or_one_hot(form):
    x, y = arrays()
    plain = tz.from_batches([(x, y)])
    assert np.array_equal(tz.from_batches([(x, form(y))]).y_train, plain.y_train)


def test_floats_from_0_to_255_are_rounded():
    x, y = arrays()
    data = tz.from_batches([(np.clip(x + 0.3, 0, 255), y)])
    assert data.x_train.dtype == np.uint8
    assert data.content_hash() == tz.from_batches([(x, y)]).content_hash()


def test_a_pydataset_is_read_by_number():
    data = tz.from_batches(Numbered(6))
    assert sum(len(images) for images, _ in data.splits.values()) == 60


def test_a_pydataset_without_end_needs_a_limit():
    with pytest.raises(InvalidInputError, match="limit must be given where batches never end"):
        tz.from_batches(Numbered())
    data = tz.from_batches(Numbered(), limit=45)
    assert sum(len(images) for images, _ in data.splits.values()) == 45


def test_a_limit_stops_a_generator_at_that_many_images():
    x, y = arrays()
    taken = []

    def forever():
        for number in itertools.count():
            taken.append(number)
            yield x[:10], y[:10]

    data = tz.from_batches(forever(), limit=25)
    assert sum(len(images) for images, _ in data.splits.values()) == 25
    assert taken == [0, 1, 2]


def test_tensorflows_datasets_are_understood():
    tf = pytest.importorskip("tensorflow")
    x, y = arrays()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    assert tz.from_batches(batches).content_hash() == tz.from_batches([(x, y)]).content_hash()
    with pytest.raises(InvalidInputError, match="limit"):
        tz.from_batches(batches.repeat())


def test_torchs_loaders_are_understood():
    data = pytest.importorskip("torch.utils.data")
    import torch

    x, y = arrays()
    loader = data.DataLoader(data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=16)
    assert tz.from_batches(loader).content_hash() == tz.from_batches([(x, y)]).content_hash()


def test_class_names_are_taken_from_the_loader():
    class Named(list):
        class_names = ("ant", "bee", "cicada")

    assert tz.from_batches(Named([arrays()])).class_names == ("ant", "bee", "cicada")


def test_no_float_copy_of_the_images_is_ever_held():
    import tracemalloc

    count, size = 40, 64
    images = np.zeros((count * size, 32, 32, 3), "uint8").nbytes

    def floats():
        for number in range(count):
            x = np.random.default_rng(number).integers(0, 256, (size, 32, 32, 3)).astype("float32")
            yield x, np.arange(size) % 4

    tracemalloc.start()
    tz.from_batches(floats())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the images once, the splits' copies, and some room: a float32 copy alone would be four times the images
    assert peak < 3 * images


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda x, y: [], "at least one. Got 'none'"),
        (lambda x, y: [x], "batches of \\(images, labels\\)"),
        (lambda x, y: [(x, y, y)], "Got '3 parts'"),
        (lambda x, y: [(x, y[:-1])], "a label for each image"),
        (lambda x, y: [(x, y), (x[:, :4], y)], "images of one shape"),
        (lambda x, y: [(x / 255, y)], "pass images \\* 255"),
        (lambda x, y: [(x / 127.5 - 1, y)], "pass \\(images \\+ 1\\) \\* 127.5"),
        (lambda x, y: [((x > 99).astype("float32"), y)], "pass images \\* 255"),
        (lambda x, y: [(x.astype("int32") - 99, y)], "pixels from 0 to 255"),
        (lambda x, y: [(np.where(x > 99, np.nan, x), y)], "NaN"),
        (lambda x, y: [(x.transpose(0, 3, 1, 2), y)], "channels come first"),
        (lambda x, y: [(x, np.full((60, 3), 1 / 3))], "one-hot with a single 1 per row"),
        (lambda x, y: [(x, y + 0.5)], "train labels must be whole-number"),
        (lambda x, y: 7, "an iterable of batches"),
    ],
)
def test_batches_that_cannot_be_used_are_refused_with_a_way_out(batches, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.from_batches(batches(*arrays()))


def test_a_black_float_batch_among_others_is_no_reason_to_refuse():
    x, y = arrays()
    data = tz.from_batches([(np.zeros((3, 8, 8, 3), "float32"), y[:3]), (x, y)])
    assert sum(len(images) for images, _ in data.splits.values()) == 63


class Named:
    """Batches with names, as Keras' generators and torch's loaders have them."""

    def __init__(self, x, y, **attributes):
        self._pairs = [(x[i : i + 10], y[i : i + 10]) for i in range(0, len(x), 10)]
        for name, value in attributes.items():
            setattr(self, name, value)

    def __iter__(self):
        return iter(self._pairs)

    def __len__(self):
        return len(self._pairs)


FLOWERS = ("daisy", "rose", "tulip")


def flowers(numbers):
    """Images that tell their flower by their colour, whatever number it has in a generator."""
    x = np.zeros((len(numbers), 4, 4, 3), "uint8")
    x[...] = np.array([60, 120, 240])[numbers][:, None, None, None]
    x[:, 0, 0] = 0
    return x


def flower_of(data, split):
    x, y = data.splits[split]
    shown = [FLOWERS[[60, 120, 240].index(value)] for value in x[:, 1, 1, 0]]
    return shown, [data.class_names[label] for label in y]


TRAIN = np.arange(60) % 3


@pytest.mark.parametrize(
    "names",
    [
        {"class_indices": {"tulip": 2, "daisy": 0, "rose": 1}},
        {"class_names": list(FLOWERS)},
        {"class_to_idx": {"rose": 1, "daisy": 0, "tulip": 2}},
        {"classes": list(FLOWERS)},
    ],
)
def test_names_are_read_from_the_batches(names):
    data = tz.from_batches(Named(flowers(TRAIN), TRAIN, **names))
    assert data.class_names == FLOWERS


def test_names_are_read_from_a_loaders_dataset():
    class Holder:
        class_to_idx = {name: label for label, name in enumerate(FLOWERS)}  # noqa: RUF012

    assert tz.from_batches(Named(flowers(TRAIN), TRAIN, dataset=Holder())).class_names == FLOWERS


def test_a_test_generator_without_a_class_keeps_its_names():
    train = Named(flowers(TRAIN), TRAIN, class_indices={"daisy": 0, "rose": 1, "tulip": 2})
    there = np.array([0, 2] * 10)
    test = Named(flowers(there), (there > 0).astype(int), class_indices={"daisy": 0, "tulip": 1})
    data = tz.from_batches(train, test=test)
    shown, named = flower_of(data, "test")
    assert shown == named
    assert set(named) == {"daisy", "tulip"}


def test_one_hot_labels_of_fewer_classes_keep_their_names():
    train = Named(flowers(TRAIN), np.eye(3)[TRAIN], class_indices={"daisy": 0, "rose": 1, "tulip": 2})
    there = np.array([1, 2] * 10)
    test = Named(flowers(there), np.eye(2)[there - 1], class_indices={"rose": 0, "tulip": 1})
    shown, named = flower_of(tz.from_batches(train, test=test), "test")
    assert shown == named


def test_names_given_in_another_order_are_matched_by_name():
    train = Named(flowers(TRAIN), TRAIN, class_indices={"daisy": 0, "rose": 1, "tulip": 2})
    data = tz.from_batches(train, class_names=["tulip", "daisy", "rose"])
    assert data.class_names == ("tulip", "daisy", "rose")
    shown, named = flower_of(data, "train")
    assert shown == named


def test_other_names_stand_for_the_labels():
    train = Named(flowers(TRAIN), TRAIN, class_indices={"n01": 0, "n02": 1, "n03": 2})
    data = tz.from_batches(train, class_names=FLOWERS)
    shown, named = flower_of(data, "train")
    assert shown == named


def test_a_tested_class_that_training_lacks_is_refused():
    train = Named(flowers(TRAIN), TRAIN, class_indices={"daisy": 0, "rose": 1, "tulip": 2})
    test = Named(flowers(TRAIN), TRAIN, class_indices={"daisy": 0, "roses": 1, "tulip": 2})
    with pytest.raises(InvalidInputError, match=r"Got 'roses'\. Did you mean 'rose'"):
        tz.from_batches(train, test=test)


def test_labels_may_be_names():
    data = tz.from_batches(Named(flowers(TRAIN), np.array(FLOWERS)[TRAIN]))
    shown, named = flower_of(data, "train")
    assert shown == named


def test_unbatched_images_are_taken():
    data = tz.from_batches(zip(flowers(TRAIN), TRAIN, strict=True))
    assert len(data.y_train) + len(data.y_validation) + len(data.y_test) == 60


def test_what_says_how_long_it_is_has_no_bound(monkeypatch):
    monkeypatch.setattr("transferzoo.data.stream.BOUND", 30)
    assert tz.from_batches(Named(flowers(TRAIN), TRAIN)).num_classes == 3
    with pytest.raises(InvalidInputError, match="more than 30 images"):
        tz.from_batches(iter(Named(flowers(TRAIN), TRAIN)))
    assert tz.from_batches(iter(Named(flowers(TRAIN), TRAIN)), limit=60).num_classes == 3
