"""One study at several numbers of training images or image sizes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import transferzoo as tz
from transferzoo import statistics
from transferzoo.errors import InvalidInputError
from transferzoo.plots.lines import accuracy_by, line_data
from transferzoo.studies.sweeping import Sweep

QUICK = {"recipe": "linear_probe", "weights": None, "lint": False, "verbose": False}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    data = tz.load_dataset("digits").subset(train=300, validation=50, test=100)
    out = tmp_path_factory.mktemp("sweep") / "out"
    models = {"resnet": {"model": "resnet20"}}
    return tz.studies.sweep(models, data, train=[300, 40], seeds=[0, 1], out=out, **QUICK), out


@pytest.mark.medium
def test_each_number_of_images_is_a_study_on_the_same_test_images(found):
    sweep, out = found
    assert sweep.values == (40, 300)
    assert sorted(each.name for each in out.iterdir()) == ["train-300", "train-40"]
    trained = [study.results[0].settings["data"]["train"] for study in sweep.studies]
    assert trained == [40, 300]
    tested = {result.settings["data"]["test_sha256"] for study in sweep.studies for result in study.results}
    assert len(tested) == 1


@pytest.mark.medium
def test_the_rows_are_the_studies_own_and_gains_are_paired(found):
    sweep, _ = found
    rows = sweep.to_records()
    assert [(row["model"], row["train"], row["runs"]) for row in rows] == [
        ("resnet", 40, 2),
        ("resnet", 300, 2),
    ]
    assert "gain" not in rows[0]
    now, before = (sweep.studies[place].correct("resnet") for place in (1, 0))
    expected = statistics.difference(now, before)
    assert rows[1]["gain"] == pytest.approx(expected.estimate)
    assert (rows[1]["gain_low"], rows[1]["gain_high"]) == pytest.approx((expected.low, expected.high))
    assert rows[1]["gain"] == pytest.approx(rows[1]["accuracy"] - rows[0]["accuracy"])


@pytest.mark.medium
def test_it_says_whether_more_images_help(found):
    sweep, _ = found
    said = sweep.verdicts()
    assert len(said) == 1
    row = sweep.to_records()[1]
    assert said[0].startswith(f"resnet: from 40 to 300 training images {100 * row['gain']:+.1f} points")
    assert said[0].endswith("more images still help.") == (row["gain_low"] > 0)
    assert all(line in str(sweep) for line in said)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (range(50), range(95), "more images still help"),
        (range(90), range(20), "more images make it worse"),
        (range(80), range(1, 82), "it is not shown that more images help"),
    ],
)
def test_each_outcome_has_its_words(found, before, now, words):
    sweep, _ = found
    studies = []
    for study, right in zip(sweep.studies, (before, now), strict=True):
        result = study.runs("resnet")[0]
        guesses = (result.y_true + 1) % 10
        guesses[list(right)] = result.y_true[list(right)]
        y_prob = np.where(np.arange(10) == guesses[:, None], 0.82, 0.02)
        made = tz.Result(**{**fields_of(result), "y_prob": y_prob, "metrics": {"accuracy": len(right) / 100}})
        studies.append(tz.Study(results=(made,)))
    changed = Sweep(by="train", values=sweep.values, studies=tuple(studies))
    assert words in changed.verdicts()[0]


def fields_of(result):
    names = ("name", "history", "y_true", "class_names", "settings", "costs", "environment")
    return {name: getattr(result, name) for name in names}


@pytest.mark.medium
def test_the_same_call_loads_what_is_there(found, monkeypatch):
    sweep, out = found
    data = tz.load_dataset("digits").subset(train=300, validation=50, test=100)

    def fail(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("transferzoo.fitting.train", fail)
    models = {"resnet": {"model": "resnet20"}}
    again = tz.studies.sweep(models, data, train=[40, 300], seeds=[0, 1], out=out, **QUICK)
    assert again.to_records() == sweep.to_records()


@pytest.mark.medium
def test_image_sizes_are_swept_too(tiny, tiny_digits):
    sweep = tz.studies.sweep([tiny], tiny_digits, image_size=[32, 48], **QUICK)
    sizes = [study.results[0].settings["model"]["image_size"] for study in sweep.studies]
    assert sizes == [[32, 32], [48, 48]]
    assert "pixels" in sweep.verdicts()[0]
    axes = sweep.plot()
    assert axes.get_xlabel() == "Image size, pixels"
    plt.close("all")


def test_a_value_that_cannot_be_is_refused_before_anything_is_trained(tiny, tiny_digits, tmp_path):
    for values, words in (
        ({"train": [50, 101]}, "up to 100"),
        ({"train": [50]}, "two or more"),
        ({"train": [50, 50]}, "numbers that differ"),
        ({"train": [50, 0.5]}, "train must be"),
        ({}, "Give one of"),
        ({"train": [50, 60], "image_size": [32, 48]}, "Give one of"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            tz.studies.sweep([tiny], tiny_digits, out=tmp_path / "out", **values, **QUICK)
    assert not (tmp_path / "out").exists()


def test_the_lines_are_drawn_from_sorted_rows_with_their_intervals():
    rows = [
        {"model": "a", "train": 1000, "accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8},
        {"model": "a", "train": 100, "accuracy": 0.5},
        {"model": "b", "train": 100, "accuracy": 0.4},
        {"model": "b", "accuracy": 0.4},
    ]
    across, accuracies, low, high = line_data(rows, "train").lines["a"]
    assert (across.tolist(), accuracies.tolist()) == ([100, 1000], [0.5, 0.7])
    assert np.isnan(low[0])
    assert (low[1], high[1]) == (0.6, 0.8)
    assert len(line_data(rows, "train").lines["b"][0]) == 1
    axes = accuracy_by(rows)
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    plt.close("all")
