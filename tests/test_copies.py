"""The accuracy of a run on those test images that are no copies of training images."""

import dataclasses

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.results.copies import copied_places, without_copies


@pytest.fixture(scope="module")
def data():
    """Digits of which ten test images are training images, and five more are brighter ones."""
    digits = tz.load_dataset("digits").subset(train=200, validation=50, test=60)
    x_test, y_test = digits.x_test.copy(), digits.y_test.copy()
    x_test[:10], y_test[:10] = digits.x_train[:10], digits.y_train[:10]
    return dataclasses.replace(digits, x_test=x_test, y_test=y_test)


@pytest.fixture(scope="module")
def result(data):
    return tz.fit_and_evaluate(
        "resnet20", data, weights=None, image_size=32, recipe="linear_probe", verbose=False
    )


@pytest.mark.medium
def test_the_accuracy_without_them_is_that_of_the_others(result):
    found = result.without_copies
    assert (found.copies, found.images) == (10, 50)
    assert found.accuracy == result.correct[10:].mean()
    assert found.low < found.accuracy < found.high
    assert f"without 10 test images that are copies of training images: accuracy {found.accuracy:.1%}" in str(
        result
    )


@pytest.mark.medium
def test_a_saved_run_still_knows_them(result, tmp_path):
    again = tz.Result.load(result.save(tmp_path / "run"))
    assert again.without_copies == result.without_copies


@pytest.mark.medium
def test_there_is_none_without_copies_or_without_lint(data, result):
    unasked = dataclasses.replace(result, provenance={})
    assert unasked.without_copies is None
    assert "copies" not in str(unasked)
    everything = {"code": "TZ201", "images": list(range(60))}
    assert without_copies(dataclasses.replace(result, provenance={"findings": [everything]})) is None


@pytest.mark.medium
def test_near_copies_are_left_out_too(result):
    findings = [{"code": "TZ201", "images": [1, 2]}, {"code": "TZ202", "images": [2, 7]}, {"code": "TZ205"}]
    assert copied_places(findings, 60) == [1, 2, 7]
    changed = dataclasses.replace(result, provenance={"findings": findings})
    assert changed.without_copies.accuracy == np.delete(result.correct, [1, 2, 7]).mean()


@pytest.mark.parametrize(
    "findings", [None, "TZ201", [3], [{"code": "TZ201"}], [{"code": "TZ201", "images": ["a", -1, 60]}]]
)
def test_a_record_of_another_form_names_none(findings):
    assert copied_places(findings, 60) == []
