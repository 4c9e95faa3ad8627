"""Ranking without training: what the scores are, what they were taken from, and how they are shown."""

import csv
import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import DownloadError, InvalidInputError, UnknownNameError, UnknownOptionError
from transferzoo.judging.evidence import logme
from transferzoo.statistics import wilson_interval
from transferzoo.studies.transferability import _parts, rank

SIZES = {"small": 8, "large": 32}


def sized(name):
    """A mapping of the same backbone at two sizes."""
    return {label: {"model": name, "image_size": size} for label, size in SIZES.items()}


def untimed(ranking):
    """All figures but seconds."""
    return [
        {key: value for key, value in row.items() if not key.endswith("seconds")}
        for row in ranking.to_records()
    ]


@pytest.fixture
def ranking(tiny, tiny_digits):
    return rank(sized(tiny), tiny_digits, weights=None, folds=1, cache=False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache of downloads."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path


def published(url, name="imagenet"):
    return tz.Weights(name=name, url=url, hash=None, trained_on="scans", licence="none", source="a test")


# ---- the scores


@pytest.mark.medium
def test_the_best_probe_comes_first_with_wilsons_interval(ranking):
    accuracies = [row.accuracy for row in ranking.rows]
    assert accuracies == sorted(accuracies, reverse=True)
    for row in ranking.rows:
        assert row.accuracy == row.correct.mean()
        assert (row.low, row.high) == tuple(wilson_interval(int(row.correct.sum()), 50))


@pytest.mark.medium
def test_the_probe_is_the_logistic_regression_of_scikit_learn(tiny, tiny_digits, ranking):
    from sklearn.linear_model import LogisticRegression

    for row in ranking.rows:
        model = tz.build(tiny, 10, weights=None, image_size=row.image_size, seed=0)
        features = [
            tz.extract_features(model, images, store=False)
            for images in (tiny_digits.x_train, tiny_digits.x_validation)
        ]
        mean, deviation = features[0].mean(axis=0), features[0].std(axis=0, dtype="float64")
        # no channel counts as moving less than the median one, or a tenth of the one that moves most
        moving = deviation[deviation > 1e-6 * deviation.max()]
        deviation = np.maximum(deviation, max(np.median(moving), deviation.max() / 10))
        witness = LogisticRegression(C=row.C, max_iter=2000)
        witness.fit((features[0] - mean) / deviation, tiny_digits.y_train)
        predicted = witness.predict((features[1] - mean) / deviation)
        assert ((predicted == tiny_digits.y_validation) == row.correct).mean() > 0.97
        assert row.logme == pytest.approx(logme(features[0], tiny_digits.y_train), rel=1e-6)
        assert row.channels == features[0].shape[1] == 16


@pytest.mark.medium
def test_test_images_have_no_say(tiny, tiny_digits, ranking):
    other = dataclasses.replace(
        tiny_digits,
        x_test=np.zeros_like(tiny_digits.x_test),
        y_test=np.zeros_like(tiny_digits.y_test),
    )
    assert untimed(rank(sized(tiny), other, weights=None, folds=1, cache=False)) == untimed(ranking)


@pytest.mark.medium
def test_validation_labels_choose_neither_the_penalty_nor_logme(tiny, tiny_digits, ranking):
    shuffled = np.random.default_rng(0).permutation(tiny_digits.y_validation)
    swapped = dataclasses.replace(tiny_digits, y_validation=shuffled)
    other = rank(sized(tiny), swapped, weights=None, folds=1, cache=False)
    for row in ranking.rows:
        assert other[row.model].C == row.C
        assert other[row.model].logme == row.logme
    assert max(row.accuracy for row in other.rows) < ranking.rows[0].accuracy


@pytest.mark.medium
def test_each_image_is_judged_once_by_a_probe_of_the_other_folds(tiny, tiny_digits):
    images = np.concatenate([tiny_digits.x_train, tiny_digits.x_validation])
    labels = np.concatenate([tiny_digits.y_train, tiny_digits.y_validation])
    ranking = rank([tiny], tiny_digits, weights=None, folds=3, cache=False)
    assert (ranking.folds, ranking.judged_images) == (3, 150)
    right, near = np.zeros(150, dtype=bool), []
    for others, part in _parts(tiny_digits, 3, 0):
        assert np.bincount(labels[part]).min() >= 4
        fold = dataclasses.replace(
            tiny_digits,
            x_train=images[others],
            y_train=labels[others],
            x_validation=images[part],
            y_validation=labels[part],
        )
        row = rank([tiny], fold, weights=None, folds=1, cache=False)[tiny]
        right[part] = row.correct
        near.append(row.knn)
    # features of other batches differ in their last digits
    assert (ranking[tiny].correct == right).mean() > 0.98
    assert ranking[tiny].knn == pytest.approx(np.mean(near), abs=0.02)
    assert "150" not in ranking.notes()[0]
    assert "100 training and 50 validation images in 3 folds" in ranking.notes()[0]


def test_few_validation_images_are_joined_by_the_training_images(tiny_digits):
    assert len(_parts(tiny_digits, None, 0)) == 5
    ((others, judged),) = _parts(tiny_digits, 1, 0)
    assert others.tolist() == list(range(100))
    assert judged.tolist() == list(range(100, 150))
    many = np.arange(1000) % 10
    enough = dataclasses.replace(tiny_digits, x_validation=tiny_digits.x_train[many], y_validation=many)
    assert len(_parts(enough, None, 0)) == 1
    assert len(_parts(enough, 4, 0)) == 4


def test_no_group_is_on_both_sides_of_a_fold(tiny_digits):
    counts = {split: len(getattr(tiny_digits, f"y_{split}")) for split in ("train", "validation", "test")}
    first = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    # images of two classes in each
    groups = {
        split: np.array([f"g{(first[split] + place) // 2}" for place in range(count)])
        for split, count in counts.items()
    }
    data = dataclasses.replace(tiny_digits, groups=groups)
    names = np.concatenate([groups["train"], groups["validation"]])
    parts = _parts(data, 3, 0)
    assert len(parts) == 3
    assert sorted(np.concatenate([judged for _, judged in parts]).tolist()) == list(range(150))
    for others, judged in parts:
        assert not set(names[others]) & set(names[judged])


@pytest.mark.medium
def test_groups_are_what_intervals_count(tiny, tiny_digits):
    # two groups of each class in each split
    groups = {
        split: np.array([f"{split}-{label}-{place % 2}" for place, label in enumerate(labels)])
        for split, labels in (
            ("train", tiny_digits.y_train),
            ("validation", tiny_digits.y_validation),
            ("test", tiny_digits.y_test),
        )
    }
    data = dataclasses.replace(tiny_digits, groups=groups)
    ranking = rank(sized(tiny), data, weights=None, folds=1, cache=False)
    alone = rank(sized(tiny), tiny_digits, weights=None, folds=1, cache=False)
    assert ranking.groups.tolist() == groups["validation"].tolist()
    for row in ranking.rows:
        assert row.accuracy == alone[row.model].accuracy
        assert (row.low, row.high) != (alone[row.model].low, alone[row.model].high)
    assert ranking.rows[1].behind.test == "t, groups"
    assert sum(row.probability_best for row in ranking.rows) == pytest.approx(1)
    assert "groups" not in ranking.to_dict()


def test_a_rare_class_leaves_fewer_folds_or_none(tiny_digits):
    def keeping(count):
        parts = {}
        for split in ("train", "validation"):
            x, y = getattr(tiny_digits, f"x_{split}"), getattr(tiny_digits, f"y_{split}")
            gone = np.flatnonzero(y == 3)[count if split == "train" else 1 :]
            parts |= {f"x_{split}": np.delete(x, gone, axis=0), f"y_{split}": np.delete(y, gone)}
        return dataclasses.replace(tiny_digits, **parts)

    assert len(_parts(keeping(3), None, 0)) == 4
    assert len(_parts(keeping(1), None, 0)) == 1
    with pytest.raises(
        InvalidInputError, match=r"folds must be at most the images .* have \{'3': 4\}; folds=1"
    ):
        _parts(keeping(3), 5, 0)


@pytest.mark.medium
def test_the_same_call_gives_the_same_ranking(tiny, tiny_digits, ranking):
    assert untimed(rank(sized(tiny), tiny_digits, weights=None, folds=1, cache=False)) == untimed(ranking)


@pytest.mark.slow
def test_an_image_size_that_shows_less_is_told_apart():
    data = tz.load_dataset("digits").subset(train=300)
    sizes = {"large": 96, "small": 32}
    models = {label: {"model": "mobilenet_025", "image_size": size} for label, size in sizes.items()}
    ranking = rank(models, data, weights=None, cache=False)
    large, small = ranking.rows
    assert (large.model, small.model) == ("large", "small")
    assert min(large.logme_deviation, small.logme_deviation) > 0
    assert large.probability_best > 0.99
    assert ranking.best == ("large",)
    assert small.distinguishable
    assert small.behind.estimate == pytest.approx(large.accuracy - small.accuracy)
    assert small.behind.low > 0
    assert (large.behind, large.p_holm, large.distinguishable) == (None, None, False)
    assert "small *" not in str(ranking).splitlines()[2]


@pytest.mark.medium
def test_twins_share_the_chance_to_be_best(tiny, tiny_digits):
    twins = rank({"one": tiny, "two": tiny}, tiny_digits, weights=None, cache=False)
    assert [row.probability_best for row in twins.rows] == [0.5, 0.5]
    assert twins.best == ("one", "two")
    assert twins["two"].p_holm == 1
    assert "two *" in str(twins)
    assert "* not distinguishable from the first" in twins.notes()


@pytest.mark.medium
def test_the_chances_to_be_best_are_shares_of_one(ranking):
    assert sum(row.probability_best for row in ranking.rows) == pytest.approx(1)


@pytest.mark.medium
def test_the_deviation_of_logme_is_about_what_other_images_would_bring():
    from transferzoo.studies.transferability import _logme

    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    found = []
    for _ in range(60):
        features = rng.normal(size=(200, 10))
        features[:, :4] += np.eye(4)[labels]
        found.append(_logme(features, labels, 0))
    scores, deviations = np.transpose(found)
    assert np.sqrt(np.mean(deviations**2)) == pytest.approx(scores.std(ddof=1), rel=0.3)


@pytest.mark.medium
def test_a_feature_map_is_averaged_over_its_cells(tiny, tiny_digits):
    models = {
        head: tz.build(tiny, 10, weights=None, image_size=32, seed=0, head=head)
        for head in ("linear", "alexnet")
    }
    ranking = rank(models, tiny_digits, cache=False)
    assert [row.channels for row in ranking.rows] == [16, 16]
    assert ranking["alexnet"].logme == pytest.approx(ranking["linear"].logme, rel=1e-4)


# ---- what is ranked


@pytest.mark.medium
def test_a_built_model_is_ranked_as_its_settings_would_be(tiny, tiny_digits, ranking):
    built = tz.build(tiny, 10, weights=None, image_size=8, seed=0)
    mixed = rank({"built": built, "large": tiny}, tiny_digits, weights=None, cache=False)
    assert mixed["built"].logme == ranking["small"].logme
    assert mixed["built"].backbone == tiny
    assert mixed["built"].image_size == (8, 8)


@pytest.mark.medium
def test_own_options_go_before_those_for_all(tiny, tiny_digits):
    models = {"own": {"model": tiny, "image_size": 16}, "common": tiny}
    ranking = rank(models, tiny_digits, weights=None, image_size=8, cache=False)
    assert ranking["own"].image_size == (16, 16)
    assert ranking["common"].image_size == (8, 8)


@pytest.mark.medium
def test_more_images_than_asked_for_are_left_out_in_the_classes_proportions(tiny):
    data = tz.load_dataset("digits")
    ranking = rank([tiny], data, weights=None, max_images=60, cache=False)
    assert (ranking.train_images, ranking.validation_images) == (60, 60)
    assert len(ranking[tiny].correct) == ranking.judged_images == 120
    subset = data.subset(train=60, validation=60, seed=0)
    assert untimed(rank([tiny], subset, weights=None, cache=False)) == untimed(ranking)


def test_a_dataset_may_be_named(tiny):
    assert rank([tiny], "digits", weights=None, max_images=40, cache=False).data == "digits"


@pytest.mark.medium
def test_features_are_kept_and_found_again(tiny, tiny_digits, tmp_path):
    store = tz.FeatureStore(tmp_path / "kept")
    first = rank(sized(tiny), tiny_digits, weights=None, store=store)
    assert len(store.entries()) == 4
    again = rank(sized(tiny), tiny_digits, weights=None, store=store)
    assert len(store.entries()) == 4
    assert untimed(again) == untimed(first)
    rank(sized(tiny), tiny_digits, weights=None, store=store, seed=1, cache=False)
    assert len(store.entries()) == 4


@pytest.mark.medium
def test_without_names_those_with_weights_at_hand_are_ranked(
    home, closed_url, tiny, tiny_digits, tiny_weights
):
    builder = tz.backbone_info(tiny).builder
    tz.register_backbone(
        "held", builder, default_size=32, weights=[published(f"{closed_url}/held.weights.h5")]
    )
    tz.register_backbone(
        "mine", builder, default_size=32, weights=[published(f"{closed_url}/m.weights.h5", "scans")]
    )
    tz.register_backbone("absent", builder, weights=[published(f"{closed_url}/absent.weights.h5")])
    for file in ("held.weights.h5", "m.weights.h5"):
        (home / "models" / file).write_bytes(tiny_weights.read_bytes())
    ranking = rank(data=tiny_digits, cache=False)
    assert {row.model: row.weights for row in ranking.rows} == {"held": "imagenet", "mine": "scans"}
    assert {"absent", "tiny", "resnet50"} < set(ranking.left_out)
    assert f"{len(ranking.left_out)} backbones left out" in str(ranking)
    named = rank(data=tiny_digits, cache=False, weights="scans")
    assert [row.model for row in named.rows] == ["mine"]


def test_without_names_and_weights_there_is_nothing_to_rank(home, tiny_digits):
    with pytest.raises(InvalidInputError, match=r"No backbone's weights are in '.*models'. Name backbones"):
        rank(data=tiny_digits)
    with pytest.raises(InvalidInputError, match="backbones must be named where weights"):
        rank(data=tiny_digits, weights=None)


def test_weights_that_cannot_be_had_are_an_error_before_anything_is_computed(
    home, closed_url, tiny, tiny_digits, monkeypatch
):
    builder = tz.backbone_info(tiny).builder
    tz.register_backbone("absent", builder, weights=[published(f"{closed_url}/absent.weights.h5")])
    monkeypatch.setattr("transferzoo.features.extract.extract_features", pytest.fail)
    with pytest.raises(DownloadError, match="To place it by hand") as caught:
        rank({"first": {"model": tiny, "weights": None}, "second": "absent"}, tiny_digits)
    assert str(home / "models") in str(caught.value)


@pytest.mark.medium
def test_weights_of_a_named_backbone_are_fetched(home, file_server, tiny, tiny_digits, tiny_weights):
    file_server.files["/t.weights.h5"] = tiny_weights.read_bytes()
    builder = tz.backbone_info(tiny).builder
    tz.register_backbone(
        "fetched", builder, default_size=32, weights=[published(f"{file_server.url}/t.weights.h5")]
    )
    ranking = rank(["fetched"], tiny_digits, cache=False, verbose=True)
    assert file_server.asked == ["/t.weights.h5"]
    assert ranking["fetched"].weights == "imagenet"


def test_random_weights_are_said_to_be_so(tiny, tiny_digits, caplog):
    ranking = rank([tiny], tiny_digits, cache=False)
    assert "tiny has no published weights: random ones are ranked" in caplog.messages
    assert ranking[tiny].weights is None
    assert "with random weights: tiny" in ranking.notes()


# ---- errors


@pytest.mark.parametrize(
    ("backbones", "words"),
    [
        ("mobilenet", r"Got 'mobilenet'. Pass \['mobilenet', …\]"),
        ([], "one or more backbones' names"),
        (["tiny", "tiny"], "names, each once"),
        ({"a": {"image_size": 32}}, "a dict with one under 'model'"),
    ],
)
def test_what_is_no_list_of_backbones_is_refused(backbones, words, tiny, tiny_digits):
    with pytest.raises(InvalidInputError, match=words):
        rank(backbones, tiny_digits, weights=None)


def test_a_mistyped_name_or_option_gets_the_nearest(tiny, tiny_digits):
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenet'"):
        rank(["mobilnet"], tiny_digits)
    with pytest.raises(UnknownOptionError, match="Did you mean 'image_size'"):
        rank([tiny], tiny_digits, weights=None, imagesize=32)
    with pytest.raises(UnknownOptionError, match="rank has no option 'head'"):
        rank({"a": {"model": tiny, "head": "mlp"}}, tiny_digits, weights=None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_images": 19}, "max_images must be 20 or more, two images of each class"),
        ({"folds": 0}, "folds must be"),
        ({"folds": 30}, "folds must be at most the images of each class"),
        ({"store": "here"}, "store must be a tz.FeatureStore"),
        ({"seed": -1}, "seed must be"),
        ({"image_size": 4}, "image_size must be a whole number of at least 8"),
        ({"data": [1, 2]}, "data must be a dataset's name"),
    ],
)
def test_bad_arguments_are_refused(options, words, tiny, tiny_digits):
    with pytest.raises(InvalidInputError, match=words):
        rank([tiny], **{"data": tiny_digits, "weights": None, **options})


