"""Whether probabilities mean what they say: by hand, against scikit-learn, and undone where they do not."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import brier_score_loss, log_loss

from transferzoo import calibration
from transferzoo.errors import InvalidInputError


def at_temperature(heat, n=4000, classes=4, seed=0):
    """Classes drawn from probabilities, and these as a model at temperature `heat` tells them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y_true = (rng.random((n, 1)) > true.cumsum(axis=1)).sum(axis=1)
    told = np.exp(logits / heat)
    return y_true, told / told.sum(axis=1, keepdims=True)


def test_the_brier_score_worked_out_on_paper():
    y_prob = [[0.9, 0.1, 0.0], [0.4, 0.1, 0.5]]
    # (0.01 + 0.01 + 0) and (0.16 + 0.81 + 0.25)
    assert calibration.brier_score([0, 1], y_prob) == pytest.approx((0.02 + 1.22) / 2)


def test_the_brier_score_of_two_classes_is_twice_scikit_learn_s():
    y_true, y_prob = at_temperature(1.0, classes=2)
    assert calibration.brier_score(y_true, y_prob) == pytest.approx(
        2 * brier_score_loss(y_true, y_prob[:, 1])
    )


@pytest.mark.parametrize(("y_prob", "score"), [([[1, 0]], 0.0), ([[0, 1]], 2.0), ([[0.5, 0.5]], 0.5)])
def test_the_brier_score_runs_from_0_to_2(y_prob, score):
    assert calibration.brier_score([0], y_prob) == score


def test_the_calibration_error_worked_out_on_paper():
    y_prob = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    # 0.9 sure and always right, 0.6 sure and right half the time
    for strategy in ("equal_width", "equal_mass"):
        error = calibration.expected_calibration_error([0, 0, 1, 0], y_prob, strategy=strategy)
        assert error == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)


def test_gaps_of_one_bin_cancel_and_gaps_of_two_do_not():
    y_prob = np.array([[0.8, 0.2], [0.6, 0.4]])
    one, two = (calibration.expected_calibration_error([0, 1], y_prob, bins=bins) for bins in (1, 4))
    assert one == pytest.approx(abs(0.5 - 0.7))
    assert two == pytest.approx((0.2 + 0.6) / 2)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    rows = calibration.reliability([0, 0], [[0.5, 0.5], [0.75, 0.25]], bins=4)
    assert [(row["low"], row["high"]) for row in rows] == [(0.25, 0.5), (0.5, 0.75)]


@pytest.mark.parametrize("strategy", ["equal_width", "equal_mass"])
def test_probabilities_that_are_true_have_little_calibration_error(strategy):
    true, too_sure = (
        calibration.expected_calibration_error(*at_temperature(heat), strategy=strategy) for heat in (1, 0.3)
    )
    assert true < 0.03
    assert too_sure > 0.1


def test_bins_of_equal_mass_hold_equal_numbers():
    rows = calibration.reliability(*at_temperature(1.0), bins=8, strategy="equal_mass")
    assert [row["count"] for row in rows] == [500] * 8


def test_images_of_one_confidence_are_never_parted():
    y_prob = np.array([[0.6, 0.4]] * 2 + [[0.7, 0.3]] * 27 + [[0.9, 0.1]])
    rows = calibration.reliability(np.zeros(30, int), y_prob, bins=5, strategy="equal_mass")
    # the 27 begin in the first bin, the last one is alone in the last
    assert [(row["count"], row["low"], row["high"]) for row in rows] == [(29, 0.6, 0.7), (1, 0.9, 0.9)]


@pytest.mark.parametrize("strategy", ["equal_width", "equal_mass"])
def test_the_order_of_images_does_not_matter(strategy):
    y_true, y_prob = at_temperature(1.0, n=500)
    y_prob = y_prob.round(1) / y_prob.round(1).sum(axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(500)
    one, other = (
        calibration.expected_calibration_error(y_true[places], y_prob[places], strategy=strategy)
        for places in (np.arange(500), order)
    )
    assert one == pytest.approx(other)


@pytest.mark.parametrize("strategy", ["equal_width", "equal_mass"])
def test_the_rows_of_the_diagram_hold_every_image_and_make_up_the_error(strategy):
    y_true, y_prob = at_temperature(0.5)
    rows = calibration.reliability(y_true, y_prob, bins=10, strategy=strategy)
    assert sum(row["count"] for row in rows) == 4000
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in rows)
    assert [row["low"] for row in rows] == sorted(row["low"] for row in rows)
    right = sum(row["count"] * row["accuracy"] for row in rows)
    assert right == pytest.approx((y_prob.argmax(axis=1) == y_true).sum())
    gap = sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / 4000
    assert gap == calibration.expected_calibration_error(y_true, y_prob, bins=10, strategy=strategy)


@pytest.mark.parametrize("heat", [0.2, 0.4, 1.0, 2.5])
def test_the_temperature_undoes_what_was_done(heat):
    assert calibration.fit_temperature(*at_temperature(heat)) == pytest.approx(1 / heat, rel=0.05)


def test_the_temperature_worked_out_on_paper():
    # right three times in four at odds of 99 to 1: log 99 / T = log 3
    found = calibration.fit_temperature([0, 0, 0, 1], [[0.99, 0.01]] * 4)
    assert found == pytest.approx(np.log(99) / np.log(3), rel=1e-4)


