"""Weights that are part of the library: the files, their names, and what they are worth."""

import h5py
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.backbones.shipped import SHIPPED
from transferzoo.backbones.weight_files import SHIPPED_FOLDER, file_at_hand
from transferzoo.errors import WeightsError
from transferzoo.ground.storage.files import file_hash
from transferzoo.models.construct import backbone_of
from transferzoo.planning import plan_run

NAMES = sorted(SHIPPED)


def options_of(name):
    return {"weights": "cifar10", "stem": SHIPPED[name].stem}


@pytest.fixture
def nothing_else_here(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


def test_the_files_are_those_of_the_records_and_small():
    files = sorted(SHIPPED_FOLDER.iterdir())
    assert [path.name for path in files] == sorted(record.file for record in SHIPPED.values())
    for record in SHIPPED.values():
        assert f"sha256:{file_hash(SHIPPED_FOLDER / record.file)}" == record.hash
    assert sum(path.stat().st_size for path in files) < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_they_hold_numbers_in_half_precision_and_nothing_else(name):
    kinds = set()

    def visit(_, node):
        if isinstance(node, h5py.Dataset):
            kinds.add(str(node.dtype))
            assert np.isfinite(node[()]).all()

    with h5py.File(SHIPPED_FOLDER / SHIPPED[name].file) as stream:
        stream.visititems(visit)
    assert kinds == {"float16"}


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMES)
def test_they_are_here_without_a_network_and_load_into_their_network(name, nothing_else_here):
    model = tz.build(name, 10, input_shape=(32, 32, 3), **options_of(name))
    network = backbone_of(model)
    with h5py.File(file_at_hand(tz.backbone_info(name), "cifar10")) as stream:
        stored = []
        stream.visititems(lambda _, node: stored.append(node[()]) if isinstance(node, h5py.Dataset) else None)
    # each array of the file is in the network, in single precision
    sums = sorted(float(array.astype("float64").sum()) for array in stored if array.ndim)
    assert sums == pytest.approx(
        sorted(float(np.asarray(w, "float64").sum()) for w in network.get_weights()), rel=1e-6, abs=1e-6
    )
    assert all(weight.dtype == "float32" for weight in network.weights)
    # images of their own size are not enlarged
    assert not [layer for layer in model.layers if layer.name == "resize"]


@pytest.mark.medium
def test_they_are_listed_and_verified(nothing_else_here):
    here = {each.backbone: each for each in tz.weights.status() if each.here}
    assert sorted(here) == NAMES
    assert {each.checked_by for each in here.values()} == {"shipped"}
    checks = tz.weights.verify(NAMES)
    assert [(each.backbone, each.ok, each.checked_by) for each in checks] == [
        (name, True, "shipped") for name in sorted(NAMES)
    ]
    assert all(each.difference is not None and each.difference < 1e-3 for each in checks)
    assert tz.list_backbones(weights="local") == NAMES


def test_a_backbone_without_imagenet_weights_says_which_it_has(caplog, tiny_digits):
    plan = plan_run("resnet20", tiny_digits, recipe="linear_probe", seed=0, out=None, options={})
    assert plan.settings["model"]["weights"] is None
    assert "resnet20 has no ImageNet weights (weights='cifar10' are there)" in caplog.text


def test_another_stem_than_they_were_trained_with_is_warned_of(caplog, tiny_digits):
    given = {"weights": "cifar10"}
    plan_run("mobilenet_025", tiny_digits, recipe="linear_probe", seed=0, out=None, options=given)
    assert "were trained with stem='stride1'" in caplog.text


def test_a_changed_or_missing_file_is_refused(monkeypatch, tmp_path):
    from transferzoo.backbones import weight_files, weights

    for module in (weight_files, weights):
        monkeypatch.setattr(module, "SHIPPED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="missing from this installation"):
        tz.build("resnet20", 10, input_shape=(32, 32, 3), weights="cifar10")
    source = SHIPPED_FOLDER / SHIPPED["resnet20"].file
    (tmp_path / source.name).write_bytes(source.read_bytes() + b"0")
    with pytest.raises(WeightsError, match="not the published one"):
        tz.build("resnet20", 10, input_shape=(32, 32, 3), weights="cifar10")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("resnet20", 0.85), ("mobilenet_025", 0.78)])
def test_their_features_classify_real_test_images(name, least, shared_home, monkeypatch):
    # the classifier is not part of the file: a new one is solved on 10,000 images that the network was shown
    monkeypatch.setenv("KERAS_HOME", str(shared_home))
    data = tz.load_dataset("cifar10").subset(train=10_000, validation=2000, test=2000)
    result = tz.fit_and_evaluate(
        name, data, recipe="linear_probe", verbose=False, lint=False, **options_of(name)
    )
    assert result.accuracy > least
