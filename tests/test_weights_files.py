"""Weights files are checked once, packed for other machines, and taken in under a backbone's name."""

import hashlib
import io
import json
import logging
import os
import shutil
import tarfile

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import make_tiny
from transferzoo import cli
from transferzoo.backbones import weight_files
from transferzoo.backbones.weight_formats import load_weights
from transferzoo.errors import OutputExistsError, WeightsError


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    return tmp_path / "home" / "models"


def publish(body, *, with_hash=True):
    """Register `tiny` with weights that were published nowhere."""
    weights = tz.Weights(
        name="imagenet",
        url="https://example.invalid/tiny.weights.h5",
        hash=f"sha256:{hashlib.sha256(body).hexdigest()}" if with_hash else None,
        trained_on="nothing",
        licence="none",
        source="a test",
    )
    tz.register_backbone("tiny", make_tiny, weights=[weights], minimum_size=8, default_size=32, replace=True)
    return tz.backbone_info("tiny")


def hashed(monkeypatch):
    """The files that are hashed from now on."""
    seen = []
    plain = weight_files.file_hash

    def note(path, algorithm="sha256"):
        seen.append(path.name)
        return plain(path, algorithm)

    monkeypatch.setattr(weight_files, "file_hash", note)
    return seen


def values(model):
    return np.concatenate([np.ravel(value) for value in model.get_layer("backbone").get_weights()])


# --- checked once


def test_a_file_is_hashed_once_and_again_when_it_was_written(tiny, tiny_weights, home, monkeypatch):
    publish(tiny_weights.read_bytes())
    shutil.copy(tiny_weights, home / "tiny.weights.h5")
    seen = hashed(monkeypatch)
    for _ in range(3):
        tz.build("tiny", 3)
    assert seen == ["tiny.weights.h5"]
    os.utime(home / "tiny.weights.h5", ns=(1, 1))
    tz.build("tiny", 3)
    assert seen == ["tiny.weights.h5"] * 2


def test_without_a_published_hash_a_later_change_is_refused(tiny, tiny_weights, home):
    publish(b"", with_hash=False)
    shutil.copy(tiny_weights, home / "tiny.weights.h5")
    tz.build("tiny", 3)
    keras.utils.set_random_seed(8)
    make_tiny().save_weights(home / "tiny.weights.h5")
    with pytest.raises(WeightsError, match=r"is not what it was: its sha256 is .* when it was first used"):
        tz.build("tiny", 3)
    (check,) = tz.weights.verify("tiny", activations=False)
    assert (check.ok, "is not what it was" in check.problem) == (False, True)


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tiny, tiny_weights, home, monkeypatch):
    publish(tiny_weights.read_bytes())
    shutil.copy(tiny_weights, home / "tiny.weights.h5")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weight_files, "written_beside", refuse)
    assert tz.build("tiny", 3).output_shape == (None, 3)
    assert tz.weights.status("tiny")[0].checked_by is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"files": 3}', '{"files": {"tiny.weights.h5": {"a": 1}}}', "{" * 9]
)
def test_a_damaged_record_is_as_none(tiny, tiny_weights, home, text):
    publish(tiny_weights.read_bytes())
    shutil.copy(tiny_weights, home / "tiny.weights.h5")
    (home / weight_files.LEDGER).write_text(text)
    tz.build("tiny", 3)
    assert tz.weights.status("tiny")[0].checked_by == "published hash"


# --- imported


def test_an_imported_file_is_found_by_the_name_of_published_weights(tiny, tiny_weights, home):
    publish(b"the published file")
    (entry,) = tz.weights.import_file(tiny_weights, "tiny")
    assert (entry.file, entry.imported, entry.checked_by) == (
        "tiny-imagenet-imported.weights.h5",
        True,
        "import",
    )
    assert np.array_equal(values(tz.build("tiny", 3)), values(tz.build("tiny", 3, weights=tiny_weights)))
    assert "tiny" in tz.list_backbones(weights="local")


def test_a_run_says_that_its_weights_were_imported(tiny, tiny_weights, home):
    from transferzoo.models.options import BuildOptions
    from transferzoo.models.plan import plan_build

    record = publish(b"the published file")
    before = plan_build(record, 3, BuildOptions(), input_shape=(32, 32, 3)).describe()
    tz.weights.import_file(tiny_weights, "tiny")
    after = plan_build(record, 3, BuildOptions(), input_shape=(32, 32, 3)).describe()
    assert before["weights_sha256"] is None
    assert after["weights_sha256"] == hashlib.sha256(tiny_weights.read_bytes()).hexdigest()


