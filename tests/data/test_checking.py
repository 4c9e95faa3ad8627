"""Pixels judged image by image, names in order, and errors whose remedy works when it is done."""

import re

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.data.checking import class_order, normal_name
from transferzoo.errors import InvalidInputError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 8, 8, 3)).astype("uint8")
Y = np.arange(60) % 3


def error_of(x=X, y=Y, **options):
    with pytest.raises(InvalidInputError) as caught:
        tz.from_arrays(x, y, **options)
    return str(caught.value)


def mixed(dtype, every=2):
    x = X.astype(dtype)
    x[::every] = x[::every] / 255 if x.dtype.kind == "f" else x[::every] // 255
    return x


class TestPixels:
    @pytest.mark.parametrize("every", [2, 7, 30])
    def test_floats_of_two_scales_are_refused(self, every):
        assert "others up to 255" in error_of(mixed("float32", every))

    def test_one_scaled_float_image_is_enough(self):
        x = X.astype("float32")
        x[17] /= 255
        said = error_of(x)
        assert "1 of 60 images from 0 to 1" in said
        assert "x_train[17]" in said

    @pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16"])
    def test_whole_numbers_of_two_scales_are_refused(self, dtype):
        assert "others up to 255" in error_of(mixed(dtype))

    @pytest.mark.parametrize("dtype", ["uint8", "int32"])
    def test_images_that_were_divided_and_rounded_are_refused(self, dtype):
        assert "Got 0 to 1" in error_of((X / 255).astype(dtype))

    @pytest.mark.parametrize("dtype", ["uint8", "float32", "int16"])
    def test_images_on_a_small_scale_are_warned_about(self, caplog, dtype):
        tz.from_arrays((X // 16).astype(dtype), Y)
        assert "the brightest pixel of all images is 15 of 255" in caplog.text
        assert "multiply them by 17" in caplog.text

    def test_images_of_a_few_values_are_warned_about(self, caplog):
        x = X.copy()
        x[4] = x[4] // 32
        tz.from_arrays(x, Y)
        assert "1 of 60 images use only a few of the 256 pixel values, such as x_train[4]" in caplog.text

    def test_ordinary_images_bring_no_word(self, caplog):
        tz.from_arrays(X, Y)
        tz.from_arrays(X.astype("float32") * 0.99, Y)
        assert not caplog.records

    def test_a_few_black_images_are_no_other_scale(self, caplog):
        x = X.copy()
        x[3] = 0
        x[5] = RNG.integers(0, 2, (8, 8, 3))
        tz.from_arrays(x, Y)
        assert "2 of 60 images use only a few" in caplog.text

    @pytest.mark.parametrize("high", [255.00001, 255.4, 256])
    def test_what_is_wrong_shows_in_the_numbers(self, high):
        x = X.astype("float64")
        x[0, 0, 0, 0] = high
        said = error_of(x)
        assert f"Got 0 to {high}" in said
        assert "Got 0 to 255. " not in said

    def test_batches_are_judged_image_by_image_too(self):
        x = mixed("float32")
        batches = [(x[i : i + 10], Y[i : i + 10]) for i in range(0, 60, 10)]
        with pytest.raises(InvalidInputError, match="30 of 60 images from 0 to 1"):
            tz.from_batches(batches)


def test_a_column_of_images_of_one_shape_is_taken():
    column = np.empty(60, object)
    for place, image in enumerate(X):
        column[place] = image
    assert tz.from_arrays(column, Y).content_hash() == tz.from_arrays(X, Y).content_hash()
    column[7] = np.zeros((9, 7, 3), "uint8")
    assert "several shapes: (8, 8, 3), (9, 7, 3)" in error_of(column)


class TestRemedies:
    """Each remedy is taken out of the message, done, and must then be accepted."""

    @pytest.mark.parametrize(
        ("x", "pattern"),
        [
            (X / 255.0, r"pass (x_train \* 255)\."),
            (X / 127.5 - 1, r"pass (\(x_train \+ 1\) \* 127\.5)\."),
            (X.astype("uint16") * 257, r"pass (.*?)\.$"),
            (X.astype("uint16") * 4, r"pass (.*?)\.$"),
            (X.astype("int32") * 16, r"pass (.*?)\.$"),
            (X.astype("uint16") * 64, r"pass (.*?)\.$"),
            (X > 127, r"Pass (.*?)\.$"),
            ((X > 127).astype("uint8"), r"pass (x_train \* 255)\."),
            (X * 1.02 - 2.0, r"overshoot; (np\.clip.*?\)) cuts"),
            (X.transpose(0, 3, 1, 2), r"pass (.*?)\.$"),
            (np.concatenate([X, X[..., :1]], -1), r"; (x_train\[.*?\]) leaves"),
            (X[..., :2], r"; (x_train\[.*?\]) leaves"),
            (list(X[:30]) + [np.zeros((9, 7, 3), "uint8")] * 30, r"first: x_train = (.*?); or"),
        ],
    )
    def test_of_images(self, x, pattern):
        import PIL.Image

        code = re.search(pattern, error_of(x)).group(1)
        fixed = eval(code, {"np": np, "PIL": PIL, "x_train": x})
        assert tz.from_arrays(fixed, Y).num_classes == 3

    def test_of_images_on_two_scales(self):
        x_train = mixed("float32")
        code = re.search(r"images: (x_train\[.*\*= 255)\.", error_of(x_train)).group(1)
        exec(code, {"x_train": x_train})
        data = tz.from_arrays(x_train, Y)
        assert np.allclose(np.sort(data.x_test.max(axis=(1, 2, 3)))[0], 255, atol=30)

    def test_of_one_image(self):
        code = re.search(r"; (x_train\[None\]) makes", error_of(X[0], Y[:1])).group(1)
        assert eval(code, {"x_train": X[0]}).shape == (1, 8, 8, 3)

    def test_of_flattened_images(self):
        said = error_of(X.reshape(60, -1))
        code = re.search(r"pass (x_train\.reshape\(.*?\))", said).group(1)
        sizes = {"height": 8, "width": 8, "channels": 3}
        assert tz.from_arrays(eval(code, {"x_train": X.reshape(60, -1), **sizes}), Y).num_classes == 3

    @pytest.mark.parametrize("y", [Y + 1, Y * 2, Y * 1000, Y - 1], ids=["from-1", "gaps", "huge", "negative"])
    def test_of_labels_that_are_not_0_1_2(self, y):
        code = re.search(r"(names, y_train = np\.unique\(.*?\)) numbers", error_of(X, y)).group(1)
        scope = {"np": np, "y_train": y}
        exec(code, scope)
        data = tz.from_arrays(X, scope["y_train"], class_names=scope["names"])
        assert data.class_names == tuple(str(each) for each in np.unique(y))

    @pytest.mark.parametrize(
        ("y", "pattern"), [(np.eye(3)[Y], r"pass (.*?\))\."), (Y.astype("float32"), r"pass (.*?\))\.")]
    )
    def test_of_labels_of_another_form(self, y, pattern):
        code = re.search(pattern, error_of(X, y)).group(1)
        assert tz.from_arrays(X, eval(code, {"y_train": y})).num_classes == 3

    def test_of_labels_from_1_with_names(self):
        said = error_of(X, Y + 1, class_names=["a", "b", "c"])
        assert "pass y - 1" in said

    def test_of_a_set_of_names(self):
        said = error_of(class_names={"rose", "daisy", "tulip"})
        code = re.search(r"Pass a list: (sorted\(class_names\))", said).group(1)
        names = eval(code, {"class_names": {"rose", "daisy", "tulip"}})
        assert tz.from_arrays(X, Y, class_names=names).class_names == ("daisy", "rose", "tulip")

    def test_of_paths(self, tmp_path):
        from PIL import Image

        paths, labels = [], []
        for number in range(10):
            paths.append(str(tmp_path / f"{number}.png"))
            Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(paths[-1])
            labels.append(number % 2)
        said = error_of(paths, labels)
        code = re.search(r": (tz\.from_table\(.*?\)) reads", said).group(1)
        assert eval(code, {"tz": tz, "paths": paths, "labels": labels}).num_classes == 2
        code = re.search(r"(tz\.read_images\(.*?\)) reads", said).group(1)
        assert eval(code, {"tz": tz, "paths": paths}).shape == (10, 96, 96, 3)

    def test_of_batches_of_several_sizes(self):
        import keras

        batches = [(X[:30], Y[:30]), (np.zeros((30, 9, 9, 3)), Y[30:])]
        with pytest.raises(InvalidInputError) as caught:
            tz.from_batches(batches)
        code = re.search(r": (keras\.ops\.image\.resize\(.*\))\.", str(caught.value)).group(1)
        resized = [
            (np.asarray(eval(code, {"keras": keras, "images": x.astype("float32")})), y) for x, y in batches
        ]
        assert tz.from_batches(resized).input_shape == (8, 8, 3)

    def test_of_an_endless_generator(self):
        def endless():
            while True:
                yield X, Y

        with pytest.raises(InvalidInputError, match="Pass limit="):
            tz.from_batches(endless())
        assert len(tz.from_batches(endless(), limit=90).y_train) > 50

    def test_of_scaled_images_for_a_model_of_ones_own(self):
        import keras

        said = error_of(X / 255.0)
        code = re.search(r"(keras\.Sequential\(\[.*\]\))", said).group(1)
        own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
        wrapped = eval(code, {"keras": keras, "shape": (8, 8, 3), "your_model": own})
        expected = own.predict(X / np.float32(255), verbose=0)
        assert np.allclose(wrapped.predict(X, verbose=0), expected, atol=1e-4)


class TestNames:
    @pytest.mark.parametrize(
        "given",
        [
            ["daisy", "rose", "tulip"],
            np.array(["daisy", "rose", "tulip"]),
            {"tulip": 2, "daisy": 0, "rose": 1},
            {2: "tulip", 0: "daisy", 1: "rose"},
            {"2": "tulip", "0": "daisy", "1": "rose"},
            {"daisy": np.int64(0), "rose": np.int64(1), "tulip": np.int64(2)},
            {"daisy": None, "rose": None, "tulip": None}.keys(),
        ],
    )
    def test_every_form_with_an_order_is_taken(self, given):
        assert tz.from_arrays(X, Y, class_names=given).class_names == ("daisy", "rose", "tulip")

    @pytest.mark.parametrize(
        "given",
        [
            {"daisy", "rose", "tulip"},
            frozenset("abc"),
            {"daisy": 0, "rose": 2, "tulip": 3},
            {"daisy": 0, "rose": 0, "tulip": 1},
            {"daisy": 1, "rose": 2, "tulip": 3},
            {"daisy": "d", "rose": "r", "tulip": "t"},
        ],
    )
    def test_what_has_no_order_is_refused(self, given):
        assert "class_names must be" in error_of(class_names=given)

    def test_two_spellings_of_one_name_are_one(self):
        assert normal_name("cafe\u0301") == "caf\u00e9"
        assert class_order(["cafe\u0301", "bar"]) == ("caf\u00e9", "bar")
        assert "different from one another" in error_of(class_names=["cafe\u0301", "caf\u00e9", "bar"])

    def test_a_name_of_other_bytes_is_read_as_western_europe_writes_it(self):
        assert normal_name(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\u00e9"
