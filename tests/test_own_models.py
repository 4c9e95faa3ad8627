"""Models that a user brings: other ways to be built, to scale pixels, to share, to be frozen."""

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import make_tiny
from transferzoo.errors import InvalidInputError
from transferzoo.models.preprocessing import scaling_layers

QUICK = {"cache": False, "verbose": False, "lint": False}


class Subclassed(keras.Model):
    """A classifier whose layers Keras cannot see until it is called."""

    def __init__(self):
        super().__init__()
        self.scale = keras.layers.Rescaling(1 / 255)
        self.flat = keras.layers.Flatten()
        self.dense = keras.layers.Dense(10)

    def call(self, images):
        return self.dense(self.flat(self.scale(images)))


def dense_first():
    """A subclassed model whose first layer multiplies: whole numbers are none of its business."""

    class DenseFirst(Subclassed):
        def call(self, images):
            return self.dense(self.flat(images) / 255)

    return DenseFirst()


@pytest.mark.medium
@pytest.mark.parametrize("make", [Subclassed, dense_first])
@pytest.mark.filterwarnings("ignore:.*does not have a `build:UserWarning")
def test_a_subclassed_model_trains_on_whole_numbers(tiny_digits, quick, make):
    assert tiny_digits.x_train.dtype == "uint8"
    result = tz.fit_and_evaluate(make(), tiny_digits, recipe=quick, epochs=3, **QUICK)
    assert result.epochs == 3
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert np.isfinite(result.costs["latency_ms"])


def test_a_subclassed_model_has_a_learning_rate_to_find(tiny_digits, quick):
    assert (
        tz.find_learning_rate(Subclassed(), tiny_digits, recipe=quick, steps=20, **QUICK_RATE).suggestion > 0
    )


QUICK_RATE = {"cache": False, "verbose": False}


class TestShared:
    @pytest.fixture
    def parts(self):
        def head(on, width):
            images = keras.Input((32, 32, 3))
            hidden = keras.layers.Dense(width, activation="relu")(on(images))
            return keras.Model(images, keras.layers.Dense(10, activation="softmax")(hidden))

        def base():
            layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
            return keras.Sequential([*layers, keras.layers.Dense(8, activation="relu", name="shared_dense")])

        return base, head

    def test_models_that_share_layers_are_refused(self, tiny_digits, quick, parts, tmp_path):
        base, head = parts
        one = base()
        models = {"a": head(one, 4), "b": head(one, 8)}
        with pytest.raises(InvalidInputError, match=r"'a' and 'b' share '.*', so the second"):
            tz.compare(models, tiny_digits, recipe=quick, out=tmp_path / "s", **QUICK)
        assert not (tmp_path / "s").exists()

    def test_one_model_under_two_names_is_refused(self, tiny_digits, quick, parts):
        base, head = parts
        model = head(base(), 4)
        with pytest.raises(InvalidInputError, match="one and the same object"):
            tz.compare({"a": model, "b": model}, tiny_digits, recipe=quick, **QUICK)

    @pytest.mark.medium
    def test_models_of_their_own_are_taken(self, tiny_digits, quick, parts):
        base, head = parts
        models = {"a": head(base(), 4), "b": head(base(), 8)}
        assert len(tz.compare(models, tiny_digits, recipe=quick, **QUICK)) == 2


def rescaling_inside(input_shape):
    network = make_tiny(input_shape)
    images = keras.Input(input_shape)
    return keras.Model(images, network(keras.layers.Rescaling(1 / 255, name="own_scaling")(images)))


class TestScaledTwice:
    def test_a_network_that_scales_inside_is_refused_beside_a_record_that_scales(self, tiny_digits):
        tz.register_backbone("twice", rescaling_inside, minimum_size=8)
        with pytest.raises(InvalidInputError, match="scales pixels itself, in its layer 'own_scaling'"):
            tz.fit_and_evaluate("twice", tiny_digits, weights=None, **QUICK)

    def test_the_remedy_works(self):
        how = tz.Preprocessing((0, 0, 0), (1, 1, 1))
        tz.register_backbone("once", rescaling_inside, minimum_size=8, preprocessing=how)
        model = tz.build("once", 3, weights=None)
        assert "preprocessing" not in [layer.name for layer in model.layers]

    def test_raw_pixels_are_no_second_scaling(self):
        tz.register_backbone("twice", rescaling_inside, minimum_size=8)
        assert tz.build("twice", 3, weights=None, preprocessing="none").output_shape == (None, 3)

    def test_scaling_behind_kernels_is_something_else(self):
        layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Rescaling(0.1)]
        assert scaling_layers(keras.Sequential(layers)) == []


@pytest.mark.medium
@pytest.mark.parametrize("size", [None, 48])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("record", ["mobilenet", "vgg16"])
@pytest.mark.parametrize("ending", ["h5", "keras"])
@pytest.mark.filterwarnings("ignore:.*legacy:UserWarning")
def test_a_saved_model_loads_and_predicts_alike_in_both_formats(
    tmp_path, tiny, size, channels, record, ending
):
    how = tz.backbone_info(record).preprocessing
    tz.register_backbone("prepared", make_tiny, minimum_size=8, default_size=32, preprocessing=how)
    model = tz.build("prepared", 5, weights=None, input_shape=(32, 32, channels), image_size=size, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, channels)).astype("uint8")
    model.save(tmp_path / f"model.{ending}")
    loaded = keras.models.load_model(tmp_path / f"model.{ending}", compile=False)
    expected = model.predict(images, verbose=0)
    assert np.abs(loaded.predict(images, verbose=0) - expected).max() < 1e-6
    # called without `training`, BatchNorm keeps its statistics
    assert np.abs(np.asarray(loaded(images)) - expected).max() < 1e-5
    assert np.abs(loaded.predict(images, verbose=0) - expected).max() < 1e-6


