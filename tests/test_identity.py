"""Which runs are one and the same, what a run's time is, and records that can be copied."""

import copy
import dataclasses
import pickle

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import make_tiny
from transferzoo.data.augmentation import Augmentation
from transferzoo.errors import OutputExistsError, UnknownOptionError
from transferzoo.features.store import FeatureStore
from transferzoo.models.construct import model_digest
from transferzoo.planning import plan_run
from transferzoo.plots import less_is_better


@pytest.fixture
def identity(tiny, tiny_digits, quick):
    """The identity of a run with options."""

    def call(model=tiny, data=tiny_digits, recipe=quick, seed=0, **options):
        if isinstance(model, str):
            options = {"weights": None, "image_size": "input", **options}
        return plan_run(model, data, recipe=recipe, seed=seed, out=None, options=options).digest

    return call


def dense(width):
    def head(features, num_classes):
        pooled = keras.layers.GlobalAveragePooling2D()(features)
        hidden = keras.layers.Dense(width, activation="relu")(pooled)
        return keras.layers.Dense(num_classes)(hidden)

    return head


class TestWhatMakesAnotherRun:
    def test_another_function_as_head(self, identity):
        assert identity(head=dense(4)) != identity(head=dense(8))
        assert identity(head=dense(4)) == identity(head=dense(4))

    def test_another_function_within_a_head(self, identity):
        parts = tz.heads
        one, two = (
            identity(head=tz.Head(parts.Pool(), lambda x, n=n: keras.layers.Dense(n)(x), parts.Classifier()))
            for n in (8, 16)
        )
        assert one != two

    def test_another_lambda_as_head(self, identity):
        flat, layer = keras.layers.Flatten, keras.layers.Dense
        one = identity(head=lambda features, num_classes: layer(num_classes)(flat()(features)))
        two = identity(head=lambda features, num_classes: layer(num_classes)(layer(7)(flat()(features))))
        assert one != two

    def test_another_head_under_the_same_name(self, identity):
        tz.register_head("mine", dense(4))
        before = identity(head="mine")
        tz.register_head("mine", dense(5), replace=True)
        assert identity(head="mine") != before

    def test_another_network_under_the_same_name(self, identity, tiny):
        before = identity()

        def deeper(input_shape):
            network = make_tiny(input_shape)
            return keras.Model(network.inputs, keras.layers.Conv2D(16, 3)(network.outputs[0]))

        tz.register_backbone(tiny, deeper, minimum_size=8, default_size=32, feature_channels=16, replace=True)
        assert identity() != before

    def test_other_preprocessing_under_the_same_name(self, identity, tiny):
        before = identity()
        how = tz.Preprocessing((0, 0, 0), (255, 255, 255))
        tz.register_backbone(
            tiny,
            make_tiny,
            minimum_size=8,
            default_size=32,
            feature_channels=16,
            preprocessing=how,
            replace=True,
        )
        assert identity() != before

    def test_whether_images_may_be_mirrored(self, identity, tiny_digits):
        assert identity(data=dataclasses.replace(tiny_digits, flip_safe=True)) != identity()

    def test_a_setting_of_a_phase(self, identity):
        assert identity(learning_rate=0.02) != identity()
        assert identity(augmentation=Augmentation(shift=2)) != identity()
        assert identity(seed=1) != identity()

    def test_which_layers_of_a_built_model_learn(self, identity, tiny):
        model = tz.build(tiny, 10, weights=None, seed=0)
        before = identity(model)
        model.get_layer("backbone").layers[1].trainable = False
        assert identity(model) != before


class TestWhatDoesNot:
    def test_a_recipes_words(self, identity, quick):
        said = dataclasses.replace(quick, description="in other words", source="a page", name="swift")
        assert identity(recipe=said) == identity()

    def test_a_phases_name(self, identity, quick):
        (phase,) = quick.phases
        renamed = dataclasses.replace(quick, phases=(dataclasses.replace(phase, name="everything"),))
        assert identity(recipe=renamed) == identity()

    def test_what_the_recipe_says_of_other_models(self, identity, quick):
        more = dataclasses.replace(quick, build={"resnet50": {"head": "mlp"}}, epochs={"resnet50": 9})
        assert identity(recipe=more) == identity()

    def test_the_dataset_s_name(self, identity, tiny_digits):
        assert identity(data=dataclasses.replace(tiny_digits, name="scans", source="elsewhere")) == identity()

    def test_the_name_of_a_head(self, identity):
        tz.register_head("mine", dense(4))
        assert identity(head="mine") == identity(head=dense(4))

    def test_the_names_of_layers_that_keras_counts_up(self):
        def made():
            keras.utils.set_random_seed(0)
            layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
            return keras.Sequential([*layers, keras.layers.Dense(3)])

        one, two = made(), made()
        assert one.layers[0].name != two.layers[0].name
        assert model_digest(one) == model_digest(two)


@pytest.mark.medium
def test_a_run_whose_description_changed_is_loaded(tiny, tiny_digits, quick, tmp_path):
    options = {
        "weights": None,
        "image_size": "input",
        "verbose": False,
        "lint": False,
        "out": tmp_path / "run",
    }
    first = tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, **options)
    said = dataclasses.replace(quick, description="in other words")
    again = tz.fit_and_evaluate(tiny, tiny_digits, recipe=said, **options)
    assert np.array_equal(first.y_prob, again.y_prob)
    assert first.provenance["started"] == again.provenance["started"]


