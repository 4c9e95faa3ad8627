"""The table of backbones, held against the networks that it leads to."""

import dataclasses

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError, NameTakenError, UnknownNameError

NAMES = tz.list_backbones()


def network(name, side):
    record = tz.backbone_info(name)
    return record.resolve_builder()(input_shape=(side, side, 3), **record.arguments)


def test_the_articles_backbones_and_their_earlier_rivals_are_there():
    assert {"resnet50", "mobilenet", "vgg16", "vgg19", "alexnet"} <= set(NAMES)


@pytest.mark.parametrize(("side", "cells"), [(224, 6), (63, 1), (62, 6), (32, 2)])
def test_alexnet_keeps_a_feature_map_at_every_size(side, cells):
    assert network("alexnet", side).output_shape == (None, cells, cells, 256)


def test_a_record_cannot_be_changed():
    record = tz.backbone_info("mobilenet")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.parameters = 1
    with pytest.raises(TypeError):
        record.arguments["weights"] = "imagenet"


def test_records_say_where_a_design_is_from_and_under_which_terms():
    for record in map(tz.backbone_info, NAMES):
        assert record.paper, record.name
        assert record.licence, record.name
        for weights in record.weights:
            assert all((weights.licence, weights.source, weights.trained_on)), record.name
            if not weights.shipped:
                assert record.top1_source, record.name
                assert 50 < record.top1 < 90, record.name


def test_small_images_are_never_enlarged_to_less_than_the_smallest_size():
    for record in map(tz.backbone_info, NAMES):
        assert record.minimum_size <= record.default_size <= record.native_size, record.name


def test_networks_for_small_images_and_alexnet_have_no_published_weights():
    without = [
        "alexnet",
        "resnet32",
        "resnet44",
        "resnet56",
        "wide_resnet16_4",
        "wide_resnet28_10",
    ]
    assert tz.list_backbones(weights="none") == without
    assert sorted([*without, *tz.list_backbones(weights="published")]) == NAMES


def test_weights_at_hand_can_be_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # those that are part of the library
    assert tz.list_backbones(weights="local") == ["mobilenet_025", "resnet20"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / tz.backbone_info("xception").weights[0].file).touch()
    assert tz.list_backbones(weights="local") == ["mobilenet_025", "resnet20", "xception"]


def test_limits_choose_and_leave_out_what_is_not_known(tiny):
    assert tz.list_backbones(family="vgg") == ["vgg16", "vgg19"]
    assert tz.list_backbones("*v2*", max_parameters=1_000_000) == ["mobilenet_v2_035", "mobilenet_v2_050"]
    assert tz.list_backbones(max_multiply_adds=41_000_000, image_size=32) == ["mobilenet_025", "resnet20"]
    assert "xception" not in tz.list_backbones(image_size=70)
    assert tiny not in tz.list_backbones(max_parameters=10**12)
    assert tiny in tz.list_backbones(family="custom")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"family": "resnt"}, r"family must be .*Did you mean 'resnet'"),
        ({"max_parameters": 0.5}, "max_parameters must be a whole number"),
        ({"max_multiply_adds": -1}, "max_multiply_adds must be"),
        ({"image_size": "32"}, "image_size must be"),
        ({"weights": "yes"}, "weights must be 'published' or 'local' or 'none'"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(limits, message):
    with pytest.raises(InvalidInputError, match=message):
        tz.list_backbones(**limits)


def test_published_files_have_names_of_their_own():
    files = [weights.file for name in NAMES for weights in tz.backbone_info(name).weights]
    assert len(set(files)) == len(files)


def test_wildcards_choose_a_family():
    assert tz.list_backbones("VGG*") == ["vgg16", "vgg19"]


def test_a_mistyped_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match=r"No backbone named 'resnet_50'\. Did you mean 'resnet50'\?"):
        tz.backbone_info("resnet_50")


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
        (lambda input_shape: of_rank(input_shape, 5), r"must return a model with one output"),
    ],
)
def test_a_builder_that_returns_something_else_is_named(builder, message):
    tz.register_backbone("mine", builder)
    with pytest.raises(InvalidInputError, match=f"The builder of 'mine' {message}"):
        tz.build("mine", 3, weights=None)


def of_rank(input_shape, rank):
    images = keras.Input(input_shape)
    return keras.Model(images, keras.layers.Reshape((-1, *[1] * (rank - 3), 3))(images))


@pytest.mark.medium
def test_a_builder_may_return_tokens(tiny_digits):
    tz.register_backbone("tokens", lambda input_shape: of_rank(input_shape, 3))
    result = tz.fit_and_evaluate("tokens", tiny_digits, recipe="linear_probe", weights=None, verbose=False)
    assert result.model.get_layer("backbone").output_shape == (None, 1024, 3)


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
