"""Answering only what the model is sure of: the curve by hand, and its picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferzoo import plots
from transferzoo.errors import InvalidInputError
from transferzoo.judging.selective import risk_coverage


def test_the_curve_is_what_a_loop_over_thresholds_finds():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 4, 200), rng.dirichlet(np.ones(4), 200).round(2)
    y_prob /= y_prob.sum(axis=1, keepdims=True)
    curve = risk_coverage(y_true, y_prob)
    wrong = y_prob.argmax(axis=1) != y_true
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        answered = y_prob.max(axis=1) >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx(wrong[answered].mean())


@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 100))
def test_at_full_coverage_the_risk_is_the_error(n, k, seed):
    rng = np.random.default_rng(seed)
    y_true, y_prob = rng.integers(0, k, n), rng.dirichlet(np.ones(k), n)
    curve = risk_coverage(y_true, y_prob)
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx((y_prob.argmax(axis=1) != y_true).mean())
    assert (np.diff(curve.coverage) > 0).all()
    assert 0 <= curve.area <= 1
    assert curve.at_risk(1.0) == 1


def test_images_of_one_probability_are_answered_together():
    curve = risk_coverage([0, 1, 0], [[0.6, 0.4]] * 3)
    assert curve.coverage.tolist() == [1.0]
    assert curve.risk.tolist() == [pytest.approx(1 / 3)]


def test_the_picture_is_the_curve_with_the_threshold_on_it():
    rng = np.random.default_rng(1)
    y_true, y_prob = rng.integers(0, 3, 80), rng.dirichlet(np.ones(3), 80)
    ax = plots.risk_coverage(y_true, y_prob, threshold=0.7, title="three classes")
    curve = risk_coverage(y_true, y_prob)
    assert ax.lines[0].get_ydata().tolist() == curve.risk.tolist()
    ((x,), (y,)) = ax.lines[2].get_data()
    answered = y_prob.max(axis=1) >= 0.7
    assert x == pytest.approx(answered.mean())
    assert y == pytest.approx((y_prob.argmax(axis=1) != y_true)[answered].mean())
    assert ax.get_title(loc="left") == "three classes"


def test_a_threshold_that_is_no_probability_is_refused():
    with pytest.raises(InvalidInputError, match="threshold must be a probability"):
        plots.risk_coverage([0, 1], [[0.9, 0.1], [0.2, 0.8]], threshold=1.5)
