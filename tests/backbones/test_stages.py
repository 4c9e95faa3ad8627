"""Features of several stages: where stages end, and what joins them."""

import keras
import numpy as np
import pytest
from keras import layers

import transferzoo as tz
from conftest import each_backbone
from transferzoo.backbones.stages import join_stages, stage_maps
from transferzoo.errors import InvalidInputError
from transferzoo.heads import Classifier, Dense, Head
from transferzoo.models.construct import backbone_of, head_of, model_settings
from transferzoo.models.plan import build_network, seeded


def network_of(name, size):
    with seeded(0):
        return build_network(tz.backbone_info(name), (size, size))


def names(maps):
    return [each._keras_history.operation.name for each in maps]


def run(network, x):
    return keras.ops.convert_to_numpy(network(x, training=False))


def noise(shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


# as segmentation networks on these backbones take them
@pytest.mark.parametrize(
    ("name", "size", "ends"),
    [
        (
            "mobilenet_025",
            96,
            "conv_pw_1_relu conv_pw_3_relu conv_pw_5_relu conv_pw_11_relu conv_pw_13_relu",
        ),
        (
            "mobilenet_v2_035",
            96,
            "block_1_expand_relu block_3_expand_relu block_6_expand_relu block_13_expand_relu out_relu",
        ),
        ("resnet20", 32, "group1_block3_out group2_block3_out group3_block3_out"),
        pytest.param(
            "resnet50",
            96,
            "conv1_relu conv2_block3_out conv3_block4_out conv4_block6_out conv5_block3_out",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "vgg16",
            96,
            "block1_conv2 block2_conv2 block3_conv3 block4_conv3 block5_conv3 block5_pool",
            marks=pytest.mark.slow,
        ),
        # a reduction's branches have layers of the larger size; none of them holds all that is known
        pytest.param("inception_v3", 139, "mixed2 mixed7 mixed10", marks=pytest.mark.slow),
        pytest.param(
            "efficientnet_b0",
            96,
            "block2a_expand_activation block3a_expand_activation block4a_expand_activation "
            "block6a_expand_activation top_activation",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_stage_ends_where_maps_are_halved(name, size, ends):
    found = names(stage_maps(network_of(name, size)))
    wanted = ends.split()
    assert found[-len(wanted) :] == wanted


@pytest.mark.parametrize("name", each_backbone())
def test_stages_shrink_and_the_last_is_the_output(name):
    record = tz.backbone_info(name)
    network = network_of(name, max(record.minimum_size, 64))
    maps = stage_maps(network)
    assert maps[-1] is network.outputs[0]
    sides = [each.shape[1] for each in maps]
    assert sides == sorted(set(sides), reverse=True)
    assert len(maps) > 1


def test_the_joined_vector_is_the_stages_means_beside_each_other():
    network = network_of("mobilenet_025", 64)
    joined = join_stages(network, 3)
    x = noise((2, 64, 64, 3))
    wanted = [
        run(keras.Model(network.inputs[0], network.get_layer(name).output), x).mean(axis=(1, 2))
        for name in ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu")
    ]
    assert np.allclose(run(joined, x), np.concatenate(wanted, axis=1), rtol=1e-5, atol=1e-6)
    assert join_stages(network, 1) is network


def test_a_network_that_skips_from_stage_to_stage_has_fewer():
    images = keras.Input((32, 32, 3))
    first = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    second = layers.Conv2D(4, 3, strides=2, padding="same", name="second")(first)
    beside = layers.Conv2D(4, 3, strides=4, padding="same")(first)
    third = layers.Conv2D(4, 3, strides=2, padding="same")(second)
    network = keras.Model(images, layers.Add(name="out")([third, beside]))
    assert names(stage_maps(network))[1:] == ["out"]


def test_pixels_are_no_stage():
    images = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(images)
    network = keras.Model(images, layers.Conv2D(4, 3, strides=2, name="conv")(x))
    assert names(stage_maps(network)) == ["conv"]


def test_a_network_within_a_network_is_one_step():
    inner = keras.Sequential([keras.Input((16, 16, 4)), layers.Conv2D(8, 3, strides=2, padding="same")])
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(images)
    network = keras.Model(images, inner(x))
    joined = join_stages(network, 2)
    assert joined.output_shape == (None, 12)
    assert run(joined, noise((2, 32, 32, 3))).shape == (2, 12)


# --- build


@pytest.mark.medium
def test_a_head_gets_features_of_several_stages():
    model = tz.build("mobilenet_025", 10, weights=None, image_size=64, stages=3, seed=0)
    assert backbone_of(model).output_shape == (None, 64 + 128 + 256)
    assert head_of(model).input_shape == (None, 448)
    assert model_settings(model).stages == 3
    assert model.predict(np.zeros((2, 32, 32, 3), "uint8"), verbose=0).shape == (2, 10)


@pytest.mark.medium
def test_a_linear_dense_on_the_joined_vector_is_a_sum_of_projected_stages():
    head = Head(Dense(5, activation="linear"), Classifier())
    model = tz.build("mobilenet_025", 10, weights=None, image_size=64, stages=3, seed=0, head=head)
    dense = next(layer for layer in head_of(model).layers if layer.weights)
    vector = noise((2, 448))
    kernel, bias = dense.get_weights()
    stages = zip(np.split(vector, [64, 192], axis=1), np.split(kernel, [64, 192]), strict=True)
    summed = sum(means @ projection for means, projection in stages)
    projected = keras.Model(head_of(model).inputs[0], dense.output)
    assert np.allclose(run(projected, vector), summed + bias, atol=1e-4)


@pytest.mark.medium
def test_the_backbones_weights_are_those_without_it(tmp_path):
    plain = tz.build("mobilenet_025", 10, weights=None, seed=3)
    path = tmp_path / "mine.weights.h5"
    backbone_of(plain).save_weights(path)
    joined = tz.build("mobilenet_025", 10, weights=path, stages=2)
    assert all(map(np.array_equal, backbone_of(plain).get_weights(), backbone_of(joined).get_weights()))
    # and back: what was trained with several stages serves a model of one
    backbone_of(joined).save_weights(tmp_path / "joined.weights.h5")
    back = tz.build("mobilenet_025", 10, weights=tmp_path / "joined.weights.h5")
    assert all(map(np.array_equal, backbone_of(plain).get_weights(), backbone_of(back).get_weights()))


@pytest.mark.medium
def test_stages_go_with_another_stem_and_with_top_layers():
    model = tz.build("mobilenet_025", 3, weights=None, stem="stride1", stages=2, trainable="top:2")
    assert backbone_of(model).output_shape == (None, 384)
    assert [layer.name for layer in backbone_of(model).layers if layer.trainable_weights] == [
        "conv_pw_13",
        "conv_pw_13_bn",
    ]


@pytest.mark.medium
@pytest.mark.parametrize("recipe", ["linear_probe", "default"])
def test_a_run_records_and_repeats_them(tiny, tiny_weights, tiny_digits, recipe, tmp_path):
    options = {"weights": tiny_weights, "recipe": recipe, "stages": 2, "lint": False, "verbose": False}
    options |= {"epochs": 1} if recipe == "default" else {}
    result = tz.fit_and_evaluate(tiny, tiny_digits, out=tmp_path / "run", **options)
    assert result.settings["model"]["stages"] == 2
    again = tz.Result.load(tmp_path / "run")
    assert np.allclose(again.model.predict(tiny_digits.x_test, verbose=0), result.y_prob, rtol=0, atol=1e-5)


def test_cached_features_of_one_stage_do_not_serve_two(tiny, tiny_weights, tiny_digits):
    shapes = [
        tz.extract_features(tz.build(tiny, 10, weights=tiny_weights, stages=stages), tiny_digits.x_test).shape
        for stages in (1, 2)
    ]
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("mobilenet_025", 0, r"stages must be a whole number of 1 or more\. Got 0"),
        ("mobilenet_025", 2.5, r"stages must be a whole number of 1 or more\. Got 2\.5"),
        ("mobilenet_025", 6, r"1 to 5 for 'mobilenet_025', with 16, 32, 64, 128, 256 channels\. Got 6"),
    ],
)
def test_more_stages_than_there_are_are_refused(name, stages, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.build(name, 3, weights=None, stages=stages)


def test_vectors_have_no_stages():
    images = keras.Input((8, 8, 3))
    vectors = keras.Model(images, layers.GlobalAveragePooling2D()(images))
    with pytest.raises(InvalidInputError, match=r"stages must be 1 for 'mine': it gives no .*\(None, 3\)"):
        join_stages(vectors, 2, "mine")
