"""Groups stay whole, files keep their names, and folds test each image once."""

import csv

import numpy as np
import pytest
from PIL import Image

import transferzoo as tz
from transferzoo.data.groups import check_groups, groups_by_pattern
from transferzoo.data.splits import SPLITS
from transferzoo.errors import InvalidInputError


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), "uint8")


@pytest.fixture
def grouped():
    """60 images of 3 classes in 15 groups of unequal sizes, each group of one or two classes."""
    rng = np.random.default_rng(3)
    groups = np.sort(rng.integers(0, 15, 60))
    return images(60), (groups + rng.integers(0, 2, 60)) % 3, groups


@pytest.mark.parametrize("seed", range(8))
def test_no_group_is_in_two_splits_and_every_image_is_in_one(grouped, seed):
    x, y, groups = grouped
    data = tz.from_arrays(x, y, groups=groups, seed=seed)
    held = [set(data.groups[split]) for split in SPLITS]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
    assert sum(len(data.groups[split]) for split in SPLITS) == 60
    for split in SPLITS:
        found = data.splits[split][0]
        where = [int(np.flatnonzero((x == image).all(axis=(1, 2, 3)))[0]) for image in found]
        assert data.groups[split].tolist() == [str(groups[place]) for place in where]
        assert (data.class_counts[split] > 0).all()


def test_shares_are_met_as_nearly_as_whole_groups_allow():
    groups = np.repeat(np.arange(100), 5)
    data = tz.from_arrays(images(500), groups % 4, groups=groups, test=0.2, validation=50)
    assert abs(len(data.y_test) - 100) <= 10
    assert abs(len(data.y_validation) - 50) <= 10
    assert np.ptp(data.class_counts["test"]) <= 10


def test_another_seed_takes_other_groups(grouped):
    x, y, groups = grouped
    tests = {tuple(sorted(set(tz.from_arrays(x, y, groups=groups, seed=s).groups["test"]))) for s in range(6)}
    assert len(tests) > 3


def test_a_class_with_too_few_groups_is_named():
    y = np.arange(40) % 2
    groups = np.where(y == 0, np.arange(40) % 14, 100 + np.arange(40) // 20)
    with pytest.raises(InvalidInputError, match=r"at least 3 groups of each class.*\{'1': 2\}"):
        tz.from_arrays(images(40), y, groups=groups)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["a"] * 9 + [None], "1 empty ones, the first at place 9"),
        (["a"] * 9 + [float("nan")], "1 empty ones"),
        (["a", "b"], "10 of them"),
        ("abcdefghij", "one name or number for each image"),
        (5, "one name or number for each image"),
    ],
)
def test_groups_that_are_none_are_refused(groups, words):
    with pytest.raises(InvalidInputError, match=words):
        check_groups("groups", groups, 10)


def test_numbers_from_a_data_frame_are_the_same_group_as_whole_numbers():
    assert check_groups("groups", [1.0, 2.0, 1], 3).tolist() == ["1", "2", "1"]


@pytest.fixture
def photos(tmp_path):
    for number in range(36):
        folder = tmp_path / "photos" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images(36)[number]).save(folder / f"patient{number // 3}-{number}.png")
    return tmp_path / "photos"


def test_a_pattern_over_file_names_makes_groups(photos):
    data = tz.from_directory(photos, groups=r"(patient\d+)-")
    assert data.groups["test"][0].startswith("patient")
    assert not set(data.groups["train"]) & set(data.groups["test"])
    assert data.calls[0]["from_directory"]["groups"] == r"(patient\d+)-"
    assert "groups, none of them in two splits" in data.summary()


def test_a_pattern_that_does_not_fit_is_refused_with_the_files_named(photos):
    with pytest.raises(InvalidInputError, match=r"finds none in 36 of 36: 'cat/patient0-0.png"):
        tz.from_directory(photos, groups=r"video(\d+)")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        groups_by_pattern("(", ["a"])


def test_given_splits_that_share_a_group_are_refused(photos):
    for split in ("train", "test"):
        (photos.parent / "split" / split).mkdir(parents=True)
        (photos / "cat").rename(photos.parent / "split" / split / "cat") if split == "train" else None
    (photos / "dog").rename(photos.parent / "split" / "train" / "dog")
    for name in ("cat", "dog"):
        target = photos.parent / "split" / "test" / name
        target.mkdir()
        source = next((photos.parent / "split" / "train" / name).glob("patient3-*"))
        source.rename(target / source.name)
    with pytest.raises(InvalidInputError, match="That group is in the"):
        tz.from_directory(photos.parent / "split", groups=r"(patient\d+)-")


def test_files_keep_their_names_through_splits_and_subsets(photos):
    data = tz.from_directory(photos).subset(train=6)
    for split in SPLITS:
        for place, name in enumerate(data.files[split]):
            expected = np.asarray(Image.open(photos / name))
            assert (data.splits[split][0][place] == expected).all()
            assert data.class_names[data.splits[split][1][place]] == name.split("/")[0]
    assert data.name_of("test", 0) == f"'{data.files['test'][0]}' (test)"


def test_a_table_names_its_groups_in_a_column(photos):
    rows = [
        {"image": str(path.relative_to(photos)), "label": path.parent.name, "who": path.name.split("-")[0]}
        for path in sorted(photos.rglob("*.png"))
    ]
    with (photos / "table.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    data = tz.from_table(photos / "table.csv", groups="who")
    assert not set(data.groups["train"]) & set(data.groups["test"])
    assert data.files["test"][0] in {row["image"] for row in rows}
    with pytest.raises(InvalidInputError, match="one of the table's columns"):
        tz.from_table(photos / "table.csv", groups="whom")


def test_each_image_is_tested_once_and_groups_stay_whole(grouped):
    x, y, groups = grouped
    data = tz.from_arrays(x, y, groups=groups)
    tested = []
    for fold in data.folds(4, seed=1):
        tested.extend(fold.test_index)
        assert not set(fold.groups["test"]) & (set(fold.groups["train"]) | set(fold.groups["validation"]))
        assert sum(len(fold.splits[split][1]) for split in SPLITS) == 60
    assert sorted(tested) == list(range(60))


def test_folds_without_groups_keep_the_proportions_of_the_classes():
    data = tz.from_arrays(images(100), np.arange(100) % 4)
    counts = [fold.class_counts["test"].tolist() for fold in data.folds(5)]
    assert counts == [[5, 5, 5, 5]] * 5


def test_more_folds_than_images_of_a_class_are_refused():
    data = tz.from_arrays(images(40), np.arange(40) % 4)
    with pytest.raises(InvalidInputError, match="folds must be at most the images of each class"):
        data.folds(11)
    with pytest.raises(InvalidInputError, match="folds must be a whole number of 2 or more"):
        data.folds(1)


@pytest.mark.medium
def test_a_run_keeps_the_files_of_its_mistakes(photos, tmp_path):
    data = tz.from_directory(photos, groups=r"(patient\d+)-", image_size=32)
    result = tz.fit_and_evaluate(
        "mobilenet_025", data, weights=None, recipe="linear_probe", out=tmp_path / "run", lint=False
    )
    again = type(result).load(tmp_path / "run")
    assert again.files.tolist() == data.files["test"].tolist()
    assert again.groups.tolist() == data.groups["test"].tolist()
    for mistake in again.mistakes():
        assert mistake.file == data.files["test"][mistake.place]
        assert str(mistake).startswith(mistake.file)
    assert tz.verify(tmp_path / "run").ok
