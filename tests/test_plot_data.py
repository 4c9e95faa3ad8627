"""What the plots draw, as records: computed and checked before anything is drawn."""

import math

import numpy as np
import pytest

from transferzoo.errors import InvalidInputError
from transferzoo.plots.bars import comparison_data
from transferzoo.plots.changed_images import flip_data
from transferzoo.plots.cost_points import cost_data
from transferzoo.plots.image_grids import grid_data
from transferzoo.plots.learning_curves import history_data
from transferzoo.plots.rates import rate_curve_data
from transferzoo.plots.wrong_images import mistake_data


def test_a_solved_head_is_no_epoch():
    found = history_data(
        {
            "loss": [2.0, 1.0, 0.5],
            "accuracy": [0.3, 0.5, 0.7],
            "val_loss": [2.1, 1.1, 0.6],
            "phase": ["probe", "fine_tune", "fine_tune"],
            "C": [0.01, math.nan, math.nan],
        }
    )
    assert found.epochs["loss"].tolist() == [1.0, 0.5]
    assert found.solved["val_loss"].tolist() == [2.1]
    assert (found.phases, found.solvers) == (("fine_tune", "fine_tune"), ("probe",))
    assert found.begins == {}


def test_the_epochs_after_which_a_phase_begins_are_named():
    found = history_data({"loss": [3, 2, 1], "accuracy": [0, 0, 1], "phase": ["head", "head", "all"]})
    assert found.begins == {2: "all"}


def test_bars_are_in_order_and_know_their_ends():
    found = comparison_data(
        [
            {"model": "a", "accuracy": 0.5},
            {"model": "b", "accuracy": None},
            {"model": "c", "accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8},
        ]
    )
    assert found.names == ("c", "a", "b")
    assert found.ends.tolist() == [0.8, 0.5, 0.0]
    assert np.isnan(found.low).tolist() == [False, True, True]


def test_less_is_better_turns_the_order_round():
    rows = [{"model": "a", "accuracy": 0.5, "log_loss": 2.0}, {"model": "b", "log_loss": 1.0}]
    assert comparison_data(rows, "log_loss").names == ("b", "a")


def test_points_are_rows_with_both_figures():
    rows = [
        {"model": "a", "accuracy": 0.5, "parameters": 10, "on_frontier": True, "frontier_probability": 0.9},
        {"model": "b", "accuracy": 0.6, "parameters": 1000, "on_frontier": False},
        {"model": "c", "accuracy": 0.7},
    ]
    found = cost_data(rows)
    assert found.labels == ["a (90%)", "b"]
    assert found.on_frontier.tolist() == [True, False]
    assert found.logarithmic
    assert cost_data(rows[:1]).logarithmic is False


def test_changed_predictions_are_of_three_kinds():
    found = flip_data([0, 1, 1, 2], [0, 1, 0, 0], [1, 0, 2, 0], ["x", "y", "z"])
    assert [kind.tolist() for kind in found.kinds] == [[0, 1], [], [2]]


def test_mistakes_begin_with_the_most_confident():
    found = mistake_data([0, 1, 1], [[0.4, 0.6], [0.9, 0.1], [0.2, 0.8]], ["cat", "dog"])
    assert found.index.tolist() == [1, 0]
    assert (found.true, found.predicted) == (("dog", "cat"), ("cat", "dog"))
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6])
    assert found.images == 3


def test_a_grid_of_images_that_are_named_shows_them_in_order(tiny_digits):
    found = grid_data(tiny_digits, at=[("test", 7), ("train", 3), ("test", 1)], count=2)
    assert found.index.tolist() == [7, 3]
    assert np.array_equal(found.images[0], tiny_digits.x_test[7])
    assert np.array_equal(found.images[1], tiny_digits.x_train[3])
    assert found.titles == tuple(
        tiny_digits.class_names[y] for y in (tiny_digits.y_test[7], tiny_digits.y_train[3])
    )


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ([("test", 50)], r"at must be places below 50 of the test images"),
        ([("training", 1)], r"at must be split and place of images"),
        ([3], r"at must be split and place of images"),
        ([(["test"], 1)], r"at must be split and place of images"),
        ([], r"at must be one image or more"),
        ([("test", -1)], r"at must be"),
    ],
)
def test_images_that_are_not_there_are_refused(tiny_digits, at, message):
    with pytest.raises(InvalidInputError, match=message):
        grid_data(tiny_digits, at=at)
    with pytest.raises(InvalidInputError, match=r"at must be left out but for a dataset"):
        grid_data(tiny_digits.x_test, at=[("test", 1)])


def test_a_grid_says_which_images_it_shows():
    images = np.arange(5 * 2 * 2, dtype=np.uint8).reshape(5, 2, 2, 1)
    found = grid_data(images, [0, 1, 0, 1, 0], ["a", "b"], count=3, seed=1)
    assert found.images.shape == (3, 2, 2, 1)
    assert np.array_equal(found.images, images[found.index])
    assert found.titles == tuple("ab"[place % 2] for place in found.index)


def test_a_wild_loss_does_not_stretch_the_axis():
    class Curve:
        rates, losses, raw_losses, suggestion = [1e-3, 1e-2], [2.0, 1.0], [2.0, 99.0], 5e-3

    assert rate_curve_data(Curve()).limits == pytest.approx((0.92, 2.16))


def test_bad_data_is_refused_before_anything_is_drawn():
    with pytest.raises(InvalidInputError, match="lists of one length"):
        history_data({"loss": [1, 2], "accuracy": [1]})
    with pytest.raises(InvalidInputError, match="as many rows as there are images, 4"):
        mistake_data([0, 1], [[1, 0], [0, 1]], length=4)


def test_names_with_line_breaks_and_tabs_stay_on_their_line():
    from transferzoo import plots

    names = ["a\nb", "c\ttab", "d\x07"]
    ax = plots.confusion_matrix([0, 1, 2], [0, 1, 1], class_names=names)
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["a b", "c tab"]
    assert comparison_data([{"model": "a\nb", "accuracy": 0.5}]).names == ("a b",)


def test_a_share_that_is_not_zero_is_never_shown_as_zero():
    from transferzoo.plots.matrices import _shown

    assert [_shown(value, "true") for value in (0, 0.001, 0.005, 0.0149, 0.5)] == [
        "",
        "<1%",
        "1%",
        "1%",
        "50%",
    ]