def test_a_file_that_is_the_published_one_is_taken_for_it(tiny, tiny_weights, home):
    publish(tiny_weights.read_bytes())
    (entry,) = tz.weights.import_file(tiny_weights, "tiny")
    assert (entry.file, entry.imported, entry.checked_by) == ("tiny.weights.h5", False, "published hash")


@pytest.mark.medium
def test_a_file_of_another_network_is_not_taken_in(tiny_weights, home):
    with pytest.raises(WeightsError, match="does not fit 'mobilenet_025'"):
        tz.weights.import_file(tiny_weights, "mobilenet_025")
    assert list(home.iterdir()) == []


@pytest.mark.medium
def test_a_backbone_without_published_weights_may_have_imported_ones(home, tmp_path):
    network = tz.build("resnet20", 3, weights=None, seed=1)
    network.get_layer("backbone").save_weights(tmp_path / "mine.weights.h5")
    tz.weights.import_file(tmp_path / "mine.weights.h5", "resnet20")
    assert np.array_equal(values(tz.build("resnet20", 3)), values(network))


# --- packed


def test_a_bundle_brings_weights_to_another_machine(tiny, tiny_weights, home, tmp_path, monkeypatch):
    publish(tiny_weights.read_bytes())
    shutil.copy(tiny_weights, home / "tiny.weights.h5")
    path = tz.weights.bundle("tiny", tmp_path / "packed.tar")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other"))
    (entry,) = tz.weights.import_file(path)
    assert (entry.here, entry.checked_by) == (True, "published hash")
    assert (tmp_path / "other/models/tiny.weights.h5").read_bytes() == tiny_weights.read_bytes()
    tz.weights.import_file(path)
    with pytest.raises(OutputExistsError, match="nothing in it was touched"):
        tz.weights.bundle("tiny", path)


def test_imported_weights_travel_too(tiny, tiny_weights, home, tmp_path, monkeypatch):
    publish(b"the published file")
    tz.weights.import_file(tiny_weights, "tiny")
    path = tz.weights.bundle("tiny", tmp_path / "packed.tar")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other"))
    (entry,) = tz.weights.import_file(path)
    assert (entry.imported, entry.here) == (True, True)


def packed(path, files, **changes):
    """A bundle of `tiny`, with changes to what it says of itself."""
    entry = {
        "backbone": "tiny",
        "weights": "imagenet",
        "file": "tiny.weights.h5",
        "sha256": hashlib.sha256(files.get("tiny.weights.h5", b"")).hexdigest(),
        "imported": False,
        **changes,
    }
    files = {"transferzoo-weights.json": json.dumps({"version": 1, "files": [entry]}).encode(), **files}
    with tarfile.open(path, "w") as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return path


@pytest.mark.parametrize(
    ("body", "changes", "message"),
    [
        (b"other", {}, "is not the published file"),
        (b"published", {"sha256": "0" * 64}, "has another sha256 than it says"),
        (b"published", {"file": "../tiny.weights.h5"}, "is no plain file name"),
        (b"published", {"file": ".hidden"}, "is no plain file name"),
        (b"published", {"file": "vgg.h5"}, "is no file of 'tiny'"),
        (b"published", {"backbone": 3}, "it holds no list of weights"),
        (b"published", {"file": "missing.h5", "imported": True}, "no name of an imported file of 'tiny'"),
        (b"published", {"file": "tiny-imagenet-imported.h5", "imported": True}, "cannot be used"),
        (b"a", {"imported": True}, "no name of an imported file of 'tiny'"),
    ],
)
def test_a_bundle_that_says_what_is_not_so_leaves_nothing(tiny, home, tmp_path, body, changes, message):
    publish(b"published")
    path = packed(tmp_path / "packed.tar", {"tiny.weights.h5": body}, **changes)
    with pytest.raises(WeightsError, match=message):
        tz.weights.import_file(path)
    assert list(home.iterdir()) == []


