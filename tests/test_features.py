"""Frozen features: where a model is cut, what a kept entry is found by, and that it changes no number."""

import logging
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import transferzoo as tz
from transferzoo.features import extract
from transferzoo.features.extract import feature_key, frozen_features, split_at_features
from transferzoo.features.store import FeatureStore
from transferzoo.ground.progress import Progress, Task
from transferzoo.models.architecture import network_digest
from transferzoo.models.construct import backbone_of, set_trainable
from transferzoo.models.prediction import predict


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


@pytest.fixture
def model(tiny):
    return tz.build(tiny, 10, weights=None, seed=0)


@pytest.fixture
def images(tiny_digits):
    return tiny_digits.x_test


def extractor_of(name, **options):
    return split_at_features(tz.build(name, 10, **{"weights": None, "seed": 0, **options}))[0]


class Steps(Progress, Task):
    """Notes what it is told."""

    def __init__(self):
        self.tasks = []
        self.steps = 0

    def task(self, description, total=None, *, unit="steps"):
        import contextlib

        self.tasks.append((description, total))
        return contextlib.nullcontext(self)

    def advance(self, steps=1):
        self.steps += steps


@pytest.mark.parametrize(
    ("head", "shape"),
    [("linear", (16,)), ("mlp", (16,)), ("alexnet", (7, 7, 16)), ("article_mobilenet", (7, 7, 16))],
)
def test_a_model_is_cut_after_its_heads_pooling_where_it_begins_with_one(tiny, images, head, shape):
    model = tz.build(tiny, 10, weights=None, head=head, seed=0)
    extractor, head_model = split_at_features(model)
    assert extractor.output_shape == (None, *shape)
    np.testing.assert_allclose(
        predict(head_model, predict(extractor, images)), predict(model, images), rtol=1e-5, atol=1e-6
    )


# what an entry is found by


def test_the_same_network_built_twice_has_the_same_digest(tiny):
    assert network_digest(extractor_of(tiny)) == network_digest(extractor_of(tiny))


def test_a_model_cut_twice_has_the_same_digest(model):
    first, second = split_at_features(model)[0], split_at_features(model)[0]
    assert network_digest(first) == network_digest(second)


@pytest.mark.medium
def test_a_real_backbone_built_twice_has_the_same_digest():
    options = {"image_size": 64, "input_shape": (32, 32, 3)}
    first = extractor_of("mobilenet_v2_035", **options)
    extractor_of("alexnet")  # Keras counts names up in between
    assert network_digest(first) == network_digest(extractor_of("mobilenet_v2_035", **options))


@pytest.mark.medium
def test_the_same_network_has_the_same_digest_in_another_process(tmp_path, tiny_weights):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import transferzoo as tz
from conftest import make_tiny
from transferzoo.models.architecture import network_digest
from transferzoo.features.extract import split_at_features
tz.register_backbone("tiny", make_tiny, minimum_size=8, default_size=32)
if sys.argv[3]:
    tz.build("alexnet", 5, weights=None)
