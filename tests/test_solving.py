"""Heads on standardised features, against scikit-learn and against training on features scaled by hand."""

import logging

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import transferzoo as tz
from transferzoo.errors import InvalidInputError
from transferzoo.features.extract import split_at_features
from transferzoo.heads import HEADS, Classifier, Dense, Dropout, Flatten, Head, Normalize, Pool, is_linear
from transferzoo.models.construct import head_of
from transferzoo.models.plan import seeded
from transferzoo.training.linear_head import NO_BETTER, StandardisedHead, has_linear_head, solve_head

CHANNELS = 6


# --- which heads are linear


def dense(features, num_classes, **options):
    return layers.Dense(num_classes, **options)(features)


def pooled(features):
    return layers.GlobalAveragePooling2D()(features)


def by_hand(features, num_classes):
    return dense(pooled(features), num_classes)


def without_bias(features, num_classes):
    return dense(pooled(features), num_classes, use_bias=False)


def rectified(features, num_classes):
    return dense(layers.ReLU()(pooled(features)), num_classes)


def rectified_by_activation(features, num_classes):
    return dense(layers.Activation("relu")(pooled(features)), num_classes)


def unit_length(features, num_classes):
    return dense(layers.UnitNormalization()(pooled(features)), num_classes)


def unit_length_by_function(features, num_classes):
    return dense(keras.ops.normalize(pooled(features)), num_classes)


def scaled_by_operator(features, num_classes):
    return dense(pooled(features) * 3.0, num_classes)


def bounded_logits(features, num_classes):
    return layers.Activation("tanh")(dense(pooled(features), num_classes))


def tempered_logits(features, num_classes):
    return dense(pooled(features), num_classes) * 10.0


class CosineDense(layers.Dense):
    def call(self, inputs):
        return 10.0 * keras.ops.matmul(
            keras.ops.normalize(inputs), keras.ops.normalize(self.kernel, axis=0, order=2)
        )


def cosine(features, num_classes):
    return CosineDense(num_classes, use_bias=False)(pooled(features))


def average_and_maximum(features, num_classes):
    both = [pooled(features), layers.GlobalMaxPooling2D()(features)]
    return dense(layers.Concatenate()(both), num_classes)


def two_at_once(features, num_classes):
    return layers.Add()([dense(pooled(features), num_classes), dense(pooled(features), num_classes)])


def convolved(features, num_classes):
    return pooled(layers.Conv2D(num_classes, 1)(features))


LINEAR = [
    "linear",
    Head(Pool("max"), Classifier()),
    Head(Flatten(), Classifier()),
    Head(Pool(), Dropout(0.5), Classifier()),
    Head(Dropout(0.5), Pool(), Classifier()),
    Head(Flatten(), Dropout(0.5), Classifier()),
    by_hand,
    without_bias,
]
OTHER = [
    *(name for name in HEADS.names("*") if name != "linear"),
    Head(Pool(), Normalize(), Classifier()),
    Head(Pool(), Normalize("layer"), Classifier()),
    Head(Pool(), Dense(4, activation=None), Classifier()),
    rectified,
    rectified_by_activation,
    unit_length,
    unit_length_by_function,
    scaled_by_operator,
    bounded_logits,
    tempered_logits,
    cosine,
    average_and_maximum,
    two_at_once,
    convolved,
]


def built_head(tiny, head, num_classes=4, **options):
    return head_of(tz.build(tiny, num_classes, weights=None, head=head, seed=0, **options))


def title(head):
    return getattr(head, "__name__", str(head))


@pytest.mark.parametrize("head", LINEAR, ids=title)
@pytest.mark.parametrize("activation", ["softmax", None])
def test_pooling_flattening_and_dropout_before_one_dense_layer_is_linear(tiny, head, activation):
    assert has_linear_head(built_head(tiny, head, classifier_activation=activation))


@pytest.mark.parametrize("head", OTHER, ids=title)
def test_a_head_that_does_anything_else_is_not_linear(tiny, head):
    assert not has_linear_head(built_head(tiny, head))