def test_a_class_with_one_image_is_refused(tiny, tiny_digits):
    alone = np.flatnonzero(tiny_digits.y_train == 3)[1:]
    x, y = (np.delete(each, alone, axis=0) for each in (tiny_digits.x_train, tiny_digits.y_train))
    data = dataclasses.replace(tiny_digits, x_train=x, y_train=y)
    with pytest.raises(InvalidInputError, match="Of '3' it got 1"):
        rank([tiny], data, weights=None)


def test_a_model_for_other_images_is_refused(tiny, tiny_digits):
    import keras

    other = tz.build(tiny, 10, weights=None, input_shape=(28, 28, 1))
    with pytest.raises(InvalidInputError, match=r"images of shape \(32, 32, 3\)"):
        rank({"other": other}, tiny_digits)
    with pytest.raises(InvalidInputError, match=r"a model from tz\.build"):
        rank({"bare": keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])}, tiny_digits)
    with pytest.raises(InvalidInputError, match="a built model without options"):
        rank({"other": {"model": other, "stem": "stride1"}}, tiny_digits)


@pytest.mark.medium
def test_a_row_that_is_not_there_is_named(ranking):
    with pytest.raises(InvalidInputError, match="Did you mean 'small'"):
        ranking["smal"]


@pytest.mark.medium
def test_nearest_neighbours_are_those_of_the_cosine(tiny, tiny_digits, ranking):
    for row in ranking.rows:
        model = tz.build(tiny, 10, weights=None, image_size=row.image_size, seed=0)
        x, held = (
            tz.extract_features(model, images, store=False).astype("float64")
            for images in (tiny_digits.x_train, tiny_digits.x_validation)
        )
        unit, others = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (held, x))
        distance = 1 - unit @ others.T
        nearest = np.argsort(distance, axis=1)[:, : np.bincount(tiny_digits.y_train).min()]
        votes = np.zeros((len(held), 10))
        for image, places in enumerate(nearest):
            np.add.at(votes[image], tiny_digits.y_train[places], 1 / distance[image, places])
        assert row.knn == pytest.approx((votes.argmax(axis=1) == tiny_digits.y_validation).mean(), abs=0.021)


