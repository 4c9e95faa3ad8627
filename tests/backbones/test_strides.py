"""Strides are taken out and kernels kept: the denser map, thinned out again, is the original's."""

import keras
import numpy as np
import pytest
from keras import layers

import transferzoo as tz
from transferzoo.backbones.strides import apply_strides, plan_strides
from transferzoo.errors import InvalidInputError

FAMILIES = [
    pytest.param("mobilenet_025"),
    pytest.param("mobilenet_v2_035"),
    pytest.param("vgg16", marks=pytest.mark.slow),
    pytest.param("resnet50", marks=pytest.mark.slow),
]


def published(name, size):
    """The network of keras.applications, all of its weights random, statistics and shifts included."""
    record = tz.backbone_info(name)
    return with_random_weights(record.resolve_builder()(input_shape=(size, size, 3), **record.arguments))


def with_random_weights(network, seed=0):
    generator = np.random.default_rng(seed)
    for layer in network.layers:
        drawn = []
        for weight in layer.weights:
            fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 1
            depthwise = isinstance(layer, layers.DepthwiseConv2D) and len(weight.shape) == 4
            deviation = 1.4 / np.sqrt(weight.shape[0] * weight.shape[1] if depthwise else fan_in)
            if len(weight.shape) == 1:  # biases and BatchNorm; a variance must be above 0
                drawn.append(generator.uniform(0.5, 1.0, weight.shape))
            else:
                drawn.append(generator.normal(0, deviation, weight.shape))
        layer.set_weights(drawn)
    return network


def run(network, x):
    return keras.ops.convert_to_numpy(network(x, training=False))


def noise(side, count=2):
    return np.random.default_rng(1).normal(size=(count, side, side, 3)).astype("float32")


