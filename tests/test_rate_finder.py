"""The learning-rate finder: what it trains, what it leaves as it was, and what it suggests."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo import rate_finder
from transferzoo.data.augmentation import Augmentation
from transferzoo.errors import DivergedError, InvalidInputError, UnknownOptionError
from transferzoo.features.extract import split_at_features
from transferzoo.models.construct import backbone_of, head_of
from transferzoo.rate_finder import RateCurve, find_learning_rate, smooth
from transferzoo.recipes.phase import Phase
from transferzoo.recipes.recipe import Recipe

MAIN = Phase(name="main", epochs=3, learning_rate=0.01, batch_size=20)
PROBE = Phase(name="probe", trainable="none", optimizer="lbfgs")


def recipe(*phases):
    return Recipe(name="test", description="a test", phases=phases)


def find(model, data, *phases, steps=20, **options):
    return find_learning_rate(
        model, data, recipe=recipe(*phases or (MAIN,)), steps=steps, verbose=False, **options
    )


def built(tiny, **options):
    return tz.build(tiny, 10, **{"weights": None, "seed": 0, **options})


def weights_of(model):
    return [value.tobytes() for value in model.get_weights()]


@pytest.fixture
def batches_seen(monkeypatch):
    """Every call of `train_on_batch`: the rate, the optimizer, the images."""
    seen = []
    original = keras.Model.train_on_batch

    def note(self, x, y=None, **arguments):
        rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        seen.append((rate, self.optimizer, x))
        return original(self, x, y, **arguments)

    monkeypatch.setattr(keras.Model, "train_on_batch", note)
    return seen


@pytest.mark.medium
def test_the_rate_rises_exponentially_between_its_bounds(tiny, tiny_digits, batches_seen):
    curve = find(built(tiny), tiny_digits, lowest=1e-6, highest=1e-2)
    assert curve.rates[0] == pytest.approx(1e-6)
    assert curve.rates[-1] == pytest.approx(1e-2)
    ratios = np.divide(curve.rates[1:], curve.rates[:-1])
    np.testing.assert_allclose(ratios, ratios[0])
    np.testing.assert_allclose([rate for rate, _, _ in batches_seen], curve.rates, rtol=1e-6)


@pytest.mark.medium
def test_a_models_weights_are_put_back_to_the_last_bit(tiny, tiny_digits):
    model = built(tiny, head="article_mobilenet")
    before = weights_of(model)
    find(model, tiny_digits, dataclasses.replace(MAIN, batch_norm="train"), highest=1.0)
    assert weights_of(model) == before


@pytest.mark.medium
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_weights_are_put_back_when_it_is_broken_off(tiny, tiny_digits, monkeypatch, failure):
    model = built(tiny)
    before = weights_of(model)
    original = keras.Model.train_on_batch
    changed = []

    def fail(self, *arguments, **options):
        original(self, *arguments, **options)
        changed.append(weights_of(model) != before)
        if len(changed) == 3:
            raise failure

    monkeypatch.setattr(
        keras.Model,
        "train_on_batch",
        lambda self, *arguments, **options: fail(self, *arguments, **options) or {"loss": 2.0},
    )
    with pytest.raises(failure):
        find(model, tiny_digits, PROBE, MAIN, lowest=1e-3)
    assert changed == [True] * 3
    assert weights_of(model) == before


def test_what_learns_and_the_momenta_are_as_they_were(tiny, tiny_digits):
    model = built(tiny, trainable="top:1")
    backbone = backbone_of(model)
    before = [(layer.trainable, getattr(layer, "momentum", None)) for layer in backbone.layers]
    find(model, tiny_digits, dataclasses.replace(MAIN, trainable="all", batch_norm="train"))
    assert [(layer.trainable, getattr(layer, "momentum", None)) for layer in backbone.layers] == before
    assert not model.compiled


@pytest.mark.medium
def test_the_phases_before_the_main_one_place_the_head_first(tiny, tiny_digits):
    # BatchNorm with random weights gives other features in training than those the head was solved on
    main = dataclasses.replace(MAIN, batch_norm="inference")
    with_head = find(built(tiny), tiny_digits, PROBE, main)
    without = find(built(tiny), tiny_digits, main)
    assert with_head.phase == without.phase == "main"
    assert with_head.losses[0] < without.losses[0] - 0.2


@pytest.mark.medium
def test_validation_and_test_images_have_no_say(tiny, tiny_digits):
    rng = np.random.default_rng(0)
    others = {
        f"{kind}_{split}": rng.permutation(getattr(tiny_digits, f"{kind}_{split}"))
        for kind in "xy"
        for split in ("validation", "test")
    }
    scrambled = dataclasses.replace(tiny_digits, **others)
    assert scrambled.content_hash() != tiny_digits.content_hash()
    assert find(built(tiny), tiny_digits, PROBE, MAIN) == find(built(tiny), scrambled, PROBE, MAIN)


def test_the_images_that_stand_in_for_validation_are_not_trained_on(tiny_digits):
    shared = rate_finder._held_out(tiny_digits, 0)
    assert (len(shared.x_train), len(shared.x_validation)) == (80, 20)
    images = {image.tobytes() for image in np.concatenate([shared.x_train, shared.x_validation])}
    assert images == {image.tobytes() for image in tiny_digits.x_train}


@pytest.mark.medium
def test_the_phases_own_optimizer_is_used_with_a_plain_rate(tiny, tiny_digits, batches_seen):
    phase = dataclasses.replace(
        MAIN, optimizer="adamw", weight_decay=0.3, schedule="cosine", warmup=0.1, layer_decay=0.5
    )
    find(built(tiny), tiny_digits, phase)
    optimizer = batches_seen[0][1]
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.weight_decay == 0.3
    assert min(optimizer._factors) < 1


@pytest.mark.medium
def test_the_phases_batches_and_augmentation_are_used(tiny, tiny_digits, batches_seen):
    find(built(tiny), tiny_digits, dataclasses.replace(MAIN, augmentation=Augmentation(shift=4)))
    assert all(len(x) == 20 for _, _, x in batches_seen)
    known = {image.astype("float32").tobytes() for image in tiny_digits.x_train}
    seen = [image.astype("float32").tobytes() for _, _, x in batches_seen for image in x]
    assert sum(image in known for image in seen) < len(seen) / 2


@pytest.mark.medium
def test_each_epoch_has_an_order_of_its_own(tiny, tiny_digits, batches_seen):
    find(built(tiny), tiny_digits)
    epochs = [np.concatenate([x for _, _, x in batches_seen[start : start + 5]]) for start in (0, 5)]
    assert not np.array_equal(*epochs)
    np.testing.assert_array_equal(*(np.sort(epoch, axis=0) for epoch in epochs))


@pytest.mark.medium
def test_label_smoothing_is_part_of_the_loss(tiny, tiny_digits):
    # as above: with other features than it was solved on, the head is far off, smoothed or not
    main = dataclasses.replace(MAIN, batch_norm="inference")
    plain, smoothed = (
        find(built(tiny), tiny_digits, PROBE, dataclasses.replace(main, label_smoothing=share))
        for share in (0.0, 0.3)
    )
    assert smoothed.raw_losses[0] > plain.raw_losses[0] + 0.1


@pytest.mark.medium
def test_the_first_loss_is_that_of_the_first_batch_as_keras_computes_it(tiny, tiny_digits, batches_seen):
    model = built(tiny)
    phase = dataclasses.replace(MAIN, batch_norm="inference")
    curve = find(model, tiny_digits, phase)
    first = batches_seen[0][2]
    known = [image.tobytes() for image in tiny_digits.x_train]
    y = tiny_digits.y_train[[known.index(image.tobytes()) for image in first]]
    chances = model.predict(first.astype("float32"), verbose=0)[np.arange(len(y)), y]
    assert curve.raw_losses[0] == pytest.approx(-np.log(chances).mean(), rel=1e-4)


def test_a_head_on_a_frozen_backbone_learns_on_features(tiny, tiny_digits, batches_seen):
    phase = dataclasses.replace(MAIN, trainable="none")
    model = built(tiny)
    before = weights_of(model)
    find(model, tiny_digits, phase)
    assert batches_seen[0][2].shape[1:] == split_at_features(model)[1].input_shape[1:]
    assert weights_of(model) == before
    assert all(weight.trainable for weight in head_of(model).weights)


@pytest.mark.medium
def test_a_backbones_name_gives_the_same_curve_twice(tiny, tiny_digits):
    once, again = (find(tiny, tiny_digits, weights=None, seed=3) for _ in range(2))
    assert once == again
    assert once != find(tiny, tiny_digits, weights=None, seed=4)


@pytest.mark.medium
def test_options_reach_the_main_phase(tiny, tiny_digits, batches_seen):
    find(tiny, tiny_digits, weights=None, batch_size=10)
    assert len(batches_seen[0][2]) == 10


@pytest.mark.medium
def test_it_stops_when_the_loss_has_left_for_good(tiny, tiny_digits):
    phase = dataclasses.replace(MAIN, momentum=0.0)
    curve = find(built(tiny), tiny_digits, phase, lowest=1e-3, highest=1e6, steps=60)
    assert curve.stopped_early
    assert len(curve.rates) == len(curve.losses) == len(curve.raw_losses) < 60
    assert all(map(math.isfinite, curve.raw_losses))


def test_a_loss_that_is_no_number_at_once_is_an_error(tiny, tiny_digits, monkeypatch):
    monkeypatch.setattr(keras.Model, "train_on_batch", lambda *_, **__: {"loss": math.nan})
    with pytest.raises(DivergedError, match=r"at a rate of 1e-07, after 0 steps.*lower 'lowest'"):
        find(built(tiny), tiny_digits)


def judged(losses, steps=100, lowest=1e-6, highest=1.0):
    rates = np.geomspace(lowest, highest, steps).tolist()
    plan = rate_finder.PhasePlan(phase=MAIN, features_once=False, images=1, steps=1, seed=(0, 0))
    return rate_finder._judge(rates, list(losses), len(losses) < steps, plan)


def test_the_suggestion_is_a_tenth_of_the_rate_at_the_lowest_smoothed_loss():
    x = np.linspace(-6, 0, 100)
    curve = judged(2 + (x + 2) ** 2 / 10)
    lowest = int(np.argmin(curve.losses))
    assert curve.suggestion == pytest.approx(curve.rates[lowest] / 10)
    # the average lags behind by less than its memory, a tenth of six decades
    assert 1e-3 < curve.suggestion < 10**-2.4
    assert curve.recipe_rate == 0.01


def test_a_lucky_first_batch_is_not_taken_for_the_minimum():
    x = np.linspace(-6, 0, 100)
    losses = 2 + (x + 2) ** 2 / 10
    losses[0] = 0.1
    assert judged(losses).suggestion > 1e-4


@pytest.mark.parametrize(("slope", "end"), [(-1, "highest"), (1, "lowest")])
def test_a_minimum_at_the_edge_is_said_to_mean_little(caplog, slope, end):
    curve = judged(3 + slope * np.linspace(0, 1, 100))
    assert f"lowest at the {end} rates" in caplog.text
    assert curve.rates[0] <= curve.suggestion <= curve.rates[-1]


def test_a_loss_that_hardly_falls_is_said_to_mean_little(caplog):
    noise = np.random.default_rng(0).normal(scale=0.1, size=100)
    judged(2 + noise)
    assert "hardly falls" in caplog.text
    caplog.clear()
    judged(2 + noise + np.linspace(-1, 1, 100) ** 2)
    assert caplog.text == ""


def test_smoothing_is_an_exponential_average_corrected_for_its_start():
    values = [3.0, 1.0, 2.0]
    kept = 0.9
    expected = [
        sum(kept ** (n - i) * values[i] for i in range(n + 1)) / sum(kept**i for i in range(n + 1))
        for n in range(3)
    ]
    assert smooth(values, 10) == pytest.approx(expected)
    assert smooth(values, 1) == values


def test_a_curve_survives_json(tiny, tiny_digits):
    curve = find(built(tiny), tiny_digits)
    record = json.loads(json.dumps(curve.to_dict()))
    back = RateCurve(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})
    assert back == curve


def test_a_curve_draws_itself(tiny, tiny_digits):
    curve = find(built(tiny), tiny_digits)
    ax = curve.plot()
    assert any(np.allclose(line.get_ydata(), curve.losses) for line in ax.lines if len(line.get_ydata()) > 2)


def test_its_sentence_names_the_suggestion_and_the_recipes_rate():
    text = str(judged(2 + np.linspace(-6, 0, 100) ** 2))
    assert "phase 'main'" in text
    assert "the recipe's own: 0.01" in text


def test_a_recipe_that_solves_its_head_has_no_rate(tiny, tiny_digits):
    with pytest.raises(InvalidInputError, match=r"'linear_probe'.*no learning rate.*recipe='head'"):
        find_learning_rate(tiny, tiny_digits, recipe="linear_probe", weights=None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lowest": 0}, "lowest must be a number above 0. Got 0."),
        ({"highest": math.inf}, "highest must be a number above 0"),
        ({"lowest": "1e-3"}, "lowest must be a number above 0. Got '1e-3'."),
        ({"lowest": 0.1, "highest": 0.1}, "highest must be above lowest, 0.1. Got 0.1."),
        ({"steps": 19}, "steps must be a whole number of 20 or more. Got 19."),
    ],
)
def test_bad_bounds_are_refused(tiny, tiny_digits, arguments, words):
    with pytest.raises(InvalidInputError) as caught:
        find_learning_rate(tiny, tiny_digits, weights=None, **arguments)
    assert words in str(caught.value)


def test_a_rate_of_ones_own_is_refused(tiny, tiny_digits):
    with pytest.raises(UnknownOptionError, match="takes none"):
        find(tiny, tiny_digits, weights=None, learning_rate=0.1)
