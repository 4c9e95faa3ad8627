import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError, NameTakenError, UnknownNameError
from transferzoo.heads import (
    Classifier,
    CosineClassifier,
    Dense,
    Dropout,
    Flatten,
    Head,
    MultiSampleClassifier,
    Normalize,
    Pool,
    apply_head,
    head_name,
)

HEADS = tz.list_heads()


def model_of(head, feature_shape=(2, 2, 16), num_classes=10):
    features = keras.Input(feature_shape)
    return keras.Model(features, apply_head(head, features, num_classes))


def dense_parameters(*widths):
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))


def pooled(kind, x):
    """A feature map after pooling, computed by the part."""
    features = keras.Input(x.shape[1:])
    return keras.ops.convert_to_numpy(keras.Model(features, Pool(kind)(features))(x))


X = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype("float32")


def test_both_poolings_stand_one_behind_the_other():
    assert np.allclose(pooled("avg_max", X), np.hstack([X.mean(axis=(1, 2)), X.max(axis=(1, 2))]))


def test_the_generalised_mean_is_the_root_of_a_mean_of_powers():
    expected = np.cbrt((np.maximum(X, 1e-6).astype("float64") ** 3).mean(axis=(1, 2)))
    assert np.allclose(pooled("gem", X), expected, rtol=1e-4)
    mean, maximum = np.maximum(X, 0).mean(axis=(1, 2)), X.max(axis=(1, 2))
    assert ((pooled("gem", X) >= mean - 1e-5) & (pooled("gem", X) <= maximum + 1e-5)).all()


def test_attention_is_a_mean_with_learned_weights():
    features = keras.Input(X.shape[1:])
    model = keras.Model(features, Pool("attention")(features))
    hidden, score = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    (matrix, bias), (vector,) = hidden.get_weights(), score.get_weights()
    cells = X.reshape(3, 20, 6)
    chances = np.exp(np.tanh(cells @ matrix + bias) @ vector)
    expected = (chances / chances.sum(axis=1, keepdims=True) * cells).sum(axis=1)
    assert np.allclose(keras.ops.convert_to_numpy(model(X)), expected, atol=1e-5)
    score.set_weights([np.zeros_like(vector)])
    assert np.allclose(keras.ops.convert_to_numpy(model(X)), X.mean(axis=(1, 2)), atol=1e-5)


def test_cosine_logits_depend_on_directions_alone_and_stay_so_while_learning():
    model = model_of(Head(Pool(), CosineClassifier(10.0)), (4, 5, 6), 3)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, np.array([0, 1, 2]), epochs=2, verbose=0)
    logits = keras.ops.convert_to_numpy(model(X))
    assert np.allclose(logits, keras.ops.convert_to_numpy(model(7 * X)), atol=1e-5)
    features, kernel = X.mean(axis=(1, 2)), model.get_layer("logits").get_weights()[0]
    cosines = features @ kernel / np.linalg.norm(features, axis=1)[:, None] / np.linalg.norm(kernel, axis=0)
    assert np.allclose(logits, 10 * cosines, atol=1e-3)


@pytest.mark.medium
def test_several_dropouts_share_one_layer_and_are_none_outside_of_training():
    model = model_of(Head(Pool(), MultiSampleClassifier(0.5, 4)), (4, 5, 6), 3)
    kernel, bias = model.get_layer("logits").get_weights()
    assert model.count_params() == kernel.size + bias.size
    assert np.allclose(keras.ops.convert_to_numpy(model(X)), X.mean(axis=(1, 2)) @ kernel + bias, atol=1e-5)
    drawn = np.stack([keras.ops.convert_to_numpy(model(X, training=True)) for _ in range(200)])
    alone = model_of(Head(Pool(), Dropout(0.5), Classifier()), (4, 5, 6), 3)
    alone.set_weights(model.get_weights())
    single = np.stack([keras.ops.convert_to_numpy(alone(X, training=True)) for _ in range(200)])
    # the mean of four is half as far off
    assert drawn.std(axis=0).mean() / single.std(axis=0).mean() == pytest.approx(0.5, abs=0.1)


NEW_HEADS = [
    *(Head(Pool(kind), Classifier()) for kind in ("avg_max", "gem", "attention")),
    Head(Pool(), Normalize("layer"), CosineClassifier()),
    Head(Flatten(), Dense(8), MultiSampleClassifier()),
]


