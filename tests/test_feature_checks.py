"""Labels that were swapped are found in features, and hard images are not taken for them."""

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.linting.feature_checks import label_errors


def clusters(count=600, classes=3, apart=6.0, seed=0):
    """Features in a cloud a class, and labels of which every twentieth is swapped."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % classes
    features = rng.normal(size=(count, 20))
    features[:, :classes] += apart * np.eye(classes)[true]
    labels = true.copy()
    swapped = np.arange(0, count, 20)
    labels[swapped] = (true[swapped] + 1) % classes
    return features, true, labels, swapped


def test_swapped_labels_are_found_and_their_class_named():
    features, true, labels, swapped = clusters()
    found = label_errors(features, labels)
    assert set(found.index) <= set(swapped)
    assert len(found.index) >= 0.4 * len(swapped)
    assert (found.looks_like == true[found.index]).all()


def test_right_labels_of_clouds_that_overlap_are_left_alone():
    features, true, _, _ = clusters(apart=1.5)
    assert len(label_errors(features, true).index) <= 0.02 * len(true)


def test_a_group_is_not_on_both_sides_of_a_fold():
    # frames of a video are nearly alike, and so are their wrong labels
    rng = np.random.default_rng(0)
    groups = np.arange(400) // 8
    centres = rng.normal(size=(50, 20)) + 6 * np.eye(20)[np.arange(50) % 2]
    features = centres[groups] + 0.05 * rng.normal(size=(400, 20))
    labels = (groups % 2).copy()
    labels[groups == 7] = 0
    alone, together = label_errors(features, labels), label_errors(features, labels, groups)
    assert set(np.flatnonzero(groups == 7)) <= set(together.index)
    assert len(alone.index) < len(together.index)


@pytest.mark.medium
def test_lint_says_so_where_features_are_asked_for():
    data = tz.load_dataset("digits").subset(train=300, validation=60, test=100)
    assert "TZ217" not in {finding.code for finding in tz.lint("mobilenet_025", data, weights=None)}
    labels = data.y_train.copy()
    labels[:12] = (labels[:12] + 5) % 10
    spoilt = tz.from_arrays(data.x_train, labels, data.x_test, data.y_test, flip_safe=False)
    found = tz.lint("mobilenet_025", spoilt, weights=None, image_size=64, features=True, ignore=["TZ106"])
    assert "TZ106" not in {finding.code for finding in found}
    assert all(finding.subject == "mobilenet_025" for finding in found if finding.code == "TZ217")


@pytest.mark.slow
def test_swapped_labels_of_real_photos_are_found(real_weights, shared_home):
    data = tz.load_dataset("cifar10", validation=500).subset(train=2000, validation=500, test=500)
    rng = np.random.default_rng(0)
    swapped = rng.choice(2000, 100, replace=False)
    labels = data.y_train.copy()
    labels[swapped] = (labels[swapped] + rng.integers(1, 10, 100)) % 10
    spoilt = tz.from_arrays(
        data.x_train,
        labels,
        data.x_test,
        data.y_test,
        x_validation=data.x_validation,
        y_validation=data.y_validation,
        class_names=data.class_names,
    )
    (finding,) = [
        each for each in tz.lint("mobilenet", spoilt, features=True, image_size=96) if each.code == "TZ217"
    ]
    (clean,) = [
        each for each in tz.lint("mobilenet", data, features=True, image_size=96) if each.code == "TZ217"
    ] or [None]
    count = int(finding.what.split(" of ")[0])
    assert 20 <= count <= 100
    assert len(finding.images) == count
    planted = [place in swapped for split, place in finding.images if split == "train"]
    assert sum(planted) > len(planted) / 2
    assert clean is None or int(clean.what.split(" of ")[0]) < count / 2
