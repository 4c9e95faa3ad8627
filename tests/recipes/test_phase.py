"""Phases and plateaus as records: what they hold, refuse, and are for."""

import dataclasses
import itertools
import json

import pytest

from transferzoo.data.augmentation import LIGHT
from transferzoo.errors import InvalidInputError
from transferzoo.recipes.phase import STRENGTHS, Phase, Plateau
from transferzoo.recipes.recipe import Recipe

SOLVED = {"name": "probe", "trainable": "none", "optimizer": "lbfgs"}
TRAINED = {"name": "tune", "epochs": 3, "learning_rate": 0.1}


def there_and_back(*phases):
    recipe = Recipe(name="r", description="", phases=phases)
    return Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))).phases


@pytest.mark.parametrize(
    "phase",
    [
        Phase(**TRAINED),
        Phase(**SOLVED),
        Phase(**SOLVED, c_values=(0.5, 2.0), max_images=7),
        Phase(**TRAINED, plateau=Plateau(monitor="loss", factor=0.3, patience=9, minimum=0.01)),
        Phase(
            name="all",
            epochs=2,
            learning_rate=1.0,
            when="scratch",
            heads="other",
            trainable="top:3",
            batch_norm="train",
            optimizer="adamw",
            momentum=0.5,
            nesterov=True,
            weight_decay=0.3,
            layer_decay=0.7,
            schedule="one_cycle",
            warmup=0.2,
            batch_size=7,
            label_smoothing=0.2,
            augmentation=LIGHT,
            max_images=100,
        ),
    ],
)
def test_a_phase_comes_back_from_json_as_it_was(phase):
    assert there_and_back(phase) == (phase,)


def test_strengths_given_as_a_list_are_a_tuple_afterwards():
    phase = Phase(**SOLVED, c_values=[0.5, 2.0])
    assert phase.c_values == (0.5, 2.0)
    assert there_and_back(phase) == (phase,)


@pytest.mark.parametrize(("record", "field"), [(Phase(**TRAINED), "epochs"), (Plateau(), "factor")])
def test_records_cannot_be_changed(record, field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, field, 1)


@pytest.mark.parametrize("kind", [Phase, Plateau])
def test_fields_are_given_by_name(kind):
    with pytest.raises(TypeError, match="positional"):
        kind("tune")


def test_phases_of_the_same_fields_are_equal_and_others_are_not():
    assert Phase(**TRAINED) == Phase(**TRAINED)
    for field, value in {"epochs": 4, "layer_decay": 0.5, "warmup": 0.1, "heads": "linear"}.items():
        assert dataclasses.replace(Phase(**TRAINED), **{field: value}) != Phase(**TRAINED)


@pytest.mark.parametrize(
    ("when", "heads", "pretrained", "linear_head"),
    list(
        itertools.product(
            ("always", "pretrained", "scratch"), ("any", "linear", "other"), *[(True, False)] * 2
        )
    ),
)
def test_a_phase_is_for_its_weights_and_its_heads(when, heads, pretrained, linear_head):
    phase = Phase(**TRAINED, when=when, heads=heads)
    fits_weights = {"always": True, "pretrained": pretrained, "scratch": not pretrained}[when]
    fits_head = {"any": True, "linear": linear_head, "other": not linear_head}[heads]
    assert phase.applies(pretrained=pretrained, linear_head=linear_head) is (fits_weights and fits_head)


# --- solved heads


def test_the_usual_strengths_go_from_the_strongest_penalty_to_the_weakest():
    assert Phase(**SOLVED).c_values == STRENGTHS == tuple(sorted(STRENGTHS))
    assert len(set(STRENGTHS)) == len(STRENGTHS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.1}, r"learning_rate must be left out where the optimizer is 'lbfgs'\. Got 0\.1"),
        ({"augmentation": LIGHT}, "augmentation must be left out where the optimizer is 'lbfgs'"),
        ({"trainable": "all"}, r"trainable must be 'none' where the optimizer is 'lbfgs'\. Got 'all'"),
        ({"c_values": ()}, "c_values must be one or more numbers above 0"),
        ({"c_values": (0.1, 0)}, "c_values must be numbers above 0. Got 0"),
        ({"c_values": (0.1, float("inf"))}, "c_values must be numbers above 0. Got inf"),
        ({"c_values": (0.1, "1")}, "c_values must be numbers above 0. Got '1'"),
        ({"c_values": 0.1}, r"c_values must be one or more numbers above 0\. Got 0\.1"),
        ({"c_values": "0.1"}, r"c_values must be one or more numbers above 0\. Got '0\.1'"),
    ],
)
def test_a_solved_phase_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        Phase(**{**SOLVED, **changes})


# --- trained ones


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": None}, "learning_rate must be a number above 0. Got None"),
        ({"learning_rate": True}, "learning_rate must be a number above 0. Got True"),
        ({"epochs": True}, "epochs must be a whole number of 1 or more"),
        ({"max_images": 0}, "max_images must be a whole number of 1 or more"),
        ({"heads": "linaer"}, r"heads must be 'any' or 'linear' or 'other'.*Did you mean 'linear'\?"),
        ({"optimizer": "lbgfs"}, r"Did you mean 'lbfgs'\?"),
        ({"schedule": "onecycle"}, r"Did you mean 'one_cycle'\?"),
        ({"layer_decay": 0}, "layer_decay must be a number above 0, at most 1. Got 0"),
        ({"layer_decay": 1.1}, "layer_decay must be a number above 0, at most 1"),
        ({"warmup": -0.1}, "warmup must be a number from 0 to below 1"),
        ({"augmentation": "light"}, r"augmentation must be a tz\.Augmentation or None\. Got 'light'"),
        ({"plateau": 3}, r"plateau must be a tz\.Plateau or None\. Got 3"),
        ({"plateau": Plateau(), "schedule": "one_cycle"}, "plateau must be left out"),
    ],
)
def test_a_trained_phase_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        Phase(**{**TRAINED, **changes})


@pytest.mark.parametrize("layer_decay", [1e-3, 1])
def test_a_layer_decay_within_its_bounds_is_taken(layer_decay):
    assert Phase(**TRAINED, layer_decay=layer_decay).layer_decay == layer_decay


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # Keras would warn in each epoch, and never lower the rate
        ({"monitor": "val_acc"}, r"monitor must be 'loss' or .*Did you mean 'val_accuracy'\?"),
        ({"factor": 1}, "factor must be a number above 0 and below 1"),
        ({"factor": 0}, "factor must be a number above 0 and below 1"),
        ({"patience": 0}, "patience must be a whole number of 1 or more"),
        ({"minimum": -1}, "minimum must be a number of 0 or more"),
    ],
)
def test_a_plateau_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        Plateau(**changes)


@pytest.mark.parametrize("trainable", ["top:0", "top:120%", "", 3])
def test_layers_that_cannot_be_chosen_are_refused_when_the_record_is_made(trainable):
    with pytest.raises(InvalidInputError, match="trainable must be"):
        Phase(name="x", learning_rate=0.1, trainable=trainable)
