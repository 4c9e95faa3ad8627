"""`build`: one contract for every backbone, then what each argument does."""

import logging
import random
import subprocess
import sys

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import each_backbone
from transferzoo.backbones.backbone import RAW
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.weights import locate_weights
from transferzoo.errors import InvalidInputError, UnknownNameError
from transferzoo.heads import Classifier, Dropout, Head, Pool
from transferzoo.models.construct import (
    backbone_of,
    check_input_shape,
    connect,
    head_of,
    model_digest,
    model_settings,
    set_trainable,
)
from transferzoo.models.plan import seeded


def images(count=4, shape=(32, 32, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype("uint8")


def run(model, x):
    """The model's outputs, computed eagerly."""
    return keras.ops.convert_to_numpy(model(x.astype("float32"), training=False))


@pytest.fixture(scope="module", params=each_backbone())
def built(request):
    """A backbone's record, and a model on it with random weights."""
    yield tz.backbone_info(request.param), tz.build(request.param, 10, weights=None, seed=0)
    keras.backend.clear_session(free_memory=False)


# --- the contract


@pytest.mark.medium
def test_whole_numbers_and_floats_of_the_same_pixels_give_the_same_probabilities(built):
    _, model = built
    x = images()
    outputs = [model.predict(x.astype(dtype), verbose=0) for dtype in ("uint8", "float32")]
    assert np.array_equal(*outputs)


def test_probabilities_are_float32_and_sum_to_one(built):
    _, model = built
    outputs = model.predict(images(), verbose=0)
    assert outputs.dtype == np.float32
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-5)


def test_a_model_is_made_of_three_parts_of_known_names(built):
    record, model = built
    # nothing is done before a network that scales pixels itself, where images keep their size
    bare = record.preprocessing == RAW and record.minimum_size <= 32
    parts = ["backbone", "head"] if bare else ["preprocessing", "backbone", "head"]
    assert [layer.name for layer in model.layers[1:]] == parts


def test_a_model_has_the_backbones_parameters_and_the_heads(built):
    record, model = built
    assert model.count_params() == record.parameters + (record.feature_channels + 1) * 10


def test_a_model_takes_the_images_that_it_was_built_for(built):
    _, model = built
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 10))


def test_a_model_bears_its_backbones_name(built):
    record, model = built
    assert model.name == record.name


def test_every_layer_of_a_model_learns_by_default(built):
    _, model = built
    assert all(layer.trainable for layer in backbone_of(model).layers)


# --- images


def test_a_gray_image_gives_what_three_equal_channels_give(tiny):
    gray = tz.build(tiny, 3, weights=None, input_shape=(32, 32, 1), seed=0)
    colour = tz.build(tiny, 3, weights=None, seed=0)
    x = images(shape=(32, 32, 1))
    assert np.array_equal(run(gray, x), run(colour, np.repeat(x, 3, axis=-1)))


@pytest.mark.parametrize(
    ("image_size", "weights", "expected"),
    [
        (None, "file", (96, 144)),
        (None, None, (40, 60)),
        ("input", "file", (20, 30)),
        (50, "file", (50, 50)),
        ((50, 64), None, (50, 64)),
        ([50, 64], None, (50, 64)),
    ],
)
def test_images_reach_the_backbone_in_the_size_asked_for(tiny, tiny_weights, image_size, weights, expected):
    builder = tz.backbone_info(tiny).builder
    least = 8 if image_size == "input" else 40
    tz.register_backbone(tiny, builder, minimum_size=least, default_size=96, replace=True)
    model = tz.build(
        tiny, 3, weights=weights and tiny_weights, input_shape=(20, 30, 3), image_size=image_size
    )
    assert backbone_of(model).input_shape[1:3] == expected


def test_images_that_are_large_enough_stay_as_they_are(tiny, tiny_weights):
    model = tz.build(tiny, 3, weights=tiny_weights, input_shape=(40, 33, 3))
    assert backbone_of(model).input_shape == (None, 40, 33, 3)


