"""A study of runs: its tables, its verdicts, and what it chooses."""

import csv
import dataclasses
import io
import re
import sys

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError, RecordError, UnknownNameError
from transferzoo.studies.failures import Failure


def result(name, accuracy, **costs):
    y_true = np.arange(10) % 2
    y_prob = np.eye(2)[np.where(np.arange(10) < 10 * accuracy, y_true, 1 - y_true)]
    return tz.Result(
        name=name,
        metrics={"accuracy": accuracy},
        history={"loss": [1.0, 0.5]},
        y_true=y_true,
        y_prob=y_prob,
        class_names=("cat", "dog"),
        settings={
            "seed": 4,
            "data": {"name": "pets", "train": 60, "validation": 20, "test": 10},
            "recipe": {"name": "default", "faults": []},
        },
        costs={
            "parameters": 1_234_567,
            "size_bytes": 4_938_268,
            "train_seconds": 12.3,
            "images_per_second": 1500.0,
            "macs": 569e6,
            "latency_ms": 7.5,
            **costs,
        },
        environment={},
    )


@pytest.fixture
def study():
    """Two runs, the worse one first."""
    return tz.Study(results=(result("small", 0.5), result("a|b", 0.9, extra=3)))


# --- reading a study


def test_the_table_has_the_best_accuracy_first(study):
    _, rows = study.table()
    assert [row[:2] for row in rows] == [["a|b", "90.0%"], ["small", "50.0%"]]


def test_the_table_shows_what_each_run_cost_with_units(study):
    _, rows = study.table()
    assert rows[0][3:] == ["1.23 M", "569 M", "4.94 MB", "12 s", "7.5 ms"]


def test_the_text_ends_with_what_was_compared_and_on_what(study):
    assert str(study).splitlines()[4] == (
        "pets: 60 training, 20 validation, 10 test images; recipe 'default', seed 4"
    )


def test_the_text_stands_in_columns(study):
    header, rule, first, second, *_ = str(study).splitlines()
    end = header.index("accuracy") + len("accuracy")
    assert [line[:end].endswith(text) for line, text in ((first, "90.0%"), (second, "50.0%"))] == [True, True]
    assert set(rule) == {"─", " "}


def test_the_caption_says_when_a_study_is_faithful():
    run = result("small", 0.5)
    run.settings["recipe"]["faults"] = ["raw_pixels"]
    assert "recipe 'default' (faithful), seed" in tz.Study(results=(run,)).caption()


def test_markdown_has_as_many_cells_in_every_line(study):
    lines = study.to_markdown().splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"


def test_markdown_escapes_a_bar_in_a_name(study):
    assert "| a\\|b |" in study.to_markdown()


def test_csv_reads_back_as_the_records(study):
    rows = list(csv.DictReader(io.StringIO(study.to_csv())))
    assert [(row["model"], float(row["accuracy"])) for row in rows] == [("small", 0.5), ("a|b", 0.9)]


def test_csv_has_a_column_for_what_any_run_measured(study):
    rows = list(csv.DictReader(io.StringIO(study.to_csv())))
    assert [row["extra"] for row in rows] == ["", "3"]


def test_records_are_in_the_order_asked_for(study):
    assert [record["model"] for record in study.to_records()] == ["small", "a|b"]


def test_a_run_is_found_by_its_name(study):
    assert study["small"].accuracy == 0.5


def test_an_unknown_run_gets_the_nearest(study):
    with pytest.raises(UnknownNameError, match=r"No run named 'smal'\. Did you mean 'small'\?"):
        study["smal"]


def test_a_study_is_as_long_as_it_has_runs(study):
    assert len(study) == 2


def seeded(name, seed, accuracy, **settings):
    """A run of `name` with its own seed, on the images of `result`."""
    run = result(name, accuracy)
    return tz.Result(**{**vars(run), "settings": {**run.settings, "seed": seed, **settings}})


@pytest.fixture
def of_seeds():
    """Two runs of one model, and one of another."""
    return tz.Study(results=(seeded("small", 0, 0.5), seeded("small", 1, 0.7), seeded("large", 0, 0.9)))


