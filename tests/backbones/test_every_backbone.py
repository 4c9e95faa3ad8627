"""Every backbone held against its record and against Keras' own functions, with random weights."""

import dataclasses
import importlib
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import each_backbone
from transferzoo.backbones.measured import MEASURED
from transferzoo.models.construct import backbone_of, connect

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
OWN = tuple(
    name for name in tz.list_backbones() if tz.backbone_info(name).published_weights("imagenet") is None
)
MODULES = {"small_resnet": None, "wide_resnet": None, "alexnet": None, "vgg": "", "inception": ""}


def keras_module(record):
    """The module of keras.applications that a backbone is from."""
    module = MODULES.get(record.family, record.family) or record.name
    return importlib.import_module(f"keras.applications.{module}")


def keras_function(record):
    """The function of keras.applications that builds it, and its arguments."""
    arguments = dict(record.arguments)
    if variant := arguments.pop("variant", None):
        return getattr(keras.applications, f"EfficientNet{variant}"), arguments
    return record.resolve_builder(), arguments


def network(record, side):
    return record.resolve_builder()(input_shape=(side, side, 3), **record.arguments)


def settled(network, pixels):
    """Give BatchNorm the statistics of some images: a random network hardly tells images apart without."""
    norms = [each for each in network._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    network(pixels, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def outputs(network, images):
    return keras.ops.convert_to_numpy(network(images, training=False))


def largest(values):
    return np.abs(values).max()


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    keras.backend.clear_session(free_memory=True)


@pytest.mark.parametrize("name", each_backbone())
def test_a_backbone_counts_as_its_record_says(name):
    from count_backbones import count

    record = tz.backbone_info(name)
    measured, _ = count(record)
    assert measured == MEASURED[name]
    for field in dataclasses.fields(measured):
        assert getattr(record, field.name) == getattr(measured, field.name)


# millions; networks published with their classifier have it added
PUBLISHED = {
    # He et al. (2016), table 1
    **{"resnet101": 7_600, "resnet152": 11_300},
    # Zoph et al. (2018), table 2
    **{"inception_v3": 5_720, "xception": 8_380, "inception_resnet_v2": 13_200},
    **{"nasnet_mobile": 564, "nasnet_large": 23_800},
    # Tan and Le (2019), table 2
    **{"efficientnet_b0": 390, "efficientnet_b1": 700, "efficientnet_b2": 1_000, "efficientnet_b3": 1_800},
    **{"efficientnet_b4": 4_200, "efficientnet_b5": 9_900, "efficientnet_b6": 19_000},
    **{"efficientnet_b7": 37_000},
    # Tan and Le (2021), table 7
    **{"efficientnet_v2_s": 8_800, "efficientnet_v2_m": 24_000, "efficientnet_v2_l": 53_000},
    # Liu et al. (2022), table 1
    **{"convnext_tiny": 4_500, "convnext_small": 8_700, "convnext_base": 15_400},
    **{"convnext_large": 34_400, "convnext_xlarge": 60_900},
    # docstring of keras.applications.MobileNetV3Large; the small ones of Howard et al. (2019), table 3
    **{"mobilenet_v3_large": 217, "mobilenet_v3_large_075": 155, "mobilenet_v3_large_minimalistic": 209},
    **{"mobilenet_v3_small": 56, "mobilenet_v3_small_075": 44},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_are_those_published(name):
    record = tz.backbone_info(name)
    classifier = record.feature_channels * 1000
    if record.family == "mobilenet_v3":
        hidden = 1280 if "large" in name else 1024
        classifier = record.feature_channels * hidden + hidden * 1000
    assert (record.multiply_adds + classifier) / 1e6 == pytest.approx(PUBLISHED[name], rel=0.06)


@pytest.mark.medium
@pytest.mark.parametrize("name", each_backbone())
def test_a_backbone_can_be_built_at_the_sizes_of_its_record(name):
    record = tz.backbone_info(name)
    assert min(network(record, record.minimum_size).output_shape[1:3]) >= 1
    cells = [network(record, 96 + extra).output_shape[1] for extra in (0, record.reduction)]
    assert cells[1] - cells[0] == 1
    if name not in OWN:
        with pytest.raises(ValueError, match="at least"):
            network(record, record.minimum_size - 1)


@pytest.mark.medium
@pytest.mark.parametrize("name", each_backbone(leaving_out=OWN))
def test_features_of_pixels_are_those_of_keras_own_pipeline(name, monkeypatch, tmp_path):
    """Keras is given our weights as the file that it fetches, and must come to the same features."""
    record = tz.backbone_info(name)
    side = 64 if record.minimum_size <= 64 else 128
    model = tz.build(name, 3, weights=None, input_shape=(side, side, 3), image_size="input", seed=0)
    ours = keras.Model(model.inputs[0], connect(model, model.inputs[0])[0])
    file = tmp_path / "ours.weights.h5"
    backbone_of(model).save_weights(file)
    asked = {}

    def fetch(fname, origin, **options):
        asked.update(origin=origin, hash=options.get("file_hash"))
        return file

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fetch)
    build, arguments = keras_function(record)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input_shape.*")
        theirs = build(**{**arguments, "weights": "imagenet", "input_shape": (side, side, 3)})
    published = record.published_weights("imagenet")
    digest = published.hash.partition(":")[2] if published.hash else None
    assert asked == {"origin": published.url, "hash": digest}

    pixels = np.random.default_rng(0).integers(0, 256, (8, side, side, 3)).astype("float32")
    # numpy's function writes into the array that it is given
    prepared = keras_module(record).preprocess_input(pixels.copy())
    expected = outputs(theirs, prepared)
    assert largest(expected) > 0
    assert largest(outputs(ours, pixels) - expected) <= 1e-5 * largest(expected)

    # a random network hardly tells one image from another; with the statistics of these images it does
    settled(backbone_of(model), prepared)
    backbone_of(model).save_weights(file)
    theirs.load_weights(file)
    expected = outputs(theirs, prepared)
    assert largest(outputs(ours, pixels) - expected) <= 1e-3 * largest(expected)
    # channels in another order, or a variance for a standard deviation, change features by more
    assert largest(outputs(ours, pixels[..., ::-1]) - expected) > 0.01 * largest(expected)
    assert largest(outputs(ours, pixels * 1.5) - expected) > 0.01 * largest(expected)


@pytest.mark.parametrize("name", each_backbone())
def test_a_backbone_s_batchnorm_has_the_momentum_of_its_framework(name):
    """Torch says 0.1 for what Keras calls 0.9; a value below one half is the other's."""
    layers = network(tz.backbone_info(name), 96)._flatten_layers()
    momenta = {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert all(momentum >= 0.9 for momentum in momenta)


@pytest.mark.medium
def test_efficientnet_divides_by_standard_deviations_not_by_their_roots():
    record = tz.backbone_info("efficientnet_b0")
    built = network(record, 32)
    scaled = keras.Model(built.inputs[0], built.get_layer("second_division").output)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(scaled(pixels), expected, atol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    # table 6 of He et al. (2016); Zagoruyko and Komodakis (2016), table 4 and section 3
    [("resnet20", 20, 0.27e6), ("resnet56", 56, 0.85e6), ("wide_resnet28_10", 28, 36.5e6)],
)
def test_networks_for_small_images_have_the_depth_and_parameters_of_their_papers(name, layers, parameters):
    built = network(tz.backbone_info(name), 32)
    kernels = [
        layer
        for layer in built.layers
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.endswith("shortcut")
    ]
    # the classifier is a layer too, and the paper of the wide ones counts a shortcut in each of three groups
    assert len(kernels) + 1 + (2 if "wide" in name else 0) == layers
    classifier = (built.output_shape[-1] + 1) * 10
    assert built.count_params() + classifier == pytest.approx(parameters, rel=0.02)


def test_a_shortcut_without_parameters_takes_every_second_cell_and_adds_zeros():
    from transferzoo.backbones.small_images import _without_parameters

    images = keras.Input((6, 6, 4))
    shortcut = keras.Model(images, _without_parameters(images, 10, "shortcut"))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")
    expected = np.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (3, 3)))
    assert np.array_equal(shortcut(x), expected)
