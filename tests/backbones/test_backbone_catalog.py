"""The table of backbones, held against the networks that it leads to."""

import dataclasses

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError, NameTakenError, UnknownNameError

NAMES = tz.list_backbones()
# building all of them takes minutes where operations are compiled one by one
QUICK = ("mobilenet_025", "alexnet")
EVERY = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]


@pytest.fixture(scope="module", params=EVERY)
def built(request):
    """A record, and its network for 96×96 images."""
    record = tz.backbone_info(request.param)
    yield record, record.resolve_builder()(input_shape=(96, 96, 3), **record.arguments)
    keras.backend.clear_session(free_memory=False)


def network(name, side):
    record = tz.backbone_info(name)
    return record.resolve_builder()(input_shape=(side, side, 3), **record.arguments)


def test_the_articles_backbones_and_their_earlier_rivals_are_there():
    assert {"resnet50", "mobilenet", "vgg16", "vgg19", "alexnet"} <= set(NAMES)


def test_a_network_has_the_parameters_that_its_record_states(built):
    record, net = built
    assert net.count_params() == record.parameters


def test_a_network_has_the_feature_channels_that_its_record_states(built):
    record, net = built
    assert net.output_shape[-1] == record.feature_channels


def test_a_network_takes_images_of_any_number(built):
    _, net = built
    assert net.input_shape == (None, 96, 96, 3)


def test_a_network_has_no_classifier(built):
    _, net = built
    assert len(net.output_shape) == 4


@pytest.mark.parametrize("name", EVERY)
def test_a_network_makes_one_cell_more_of_as_many_pixels_as_its_record_states(name):
    reduction = tz.backbone_info(name).reduction
    sides = [network(name, 96 + extra).output_shape[1] for extra in (0, reduction)]
    assert sides[1] - sides[0] == 1


@pytest.mark.parametrize("name", EVERY)
def test_a_network_can_be_built_at_the_smallest_size_of_its_record(name):
    minimum = tz.backbone_info(name).minimum_size
    assert min(network(name, minimum).output_shape[1:3]) >= 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "alexnet"])
def test_keras_refuses_images_below_the_smallest_size_of_the_record(name):
    with pytest.raises(ValueError, match="at least"):
        network(name, tz.backbone_info(name).minimum_size - 1)


@pytest.mark.parametrize(("side", "cells"), [(224, 6), (63, 1), (62, 6), (32, 2)])
def test_alexnet_keeps_a_feature_map_at_every_size(side, cells):
    assert network("alexnet", side).output_shape == (None, cells, cells, 256)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_cannot_be_changed(name):
    record = tz.backbone_info(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.parameters = 1
    with pytest.raises(TypeError):
        record.arguments["weights"] = "imagenet"


@pytest.mark.parametrize("name", NAMES)
def test_a_record_says_where_the_design_is_from_and_under_which_terms(name):
    record = tz.backbone_info(name)
    assert record.paper
    assert record.licence
    assert all(weights.licence and weights.source and weights.trained_on for weights in record.weights)


@pytest.mark.parametrize("name", NAMES)
def test_small_images_are_never_enlarged_to_less_than_the_smallest_size(name):
    record = tz.backbone_info(name)
    assert record.minimum_size <= record.default_size <= record.native_size


def test_only_alexnet_has_no_published_weights():
    assert [name for name in NAMES if not tz.backbone_info(name).weights] == ["alexnet"]


def test_published_files_have_names_of_their_own():
    files = [weights.file for name in NAMES for weights in tz.backbone_info(name).weights]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("resnet50", "resnet"),
        ("vgg16", "vgg16"),
        ("vgg19", "vgg19"),
        ("mobilenet", "mobilenet"),
        ("mobilenet_v2", "mobilenet_v2"),
    ],
)
def test_published_files_are_those_that_keras_asks_for(monkeypatch, name, module):
    asked = {}

    class Asked(Exception):
        pass

    def note(fname, origin, **options):
        asked.update(fname=fname, origin=origin, hash=options.get("file_hash"))
        raise Asked

    record = tz.backbone_info(name)
    # vgg and mobilenet take it from keras.utils, resnet from its own module
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", note)
    with pytest.raises(Asked):
        record.resolve_builder()(**{**record.arguments, "weights": "imagenet", "input_shape": (224, 224, 3)})
    (weights,) = record.weights
    digest = weights.hash.removeprefix("md5:") if weights.hash else None
    assert (asked["origin"], asked["hash"]) == (weights.url, digest)