class TestFrozen:
    @pytest.fixture
    def saved(self, tiny, tiny_weights, tiny_digits, tmp_path):
        out = tmp_path / "probe"
        tz.fit_and_evaluate(
            tiny,
            tiny_digits,
            recipe="linear_probe",
            weights=tiny_weights,
            image_size="input",
            out=out,
            **QUICK,
        )
        return keras.models.load_model(out / "model.keras")

    @pytest.mark.medium
    def test_fine_tuning_a_frozen_backbone_is_refused(self, saved, tiny_digits):
        with pytest.raises(InvalidInputError, match="this backbone is frozen") as caught:
            tz.fit_and_evaluate(saved, tiny_digits, recipe="fine_tune", epochs=1, **QUICK)
        assert "model.get_layer('backbone').trainable = True" in str(caught.value)

    @pytest.mark.medium
    def test_the_remedy_works(self, saved, tiny_digits):
        saved.get_layer("backbone").trainable = True
        before = [value.copy() for value in saved.get_layer("backbone").get_weights()]
        tz.fit_and_evaluate(saved, tiny_digits, recipe="fine_tune", epochs=1, keep="last", **QUICK)
        after = saved.get_layer("backbone").get_weights()
        assert any((a != b).any() for a, b in zip(before, after, strict=True))

    def test_by_name_it_is_refused_too(self, tiny, tiny_weights, tiny_digits):
        with pytest.raises(InvalidInputError, match="leave trainable='none' out"):
            tz.fit_and_evaluate(
                tiny, tiny_digits, recipe="fine_tune", weights=tiny_weights, trainable="none", **QUICK
            )

    @pytest.mark.medium
    def test_default_trains_the_head_and_says_so(self, saved, tiny_digits, caplog):
        result = tz.fit_and_evaluate(saved, tiny_digits, **QUICK)
        assert result.history["phase"] == ["probe"] or len(set(result.history["phase"])) == 1
        assert "trains the head alone" in caplog.text


class TestPhases:
    @pytest.mark.medium
    def test_an_option_reaches_the_last_phase_that_applies_and_no_other(
        self, tiny, tiny_weights, tiny_digits
    ):
        recipe = tz.Recipe(
            name="two",
            description="two phases of different kinds",
            phases=(
                tz.Phase(name="first", epochs=1, learning_rate=0.01, heads="linear"),
                tz.Phase(name="second", epochs=1, learning_rate=0.01, when="pretrained"),
            ),
        )
        result = tz.fit_and_evaluate(
            tiny, tiny_digits, recipe=recipe, epochs=3, weights=tiny_weights, image_size="input", **QUICK
        )
        assert result.history["phase"] == ["first", "second", "second", "second"]

    @pytest.mark.medium
    def test_the_recorded_recipe_holds_the_phases_that_ran(self, tiny, tiny_digits):
        recipe = tz.Recipe(
            name="two",
            description="a phase for each kind of weights",
            phases=(
                tz.Phase(name="loaded", epochs=1, learning_rate=0.01, when="pretrained"),
                tz.Phase(name="random", epochs=1, learning_rate=0.01, when="scratch"),
            ),
        )
        result = tz.fit_and_evaluate(
            tiny, tiny_digits, recipe=recipe, weights=None, image_size="input", **QUICK
        )
        recorded = [phase["name"] for phase in result.settings["recipe"]["phases"]]
        assert recorded == list(dict.fromkeys(result.history["phase"])) == ["random"]

    def test_a_model_without_parts_runs_what_is_recorded(self, tiny_digits):
        recipe = tz.Recipe(
            name="two",
            description="a head first",
            phases=(
                tz.Phase(name="head", epochs=1, learning_rate=0.01, trainable="none"),
                tz.Phase(name="all", epochs=1, learning_rate=0.01),
            ),
        )
        result = tz.fit_and_evaluate(Subclassed(), tiny_digits, recipe=recipe, **QUICK)
        assert [phase["name"] for phase in result.settings["recipe"]["phases"]] == ["all"]
        assert result.history["phase"] == ["all"]

    @pytest.mark.medium
    def test_a_function_that_makes_a_linear_head_runs_what_is_recorded(self, tiny, tiny_weights, tiny_digits):
        def head(features, num_classes):
            pooled = keras.layers.GlobalAveragePooling2D()(features)
            return keras.layers.Dense(num_classes)(pooled)

        result = tz.fit_and_evaluate(
            tiny, tiny_digits, head=head, weights=tiny_weights, image_size="input", epochs=1, **QUICK
        )
        recorded = [phase["name"] for phase in result.settings["recipe"]["phases"]]
        assert recorded == list(dict.fromkeys(result.history["phase"]))
