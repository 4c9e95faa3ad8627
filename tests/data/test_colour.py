"""Changes of colour, each against Pillow."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from transferzoo.data import colour


def images(count=5):
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 100, (count, 1, 1, 3)), rng.integers(120, 256, (count, 1, 1, 3))
    return (low + rng.random((count, 14, 11, 3)) * (high - low)).astype("uint8")


def by_pillow(change):
    return np.array([np.asarray(change(Image.fromarray(image))) for image in images()]).astype("float32")


def ours(name, strength):
    return colour.CHANGES[name](images().astype("float32"), np.full(5, strength))


@pytest.mark.parametrize("factor", [0.1, 0.7, 1.0, 1.9])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_an_enhancement_is_pillows(name, kind, factor):
    theirs = by_pillow(lambda image: kind(image).enhance(factor))
    # Pillow rounds the grey or blurred image to whole numbers first
    assert np.abs(ours(name, factor) - theirs).max() <= 1.6


def test_autocontrast_is_pillows():
    assert np.abs(ours("autocontrast", 0) - by_pillow(ImageOps.autocontrast)).max() < 1.01


def test_equalizing_is_pillows():
    assert np.array_equal(ours("equalize", 0), by_pillow(ImageOps.equalize))


@pytest.mark.parametrize("bits", [4, 7])
def test_posterizing_is_pillows(bits):
    assert np.array_equal(ours("posterize", bits), by_pillow(lambda image: ImageOps.posterize(image, bits)))


@pytest.mark.parametrize("threshold", [0, 100, 200])
def test_solarizing_is_pillows(threshold):
    theirs = by_pillow(lambda image: ImageOps.solarize(image, threshold))
    assert np.array_equal(ours("solarize", threshold), theirs)


@pytest.mark.parametrize("name", colour.CHANGES)
@pytest.mark.parametrize("value", [0, 77, 255])
def test_an_image_of_one_colour_stays_finite_and_in_range(name, value):
    flat = np.full((2, 6, 6, 3), value, "float32")
    strength = 7 if name == "posterize" else 1.5
    changed = colour.CHANGES[name](flat, np.full(2, strength))
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize("name", colour.CHANGES)
def test_the_images_given_are_left_as_they_were(name):
    given = images().astype("float32")
    colour.CHANGES[name](given, np.full(5, 3.0))
    assert np.array_equal(given, images())
