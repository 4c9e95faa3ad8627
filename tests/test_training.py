"""A recipe applied to a model and data: what moves, what stays, and what comes back."""

import dataclasses

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.data.augmentation import Augmentation
from transferzoo.errors import DivergedError, InvalidInputError
from transferzoo.features.extract import split_at_features
from transferzoo.ground.progress import Progress, Task
from transferzoo.heads import Classifier, Dropout, Head, Normalize, Pool
from transferzoo.models.construct import backbone_of, head_of
from transferzoo.models.plan import seeded
from transferzoo.models.prediction import gives_probabilities, predict
from transferzoo.recipes.phase import Phase, Plateau
from transferzoo.recipes.recipe import Recipe
from transferzoo.training.loop import train
from transferzoo.training.optimizers import make_optimizer
from transferzoo.training.plan import plan

HEAD = Phase(
    name="head", when="pretrained", trainable="none", epochs=1, learning_rate=0.05, optimizer="adamw"
)
TUNE = Phase(name="tune", when="pretrained", epochs=1, learning_rate=0.05, batch_norm="inference")
SCRATCH = Phase(name="scratch", when="scratch", epochs=1, learning_rate=0.05, batch_norm="train")


def recipe(*phases, **fields):
    return Recipe(name="test", description="a test", phases=phases, **fields)


def built(tiny, **options):
    return tz.build(tiny, 10, **{"weights": None, "seed": 0, **options})


def fit(model, data, *phases, seed=0, **fields):
    with seeded(seed):
        return train(model, data, recipe(*phases, **fields), seed=seed).history


@pytest.mark.medium
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow traces train_step")
@pytest.mark.parametrize("phase", [TUNE, SCRATCH], ids=lambda phase: phase.name)
def test_a_step_is_traced_once(tiny, tiny_digits, monkeypatch, phase):
    trainer = next(kind for kind in keras.Model.__mro__ if "train_step" in vars(kind))
    step, traced = trainer.train_step, []
    monkeypatch.setattr(
        trainer, "train_step", lambda network, *given: traced.append(network) or step(network, *given)
    )
    fit(built(tiny), tiny_digits, dataclasses.replace(phase, when="always", epochs=2))
    assert len(traced) == 1


def weights_of(model):
    """Values of a model's weights by path."""
    return {
        weight.path: keras.ops.convert_to_numpy(weight).copy()
        for weight in model.weights
        if "seed_generator" not in weight.path
    }


def changed(before, model):
    after = weights_of(model)
    return {
        path.split("/")[-2] + "/" + path.split("/")[-1]
        for path in before
        if not np.array_equal(before[path], after[path])
    }


STATISTICS = {f"bn{i}/moving_{what}" for i in (1, 2) for what in ("mean", "variance")}
SCALES = {f"bn{i}/{what}" for i in (1, 2) for what in ("gamma", "beta")}


# --- what moves


@pytest.mark.medium
def test_the_head_phase_moves_the_head_alone(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights)
    before = weights_of(model)
    fit(model, tiny_digits, HEAD)
    assert changed(before, model) == {"logits/kernel", "logits/bias"}


@pytest.mark.medium
def test_the_head_phase_on_augmented_images_moves_the_head_alone_too(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights)
    before = weights_of(model)
    fit(model, tiny_digits, dataclasses.replace(HEAD, augmentation=Augmentation(shift=2)))
    assert changed(before, model) == {"logits/kernel", "logits/bias"}


@pytest.mark.medium
def test_batch_norm_in_inference_keeps_its_statistics_while_its_scale_learns(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights)
    before = weights_of(model)
    fit(model, tiny_digits, TUNE)
    moved = changed(before, model)
    assert moved >= SCALES
    assert not STATISTICS & moved


@pytest.mark.medium
def test_batch_norm_in_training_moves_statistics_and_scale(tiny, tiny_digits):
    model = built(tiny)
    before = weights_of(model)
    fit(model, tiny_digits, SCRATCH)
    assert changed(before, model) >= SCALES | STATISTICS


@pytest.mark.medium
def test_a_backbone_built_frozen_is_left_alone_by_every_phase(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights, trainable="none")
    before = weights_of(backbone_of(model))
    history = fit(model, tiny_digits, HEAD, TUNE)
    assert changed(before, backbone_of(model)) == set()
    assert history["phase"] == ["head"]


@pytest.mark.medium
def test_layers_that_build_left_out_stay_still_while_others_are_tuned(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights, trainable="conv2")
    before = weights_of(backbone_of(model))
    fit(model, tiny_digits, dataclasses.replace(TUNE, batch_norm="as_built"))
    assert changed(before, backbone_of(model)) == {"conv2/kernel"}