def test_runs_that_only_their_seeds_set_apart_are_one_model(of_seeds):
    assert of_seeds.names == ("small", "large")
    assert [run.seed for run in of_seeds.runs("small")] == [0, 1]


def test_one_model_with_several_seeds_is_one_row_with_the_mean(of_seeds):
    row = of_seeds.summary()[1]
    assert (row["model"], row["runs"], row["accuracy"]) == ("small", 2, pytest.approx(0.6))
    assert row["accuracy_low"] < 0.6 < row["accuracy_high"]
    assert row["seed_deviation"] == pytest.approx(np.std([0.5, 0.7], ddof=1))


def test_one_run_of_several_is_found_by_its_seed(of_seeds):
    assert of_seeds["small", 1].accuracy == 0.7


def test_a_name_of_several_runs_asks_for_the_seed(of_seeds):
    with pytest.raises(InvalidInputError, match=r"one of \[0, 1\] for 'small'.*study.runs\('small'\)"):
        of_seeds["small"]


def test_a_name_with_several_settings_gets_a_label_for_each():
    runs = [seeded("small", 0, 0.5, head=head) for head in ("linear", "mlp")]
    names = tz.Study(results=runs).names
    assert len(set(names)) == 2
    assert all(name.startswith("small#") for name in names)


def test_the_verdict_names_the_better_model_first(study):
    (verdict,) = study.verdicts()
    assert verdict.startswith("a|b and small are not distinguishable")


def test_a_clear_difference_is_said_in_points():
    rng = np.random.default_rng(0)
    y_true = np.arange(1000) % 2

    def run(name, accuracy):
        guesses = np.where(rng.random(1000) < accuracy, y_true, 1 - y_true)
        base = result(name, 0.5)
        return tz.Result(
            **{
                **vars(base),
                "y_true": y_true,
                "y_prob": np.eye(2)[guesses],
                "index": None,
                "metrics": {"accuracy": float((guesses == y_true).mean())},
            }
        )

    verdicts = tz.Study(results=(run("worse", 0.6), run("better", 0.9))).verdicts()
    assert re.match(
        r"better beats worse by \d\d\.\d points \(95 % interval \d\d\.\d to \d\d\.\d", verdicts[0]
    )


def test_models_tested_on_other_images_are_named_and_not_compared(study):
    other = tz.Result(**{**vars(study["small"]), "name": "other", "index": np.arange(10) + 5})
    verdicts = tz.Study(results=(*study.results, other)).verdicts()
    assert verdicts[-1] == "not compared, as tested on other images: other"


def test_what_was_not_alike_is_said_below_the_table():
    runs = [
        seeded(name, 0, 0.5, model={"backbone": name, "head": head})
        for name, head in (("small", "linear"), ("large", "mlp"))
    ]
    assert "not alike: head (small linear, large mlp)" in str(tz.Study(results=runs)).splitlines()


def test_a_fair_comparison_says_nothing_of_conditions():
    runs = [seeded(name, 0, 0.5, model={"backbone": name, "head": "linear"}) for name in ("small", "large")]
    assert tz.Study(results=runs).conditions() == []


def test_unequal_seeds_are_unlike_conditions(of_seeds):
    assert of_seeds.conditions() == ["seeds (small 0, 1, large 0)"]


def test_a_failure_is_said_below_the_table(study):
    failure = Failure(name="vgg16", error="MemoryError", message="no memory", settings={"seed": 1})
    text = str(tz.Study(results=study.results, failures=(failure,)))
    assert text.splitlines()[-1] == "failed: vgg16, seed 1: MemoryError: no memory"


def test_a_study_of_failures_alone_still_prints():
    failure = Failure(name="vgg16", error="MemoryError", message="no memory", settings={})
    assert str(tz.Study(results=(), failures=(failure,))).splitlines()[-2:] == [
        "no run was finished",
        "failed: vgg16: MemoryError: no memory",
    ]


