"""Classes with few images: their weights in the loss, and epochs that show them as often as others."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

import transferzoo as tz
from transferzoo.data.augmentation import Augmentation
from transferzoo.data.batches import Batches
from transferzoo.errors import InvalidInputError, UnknownOptionError
from transferzoo.recipes.recipe import Recipe
from transferzoo.recipes.weighting import class_weights
from transferzoo.training.linear_head import solve_head

# 40, 8 and 2 images
Y = np.repeat([0, 1, 2], [40, 8, 2])
NAMES = ("a", "b", "c")


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=Y)
    np.testing.assert_allclose(class_weights("balanced", Y, NAMES), expected)


def test_a_class_without_training_images_changes_nothing_for_the_others():
    weights = class_weights("balanced", Y, (*NAMES, "d"))
    np.testing.assert_allclose(weights[:3], class_weights("balanced", Y, NAMES))


def test_a_mapping_names_some_classes_and_the_others_weigh_1():
    assert class_weights({"c": 5}, Y, NAMES).tolist() == [1, 1, 5]


def batches(**options):
    x = np.arange(len(Y), dtype="float32")[:, None, None, None] * np.ones((1, 4, 4, 3), "float32")
    return Batches(x, Y, **{"batch_size": 7, "num_classes": 3, "shuffle": True, **options})


def test_a_batch_has_each_samples_weight():
    of = batches(class_weight=[1, 2, 3])
    for index in range(of.num_batches):
        _, y, weights = of[index]
        assert weights.tolist() == (y.argmax(axis=1) + 1).tolist()


def test_a_mixed_sample_has_the_mean_weight_of_its_two():
    of = batches(class_weight=[1, 2, 3], augmentation=Augmentation(mixup=0.5))
    _, y, weights = of[0]
    np.testing.assert_allclose(weights, y @ [1, 2, 3], rtol=1e-6)
    assert ((weights > 1) & (weights < 2)).any()


def numbers_of(of):
    """Return the samples of an epoch, in order."""
    return np.concatenate([of[index][0][:, 0, 0, 0] for index in range(of.num_batches)]).astype(int)


@given(st.integers(0, 20), st.integers(1, 60))
def test_a_balanced_epoch_shows_each_class_as_often_and_is_as_long(seed, batch_size):
    seen = numbers_of(batches(balanced=True, seed=(seed,), batch_size=batch_size))
    counts = np.bincount(Y[seen])
    assert len(seen) == len(Y)
    assert np.ptp(counts) <= 1
    # no image of a small class is shown again before all of it were shown
    assert np.ptp(np.bincount(seen, minlength=50)[48:]) <= 1
    assert np.bincount(seen, minlength=50)[:40].max() == 1


def test_a_balanced_epoch_is_another_one_each_time_and_does_not_depend_on_the_batch_size():
    first, again = batches(balanced=True), batches(balanced=True, batch_size=3)
    assert numbers_of(first).tolist() == numbers_of(again).tolist()
    first.epoch = 1
    assert sorted(numbers_of(first)) != sorted(numbers_of(again))


def test_an_image_that_is_shown_again_is_augmented_anew():
    x = np.random.default_rng(0).uniform(0, 255, (50, 16, 16, 3)).astype("float32")
    of = Batches(
        x, Y, batch_size=50, num_classes=3, balanced=True, augmentation=Augmentation(shift=4, rotation=20)
    )
    images, y = of[0]
    small = images[y.argmax(axis=1) == 2]
    assert len(np.unique(small.round(3), axis=0)) > 12


def test_a_solved_head_is_the_regression_with_these_weights():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 5)).astype("float32") + Y[:, None]
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
    validation = rng.normal(size=(200, 5)).astype("float32"), rng.integers(0, 3, 200)
    weights = class_weights("balanced", Y, NAMES)[Y]
    solve_head(head, (x, Y), validation, [1.0], weights)
    deviation = np.maximum(x.std(axis=0), np.median(x.std(axis=0)))
    mean = x.mean(axis=0)
    by_hand = LogisticRegression(C=1.0, max_iter=500, class_weight="balanced").fit((x - mean) / deviation, Y)
    expected = by_hand.predict_proba((validation[0] - mean) / deviation)
    np.testing.assert_allclose(head.predict(validation[0], verbose=0), expected, atol=2e-3)


@pytest.fixture
def scarce(tiny_digits):
    """Digits with 2 of the training images of classes 3 and 8."""
    y = tiny_digits.y_train
    kept = np.sort(
        np.concatenate([np.flatnonzero(~np.isin(y, (3, 8))), *(np.flatnonzero(y == c)[:2] for c in (3, 8))])
    )
    return tz.from_arrays(
        tiny_digits.x_train[kept],
        y[kept],
        tiny_digits.x_test,
        tiny_digits.y_test,
        x_validation=tiny_digits.x_validation,
        y_validation=tiny_digits.y_validation,
        flip_safe=False,
    )


@pytest.mark.medium
@pytest.mark.parametrize(("option", "value"), [("class_weight", "balanced"), ("sampling", "balanced")])
@pytest.mark.parametrize("recipe", ["linear_probe", "quick"])
def test_a_run_gives_rare_classes_more_and_says_so_in_its_record(tiny, quick, scarce, recipe, option, value):
    how = {"recipe": quick if recipe == "quick" else recipe, "lint": False, "weights": None}
    plain = tz.fit_and_evaluate(tiny, scarce, **how)
    weighted = tz.fit_and_evaluate(tiny, scarce, **how, **{option: value})
    assert weighted.settings["recipe"][option] == value
    assert plain.settings["recipe"][option] != value
    rare = np.isin(plain.y_true, (3, 8))
    assert weighted.y_prob[rare][:, [3, 8]].sum() > plain.y_prob[rare][:, [3, 8]].sum()


def test_a_weight_for_an_unknown_class_is_refused_with_the_nearest(tiny, quick, scarce):
    with pytest.raises(InvalidInputError, match=r"class names\. Got '33'\. Did you mean '3'"):
        tz.fit_and_evaluate(tiny, scarce, recipe=quick, class_weight={"33": 2.0})


@pytest.mark.parametrize(
    "value", ["balance", 5, ["a"], {"a": 0}, {"a": -1}, {"a": float("nan")}, {"a": "x"}, {1: 2.0}]
)
def test_weights_that_are_none_are_refused(value):
    with pytest.raises(InvalidInputError, match="class_weight"):
        tz.recipe_info("default").with_options(class_weight=value)


def test_both_at_once_are_refused():
    with pytest.raises(InvalidInputError, match="Each of them balances the classes"):
        tz.recipe_info("default").with_options(class_weight="balanced", sampling="balanced")


def test_a_recipe_that_solves_its_head_takes_weights_but_no_epochs():
    probe = tz.recipe_info("linear_probe")
    assert probe.with_options(class_weight="balanced").class_weight == "balanced"
    with pytest.raises(UnknownOptionError):
        probe.with_options(epochs=3)


def test_weights_survive_the_record():
    recipe = tz.recipe_info("default").with_options(class_weight={"cat": 2}, sampling="balanced")
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.to_dict()["class_weight"] == {"cat": 2.0}