def test_wildcards_choose_a_family():
    assert tz.list_backbones("VGG*") == ["vgg16", "vgg19"]


def test_a_mistyped_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match=r"No backbone named 'resnet5'\. Did you mean 'resnet50'\?"):
        tz.backbone_info("resnet5")


def test_a_registered_backbone_can_be_built_by_its_name(tiny):
    model = tz.build(tiny, 3, weights=None)
    assert model.predict(np.zeros((2, 32, 32, 3), "uint8"), verbose=0).shape == (2, 3)


def test_a_registered_backbone_is_listed(tiny):
    assert tiny in tz.list_backbones()


def test_a_backbone_can_be_registered_by_the_place_of_its_function():
    tz.register_backbone("mine", "transferzoo.backbones.alexnet:alexnet", minimum_size=32)
    assert tz.build("mine", 3, weights=None).get_layer("backbone").output_shape == (None, 2, 2, 256)


def test_a_registered_backbone_may_give_vectors():
    def vectors(input_shape):
        images = keras.Input(input_shape)
        return keras.Model(images, keras.layers.Dense(5)(keras.layers.Flatten()(images)))

    tz.register_backbone("vectors", vectors)
    assert tz.build("vectors", 3, weights=None, input_shape=(4, 4, 3)).output_shape == (None, 3)


def test_a_taken_backbone_name_is_refused_with_what_to_do(tiny):
    with pytest.raises(NameTakenError, match=r"A backbone named 'tiny' is registered already.*replace=True"):
        tz.register_backbone(tiny, "a:b")


def test_replace_puts_a_backbone_in_anothers_place(tiny):
    tz.register_backbone(tiny, "a:b", family="other", replace=True)
    assert tz.backbone_info(tiny).family == "other"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"builder": 3}, "builder must be a function, or its place as 'module:function'"),
        ({"builder": "module.function"}, "builder must be"),
        ({"preprocessing": "imagenet"}, r"preprocessing must be a tz\.Preprocessing record"),
        ({"native_size": 0}, "native_size must be a whole number of 1 or more"),
        ({"minimum_size": 2.5}, "minimum_size must be"),
        ({"default_size": -1}, "default_size must be"),
        ({"name": "two words"}, "A backbone's name must be"),
    ],
)
def test_a_bad_record_is_refused_at_the_door(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.register_backbone(**{"name": "mine", "builder": "a:b", **changes})


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (lambda input_shape: "no model", r"must return a keras\.Model\. Got str"),
        (lambda input_shape: flat(input_shape, 3), r"must return a model with one output"),
    ],
)
def test_a_builder_that_returns_something_else_is_named(builder, message):
    tz.register_backbone("mine", builder)
    with pytest.raises(InvalidInputError, match=f"The builder of 'mine' {message}"):
        tz.build("mine", 3, weights=None)


def flat(input_shape, rank):
    images = keras.Input(input_shape)
    return keras.Model(images, keras.layers.Reshape((-1,) * (rank == 3) + (3,))(images))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": "gbr"}, "channels must be 'rgb' or 'bgr'"),
        ({"mean": (1.0, 2.0)}, "mean must be three numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be three numbers above 0"),
    ],
)
def test_a_preprocessing_that_cannot_be_is_refused(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.Preprocessing(**{"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **fields})