@pytest.mark.parametrize("head", [h for h in (*LINEAR, *OTHER) if not callable(h) or isinstance(h, Head)])
def test_a_composed_head_is_linear_before_it_is_built_if_it_is_afterwards(tiny, head):
    assert is_linear(head) == has_linear_head(built_head(tiny, head))


def test_no_head_is_not_linear():
    assert not has_linear_head(None)


def test_a_sequential_head_is_linear_too():
    parts = [layers.GlobalAveragePooling2D(), layers.Dense(4), layers.Activation("softmax")]
    assert has_linear_head(keras.Sequential([keras.Input((2, 2, 3)), *parts]))
    parts.insert(1, layers.ReLU())
    assert not has_linear_head(keras.Sequential([keras.Input((2, 2, 3)), *parts]))


def test_a_head_that_does_not_show_its_layers_is_not_linear():
    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, features):
            return self.dense(keras.ops.square(features))

    hidden = Hidden()
    hidden(np.zeros((1, 3), "float32"))
    assert not has_linear_head(hidden)


# --- solving


def blobs(count, *, classes=4, channels=CHANNELS, spread=2.0, seed=0):
    """Features around a centre a class, the channels of very different scale; labels ``(count,)``."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, channels))
    labels = np.arange(count) % classes
    values = centres[labels] + rng.normal(size=(count, channels)) * spread
    return (values * 10.0 ** np.linspace(-1, 1, channels) + 2).astype("float32"), labels


def classifier(classes=4, shape=(CHANNELS,), *, use_bias=True, activation="softmax", parts=()):
    features = tensor = keras.Input(shape)
    for part in parts:
        tensor = part(tensor)
    tensor = layers.Dense(classes, use_bias=use_bias)(tensor)
    return keras.Model(features, layers.Activation(activation)(tensor))


def answer(model, features):
    return keras.ops.convert_to_numpy(model(features, training=False))


def deviations(x):
    """Deviations of the channels, none of them below the median or a tenth of the largest."""
    found = x.std(axis=tuple(range(x.ndim - 1)), dtype="float64")
    return np.maximum(found, max(np.median(found), found.max() / 10))


def witness(x, y, strength, *, intercept=True):
    """The regression, and features as it wants them: fitted afresh, in float64, to the end."""
    mean, deviation = x.mean(axis=0, dtype="float64"), deviations(x)
    if not intercept:
        mean = 0 * mean
    fitted = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8, fit_intercept=intercept)
    fitted.fit((x - mean) / deviation, y)
    return fitted, lambda features: (features - mean) / deviation


def tried(caplog):
    return [record.args[0] for record in caplog.records if "validation accuracy" in record.msg]


@pytest.fixture
def spoken(caplog):
    caplog.set_level(logging.INFO, logger="transferzoo")
    return caplog


@pytest.mark.parametrize("classes", [2, 4])
def test_the_weights_are_a_logistic_regressions_on_standardised_features_folded_back(classes):
    x, y = blobs(200, classes=classes)
    head = classifier(classes)
    solve_head(head, (x, y), blobs(100, classes=classes, seed=1), [0.1])
    regression, scaled = witness(x, y, 0.1)
    weights, intercepts = regression.coef_, regression.intercept_
    if classes == 2:
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.hstack([-intercepts, intercepts]) / 2
    expected = weights.T / deviations(x)[:, None]
    kernel, bias = head.get_weights()
    # of each channel's weights, so that those of a large scale count too
    assert (abs(kernel - expected).max(axis=1) < 0.01 * abs(expected).max(axis=1)).all()
    assert bias == pytest.approx(intercepts - x.mean(axis=0, dtype="float64") @ expected, rel=0.01)
    unseen, _ = blobs(50, classes=classes, seed=2)
    assert np.allclose(answer(head, unseen), regression.predict_proba(scaled(unseen)), atol=2e-3)


def test_the_solved_head_is_far_from_a_regression_on_features_as_they_are():
    # what the tests above would not notice if scales were alike
    x, y = blobs(200)
    head = classifier()
    solve_head(head, (x, y), (x, y), [0.1])
    raw = LogisticRegression(C=0.1, max_iter=5_000).fit(x.astype("float64"), y)
    assert abs(answer(head, x) - raw.predict_proba(x)).max() > 0.05


def test_the_figures_are_those_of_the_head_as_it_stands():
    training, validation = blobs(200), blobs(101, seed=1)
    head = classifier()
    figures = solve_head(head, training, validation, [0.01, 0.1, 1.0])
    for prefix, (x, y) in (("", training), ("val_", validation)):
        probabilities = answer(head, x).astype("float64")
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        assert figures[f"{prefix}accuracy"] == pytest.approx((probabilities.argmax(axis=1) == y).mean())
        assert figures[f"{prefix}loss"] == pytest.approx(log_loss(y, probabilities), rel=1e-4)
    assert set(figures) == {"loss", "accuracy", "val_loss", "val_accuracy", "C", "seconds"}
    assert figures["seconds"] > 0


def test_a_head_that_gives_logits_is_solved_alike():
    training, validation = blobs(200), blobs(100, seed=1)
    logits, probabilities = classifier(activation="linear"), classifier()
    for head in (logits, probabilities):
        solve_head(head, training, validation, [0.1])
    assert all(map(np.array_equal, logits.get_weights(), probabilities.get_weights()))


STRENGTHS = [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]


@pytest.fixture(scope="module")
def by_strength():
    """Few noisy features, validation features, and what a regression of each strength predicts for them."""
    rng = np.random.default_rng(3)
    x, y = blobs(60, channels=CHANNELS, spread=3.0)
    unlabelled = rng.normal(size=(400, CHANNELS)) * x.std(axis=0) + x.mean(axis=0)
    predictions = []
    for strength in STRENGTHS:
        regression, scaled = witness(x, y, strength)
        predictions.append(regression.predict(scaled(unlabelled)))
    return (x, y), unlabelled.astype("float32"), predictions


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_validation_accuracy_chooses_the_strength(by_strength, wanted):
    training, unlabelled, predictions = by_strength
    figures = solve_head(classifier(), training, (unlabelled, predictions[wanted]), STRENGTHS)
    assert figures["C"] == STRENGTHS[wanted]
    assert figures["val_accuracy"] > 0.99


def test_of_equals_the_stronger_penalty_is_chosen():
    x, y = blobs(200, spread=0.01)
    assert solve_head(classifier(), (x, y), (x, y), [1.0, 0.01, 0.1])["C"] == 0.01


def test_strengths_are_tried_from_the_strongest_penalty_on(spoken):
    x, y = blobs(60, spread=0.01)
    many = np.tile(x, (2, 1)), np.tile(y, 2)
    solve_head(classifier(), (x, y), many, [1.0, 0.01])
    assert tried(spoken) == [0.01, 1.0]


def test_two_in_a_row_that_are_no_better_end_the_search(by_strength, spoken):
    training, unlabelled, predictions = by_strength
    # mostly wrong, and the surer the worse: what little is right follows the strongest penalty
    right = np.random.default_rng(4).random(len(unlabelled)) < 0.35
    labels = np.where(right, predictions[0], (predictions[0] + 1) % 4)
    figures = solve_head(classifier(), training, (unlabelled, labels), STRENGTHS)
    accuracies, losses = figures_by_strength(training, (unlabelled, labels))
    assert max(accuracies) == accuracies[0]
    assert losses[0] < losses[1] < losses[2]
    assert NO_BETTER == 2
    assert (figures["C"], tried(spoken)) == (STRENGTHS[0], STRENGTHS[:3])


def figures_by_strength(training, validation):
    found = []
    for strength in STRENGTHS:
        regression, scaled = witness(*training, strength)
        probabilities = regression.predict_proba(scaled(validation[0]))
        accuracy = (probabilities.argmax(axis=1) == validation[1]).mean()
        found.append((accuracy, log_loss(validation[1], probabilities, labels=range(4))))
    return zip(*found, strict=True)


def test_a_standstill_of_accuracy_does_not_end_the_search_while_the_loss_falls(spoken):
    # on few images the strongest penalties leave the same accuracy, far below what a weaker one reaches
    x, y = blobs(60, spread=0.01)
    solve_head(classifier(), (x, y), (np.tile(x, (2, 1)), np.tile(y, 2)), STRENGTHS)
    assert tried(spoken) == STRENGTHS


def test_few_validation_images_leave_the_choice_to_the_training_images(spoken):
    x, y = blobs(80, spread=1.0)
    # labels that a weak penalty would follow
    nonsense = (y[:20] + 1) % 4
    figures = solve_head(classifier(), (x, y), (x[:20], nonsense), STRENGTHS)
    assert tried(spoken) == [figures["C"]]
    again = solve_head(classifier(), (x, y), (x[:20], y[:20]), STRENGTHS)
    assert again["C"] == figures["C"]
    assert again["val_accuracy"] > 0.5


def test_one_image_of_each_class_is_enough(spoken):
    x, _ = blobs(4, spread=0.01)
    figures = solve_head(classifier(), (x, np.arange(4)), (x, np.arange(4)), STRENGTHS)
    assert figures["C"] == STRENGTHS[len(STRENGTHS) // 2]


def test_one_that_is_no_better_does_not_end_the_search(by_strength, spoken):
    training, unlabelled, predictions = by_strength
    # the second is wrong wherever it differs from the first; the third is right most often
    first, second, third = predictions[:3]
    labels = np.where(first == second, third, np.where(first == third, third, first))
    accuracies = [(each == labels).mean() for each in predictions]
    assert accuracies[1] < accuracies[0] < accuracies[2]
    figures = solve_head(classifier(), training, (unlabelled, labels), STRENGTHS)
    assert (figures["C"], tried(spoken)[:3]) == (STRENGTHS[2], STRENGTHS[:3])


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shown", [(0, 2, 3), (1, 3)])
def test_a_class_that_no_training_image_shows_is_never_predicted(shown, use_bias):
    x, y = blobs(400)
    seen = np.isin(y, shown)
    head = classifier(use_bias=use_bias)
    figures = solve_head(head, (x[seen], y[seen]), (x, y), [0.01, 1.0])
    far = np.random.default_rng(0).normal(size=(2000, CHANNELS)) * x.std(axis=0) * 20 + x.mean(axis=0)
    assert set(answer(head, far).argmax(axis=1)) == set(shown)
    assert figures["val_accuracy"] == pytest.approx((answer(head, x).argmax(axis=1) == y).mean())
    assert figures["val_accuracy"] <= seen.mean()
    assert np.isfinite(list(figures.values())).all()
    assert all(np.isfinite(value).all() for value in head.get_weights())


def test_the_classes_that_are_shown_have_the_regressions_probabilities():
    x, y = blobs(400)
    seen = y != 1
    head = classifier()
    solve_head(head, (x[seen], y[seen]), (x, y), [0.1])
    regression, scaled = witness(x[seen], y[seen], 0.1)
    assert np.allclose(answer(head, x)[:, [0, 2, 3]], regression.predict_proba(scaled(x)), atol=2e-3)


def test_one_class_is_refused():
    x, y = blobs(20)
    with pytest.raises(InvalidInputError, match="2 or more classes"):
        solve_head(classifier(), (x, 0 * y), (x, y), [1.0])


@pytest.mark.parametrize("value", [0.0, 1234.567])
def test_a_constant_channel_says_nothing(value):
    x, y = blobs(200)
    heads = classifier(), classifier(shape=(CHANNELS + 1,))
    still = np.hstack([x, np.full((len(x), 1), value, "float32")])
    for head, features in zip(heads, (x, still), strict=True):
        solve_head(head, (features, y), (features, y), [0.1])
    assert heads[1].get_weights()[0][-1] == pytest.approx(0, abs=1e-6)
    assert np.allclose(answer(heads[0], x), answer(heads[1], still), atol=2e-3)


def test_a_channel_that_is_almost_dead_among_few_images_does_not_decide_elsewhere():
    x, y = blobs(60, spread=0.3)
    rng = np.random.default_rng(0)
    almost_dead = np.where(rng.random((60, 1)) < 0.05, 1e-4, 0).astype("float32")
    heads = classifier(), classifier(shape=(CHANNELS + 1,))
    for head, features in zip(heads, (x, np.hstack([x, almost_dead])), strict=True):
        solve_head(head, (features, y), (features, y), [1.0])
    # alive on other images
    unseen, _ = blobs(200, spread=0.3, seed=1)
    alive = np.hstack([unseen, np.full((200, 1), 1.0, "float32")])
    assert np.abs(answer(heads[0], unseen) - answer(heads[1], alive)).max() < 0.2


@pytest.mark.parametrize("scale", [1e-18, 1e6])
def test_the_scale_of_all_features_changes_nothing(scale):
    # with random weights MobileNet's are about 1e-18, which once was taken for standing still
    (x, y), (unseen, _) = blobs(200), blobs(50, seed=1)
    heads = classifier(), classifier()
    for head, factor in zip(heads, (1, scale), strict=True):
        solve_head(head, (x * factor, y), (x * factor, y), [0.1])
    assert np.allclose(answer(heads[0], unseen), answer(heads[1], unseen * scale), atol=2e-3)


@pytest.mark.parametrize("use_bias", [True, False])
def test_features_that_all_stand_still_give_finite_weights(use_bias):
    x, y = blobs(40)
    head = classifier(use_bias=use_bias)
    figures = solve_head(head, (0 * x + 3, y), (0 * x + 3, y), [0.1])
    assert np.isfinite(list(figures.values())).all()
    assert all(np.isfinite(value).all() for value in head.get_weights())


@pytest.mark.parametrize("classes", [2, 4])
def test_a_dense_layer_without_bias_is_solved_without_intercept(classes):
    # its figures once included a bias that it does not have
    training, validation = blobs(200, classes=classes), blobs(101, classes=classes, seed=1)
    head = classifier(classes, use_bias=False)
    figures = solve_head(head, training, validation, [0.1])
    regression, scaled = witness(*training, 0.1, intercept=False)
    x, y = validation
    assert np.allclose(answer(head, x), regression.predict_proba(scaled(x)), atol=2e-3)
    assert figures["val_accuracy"] == pytest.approx((answer(head, x).argmax(axis=1) == y).mean())
    assert figures["val_loss"] == pytest.approx(log_loss(y, regression.predict_proba(scaled(x))), rel=1e-2)


def maps(count, *, seed=0):
    """Feature maps ``(count, 2, 3, 4)`` whose cells and channels all differ, and labels."""
    x, y = blobs(count, channels=24, spread=3.0, seed=seed)
    return x.reshape(count, 2, 3, 4), y


def test_a_flattened_head_is_solved_on_all_cells():
    (x, y), (unseen, _) = maps(300), maps(50, seed=1)
    head = classifier(shape=(2, 3, 4), parts=[layers.Flatten()])
    solve_head(head, (x, y), maps(100, seed=2), [0.1])
    regression, scaled = witness(x.reshape(300, 24), y, 0.1)
    assert np.allclose(
        answer(head, unseen), regression.predict_proba(scaled(unseen.reshape(50, 24))), atol=2e-3
    )


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [(layers.GlobalAveragePooling2D, np.mean), (layers.GlobalMaxPooling2D, np.max)],
)
def test_a_pooling_after_dropout_is_solved_on_pooled_features(layer, by_hand):
    # features are kept as maps there, and once did not fit the Dense layer
    (x, y), (unseen, _) = maps(300), maps(50, seed=1)
    head = classifier(shape=(2, 3, 4), parts=[layers.Dropout(0.5), layer()])
    solve_head(head, (x, y), maps(100, seed=2), [0.1])
    regression, scaled = witness(by_hand(x, axis=(1, 2)), y, 0.1)
    expected = regression.predict_proba(scaled(by_hand(unseen, axis=(1, 2))))
    assert np.allclose(answer(head, unseen), expected, atol=2e-3)


@pytest.mark.parametrize("head", LINEAR, ids=title)
def test_every_linear_head_is_solved_to_what_its_figures_say(tiny, tiny_digits, head):
    model = tz.build(tiny, 10, weights=None, head=head, seed=0)
    extractor, head_model = split_at_features(model)
    x, x_validation = (
        answer(extractor, x.astype("float32")) for x in (tiny_digits.x_train, tiny_digits.x_validation)
    )
    figures = solve_head(
        head_model, (x, tiny_digits.y_train), (x_validation, tiny_digits.y_validation), [0.1]
    )
    predicted = answer(model, tiny_digits.x_validation.astype("float32")).argmax(axis=1)
    assert figures["val_accuracy"] == pytest.approx((predicted == tiny_digits.y_validation).mean())
    assert figures["accuracy"] > 0.3


# --- training on standardised features


def two_layers(shape=(CHANNELS,), *parts, use_bias=True):
    features = tensor = keras.Input(shape)
    for part in parts:
        tensor = part(tensor)
    tensor = layers.Dense(5, activation="tanh", use_bias=use_bias)(tensor)
    return keras.Model(features, layers.Dense(4, activation="softmax")(tensor))


def uneven_maps(count):
    x, y = blobs(count * 6, channels=4)
    return x.reshape(count, 2, 3, 4), y[:count]


HEADS_AND_FEATURES = {
    "vectors": (lambda: two_layers(), blobs),
    "no bias": (lambda: two_layers(use_bias=False), blobs),
    "dropout": (lambda: two_layers((CHANNELS,), layers.Dropout(0.5)), blobs),
    "flattened": (lambda: two_layers((2, 3, 4), layers.Flatten()), uneven_maps),
    "averaged": (lambda: two_layers((2, 3, 4), layers.GlobalAveragePooling2D()), uneven_maps),
    "maximum": (lambda: two_layers((2, 3, 4), layers.GlobalMaxPooling2D()), uneven_maps),
    "each cell": (
        lambda: keras.Sequential(
            [keras.Input((2, 3, 4)), layers.Dense(5, "relu"), layers.Flatten(), layers.Dense(4)]
        ),
        uneven_maps,
    ),
}


@pytest.fixture(params=list(HEADS_AND_FEATURES))
def head_and_features(request):
    make, draw = HEADS_AND_FEATURES[request.param]
    with seeded(0):
        return make(), *draw(64)


def shift_biases(head):
    """Change each bias a little, as any training does."""
    for layer in head.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(layer.bias + 0.01)


def test_entering_and_leaving_leave_what_a_trained_head_computes(head_and_features):
    head, x, _ = head_and_features
    shift_biases(head)
    standardised = StandardisedHead(head, x)
    before = answer(head, x)
    standardised.enter()
    assert np.allclose(answer(standardised.head_model, x), before, atol=1e-4)
    assert abs(answer(head, x) - before).max() > 1e-2
    standardised.leave()
    assert np.allclose(answer(head, x), before, atol=1e-4)


def test_a_head_that_nothing_has_trained_begins_with_the_weights_that_it_was_given():
    with seeded(0):
        x, _ = blobs(64)
        head = two_layers()
    first = next(each for each in head.layers if isinstance(each, layers.Dense))
    kernel, bias = first.get_weights()
    assert not bias.any()
    standardised = StandardisedHead(head, x)
    standardised.enter()
    assert np.array_equal(first.get_weights()[0], kernel)
    assert not first.get_weights()[1].any()
    standardised.leave()
    assert np.array_equal(first.get_weights()[0], kernel)
    assert not first.get_weights()[1].any()
    standardised.enter()
    first.bias.assign(first.bias + 0.1)
    seen = answer(standardised.head_model, x)
    standardised.leave()
    # what it has become on standardised features it is on features as they are
    assert np.allclose(answer(head, x), seen, atol=1e-4)
    standardised = StandardisedHead(head, x)
    standardised.enter()
    assert np.allclose(answer(standardised.head_model, x), seen, atol=1e-4)


def in_full_batches(model, x, y, steps=20):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=model.output_shape[-1] == 0)
    model.compile(optimizer=keras.optimizers.SGD(0.3), loss=loss)
    for _ in range(steps):
        model.train_on_batch(x, y)


@pytest.mark.parametrize(
    "name", [name for name in HEADS_AND_FEATURES if name not in ("dropout", "each cell")]
)
def test_training_is_that_of_a_head_on_features_standardised_by_hand(name):
    make, draw = HEADS_AND_FEATURES[name]
    with seeded(0):
        head, twin = make(), make()
    x, y = draw(64)
    axes = tuple(range(x.ndim - 1))
    mean = 0 if name == "no bias" else x.mean(axis=axes, dtype="float64")
    by_hand = ((x - mean) / deviations(x)).astype("float32")
    standardised = StandardisedHead(head, x)
    standardised.enter()
    twin.set_weights(head.get_weights())
    before = answer(twin, by_hand)
    in_full_batches(standardised.head_model, x, y)
    in_full_batches(twin, by_hand, y)
    standardised.leave()
    assert np.allclose(answer(head, x), answer(twin, by_hand), atol=1e-3)
    assert abs(answer(head, x) - before).max() > 0.1


def normalised_first(features, num_classes):
    return dense(layers.BatchNormalization()(pooled(features)), num_classes)


def passed_by(features, num_classes):
    flat = pooled(features)
    return dense(layers.Concatenate()([dense(flat, 8), flat]), num_classes)


@pytest.mark.parametrize(
    "head",
    [normalised_first, unit_length, unit_length_by_function, average_and_maximum, convolved],
    ids=title,
)
def test_a_head_that_does_not_begin_with_a_dense_layer_learns_on_features_as_they_are(tiny, head):
    head = built_head(tiny, head)
    before = head.get_weights()
    standardised = StandardisedHead(head, uneven_features(head))
    standardised.enter()
    assert standardised.head_model is head
    assert all(map(np.array_equal, before, head.get_weights()))
    standardised.leave()
    assert all(map(np.array_equal, before, head.get_weights()))


def uneven_features(head):
    rng = np.random.default_rng(0)
    shape = head.input_shape[1:]
    return (rng.normal(size=(20, *shape)) * np.linspace(0.1, 10, shape[-1]) + 3).astype("float32")


def test_a_head_that_features_reach_by_another_way_too_learns_on_them_as_they_are(tiny):
    head = built_head(tiny, passed_by)
    before = head.get_weights()
    standardised = StandardisedHead(head, uneven_features(head))
    standardised.enter()
    assert standardised.head_model is head
    standardised.leave()
    assert all(map(np.array_equal, before, head.get_weights()))


def test_among_many_classes_a_function_before_the_dense_layer_is_noticed_too(tiny):
    # each probability is so small that no change of the first outputs would show
    head = built_head(tiny, unit_length_by_function, num_classes=2000)
    standardised = StandardisedHead(head, uneven_features(head) / 10 + 1)
    standardised.enter()
    assert standardised.head_model is head


def test_a_constant_channel_does_no_harm_to_a_head_in_training():
    x, _ = blobs(64)
    x[:, 2] = 7
    head = two_layers()
    shift_biases(head)
    before = answer(head, x)
    standardised = StandardisedHead(head, x)
    standardised.enter()
    standardised.leave()
    assert np.allclose(answer(head, x), before, atol=1e-4)