@pytest.mark.medium
def test_published_accuracy_stands_beside_the_probe_and_is_compared_with_it(ranking):
    first, second = ranking.rows
    assert first.published_top1 is None
    assert ranking.pairs_ordered_by_top1() == (0, 0)
    for better, worse, ordered in ((70.0, 60.0, 1), (60.0, 70.0, 0)):
        rows = (
            dataclasses.replace(first, published_top1=better, accuracy=0.9),
            dataclasses.replace(second, published_top1=worse, accuracy=0.8),
        )
        found = dataclasses.replace(ranking, rows=rows)
        assert found.pairs_ordered_by_top1() == (ordered, 1)
        assert f"orders {ordered} of 1 pair as the probe does" in str(found)


# ---- the record


@pytest.mark.medium
def test_the_table_fits_into_80_columns(ranking):
    first, second = ranking.rows
    worst = dataclasses.replace(
        second,
        **{
            "model": "a name of a backbone that is much too long",
            "feature_seconds": 12_345.6,
            "macs": 15.3e9,
        },
        published_top1=71.3,
    )
    shown = str(dataclasses.replace(ranking, rows=(first, worst)))
    assert max(map(len, shown.splitlines())) <= 80
    assert "a name of a backbone t…" in shown
    row = next(line for line in str(ranking).splitlines() if line.startswith(first.model))
    assert f"{first.accuracy:.1%}" in row
    assert f"{first.knn:.1%}" in row


