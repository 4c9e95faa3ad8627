"""`TransferClassifier` in scikit-learn's own tools."""

import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import transferzoo as tz
from transferzoo.errors import InvalidInputError

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


@pytest.fixture(scope="module")
def digits():
    data = tz.load_dataset("digits").subset(train=150, test=60)
    return data.x_train, NAMES[data.y_train], data.x_test, NAMES[data.y_test]


@pytest.fixture(scope="module")
def fitted(digits):
    return classifier().fit(*digits[:2])


def classifier(**options):
    return tz.TransferClassifier("mobilenet_025", weights=None, flip_safe=False, **options)


@pytest.mark.medium
def test_labels_keep_their_names_and_probabilities_their_order(fitted, digits):
    assert fitted.classes_.tolist() == sorted(NAMES)
    probabilities = fitted.predict_proba(digits[2])
    assert probabilities.shape == (60, 10)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (fitted.predict(digits[2]) == fitted.classes_[probabilities.argmax(axis=1)]).all()
    right = fitted.predict(digits[2]) == digits[3]
    assert fitted.score(*digits[2:]) == pytest.approx(right.mean())
    assert right.mean() > 0.3


@pytest.mark.medium
def test_it_trains_what_fit_trains(fitted, digits):
    x, y = digits[:2]
    data = tz.from_arrays(x, np.unique(y, return_inverse=True)[1], test=0, flip_safe=False)
    same = tz.fit(
        "mobilenet_025", data, recipe="linear_probe", head="linear", weights=None, lint=False, verbose=False
    )
    for ours, theirs in zip(fitted.model_.get_weights(), same.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.medium
def test_a_clone_has_the_settings_and_not_the_training(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_pickled_classifier_predicts_the_same(fitted, digits):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.predict_proba(digits[2]), fitted.predict_proba(digits[2]), atol=1e-6)


@pytest.mark.medium
def test_cross_validation_and_a_grid(digits):
    x, y = digits[:2]
    scores = cross_val_score(classifier(), x, y, cv=2)
    assert scores.shape == (2,)
    grid = GridSearchCV(classifier(), {"image_size": [32, 48]}, cv=2).fit(x, y)
    assert grid.best_params_["image_size"] in (32, 48)
    assert grid.best_estimator_.predict(x[:3]).shape == (3,)


@pytest.mark.medium
def test_a_pipeline_may_end_in_it(digits):
    x, y = digits[:2]
    invert = FunctionTransformer(lambda images: 255 - images)
    assert make_pipeline(invert, classifier()).fit(x, y).predict(x[:4]).shape == (4,)


@pytest.mark.medium
def test_files_are_read(tmp_path, digits):
    x, y = digits[:2]
    paths = []
    for number, image in enumerate(x):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    from_files = classifier(image_size=32).fit(paths, y)
    from_arrays = classifier(image_size=32).fit(x, y)
    np.testing.assert_array_equal(from_files.predict(paths[:9]), from_arrays.predict(x[:9]))


@pytest.mark.medium
def test_options_reach_the_training(digits):
    x, y = digits[:2]
    made = classifier(recipe="head", options={"epochs": 2}).fit(x, y)
    assert len(made.fitted_.history["loss"]) == 2


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((10, 5)), np.arange(10) % 2, "X must be images"),
        (np.zeros((10, 8, 8, 3)), np.arange(9) % 2, "one label for each of 10 images"),
        (["no such file.png"] * 10, np.arange(10) % 2, "cannot be read"),
    ],
)
def test_other_input_is_refused(x, y, words):
    with pytest.raises(InvalidInputError, match=words):
        classifier().fit(x, y)


def test_images_of_another_size_than_in_fit_are_refused(fitted):
    with pytest.raises(InvalidInputError, match=r"images of shape \(32, 32, 3\), as in fit"):
        fitted.predict(np.zeros((2, 40, 40, 3), np.uint8))


def test_scikit_learns_own_checks_know_that_it_takes_no_tables():
    from sklearn.exceptions import SkipTestWarning
    from sklearn.utils.estimator_checks import check_estimator

    with pytest.warns(SkipTestWarning, match="requires input"):
        check_estimator(classifier())
