"""Weights are found, fetched and loaded, and a wrong file is refused before it does harm."""

import dataclasses
import hashlib
import logging
import re

import keras
import numpy as np
import pytest

import transferzoo as tz
from conftest import make_tiny
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.weights import locate_weights
from transferzoo.errors import DownloadError, InvalidInputError, WeightsError

PARTS_OF_THE_MESSAGE = [
    "the imagenet weights of tiny",
    "File: tiny.weights.h5",
    "From: {url}/tiny.weights.h5",
    "Hash: md5 {md5}",
    "put it in {folder}",
]


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def publish(url, body, *, with_hash=True):
    """Register `tiny` with published weights at an address."""
    weights = tz.Weights(
        name="imagenet",
        url=f"{url}/tiny.weights.h5",
        hash=f"md5:{hashlib.md5(body).hexdigest()}" if with_hash else None,
        trained_on="nothing",
        licence="none",
        source="a test",
    )
    tz.register_backbone("tiny", make_tiny, weights=[weights], minimum_size=8, default_size=32, replace=True)


def values(model):
    return np.concatenate([np.ravel(value) for value in model.get_layer("backbone").get_weights()])


def test_a_weights_file_gives_the_network_its_weights(tiny, tiny_weights):
    witness = make_tiny()
    witness.load_weights(tiny_weights)
    expected = np.concatenate([np.ravel(value) for value in witness.get_weights()])
    assert np.array_equal(values(tz.build(tiny, 3, weights=tiny_weights)), expected)


def test_a_weights_file_may_be_given_as_text(tiny, tiny_weights):
    assert np.array_equal(
        values(tz.build(tiny, 3, weights=str(tiny_weights))), values(tz.build(tiny, 3, weights=tiny_weights))
    )


def test_a_missing_file_is_named(tiny, tmp_path):
    with pytest.raises(WeightsError, match=re.escape(f"'{tmp_path / 'no.h5'}' is no file.")):
        tz.build(tiny, 3, weights=tmp_path / "no.h5")


def test_a_folder_is_no_weights_file(tiny, tmp_path):
    with pytest.raises(WeightsError, match="is no file"):
        tz.build(tiny, 3, weights=tmp_path)


def test_a_truncated_file_is_called_damaged(tiny, tiny_weights):
    body = tiny_weights.read_bytes()
    tiny_weights.write_bytes(body[: len(body) // 2])
    with pytest.raises(WeightsError, match=r"is damaged or no HDF5 file \([0-9,]+ bytes\)\. Delete it"):
        tz.build(tiny, 3, weights=tiny_weights)


def test_text_under_a_weights_files_name_is_called_damaged(tiny, tmp_path):
    (tmp_path / "a.h5").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="damaged or no HDF5 file"):
        tz.build(tiny, 3, weights=tmp_path / "a.h5")


def test_weights_of_another_architecture_do_not_fit(tiny_weights):
    with pytest.raises(WeightsError, match=r"'tiny\.weights\.h5' does not fit 'alexnet'.*3,747,200 param"):
        tz.build("alexnet", 3, weights=tiny_weights)


def test_weights_of_another_width_do_not_fit(tiny, tmp_path):
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(9, 3, use_bias=False, name="conv1")(images)
    keras.Model(images, x).save_weights(tmp_path / "wide.weights.h5")
    with pytest.raises(WeightsError, match="does not fit 'tiny'"):
        tz.build(tiny, 3, weights=tmp_path / "wide.weights.h5")


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".pt", ""])
def test_another_format_is_refused_with_how_to_save_weights(tiny, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"anything")
    with pytest.raises(WeightsError, match=r"must end in \.weights\.h5, \.h5.*model\.save_weights"):
        tz.build(tiny, 3, weights=path)


@pytest.mark.parametrize("weights", [3, True, ["imagenet"], np.zeros(3)])
def test_something_that_is_no_name_and_no_path_is_refused(tiny, weights):
    with pytest.raises(InvalidInputError, match="weights must be 'imagenet', None or a file path"):
        tz.build(tiny, 3, weights=weights)


def test_a_mistyped_name_gets_the_nearest():
    with pytest.raises(WeightsError, match=r"must be 'imagenet', None or .*Did you mean 'imagenet'\?"):
        tz.build("mobilenet", 3, weights="imagnet")


