"""Rates over the steps and over the layers, against sums done by hand and against plain Keras optimizers."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import transferzoo as tz
from transferzoo.models.construct import backbone_of
from transferzoo.recipes.phase import Phase
from transferzoo.training.optimizers import OneCycle, make_optimizer, rate_factors

PEAK = 0.3
STEPS = 10  # an epoch
EPOCHS = 4
TOTAL = STEPS * EPOCHS


def schedule(**fields):
    phase = Phase(name="p", epochs=EPOCHS, learning_rate=PEAK, **fields)
    rate = make_optimizer(phase, STEPS)._learning_rate
    return lambda step: float(rate(step))


# --- over the steps


@pytest.mark.parametrize(
    ("step", "share"),
    # (1 + cos(πt)) / 2 at t = 0, 1/4, 1/2, 3/4, 1
    [(0, 1), (10, (1 + math.sqrt(0.5)) / 2), (20, 0.5), (30, (1 - math.sqrt(0.5)) / 2), (40, 0)],
)
def test_a_cosine_without_warm_up(step, share):
    assert schedule(schedule="cosine")(step) == pytest.approx(PEAK * share, abs=1e-7)


@pytest.mark.parametrize(
    ("step", "share"),
    # 8 steps up, then half a cosine over the other 32
    [(0, 0), (1, 1 / 8), (4, 4 / 8), (8, 1), (16, (1 + math.sqrt(0.5)) / 2), (24, 0.5), (40, 0)],
)
def test_a_cosine_with_warm_up(step, share):
    assert schedule(schedule="cosine", warmup=0.2)(step) == pytest.approx(PEAK * share, abs=1e-7)


@pytest.mark.parametrize(
    ("step", "share"),
    # the 10th step, number 9, has the highest rate; 31 steps down from there to step 40
    [(0, 1 / 10), (4, 5 / 10), (9, 1), (10, 30 / 31), (24, 16 / 31), (39, 1 / 31), (40, 0), (100, 0)],
)
def test_one_cycle(step, share):
    assert schedule(schedule="one_cycle", warmup=0.25)(step) == pytest.approx(PEAK * share, abs=1e-7)


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_schedule_stays_between_nothing_and_the_highest_rate(name, warmup):
    rate = schedule(schedule=name, warmup=warmup)
    values = [rate(step) for step in range(TOTAL)]
    assert min(values) >= 0
    assert max(values) <= PEAK * (1 + 1e-6)
    assert max(values) > 0.95 * PEAK


def test_a_momentum_may_be_a_whole_number():
    # Keras refuses 0, which a phase takes
    assert make_optimizer(Phase(name="p", learning_rate=PEAK, momentum=0), STEPS).momentum == 0


def test_a_constant_rate_knows_no_warm_up():
    phase = Phase(name="p", epochs=2, learning_rate=PEAK, warmup=0.5)
    optimizer = make_optimizer(phase, STEPS)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(PEAK)


def test_one_cycle_comes_back_from_its_configuration():
    cycle = OneCycle(PEAK, 10, 40)
    again = OneCycle.from_config(cycle.get_config())
    assert [float(again(step)) for step in (0, 9, 39)] == [float(cycle(step)) for step in (0, 9, 39)]


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_a_schedule_is_what_training_steps_with(name):
    phase = Phase(
        name="p", epochs=EPOCHS, learning_rate=PEAK, schedule=name, warmup=0.25, optimizer="sgd", momentum=0
    )
    optimizer = make_optimizer(phase, STEPS)
    weight = keras.Variable([0.0])
    moved = []
    for _ in range(TOTAL):
        before = value_of(weight).copy()
        optimizer.apply([keras.ops.ones(1)], [weight])
        moved.append(float((before - value_of(weight))[0]))
    expected = [schedule(schedule=name, warmup=0.25)(step) for step in range(TOTAL)]
    assert moved == pytest.approx(expected, abs=1e-5)


# --- over the layers


def value_of(variable):
    return keras.ops.convert_to_numpy(variable)


FACTORS = [1.0, 0.5, 0.1, 0.0]
STARTS = [np.array([1.0, -2.0, 3.0], "float32"), np.array([[0.5, 2.0]], "float32")] * 2
GRADIENTS = [np.array([0.3, -0.1, 2.0], "float32"), np.array([[1.0, -3.0]], "float32")] * 2
RATE = 0.01


def stepped(optimizer, *, start=STARTS, steps=1):
    variables = [keras.Variable(value) for value in start]
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in GRADIENTS], variables)
    return [value_of(variable) for variable in variables]


def layerwise(factors=FACTORS, **fields):
    phase = Phase(name="p", epochs=1, learning_rate=RATE, **fields)
    return make_optimizer(phase, 100, rate_factors=factors)


def test_a_step_of_sgd_moves_each_variable_by_factor_times_rate_times_gradient():
    moved = stepped(layerwise(momentum=0))
    for value, start, factor, gradient in zip(moved, STARTS, FACTORS, GRADIENTS, strict=True):
        # a unit in the last place of 2
        assert value == pytest.approx(start - factor * RATE * gradient, abs=3e-7)


PLAIN = {
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "sgd with decay": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, weight_decay=2.0),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.0),
    "adamw with decay": lambda rate: keras.optimizers.AdamW(rate, weight_decay=2.0),
}
FIELDS = {
    "sgd": {},
    "nesterov": {"nesterov": True},
    "sgd with decay": {"weight_decay": 2.0},
    "adamw": {"optimizer": "adamw"},
    "adamw with decay": {"optimizer": "adamw", "weight_decay": 2.0},
}


@pytest.mark.parametrize("name", list(PLAIN))
def test_each_variable_goes_the_way_of_a_plain_optimizer_at_its_own_rate(name):
    # decay included: it once took the full rate, which no factor reached
    ours = stepped(layerwise(**FIELDS[name]), steps=3)
    for i, factor in enumerate(FACTORS):
        theirs = stepped(PLAIN[name](RATE * factor), steps=3)[i]
        assert ours[i] == pytest.approx(theirs, abs=1e-6)


def test_decay_takes_its_share_of_each_variables_own_rate():
    optimizer = layerwise(optimizer="adamw", weight_decay=2.0)
    variables = [keras.Variable(value) for value in STARTS]
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    for variable, start, factor in zip(variables, STARTS, FACTORS, strict=True):
        assert value_of(variable) == pytest.approx(start * (1 - factor * RATE * 2.0), abs=1e-7)


@pytest.mark.parametrize("name", list(PLAIN))
def test_without_a_factor_the_optimizer_is_keras_own(name):
    optimizer = layerwise([1.0] * 4, **FIELDS[name])
    # on torch Keras has its own subclasses
    assert isinstance(optimizer, keras.optimizers.Optimizer)
    assert type(optimizer).__module__.startswith("keras.")
    for ours, theirs in zip(stepped(optimizer), stepped(PLAIN[name](RATE)), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_layerwise_optimizer_shows_the_full_rate():
    optimizer = layerwise(optimizer="adamw")
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(RATE)


# --- the factors


def kernels(model):
    """Factor of each kernel by its layer's name."""
    found = rate_factors(model, backbone_of(model), 0.9)
    pairs = zip(model.trainable_variables, found, strict=True)
    return {variable.path.split("/")[-2]: factor for variable, factor in pairs if "kernel" in variable.path}


