"""Intervals over seeds and images, differences, verdicts; the rest: proportions, variation, frontier."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferzoo import statistics
from transferzoo.errors import InvalidInputError


def discordant(only_a, only_b, both=20, neither=5):
    a = np.repeat([True, False, True, False], [only_a, only_b, both, neither])
    b = np.repeat([False, True, True, False], [only_a, only_b, both, neither])
    return a, b


def crossed(rng, seeds, images, *, seed_spread, ahead=0.0):
    """Draw runs of two models whose images differ in difficulty and whose seeds differ in skill."""
    difficulty = 1.7 + rng.normal(0, 1.2, images)
    return [
        difficulty
        + rng.normal(0, 0.9, images)
        + (ahead if number == 0 else 0.0)
        + rng.normal(0, seed_spread, (seeds, 1))
        + rng.normal(0, 0.7, (seeds, images))
        > 0
        for number in range(2)
    ]


def expected_accuracy(seed_spread):
    """Of `crossed`, over all seeds and images."""
    from scipy.stats import norm

    return norm.cdf(1.7 / np.sqrt(1.2**2 + 0.9**2 + 0.7**2 + seed_spread**2))


def test_every_public_name_is_here():
    assert all(hasattr(statistics, name) for name in statistics.__all__)


def test_one_run_has_wilsons_interval_and_no_deviation():
    interval = statistics.accuracy_interval(np.arange(1000) % 10 != 0)
    assert [interval.low, interval.high] == statistics.wilson_interval(900, 1000).tolist()
    assert (interval.estimate, interval.seeds, interval.images) == (0.9, 1, 1000)
    assert np.isnan(interval.seed_deviation)


def test_one_run_may_be_a_table_of_one_row():
    right = np.arange(100) % 10 != 0
    one, other = statistics.accuracy_interval(right), statistics.accuracy_interval(right[None])
    assert (one.low, one.high, one.seeds) == (other.low, other.high, other.seeds)


def test_runs_that_are_all_alike_have_the_interval_of_one():
    right = np.arange(1000) % 10 != 0
    one, three = statistics.accuracy_interval(right), statistics.accuracy_interval(np.stack([right] * 3))
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=1e-4)
    assert three.seed_deviation == 0


def test_several_runs_without_an_error_have_the_interval_of_their_images():
    interval = statistics.accuracy_interval(np.ones((3, 200), bool))
    assert [interval.low, interval.high] == statistics.wilson_interval(200, 200).tolist()


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    alike, apart = (crossed(rng, 3, 500, seed_spread=spread)[0] for spread in (0.0, 1.0))
    narrow, wide = statistics.accuracy_interval(alike), statistics.accuracy_interval(apart)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.seed_deviation == pytest.approx(apart.mean(axis=1).std(ddof=1))


def test_more_confidence_is_a_wider_interval():
    a, b = crossed(np.random.default_rng(0), 3, 500, seed_spread=0.2)
    for narrow, wide in (
        [statistics.accuracy_interval(a, confidence=confidence) for confidence in (0.8, 0.99)],
        [statistics.difference(a, b, confidence=confidence) for confidence in (0.8, 0.99)],
    ):
        assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.medium
@pytest.mark.parametrize(
    ("seeds", "seed_spread", "of_accuracy", "of_difference"),
    [
        # measured over 2,000 trials each: 0.965 and 0.961, 0.955 and 0.944, 0.95 and 0.95
        (3, 0.05, 0.93, 0.93),
        (5, 0.15, 0.92, 0.92),
        (10, 0.4, 0.91, 0.92),
        # two runs now and then agree by chance: 0.91 and 0.94
        (2, 0.15, 0.87, 0.91),
    ],
)
def test_intervals_over_seeds_and_images_hold_the_truth_as_often_as_they_say(
    seeds, seed_spread, of_accuracy, of_difference
):
    rng = np.random.default_rng(2)
    truth = expected_accuracy(seed_spread)
    held = np.zeros(2)
    trials = 400
    for _ in range(trials):
        a, b = crossed(rng, seeds, 400, seed_spread=seed_spread)
        accuracy, difference = statistics.accuracy_interval(a), statistics.difference(a, b)
        held += [accuracy.low <= truth <= accuracy.high, difference.low <= 0 <= difference.high]
    assert of_accuracy < held[0] / trials < 0.99
    assert of_difference < held[1] / trials < 0.99


def test_test_images_alone_would_hold_it_far_less_often():
    # what counting the seeds is for: one run's own interval, where seeds vary
    rng = np.random.default_rng(0)
    truth = expected_accuracy(0.4)
    held = 0
    for _ in range(300):
        interval = statistics.accuracy_interval(crossed(rng, 1, 1000, seed_spread=0.4)[0])
        held += interval.low <= truth <= interval.high
    assert held / 300 < 0.5


def test_one_run_of_each_is_judged_by_mcnemar_and_tangos_interval():
    a, b = discordant(30, 10, both=150, neither=10)
    found = statistics.difference(a, b)
    interval = statistics.tango_interval(a, b)
    assert (found.low, found.high) == (interval.low, interval.high)
    assert found.estimate == pytest.approx(interval.estimate)
    assert found.p_value == statistics.mcnemar(a, b).p_value
    assert found.test == "mid-p McNemar"
    assert (found.seeds, found.images, found.seeds_needed) == ((1, 1), 200, None)


def test_several_runs_are_judged_by_t_worked_out_by_hand():
    from scipy.stats import t

    a, b = crossed(np.random.default_rng(1), 3, 200, seed_spread=0.3, ahead=0.4)
    parts = [np.var(a.mean(axis=0) - b.mean(axis=0), ddof=1) / 200]
    runs, residuals = [], []
    for table in (a, b):
        rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
        runs.append(table.mean(axis=1).var(ddof=1) / 3)
        residuals.append((rest**2).sum() / (2 * 199) / 600)
    variance = parts[0] + max(sum(runs) - sum(residuals), 0)
    assert variance > parts[0]
    degrees = variance**2 / (parts[0] ** 2 / 199 + sum(each**2 for each in runs) / 2)
    found = statistics.difference(a, b)
    reach = t.ppf(0.975, degrees) * np.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((found.estimate - reach, found.estimate + reach))
    assert found.p_value == pytest.approx(2 * t.sf(abs(found.estimate) / np.sqrt(variance), degrees))
    assert found.test == "t, seeds and images"


@settings(max_examples=30, deadline=None)
@given(counts=st.tuples(*[st.integers(0, 40)] * 4).filter(any), seeds=st.integers(1, 4))
def test_swapping_the_models_turns_the_sign(counts, seeds):
    rng = np.random.default_rng(sum(counts))
    a, b = (np.stack([rng.permuted(each) for _ in range(seeds)]) for each in discordant(*counts))
    if seeds > 1 and a.shape[1] == 1:
        return
    one, other = statistics.difference(a, b), statistics.difference(b, a)
    assert one.estimate == pytest.approx(-other.estimate)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    assert one.p_value == pytest.approx(other.p_value)
    assert (one.images_needed, one.seeds_needed) == (other.images_needed, other.seeds_needed)
    assert one.low <= one.estimate + 1e-12
    assert one.estimate <= one.high + 1e-12


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), seeds=st.integers(1, 3))
def test_the_order_of_images_and_of_seeds_does_not_matter(seed, seeds):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, seeds, 60)) < 0.7
    order = rng.permutation(60)
    one = statistics.difference(a, b)
    other = statistics.difference(a[::-1, order], b[:, order])
    assert (one.low, one.high, one.p_value) == pytest.approx((other.low, other.high, other.p_value))
    assert one.images_needed == other.images_needed
    single, again = statistics.accuracy_interval(a), statistics.accuracy_interval(a[::-1, order])
    assert (single.low, single.high) == pytest.approx((again.low, again.high))


def test_every_image_saying_the_same_is_as_sure_as_there_are_images():
    right = np.ones((2, 4), bool)
    assert statistics.difference(right, ~right).p_value == 2 / 2**4
    assert statistics.difference(right, right).p_value == 1.0


def test_models_may_have_different_numbers_of_runs():
    a, b = crossed(np.random.default_rng(0), 4, 300, seed_spread=0.1)
    found = statistics.difference(a, b[:2])
    assert found.seeds == (4, 2)
    assert found.low < found.estimate < found.high


def test_several_runs_on_a_single_image_are_refused():
    for call in (lambda: statistics.accuracy_interval([[True], [False]]), lambda: both([[True], [False]])):
        with pytest.raises(InvalidInputError, match="two or more test images"):
            call()


def both(table):
    return statistics.difference(table, table)


@pytest.mark.parametrize("power", [0.4, 1.0, True])
def test_a_power_out_of_range_is_refused(power):
    with pytest.raises(InvalidInputError, match=r"power must be a number from 0\.5 to below 1"):
        statistics.difference([True, False], [True, True], power=power)


def test_a_clear_verdict_names_the_better_one_first():
    found = statistics.difference(*discordant(10, 100, both=500, neither=50))
    assert re.fullmatch(
        r"y beats x by 13\.6 points \(95 % interval 1\d\.\d to 1\d\.\d\); "
        "one run each: how seeds vary is not counted",
        found.verdict("x", "y"),
    )


def test_a_clear_verdict_of_several_runs_has_no_reservation():
    a, b = crossed(np.random.default_rng(0), 3, 2000, seed_spread=0.02, ahead=1.0)
    words = statistics.difference(a, b).verdict("resnet50", "mobilenet")
    assert re.fullmatch(
        r"resnet50 beats mobilenet by 1\d\.\d points \(95 % interval \d\.\d to 1\d\.\d\)", words
    )


def test_an_unclear_verdict_says_what_would_settle_it():
    found = statistics.difference(*discordant(30, 20, both=900, neither=50))
    words = found.verdict("x", "y")
    assert words.startswith("x and y are not distinguishable (1.0 points, 95 % interval -")
    assert words.endswith(
        "): about 4,000 test images would settle a difference of this size; "
        "one run each: how seeds vary is not counted"
    )
    # to two digits, upwards
    assert found.images_needed == 3923


def test_several_runs_may_be_settled_by_images_or_by_seeds():
    # two models that find the same images hard, as those of one backbone do
    rng = np.random.default_rng(0)
    difficulty = rng.normal(1.5, 1.5, 3000)
    a, b = (difficulty + rng.normal(ahead, 1, (3, 3000)) > 0 for ahead in (0.05, 0))
    found = statistics.difference(a, b)
    assert found.seeds_needed > 3
    assert found.images_needed > 3000
    assert re.search(
        rf": about [\d,]+ test images or {found.seeds_needed} seeds would settle a difference of this size$",
        found.verdict("x", "y"),
    )


def test_where_neither_would_settle_it_the_verdict_says_so():
    # each model's images differ from the other's, and each one's two runs from one another
    difficulty_a, difficulty_b = np.random.default_rng(0).random((2, 1, 100))
    found = statistics.difference(difficulty_a < [[0.4], [0.9]], difficulty_b < [[0.4], [0.9]])
    assert found.estimate != 0
    assert (found.images_needed, found.seeds_needed) == (None, None)
    assert found.verdict("x", "y").endswith(
        ": neither more test images nor more seeds alone would settle a difference of this size"
    )


def test_a_difference_that_was_not_seen_has_no_number():
    found = statistics.difference(*discordant(10, 10))
    assert (found.images_needed, found.seeds_needed) == (None, None)
    assert ": no difference was seen; one run each" in found.verdict("x", "y")
    assert "(0.0 points, 95 % interval -" in found.verdict("x", "y")


def test_a_model_with_one_run_is_named():
    a, b = crossed(np.random.default_rng(0), 3, 400, seed_spread=0.1)
    assert (
        statistics.difference(a, b[0])
        .verdict("x", "y")
        .endswith("one run of y: how its seeds vary is not counted")
    )
    assert (
        statistics.difference(a[0], b)
        .verdict("x", "y")
        .endswith("one run of x: how its seeds vary is not counted")
    )


def test_an_interval_without_0_is_not_enough():
    # 4 to 0 of a fair coin: p = 3 / 16 / 3; the score of 2.0 is above 1.96
    found = statistics.difference(*discordant(4, 0, both=400, neither=96))
    assert found.low > 0
    assert re.match(
        r"x and y are not distinguishable \(0\.80 points, 95 % interval 0\.0\d to \d\.\d\d, p = 0\.062\)",
        found.verdict("x", "y"),
    )


def test_a_bound_beside_0_is_not_written_as_0():
    found = statistics.Difference(
        **{**vars(statistics.difference(*discordant(30, 20))), "estimate": 0.01, "low": 0.0002, "high": 0.02}
    )
    assert "(1.00 points, 95 % interval 0.02 to 2.00" in found.verdict("x", "y")


def test_a_difference_that_holms_correction_takes_away_says_so():
    found = statistics.difference(*discordant(40, 20, both=500, neither=50))
    assert "beats" in found.verdict("x", "y")
    words = found.verdict("x", "y", p_value=0.2, comparisons=10)
    assert words.startswith("x and y are not distinguishable after Holm correction over 10 pairs (3.3 points")


def test_a_difference_that_is_unclear_by_itself_is_not_blamed_on_the_correction():
    words = statistics.difference(*discordant(30, 20)).verdict("x", "y", p_value=1.0, comparisons=10)
    assert "Holm" not in words


def test_more_comparisons_need_more_images_than_there_were():
    found = statistics.difference(*discordant(40, 20, both=500, neither=50))
    alone, among_ten = found.needed()[0], found.needed(comparisons=10)[0]
    assert alone == found.images_needed
    assert found.images < among_ten
    assert alone < among_ten


def test_all_pairs_are_corrected_together_best_first():
    rng = np.random.default_rng(0)
    models = {str(share): rng.random(600) < share for share in (0.5, 0.6, 0.9)}
    pairs = statistics.compare_pairs(models)
    assert [(pair.a, pair.b) for pair in pairs] == [("0.9", "0.6"), ("0.9", "0.5"), ("0.6", "0.5")]
    alone = [statistics.difference(models[pair.a], models[pair.b]).p_value for pair in pairs]
    assert [pair.p_holm for pair in pairs] == pytest.approx(statistics.holm(alone).tolist())
    for pair in pairs:
        assert pair.distinguishable == ("beats" in pair.verdict)
        assert pair.difference.estimate >= 0


def test_pairs_are_compared_with_the_options_given():
    rng = np.random.default_rng(0)
    models = {name: rng.random(300) < 0.8 for name in "ab"}
    (pair,) = statistics.compare_pairs(models, confidence=0.9, power=0.9)
    assert pair.difference.confidence == 0.9
    assert "90 % interval" in pair.verdict


@pytest.mark.parametrize("models", [{}, {"a": [True, False]}])
def test_fewer_than_two_models_make_no_pair(models):
    assert statistics.compare_pairs(models) == []


def test_a_model_on_other_images_is_refused():
    with pytest.raises(InvalidInputError, match="must be on the same test images"):
        statistics.compare_pairs({"a": [True, False], "b": [True]})
