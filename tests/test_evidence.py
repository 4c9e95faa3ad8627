"""LogME is the evidence it says it is: against the Gaussian's own density, maximised by another way."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import multivariate_normal

from transferzoo.errors import InvalidInputError
from transferzoo.judging.evidence import logme


def data(images, channels, *, classes=3, signal=1.0, seed=0):
    """Features of which the first few tell the class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    features = rng.normal(size=(images, channels)) + 0.3
    features[:, :classes] += signal * np.eye(classes)[labels]
    return features, labels


def evidence(features, target, alpha, beta):
    """The density of a target, with the weights integrated out: a Gaussian over the images."""
    covariance = np.eye(len(features)) / beta + features @ features.T / alpha
    return multivariate_normal(np.zeros(len(features)), covariance).logpdf(target)


def by_brute_force(features, labels):
    """The maximum over alpha and beta, searched from several starts."""
    found = []
    for label in np.unique(labels):
        target = (labels == label).astype(float)

        def loss(logs, target=target):
            return -evidence(features, target, *np.exp(logs))

        starts = [(0.0, 0.0), (4.0, 1.0), (-2.0, 3.0)]
        best = min(minimize(loss, start, method="Nelder-Mead", tol=1e-9).fun for start in starts)
        found.append(-best / len(labels))
    return np.mean(found)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("images", "channels"), [(40, 5), (40, 39), (30, 60)], ids=["tall", "nearly square", "wide"]
)
def test_it_is_the_greatest_evidence_of_the_gaussian(images, channels):
    features, labels = data(images, channels)
    assert logme(features, labels) == pytest.approx(by_brute_force(features, labels), abs=1e-6)


def test_it_is_the_greatest_over_the_one_ratio_that_it_depends_on():
    # an exact SVD, and a search over alpha / beta alone with the best beta for each
    features, labels = data(300, 80, classes=5, signal=0.5, seed=1)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    found = []
    for label in range(5):
        target = (labels == label).astype(float)
        along = left.T @ target
        outside = target @ target - along @ along

        def loss(log_ratio, along=along, outside=outside):
            ratio = np.exp(log_ratio)
            energy = outside + (along**2 * ratio / (ratio + singular**2)).sum()
            shrunk = np.log(ratio / (ratio + singular**2)).sum()
            return -0.5 * (shrunk - 300 * np.log(2 * np.pi * energy / 300) - 300)

        grid = np.linspace(-10, 20, 61)
        near = grid[np.argmin([loss(each) for each in grid])]
        found.append(-minimize_scalar(loss, bounds=(near - 1, near + 1), method="bounded").fun / 300)
    assert logme(features, labels) == pytest.approx(np.mean(found), abs=1e-8)


def test_features_that_tell_the_class_score_higher():
    scores = [logme(*data(200, 20, signal=signal)) for signal in (0, 0.5, 1, 2, 4)]
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.3


def test_columns_of_noise_do_not_raise_it():
    features, labels = data(120, 10)
    noise = np.random.default_rng(3).normal(size=(120, 100))
    assert logme(np.hstack([features, noise]), labels) < logme(features, labels)


@pytest.mark.parametrize("scale", [1e-18, 1e-3, 1e6])
def test_the_features_unit_does_not_matter(scale):
    features, labels = data(80, 12)
    assert logme(scale * features, labels) == pytest.approx(logme(features, labels), rel=1e-6)


def test_neither_does_the_order_of_images_nor_what_the_labels_are_called():
    features, labels = data(80, 12)
    order = np.random.default_rng(0).permutation(80)
    assert logme(features[order], 7 - 2 * labels[order]) == pytest.approx(logme(features, labels), rel=1e-9)


def test_a_channel_told_twice_is_no_trouble():
    features, labels = data(60, 8)
    assert np.isfinite(logme(np.hstack([features, features]).astype("float32"), labels))


def test_features_that_are_all_zero_score_as_no_features():
    # y ~ N(0, 1 / beta) alone, at the best beta
    labels = np.arange(90) % 3
    expected = -0.5 * (np.log(2 * np.pi / 3) + 1)
    assert logme(np.zeros((90, 4)), labels) == pytest.approx(expected)
    # orthogonal to every target
    features = np.repeat([[1.0], [-1.0]], 45, axis=0)
    alternating = np.concatenate([np.arange(45) % 3, np.arange(45) % 3])
    assert logme(features, alternating) == pytest.approx(expected, abs=1e-3)


def test_features_that_fit_exactly_have_a_finite_score():
    labels = np.arange(30) % 3
    assert np.isfinite(logme(np.eye(3)[labels], labels))
    assert np.isfinite(logme(np.random.default_rng(0).normal(size=(10, 50)), np.arange(10) % 2))


@pytest.mark.parametrize(
    ("features", "labels", "argument"),
    [
        (np.ones(4), np.arange(4), "features"),
        (np.full((4, 2), np.nan), np.arange(4), "features"),
        (np.ones((4, 2)), np.arange(3), "labels"),
        (np.ones((4, 2)), np.arange(4) / 2, "labels"),
        (np.ones((4, 2)), np.zeros(4, int), "labels"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(features, labels, argument):
    with pytest.raises(InvalidInputError) as caught:
        logme(features, labels)
    assert caught.value.argument == argument