@pytest.mark.medium
@pytest.mark.parametrize("head", NEW_HEADS, ids=str)
def test_heads_learn_and_say_that_they_are_not_linear(tiny, tiny_digits, head):
    from transferzoo.heads import is_linear

    assert not is_linear(head)
    result = tz.fit_and_evaluate(
        tiny, tiny_digits, head=head, recipe="head", weights=None, epochs=1, cache=False, verbose=False
    )
    assert np.isfinite(result.y_prob).all()


@pytest.mark.slow
def test_heads_load_in_a_process_without_the_library(tiny, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    expected = {}
    for number, head in enumerate(NEW_HEADS):
        model = tz.build(tiny, 3, weights=None, head=head)
        model.save(tmp_path / f"{number}.keras")
        expected[number] = model.predict(x, verbose=0)
    code = (
        "import sys, keras, numpy as np\n"
        "x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype('uint8')\n"
        "for n in range(int(sys.argv[1])):\n"
        "    np.save(f'{n}.npy', keras.models.load_model(f'{n}.keras').predict(x, verbose=0))\n"
        "assert 'transferzoo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(len(NEW_HEADS))], cwd=tmp_path, check=True)
    for number, outputs in expected.items():
        assert np.allclose(np.load(tmp_path / f"{number}.npy"), outputs, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("feature_shape", [(2, 2, 16), (1, 1, 16), (16,)])
def test_every_head_turns_features_into_one_logit_a_class(name, feature_shape):
    model = model_of(tz.head_info(name), feature_shape, 7)
    assert model(np.ones((3, *feature_shape), "float32")).shape == (3, 7)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_logits_and_no_probabilities(name):
    assert model_of(tz.head_info(name)).layers[-1].activation is keras.activations.linear


# counted by hand: (inputs + 1) × outputs for each fully connected layer
@pytest.mark.parametrize(
    ("name", "feature_shape", "count"),
    [
        ("linear", (1, 1, 1024), 10_250),
        ("article_mobilenet", (1, 1, 1024), 1_049_600 + 524_800 + 131_328 + 32_896 + 1_290),
        ("article_resnet50", (1, 1, 2048), 2_098_176 + 524_800 + 131_328 + 32_896 + 1_290),
        ("alexnet", (6, 6, 256), 37_752_832 + 16_781_312 + 40_970),
        ("mlp", (7, 7, 1280), 655_872 + 5_130),
    ],
)
def test_a_named_head_has_the_parameters_counted_by_hand(name, feature_shape, count):
    assert model_of(tz.head_info(name), feature_shape).count_params() == count


def test_the_articles_heads_differ_in_dropout_alone():
    resnet, mobilenet = (tz.head_info(f"article_{name}").parts for name in ("resnet50", "mobilenet"))
    assert tuple(part for part in resnet if not isinstance(part, Dropout)) == mobilenet


def test_the_articles_head_for_resnet50_is_as_it_stands_in_the_article():
    parts = tz.head_info("article_resnet50").parts
    assert parts == (
        Flatten(),
        Dense(1024),
        Dense(512),
        Dropout(0.4),
        Dense(256),
        Dropout(0.3),
        Dense(128),
        Dropout(0.2),
        Classifier(),
    )


@pytest.mark.parametrize(
    ("part", "feature_shape", "expected"),
    [
        (Pool("avg"), (2, 3, 4), (4,)),
        (Pool("max"), (2, 3, 4), (4,)),
        (Pool("avg"), (4,), (4,)),
        (Flatten(), (2, 3, 4), (24,)),
        (Dense(5), (4,), (5,)),
        (Dropout(0.5), (2, 3, 4), (2, 3, 4)),
        (Normalize("batch"), (2, 3, 4), (2, 3, 4)),
        (Normalize("layer"), (4,), (4,)),
    ],
)
def test_a_part_turns_shapes_as_it_says(part, feature_shape, expected):
    assert part(keras.Input(feature_shape)).shape == (None, *expected)


@pytest.mark.parametrize(("kind", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_pooling_is_the_mean_or_the_maximum_over_the_map(kind, reduce):
    features = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype("float32")
    images = keras.Input((4, 5, 2))
    pooled = keras.Model(images, Pool(kind)(images))(features)
    assert np.allclose(keras.ops.convert_to_numpy(pooled), reduce(features, axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pool("average"), "Pool's kind must be 'avg' or 'max'"),
        (lambda: Normalize("bacth"), r"'batch' or 'layer'\. Got 'bacth'\. Did you mean 'batch'\?"),
        (lambda: Dense(0), "Dense's units must be a whole number of 1 or more"),
        (lambda: Dense(2.5), "Dense's units must be"),
        (lambda: Dropout(1.0), "Dropout's rate must be a number from 0 to below 1"),
        (lambda: Dropout(-0.1), "Dropout's rate must be"),
        (lambda: Dropout(True), "Dropout's rate must be"),
        (lambda: Head(), r"A head must end in Classifier\(\)"),
        (lambda: Head(Pool(), Dense(10)), r"A head must end in Classifier\(\)"),
        (lambda: Head(Classifier(), Classifier()), r"one Classifier\(\), as its last part"),
        (lambda: Head(Pool, Classifier()), "A head's part must be a part such as"),
        (lambda: Head("avg", Classifier()), "A head's part must be a part such as"),
    ],
)
def test_a_part_or_head_that_cannot_be_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_heads_of_equal_parts_are_equal():
    assert Head(Pool(), Classifier()) == Head(Pool("avg"), Classifier())


def test_a_head_prints_as_it_is_written():
    text = "Head(Pool('max'), Normalize('layer'), Dropout(0.2), Dense(8, 'relu'), Classifier())"
    namespace = {part.__name__: part for part in (Head, Pool, Normalize, Dropout, Dense, Classifier)}
    assert repr(eval(text, namespace)) == text


def test_one_head_makes_new_layers_for_each_model():
    first, second = (model_of(tz.head_info("linear")) for _ in range(2))
    assert not {id(layer) for layer in first.layers} & {id(layer) for layer in second.layers}


def test_a_function_with_num_classes_is_given_it():
    def head(features, num_classes):
        return keras.layers.Dense(num_classes)(keras.layers.Flatten()(features))

    assert model_of(head, num_classes=4).output_shape == (None, 4)


def test_a_function_of_features_alone_serves_as_head():
    assert model_of(lambda f: keras.layers.Dense(10)(Pool()(f))).output_shape == (None, 10)


def test_a_keras_model_serves_as_head():
    head = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    assert model_of(head).output_shape == (None, 10)


def test_a_keras_layer_serves_as_head():
    assert model_of(keras.layers.Dense(10), feature_shape=(16,)).output_shape == (None, 10)


def test_a_keras_layer_serves_as_part():
    head = Head(keras.layers.Conv2D(4, 1), Pool(), Classifier())
    assert model_of(head).count_params() == (16 + 1) * 4 + (4 + 1) * 10


@pytest.mark.parametrize(
    "head", [keras.layers.Dense(10), lambda f: keras.layers.Dense(9)(Pool()(f)), lambda f: "no tensor"]
)
def test_a_head_that_gives_no_logits_is_told_the_shape_to_give(head):
    with pytest.raises(InvalidInputError, match=r"logits of shape \(batch, 10\)\. .*End it in a layer of 10"):
        model_of(head)


def test_a_registered_head_is_a_name_like_any_other(tiny):
    tz.register_head("small", Head(Pool("max"), Dense(4), Classifier()))
    head = tz.build(tiny, 3, weights=None, head="small").get_layer("head")
    assert head.count_params() == dense_parameters(16, 4, 3)


def test_a_taken_head_name_is_refused():
    with pytest.raises(NameTakenError, match="A head named 'linear' is registered already"):
        tz.register_head("linear", Head(Classifier()))


def test_what_cannot_be_called_is_no_head():
    with pytest.raises(InvalidInputError, match=r"head must be a tz\.Head, or a function"):
        tz.register_head("mine", 3)


def test_a_mistyped_head_gets_the_nearest(tiny):
    with pytest.raises(UnknownNameError, match="Did you mean 'linear'"):
        tz.build(tiny, 3, weights=None, head="linaer")


@pytest.mark.parametrize("head", [None, 3, Head])
def test_something_else_is_refused_as_head(tiny, head):
    with pytest.raises(InvalidInputError, match=r"head must be a head's name, a tz\.Head, or a function"):
        tz.build(tiny, 3, weights=None, head=head)


@pytest.mark.parametrize(
    ("head", "name"),
    [("linear", "linear"), (Head(Pool(), Classifier()), "Head(Pool('avg'), Classifier())")],
)
def test_a_record_names_a_head_as_it_was_given(head, name):
    assert head_name(head) == name


def test_a_record_names_a_function_by_its_place():
    assert head_name(dense_parameters) == "test_heads.dense_parameters"