def test_a_damaged_bundle_is_named(home, tmp_path):
    (tmp_path / "packed.tar").write_bytes(b"no tar")
    with pytest.raises(WeightsError, match=r"packed\.tar' cannot be used"):
        tz.weights.import_file(tmp_path / "packed.tar")


# --- formats


def test_a_saved_model_gives_its_backbone(tiny, tmp_path, caplog):
    model = tz.build("tiny", 3, weights=None, seed=3)
    model.save(tmp_path / "model.keras")
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        other = tz.build("tiny", 5, weights=tmp_path / "model.keras", seed=4)
    assert np.array_equal(values(model), values(other))
    assert "holds more than the backbone, which is not used: 'head'" in caplog.text


@pytest.mark.medium
def test_a_saved_model_of_another_backbone_is_refused(tiny, tmp_path):
    tz.build("mobilenet_025", 3, weights=None).save(tmp_path / "model.keras")
    with pytest.raises(WeightsError, match="its backbone holds 218,544 parameters"):
        tz.build("tiny", 3, weights=tmp_path / "model.keras")


@pytest.mark.parametrize("separator", ["/", "."])
def test_safetensors_are_read_by_the_names_of_layers(tiny, tmp_path, caplog, separator):
    numpy = pytest.importorskip("safetensors.numpy")
    network = make_tiny()
    arrays = {each.path.replace("/", separator): np.asarray(each) for each in network.weights}
    arrays[f"logits{separator}kernel"] = np.zeros((4, 3), "float32")
    numpy.save_file(arrays, tmp_path / "mine.safetensors")
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        model = tz.build("tiny", 3, weights=tmp_path / "mine.safetensors")
    assert np.array_equal(values(model), np.concatenate([np.ravel(each) for each in network.get_weights()]))
    assert "not used: 'logits/kernel'" in caplog.text
    del arrays[f"conv2{separator}kernel"]
    numpy.save_file(arrays, tmp_path / "mine.safetensors")
    with pytest.raises(WeightsError, match=r"Missing: 'conv2/kernel'"):
        tz.build("tiny", 3, weights=tmp_path / "mine.safetensors")
    (tmp_path / "mine.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match="it is damaged"):
        tz.build("tiny", 3, weights=tmp_path / "mine.safetensors")


def legacy(path, network):
    """Write a network's weights as Keras 2 did."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0" for variable in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    return path


def with_classifier(network, classes=4):
    x = keras.layers.GlobalAveragePooling2D()(network.outputs[0])
    return keras.Model(network.inputs, keras.layers.Dense(classes, name="predictions")(x))


def test_a_classifier_in_a_file_is_left_out_and_named(tiny, tmp_path, caplog):
    network = make_tiny()
    path = legacy(tmp_path / "whole.h5", with_classifier(network))
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        model = tz.build("tiny", 3, weights=path)
    assert np.array_equal(values(model), np.concatenate([np.ravel(each) for each in network.get_weights()]))
    assert "not used: 'predictions'" in caplog.text


def test_a_layer_that_is_missing_in_a_file_is_named(tiny, tmp_path):
    network = make_tiny()
    cut = keras.Model(network.inputs, network.get_layer("conv2").output)
    with pytest.raises(WeightsError, match=r"Missing: 'bn2'"):
        tz.build("tiny", 3, weights=legacy(tmp_path / "cut.h5", cut))


@pytest.mark.slow
def test_an_older_file_of_efficientnet_moves_its_normalisation_too(tmp_path):
    """Keras' `set_weights` would leave it as it was."""
    record = tz.backbone_info("efficientnet_b0")
    source = record.resolve_builder()(input_shape=(32, 32, 3), **record.arguments)
    source.layers[2].load_own_variables({"0": np.full(3, 0.4), "1": np.full(3, 0.5), "2": np.int64(0)})
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    for network in (source, with_classifier(source)):
        target = record.resolve_builder()(input_shape=(32, 32, 3), **record.arguments)
        load_weights(target, legacy(tmp_path / f"{len(network.layers)}.h5", network), record)
        scaled = keras.Model(target.inputs[0], target.get_layer("second_division").output)
        expected = (x / 255 - 0.4) / np.sqrt(0.5) / np.sqrt([0.229, 0.224, 0.225])
        assert np.allclose(scaled(x), expected, atol=1e-5)


# --- what a network computes


def test_what_a_network_computes_is_recorded_and_compared(tiny, tiny_weights, home):
    publish(tiny_weights.read_bytes())
    shutil.copy(tiny_weights, home / "tiny.weights.h5")
    first, second = (tz.weights.verify("tiny")[0] for _ in range(2))
    assert (first.ok, first.difference) == (True, None)
    assert second.ok
    assert second.difference < 1e-6


def test_another_epsilon_in_batchnorm_is_noticed(tiny, tiny_weights, home):
    publish(tiny_weights.read_bytes())
    shutil.copy(tiny_weights, home / "tiny.weights.h5")
    tz.weights.verify("tiny")

    def other(input_shape):
        network = make_tiny(input_shape)
        network.get_layer("bn1").epsilon = 0.1
        return network

    record = tz.backbone_info("tiny")
    tz.register_backbone("tiny", other, weights=record.weights, minimum_size=8, default_size=32, replace=True)
    (check,) = tz.weights.verify("tiny")
    assert not check.ok
    assert "its features differ by" in check.problem


@pytest.mark.slow
def test_real_networks_compute_what_was_recorded_with_the_library(real_weights):
    checks = {each.backbone: each for each in tz.weights.verify()}
    assert {"mobilenet", "mobilenet_v2_035"} <= set(checks)
    for check in checks.values():
        assert check.ok, check.problem
        assert check.difference < 1e-4


@pytest.mark.slow
def test_a_wrong_epsilon_or_order_of_channels_moves_real_features_by_ten_times_what_is_allowed(real_weights):
    from transferzoo.models import activations
    from transferzoo.models.construct import backbone_of, connect

    model = tz.build("mobilenet", 2, input_shape=(96, 96, 3), image_size="input")
    image = activations.fixed_image(96)

    def found(pixels):
        features = keras.Model(model.inputs[0], connect(model, model.inputs[0])[0])
        cells = keras.ops.convert_to_numpy(features(pixels, training=False))[0]
        return activations.summary(cells.reshape(-1, cells.shape[-1]).mean(axis=0))

    right, swapped = found(image), found(image[..., ::-1])
    for layer in backbone_of(model).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # of Torch; the weights were trained with Keras' own, 1e-3
            layer.epsilon = 1e-5
    for wrong in (swapped, found(image)):
        assert activations._difference(right, wrong) > 10 * activations.TOLERANCE


@pytest.mark.slow
def test_vgg16_from_a_file_computes_what_was_recorded(shared_home, home):
    tz.weights.import_file(shared_home / "models" / "vgg16_imagenet_notop.h5", "vgg16")
    (check,) = tz.weights.verify("vgg16")
    assert (check.ok, check.checked_by) == (True, "import")
    assert check.difference < 1e-4


# --- the command line


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = cli.run(list(map(str, arguments)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.medium
def test_commands_list_pack_import_and_verify(run, tiny, tiny_weights, home, tmp_path, monkeypatch):
    publish(b"the published file")
    assert run("weights", "list", "tiny")[1].splitlines()[-1] == f"0 of 1 are in {home}"
    code, out, _ = run("weights", "import", tiny_weights, "--as", "tiny")
    assert (code, out) == (0, "tiny, weights 'imagenet': tiny-imagenet-imported.weights.h5\n")
    assert "imported" in run("weights", "list", "--here")[1]
    code, out, _ = run("weights", "bundle", "tiny", "--out", tmp_path / "packed.tar")
    assert code == 0
    assert out.endswith("There: transferzoo weights import packed.tar\n")
    code, out, _ = run("weights", "verify", "--json")
    assert (code, json.loads(out)[0]["ok"]) == (0, True)
    kept = home / "tiny-imagenet-imported.weights.h5"
    kept.write_bytes(kept.read_bytes() + b" ")
    code, out, _ = run("weights", "verify", "tiny", "--no-activations")
    assert (code, out.splitlines()[-1]) == (1, "0 of 1 weights files are in order")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other"))
    code, _, err = run("weights", "verify", "tiny")
    assert (code, "transferzoo weights fetch tiny gets them" in err) == (2, True)
    assert run("weights", "import", tmp_path / "packed.tar")[0] == 0
    assert run("weights", "fetch", "tiny")[1].endswith("tiny-imagenet-imported.weights.h5\n")
