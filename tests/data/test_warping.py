import numpy as np
import pytest

from transferzoo.data import warping
from transferzoo.data.augmentation import ARTICLE, LIGHT


def images(count=30):
    return np.random.default_rng(0).integers(0, 256, (count, 20, 24, 3)).astype("uint8")


@pytest.mark.parametrize("augmentation", [ARTICLE, LIGHT])
@pytest.mark.parametrize("pixels", [1, 1000, 10**9])
def test_the_size_of_a_block_changes_nothing(monkeypatch, augmentation, pixels):
    expected = augmentation(images(), np.random.default_rng(1))
    monkeypatch.setattr(warping, "BLOCK_PIXELS", pixels)
    assert np.array_equal(augmentation(images(), np.random.default_rng(1)), expected)


def test_a_map_that_leads_far_outside_finds_black():
    rows = np.array([[1, 0, 1000, 0, 1, -1000]], "float32")
    assert not warping.warp(images(1), rows, "constant").any()


def test_a_map_that_leads_nowhere_else_gives_the_images_back():
    rows = np.tile(np.array([1, 0, 0, 0, 1, 0], "float32"), (30, 1))
    for fill in warping.FILLS:
        assert np.array_equal(warping.warp(images(), rows, fill), images())
