"""Training without a test: datasets without test images, and `fit`."""

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError


@pytest.fixture(scope="module")
def digits():
    return tz.load_dataset("digits").subset(train=100, validation=50, test=50)


@pytest.fixture(scope="module")
def untested(digits):
    """The same training and validation images, and no test images."""
    return tz.from_arrays(
        digits.x_train,
        digits.y_train,
        x_validation=digits.x_validation,
        y_validation=digits.y_validation,
        test=0,
        name="untested",
        flip_safe=False,
    )


def test_a_share_of_0_makes_no_test_images(digits):
    data = tz.from_arrays(digits.x_train, digits.y_train, test=0)
    assert (len(data.y_train), len(data.y_validation), len(data.y_test)) == (80, 20, 0)
    assert data.x_test.shape == (0, 32, 32, 3)
    assert data.class_counts["test"].tolist() == [0] * 10
    assert "0 test images" in repr(data)
    assert "–" in data.summary()
    assert data.content_hash() != digits.content_hash()


def test_groups_and_files_are_kept_without_test_images(digits):
    groups = np.arange(100) // 2
    data = tz.from_arrays(digits.x_train, digits.y_train, test=0, groups=np.arange(100))
    assert len(data.groups["test"]) == 0
    assert len(data.groups["train"]) + len(data.groups["validation"]) == len(groups)


def test_subset_and_folds_of_a_dataset_without_test_images(untested):
    small = untested.subset(train=50, validation=20)
    assert [len(y) for _, y in small.splits.values()] == [50, 20, 0]
    with pytest.raises(InvalidInputError, match="the dataset has no such images"):
        untested.subset(test=10)
    assert [len(fold.y_test) for fold in untested.folds(3)] == [50, 50, 50]


def test_a_folder_may_be_read_without_test_images(tmp_path):
    from PIL import Image

    for colour in ("green", "red"):
        (tmp_path / colour).mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8), colour).save(tmp_path / colour / f"{number}.png")
    data = tz.from_directory(tmp_path, test=0, validation=2)
    assert [len(y) for _, y in data.splits.values()] == [6, 2, 0]
    assert len(data.files["test"]) == 0


def test_what_tests_refuses_a_dataset_without_test_images(tiny, untested):
    for call in (
        lambda: tz.fit_and_evaluate(tiny, untested, weights=None),
        lambda: tz.compare([tiny], untested, weights=None),
    ):
        with pytest.raises(InvalidInputError, match=r"no test images.*tz\.fit trains without a test"):
            call()


def test_lint_looks_at_a_dataset_without_test_images(tiny, untested):
    codes = {finding.code for finding in tz.lint(tiny, untested, weights=None)}
    assert not codes & {"TZ201", "TZ203", "TZ206", "TZ207"}


@pytest.mark.medium
def test_fit_trains_the_weights_that_fit_and_evaluate_tests(tiny, digits, untested, quick):
    fitted = tz.fit(tiny, untested, weights=None, recipe=quick, seed=3, verbose=False)
    result = tz.fit_and_evaluate(tiny, digits, weights=None, recipe=quick, seed=3, verbose=False)
    for ours, theirs in zip(fitted.model.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert fitted.history["loss"] == result.history["loss"]
    assert fitted.class_names == untested.class_names
    right = fitted.model.predict(digits.x_validation, verbose=0).argmax(axis=1) == digits.y_validation
    assert fitted.validation_accuracy == pytest.approx(right.mean())
    assert "not tested" in repr(fitted)
    assert fitted.returned == result.provenance["returned"]


@pytest.mark.medium
def test_fit_keeps_to_minutes_and_says_what_it_chose(tiny, untested, quick):
    fitted = tz.fit(tiny, untested, weights=None, recipe=quick, minutes=0.05, verbose=False)
    assert fitted.chosen["epochs"] >= 1
    assert fitted.settings["minutes"] == 0.05