@pytest.fixture
def small(tiny):
    return tz.build(tiny, 4, weights=None, seed=0)


def test_the_head_has_the_full_rate_and_each_layer_below_its_share_of_the_one_above(small):
    assert kernels(small) == pytest.approx({"logits": 1, "conv2": 0.9, "conv1": 0.81})


def test_batch_norm_has_the_rate_of_the_kernel_that_it_follows(small):
    factors = rate_factors(small, backbone_of(small), 0.5)
    by_path = {
        "/".join(variable.path.split("/")[-2:]): factor
        for variable, factor in zip(small.trainable_variables, factors, strict=True)
    }
    assert by_path["bn1/gamma"] == by_path["bn1/beta"] == by_path["conv1/kernel"] == 0.25
    assert by_path["bn2/gamma"] == by_path["bn2/beta"] == by_path["conv2/kernel"] == 0.5


def test_frozen_layers_are_counted_and_have_no_factor(small):
    backbone_of(small).get_layer("conv2").trainable = False
    assert kernels(small) == pytest.approx({"logits": 1, "conv1": 0.81})


def test_a_model_without_a_backbone_has_one_rate():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    assert rate_factors(model, None, 0.5) == [1, 1, 1, 1]


def test_a_decay_of_one_gives_all_layers_the_full_rate(small):
    assert set(rate_factors(small, backbone_of(small), 1.0)) == {1.0}


def test_mobilenets_lowest_layer_of_27_learns_at_the_share_that_the_documentation_says():
    model = tz.build("mobilenet", 10, weights=None, image_size=32)
    factors = kernels(model)
    kinds = (layers.Conv2D, layers.DepthwiseConv2D)
    names = [layer.name for layer in backbone_of(model).layers if isinstance(layer, kinds)]
    assert len(names) == 27
    # MobileNet is one chain, so its layers stand in order
    assert [factors[name] for name in names] == pytest.approx([0.9 ** (27 - i) for i in range(27)])
    assert (names[0], factors["logits"]) == ("conv1", 1)
    assert round(100 * factors["conv1"], 1) == 5.8


def test_a_layerwise_optimizers_variables_are_its_own_alone():
    optimizer = layerwise(optimizer="adamw")
    plain = keras.optimizers.AdamW(RATE)
    variables = [keras.Variable(value) for value in STARTS]
    optimizer.build(variables)
    plain.build([keras.Variable(value) for value in STARTS])
    assert len(optimizer.variables) == len(plain.variables)
    assert not {id(each) for each in variables} & {id(each) for each in optimizer.variables}
