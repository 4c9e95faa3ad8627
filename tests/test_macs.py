import re
from pathlib import Path

import keras
import pytest
from keras import layers

import transferzoo as tz
from transferzoo.costs.macs import count_macs
from transferzoo.costs.measure import count_parameters
from transferzoo.errors import InvalidInputError

# Millions of multiply-adds at 224×224 with the classifier for 1,000 classes.
PUBLISHED = {
    # He et al. (2016), table 1: 3.8e9
    "resnet50": 3_800,
    # torchvision's pages of vgg16 and vgg19, which count the same networks
    "vgg16": 15_470,
    "vgg19": 19_630,
    # Howard et al. (2017), tables 4 and 6
    "mobilenet": 569,
    "mobilenet_075": 325,
    "mobilenet_050": 149,
    "mobilenet_025": 41,
    # Sandler et al. (2018), table 4, and the authors' list of checkpoints for the other widths
    "mobilenet_v2": 300,
    "mobilenet_v2_140": 582,
    "mobilenet_v2_130": 509,
    "mobilenet_v2_075": 209,
    "mobilenet_v2_050": 97,
    "mobilenet_v2_035": 59,
}
# three wide layers on a map of 7×7×512, which would take half a gigabyte to build, and on one of 6×6×256
VGG_CLASSIFIER = 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 1000
ALEXNET_CLASSIFIER = 6 * 6 * 256 * 4096 + 4096 * 4096 + 4096 * 1000
PAGE = Path(__file__).parents[1] / "docs" / "costs.md"


def macs_of(layer, shape):
    """Multiply-accumulates of a model of one layer."""
    images = keras.Input(shape)
    return count_macs(keras.Model(images, layer(images))).total


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        # kernel × input channels × output channels × output cells; images are 10×12×4
        (layers.Conv2D(6, 3), 9 * 4 * 6 * 8 * 10),
        (layers.Conv2D(6, 3, padding="same"), 9 * 4 * 6 * 10 * 12),
        (layers.Conv2D(6, 3, strides=2), 9 * 4 * 6 * 4 * 5),
        (layers.Conv2D(6, 3, strides=2, padding="same"), 9 * 4 * 6 * 5 * 6),
        (layers.Conv2D(6, (1, 5), strides=(2, 3)), 5 * 4 * 6 * 5 * 3),
        (layers.Conv2D(6, 3, dilation_rate=2), 9 * 4 * 6 * 6 * 8),
        (layers.Conv2D(6, 3, groups=2), 9 * 2 * 6 * 8 * 10),
        (layers.Conv2D(6, 3, use_bias=False, activation="relu"), 9 * 4 * 6 * 8 * 10),
        (layers.DepthwiseConv2D(3), 9 * 4 * 8 * 10),
        (layers.DepthwiseConv2D(3, strides=2, depth_multiplier=3), 9 * 4 * 3 * 4 * 5),
        (layers.SeparableConv2D(6, 3, depth_multiplier=2), (9 * 4 * 2 + 4 * 2 * 6) * 8 * 10),
        (layers.SeparableConv2D(6, 3, strides=2, padding="same"), (9 * 4 + 4 * 6) * 5 * 6),
        # each input cell is spread over the kernel
        (layers.Conv2DTranspose(6, 3, strides=2), 9 * 4 * 6 * 10 * 12),
        # at each of the 120 cells
        (layers.Dense(6), 4 * 6 * 10 * 12),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else str(value),
)
def test_a_layer_counts_what_is_counted_by_hand(layer, by_hand):
    assert macs_of(layer, (10, 12, 4)) == by_hand


