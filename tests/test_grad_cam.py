"""Grad-CAM: a patch that decides the label lights up."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import each_backbone
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.errors import InvalidInputError
from transferzoo.plots.heat_maps import blended

SIDE = 32


def patched(count, seed):
    """Noise with a bright patch at a place of its own; its stripes lie or stand, which is the label."""
    generator = np.random.default_rng(seed)
    x = generator.integers(90, 130, (count, SIDE, SIDE, 3)).astype("uint8")
    y = np.arange(count) % 2
    places = generator.integers(0, 3, (count, 2)) * 10 + 1
    for image, label, (row, column) in zip(x, y, places, strict=True):
        patch = image[row : row + 10, column : column + 10]
        patch[:] = 20
        if label:
            patch[::3] = 235
        else:
            patch[:, ::3] = 235
    return x, y, places


def network(input_shape):
    x = images = keras.Input(input_shape)
    for filters, stride in ((16, 1), (32, 2), (32, 2)):
        x = keras.layers.Conv2D(filters, 3, strides=stride, padding="same", activation="relu")(x)
    return keras.Model(images, x)


@pytest.fixture(scope="module")
def trained():
    """A model that learned to tell the stripes, and what it sees of new images."""
    x, y, _ = patched(300, 0)
    keras.utils.set_random_seed(0)
    sizes = {"minimum_size": 8, "default_size": 32}
    record = tz.Backbone(name="patches", family="test", paper="", builder=network, **sizes)
    BACKBONES.register("patches", record)
    model = tz.build("patches", 2, weights=None, seed=0)
    del BACKBONES._records["patches"]
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=12, batch_size=32, verbose=0)
    return model


@pytest.mark.medium
def test_the_patch_that_decides_lights_up(trained):
    x, y, places = patched(40, 1)
    right = trained.predict(x, verbose=0).argmax(axis=1) == y
    assert right.mean() > 0.95
    maps = tz.grad_cam(trained, x)
    assert maps.shape == (40, SIDE, SIDE)
    assert (maps.min() >= 0, maps.max() <= 1) == (True, True)
    inside = []
    for heat, (row, column), good in zip(maps, places, right, strict=True):
        if good:
            # a kernel sees a few pixels past the patch
            area = heat[max(row - 4, 0) : row + 14, max(column - 4, 0) : column + 14]
            inside.append(area.sum() / heat.sum())
            peak = np.unravel_index(heat.argmax(), heat.shape)
            assert row - 4 <= peak[0] < row + 14
            assert column - 4 <= peak[1] < column + 14
    # a third of the image holds most of the heat
    assert np.mean(inside) > 0.8


def test_the_map_is_the_equations_of_the_paper(trained):
    x, _, _ = patched(3, 2)
    backbone, head = trained.get_layer("backbone"), trained.get_layer("head")
    prepared = trained.get_layer("preprocessing")(x.astype("float32"))
    features = np.asarray(keras.ops.convert_to_numpy(backbone(prepared)))
    kernel = head.get_layer("logits").get_weights()[0]
    # behind mean pooling and one layer, a logit's slope at each cell is the kernel over the cells
    slopes = kernel[:, 1] / (features.shape[1] * features.shape[2])
    expected = np.maximum((features * slopes).sum(axis=-1), 0)
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    enlarged = keras.ops.image.resize(expected[..., None], (SIDE, SIDE), interpolation="bilinear")
    found = tz.grad_cam(trained, x, 1)
    assert np.allclose(found, np.asarray(keras.ops.convert_to_numpy(enlarged))[..., 0], atol=1e-4)


def test_classes_may_be_asked_for_one_by_one(trained):
    x, _, _ = patched(4, 3)
    both = [tz.grad_cam(trained, x, label) for label in (0, 1)]
    mixed = tz.grad_cam(trained, x, [0, 1, 1, 0], batch_size=3)
    assert np.allclose(mixed[[0, 3]], both[0][[0, 3]], atol=1e-5)
    assert np.allclose(mixed[[1, 2]], both[1][[1, 2]], atol=1e-5)


@pytest.mark.medium
def test_with_several_stages_the_last_map_is_asked():
    models = [
        tz.build("mobilenet_025", 3, weights=None, image_size=96, stages=stages, seed=0) for stages in (1, 3)
    ]
    kernel, bias = models[0].get_layer("head").get_weights()
    # a head that does not look at the earlier stages: the same function, and the same map
    before = models[1].get_layer("head").get_weights()[0].shape[0] - len(kernel)
    models[1].get_layer("head").set_weights([np.pad(kernel, ((before, 0), (0, 0))), bias])
    models[1].get_layer("backbone").set_weights(models[0].get_layer("backbone").get_weights())
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("uint8")
    one, three = (tz.grad_cam(model, x, 1) for model in models)
    assert np.ptp(one) > 0
    assert np.allclose(one, three, atol=1e-4)


@pytest.mark.medium
@pytest.mark.parametrize("name", each_backbone())
def test_every_backbone_has_a_map(name):
    record = tz.backbone_info(name)
    side = max(96, 2 * record.minimum_size - 32)
    model = tz.build(name, 3, weights=None, input_shape=(side, side, 3), image_size="input", seed=0)
    x = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype("uint8")
    maps = tz.grad_cam(model, x)
    assert maps.shape == (2, side, side)
    assert np.isfinite(maps).all()
    keras.backend.clear_session(free_memory=True)


def test_tokens_are_laid_out_as_the_grid_they_come_from(tiny):
    def tokens(input_shape):
        images = keras.Input(input_shape)
        x = keras.layers.Conv2D(6, 8, strides=8)(images)
        x = keras.layers.Reshape((-1, 6))(x)
        return keras.Model(images, keras.layers.ZeroPadding1D((1, 0))(x))

    tz.register_backbone("tokens", tokens)
    model = tz.build("tokens", 2, weights=None, seed=0)
    x = np.zeros((1, 32, 32, 3), "uint8")
    x[:, 8:16, 16:24] = 255
    heat = np.maximum(tz.grad_cam(model, x, 0), tz.grad_cam(model, x, 1))[0]
    cells = heat.reshape(4, 8, 4, 8).mean(axis=(1, 3))
    plain = np.median(cells)
    assert abs(cells[1, 2] - plain) == np.abs(cells - plain).max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: tz.grad_cam(model, x, 2), "classes must be a class from 0 to 1"),
        (lambda model, x: tz.grad_cam(model, x, [0]), "or one for each of the 3 images"),
        (lambda model, x: tz.grad_cam(model, x[:, :16]), r"images must be of shape \(n, 32, 32, 3\)"),
        (lambda model, x: tz.grad_cam(model, x / 255), "images"),
        (lambda model, x: tz.grad_cam("mobilenet", x), "model must be"),
        (lambda model, x: tz.grad_cam(keras.Sequential([keras.Input((3,))]), x), "from tz.build"),
    ],
)
def test_a_bad_call_is_refused(trained, call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(trained, patched(3, 0)[0])


def test_a_map_of_one_cell_is_refused_with_what_to_do():
    model = tz.build("mobilenet_025", 3, weights=None, image_size="input")
    with pytest.raises(InvalidInputError, match="larger image_size"):
        tz.grad_cam(model, np.zeros((1, 32, 32, 3), "uint8"))


def test_a_picture_shows_grey_where_nothing_speaks_for_a_class():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    maps = np.zeros((2, 8, 8))
    maps[:, :4] = 1
    drawn = blended(images, maps, 1.0)
    grey = np.round(images[:, 4:].mean(axis=-1, keepdims=True))
    assert np.array_equal(drawn[:, 4:], np.repeat(grey, 3, axis=-1))
    assert len(np.unique(drawn[:, :4].reshape(-1, 3), axis=0)) == 1
    axes = tz.plots.heat_maps(images, maps, ["one", "two"])
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["one", "two"]
    assert len(axes.images) == 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_find_the_same_map(trained, backend, tmp_path):
    pytest.importorskip(backend)
    x, _, _ = patched(4, 5)
    np.save(tmp_path / "maps.npy", tz.grad_cam(trained, x))
    np.save(tmp_path / "x.npy", x)
    trained.save(tmp_path / "model.keras")
    code = (
        "import keras, numpy as np, transferzoo as tz\n"
        "model = keras.models.load_model('model.keras')\n"
        "found = tz.grad_cam(model, np.load('x.npy'))\n"
        "assert np.allclose(found, np.load('maps.npy'), atol=1e-3)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    assert done.returncode == 0