class Told(ClassifierMixin, BaseEstimator):
    """A classifier whose images are the probabilities that it gives."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(axis=1)


def test_the_temperature_is_scikit_learn_s():
    frozen = pytest.importorskip("sklearn.frozen", reason="came with scikit-learn 1.6")
    y_true, y_prob = at_temperature(0.5)
    model = frozen.FrozenEstimator(Told().fit(y_prob, y_true))
    try:
        theirs = CalibratedClassifierCV(model, method="temperature").fit(y_prob, y_true)
    except ValueError:
        pytest.skip("temperature scaling came with scikit-learn 1.8")
    ours = calibration.apply_temperature(y_prob, calibration.fit_temperature(y_true, y_prob))
    assert ours == pytest.approx(theirs.predict_proba(y_prob), abs=2e-3)
    assert log_loss(y_true, ours) <= log_loss(y_true, theirs.predict_proba(y_prob)) + 1e-8


def test_no_other_temperature_has_a_lower_log_loss():
    y_true, y_prob = at_temperature(0.6, n=300)
    best = calibration.fit_temperature(y_true, y_prob)
    losses = [
        log_loss(y_true, calibration.apply_temperature(y_prob, best * factor))
        for factor in (0.5, 0.99, 1.0, 1.01, 2.0)
    ]
    assert min(losses) == losses[2]


def test_a_temperature_leaves_the_guess_and_the_sums_alone():
    _, y_prob = at_temperature(1.0)
    for temperature in (0.01, 0.5, 1, 7.0, 100):
        other = calibration.apply_temperature(y_prob, temperature)
        assert (other.argmax(axis=1) == y_prob.argmax(axis=1)).all()
        assert other.sum(axis=1) == pytest.approx(1.0)
    assert calibration.apply_temperature(y_prob, 1) == pytest.approx(y_prob)


def test_temperatures_follow_one_another_as_their_product():
    _, y_prob = at_temperature(1.0, n=50)
    twice = calibration.apply_temperature(calibration.apply_temperature(y_prob, 2.0), 3.0)
    assert twice == pytest.approx(calibration.apply_temperature(y_prob, 6.0))


def test_a_model_that_is_always_right_is_made_no_surer():
    _, y_prob = at_temperature(1.0, n=50)
    assert calibration.fit_temperature(y_prob.argmax(axis=1), y_prob) == 1.0
    assert calibration.fit_temperature([0, 1], np.eye(2)) == 1.0
    assert calibration.fit_temperature([0, 1], np.full((2, 2), 0.5)) == 1.0


def test_a_model_that_is_certain_and_wrong_is_softened_to_the_bound():
    y_prob = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    temperature = calibration.fit_temperature([1, 2, 0, 1], y_prob)
    assert temperature == pytest.approx(calibration.HIGHEST_TEMPERATURE, rel=1e-3)
    mended = calibration.apply_temperature(y_prob, temperature)
    assert np.isfinite(mended).all()
    assert mended.max() < 0.5


def test_zeros_stay_finite_at_any_temperature():
    for temperature in (1e-300, 0.01, 1.0, 100.0):
        rows = calibration.apply_temperature([[1.0, 0.0], [0.3, 0.7]], temperature)
        assert np.isfinite(rows).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_rounded_rows_have_nearly_the_same_figures(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    y_true, y_prob = at_temperature(0.5, classes=10)
    rounded = y_prob.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    # below 6e-8 a half-precision probability is 0, and counts as 2.2e-16
    tolerance = {"float32": 1e-4, "bfloat16": 0.01, "float16": 0.05}[dtype]
    found, expected = (
        calibration.fit_temperature(y_true, rounded),
        calibration.fit_temperature(y_true, y_prob),
    )
    assert found == pytest.approx(expected, rel=tolerance)
    assert calibration.brier_score(y_true, rounded) == pytest.approx(
        calibration.brier_score(y_true, y_prob), abs=2e-3
    )
    # a confidence that rounds across an edge takes its gap along
    assert calibration.expected_calibration_error(y_true, rounded) == pytest.approx(
        calibration.expected_calibration_error(y_true, y_prob), abs=2e-3
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: calibration.apply_temperature([[0.5, 0.5]], 0), "temperature must be a number above 0"),
        (lambda: calibration.apply_temperature([[0.5, 0.5]], float("nan")), "temperature must be a number"),
        (lambda: calibration.apply_temperature([[0.5, 0.5]], "2"), "temperature must be a number above 0"),
        (lambda: calibration.apply_temperature([[5.0, 0.5]], 1), "pass their softmax"),
        (lambda: calibration.fit_temperature([0, 1], [[0.5, 0.5]]), "2 entries"),
        (
            lambda: calibration.expected_calibration_error([0], [[0.5, 0.5]], strategy="equal_with"),
            "'equal_width' or 'equal_mass'.*Did you mean 'equal_width'",
        ),
        (lambda: calibration.reliability([0], [[0.5, 0.5]], bins=0), "bins must be a whole number of 1"),
        (lambda: calibration.brier_score([2], [[0.5, 0.5]]), "class numbers from 0 to 1"),
    ],
)
def test_what_is_no_probability_is_refused(call, words):
    with pytest.raises(InvalidInputError, match=words):
        call()
