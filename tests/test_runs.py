"""One run, from the call to its Result, and what an output folder may hold."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import QUICK, tiny_registered
from transferzoo.errors import (
    DivergedError,
    InvalidInputError,
    OutputExistsError,
    UnknownNameError,
    UnknownOptionError,
    WeightsError,
)
from transferzoo.ground.environment import environment
from transferzoo.models.construct import model_settings
from transferzoo.planning import BUILD_OPTIONS, plan_run


@pytest.fixture
def run(tiny, quick, tiny_digits):
    """Make a short run."""

    def make(model=tiny, data=tiny_digits, **options):
        if isinstance(model, str):
            options = {"weights": None, **options}
        return tz.fit_and_evaluate(model, data, **{"recipe": quick, **options})

    return make


@pytest.fixture
def watched(monkeypatch):
    """Fails the test if a training begins."""
    monkeypatch.setattr("transferzoo.fitting.train", lambda *args, **kwargs: pytest.fail("a training began"))


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


# --- what comes back


@pytest.fixture(scope="module")
def result(tiny_digits):
    """One run, as `fit_and_evaluate` returned it, for tests that only look at it."""
    with tiny_registered() as tiny:
        return tz.fit_and_evaluate(tiny, tiny_digits, weights=None, recipe=QUICK)


def test_a_run_returns_metrics_on_the_test_images(result, tiny_digits):
    assert result.accuracy == pytest.approx((result.y_prob.argmax(axis=1) == tiny_digits.y_test).mean())


def test_a_run_returns_probabilities_of_the_model_that_it_returns(result, tiny_digits):
    again = result.model.predict(tiny_digits.x_test, verbose=0)
    assert np.allclose(again, result.y_prob, atol=1e-6)


def test_a_run_returns_what_it_cost(result, tiny_digits):
    costs = result.costs
    assert costs["parameters"] == result.model.count_params()
    assert costs["train_seconds"] > 0
    assert costs["images_per_second"] > 0


@pytest.mark.medium
def test_a_run_returns_a_history_with_an_entry_an_epoch(run):
    assert run(epochs=2).history["phase"] == ["all", "all"]


def test_the_settings_say_all_that_decided_the_run(result, tiny_digits):
    settings = result.settings
    assert settings["model"]["backbone"] == "tiny"
    assert settings["data"]["sha256"] == tiny_digits.content_hash()
    assert settings["recipe"]["phases"][0]["learning_rate"] == 0.01
    assert settings["seed"] == 0


def test_the_settings_are_plain_json(result):
    assert json.loads(json.dumps(result.settings)) == result.settings


def test_a_run_is_called_after_its_backbone(result):
    assert result.name == "tiny"


def test_the_environment_names_backend_and_versions():
    found = environment()
    assert found["backend"] == keras.backend.backend()
    assert found["keras"] == keras.__version__
    assert found["transferzoo"] == tz.__version__


@pytest.mark.medium
def test_two_runs_with_one_seed_give_the_same_probabilities(run):
    first, second = run(seed=3), run(seed=3)
    assert np.array_equal(first.y_prob, second.y_prob)


def test_a_dataset_may_be_given_by_name(tiny, quick):
    planned = plan_run(tiny, "digits", recipe=quick, seed=0, out=None, options={"weights": None})
    assert planned.data.name == "digits"


@pytest.mark.medium
def test_logits_become_probabilities(run):
    assert np.allclose(run(classifier_activation=None).y_prob.sum(axis=1), 1, atol=1e-5)


# --- a model in place of a name


@pytest.mark.medium
def test_a_built_model_is_trained_in_place(run, tiny):
    model = tz.build(tiny, 10, weights=None, seed=0)
    before = model.get_weights()
    assert run(model).model is model
    assert not np.array_equal(before[0], model.get_weights()[0])


@pytest.mark.medium
def test_a_built_model_keeps_the_options_that_it_was_built_with(run, tiny):
    result = run(tz.build(tiny, 10, weights=None, head="mlp"))
    assert result.settings["model"]["head"] == "mlp"


@pytest.mark.medium
def test_a_model_from_elsewhere_is_run_too(run):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
    assert run(model, learning_rate=1e-6).y_prob.shape == (50, 10)


def test_options_of_build_cannot_reach_a_built_model(run, tiny, watched):
    model = tz.build(tiny, 10, weights=None)
    with pytest.raises(
        UnknownOptionError, match=r"built already, so 'head' cannot apply\. Pass it to tz\.build"
    ):
        run(model, head="mlp")


def test_a_model_for_other_classes_is_refused_with_both_counts(run, tiny, watched):
    with pytest.raises(
        InvalidInputError, match=r"gives 3 classes and dataset 'digits' has 10\. Build it with"
    ):
        run(tz.build(tiny, 3, weights=None))


def test_a_model_for_other_images_is_refused_with_both_shapes(run, tiny, watched):
    with pytest.raises(InvalidInputError, match=r"\(16, 16, 3\) and dataset 'digits' has \(32, 32, 3\)"):
        run(tz.build(tiny, 10, weights=None, input_shape=(16, 16, 3)))


def test_a_faithful_run_of_a_built_model_needs_raw_pixels(run, tiny, watched):
    with pytest.raises(InvalidInputError, match="needs a model that is given raw pixels"):
        run(tz.build(tiny, 10, weights=None), recipe="article", faithful=True)


@pytest.mark.medium
def test_a_faithful_run_from_a_name_is_given_raw_pixels(run):
    result = run(recipe="article", faithful=True, epochs=1, head="linear", learning_rate=1e-5)
    assert model_settings(result.model).preprocessing == "none"


# --- options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epoch": 1}, UnknownOptionError, r"fit_and_evaluate has no option 'epoch'\. Did you mean 'epochs'"),
        ({"imagesize": 32}, UnknownOptionError, "Did you mean 'image_size'"),
        ({"recipe": "defualt"}, UnknownNameError, "Did you mean 'default'"),
        ({"model": "tniy"}, UnknownNameError, "Did you mean 'tiny'"),
        ({"data": "digit"}, UnknownNameError, "Did you mean 'digits'"),
        ({"data": [1, 2]}, InvalidInputError, "data must be a dataset's name, a folder of photos, or what"),
        ({"head": "linaer"}, UnknownNameError, "Did you mean 'linear'"),
        ({"seed": -1}, InvalidInputError, "seed must be"),
        ({"epochs": 0}, InvalidInputError, "epochs must be"),
        ({"image_size": 4}, InvalidInputError, "image_size must be"),
        ({"trainable": "cnov"}, InvalidInputError, "trainable must be"),
        ({"weights": "missing.h5"}, WeightsError, "is no file"),
        ({"verbose": "loud"}, InvalidInputError, "verbose must be"),
        ({"faithful": True}, InvalidInputError, "recipe 'quick' has none"),
    ],
)
def test_a_bad_call_is_refused_before_any_training_with_nothing_written(
    run, watched, tmp_path, options, error, message
):
    with pytest.raises(error, match=message):
        run(out=tmp_path / "run", **options)
    assert contents(tmp_path) == []


@pytest.mark.medium
def test_an_option_of_build_reaches_the_model(run):
    assert run(head="mlp").settings["model"]["head"] == "mlp"


@pytest.mark.medium
def test_an_option_of_the_call_goes_before_the_recipes(run):
    result = run(recipe="article", epochs=1, head="linear")
    assert (result.settings["model"]["head"], result.settings["model"]["image_size"]) == ("linear", [32, 32])


def test_every_option_of_build_can_be_passed():
    expected = (
        "weights head image_size trainable classifier_activation preprocessing stem output_stride stages"
    )
    assert list(BUILD_OPTIONS) == expected.split()


# --- the output folder


@pytest.mark.medium
def test_a_run_is_saved_whole(saved_run, tmp_path):
    saved_run(tmp_path / "run")
    assert contents(tmp_path / "run") == ["history.csv", "model.keras", "predictions.npz", "run.json"]


@pytest.mark.medium
def test_a_run_can_be_saved_without_its_model(run, tmp_path):
    run(out=tmp_path / "run", save_model=False)
    assert "model.keras" not in contents(tmp_path / "run")


def test_a_saved_run_comes_back_as_it_was(run, tmp_path):
    made = run(out=tmp_path / "run")
    read = tz.Result.load(tmp_path / "run")
    for part in ("name", "metrics", "history", "settings", "costs", "class_names", "environment"):
        assert getattr(read, part) == getattr(made, part), part
    assert np.array_equal(read.y_prob, made.y_prob)
    assert np.array_equal(read.y_true, made.y_true)


def test_a_saved_runs_model_predicts_the_same(saved_run, tmp_path, tiny_digits):
    made = tz.Result.load(saved_run(tmp_path / "run"))
    again = tz.Result.load(tmp_path / "run").model.predict(tiny_digits.x_test, verbose=0)
    assert np.allclose(again, made.y_prob, atol=1e-6)


def test_the_same_run_is_loaded_and_not_made_again(run, saved_run, tmp_path, watched):
    made = tz.Result.load(saved_run(tmp_path / "run"))
    assert np.array_equal(run(out=tmp_path / "run").y_prob, made.y_prob)


@pytest.mark.parametrize(
    ("options", "difference"),
    [({"seed": 1}, "seed"), ({"head": "mlp"}, "head"), ({"learning_rate": 0.5}, r"recipe\.phases")],
)
def test_another_run_in_the_folder_is_refused_with_the_difference(
    run, saved_run, watched, tmp_path, options, difference
):
    saved_run(tmp_path / "run")
    with pytest.raises(OutputExistsError, match=difference):
        run(out=tmp_path / "run", **options)


def test_another_dataset_in_the_folder_is_refused(run, saved_run, watched, tmp_path, tiny_digits):
    saved_run(tmp_path / "run")
    with pytest.raises(OutputExistsError, match="data"):
        run(out=tmp_path / "run", data=tiny_digits.subset(train=50))


def test_a_folder_of_something_else_is_refused_and_untouched(run, watched, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is a folder that is not empty"):
        run(out=tmp_path)
    assert contents(tmp_path) == ["notes.txt"]


def test_a_file_in_the_folders_place_is_refused(run, watched, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputExistsError, match="is a file"):
        run(out=tmp_path / "run")


@pytest.mark.medium
def test_an_empty_folder_is_filled(run, tmp_path):
    run(out=tmp_path, save_model=False)
    assert "run.json" in contents(tmp_path)


def test_a_run_that_diverges_writes_nothing(run, tmp_path):
    with pytest.raises(DivergedError):
        run(out=tmp_path / "run", learning_rate=1e30, epochs=2)
    assert contents(tmp_path) == []


@pytest.mark.medium
def test_a_home_folder_may_be_written_as_a_tilde(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run(out="~/run", save_model=False)
    assert contents(tmp_path) == ["run"]


def test_a_recipe_that_gives_build_an_option_it_lacks_is_told_the_nearest(quick):
    with pytest.raises(UnknownOptionError, match=r"recipe 'quick'.*'trainabel'.*Did you mean 'trainable'"):
        dataclasses.replace(quick, build={"*": {"trainabel": "none"}})


# --- a backbone to begin with again


@pytest.mark.medium
def test_a_trained_backbone_can_be_kept_and_begun_with(run, tiny, tmp_path):
    from transferzoo.models.construct import backbone_of

    result = run(out=tmp_path / "run", save_backbone=tmp_path / "mine.weights.h5")
    other = tz.build(tiny, 5, weights=tmp_path / "mine.weights.h5")
    for ours, theirs in zip(
        backbone_of(other).get_weights(), backbone_of(result.model).get_weights(), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.weights.h5", "run"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("mine.keras", r"ends in \.weights\.h5"), ("there.weights.h5", "nothing in it was touched")],
)
def test_a_file_for_the_backbone_is_checked_before_anything_slow(run, tmp_path, monkeypatch, name, message):
    (tmp_path / "there.weights.h5").write_bytes(b"mine")
    monkeypatch.setattr("transferzoo.fitting.train", None)
    with pytest.raises(tz.TransferZooError, match=message):
        run(save_backbone=tmp_path / name)
    assert (tmp_path / "there.weights.h5").read_bytes() == b"mine"


def test_a_model_without_a_backbone_has_none_to_keep(tiny_digits, tmp_path):
    images = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    with pytest.raises(tz.TransferZooError, match="save_backbone must be left out for a model without"):
        tz.fit_and_evaluate(
            model, tiny_digits, recipe="from_scratch", save_backbone=tmp_path / "a.weights.h5"
        )
