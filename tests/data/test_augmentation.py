"""Random changes of images, against a plain loop and against scipy."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from transferzoo.data.augmentation import ARTICLE, AUGMENTATIONS, LIGHT, Augmentation
from transferzoo.errors import InvalidInputError

# how scipy calls what Keras does
SCIPY_MODES = {"nearest": "nearest", "constant": "grid-constant", "reflect": "reflect"}


def images(count=6, height=9, width=7, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, height, width, channels)).astype("float32")


def rng(seed=0):
    return np.random.default_rng(seed)


def read_at(image, x, y):
    """The image at a place between pixels, edges repeated: a plain loop for a witness."""
    height, width, _ = image.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    total = 0
    for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            pixel = image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            total = total + pixel * share_x * share_y
    return total


def by_plain_loops(batch, rows):
    changed = np.zeros(batch.shape)
    for image, row, out in zip(batch, rows.astype("float64"), changed, strict=True):
        for y in range(batch.shape[1]):
            for x in range(batch.shape[2]):
                place = row[0] * x + row[1] * y + row[2], row[3] * x + row[4] * y + row[5]
                out[y, x] = read_at(image, *place)
    return changed


def by_scipy(batch, rows, mode):
    changed = np.zeros(batch.shape)
    for image, row, out in zip(batch, rows.astype("float64"), changed, strict=True):
        matrix, offset = [[row[4], row[3]], [row[1], row[0]]], (row[5], row[2])
        for channel in range(batch.shape[-1]):
            out[..., channel] = ndimage.affine_transform(
                image[..., channel], matrix, offset, order=1, mode=mode
            )
    return changed


def test_nothing_asked_for_changes_nothing():
    assert np.array_equal(Augmentation()(images(), rng()), images())


def test_a_flip_mirrors_exactly_about_half_of_the_images():
    batch = images(count=200)
    changed = Augmentation(horizontal_flip=True)(batch, rng())
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(changed, batch, strict=True)]
    same = [np.array_equal(new, old) for new, old in zip(changed, batch, strict=True)]
    assert sum(mirrored) + sum(same) == 200
    assert 70 < sum(mirrored) < 130


def test_a_shift_is_a_crop_from_a_padded_image():
    batch = images()
    augmentation = Augmentation(shift=3, fill="constant")
    changed = augmentation(batch, rng())
    rows = augmentation.transforms(len(batch), 9, 7, rng())
    padded = np.pad(batch, ((0, 0), (3, 3), (3, 3), (0, 0)))
    for new, image, row in zip(changed, padded, rows, strict=True):
        top, left = 3 + int(row[5]), 3 + int(row[2])
        assert np.array_equal(new, image[top : top + 9, left : left + 7])


def test_shifts_reach_every_whole_pixel_and_none_beyond():
    rows = Augmentation(shift=3).transforms(2000, 32, 32, rng())
    for column in (2, 5):
        assert np.unique(rows[:, column]).tolist() == [-3, -2, -1, 0, 1, 2, 3]


def test_rotations_fill_their_range_and_no_more():
    rows = Augmentation(rotation=30).transforms(5000, 32, 32, rng())
    degrees = np.rad2deg(np.arctan2(rows[:, 3], rows[:, 0]))
    assert 29.5 < np.abs(degrees).max() <= 30.001
    assert abs(degrees.mean()) < 1


def test_zooms_fill_their_range_and_no_more():
    rows = Augmentation(zoom=0.2).transforms(5000, 32, 32, rng())
    for column in (0, 4):
        assert 0.8 <= rows[:, column].min() < 0.805
        assert 1.195 < rows[:, column].max() <= 1.2001


def test_height_and_width_are_zoomed_apart():
    rows = Augmentation(zoom=0.2).transforms(100, 32, 32, rng())
    assert abs(np.corrcoef(rows[:, 0], rows[:, 4])[0, 1]) < 0.3


@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 7), (8, 20)])
def test_the_centre_of_an_image_stays_where_it_is(height, width):
    rows = Augmentation(rotation=180, zoom=0.5, horizontal_flip=True).transforms(50, height, width, rng())
    x, y = (width - 1) / 2, (height - 1) / 2
    places = rows[:, :3] @ (x, y, 1), rows[:, 3:6] @ (x, y, 1)
    assert np.allclose(places, [[x] * 50, [y] * 50], atol=1e-4)


def test_images_change_as_a_plain_loop_changes_them():
    augmentation = Augmentation(rotation=25, zoom=0.3, shift=2, horizontal_flip=True)
    rows = augmentation.transforms(6, 9, 7, rng())
    assert np.allclose(augmentation(images(), rng()), by_plain_loops(images(), rows), atol=0.01)


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect"])
def test_the_outside_of_an_image_is_filled_as_scipy_fills_it(fill):
    augmentation = Augmentation(rotation=25, zoom=0.3, shift=2, horizontal_flip=True, fill=fill)
    rows = augmentation.transforms(6, 9, 7, rng())
    expected = by_scipy(images(), rows, SCIPY_MODES[fill])
    assert np.allclose(augmentation(images(), rng()), expected, atol=0.01)


@pytest.mark.parametrize("augmentation", [ARTICLE, LIGHT])
def test_changed_pixels_stay_from_0_to_255(augmentation):
    changed = augmentation(images(), rng())
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 255.001


def test_whole_number_images_are_changed_like_floats():
    batch = images().round()
    assert np.array_equal(LIGHT(batch.astype("uint8"), rng()), LIGHT(batch, rng()))


def test_images_given_are_left_as_they_were():
    batch = images()
    LIGHT(batch, rng())
    assert np.array_equal(batch, images())


def test_the_same_seed_changes_images_alike():
    assert np.array_equal(ARTICLE(images(), rng(3)), ARTICLE(images(), rng(3)))


def test_another_seed_changes_images_otherwise():
    assert not np.array_equal(ARTICLE(images(), rng(3)), ARTICLE(images(), rng(4)))


def test_images_of_one_batch_are_changed_each_in_its_own_way():
    rows = ARTICLE.transforms(20, 32, 32, rng())
    assert len(np.unique(rows, axis=0)) == 20


def test_images_that_must_not_be_mirrored_are_not():
    assert ARTICLE.for_mirror_safe(False) == dataclasses.replace(ARTICLE, horizontal_flip=False)


def test_images_that_may_be_mirrored_are_changed_as_asked():
    assert ARTICLE.for_mirror_safe(True) is ARTICLE


def test_the_named_augmentations_are_few():
    assert list(AUGMENTATIONS) == ["none", "article", "light"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rotation": 181}, "rotation must be degrees from 0 to 180"),
        ({"rotation": float("nan")}, "rotation must be degrees from 0 to 180"),
        ({"rotation": "2"}, r"rotation must be a number\. Got '2'"),
        ({"zoom": 1}, "zoom must be a number from 0 to below 1"),
        ({"zoom": None}, "zoom must be a number"),
        ({"shift": -1}, "shift must be a whole number of pixels"),
        ({"shift": 1.5}, "shift must be a whole number of pixels"),
        ({"fill": "nearst"}, r"'nearest', 'constant' or .*Did you mean 'nearest'\?"),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        Augmentation(**fields)
