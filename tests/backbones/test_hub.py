"""KerasHub's presets as backbones: small ones of random weights, as none can be fetched here."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError
from transferzoo.models.construct import backbone_of, connect

pytestmark = [
    pytest.mark.slow,
    # raised while KerasHub and tensorflow-text are imported
    pytest.mark.filterwarnings("ignore"),
]
SIDE = 32


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub")


def kept(folder, network, hub, scale, offset):
    """Save a preset with an image converter, and return its name as a backbone."""
    network.save_to_preset(str(folder))
    converter = hub.layers.ImageConverter(image_size=(SIDE, SIDE), scale=scale, offset=offset)
    converter.save_to_preset(str(folder))
    return f"hub:{folder}"


@pytest.fixture(scope="module")
def resnet(hub, tmp_path_factory):
    """A residual network: maps, any image size."""
    keras.utils.set_random_seed(0)
    network = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    folder = tmp_path_factory.mktemp("presets") / "resnet"
    scale = [1 / 255 / each for each in (0.229, 0.224, 0.225)]
    offset = [-mean / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    return kept(folder, network, hub, scale, offset), network


@pytest.fixture(scope="module")
def vit(hub, tmp_path_factory):
    """A vision transformer: tokens, one image size."""
    keras.utils.set_random_seed(1)
    network = hub.models.ViTBackbone(
        image_shape=(SIDE, SIDE, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    folder = tmp_path_factory.mktemp("presets") / "vit"
    return kept(folder, network, hub, 1 / 127.5, -1.0), network


@pytest.fixture(scope="module")
def dino(hub, tmp_path_factory):
    """DINOv2's network: tokens."""
    keras.utils.set_random_seed(2)
    network = hub.models.DINOV2Backbone(
        patch_size=8,
        num_layers=2,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        num_register_tokens=0,
        image_shape=(SIDE, SIDE, 3),
    )
    return kept(tmp_path_factory.mktemp("presets") / "dino", network, hub, 1 / 255, None), network


@pytest.fixture(params=["resnet", "vit", "dino"])
def preset(request):
    return request.getfixturevalue(request.param)


def pixels(side=SIDE):
    return np.random.default_rng(0).integers(0, 256, (3, side, side, 3)).astype("float32")


def test_features_of_pixels_are_those_of_kerashub_s_own_pipeline(preset, hub):
    name, network = preset
    model = tz.build(name, 3, input_shape=(SIDE, SIDE, 3), image_size="input")
    ours = keras.Model(model.inputs[0], connect(model, model.inputs[0])[0])
    converter = hub.layers.ImageConverter.from_preset(name.removeprefix("hub:"))
    expected = np.asarray(network(converter(pixels()), training=False))
    found = np.asarray(ours(pixels(), training=False))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_network_of_one_size_gets_images_of_that_size(vit):
    name, _ = vit
    assert backbone_of(tz.build(name, 3, input_shape=(50, 40, 3))).input_shape == (None, SIDE, SIDE, 3)
    with pytest.raises(InvalidInputError, match="image_size must be 32 for 'hub:"):
        tz.build(name, 3, image_size=64)


def test_a_network_of_any_size_keeps_images(resnet):
    name, _ = resnet
    assert backbone_of(tz.build(name, 3, image_size=48)).input_shape == (None, 48, 48, 3)


@pytest.mark.parametrize("kind", ["avg", "max", "avg_max", "gem", "attention", "first"])
def test_tokens_are_pooled(vit, kind):
    name, network = vit
    head = tz.Head(tz.heads.Pool(kind), tz.heads.Classifier())
    model = tz.build(name, 3, head=head)
    assert model(pixels()).shape == (3, 3)
    if kind in ("avg", "first"):
        tokens = np.asarray(network(pixels() / 127.5 - 1, training=False))
        expected = tokens.mean(axis=1) if kind == "avg" else tokens[:, 0]
        kernel, bias = model.get_layer("head").get_layer("logits").get_weights()
        logits = tz.build(name, 3, head=head, classifier_activation=None)
        logits.set_weights(model.get_weights())
        assert np.allclose(logits(pixels()), expected @ kernel + bias, atol=1e-4)


@pytest.mark.parametrize("recipe", ["linear_probe", "head", "fine_tune"])
def test_a_preset_is_trained_as_any_backbone(preset, tiny_digits, recipe, tmp_path):
    name, _ = preset
    options = {} if recipe == "linear_probe" else {"epochs": 1}
    call = {"recipe": recipe, "out": tmp_path / "run", "verbose": False, **options}
    result = tz.fit_and_evaluate(name, tiny_digits, **call)
    assert np.isfinite(result.y_prob).all()
    assert result.settings["model"]["weights"] == "preset"
    assert np.array_equal(tz.fit_and_evaluate(name, tiny_digits, **call).y_prob, result.y_prob)


def test_batchnorm_within_blocks_is_found_and_frozen(resnet, tiny_digits):
    from transferzoo.models.architecture import layers_within

    name, _ = resnet
    model = tz.build(name, 10, trainable="none")
    norms = [each for each in layers_within(backbone_of(model)) if "BatchNorm" in type(each).__name__]
    before = [np.asarray(norm.moving_mean) for norm in norms]
    tz.fit_and_evaluate(model, tiny_digits, recipe="head", epochs=1, cache=False, verbose=False)
    assert len(norms) > 3
    assert all(np.array_equal(a, norm.moving_mean) for a, norm in zip(before, norms, strict=True))


def test_a_network_of_built_in_layers_loads_without_kerashub(resnet, tmp_path):
    name, _ = resnet
    model = tz.build(name, 3)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "expected.npy", model(pixels(), training=False))
    code = (
        "import sys, keras, numpy as np\n"
        "sys.modules['keras_hub'] = None\n"
        "x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype('float32')\n"
        "found = np.asarray(keras.models.load_model('model.keras')(x, training=False))\n"
        "assert np.allclose(found, np.load('expected.npy'), atol=1e-6)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0


def test_two_presets_are_compared(resnet, vit, tiny_digits, tmp_path):
    study = tz.compare(
        {"resnet": resnet[0], "vit": vit[0]}, tiny_digits, recipe="linear_probe", out=tmp_path, verbose=False
    )
    assert study.names == ("resnet", "vit")
    assert tz.Study.load(tmp_path).names == ("resnet", "vit")


def test_a_preset_whose_files_change_is_another_run(resnet):
    from transferzoo.backbones.hub import hub_backbone

    name, _ = resnet
    before = hub_backbone(name).arguments["content"]
    file = Path(name.removeprefix("hub:")) / "metadata.json"
    file.write_text(file.read_text("utf-8") + " ", "utf-8")
    assert hub_backbone(name).arguments["content"] != before


def test_a_preset_that_does_not_exist_is_named(hub, tmp_path):
    with pytest.raises(InvalidInputError, match=r"KerasHub has no image backbone for '/no/such/preset'"):
        tz.build("hub:/no/such/preset", 3)


def test_without_kerashub_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'transferzoo\[hub\]'"):
        tz.backbone_info("hub:resnet_50_imagenet")


def test_the_command_line_takes_presets(resnet, tmp_path, monkeypatch, capsys):
    from transferzoo import cli

    monkeypatch.chdir(tmp_path)
    assert cli.run(["info", resnet[0]]) == 0
    assert "weights 'preset'" in capsys.readouterr().out
    call = ["fit", resnet[0], "--dataset", "digits", "--train", "100", "--recipe", "linear_probe", "--quiet"]
    assert cli.run([*call, "--out", "run"]) == 0
    assert tz.Result.load(tmp_path / "run").settings["model"]["weights"] == "preset"
