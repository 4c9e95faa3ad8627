"""What a test set can show, against simulation; and the third verdict, practically equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferzoo as tz
from transferzoo.errors import InvalidInputError
from transferzoo.statistics import (
    compare_pairs,
    difference,
    images_needed,
    mcnemar,
    seeds_needed,
    smallest_visible_difference,
)


@pytest.mark.parametrize(("size", "disagreement"), [(0.05, 0.2), (0.03, 0.1)])
def test_on_so_many_images_four_in_five_differences_are_seen(size, disagreement):
    images = images_needed(size, disagreement=disagreement)
    rng = np.random.default_rng(0)
    only_a, only_b = (disagreement + size) / 2, (disagreement - size) / 2
    seen = 0
    for _ in range(1000):
        drawn = rng.random(images)
        a_alone, b_alone = drawn < only_a, (drawn >= only_a) & (drawn < only_a + only_b)
        both = ~a_alone & ~b_alone
        seen += mcnemar(a_alone | both, b_alone | both).p_value < 0.05
    assert 0.76 < seen / 1000 < 0.85


@given(st.integers(50, 100_000), st.floats(0.02, 0.5))
def test_the_smallest_difference_is_what_its_images_are_needed_for(images, disagreement):
    size = smallest_visible_difference(images, disagreement=disagreement)
    if np.isnan(size):
        assert images_needed(disagreement, disagreement=disagreement) > images
        return
    assert images_needed(size, disagreement=disagreement) <= images
    assert images_needed(0.99 * size, disagreement=disagreement) > images


def test_more_seeds_are_needed_where_seeds_vary_more():
    needed = [seeds_needed(0.01, 10_000, deviation) for deviation in (0.0, 0.002, 0.005)]
    assert needed == sorted(needed)
    assert needed[0] == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: images_needed(0.2), "difference must be a fraction above 0 and up to disagreement"),
        (lambda: images_needed(0.01, disagreement=0), "disagreement must be"),
        (lambda: images_needed(0.01, power=0.3), "power must be"),
        (lambda: seeds_needed(0.01, 1, 0.01), "images must be a whole number of 2 or more"),
        (lambda: seeds_needed(0.01, 100, -1), "seed_deviation must be"),
        (lambda: compare_pairs({"a": [True], "b": [False]}, rope=2), "rope must be"),
    ],
)
def test_numbers_out_of_range_are_refused(call, words):
    with pytest.raises(InvalidInputError, match=words):
        call()


IMAGES = np.arange(20_000)
GOOD = IMAGES % 10 != 0


def outcome(other, rope):
    (pair,) = compare_pairs({"good": GOOD, "other": other}, rope=rope)
    return pair.outcome, pair.verdict


def test_a_difference_whose_interval_lies_within_the_region_is_practically_none():
    found, verdict = outcome(GOOD & (IMAGES % 1000 != 1), 0.005)
    assert found == "equal"
    assert verdict.startswith("good and other are practically equal: 0.1 points (95 % interval 0.")
    assert "within ±0.5 points" in verdict


def test_without_a_region_the_same_difference_is_a_difference():
    assert outcome(GOOD & (IMAGES % 1000 != 1), 0.0)[0] == "better"


def test_a_difference_that_is_seen_and_matters_is_one():
    assert outcome(GOOD & (IMAGES % 50 != 1), 0.005)[0] == "better"


def test_what_the_images_do_not_tell_is_undecided():
    few = slice(0, 200)
    (pair,) = compare_pairs({"a": GOOD[few], "b": GOOD[few] & (IMAGES[few] % 100 != 1)}, rope=0.005)
    assert pair.outcome == "undecided"
    assert not difference(GOOD[few], GOOD[few] & (IMAGES[few] % 100 != 1)).equal_within(0.005)


@pytest.mark.medium
def test_a_comparison_says_beforehand_what_its_images_can_show(tiny, quick, tiny_digits, capsys):
    tz.compare({"a": tiny}, tiny_digits, weights=None, recipe=quick, lint=False)
    assert f"{len(tiny_digits.y_test)} test images " in capsys.readouterr().err.splitlines()[0]


def test_ranks_are_as_wide_as_the_tests_leave_them():
    models = {
        "good": GOOD,
        "like it": GOOD & (IMAGES != 1),
        "fair": GOOD & (IMAGES % 20 != 1),
        "poor": IMAGES % 2 == 0,
    }
    ranks = tz.statistics.rank_intervals(compare_pairs(models))
    assert ranks == {"good": (1, 2), "like it": (1, 2), "fair": (3, 3), "poor": (4, 4)}


@pytest.mark.parametrize("comparisons", [5, [], ["a"], None])
def test_ranks_of_anything_else_are_refused(comparisons):
    with pytest.raises(InvalidInputError, match="comparisons must be"):
        tz.statistics.rank_intervals(comparisons)


def grouped_answers(rng, groups, size, share, alike):
    """Which of `size` images in each group are right, alike within a group."""
    of_group = np.clip(rng.normal(share, alike, groups), 0, 1)
    return rng.random((groups, size)) < of_group[:, None], np.repeat(np.arange(groups), size)


@pytest.mark.slow
def test_intervals_over_groups_hold_the_truth_where_those_over_images_do_not():
    rng = np.random.default_rng(0)
    held = {"groups": 0, "images": 0}
    differences = 0
    for _ in range(600):
        right, units = grouped_answers(rng, 40, 10, 0.7, 0.2)
        other, _ = grouped_answers(rng, 40, 10, 0.7, 0.2)
        # the expected share, as clipping takes a little of it
        truth = float(np.clip(np.random.default_rng(1).normal(0.7, 0.2, 200_000), 0, 1).mean())
        for name, given_units in (("groups", units), ("images", None)):
            found = tz.statistics.accuracy_interval(right.ravel(), groups=given_units)
            held[name] += found.low <= truth <= found.high
        found = difference(right.ravel(), other.ravel(), groups=units)
        differences += found.low <= 0 <= found.high
    assert held["groups"] / 600 > 0.92
    assert held["images"] / 600 < 0.9
    assert 0.92 < differences / 600 < 0.98


def test_groups_of_one_image_each_are_images():
    right, other = GOOD[:500], GOOD[:500] & (IMAGES[:500] % 100 != 1)
    alone = difference(right, other, groups=np.arange(500))
    assert alone.test == "t, groups"
    assert alone.low == pytest.approx(difference(right, other).low, abs=0.004)
    interval = tz.statistics.accuracy_interval(right, groups=np.arange(500))
    plain = tz.statistics.accuracy_interval(right)
    assert interval.low == pytest.approx(plain.low, abs=0.002)


def test_copies_of_images_add_nothing_where_they_are_one_group():
    right = GOOD[:200]
    copies = np.repeat(right, 5)
    grouped = tz.statistics.accuracy_interval(copies, groups=np.repeat(np.arange(200), 5))
    plain = tz.statistics.accuracy_interval(right)
    assert grouped.low == pytest.approx(plain.low, abs=0.002)
    assert tz.statistics.accuracy_interval(copies).low > plain.low + 0.01


@pytest.mark.parametrize("groups", [5, ["a"], ["a"] * 100, [0.5] * 100])
def test_groups_that_say_nothing_are_refused(groups):
    with pytest.raises(InvalidInputError, match="groups must be"):
        tz.statistics.accuracy_interval(GOOD[:100], groups=groups)


def test_models_that_agree_on_few_images_are_not_called_equal():
    right = GOOD[:60]
    (pair,) = compare_pairs({"a": right, "b": right.copy()}, rope=0.005)
    assert pair.outcome == "undecided"
    (several,) = compare_pairs({"a": np.stack([right, right]), "b": np.stack([right, right])}, rope=0.005)
    assert several.outcome == "undecided"
    (many,) = compare_pairs({"a": GOOD, "b": GOOD.copy()}, rope=0.005)
    assert many.outcome == "equal"


@pytest.mark.parametrize(
    ("only_a", "only_b", "n"), [(0, 0, 50), (9, 3, 100), (1, 0, 20), (40, 5, 60), (30, 0, 30)]
)
def test_tangos_bounds_are_where_the_score_test_just_rejects(only_a, only_b, n):
    a = np.arange(n) < only_a
    b = (np.arange(n) >= only_a) & (np.arange(n) < only_a + only_b)
    interval = tz.statistics.tango_interval(a, b)
    assert interval.low <= interval.estimate <= interval.high
    for difference_, sign in ((interval.low, 1), (interval.high, -1)):
        if abs(difference_) == 1:
            continue
        # the constrained likelihood, maximised by search in place of the closed form
        shares = np.linspace(max(0, -difference_) + 1e-9, (1 - difference_) / 2 - 1e-9, 200_001)
        both = 1 - 2 * shares - difference_
        likelihood = (
            only_a * np.log(shares + difference_)
            + only_b * np.log(shares)
            + (n - only_a - only_b) * np.log(both)
        )
        best = shares[np.nanargmax(likelihood)]
        score = (only_a - only_b - n * difference_) / np.sqrt(
            n * (2 * best + difference_ * (1 - difference_))
        )
        assert score == pytest.approx(sign * 1.96, abs=0.03)


def test_tangos_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        drawn = rng.random(200)
        a, b = drawn < 0.08, (drawn >= 0.08) & (drawn < 0.12)
        interval = tz.statistics.tango_interval(a, b)
        held += interval.low <= 0.04 <= interval.high
    assert 0.93 < held / 1000 < 0.975