def test_alexnet_is_built_from_random_weights_and_says_so(caplog):
    with caplog.at_level(logging.WARNING, logger="transferzoo"):
        tz.build("alexnet", 3)
    assert caplog.messages == ["alexnet has no published weights: it is trained from scratch"]


@pytest.mark.parametrize("part", PARTS_OF_THE_MESSAGE)
def test_without_a_network_the_message_says_how_to_place_the_file_by_hand(home, closed_url, part):
    publish(closed_url, b"body")
    with pytest.raises(DownloadError) as caught:
        tz.build("tiny", 3)
    part = part.format(url=closed_url, md5=hashlib.md5(b"body").hexdigest(), folder=home / "models")
    assert part in str(caught.value)


def test_published_weights_are_fetched_and_loaded(home, file_server, tiny_weights):
    file_server.files["/tiny.weights.h5"] = body = tiny_weights.read_bytes()
    publish(file_server.url, body)
    assert np.array_equal(values(tz.build("tiny", 3)), values(tz.build("tiny", 3, weights=tiny_weights)))


def test_published_weights_are_fetched_once(home, file_server, tiny_weights):
    file_server.files["/tiny.weights.h5"] = body = tiny_weights.read_bytes()
    publish(file_server.url, body)
    for _ in range(2):
        tz.build("tiny", 3)
    assert file_server.asked == ["/tiny.weights.h5"]


def test_published_weights_placed_by_hand_are_used(home, closed_url, tiny_weights):
    publish(closed_url, tiny_weights.read_bytes())
    (home / "models").mkdir(parents=True)
    tiny_weights.rename(home / "models" / "tiny.weights.h5")
    assert tz.build("tiny", 3).output_shape == (None, 3)


def test_a_download_of_other_content_is_refused_and_not_kept(home, file_server, tiny_weights):
    file_server.files["/tiny.weights.h5"] = tiny_weights.read_bytes()
    publish(file_server.url, b"the published file")
    with pytest.raises(DownloadError, match=r"(?i)hash"):
        tz.build("tiny", 3)
    assert list((home / "models").iterdir()) == []


def test_a_placed_file_of_other_content_is_refused_with_both_hashes(home, closed_url, tiny_weights):
    publish(closed_url, b"the published file")
    (home / "models").mkdir(parents=True)
    placed = home / "models" / "tiny.weights.h5"
    placed.write_bytes(tiny_weights.read_bytes())
    actual, expected = (hashlib.md5(b).hexdigest() for b in (placed.read_bytes(), b"the published file"))
    with pytest.raises(WeightsError, match=f"its md5 is {actual}, and {expected} is expected"):
        tz.build("tiny", 3)


def test_a_download_cut_short_is_refused_though_no_hash_is_published(home, file_server, tiny_weights):
    file_server.files["/tiny.weights.h5"] = tiny_weights.read_bytes()
    file_server.withheld = 500
    publish(file_server.url, b"", with_hash=False)
    with pytest.raises(DownloadError):
        tz.build("tiny", 3)
    assert list((home / "models").iterdir()) == []


def test_a_page_in_place_of_weights_is_refused_though_no_hash_is_published(home, file_server):
    file_server.files["/tiny.weights.h5"] = b"<html>log in first</html>"
    publish(file_server.url, b"", with_hash=False)
    with pytest.raises(DownloadError, match="A web page"):
        tz.build("tiny", 3)
    assert list((home / "models").iterdir()) == []


def test_random_weights_need_no_file(tiny):
    assert locate_weights(BACKBONES.get(tiny), None) is None


def test_the_sha256_of_loaded_weights_is_kept_beside_the_model(tiny, tiny_weights):
    from transferzoo.models.construct import model_settings

    model = tz.build(tiny, 3, weights=tiny_weights)
    assert model_settings(model).weights_sha256 == hashlib.sha256(tiny_weights.read_bytes()).hexdigest()


def test_a_weights_record_cannot_be_changed():
    (weights,) = tz.backbone_info("vgg16").weights
    with pytest.raises(dataclasses.FrozenInstanceError):
        weights.hash = None
