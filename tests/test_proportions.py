"""Wilson, McNemar, Holm and the bootstrap: by hand, against statsmodels, and for what must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from transferzoo import statistics
from transferzoo.errors import InvalidInputError
from transferzoo.judging.proportions import resampled_accuracies


def discordant(only_a, only_b, both=20, neither=5):
    a = np.repeat([True, False, True, False], [only_a, only_b, both, neither])
    b = np.repeat([False, True, True, False], [only_a, only_b, both, neither])
    return a, b


def test_wilson_worked_out_on_paper():
    # 8 of 10 at z = 1.959964: (0.8 + 0.192073 ± 1.959964 sqrt(0.016 + 0.0096036)) / 1.384146
    assert statistics.wilson_interval(8, 10) == pytest.approx([0.490162, 0.943318], abs=1e-6)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (8100, 10_000)])
def test_wilson_is_that_of_statsmodels(hits, n, confidence):
    theirs = proportion_confint(hits, n, alpha=1 - confidence, method="wilson")
    assert statistics.wilson_interval(hits, n, confidence=confidence) == pytest.approx(theirs, abs=1e-12)


def test_wilson_takes_one_count_of_images_or_one_for_each():
    both = statistics.wilson_interval([1, 9], 10)
    assert both.shape == (2, 2)
    assert both.tolist() == statistics.wilson_interval([1, 9], [10, 10]).tolist()
    assert both[0].tolist() == statistics.wilson_interval(1, 10).tolist()


@pytest.mark.parametrize(
    ("hits", "n", "confidence", "words"),
    [
        (-1, 10, 0.95, "successes must be counts from 0 to n"),
        (11, 10, 0.95, "successes must be counts from 0 to n"),
        (0.81, 10, 0.95, "successes must be counts from 0 to n"),
        (float("nan"), 10, 0.95, "successes must be counts from 0 to n"),
        (0, 0, 0.95, "n must be a whole number of 1 or more"),
        ([1, 2], [3, 3, 3], 0.95, "n must be one number, or one for each of successes"),
        (1, 2, 95, "confidence must be a number above 0 and below 1.*For 95 % pass 0.95"),
        (1, 2, 1.0, "confidence must be a number above 0 and below 1"),
    ],
)
def test_what_is_no_proportion_is_refused(hits, n, confidence, words):
    with pytest.raises(InvalidInputError, match=words):
        statistics.wilson_interval(hits, n, confidence=confidence)


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (6, 1), (1, 6), (10, 10), (40, 20), (300, 250), (2000, 1800)]
)
def test_mcnemar_is_that_of_statsmodels(only_a, only_b):
    found = statistics.mcnemar(*discordant(only_a, only_b), exact=True)
    theirs = their_mcnemar([[20, only_a], [only_b, 5]], exact=True)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(min(theirs.pvalue, 1.0), rel=1e-9)
    if only_a + only_b:
        assert found.p_value == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)


def test_mcnemar_worked_out_on_paper():
    # 6 to 1 of a fair coin: 2 (1 + 7) / 2⁷
    pair = discordant(6, 1)
    assert statistics.mcnemar(*pair, exact=True).p_value == pytest.approx(16 / 128)
    # the outcome itself, 7 of 128, counts half on either side
    assert statistics.mcnemar(*pair).p_value == pytest.approx(9 / 128)
    # 2 to 2: of 16 outcomes 6 are as even
    assert statistics.mcnemar(*discordant(2, 2)).p_value == pytest.approx(1 - 6 / 32)
    assert statistics.mcnemar(*discordant(0, 0)).p_value == 1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_mid_p_value_is_below_the_exact_one(only_a, only_b):
    pair = discordant(only_a, only_b)
    mid, exact = statistics.mcnemar(*pair), statistics.mcnemar(*pair, exact=True)
    assert 0 < mid.p_value <= exact.p_value


def test_mcnemar_is_of_two_runs_alone():
    with pytest.raises(InvalidInputError, match=r"correct_a must be of one run.*difference takes several"):
        statistics.mcnemar(np.ones((2, 4), bool), np.ones((2, 4), bool))


def test_holm_worked_out_on_paper():
    # sorted 0.01 x 3, 0.03 x 2, 0.04 x 1, and never below the one before
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.medium
@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_of_nothing_is_nothing():
    assert statistics.holm([]).shape == (0,)


@pytest.mark.parametrize("p_values", [[0.5, 1.5], [float("nan")], 0.5])
def test_holm_takes_probabilities_alone(p_values):
    with pytest.raises(InvalidInputError, match="p_values must be probabilities"):
        statistics.holm(p_values)


def test_the_bootstrap_has_the_standard_error_of_pairs():
    interval = statistics.paired_bootstrap(*discordant(60, 20, both=800, neither=120))
    # of a mean of +1, -1 and 0: (q - d²) / n
    reach = 1.96 * np.sqrt((0.08 - 0.04**2) / 1000)
    assert interval.estimate == pytest.approx(0.04)
    assert (interval.low, interval.high) == pytest.approx((0.04 - reach, 0.04 + reach), abs=1.5e-3)


def test_the_bootstrap_of_counts_is_that_of_images_drawn_one_by_one():
    a, b = discordant(30, 10, both=150, neither=10)
    draws = np.random.default_rng(1).integers(0, len(a), (4000, len(a)))
    by_hand = np.quantile(a[draws].mean(axis=1) - b[draws].mean(axis=1), [0.025, 0.975])
    interval = statistics.paired_bootstrap(a, b)
    assert (interval.low, interval.high) == pytest.approx(tuple(by_hand), abs=0.01)


def test_the_same_images_are_drawn_for_both():
    rng = np.random.default_rng(0)
    a = rng.random(500) < 0.7
    alike = statistics.paired_bootstrap(a, a.copy())
    apart = statistics.paired_bootstrap(a, rng.permutation(a))
    assert (alike.low, alike.high) == (0, 0)
    assert apart.high - apart.low > 0.05


def test_the_bootstrap_of_several_runs_draws_runs_too():
    rng = np.random.default_rng(0)
    steady = rng.random((3, 400)) < 0.8
    unsteady = rng.random((3, 400)) < np.array([[0.6], [0.8], [1.0]])
    narrow = statistics.paired_bootstrap(steady, steady[::-1])
    wide = statistics.paired_bootstrap(steady, unsteady)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("images", [60, 3000])
def test_kinds_of_images_are_drawn_as_images_are(images):
    # few kinds among many images are drawn as counts, many among few one by one
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 3, images)) < 0.8
    found_a, found_b = resampled_accuracies([a, b], 3000, np.random.default_rng(0))
    picks = rng.integers(0, images, (3000, images))
    one, other = rng.integers(0, 3, (2, 3000, 3))
    by_hand = [
        np.array([table[runs][:, pick].mean() for runs, pick in zip(drawn, picks, strict=True)])
        for table, drawn in ((a, one), (b, other))
    ]
    for found, expected in zip((found_a, found_b), by_hand, strict=True):
        assert found.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / np.sqrt(1500))
        assert found.std() == pytest.approx(expected.std(), rel=0.08)
    assert (found_a - found_b).std() == pytest.approx((by_hand[0] - by_hand[1]).std(), rel=0.08)


def test_one_seed_of_the_generator_gives_one_interval():
    a, b = discordant(30, 10, both=150, neither=10)
    one, again, other = (statistics.paired_bootstrap(a, b, seed=seed, resamples=500) for seed in (0, 0, 1))
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([True] * 5, [True] * 6, ["correct_b", "the same test images", "5", "6 images"]),
        ([], [], ["correct_a", "bool, shape", "(0,)"]),
        (np.ones((2, 2, 2), bool), [True, False], ["correct_a", "(2, 2, 2)"]),
        ([0.5, 0.2], [True, False], ["float64", "Pass y_pred == y_true"]),
        (["a", "b"], [True, False], ["correct_a", "Pass y_pred == y_true"]),
        ([[True, False], [True]], [True, False], ["unequal length", "on the same test images"]),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(a, b, words):
    for call in (statistics.paired_bootstrap, statistics.difference):
        with pytest.raises(InvalidInputError) as caught:
            call(a, b)
        assert [word for word in words if word not in str(caught.value)] == []


def test_right_and_wrong_may_be_written_as_ones_and_zeros():
    a, b = discordant(6, 1)
    assert statistics.mcnemar(a.astype(int), b.astype("float32")) == statistics.mcnemar(a, b)


@pytest.mark.parametrize("options", [{"resamples": 0}, {"seed": -1}, {"confidence": 0}, {"confidence": True}])
def test_options_out_of_range_are_named(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        statistics.paired_bootstrap([True, False], [True, True], **options)