print(network_digest(split_at_features(tz.build("tiny", 10, weights=sys.argv[2]))[0]))
"""
    digests = set()
    for busy in ("", "busy"):
        call = [sys.executable, "-c", code, str(Path(__file__).parent), str(tiny_weights), busy]
        digests.add(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("head", ["mlp", tz.Head(tz.heads.Pool(), tz.heads.Dense(7), tz.heads.Classifier())])
def test_another_head_that_reads_the_same_features_shares_them(tiny, tiny_weights, head):
    one = extractor_of(tiny, weights=tiny_weights, seed=0)
    other = extractor_of(tiny, weights=tiny_weights, seed=1, head=head)
    assert network_digest(one) == network_digest(other)


def test_what_learns_and_how_it_was_compiled_is_no_part_of_the_digest(model):
    before = network_digest(split_at_features(model)[0])
    set_trainable(backbone_of(model), "none")
    model.compile("sgd", "categorical_crossentropy")
    assert network_digest(split_at_features(model)[0]) == before


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 48},
        {"preprocessing": "none"},
        {"seed": 1},
        {"head": "alexnet"},
        {"head": tz.Head(tz.heads.Pool("max"), tz.heads.Classifier())},
        {"input_shape": (32, 32, 1)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_another_network_size_preprocessing_or_cut_is_another_entry(tiny, options):
    assert network_digest(extractor_of(tiny)) != network_digest(extractor_of(tiny, **options))


def test_one_changed_weight_is_another_entry(model):
    extractor = split_at_features(model)[0]
    before = network_digest(extractor)
    kernel = backbone_of(model).get_layer("conv2").kernel
    value = np.copy(keras.ops.convert_to_numpy(kernel))
    value[0, 0, 0, 0] += 1e-6
    kernel.assign(value)
    assert network_digest(extractor) != before


def test_layers_connected_otherwise_are_another_entry():
    def network(swapped):
        images = keras.Input((4,))
        dense = layers.Dense(4)
        pair = [images, dense(images)]
        model = keras.Model(images, layers.Subtract()(pair[::-1] if swapped else pair))
        dense.set_weights([2 * np.eye(4), np.ones(4)])
        return model

    assert network_digest(network(False)) == network_digest(network(False))
    assert network_digest(network(False)) != network_digest(network(True))


def test_a_layer_of_ones_own_that_computes_otherwise_is_another_entry(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for number, body in enumerate(("x + 1", "x + 2")):
        source = "import keras\n\n\nclass Own(keras.layers.Layer):\n    def call(self, x):\n"
        (tmp_path / f"own{number}.py").write_text(f"{source}        return {body}\n")
        images = keras.Input((4,))
        own = __import__(f"own{number}").Own
        own.__module__ = "own"
        monkeypatch.setitem(sys.modules, "own", sys.modules[f"own{number}"])
        digests.append(network_digest(keras.Model(images, own()(images))))
    assert digests[0] != digests[1]


def test_another_image_dtype_backend_or_policy_is_another_key(model, images, monkeypatch):
    extractor = split_at_features(model)[0]
    key = feature_key(extractor, images)
    assert feature_key(extractor, images.copy()) == key
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 1
    assert feature_key(extractor, changed) != key
    assert feature_key(extractor, images[::-1]) != key
    assert feature_key(extractor, images.astype("float32")) != key
    assert key["backend"] == keras.backend.backend()
    assert key["dtype_policy"] == "float32"


# what comes out


def test_kept_features_are_exactly_those_computed_without_a_store(model, images, store):
    extractor = split_at_features(model)[0]
    expected = predict(extractor, images)
    first = frozen_features(extractor, images, store=store)
    second = frozen_features(extractor, images, store=store)
    assert first.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, expected)
    np.testing.assert_array_equal(frozen_features(extractor, images, store=None), expected)


def test_a_short_last_batch_changes_no_number(model, images, store):
    extractor = split_at_features(model)[0]
    steps = Steps()
    kept = frozen_features(extractor, images, store=store, batch_size=16, progress=steps)
    np.testing.assert_array_equal(kept, predict(extractor, images, batch_size=16))
    assert (steps.tasks, steps.steps) == ([("features", 4)], 4)


def test_features_are_computed_for_the_first_that_asks_alone(tiny, tiny_weights, images, store, monkeypatch):
    computed = []
    real = extract.outputs_at_once
    monkeypatch.setattr(
        extract, "outputs_at_once", lambda model, x: computed.append(len(x)) or real(model, x)
    )
    for head, seed in (("linear", 0), ("mlp", 1), ("linear", 2)):
        model = tz.build(tiny, 10, weights=tiny_weights, head=head, seed=seed)
        tz.extract_features(model, images, store=store)
    assert computed == [50]
    assert len(store.entries()) == 1


def test_an_entry_says_what_it_is(model, images, store):
    tz.extract_features(model, images, store=store)
    frozen_features(split_at_features(model)[0], images[:5], store=store, description={"split": "test"})
    newest, oldest = store.entries()
    expected = {"backbone": "tiny", "image_size": [32, 32], "layer": "features, averaged"}
    assert oldest.description == expected
    assert newest.description == {**expected, "split": "test"}
    assert (oldest.shape, newest.shape) == ((50, 16), (5, 16))


def test_by_default_features_are_kept_where_the_environment_says(model, images, tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERZOO_CACHE", str(tmp_path))
    tz.extract_features(model, images)
    assert len(list(tmp_path.glob("features/*/features.npy"))) == 1


def test_without_a_store_nothing_is_kept(model, images, tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERZOO_CACHE", str(tmp_path))
    assert tz.extract_features(model, images, store=False).flags.writeable
    assert list(tmp_path.iterdir()) == []


def test_a_feature_map_comes_as_it_is_where_the_head_reads_it_so(tiny, images, store):
    model = tz.build(tiny, 10, weights=None, head="alexnet", seed=0)
    assert tz.extract_features(model, images, store=store).shape == (50, 7, 7, 16)


def test_an_inner_layers_feature_map_is_averaged(model, images, store):
    features = tz.extract_features(model, images, layer="relu1", store=store)
    assert features.shape == (50, 8)
    backbone = backbone_of(model)
    cut = keras.Model(backbone.inputs, backbone.get_layer("relu1").output)
    prepared = model.get_layer("preprocessing")(images.astype("float32"))
    maps = cut(prepared, training=False)
    np.testing.assert_allclose(
        features, keras.ops.convert_to_numpy(maps).mean(axis=(1, 2)), rtol=1e-5, atol=1e-5
    )
    assert store.entries()[0].description["layer"] == "relu1"


def test_a_model_from_elsewhere_gives_the_features_of_its_layer(images, store):
    network = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(2)]
    )
    assert tz.extract_features(network, images, layer="conv", store=store).shape == (50, 4)
    flat = tz.extract_features(network, images, layer=network.layers[1].name, store=store)
    assert flat.shape == (50, 30 * 30 * 4)


def test_a_model_from_elsewhere_without_a_layer_is_refused(images):
    network = keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten()])
    with pytest.raises(tz.TransferZooError, match="layer must be given for a model without the parts"):
        tz.extract_features(network, images)


def test_a_model_whose_layers_are_not_connected_is_refused(images):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2, name="dense")

        def call(self, x):
            return self.dense(x)

    with pytest.raises(tz.TransferZooError, match="a model of connected layers"):
        tz.extract_features(Own(), images, layer="dense")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layer": "relu3"},
            r"layer must be the name of one of the backbone's layers\. .*Did you mean 'relu2'",
        ),
        ({"store": "somewhere"}, r"store must be a tz\.FeatureStore, False for none, or left out"),
        ({"store": True}, r"store must be a tz\.FeatureStore"),
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more"),
    ],
)
def test_a_bad_argument_is_refused(model, images, arguments, message):
    with pytest.raises(tz.TransferZooError, match=message):
        tz.extract_features(model, images, **arguments)


def test_images_that_the_model_does_not_take_are_refused(model, tiny_digits):
    with pytest.raises(tz.TransferZooError, match=r"images must be of shape \(n, 32, 32, 3\)"):
        tz.extract_features(model, tiny_digits.x_test[:, :16])
    with pytest.raises(tz.TransferZooError, match="images must be"):
        tz.extract_features(model, tiny_digits)


def test_a_network_that_cannot_be_described_is_computed_without_the_cache(images, store, caplog):
    class Secret(layers.Layer):
        def call(self, x):
            return x * 2.0

        def get_config(self):
            raise NotImplementedError("no configuration")

    pixels = keras.Input((32, 32, 3))
    network = keras.Model(pixels, Secret()(pixels))
    with caplog.at_level(logging.WARNING, "transferzoo"):
        features = frozen_features(network, images, store=store)
    np.testing.assert_array_equal(features, images.astype("float32") * 2)
    assert store.entries() == []
    assert [record.message for record in caplog.records if "not kept" in record.message]


def test_no_images_are_refused(model, images, store):
    with pytest.raises(tz.TransferZooError, match=r"images must be .*at least one"):
        tz.extract_features(model, images[:0], store=store)


def test_images_that_were_scaled_already_are_refused(model, images, store):
    with pytest.raises(tz.TransferZooError, match="images must be pixels from 0 to 255"):
        tz.extract_features(model, images / 255, store=store)


def test_half_precision_features_are_kept_as_float32(tiny, images, store):
    keras.config.set_dtype_policy("mixed_bfloat16" if keras.backend.backend() == "jax" else "mixed_float16")
    try:
        extractor = extractor_of(tiny)
        kept = frozen_features(extractor, images, store=store)
        np.testing.assert_array_equal(kept, predict(extractor, images).astype("float32"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert kept.dtype == np.float32


@pytest.mark.slow
def test_real_features_of_real_images_are_the_same_the_second_time(real_weights, store):
    images = tz.load_dataset("cifar10").subset(train=200, test=100, seed=0).x_test
    model = tz.build("mobilenet", 10, seed=0)
    first = tz.extract_features(model, images, store=store)
    second = tz.extract_features(tz.build("mobilenet", 10, seed=1, head="mlp"), images, store=store)
    assert first.shape == (100, 1024)
    assert len(store.entries()) == 1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, tz.extract_features(model, images, store=False))
