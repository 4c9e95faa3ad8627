"""Random changes of images, against a plain loop and against scipy."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, stats

from transferzoo.data.augmentation import (
    ARTICLE,
    AUGMENTATIONS,
    LIGHT,
    MIRROR,
    OPERATIONS,
    STRONG,
    Augmentation,
)
from transferzoo.data.warping import warp
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


@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 96)])
def test_a_shift_below_1_is_a_share_of_the_side(height, width):
    rows = Augmentation(shift=0.125).transforms(4000, height, width, rng())
    for column, side in ((2, width), (5, height)):
        reach = side // 8
        assert np.unique(rows[:, column]).tolist() == list(range(-reach, reach + 1))


def test_light_is_at_32_pixels_what_it_was_in_pixels():
    batch = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype("uint8")
    in_pixels = Augmentation(horizontal_flip=True, shift=4, fill="reflect")
    assert np.array_equal(AUGMENTATIONS["light"](batch, rng()), in_pixels(batch, rng()))


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


@pytest.mark.parametrize("augmentation", [ARTICLE, LIGHT, STRONG])
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
    for augmentation in (ARTICLE, STRONG):
        expected = dataclasses.replace(augmentation, horizontal_flip=False)
        assert augmentation.for_flip_safe(False) == expected


def test_images_that_may_be_mirrored_are_changed_as_asked():
    assert ARTICLE.for_flip_safe(True) is ARTICLE


def test_the_named_augmentations_are_few():
    assert list(AUGMENTATIONS) == ["none", "article", "light", "strong"]


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect"])
def test_whole_pixel_shifts_are_what_the_affine_maps_give(fill):
    augmentation = Augmentation(shift=3, horizontal_flip=True, fill=fill)
    rows = augmentation.transforms(6, 9, 7, rng())
    assert np.array_equal(augmentation(images(), rng()), warp(images(), rows, fill))


@pytest.mark.parametrize(
    "augmentation", [ARTICLE, LIGHT, STRONG, dataclasses.replace(ARTICLE, fill="reflect")]
)
def test_an_image_changes_alike_whatever_images_are_beside_it(augmentation):
    batch, draws = images(count=60, height=32, width=32), augmentation.draw(60, rng())
    together = augmentation.apply(batch, draws)
    alone = [augmentation.apply(batch[[one]], draws[[one]])[0] for one in range(60)]
    assert np.array_equal(together, alone)


def test_draws_for_more_samples_begin_with_those_for_fewer():
    assert np.array_equal(STRONG.draw(50, rng())[:20], STRONG.draw(20, rng()))


def test_erasing_as_well_leaves_the_other_changes_as_they_were():
    plain, erased = LIGHT(images(50), rng()), dataclasses.replace(LIGHT, erase=0.5)(images(50), rng())
    same = (plain == erased).mean(axis=(1, 2, 3))
    assert 10 < np.count_nonzero(same == 1) < 40
    assert same.min() > 0.5


def test_an_erased_rectangle_holds_the_mean_colour():
    batch = images(40, 32, 32)
    changed = Augmentation(erase=1.0)(batch, rng())
    for new, old in zip(changed, batch, strict=True):
        lines, columns = np.where((new != old).any(axis=-1))
        rectangle = new[lines.min() : lines.max() + 1, columns.min() : columns.max() + 1]
        assert np.allclose(rectangle, old.mean(axis=(0, 1)), atol=1e-3)
        assert 0.015 < rectangle.shape[0] * rectangle.shape[1] / 32**2 < 0.36


def test_every_operation_is_drawn_about_as_often():
    augmentation = Augmentation(rand_augment=2)
    drawn = augmentation.draw(7000, rng())[:, -4::2]
    counts = np.bincount((drawn.ravel() * len(OPERATIONS)).astype(int), minlength=14)
    assert len(counts) == 14
    assert counts.min() > 850
    assert counts.max() < 1150


def one_operation(name, sign=1):
    """Draws for a single image that ask for one operation."""
    augmentation = Augmentation(rand_augment=1, magnitude=15, fill="constant")
    draws = augmentation.draw(1, rng())
    draws[:, -2] = (OPERATIONS.index(name) + 0.5) / len(OPERATIONS)
    draws[:, -1] = 0.25 if sign < 0 else 0.75
    return augmentation, draws


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("rotate", [np.cos(np.pi / 12), -np.sin(np.pi / 12), np.sin(np.pi / 12), np.cos(np.pi / 12)]),
        ("shear_x", [1, 0.15, 0, 1]),
        ("shear_y", [1, 0, 0.15, 1]),
        ("translate_x", [1, 0, 0, 1]),
    ],
)
def test_operations_that_move_pixels_are_maps_of_the_magnitude_asked_for(name, matrix):
    augmentation, draws = one_operation(name)
    (row,) = augmentation._maps(draws, 33, 33)
    assert np.allclose(row[[0, 1, 3, 4]], matrix, atol=1e-6)
    expected = 16 + (33 * 75 / 331 if name == "translate_x" else 0)
    assert np.allclose([row[:3] @ (16, 16, 1), row[3:] @ (16, 16, 1)], [expected, 16], atol=1e-4)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_change_of_brightness_has_the_magnitude_asked_for(sign):
    augmentation, draws = one_operation("brightness", sign)
    batch = images(1) * 0.5
    assert np.allclose(augmentation.apply(batch, draws), batch * (1 + sign * 0.45), atol=0.01)


def test_a_flip_comes_before_rand_augment_as_it_would_alone():
    augmentation, draws = one_operation("shear_x")
    flipping = dataclasses.replace(augmentation, horizontal_flip=True)
    draws[:, MIRROR] = 0.1
    batch = images(1, 9, 9)
    expected = augmentation.apply(np.ascontiguousarray(batch[:, :, ::-1]), draws)
    assert np.allclose(flipping.apply(batch, draws), expected, atol=0.01)


def test_images_of_one_channel_are_changed_too():
    assert STRONG(images(channels=1, count=30, height=16, width=16), rng()).shape == (30, 16, 16, 1)


def drawn_by_keras(count=4000):
    """What Keras' ImageDataGenerator draws for the article."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    np.random.seed(0)  # noqa: NPY002
    generator = ImageDataGenerator(rotation_range=2, horizontal_flip=True, zoom_range=0.1)
    return [generator.get_random_transform((32, 32, 3)) for _ in range(count)]