@pytest.mark.medium
def test_trainable_flags_are_as_built_after_training(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights, trainable="conv2")
    fit(model, tiny_digits, HEAD, TUNE)
    assert [layer.name for layer in backbone_of(model).layers if layer.weights and layer.trainable] == [
        "conv2"
    ]


@pytest.mark.medium
def test_momenta_are_as_built_after_training(tiny, tiny_digits):
    model = built(tiny)
    fit(model, tiny_digits, SCRATCH)
    assert backbone_of(model).get_layer("bn1").momentum == 0.99


@pytest.mark.medium
def test_flags_and_momenta_are_as_built_after_an_error_too(tiny, tiny_weights, tiny_digits):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("stopped")

    model = built(tiny, weights=tiny_weights)
    with pytest.raises(RuntimeError, match="stopped"):
        train(model, tiny_digits, recipe(HEAD), seed=0, callbacks=[Stop()])
    assert all(layer.trainable for layer in backbone_of(model).layers)


@pytest.mark.medium
def test_the_users_model_stays_uncompiled(tiny, tiny_digits):
    model = built(tiny)
    fit(model, tiny_digits, SCRATCH)
    assert not model.compiled


def test_a_model_from_elsewhere_trains_too(tiny_digits):
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(10)]
    )
    before = weights_of(model)
    history = fit(model, tiny_digits, HEAD, dataclasses.replace(TUNE, batch_norm="as_built"))
    assert history["phase"] == ["tune"]
    assert changed(before, model)


def test_a_recipe_without_a_phase_for_the_model_says_so(tiny_digits):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
    with pytest.raises(InvalidInputError, match=r"recipe 'test' has no phase for this model"):
        fit(model, tiny_digits, HEAD)


# --- repeatable


@pytest.mark.medium
@pytest.mark.parametrize("pretrained", [True, False])
def test_two_trainings_with_one_seed_agree_to_the_last_bit(tiny, tiny_weights, tiny_digits, pretrained):
    shaken = {"augmentation": Augmentation(shift=2, rotation=5), "label_smoothing": 0.1}
    phases = [HEAD, dataclasses.replace(TUNE, **shaken), dataclasses.replace(SCRATCH, **shaken)]
    runs = []
    for _ in range(2):
        model = built(tiny, weights=tiny_weights if pretrained else None, head="mlp")
        history = fit(model, tiny_digits, *phases)
        history.pop("seconds")
        runs.append((history, list(weights_of(model).values())))
    (first, ours), (second, theirs) = runs
    assert first == second
    assert all(map(np.array_equal, ours, theirs))