def test_images_are_enlarged_bilinearly(tiny):
    x = images(shape=(16, 16, 3)).astype("float32")
    model = tz.build(tiny, 3, weights=None, input_shape=(16, 16, 3), image_size=32, preprocessing="none")
    witness = keras.ops.image.resize(x, (32, 32), interpolation="bilinear", data_format="channels_last")
    ours = run(model.get_layer("preprocessing"), x)
    assert np.allclose(ours, keras.ops.convert_to_numpy(witness), atol=1e-3)


@pytest.mark.parametrize("image_size", [32, 48])
def test_calling_a_model_predicts_and_moves_no_statistics(tiny, image_size):
    model = tz.build(tiny, 3, weights=None, image_size=image_size, seed=0)
    before = model.get_weights()
    called = keras.ops.convert_to_numpy(model(images().astype("float32")))
    assert np.allclose(called, model.predict(images(), verbose=0), atol=1e-6)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_pixels_reach_the_backbone_raw_when_asked(tiny):
    model = tz.build(tiny, 3, weights=None, preprocessing="none")
    assert [layer.name for layer in model.layers[1:]] == ["backbone", "head"]


@pytest.mark.parametrize("size", [16, (16, 64), 31])
def test_a_size_below_the_backbones_smallest_is_refused_with_it(size):
    with pytest.raises(
        InvalidInputError, match=r"image_size must be a whole number of at least 32 for 'alex"
    ):
        tz.build("alexnet", 10, weights=None, image_size=size)


def test_small_images_are_not_left_as_they_are_below_the_smallest_size():
    with pytest.raises(
        InvalidInputError, match=r"Got 'input: 16×20'\. Leave it out, and images are enlarged"
    ):
        tz.build("alexnet", 10, weights=None, input_shape=(16, 20, 3), image_size="input")


@pytest.mark.parametrize("size", ["big", 40.5, True, (40, 40, 40), ()])
def test_something_else_is_refused_as_size(tiny, size):
    with pytest.raises(InvalidInputError, match="image_size must be"):
        tz.build(tiny, 3, weights=None, image_size=size)


@pytest.mark.parametrize(
    "shape", [(32, 32), (32, 32, 4), (32, 32, 3, 1), "32", 32, (0, 32, 3), (32.0, 32, 3), None]
)
def test_a_shape_that_no_image_has_is_refused(shape):
    with pytest.raises(InvalidInputError, match=r"input_shape must be \(height, width, channels\)"):
        check_input_shape(shape)


def test_channels_that_come_first_are_told_to_move():
    with pytest.raises(InvalidInputError, match="Move the channels last"):
        tz.build("alexnet", 10, weights=None, input_shape=(3, 32, 32))


@pytest.mark.parametrize(("side", "cells"), [(32, 2), (224, 6)])
def test_alexnet_takes_small_and_large_images(side, cells):
    model = tz.build("alexnet", 10, weights=None, input_shape=(side, side, 3), head="linear")
    assert backbone_of(model).output_shape == (None, cells, cells, 256)
    assert run(model, images(1, (side, side, 3))).shape == (1, 10)


def test_a_map_of_one_cell_is_warned_of_with_a_better_size(caplog):
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        tz.build("mobilenet_025", 10, weights=None)
    assert caplog.messages == [
        "mobilenet_025 shrinks 32×32 images to a 1×1 feature map; "
        "image_size=96 or stem='stride1' keeps more of them"
    ]


def test_a_map_of_one_cell_behind_another_stem_is_warned_of_with_a_size_alone(caplog):
    tz.register_backbone("short", short_of_cells, minimum_size=4)
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        tz.build("short", 10, weights=None, input_shape=(4, 4, 3), stem="stride1")
    assert caplog.messages == [
        "short shrinks 4×4 images to a 1×1 feature map; image_size=8 keeps more of them"
    ]


def short_of_cells(input_shape):
    x = images = keras.Input(input_shape)
    for strides in (2, 4):
        x = keras.layers.Conv2D(4, 3, strides=strides, padding="same")(x)
    return keras.Model(images, x)


def test_a_map_of_more_cells_is_no_cause_for_a_warning(caplog, tiny):
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        tz.build(tiny, 10, weights=None)
    assert caplog.messages == []


# --- strides


