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
        (lambda x, y: [(x / 255, y)], "yield images \\* 255"),
        (lambda x, y: [(x / 127.5 - 1, y)], "yield \\(images \\+ 1\\) \\* 127.5"),
        (lambda x, y: [((x > 99).astype("float32"), y)], "yield images \\* 255"),
        (lambda x, y: [(x.astype("int32") - 99, y)], "pixels from 0 to 255"),
        (lambda x, y: [(np.where(x > 99, np.nan, x), y)], "NaN"),
        (lambda x, y: [(x.transpose(0, 3, 1, 2), y)], "channels come first"),
        (lambda x, y: [(x, np.full((60, 3), 1 / 3))], "one-hot with a single 1 a row"),
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
