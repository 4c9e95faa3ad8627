"""The Pareto frontier of accuracy and cost, and how sure each place on it is."""

import numpy as np
import pytest

from transferzoo import statistics
from transferzoo.errors import InvalidInputError


def test_the_frontier_holds_those_that_no_other_beats():
    accuracies = [0.8, 0.9, 0.7, 0.8, 0.95, np.nan]
    on = statistics.pareto_frontier(accuracies, [1.0, 5.0, 2.0, 1.0, np.nan, 0.5])
    assert on.tolist() == [True, True, False, True, False, False]


def test_a_model_as_accurate_for_more_is_not_on_it():
    assert statistics.pareto_frontier([0.8, 0.8], [1, 2]).tolist() == [True, False]


def test_a_model_less_accurate_for_as_much_is_not_on_it():
    assert statistics.pareto_frontier([0.8, 0.7], [1, 1]).tolist() == [True, False]


def test_the_probability_is_one_where_nothing_can_change_it():
    images = np.arange(300)
    shares = statistics.pareto_probability([images % 10 != 0, images % 2 == 0], [5.0, 1.0])
    assert shares.tolist() == [1.0, 1.0]


def test_a_model_without_a_cost_is_never_on_it_and_stands_in_no_one_s_way():
    images = np.arange(300)
    shares = statistics.pareto_probability([images % 10 != 0, images % 2 == 0], [np.nan, 1.0])
    assert shares.tolist() == [0.0, 1.0]


def test_of_equals_the_dearer_is_on_it_where_chance_favours_it():
    rng = np.random.default_rng(0)
    a = rng.random(400) < 0.8
    shares = statistics.pareto_probability([a, a[::-1]], [1.0, 2.0])
    assert shares[0] == 1.0
    # half of the resamples, less those that are equal
    assert 0.4 < shares[1] < 0.5


def test_images_are_drawn_for_all_models_alike():
    image = np.random.default_rng(0).random(300) < 0.8
    better = image.copy()
    better[np.flatnonzero(~image)[:3]] = True
    # ahead unless none of its three images is drawn: 1 - (1 - 3/300)^300
    shares = statistics.pareto_probability([image, better], [1.0, 2.0])
    assert shares[1] == pytest.approx(0.951, abs=0.02)


def test_seeds_are_drawn_for_each_model():
    # the dearer model's runs are one far better and one far worse: both drawn worse, one time in four
    cheap = np.arange(1000) % 2 == 0
    dear = np.stack([np.arange(1000) % 10 != 0, np.arange(1000) % 10 == 0])
    shares = statistics.pareto_probability([np.stack([cheap, cheap]), dear], [1.0, 2.0])
    one_of_each_is_even = 0.5 * 0.5
    assert shares[1] == pytest.approx(0.25 + one_of_each_is_even, abs=0.06)


def test_one_model_stands_alone():
    assert statistics.pareto_probability([[True, False]], [1.0]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("correct", "costs", "words"),
    [
        ([[True, False]], [1.0, 2.0], "costs must be 1 numbers, one for each model"),
        ([[True, False], [True]], [1.0, 2.0], r"correct\[1\] must be on the same test images"),
        ([], [], "correct must be one array for each model"),
    ],
)
def test_what_does_not_belong_together_is_refused(correct, costs, words):
    with pytest.raises(InvalidInputError, match=words):
        statistics.pareto_probability(correct, costs)