@pytest.mark.medium
def test_records_are_plain_json_and_csv_holds_the_same(ranking):
    records = json.loads(json.dumps(ranking.to_dict()))
    assert records["rows"] == ranking.to_records()
    assert records["best"] == list(ranking.best)
    read = list(csv.DictReader(io.StringIO(ranking.to_csv())))
    assert [row["model"] for row in read] == [row.model for row in ranking.rows]
    assert float(read[1]["accuracy"]) == ranking.rows[1].accuracy
    assert {"32×32", "8×8"} == {row["image_size"] for row in read}


@pytest.mark.medium
def test_seconds_are_the_sum_of_their_parts(ranking):
    for row in ranking.rows:
        parts = (row.feature_seconds, row.logme_seconds, row.probe_seconds, row.knn_seconds)
        assert min(parts) > 0
        assert row.seconds == pytest.approx(sum(parts))


@pytest.mark.medium
def test_the_picture_shows_the_probes(ranking):
    ax = ranking.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.model for row in ranking.rows]
    assert [bar.get_width() for bar in ax.patches] == [row.accuracy for row in ranking.rows]


@pytest.mark.medium
def test_a_ranking_cannot_be_changed(ranking):
    with pytest.raises(dataclasses.FrozenInstanceError):
        ranking.seed = 1


def test_importing_the_room_loads_no_keras():
    code = "import sys, transferzoo.studies.transferability; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---- real weights


@pytest.mark.slow
def test_real_features_of_enlarged_photos_rank_above_small_ones(real_weights):
    data = tz.load_dataset("cifar10").subset(train=500, validation=500)
    ranking = rank(data=data, image_size=64, cache=False)
    assert {row.model for row in ranking.rows} >= {"mobilenet", "mobilenet_v2_035"}
    models = {
        "small": {"model": "mobilenet", "image_size": 32},
        "enlarged": {"model": "mobilenet", "image_size": 64},
        "random": {"model": "mobilenet", "image_size": 64, "weights": None},
    }
    ranking = rank(models, data, cache=False)
    first, *others = ranking.rows
    assert ranking.best == ("enlarged",)
    assert first.accuracy > 0.45
    assert all(first.logme > row.logme + 2 * first.logme_deviation for row in others)
