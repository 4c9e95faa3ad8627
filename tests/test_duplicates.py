"""Copies of images across sets: what is found, and what is left alone."""

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.linting import duplicates
from transferzoo.linting.duplicates import image_hashes, near_copies, thumbnails


def pictures(count, seed=0, side=32):
    """Images of coarse and fine structure, no two alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 150, (count, 8, 8, 3)).repeat(side // 8, 1).repeat(side // 8, 2)
    return (coarse + rng.uniform(0, 60, (count, side, side, 3))).astype("uint8")


@pytest.fixture(scope="module")
def known():
    return pictures(60)


def test_hashes_tell_images_apart_by_their_last_bit(known):
    changed = known[:3].copy()
    changed[1, -1, -1, -1] ^= 1
    assert (image_hashes(changed) == image_hashes(known[:3])).tolist() == [True, False, True]


def test_a_thumbnail_holds_the_means_of_patches_and_channels(known):
    image = known[7].astype("float64")
    expected = image.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3, 4))
    assert thumbnails(known)[7] == pytest.approx(expected, abs=1e-3)


def test_thumbnails_of_odd_and_tiny_images_have_the_means_of_what_there_is():
    image = np.arange(15.0).reshape(1, 3, 5, 1)
    assert thumbnails(image, 2)[0] == pytest.approx(np.array([[3.5, 6.0], [11.0, 13.5]]))
    assert thumbnails(image).shape == (1, 3, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x + 25,
        lambda x: 0.6 * x + 60,
        lambda x: x * np.array([1.0, 0.8, 0.7]),
        lambda x: x + np.random.default_rng(1).normal(0, 4, x.shape),
        lambda x: x.mean(axis=3, keepdims=True).repeat(3, 3),
    ],
    ids=["exact", "brighter", "flatter", "tinted", "noisy", "gray"],
)
def test_a_changed_copy_is_found_at_its_place(known, change):
    places = np.array([41, 5, 12])
    changed = np.clip(change(known[places].astype("float64")), 0, 255).astype("float32")
    found = near_copies(changed, known)
    assert found.looked_at == 3
    assert dict(map(tuple, found.pairs.tolist())) == dict(enumerate(places.tolist()))


def test_places_are_counted_through_the_parts(known):
    found = near_copies(known[40:41], (known[:25], known[25:]))
    assert found.pairs.tolist() == [[0, 40]]


def test_other_images_are_left_alone(known):
    assert near_copies(pictures(40, seed=9), known).pairs.shape == (0, 2)


def test_alike_thumbnails_with_other_details_are_left_alone():
    # as two photos of the sea under a bright sky are
    sky = np.linspace(150, 0, 32)[:, None, None] * np.ones((60, 32, 32, 3))
    first, second = (sky + 0.5 * pictures(60, seed) for seed in (1, 2))
    small = [duplicates._unit(thumbnails(x)) for x in (first, second)]
    likeness = (small[0] * small[1]).sum(axis=1)
    assert (likeness > duplicates.COARSE_LIKENESS).sum() > 10
    assert len(near_copies(first, second).pairs) == 0


def test_blank_images_are_no_copies_of_anything(known):
    assert len(near_copies(np.zeros((2, 32, 32, 3), "uint8"), known).pairs) == 0


def test_the_closest_pair_comes_first_and_each_image_once(known):
    noise = np.random.default_rng(0).normal(0, 1, (2, 32, 32, 3))
    queries = known[[3, 8]] + noise * np.array([12, 1])[:, None, None, None]
    found = near_copies(queries, np.concatenate([known, known[8:9]]))
    assert found.pairs[:, 0].tolist() == [1, 0]
    assert found.pairs[0, 1] in (8, 60)


def test_where_all_images_are_alike_none_counts_as_a_copy():
    data = tz.load_dataset("digits")
    assert len(near_copies(data.x_test, (data.x_train, data.x_validation)).pairs) == 0


def test_a_large_set_is_looked_at_in_part(known, monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 60 * 20)
    found = near_copies(known, known)
    assert found.looked_at == 20
    assert found.pairs[:, 0].tolist() == found.pairs[:, 1].tolist()
    assert set(found.pairs[:, 0]) == set(range(0, 60, 3))


@pytest.mark.slow
def test_on_cifar10_it_finds_about_as_many_as_were_found_by_eye(shared_home, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(shared_home))
    data = tz.load_dataset("cifar10")
    found = near_copies(data.x_test, (data.x_train, data.x_validation))
    labels = np.concatenate([data.y_train, data.y_validation])
    # ciFAIR, by a network's features and by eye, counts 325, shifted copies and those within the test set too
    assert 250 <= len(found.pairs) <= 325
    test, other = found.pairs.T
    # it is not told the labels: chance would have 10 % agree
    assert (data.y_test[test] == labels[other]).mean() > 0.99