@pytest.mark.medium
def test_another_seed_trains_otherwise(tiny, tiny_digits):
    losses = [fit(built(tiny), tiny_digits, SCRATCH, seed=seed)["loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


# --- history


@pytest.fixture
def pretrained_history(tiny, tiny_weights, tiny_digits):
    phases = dataclasses.replace(HEAD, epochs=2), dataclasses.replace(TUNE, schedule="cosine", warmup=0.5)
    return fit(built(tiny, weights=tiny_weights), tiny_digits, *phases)


@pytest.mark.medium
def test_the_history_has_an_entry_an_epoch_in_every_column(pretrained_history):
    columns = "accuracy learning_rate loss phase seconds val_accuracy val_loss"
    assert sorted(pretrained_history) == columns.split()
    assert {len(values) for values in pretrained_history.values()} == {3}
    assert pretrained_history["phase"] == ["head", "head", "tune"]


@pytest.mark.medium
def test_validation_figures_are_those_of_the_model_as_it_is_returned(tiny, tiny_digits):
    model = built(tiny)
    history = fit(model, tiny_digits, SCRATCH)
    chosen = predict(model, tiny_digits.x_validation).argmax(axis=1)
    assert history["val_accuracy"][-1] == pytest.approx((chosen == tiny_digits.y_validation).mean())


@pytest.mark.medium
def test_a_head_trained_on_stored_features_is_judged_as_part_of_the_whole(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights)
    history = fit(model, tiny_digits, HEAD)
    chosen = predict(model, tiny_digits.x_validation).argmax(axis=1)
    assert history["val_accuracy"][-1] == pytest.approx((chosen == tiny_digits.y_validation).mean())


@pytest.mark.medium
def test_keeping_the_best_epoch_returns_its_weights(tiny, tiny_digits):
    model = built(tiny)
    history = fit(model, tiny_digits, dataclasses.replace(SCRATCH, epochs=4, learning_rate=0.3), keep="best")
    chosen = predict(model, tiny_digits.x_validation).argmax(axis=1)
    assert (chosen == tiny_digits.y_validation).mean() == pytest.approx(max(history["val_accuracy"]))


@pytest.mark.medium
def test_patience_ends_a_phase_that_no_longer_improves(tiny, tiny_digits):
    still = dataclasses.replace(SCRATCH, epochs=6, learning_rate=1e-12, batch_norm="as_built")
    history = fit(built(tiny), tiny_digits, still, patience=1)
    assert len(history["loss"]) < 6


@pytest.mark.medium
def test_a_plateau_lowers_the_rate(tiny, tiny_digits):
    plateau = Plateau(monitor="val_accuracy", factor=0.1, patience=1, minimum=1e-12)
    still = dataclasses.replace(SCRATCH, epochs=3, learning_rate=1e-9, plateau=plateau, batch_norm="as_built")
    rates = fit(built(tiny), tiny_digits, still)["learning_rate"]
    assert rates[-1] < rates[0]


@pytest.mark.medium
def test_a_loss_that_leaves_the_numbers_is_an_error_with_what_to_do(tiny, tiny_digits):
    with pytest.raises(DivergedError, match=r"phase 'wild'\. Pass a lower learning_rate; it was 1e\+30"):
        fit(built(tiny), tiny_digits, Phase(name="wild", epochs=2, learning_rate=1e30))


@pytest.mark.medium
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="XLA's relu turns the NaN of this one step into 0, and its weights are still finite",
)
def test_a_last_step_that_leaves_the_numbers_is_an_error_too(tiny, tiny_digits):
    with pytest.raises(DivergedError, match="the validation loss is nan in epoch 1"):
        fit(built(tiny), tiny_digits, Phase(name="wild", epochs=1, learning_rate=1e30, batch_size=100))


# --- what training sees


class Poison:
    """Stands where test images were; any look at it is an error."""

    def __getattribute__(self, name):
        raise AssertionError("the test images were looked at")

    def __len__(self):
        raise AssertionError("the test images were counted")


@pytest.mark.medium
def test_training_never_looks_at_the_test_images(tiny, tiny_weights, tiny_digits):
    poisoned = dataclasses.replace(tiny_digits)
    object.__setattr__(poisoned, "x_test", Poison())
    object.__setattr__(poisoned, "y_test", Poison())
    assert fit(built(tiny, weights=tiny_weights), poisoned, HEAD, TUNE)["phase"] == ["head", "tune"]


class Seen(Augmentation):
    """Changes nothing, and notes what it was given."""

    images = None

    def apply(self, images, draws):
        Seen.images.append(images)
        return images.astype("float32")


def validation_batches_seen(tiny, data, **fields):
    Seen.images = []
    fit(built(tiny), data, dataclasses.replace(SCRATCH, batch_size=20, augmentation=Seen()), **fields)
    known = {image.tobytes() for image in data.x_validation}
    return sum(image.tobytes() in known for batch in Seen.images for image in batch)


@pytest.mark.medium
def test_validation_images_are_not_augmented(tiny, tiny_digits):
    assert validation_batches_seen(tiny, tiny_digits) == 0


@pytest.mark.medium
def test_the_articles_fault_augments_validation_images(tiny, tiny_digits):
    faults = ("augmented_validation",)
    assert validation_batches_seen(tiny, tiny_digits, known_faults=faults, faults=faults) >= 50


@pytest.mark.medium
def test_digits_are_never_mirrored(tiny, tiny_digits, monkeypatch):
    drawn = []
    apply = Augmentation.apply

    def note(self, images, draws):
        drawn.append(self.horizontal_flip)
        return apply(self, images, draws)

    monkeypatch.setattr(Augmentation, "apply", note)
    fit(
        built(tiny),
        tiny_digits,
        dataclasses.replace(SCRATCH, augmentation=Augmentation(horizontal_flip=True)),
    )
    assert set(drawn) == {False}


@pytest.mark.medium
def test_callbacks_are_given_to_every_phase(tiny, tiny_weights, tiny_digits):
    class Count(keras.callbacks.Callback):
        begun = 0

        def on_train_begin(self, logs=None):
            self.begun += 1

    count = Count()
    train(built(tiny, weights=tiny_weights), tiny_digits, recipe(HEAD, TUNE), seed=0, callbacks=[count])
    assert count.begun == 2


@pytest.mark.medium
def test_progress_is_shown_for_each_phase(tiny, tiny_digits):
    class Line(Task):
        steps = 0

        def advance(self, steps=1):
            self.steps += steps

    class Noted(Progress):
        lines = {}  # noqa: RUF012

        def task(self, description, total=None):
            import contextlib

            self.lines[description] = total, Line()
            return contextlib.nullcontext(self.lines[description][1])

    noted = Noted()
    train(built(tiny), tiny_digits, recipe(SCRATCH), seed=0, progress=noted)
    total, line = noted.lines["scratch"]
    assert (total, line.steps) == (2, 2)


# --- what is decided beforehand


def test_a_plan_computes_features_once_where_nothing_below_the_head_moves(tiny, tiny_weights, tiny_digits):
    model = built(tiny, weights=tiny_weights)
    shaken = dataclasses.replace(HEAD, name="shaken", augmentation=Augmentation(shift=1))
    steps = plan(model, tiny_digits, recipe(HEAD, shaken, TUNE), seed=0)
    assert [step.features_once for step in steps] == [True, False, False]


def test_a_plan_takes_the_phases_for_the_weights_that_are_there(tiny, tiny_weights, tiny_digits):
    record = recipe(HEAD, TUNE, SCRATCH)
    names = [
        [step.phase.name for step in plan(built(tiny, weights=weights), tiny_digits, record, seed=0)]
        for weights in (tiny_weights, None)
    ]
    assert names == [["head", "tune"], ["scratch"]]


@pytest.mark.parametrize(("batch_size", "momentum"), [(100, 0.9), (10, 0.9), (1, 0.9), (0.25, 0.975)])
def test_momentum_settles_within_an_epoch(tiny, tiny_digits, batch_size, momentum):
    (step,) = plan(built(tiny), tiny_digits, recipe(SCRATCH), seed=0)
    steps = int(len(tiny_digits.x_train) / batch_size)
    assert dataclasses.replace(step, steps=steps).batch_norm_momentum == pytest.approx(momentum)


def test_batch_norm_left_to_keras_keeps_its_momentum(tiny, tiny_digits):
    phase = dataclasses.replace(SCRATCH, batch_norm="as_built")
    (step,) = plan(built(tiny), tiny_digits, recipe(phase), seed=0)
    assert step.batch_norm_momentum is None


def test_each_phase_has_a_seed_of_its_own(tiny, tiny_weights, tiny_digits):
    steps = plan(built(tiny, weights=tiny_weights), tiny_digits, recipe(HEAD, TUNE), seed=3)
    assert [step.seed for step in steps] == [(3, 0), (3, 1)]


# --- features


def avg_and_max(features, num_classes):
    layers = keras.layers
    both = layers.GlobalAveragePooling2D()(features), layers.GlobalMaxPooling2D()(features)
    return layers.Dense(num_classes)(layers.Concatenate()(both))


def pooled_with_its_axes(features, num_classes):
    layers = keras.layers
    return layers.Dense(num_classes)(layers.Flatten()(layers.GlobalMaxPooling2D(keepdims=True)(features)))


@pytest.mark.parametrize(
    "head",
    [
        "linear",
        "mlp",
        "article_resnet50",
        Head(Pool("max"), Normalize(), Dropout(0.5), Classifier()),
        Head(Normalize(), Pool(), Classifier()),
        avg_and_max,
        pooled_with_its_axes,
    ],
)
def test_features_and_the_head_on_them_make_the_whole_model(tiny, tiny_digits, head):
    model = built(tiny, head=head)
    extractor, head_model = split_at_features(model)
    x = tiny_digits.x_test[:8].astype("float32")
    whole, parts = (keras.ops.convert_to_numpy(y) for y in (model(x), head_model(extractor(x))))
    assert np.allclose(whole, parts, rtol=0, atol=1e-6)


def test_features_are_pooled_where_the_head_begins_with_pooling(tiny):
    extractor, _ = split_at_features(built(tiny))
    assert extractor.output_shape == (None, 16)


def test_the_head_on_features_shares_the_models_weights(tiny):
    model = built(tiny)
    _, head_model = split_at_features(model)
    assert [id(w) for w in head_model.weights] == [id(w) for w in head_of(model).weights]


# --- predictions


def test_predictions_do_not_depend_on_the_batch_size(tiny, tiny_digits):
    model = built(tiny)
    few, many = (predict(model, tiny_digits.x_test, batch_size=size) for size in (7, 64))
    assert few.shape == (50, 10)
    assert np.allclose(few, many, atol=1e-6)


@pytest.mark.parametrize(("activation", "expected"), [("softmax", True), (None, False)])
def test_a_built_model_knows_whether_it_gives_probabilities(tiny, tiny_digits, activation, expected):
    model = built(tiny, classifier_activation=activation)
    assert gives_probabilities(model, tiny_digits.x_test) is expected


@pytest.mark.parametrize(("activation", "expected"), [("softmax", True), ("linear", False)])
def test_a_model_from_elsewhere_is_asked_on_a_few_images(tiny_digits, activation, expected):
    dense = keras.layers.Dense(10, activation=activation)
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), dense])
    assert gives_probabilities(model, tiny_digits.x_test) is expected