def test_the_articles_transforms_are_distributed_as_keras_draws_them():
    theirs = drawn_by_keras()
    rows = ARTICLE.transforms(4000, 32, 32, rng()).astype("float64")
    mirrored = rows[:, 0] < 0
    ours = {
        "theta": np.rad2deg(np.arctan2(-rows[:, 1], rows[:, 4])),
        "zx": np.hypot(rows[:, 0], rows[:, 3]),
        "zy": np.hypot(rows[:, 1], rows[:, 4]),
    }
    for key, values in ours.items():
        assert stats.ks_2samp(values, [one[key] for one in theirs]).pvalue > 0.01, key
    assert abs(mirrored.mean() - np.mean([one["flip_horizontal"] for one in theirs])) < 0.03
    assert abs(np.corrcoef(ours["zx"], ours["zy"])[0, 1]) < 0.05


def test_the_articles_images_are_those_that_keras_makes_of_the_same_draws():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    batch = images(20, 32, 32)
    rows = ARTICLE.transforms(20, 32, 32, rng()).astype("float64")
    expected = []
    for image, row in zip(batch, rows, strict=True):
        drawn = {
            "theta": np.rad2deg(np.arctan2(-row[1], row[4])),
            "zx": np.hypot(row[0], row[3]),
            "zy": np.hypot(row[1], row[4]),
            "flip_horizontal": row[0] < 0,
        }
        expected.append(ImageDataGenerator().apply_transform(image, drawn))
    assert np.allclose(ARTICLE(batch, rng()), expected, atol=0.05)


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
        ({"shift": float("nan")}, "shift must be a whole number of pixels"),
        ({"rand_augment": 1.5}, "rand_augment must be a whole number of operations"),
        ({"rand_augment": True}, "rand_augment must be a number"),
        ({"magnitude": 31}, "magnitude must be a number from 0 to 30"),
        ({"erase": 1.1}, "erase must be a probability from 0 to 1"),
        ({"mixup": -0.1}, "mixup must be a number of 0 or more"),
        ({"cutmix": float("inf")}, "cutmix must be a number of 0 or more"),
        ({"fill": "nearst"}, r"'nearest', 'constant' or .*Did you mean 'nearest'\?"),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        Augmentation(**fields)