@pytest.mark.medium
@pytest.mark.parametrize(
    ("options", "size", "cells"),
    [
        ({}, 96, 3),
        ({"stem": "stride1"}, 48, 3),
        # dilated kernels see what they saw, so the image stays as large as it was
        ({"output_stride": 16}, 96, 6),
        ({"stem": "stride1", "output_stride": 8}, 48, 6),
        ({"stem": "stride1", "image_size": 64}, 64, 4),
        ({"stem": "stride1", "image_size": "input"}, 32, 2),
    ],
)
def test_images_are_enlarged_less_before_a_stem_that_shrinks_less(options, size, cells, mobilenet_weights):
    network = backbone_of(tz.build("mobilenet_025", 10, weights=mobilenet_weights, **options))
    assert (network.input_shape[1], network.output_shape[1]) == (size, cells)


@pytest.fixture(scope="module")
def mobilenet_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    backbone_of(tz.build("mobilenet_025", 10, weights=None, seed=11)).save_weights(path)
    return path


@pytest.mark.medium
def test_weights_from_a_file_are_those_of_the_network_whose_strides_changed(mobilenet_weights):
    options = {"weights": mobilenet_weights, "stem": "stride1", "output_stride": 8}
    plain, changed = (
        backbone_of(tz.build("mobilenet_025", 10, **each))
        for each in ({"weights": mobilenet_weights}, options)
    )
    assert all(map(np.array_equal, plain.get_weights(), changed.get_weights()))


@pytest.mark.medium
def test_without_enlarging_images_stay_as_they_are_whatever_the_stem():
    model = tz.build("mobilenet_025", 10, weights=None, stem="stride1")
    assert backbone_of(model).output_shape == (None, 2, 2, 256)


@pytest.mark.parametrize("options", [{"stem": "stride1"}, {"output_stride": 1}])
def test_a_backbone_of_ones_own_has_its_strides_changed_too(tiny, options):
    plain = tz.build(tiny, 3, weights=None, seed=3)
    model = tz.build(tiny, 3, weights=None, seed=3, trainable="conv", **options)
    assert backbone_of(model).output_shape[1] > backbone_of(plain).output_shape[1]
    assert learning(model) == ["conv1", "conv2"]
    assert sorted(map(np.sum, model.get_weights())) == sorted(map(np.sum, plain.get_weights()))
    assert run(model, images()).shape == (4, 3)