# --- optimizers


def rates(phase, steps_per_epoch, count):
    schedule = make_optimizer(phase, steps_per_epoch)._learning_rate
    return [float(schedule(step)) for step in range(count)]


def test_a_cosine_falls_from_the_highest_rate_to_nothing():
    phase = Phase(name="p", epochs=2, learning_rate=0.1, schedule="cosine")
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(11) / 10))
    assert np.allclose(rates(phase, 5, 11), expected, atol=1e-7)


def test_a_warm_up_rises_from_nothing_to_the_highest_rate_and_then_falls():
    phase = Phase(name="p", epochs=2, learning_rate=0.1, schedule="cosine", warmup=0.4)
    falling = 0.05 * (1 + np.cos(np.pi * np.arange(7) / 6))
    assert np.allclose(rates(phase, 5, 11), [0, 0.025, 0.05, 0.075, *falling], atol=1e-7)


@pytest.mark.parametrize(
    ("fields", "kind", "name", "value"),
    [
        ({"momentum": 0.8}, keras.optimizers.SGD, "momentum", 0.8),
        ({"nesterov": True}, keras.optimizers.SGD, "nesterov", True),
        ({"weight_decay": 0.3}, keras.optimizers.SGD, "weight_decay", 0.3),
        ({"weight_decay": 0.3, "optimizer": "adamw"}, keras.optimizers.AdamW, "weight_decay", 0.3),
    ],
)
def test_an_optimizer_is_the_one_that_the_phase_asks_for(fields, kind, name, value):
    optimizer = make_optimizer(Phase(name="p", epochs=1, learning_rate=0.1, **fields), 1)
    # on torch Keras has its own subclasses
    assert isinstance(optimizer, kind)
    assert getattr(optimizer, name) == value


