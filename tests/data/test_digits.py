"""The handwritten digits that come with scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits as load_scans

from transferzoo.data.digits import load_digits
from transferzoo.errors import InvalidInputError


def test_all_scans_are_there_once():
    data = load_digits()
    assert [len(y) for _, y in data.splits.values()] == [1150, 288, 359]
    counts = sum(data.class_counts.values())
    assert counts.tolist() == np.bincount(load_scans(return_X_y=True)[1]).tolist()


def test_images_use_the_whole_range_and_three_equal_channels():
    data = load_digits()
    assert data.input_shape == (32, 32, 3)
    assert data.x_train.dtype == np.uint8
    assert (int(data.x_train.min()), int(data.x_train.max())) == (0, 255)
    assert (data.x_train[..., 0] == data.x_train[..., 2]).all()


@pytest.mark.medium
def test_enlarged_digits_still_look_like_their_scans():
    data = load_digits()
    scans, labels = load_scans(return_X_y=True)
    blocks = data.x_test[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(-1, 64)
    nearest = ((blocks[:, None] / 255 - scans[None] / 16) ** 2).mean(axis=-1)
    # Enlarging smooths a little, hence not zero.
    assert nearest.min(axis=1).max() < 0.02
    assert (labels[nearest.argmin(axis=1)] == data.y_test).all()


def test_the_test_set_is_the_same_for_every_seed_and_share():
    one, two = load_digits(seed=0), load_digits(seed=7, validation=100)
    assert (one.x_test == two.x_test).all()
    assert (one.y_test == two.y_test).all()
    assert len(two.y_validation) == 100


def test_the_seed_moves_the_validation_images():
    one, same, two = load_digits(seed=0), load_digits(seed=0), load_digits(seed=1)
    assert one.content_hash() == same.content_hash()
    assert (one.x_validation != two.x_validation).any()


def test_a_mirrored_digit_is_no_digit():
    assert load_digits().flip_safe is False


@pytest.mark.parametrize("validation", [0, 1.0, 1430])
def test_an_impossible_validation_share_is_refused(validation):
    with pytest.raises(InvalidInputError, match="validation must be"):
        load_digits(validation=validation)