@pytest.mark.medium
def test_a_run_of_another_head_is_not_loaded(tiny, tiny_digits, quick, tmp_path):
    options = {
        "weights": None,
        "image_size": "input",
        "verbose": False,
        "lint": False,
        "out": tmp_path / "run",
    }
    tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, head=dense(4), **options)
    with pytest.raises(OutputExistsError, match=r"model\.head_sha256"):
        tz.fit_and_evaluate(tiny, tiny_digits, recipe=quick, head=dense(8), **options)


class TestTime:
    @pytest.fixture
    def fit(self, tiny, tiny_weights, tiny_digits, tmp_path, monkeypatch):
        monkeypatch.setenv("TRANSFERZOO_CACHE", str(tmp_path / "cache"))

        def call(recipe, **options):
            given = {"weights": tiny_weights, "image_size": "input", "verbose": False, "lint": False}
            return tz.fit_and_evaluate(tiny, tiny_digits, recipe=recipe, **given, **options)

        return call

    @pytest.mark.medium
    def test_features_from_the_cache_count_with_what_they_took(self, fit, tmp_path):
        first = fit("linear_probe")
        assert first.costs["reused_feature_seconds"] == 0
        entries = FeatureStore().entries()
        assert len(entries) == 2
        second = fit("linear_probe")
        spent = sum(entry.seconds for entry in entries)
        assert second.costs["reused_feature_seconds"] == pytest.approx(spent)
        own = second.provenance["durations"]["train"]
        assert second.costs["train_seconds"] == pytest.approx(own + spent)
        assert "for features that an earlier run computed" in str(second)
        assert "earlier run" not in str(first)

    @pytest.mark.medium
    def test_a_run_does_not_count_its_own_features_twice(self, fit):
        recipe = tz.Recipe(
            name="twice",
            description="two phases on the same features",
            phases=tuple(
                tz.Phase(name=name, epochs=1, learning_rate=0.01, trainable="none") for name in "ab"
            ),
        )
        assert fit(recipe).costs["reused_feature_seconds"] == 0
        spent = sum(entry.seconds for entry in FeatureStore().entries())
        assert fit(recipe).costs["reused_feature_seconds"] == pytest.approx(spent)

    @pytest.mark.medium
    def test_the_table_marks_them(self, fit, tiny, tiny_weights, tiny_digits):
        fit("linear_probe")
        options = {"weights": tiny_weights, "image_size": "input", "verbose": False, "lint": False}
        study = tz.compare({"a": tiny}, tiny_digits, recipe="linear_probe", **options)
        assert " s*" in str(study)
        assert "* with the time that features from the cache took" in str(study)

    @pytest.mark.medium
    def test_a_saved_run_with_them_is_verified(self, fit, tmp_path):
        fit("linear_probe")
        fit("linear_probe", out=tmp_path / "run")
        assert tz.verify(tmp_path / "run").ok


RECORDS = {
    "recipe": lambda: tz.recipe_info("article"),
    "backbone": lambda: tz.backbone_info("mobilenet_025"),
    "phase": lambda: tz.recipe_info("default").phases[0],
    "preprocessing": lambda: tz.Preprocessing([0, 0, 0], [1, 1, 1]),
    "head": lambda: tz.head_info("linear"),
}


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))]
)
def test_records_can_be_copied_pickled_and_hashed(record, copied):
    made = RECORDS[record]()
    assert copied(made) == made
    assert hash(copied(made)) == hash(made)
    assert len({made, copied(made)}) == 1


def test_a_records_mappings_cannot_be_written_to():
    recipe = tz.recipe_info("article")
    with pytest.raises(TypeError):
        recipe.build["*"] = {}
    with pytest.raises(TypeError):
        recipe.build["*"]["head"] = "mlp"


@pytest.mark.parametrize(
    ("metric", "less"),
    [
        *((name, True) for name in ("nll", "brier_score", "brier", "ece", "calibrated_ece", "log_loss")),
        *((name, True) for name in ("latency_ms", "train_seconds", "size_bytes", "macs")),
        *((name, False) for name in ("accuracy", "macro_f1", "images_per_second", "top5_accuracy", "kappa")),
    ],
)
def test_which_way_is_better(metric, less):
    assert less_is_better(metric) == less


def test_find_learning_rate_speaks_of_itself(tiny, tiny_digits):
    with pytest.raises(UnknownOptionError, match=r"^find_learning_rate has no option 'epoch'"):
        tz.find_learning_rate(tiny, tiny_digits, weights=None, epoch=3)
    model = tz.build(tiny, 10, weights=None)
    with pytest.raises(UnknownOptionError, match="or give find_learning_rate a backbone's name"):
        tz.find_learning_rate(model, tiny_digits, head="mlp")


@pytest.mark.medium
def test_a_users_model_is_not_said_to_have_random_weights(tiny_digits, quick):
    layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    study = tz.compare({"mine": model}, tiny_digits, recipe=quick, verbose=False, lint=False)
    assert "random weights" not in str(study) + str(study["mine"])