def test_pandas_gets_a_row_a_run(of_seeds):
    frame = of_seeds.to_pandas()
    assert frame[["model", "seed"]].values.tolist() == [["small", 0], ["small", 1], ["large", 0]]


def test_without_pandas_the_error_says_how_to_get_it(of_seeds, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install pandas; study\.to_records\(\)"):
        of_seeds.to_pandas()


# --- costs


@pytest.fixture
def priced():
    """Three models: cheap, good, and one that is beaten at both."""
    return tz.Study(
        results=(
            result("cheap", 0.5, latency_ms=2.0, file_bytes=4e6),
            result("good", 0.9, latency_ms=20.0, file_bytes=9e6),
            result("beaten", 0.4, latency_ms=30.0, file_bytes=9e6, train_seconds=600.0),
        )
    )


def test_the_frontier_has_those_that_no_other_beats_at_both(priced):
    rows = {row["model"]: row for row in priced.frontier("latency_ms")}
    assert {name: row["on_frontier"] for name, row in rows.items()} == {
        "cheap": True,
        "good": True,
        "beaten": False,
    }
    assert rows["cheap"]["frontier_probability"] == 1.0
    assert rows["beaten"]["frontier_probability"] < 0.5


def test_a_plot_sets_accuracy_against_the_cost(priced):
    ax = priced.plot(cost="latency_ms")
    texts = " ".join(text.get_text() for text in ax.texts)
    assert all(name in texts for name in priced.names)


def test_an_unknown_cost_gets_the_nearest(priced):
    with pytest.raises(InvalidInputError, match="Did you mean 'latency_ms'"):
        priced.frontier("latency")


def test_the_best_without_limits_is_the_most_accurate(priced):
    assert priced.best().name == "good"


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_latency_ms": 10}, "latency 20 ms of at most 10 ms"),
        ({"max_megabytes": 5}, "size 9 MB of at most 5 MB"),
    ],
)
def test_the_best_keeps_to_a_limit_and_says_why_others_do_not(priced, limit, reason):
    choice = priced.best(**limit)
    assert (choice.name, choice.excluded["good"]) == ("cheap", reason)


def test_training_minutes_are_a_limit(priced):
    assert "training 10 min of at most 1 min" in priced.best(max_train_minutes=1).excluded["beaten"]


def test_what_was_not_measured_keeps_to_no_limit(priced):
    with pytest.raises(
        InvalidInputError, match=r"No model.*cheap: peak memory not measured of at most 100 MB"
    ):
        priced.best(max_memory_megabytes=100)


def test_a_limit_that_is_no_amount_is_refused(priced):
    with pytest.raises(InvalidInputError, match="max_latency_ms must be a number above 0"):
        priced.best(max_latency_ms=0)


def test_rivals_are_those_that_cannot_be_told_apart(priced):
    choice = priced.best()
    assert set(choice.rivals) == {"cheap", "beaten"}
    assert "not distinguishable from it" in str(choice)


# --- reading one back


@pytest.mark.parametrize("prepare", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_without_runs_is_no_study(tmp_path, prepare):
    prepare(tmp_path / "study")
    with pytest.raises(RecordError, match="holds no runs"):
        tz.Study.load(tmp_path / "study")


def test_grouped_test_images_widen_intervals_and_a_note_says_so(study):
    grouped = [dataclasses.replace(run, groups=np.array(["a"] * 5 + ["b"] * 5)) for run in study.results]
    again = tz.Study(results=tuple(grouped))
    said = [line for line in again.notes() if "count the 2 groups" in line]
    assert len(said) == 1
    assert not [line for line in study.notes() if "groups" in line]
    for wide, narrow in zip(again.summary(), study.summary(), strict=True):
        assert wide["accuracy_high"] - wide["accuracy_low"] > narrow["accuracy_high"] - narrow["accuracy_low"]


def test_three_models_or_more_have_their_possible_ranks(study):
    third = result("third", 0.4)
    lines = tz.Study(results=(*study.results, third)).verdicts()
    assert lines[-1].startswith("possible ranks: a|b 1")
    assert not study.verdicts()[-1].startswith("possible ranks")