def test_stem_and_output_stride_are_kept_beside_the_model(tiny):
    settings = model_settings(tz.build(tiny, 3, weights=None, stem="stride1", output_stride=1))
    assert (settings.to_dict()["stem"], settings.to_dict()["output_stride"]) == ("stride1", 1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnet", {"stem": "stride1"}, r"stem must be 'original' for 'alexnet'\. Got 'stride1'\. .*note"),
        ("mobilenet_025", {"stem": "stride"}, r"'original' or 'stride1'\. Got 'stride'\. Did you mean 'stri"),
        ("mobilenet_025", {"output_stride": 32}, "None or one of 1, 2, 4, 8, 16 for 'mobilenet_025', which"),
        (
            "mobilenet_025",
            {"stem": "stride1", "output_stride": 16},
            "one of 1, 2, 4, 8 for 'mobilenet_025' with stem='stride1', which shrinks 16-fold. Got 16",
        ),
        ("mobilenet_025", {"output_stride": 12}, "power of two: 1, 2, 4, 8 or 16. Got 12"),
    ],
)
def test_strides_that_a_backbone_cannot_have_are_refused(name, options, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.build(name, 10, weights=None, **options)


@pytest.mark.slow
@pytest.mark.usefixtures("real_weights")
def test_published_weights_stand_behind_a_stem_of_stride_one():
    network = backbone_of(tz.build("mobilenet", 10, stem="stride1", output_stride=8))
    record = tz.backbone_info("mobilenet")
    witness = record.resolve_builder()(input_shape=(96, 96, 3), **record.arguments)
    witness.load_weights(locate_weights(record, "imagenet"))
    for name in ("conv1", "conv_dw_12", "conv_pw_13"):
        ours, theirs = (each.get_layer(name).get_weights()[0] for each in (network, witness))
        assert np.array_equal(ours, theirs)


# --- classes and outputs


@pytest.mark.parametrize("num_classes", [0, 1, -3, "ten", 2.0, None])
def test_a_number_of_classes_that_cannot_be_is_refused(num_classes):
    with pytest.raises(InvalidInputError, match="num_classes must be a whole number of 2 or more"):
        tz.build("alexnet", num_classes, weights=None)


def test_logits_are_what_the_probabilities_are_made_from(tiny):
    logits, probabilities = (
        run(tz.build(tiny, 3, weights=None, seed=0, classifier_activation=activation), images())
        for activation in (None, "softmax")
    )
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("classifier_activation", "sofmax", r"'softmax' for probabilities or None.*Did you mean 'softmax'\?"),
        ("preprocessing", "backbne", r"'backbone' or 'none'.*Did you mean 'backbone'\?"),
        ("seed", -1, "seed must be a whole number of 0 or more"),
    ],
)
def test_an_option_that_is_none_of_its_values_is_refused(tiny, argument, value, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.build(tiny, 3, weights=None, **{argument: value})


def test_an_unknown_backbone_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenet'"):
        tz.build("mobilnet", 10)


# --- what learns


def learning(model):
    return [layer.name for layer in backbone_of(model).layers if layer.weights and layer.trainable]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("all", ["conv1", "bn1", "conv2", "bn2"]),
        ("none", []),
        ("top:1", ["bn2"]),
        ("top:3", ["bn1", "conv2", "bn2"]),
        ("top:99", ["conv1", "bn1", "conv2", "bn2"]),
        ("conv", ["conv1", "conv2"]),
        ("bn2", ["bn2"]),
    ],
)
def test_a_policy_lets_these_layers_learn(tiny, policy, expected):
    assert learning(tz.build(tiny, 3, weights=None, trainable=policy)) == expected


def test_a_frozen_backbone_leaves_the_head_to_learn(tiny):
    model = tz.build(tiny, 3, weights=None, trainable="none")
    assert [weight.path.split("/")[0] for weight in model.trainable_weights] == ["logits", "logits"]


def test_a_policy_can_be_set_again_later(tiny):
    model = tz.build(tiny, 3, weights=None, trainable="none")
    set_trainable(backbone_of(model), "top:1")
    assert learning(model) == ["bn2"]


@pytest.mark.parametrize("policy", ["top:0", "top:-1", "top:", "top:two", "", None, True, 3])
def test_a_policy_of_no_known_form_is_refused(tiny, policy):
    with pytest.raises(InvalidInputError, match="trainable must be 'all', 'none', 'top:N'"):
        tz.build(tiny, 3, weights=None, trainable=policy)


def test_a_beginning_that_no_layer_has_gets_the_nearest_layer(tiny):
    with pytest.raises(
        InvalidInputError, match=r"No layer's name begins with 'covn1'\. Did you mean 'conv1'"
    ):
        tz.build(tiny, 3, weights=None, trainable="covn1")


# --- chance


def test_the_same_seed_gives_the_same_weights(tiny):
    first, second = (tz.build(tiny, 3, weights=None, seed=5) for _ in range(2))
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))


@pytest.mark.parametrize(("first", "second"), [(5, 6), (None, None)])
def test_another_seed_or_none_gives_other_weights(tiny, first, second):
    weights = [tz.build(tiny, 3, weights=None, seed=seed).get_weights()[0] for seed in (first, second)]
    assert not np.array_equal(*weights)


@pytest.mark.parametrize("policy", ["all", "conv"])
def test_building_leaves_pythons_and_numpys_generators_as_they_were(tiny, policy):
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    tz.build(tiny, 3, weights=None, seed=5, trainable=policy, head=Head(Pool(), Dropout(0.5), Classifier()))
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_generators_are_put_back_after_an_error_too():
    before = random.getstate()

    def fail():
        with seeded(1):
            random.random()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert random.getstate() == before


# --- what a model is known by