def difference(ours, theirs):
    """Largest difference, as a fraction of the largest value; and both must hold something."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 1e-3 * np.abs(theirs).max() > 0
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def dense(network, side, **asked):
    return apply_strides(network, plan_strides(network, **asked), (side, side, 3))


def up_to(network, name):
    return keras.Model(network.inputs[0], network.get_layer(name).output)


# --- the stem


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "layer", "first"),
    [
        # Keras pads a 3×3 kernel of stride 2 behind only, and one of stride 1 on both sides
        ("mobilenet_025", "conv1", 1),
        ("mobilenet_v2_035", "Conv1", 1),
        ("resnet50", "conv1_conv", 0),
        ("vgg16", "block1_pool", 0),
    ],
)
def test_every_other_cell_of_a_stem_of_stride_one_is_the_original_stems(name, layer, first):
    network = published(name, 64)
    changed = dense(network, 64, stem="stride1")
    ours, theirs = (run(up_to(each, layer), noise(64)) for each in (changed, network))
    assert difference(ours[:, first::2, first::2], theirs) <= 1e-5


@pytest.mark.medium
def test_a_stem_of_stride_one_pools_as_before_but_at_every_cell():
    network = dense(published("resnet50", 64), 16, stem="stride1")
    before, after = (run(up_to(network, name), noise(16)) for name in ("pool1_pad", "pool1_pool"))
    witness = np.lib.stride_tricks.sliding_window_view(before, (3, 3), axis=(1, 2)).max(axis=(-2, -1))
    assert np.array_equal(after, witness)


@pytest.mark.medium
@pytest.mark.parametrize("name", FAMILIES)
def test_behind_its_stem_a_network_is_the_original(name):
    """Given the stem's map, the rest computes what the rest of the original does, padding included."""
    network = published(name, 96)
    plan = plan_strides(network, stem="stride1")
    changed = apply_strides(network, plan, (96 // plan.stem_factor,) * 2 + (3,))
    stem = list(plan.changes)[-1]
    ours, theirs = (keras.Model(each.get_layer(stem).output, each.outputs[0]) for each in (changed, network))
    x = np.random.default_rng(2).normal(size=(2, *ours.input_shape[1:])).astype("float32")
    assert difference(run(ours, x), run(theirs, x)) <= 1e-6


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "stem", "reduction"),
    [("mobilenet_025", 2, 16), ("mobilenet_v2_035", 2, 16), ("vgg16", 2, 16), ("resnet50", 4, 8)],
)
def test_a_stem_of_stride_one_shrinks_less(name, stem, reduction):
    network = published(name, 64)
    plan = plan_strides(network, stem="stride1")
    assert (plan.original_reduction, plan.stem_factor, plan.reduction) == (32, stem, reduction)
    assert dense(network, 64, stem="stride1").output_shape[1:3] == (64 // reduction, 64 // reduction)


# --- the output stride


@pytest.mark.medium
@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_dilated_networks_map_thinned_out_is_the_originals(name, output_stride):
    network = published(name, 64)
    ours, theirs = run(dense(network, 64, output_stride=output_stride), noise(64)), run(network, noise(64))
    step = 32 // output_stride
    first = step - 1 if name.startswith("mobilenet") else 0
    assert ours.shape[1:3] == (64 // output_stride, 64 // output_stride)
    assert difference(ours[:, first::step, first::step], theirs) <= 1e-4


@pytest.mark.medium
@pytest.mark.parametrize("output_stride", [1, 2, 4])
def test_every_stride_can_go(output_stride):
    network = published("mobilenet_025", 32)
    ours, step = run(dense(network, 32, output_stride=output_stride), noise(32)), 32 // output_stride
    assert difference(ours[:, step - 1 :: step, step - 1 :: step], run(network, noise(32))) <= 1e-4


@pytest.mark.medium
def test_both_may_be_joined_and_the_stem_comes_first():
    network = published("mobilenet_025", 64)
    stem, both = (dense(network, 32, stem="stride1", output_stride=n) for n in (None, 8))
    assert both.output_shape[1:3] == (4, 4)
    assert difference(run(both, noise(32))[:, 1::2, 1::2], run(stem, noise(32))) <= 1e-4


@pytest.mark.medium
def test_weights_keep_their_layers_and_shapes_in_their_order():
    network = published("mobilenet_v2_035", 64)
    changed = dense(network, 32, stem="stride1", output_stride=4)

    def shapes(each):
        return [(layer.name, [w.shape for w in layer.weights]) for layer in each.layers if layer.weights]

    assert shapes(changed) == shapes(network)
    assert all(map(np.array_equal, changed.get_weights(), network.get_weights()))


def test_an_odd_map_keeps_its_size():
    # 48 pixels are 3 cells before the last stride of MobileNet
    assert dense(published("mobilenet_025", 48), 48, output_stride=16).output_shape[1:3] == (3, 3)


# --- networks of one's own


def residual(*, kernel, padding, pool=None):
    """A residual block of stride 2, then a convolution that sees how the branches were joined."""
    x = images = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    main = layers.Conv2D(8, kernel, strides=2, padding=padding)(x)
    x = layers.Add()([main, layers.Conv2D(8, 1, strides=2)(x)])
    if pool is not None:
        x = pool(x)
    x = layers.Conv2D(8, 3, padding="same")(x)
    return with_random_weights(keras.Model(images, x))


def test_branches_that_are_padded_differently_stay_in_step():
    network = residual(kernel=3, padding="same")
    ours = run(dense(network, 32, output_stride=2), noise(32))
    assert difference(ours[:, ::2, ::2], run(network, noise(32))) <= 1e-5


@pytest.mark.parametrize("kind", [layers.MaxPooling2D, layers.AveragePooling2D])
@pytest.mark.parametrize("size", [2, 3])
def test_a_pooling_between_dilated_convolutions_is_dilated_too(kind, size):
    network = residual(kernel=1, padding="valid", pool=kind(size, strides=2))
    ours, theirs = run(dense(network, 32, output_stride=2), noise(32)), run(network, noise(32))
    cells = theirs.shape[1]
    assert difference(ours[:, ::4, ::4][:, : cells - 1, : cells - 1], theirs[:, :-1, :-1]) <= 1e-5


def test_a_sequential_network_and_unpadded_convolutions_are_changed_too():
    network = keras.Sequential(
        [keras.Input((33, 33, 3)), layers.Conv2D(8, 3, strides=2), layers.Conv2D(8, 3, strides=2)]
    )
    with_random_weights(network)
    ours, theirs = run(dense(network, 33, output_stride=2), noise(33)), run(network, noise(33))
    assert difference(ours[:, ::2, ::2], theirs) <= 1e-5


def test_a_squeezed_vector_goes_with_any_map():
    x = images = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    squeezed = layers.Conv2D(8, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    network = keras.Model(images, layers.Conv2D(8, 2, strides=2)(layers.Multiply()([x, squeezed])))
    assert dense(network, 32, output_stride=1).output_shape == (None, 32, 32, 8)


def small(*after, input_shape=(32, 32, 3)):
    x = images = keras.Input(input_shape)
    for layer in (layers.Conv2D(4, 3, strides=2, padding="same"), *after):
        x = layer(x)
    return keras.Model(images, x)


class Neighbours(layers.Layer):
    def call(self, x):
        return keras.ops.roll(x, 1, axis=1)


def shared():
    convolution = layers.Conv2D(3, 3, padding="same", name="twice")
    images = keras.Input((32, 32, 3))
    return keras.Model(images, layers.MaxPooling2D()(convolution(convolution(images))))


@pytest.mark.parametrize(
    ("make", "asked", "message"),
    [
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.ReLU()]),
            {"stem": "stride1"},
            "stride abo",
        ),
        (lambda: small(layers.UpSampling2D()), {"output_stride": 1}, r"\(UpSampling2D\) changes a map's sha"),
        (lambda: small(Neighbours()), {"output_stride": 1}, r"\(Neighbours\) may look at neighbouring cells"),
        (lambda: small(small(input_shape=(16, 16, 4))), {"output_stride": 1}, "is a network itself"),
        (lambda: small(layers.MaxPooling2D(3, 2, "same")), {"output_stride": 1}, "pools with padding='same'"),
        (lambda: small(layers.MaxPooling2D((2, 4))), {"output_stride": 1}, r"unequal strides \(2, 4\)"),
        (shared, {"output_stride": 1}, "'twice' is used more than once"),
        (lambda: residual(kernel=1, padding="valid"), {"output_stride": 4}, "None or one of 1, 2 for 'mine'"),
    ],
)
def test_what_a_network_cannot_have_taken_out_is_said(make, asked, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        plan_strides(make(), name="mine", **asked)
    assert "'mine'" in str(caught.value)


def test_a_stem_that_is_one_of_two_branches_is_refused():
    images = keras.Input((32, 32, 3))
    branches = [layers.Conv2D(4, 1, strides=2)(images) for _ in range(2)]
    network = keras.Model(images, layers.Add(name="join")(branches))
    with pytest.raises(InvalidInputError, match="'join' joins branches that would no longer be of one size"):
        plan_strides(network, stem="stride1")


def test_weights_that_hang_on_the_maps_size_are_refused():
    network = small(layers.Flatten(), layers.Dense(3))
    with pytest.raises(InvalidInputError, match="depends on the size of the feature map"):
        apply_strides(network, plan_strides(network, output_stride=1), (32, 32, 3))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"stem": "stride2"},
            r"stem must be 'original' or 'stride1'\. Got 'stride2'\. Did you mean 'stride1'",
        ),
        ({"stem": None}, "stem must be 'original' or 'stride1'"),
        ({"output_stride": 3}, "output_stride must be None or a power of two: 1, 2, 4, 8 or 16. Got 3"),
        ({"output_stride": 0}, "power of two"),
        ({"output_stride": True}, "power of two"),
        ({"output_stride": "16"}, "power of two"),
        ({"output_stride": 8.0}, "power of two"),
    ],
)
def test_something_else_is_refused(asked, message):
    with pytest.raises(InvalidInputError, match=message):
        plan_strides(small(), **asked)