@pytest.mark.parametrize(
    ("layer", "shape", "by_hand"),
    [
        (layers.Dense(7), (5,), 35),
        (layers.Conv1D(6, 3), (10, 4), 3 * 4 * 6 * 8),
        (layers.SeparableConv1D(6, 3), (10, 4), (3 * 4 + 4 * 6) * 8),
        (layers.Conv3D(2, 3), (5, 5, 5, 4), 27 * 4 * 2 * 27),
        (layers.Conv2D(6, 3, data_format="channels_first"), (4, 10, 12), 9 * 4 * 6 * 8 * 10),
    ],
    ids=["Dense", "Conv1D", "SeparableConv1D", "Conv3D", "channels first"],
)
def test_other_dimensions_and_orders_count_too(layer, shape, by_hand):
    if getattr(layer, "data_format", None) == "channels_first":
        # TensorFlow cannot run this on a CPU, and the count runs nothing
        layer.build((None, *shape))
    assert macs_of(layer, shape) == by_hand


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.GroupNormalization(2),
        layers.PReLU(),
        layers.Normalization(mean=1.0, variance=2.0),
        layers.Rescaling(1 / 255),
        layers.Resizing(20, 20),
        layers.ZeroPadding2D(1),
        layers.Cropping2D(1),
        layers.MaxPooling2D(2),
        layers.AveragePooling2D(2),
        layers.GlobalAveragePooling2D(),
        layers.GlobalMaxPooling2D(),
        layers.Flatten(),
        layers.Reshape((120, 4)),
        layers.ReLU(6.0),
        layers.Activation("relu"),
        layers.Softmax(),
        layers.Dropout(0.5),
        layers.UpSampling2D(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_without_a_kernel_is_known_and_counts_0(layer):
    images = keras.Input((10, 12, 4))
    found = count_macs(keras.Model(images, layer(images)))
    assert (found.total, found.uncounted) == (0, ())
    assert [line.kind for line in found.layers] == [type(layer).__name__]


def test_a_layer_counts_at_each_of_its_calls_and_its_parameters_once():
    images = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    found = count_macs(keras.Model(images, shared(layers.MaxPooling2D(2)(shared(images)))))
    lines = [line for line in found.layers if line.name == "shared"]
    assert [line.macs for line in lines] == [81 * 64, 81 * 16]
    assert [line.parameters for line in lines] == [84, 0]
    assert [line.output_shape for line in lines] == [(8, 8, 3), (4, 4, 3)]
    assert found.total == 81 * 64 + 81 * 16


def convolution_at_an_open_size():
    inside = keras.Input((None, None, 3))
    return keras.Model(inside, layers.Conv2D(3, 3, padding="same", name="conv")(inside), name="open")


def test_a_model_within_counts_at_the_sizes_that_it_is_called_with():
    images = keras.Input((8, 8, 3))
    network = convolution_at_an_open_size()
    small = network(layers.AveragePooling2D(2)(network(images, training=False)))
    found = count_macs(keras.Model(images, layers.Dense(5)(layers.Flatten()(small))))
    lines = [line for line in found.layers if line.name == "open/conv"]
    assert [(line.macs, line.parameters) for line in lines] == [(81 * 64, 84), (81 * 16, 0)]
    assert found.total == 81 * 64 + 81 * 16 + 48 * 5


def test_models_within_models_within_models_are_entered():
    images = keras.Input((8, 8, 3))
    middle = keras.Sequential([keras.Input((8, 8, 3)), convolution_at_an_open_size()], name="middle")
    found = count_macs(keras.Model(images, middle(images)))
    assert [(line.name, line.macs) for line in found.layers] == [("middle/open/conv", 81 * 64)]


def test_a_sequential_model_counts_as_one_of_connected_layers():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    assert count_macs(model).total == 27 * 4 * 36 + 144 * 2


def test_several_inputs_are_followed():
    one, two = keras.Input((4,)), keras.Input((6,))
    joined = layers.Concatenate()([layers.Dense(3)(one), two])
    inner = keras.Model([one, two], layers.Dense(5)(joined))
    outer = [keras.Input((4,)), keras.Input((6,))]
    assert count_macs(keras.Model(outer, inner(outer))).total == 4 * 3 + 9 * 5


def test_an_open_size_is_filled_in_by_input_shape():
    assert count_macs(convolution_at_an_open_size(), (10, 12, 3)).total == 81 * 120


def test_an_open_size_is_an_error_that_names_the_layer_and_the_remedy():
    with pytest.raises(InvalidInputError, match=r"fixed image sizes.*Pass input_shape=.*'conv'"):
        count_macs(convolution_at_an_open_size())


@pytest.mark.parametrize("shape", [(10, 12, 1), (10, 12), 10, (10, 0, 3), (10, None, 3), "abc"])
def test_an_input_shape_that_the_model_does_not_take_is_an_error(shape):
    with pytest.raises(InvalidInputError, match="input_shape must be"):
        count_macs(convolution_at_an_open_size(), shape)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize("model", [Subclassed(), keras.Sequential(), keras.Sequential([layers.Dense(2)]), 3])
def test_what_is_no_model_of_connected_layers_is_an_error(model):
    with pytest.raises(InvalidInputError, match=r"model must be a keras\.Model of connected layers"):
        count_macs(model)


class Scale(layers.Layer):
    """Holds a weight, and nobody knows what it does with it."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, inputs):
        return inputs * self.scale


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (Scale, "Scale"),
        (Subclassed, "Subclassed"),
        (lambda: layers.EinsumDense("abc,cd->abd", (6, 5)), "EinsumDense"),
        (lambda: layers.TimeDistributed(layers.Dense(3)), "TimeDistributed"),
        (lambda: lambda x: layers.MultiHeadAttention(2, 4)(x, x), "MultiHeadAttention"),
        (lambda: lambda x: layers.Attention()([x, x]), "Attention"),
        (lambda: lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1))), "Matmul"),
        (lambda: lambda x: keras.ops.einsum("abc,adc->abd", x, x), "Einsum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_it_cannot_count_is_named_and_never_silently_0(make, kind):
    tensors = keras.Input((6, 4))
    found = count_macs(keras.Model(tensors, layers.Dense(2)(make()(tensors))))
    assert found.uncounted == (kind,)
    assert f"not counted: {kind}" in str(found)


def test_sums_and_products_cell_by_cell_are_known():
    images = keras.Input((8, 8, 4))
    gate = layers.Dense(4)(layers.GlobalAveragePooling2D(keepdims=True)(images))
    scaled = layers.Multiply()([images, gate])
    merged = keras.ops.relu(layers.Add()([images, scaled]) * 0.5)
    found = count_macs(keras.Model(images, merged))
    assert (found.total, found.uncounted) == (16, ())


def test_the_text_has_the_total_and_the_layers_that_count():
    model = keras.Sequential([keras.Input((100,)), layers.ReLU(), layers.Dense(20, name="logits")])
    assert str(count_macs(model)).split() == (
        ["2,000", "multiply-accumulates", "an", "image", "2,000", "Dense", "logits"]
    )


def test_counting_calls_no_layer_and_changes_no_graph():
    images = keras.Input((8, 8, 3))
    network = convolution_at_an_open_size()
    model = keras.Model(images, network(images))
    conv = network.get_layer("conv")
    before = (model.to_json(), len(conv._inbound_nodes), len(network._inbound_nodes))
    count_macs(model)
    assert (model.to_json(), len(conv._inbound_nodes), len(network._inbound_nodes)) == before


@pytest.mark.medium
@pytest.mark.parametrize("name", [*PUBLISHED, "vgg16", "vgg19", "alexnet"])
def test_backbones_count_as_published_with_no_layer_left_out(name):
    model = tz.build(name, 1000, weights=None, input_shape=(224, 224, 3))
    found = count_macs(model)
    assert found.uncounted == ()
    assert sum(line.parameters for line in found.layers) == count_parameters(model)["parameters"]
    if name.startswith("vgg"):
        total = found.total - 512 * 1000 + VGG_CLASSIFIER
    elif name == "alexnet":
        # by hand, as the one tower was never published: maps of 55, 27 and 13 cells a side
        convolutions = 55**2 * 96 * 363 + 27**2 * 256 * 2400 + 13**2 * (384 * 2304 + 384 * 3456 + 256 * 3456)
        assert found.total == convolutions + 256 * 1000
        return
    else:
        total = found.total
    assert total / 1e6 == pytest.approx(PUBLISHED[name], rel=0.016 if name == "resnet50" else 0.005)


@pytest.mark.medium
def test_resnet50_is_the_variant_with_the_stride_in_the_1x1_convolution():
    # 3.86 GMAC; with the stride in the 3×3 convolution it would be 4.09
    assert count_macs(keras.applications.ResNet50(weights=None)).total == 3_857_973_248


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", re.findall(r"^\| `(\w+)` \| [0-9.]+ M ", PAGE.read_text("utf-8"), re.MULTILINE)
)
def test_the_page_shows_what_is_counted_and_what_was_published(name):
    (row,) = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` | ")][:1]
    backbone = tz.backbone_info(name)
    build = backbone.resolve_builder()
    counted = [
        count_macs(build(input_shape=(size, size, 3), **backbone.arguments)).total for size in (32, 96, 224)
    ]
    classifiers = {"vgg": VGG_CLASSIFIER, "alexnet": ALEXNET_CLASSIFIER}
    counted.append(counted[-1] + classifiers.get(backbone.family, backbone.feature_channels * 1000))
    cells = [f"{backbone.parameters / 1e6:.2f} M", *(f"{each / 1e6:,.1f}" for each in counted)]
    published = f"{PUBLISHED[name]:,}" if name in PUBLISHED else "–"
    assert [cell.strip() for cell in row.strip("|").split("|")] == [f"`{name}`", *cells, published]


@pytest.mark.parametrize(("axes", "by_hand"), [(1, 4 * 4 * 6), ((2, 2), 6 * 6 * 4)])
def test_products_of_two_maps_are_counted(axes, by_hand):
    x = keras.Input((6, 4))
    assert count_macs(keras.Model(x, layers.Dot(axes)([x, x]))).total == by_hand


@pytest.mark.parametrize("name", tz.list_heads())
def test_every_head_counts_with_no_layer_left_out(name):
    model = tz.build("mobilenet_025", 10, weights=None, head=name)
    found = count_macs(model)
    assert found.uncounted == ()
    dense = [line.macs for line in found.layers if line.name.startswith("head/") and line.macs]
    kernels = [weight.shape for weight in model.get_layer("head").weights if len(weight.shape) == 2]
    assert dense == [rows * columns for rows, columns in kernels]


@pytest.mark.parametrize(
    "head",
    [
        tz.Head(tz.heads.Normalize(kind), tz.heads.Pool("max"), tz.heads.Classifier())
        for kind in ("batch", "layer")
    ],
)
def test_the_other_parts_of_heads_are_known(tiny, head):
    assert count_macs(tz.build(tiny, 3, weights=None, head=head)).uncounted == ()


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_025", {"stem": "stride1"}),
        ("mobilenet_025", {"output_stride": 8}),
        ("mobilenet_v2_035", {"stem": "stride1", "output_stride": 4}),
        pytest.param("resnet50", {"output_stride": 8}, marks=pytest.mark.slow),
        pytest.param("vgg16", {"output_stride": 8}, marks=pytest.mark.slow),
    ],
)
def test_stems_and_strides_are_known_and_cost_more(name, options):
    plain = count_macs(tz.build(name, 10, weights=None, image_size="input"))
    changed = count_macs(tz.build(name, 10, weights=None, image_size="input", **options))
    assert changed.uncounted == ()
    assert changed.total > plain.total


@pytest.mark.parametrize("channels", [1, 3])
def test_the_size_is_that_inside_the_model_after_resizing(tiny, channels):
    found = count_macs(tz.build(tiny, 3, weights=None, input_shape=(16, 16, channels), image_size=32))
    assert found.uncounted == ()
    assert found.total == 27 * 8 * 15 * 15 + 72 * 16 * 7 * 7 + 16 * 3


def profiled(model, shape):
    """Multiply-accumulates as TensorFlow's profiler has them: it counts 2 FLOPs for each."""
    import tensorflow as tf

    run = tf.function(lambda images: model(images, training=False))
    graph = run.get_concrete_function(tf.TensorSpec((1, *shape), tf.float32)).graph
    kernels = ["Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv2DBackpropInput"]
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    )
    options = options.with_accounted_types(kernels).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 2


@pytest.mark.medium
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's profiler is the witness")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alexnet", {}),
        ("mobilenet_025", {"stem": "stride1"}),
        ("mobilenet_v2_035", {}),
        ("resnet50", {}),
        ("vgg16", {"head": "mlp"}),
    ],
)
def test_tensorflows_profiler_agrees(name, options, capfd):
    model = tz.build(name, 10, weights=None, image_size="input", **options)
    assert count_macs(model).total == profiled(model, (32, 32, 3))
