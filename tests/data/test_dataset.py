"""The Dataset record, its checks and its splits."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from transferzoo.data.arrays import from_arrays
from transferzoo.data.dataset import Dataset
from transferzoo.errors import InvalidInputError


def images(n, shape=(4, 5, 3), dtype=np.uint8):
    """Every image unlike every other: its number is written into its first two pixels."""
    x = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(dtype)
    flat = x.reshape(n, -1)
    flat[:, 0], flat[:, 1] = np.arange(n) // 256, np.arange(n) % 256
    return x


def numbers(x):
    flat = x.reshape(len(x), -1).astype(int)
    return flat[:, 0] * 256 + flat[:, 1]


def labels(n, classes=4):
    return np.arange(n) % classes


def refused(*parts, **arguments):
    """Assert that from_arrays raises, and that its sentence holds each part."""
    defaults = {"x_train": images(40), "y_train": labels(40)}
    with pytest.raises(InvalidInputError) as caught:
        from_arrays(**(defaults | arguments))
    for part in parts:
        assert part in str(caught.value)
    return caught.value


def test_shapes_dtypes_and_defaults_are_as_documented():
    data = from_arrays(images(100), labels(100))
    assert data.input_shape == (4, 5, 3)
    assert data.num_classes == 4
    assert data.class_names == ("0", "1", "2", "3")
    assert {split: x.shape for split, (x, _) in data.splits.items()} == {
        "train": (64, 4, 5, 3),
        "validation": (16, 4, 5, 3),
        "test": (20, 4, 5, 3),
    }
    assert all(x.dtype == np.uint8 and y.dtype == np.int64 for x, y in data.splits.values())
    assert data.class_counts["train"].tolist() == [16] * 4
    assert (data.name, data.seed, data.source, data.flip_safe) == ("arrays", 0, "arrays in memory", True)


def test_images_keep_their_labels_and_their_order():
    data = from_arrays(images(100), labels(100))
    for x, y in data.splits.values():
        assert (numbers(x) % 4 == y).all()
        assert (np.diff(numbers(x)) > 0).all()


def test_a_whole_number_share_counts_images():
    data = from_arrays(images(100), labels(100), validation=10, test=30)
    assert [len(y) for _, y in data.splits.values()] == [60, 10, 30]


def test_given_test_and_validation_sets_are_taken_whole():
    x, y = images(100), labels(100)
    data = from_arrays(
        x[:60], y[:60], x[60:80], y[60:80], x_validation=x[80:], y_validation=y[80:], test=0.9, seed=5
    )
    assert numbers(data.x_train).tolist() == list(range(60))
    assert numbers(data.x_test).tolist() == list(range(60, 80))
    assert numbers(data.x_validation).tolist() == list(range(80, 100))


def test_a_given_test_set_may_lack_a_class():
    data = from_arrays(images(40), labels(40), images(3), np.zeros(3, int))
    assert data.class_counts["test"].tolist() == [3, 0, 0, 0]


def test_another_seed_draws_other_splits():
    one, two = (from_arrays(images(100), labels(100), seed=seed) for seed in (0, 1))
    assert set(numbers(one.x_test)) != set(numbers(two.x_test))
    assert set(numbers(one.x_validation)) != set(numbers(two.x_validation))


@given(
    counts=st.lists(st.integers(3, 30), min_size=2, max_size=6),
    validation=st.floats(0.05, 0.6),
    test=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_splits_are_disjoint_complete_stratified_and_repeatable(counts, validation, test, seed):
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    x = images(len(y), (2, 2, 1))
    try:
        data = from_arrays(x, y, validation=validation, test=test, seed=seed)
    except InvalidInputError:
        reject()
    found = [set(numbers(part)) for part, _ in data.splits.values()]
    assert sum(map(len, found)) == len(y)
    assert set.union(*found) == set(range(len(y)))
    assert all(count.min() >= 1 for count in data.class_counts.values())
    for part, label in data.splits.values():
        assert (y[numbers(part)] == label).all()
    again = from_arrays(x, y, validation=validation, test=test, seed=seed)
    assert again.content_hash() == data.content_hash()


def test_a_rare_class_is_in_every_split():
    y = np.array([0] * 97 + [1] * 3)
    data = from_arrays(images(100), y, validation=0.1, test=0.1)
    assert [int(count[1]) for count in data.class_counts.values()] == [1, 1, 1]


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, np.uint16, np.float16])
def test_whole_numbers_become_uint8(dtype):
    data = from_arrays(images(40, dtype=dtype), labels(40))
    assert all(x.dtype == np.uint8 for x, _ in data.splits.values())
    assert data.content_hash() == from_arrays(images(40), labels(40)).content_hash()


def test_fractions_stay_float32_in_all_splits():
    data = from_arrays(
        images(40, dtype=np.float64), labels(40), images(8) + 0.5 * (images(8) < 255), labels(8)
    )
    assert all(x.dtype == np.float32 for x, _ in data.splits.values())


def test_grayscale_images_get_a_channel():
    assert from_arrays(images(40, (6, 7)), labels(40)).input_shape == (6, 7, 1)


def test_column_labels_are_squeezed():
    assert from_arrays(images(40), labels(40)[:, None]).y_train.shape == (26,)


def test_boolean_labels_and_lists_are_taken():
    data = from_arrays(images(40).tolist(), (labels(40, 2) == 1).tolist())
    assert data.y_train.dtype == np.int64
    assert data.x_train.dtype == np.uint8


def test_the_callers_arrays_stay_as_they_were():
    x, y = images(40, dtype=np.float64), labels(40)[:, None]
    before = x.copy(), y.copy()
    from_arrays(x, y, 255 - x, y).content_hash()
    assert (x == before[0]).all()
    assert (y == before[1]).all()
    assert x.flags.writeable
    assert y.flags.writeable


def test_the_arrays_of_a_dataset_cannot_be_written_to():
    x = 255 - images(40)
    data = from_arrays(images(40), labels(40), x, labels(40))
    with pytest.raises(ValueError, match="read-only"):
        data.x_test[0] = 0
    assert x.flags.writeable


def test_content_hash_follows_pixels_labels_and_names():
    x, y = images(40), labels(40)
    base = from_arrays(x, y)
    changed = x.copy()
    changed[0, 0, 0, 2] ^= 1
    hashes = {
        base.content_hash(),
        from_arrays(changed, y).content_hash(),
        from_arrays(x, (y + 1) % 4).content_hash(),
        from_arrays(x, y, class_names=["a", "b", "c", "d"]).content_hash(),
        from_arrays(x, y, seed=1).content_hash(),
    }
    assert len(hashes) == 5
    assert len(base.content_hash()) == 64
    assert dataclasses.replace(base, name="other").content_hash() == base.content_hash()


def test_the_summary_shows_each_split_and_class():
    data = from_arrays(images(100), labels(100), class_names=["ant", "bee", "cat", "dog"], source="a walk")
    text = str(data)
    assert text == data.summary()
    for part in ("4 classes", "4×5×3", "a walk", "(64, 4, 5, 3)", "uint8", "int64", "0 to 255", " kB", "ant"):
        assert part in text
    assert [line.split()[1:] for line in text.splitlines() if line.startswith("bee")] == [["16", "4", "5"]]


def test_the_summary_of_a_hundred_classes_stays_short():
    text = from_arrays(images(1000), labels(1000, 100)).summary()
    assert len(text.splitlines()) < 20
    assert all(word in text for word in ("fewest", "median", "most"))


def test_repr_is_one_line_without_arrays():
    assert repr(from_arrays(images(100), labels(100))) == (
        "<Dataset 'arrays': 64 train, 16 validation, 20 test images of 4×5×3, 4 classes>"
    )


def test_a_subset_takes_counts_and_fractions_and_leaves_the_rest():
    data = from_arrays(images(200), labels(200))
    small = data.subset(train=20, test=0.5)
    assert [len(y) for _, y in small.splits.values()] == [20, 32, 20]
    assert small.class_counts["train"].tolist() == [5] * 4
    assert small.x_validation.base is data.x_validation.base
    assert set(numbers(small.x_train)) <= set(numbers(data.x_train))
    assert "subset(train=20, test=0.5, seed=0)" in small.source


def test_a_subset_of_all_is_the_same_content():
    data = from_arrays(images(40), labels(40))
    assert data.subset().content_hash() == data.content_hash()
    assert data.subset(train=1.0, test=8).content_hash() == data.content_hash()


def test_a_subset_may_leave_out_a_single_image():
    assert len(from_arrays(images(40), labels(40)).subset(train=25).y_train) == 25


def test_subsets_of_one_seed_are_alike_and_of_another_not():
    data = from_arrays(images(400), labels(400))
    one, same, other = (data.subset(train=40, seed=seed) for seed in (3, 3, 4))
    assert one.content_hash() == same.content_hash() != other.content_hash()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"train": 65}, ["train must be", "from 4", "to 64", "Got 65"]),
        ({"validation": 3}, ["validation must be", "from 4 (one for each class)", "Got 3"]),
        ({"test": 0}, ["test must be", "Got 0"]),
        ({"train": 1.5}, ["up to 1", "Got 1.5"]),
        ({"train": 0.01}, ["from 4 (one for each class)", "Got 0.01"]),
        ({"train": "half"}, ["a fraction above 0 and up to 1, or None", "Got 'half'"]),
        ({"train": True}, ["Got True"]),
        ({"seed": -1}, ["seed must be", "Got -1"]),
    ],
)
def test_impossible_subsets_are_refused(arguments, parts):
    data = from_arrays(images(100), labels(100))
    with pytest.raises(InvalidInputError) as caught:
        data.subset(**arguments)
    assert all(part in str(caught.value) for part in parts)


def test_float_labels_are_refused():
    refused("y_train must be", "float64", "y_train.astype('int64')", y_train=labels(40).astype(float))


def test_one_hot_labels_are_refused_with_argmax():
    refused("(40, 4)", "y_train.argmax(axis=1)", y_train=np.eye(4)[labels(40)])


def test_labels_may_be_names():
    names = np.array(["bee", "Ant", "café"])
    data = from_arrays(images(60), names[labels(60, 3)], images(3), names[[2, 0, 1]])
    assert data.class_names == ("Ant", "bee", "café")
    assert data.y_test.tolist() == [2, 1, 0]
    chosen = from_arrays(images(60), names[labels(60, 3)].tolist(), class_names=["café", "bee", "Ant"])
    assert (chosen.class_names, chosen.y_train[0]) == (("café", "bee", "Ant"), 1)


def test_labels_that_are_no_names_of_classes_are_refused():
    y = np.array(["ant", "bee"])[labels(40, 2)]
    refused(
        "y_test must be labels among 'ant', 'bee'",
        "Got 'bees'",
        "Did you mean 'bee'",
        y_train=y,
        x_test=images(2),
        y_test=["bees", "ant"],
    )
    refused("y_train must be", "'wasp'", y_train=["wasp", *y[1:]], class_names=["ant", "bee"])
    refused("y_test must be names of classes", y_train=y, x_test=images(2), y_test=[0, 1])
    refused("Got ' '", y_train=[" ", *y[1:]])


def test_negative_labels_are_refused():
    refused("y_train must be", "Got -1", y_train=labels(40) - 1)


def test_labels_of_three_dimensions_are_refused():
    refused("Got (40, 1, 1)", y_train=labels(40)[:, None, None])


def test_labels_beyond_the_class_names_are_refused():
    refused("class_names must be 4 names or more", "'3 names'", class_names=["a", "b", "c"])


def test_doubled_class_names_are_refused():
    refused("different from one another", "['a']", class_names=["a", "b", "a", "c"])


@pytest.mark.parametrize(
    "names", ["abcd", 4, ["a", "b", "c", 3.5], ["a", "b", "c", " "], [True, "a", "b", "c"]]
)
def test_class_names_of_another_kind_are_refused(names):
    refused("class_names must be", class_names=names)


def test_a_named_class_without_training_images_is_refused():
    refused("Got none of 'e'", class_names=["a", "b", "c", "d", "e"])


def test_a_gap_in_the_labels_is_refused_with_a_way_to_number_them():
    refused("Got none of '1'", "np.unique(y_train, return_inverse=True)", y_train=labels(40, 2) * 2)


def test_huge_labels_are_refused_and_not_counted_up_to():
    refused("without gaps", "1000000000", y_train=labels(40) * 10**9 // 3)


def test_a_tested_class_without_training_images_is_refused():
    refused("none of '4'", "y_test", x_test=images(5), y_test=np.arange(5))


def test_a_single_class_is_refused():
    refused("two classes or more", "'0'", y_train=np.zeros(40, int))


def test_a_scarce_class_is_named_with_its_count():
    y = np.array([0] * 38 + [1] * 2)
    refused("at least 3 images of each class", "{'bee': 2}", y_train=y, class_names=["ant", "bee"])
    refused(
        "at least 2 images",
        "{'1': 1}",
        y_train=np.sort(y)[:39],
        x_train=images(39),
        x_test=images(9),
        y_test=y[:9],
    )


def test_nan_and_infinite_pixels_are_refused_with_their_place():
    x = images(40, dtype=np.float32)
    x[7, 0, 0, 0] = np.nan
    refused("free of NaN and infinite", "Got nan", "x_train[7]", x_train=x)
    x[7, 0, 0, 0] = np.inf
    refused("Got inf", x_train=x)


def test_pixels_scaled_to_one_are_refused():
    refused("0 to 255", "x_train * 255", x_train=images(40) / 255)


def test_pixels_scaled_to_minus_one_and_one_are_refused():
    refused("0 to 255", "(x_train + 1) * 127.5", x_train=images(40) / 127.5 - 1)


@pytest.mark.parametrize("change", [1, -1, 0.5])
def test_pixels_outside_the_range_are_refused(change):
    refused("0 to 255", "Got", x_train=images(40).astype(float) + change * 2)


def test_a_scaled_test_set_is_refused_beside_a_sound_training_set():
    refused("x_test must be", x_test=images(8) / 255, y_test=labels(8))


def test_channels_first_images_are_refused_with_transpose():
    refused("(40, 3, 32, 32)", "np.transpose(x_train, (0, 2, 3, 1))", x_train=images(40, (3, 32, 32)))


def test_transparent_images_are_refused():
    refused("(40, 4, 5, 4)", "transparency", "x_train[..., :3]", x_train=images(40, (4, 5, 4)))
    refused("(40, 4, 5, 2)", "transparency", "x_train[..., :1]", x_train=images(40, (4, 5, 2)))
    refused("(40, 4, 5, 7)", "three of the channels", x_train=images(40, (4, 5, 7)))


def test_images_of_other_dimensions_are_refused():
    refused("flattened", "reshape(-1, height, width, channels)", x_train=images(40, (48,)))
    refused("single image", "x_train[None]", x_train=images(32, (32, 3)))
    refused("(40, 1, 4, 4, 3)", x_train=images(40, (1, 4, 4, 3)))


def test_images_of_other_kinds_are_refused():
    refused("'bool'", "255", x_train=images(40) > 9)
    refused("<U3", x_train=images(40).astype("U3"))
    refused("x_train must be", x_train=[[1, 2], [3]])


def test_empty_arrays_are_refused():
    refused("x_train must be", "(0, 4, 5, 3)", x_train=images(40)[:0], y_train=labels(0))


def test_arrays_of_different_length_are_refused():
    refused("y_train must be", "40 labels", "Got 39", y_train=labels(39))


def test_splits_of_different_shape_are_refused():
    refused("x_test must be", "(4, 5, 3)", "(5, 4, 3)", x_test=images(8, (5, 4, 3)), y_test=labels(8))


def test_images_without_labels_are_refused_and_labels_without_images():
    refused("y_test must be", "x_test", x_test=images(8))
    refused("x_validation must be", "y_validation", y_validation=labels(8))


@pytest.mark.parametrize("value", [0, 0.0, 1.0, 1.5, -0.1, -3, True, "0.2", None, float("nan")])
@pytest.mark.parametrize("argument", ["validation", "test"])
def test_other_shares_are_refused(argument, value):
    if (argument, value) == ("test", 0) and type(value) is int:
        return  # no test set: tests/test_fitting.py
    error = refused(f"{argument} must be a fraction above 0 and below 1", "whole number", **{argument: value})
    assert error.argument == argument


def test_a_share_of_nothing_is_refused_with_a_reason():
    refused("best epoch", "0.1", validation=0)
    refused("such as 0.1", "Got -1", "or 0 for no test images", test=-1)


def test_shares_that_leave_a_class_out_are_refused():
    refused("test must be from 4 to 32", "40", "Got 3", test=3)
    refused("test must be from 4 to 32", "Got 0.05", "2 of 40", test=0.05)
    refused("validation must be from 4 to 28", "Got 400", validation=400)


def test_other_seeds_and_flip_safes_are_refused():
    refused("seed must be", "Got 0.5", seed=0.5)
    refused("flip_safe must be", "Got 'no'", flip_safe="no")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"x_test": images(8).astype(np.float64)}, "float64"),
        ({"x_test": images(8, (5, 4, 3))}, "x_test must be"),
        ({"x_test": images(8)[..., 0]}, "x_test must be"),
        ({"y_test": labels(8).astype(np.int32)}, "int32"),
        ({"y_test": labels(7)}, "y_test must be"),
        ({"y_test": labels(8) + 1}, "Got 4"),
        ({"y_test": labels(8).tolist()}, "'list'"),
        ({"class_names": ("a",)}, "two names"),
    ],
)
def test_the_constructor_takes_only_final_arrays(changes, part):
    data = from_arrays(images(40), labels(40), images(8), labels(8))
    with pytest.raises(InvalidInputError, match="must be") as caught:
        dataclasses.replace(data, **changes)
    assert part in str(caught.value)


def test_a_dataset_is_frozen():
    data = from_arrays(images(40), labels(40))
    assert isinstance(data, Dataset)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"