def test_what_build_was_asked_for_is_kept_beside_the_model(tiny):
    model = tz.build(tiny, 3, weights=None, head="mlp", trainable="none", seed=4)
    settings = model_settings(model)
    assert (settings.backbone, settings.head, settings.trainable, settings.seed) == ("tiny", "mlp", "none", 4)


def test_a_model_from_elsewhere_has_no_settings():
    assert model_settings(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])) is None


def test_a_digest_changes_with_a_single_weight(tiny):
    model = tz.build(tiny, 3, weights=None, seed=0)
    before = model_digest(model)
    kernel = head_of(model).trainable_weights[0]
    kernel.assign(keras.ops.convert_to_numpy(kernel) + np.eye(*kernel.shape, dtype="float32") * 1e-6)
    assert model_digest(model) != before


def test_parts_run_on_the_models_own_weights(tiny):
    model = tz.build(tiny, 3, weights=None, seed=0)
    x = keras.Input((32, 32, 3))
    assert np.allclose(run(keras.Model(x, connect(model, x)[1]), images()), run(model, images()), atol=1e-6)


def test_a_model_without_parts_cannot_be_taken_apart():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(InvalidInputError, match=r"must come from tz\.build"):
        connect(model, keras.Input((2,)))


# --- saved models

ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "transferzoo":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Absent())
try:
    import transferzoo
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("transferzoo is here after all")
import keras, numpy as np
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras")
    np.save(f"{name}.npy", model.predict(np.load(f"{name}-images.npy"), verbose=0))
assert not any(name.split(".")[0] == "transferzoo" for name in sys.modules)
"""


def predicted_elsewhere(folder, models):
    """Predictions of saved models, made by a process that cannot import transferzoo."""
    for name, (model, x) in models.items():
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}-images.npy", x)
    subprocess.run([sys.executable, "-c", ELSEWHERE, *models], cwd=folder, check=True, capture_output=True)
    return {name: np.load(folder / f"{name}.npy") for name in models}


@pytest.fixture(scope="module")
def carried_away(tmp_path_factory):
    """Predictions here and elsewhere: a scaling backbone, and a BGR one that resizes gray images."""
    from conftest import make_tiny

    records = dict(BACKBONES._records)
    tz.register_backbone(
        "tiny_bgr", make_tiny, preprocessing=tz.backbone_info("vgg16").preprocessing, replace=True
    )
    models = {
        "scaled": (tz.build("mobilenet_025", 10, weights=None, seed=0), images()),
        "bgr": (
            tz.build("tiny_bgr", 5, weights=None, input_shape=(16, 16, 1), image_size=32, head="mlp", seed=0),
            images(shape=(16, 16, 1)),
        ),
    }
    models["dense"] = (
        tz.build("mobilenet_025", 10, weights=None, stem="stride1", output_stride=8, seed=0),
        images(),
    )
    tz.register_backbone("pooled", pooled, replace=True)
    models["pooled"] = (tz.build("pooled", 5, weights=None, output_stride=1, seed=0), images())
    # this fixture outlives a test, and what it registered must not
    BACKBONES._records.clear()
    BACKBONES._records.update(records)
    there = predicted_elsewhere(tmp_path_factory.mktemp("elsewhere"), models)
    return {name: (model.predict(x, verbose=0), there[name]) for name, (model, x) in models.items()}


def pooled(input_shape):
    """Two poolings with a convolution between them: the second is dilated, out of several layers."""
    x = images = keras.Input(input_shape)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(8, 3, padding="same")(x)
    return keras.Model(images, keras.layers.MaxPooling2D()(x))


@pytest.mark.medium
@pytest.mark.parametrize("name", ["scaled", "bgr", "dense", "pooled"])
def test_a_saved_model_predicts_the_same_where_transferzoo_is_not_installed(carried_away, name):
    here, there = carried_away[name]
    assert np.allclose(here, there, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "vgg16", "alexnet"])
def test_a_large_saved_model_predicts_the_same_where_transferzoo_is_not_installed(tmp_path, name):
    model = tz.build(name, 10, weights=None, seed=0)
    there = predicted_elsewhere(tmp_path, {"model": (model, images())})
    assert np.allclose(model.predict(images(), verbose=0), there["model"], rtol=0, atol=1e-5)