@pytest.mark.medium
def test_a_head_given_as_a_function_that_is_linear_once_built_is_still_placed(
    tiny, tiny_weights, tiny_digits
):
    def head(features):
        return keras.layers.Dense(10, activation="softmax")(keras.layers.GlobalAveragePooling2D()(features))

    result = tz.fit_and_evaluate(tiny, tiny_digits, weights=tiny_weights, head=head, epochs=1)
    assert result.history["phase"][0] == "head"
    assert result.history["phase"][-1] == "fine_tune"


@pytest.mark.medium
def test_a_model_is_in_its_own_coordinates_after_an_interruption(tiny, tiny_weights, tiny_digits):
    class Interrupt(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise KeyboardInterrupt

    model = tz.build(tiny, 10, weights=tiny_weights, head="mlp", trainable="none", seed=0)
    before = model.predict(tiny_digits.x_test[:8].astype("float32"), verbose=0)
    with pytest.raises(KeyboardInterrupt):
        tz.fit_and_evaluate(model, tiny_digits, recipe="head", callbacks=[Interrupt()])
    after = model.predict(tiny_digits.x_test[:8].astype("float32"), verbose=0)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-5)


def test_steps_are_shortened_to_the_norm_that_the_phase_sets():
    kernels = {}
    for norm in (None, 0.5):
        phase = Phase(name="a", learning_rate=1.0, momentum=0, clip_norm=norm)
        variable = keras.Variable(np.zeros(2, "float32"))
        optimizer = make_optimizer(phase, 10)
        optimizer.apply([keras.ops.convert_to_tensor([3.0, 4.0])], [variable])
        kernels[norm] = keras.ops.convert_to_numpy(variable)
    np.testing.assert_allclose(kernels[None], [-3, -4])
    np.testing.assert_allclose(kernels[0.5], [-0.3, -0.4], rtol=1e-6)


@pytest.mark.parametrize("norm", [0, -1, "1"])
def test_a_norm_is_a_number_above_nothing(norm):
    with pytest.raises(InvalidInputError, match="clip_norm must be a number above 0, or None"):
        Phase(name="a", learning_rate=1.0, clip_norm=norm)
