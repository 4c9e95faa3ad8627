"""What a model gets wrong: its most confident errors, the classes it confuses, and a picture of them."""

import json

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError

TRUE = np.array([0, 0, 1, 1, 2, 2])
PROB = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.1, 0.7, 0.2],  # cat taken for dog
        [0.9, 0.05, 0.05],  # dog taken for cat
        [0.1, 0.2, 0.7],  # dog taken for fox
        [0.2, 0.2, 0.6],
        [0.1, 0.5, 0.4],  # fox taken for dog
    ]
)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def result():
    return tz.Result(
        name="m",
        metrics=tz.evaluate(TRUE, PROB),
        history={"loss": [0.5]},
        y_true=TRUE,
        y_prob=PROB,
        class_names=("cat", "dog", "fox"),
        settings={"seed": 0},
        costs={},
        environment={},
    )


def test_the_most_confident_error_comes_first(result):
    found = result.mistakes()
    assert [each.place for each in found] == [2, 1, 3, 5]
    first = found[0]
    assert (first.true, first.predicted) == ("dog", "cat")
    assert first.probability == pytest.approx(0.9)
    assert first.probability_of_true == pytest.approx(0.05)
    assert str(first) == "test image 2: dog, taken for cat (90.0%)"
    assert json.loads(json.dumps(first.to_dict()))["place"] == 2
    assert result.mistakes(limit=2) == found[:2]


def test_pairs_of_classes_are_counted(result):
    found = result.most_confused()
    assert {(each.true, each.predicted): (each.count, each.share) for each in found} == {
        ("cat", "dog"): (1, 0.5),
        ("dog", "cat"): (1, 0.5),
        ("dog", "fox"): (1, 0.5),
        ("fox", "dog"): (1, 0.5),
    }
    assert str(found[0]) == "cat taken for dog: 1 (50.0% of its test images)"
    assert len(result.most_confused(limit=3)) == 3


def test_the_most_frequent_pair_comes_first(result):
    from dataclasses import replace

    again = replace(
        result, y_true=np.append(TRUE, 2), y_prob=np.vstack([PROB, [[0.1, 0.8, 0.1]]]), index=None
    )
    assert (again.most_confused()[0].true, again.most_confused()[0].count) == ("fox", 2)


def test_a_model_without_mistakes_has_none():
    right = np.eye(3)[TRUE]
    ax = tz.plots.mistakes(IMAGES, TRUE, right)
    assert len(ax.images) == 0
    assert ax.get_title().startswith("0 of 6")


@pytest.mark.parametrize("limit", [0, -1, "3", 1.5, True])
def test_a_bad_limit_is_refused(result, limit):
    for method in (result.mistakes, result.most_confused):
        with pytest.raises(InvalidInputError, match="limit"):
            method(limit)


def test_the_picture_has_each_error_under_both_names():
    ax = tz.plots.mistakes(IMAGES, TRUE, PROB, ["cat", "dog", "fox"], rows=1, columns=3)
    assert len(ax.images) == 3
    lines = [text.get_text() for text in ax.texts]
    assert lines == ["dog", "✗ cat 90%", "cat", "✗ dog 70%", "dog", "✗ fox 70%"]
    assert ax.get_title() == "4 of 6 test images classified wrongly (66.7%)"
    np.testing.assert_array_equal(ax.images[0].get_array(), IMAGES[2])


def test_images_of_another_number_are_refused():
    with pytest.raises(InvalidInputError, match="y_prob"):
        tz.plots.mistakes(IMAGES[:3], TRUE, PROB)
