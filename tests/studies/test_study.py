"""Several models on the same footing, and the study that they make."""

import csv
import io

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import (
    InvalidInputError,
    OutputExistsError,
    RecordError,
    UnknownNameError,
    UnknownOptionError,
    WeightsError,
)


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
            **costs,
        },
        environment={},
    )


@pytest.fixture
def study():
    """Two runs, the worse one first."""
    return tz.Study(results=(result("small", 0.5), result("a|b", 0.9, extra=3)))


@pytest.fixture
def compare(tiny, quick, tiny_digits):
    """Compare short runs."""

    def make(models, data=tiny_digits, **options):
        named = isinstance(models, str | list) or all(isinstance(value, str) for value in models.values())
        options = {"recipe": quick, "save_model": False, **({"weights": None} if named else {}), **options}
        return tz.compare(models, data, **options)

    return make


@pytest.fixture
def watched(monkeypatch):
    """Fails the test if a training begins."""
    monkeypatch.setattr("transferzoo.runs.train", lambda *args, **kwargs: pytest.fail("a training began"))


# --- reading a study


def test_the_table_has_the_best_accuracy_first(study):
    _, rows = study.table()
    assert [row[:2] for row in rows] == [["a|b", "90.0%"], ["small", "50.0%"]]


def test_the_table_shows_what_each_run_cost_with_units(study):
    _, rows = study.table()
    assert rows[0][2:] == ["1.23 M", "4.9 MB", "12 s", "2", "1,500 images/s"]


def test_the_text_ends_with_what_was_compared_and_on_what(study):
    assert str(study).splitlines()[-1] == (
        "pets: 60 training, 20 validation, 10 test images; recipe 'default', seed 4"
    )


def test_the_text_stands_in_columns(study):
    header, rule, first, second, _ = str(study).splitlines()
    end = header.index("test accuracy") + len("test accuracy")
    assert [line[:end].endswith(text) for line, text in ((first, "90.0%"), (second, "50.0%"))] == [True, True]
    assert set(rule) == {"─", " "}


def test_the_caption_says_when_a_study_is_faithful():
    run = result("small", 0.5)
    run.settings["recipe"]["faults"] = ["raw_pixels"]
    assert "recipe 'default' (faithful), seed" in tz.Study(results=(run,)).caption()


def test_markdown_has_as_many_cells_in_every_line(study):
    lines = study.to_markdown().splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {8}
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"


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


def test_a_plot_has_a_bar_for_each_run(study):
    names = {text.get_text() for axis in "xy" for text in getattr(study.plot(), f"get_{axis}ticklabels")()}
    assert {"small", "a|b"} <= names


# --- making one


def test_models_are_run_in_the_order_they_are_named(compare, tiny):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    made = compare([tiny, "other"])
    assert [run.name for run in made.results] == ["tiny", "other"]


def test_all_models_are_tested_on_the_same_images(compare, tiny, tiny_digits):
    made = compare({"first": tiny, "second": tiny}, head="mlp")
    assert all(np.array_equal(run.y_true, tiny_digits.y_test) for run in made.results)


def test_a_mapping_gives_runs_names_of_their_own(compare, tiny):
    model = tz.build(tiny, 10, weights=None)
    assert [run.name for run in compare({"mine": model}).results] == ["mine"]


def test_a_study_is_saved_a_folder_a_run_and_loads_again(compare, tiny, tmp_path):
    made = compare({"a": tiny, "b": tiny}, out=tmp_path / "study")
    read = tz.Study.load(tmp_path / "study")
    assert [run.name for run in read.results] == ["a", "b"]
    assert read.to_records() == made.to_records()


def test_runs_that_are_there_are_loaded_and_the_others_made(compare, tiny, tmp_path, monkeypatch):
    from transferzoo import runs

    compare({"a": tiny}, out=tmp_path / "study")
    trained = []
    monkeypatch.setattr(
        runs, "train", lambda *args, train=runs.train, **kw: trained.append(1) or train(*args, **kw)
    )
    assert len(compare({"a": tiny, "b": tiny}, out=tmp_path / "study")) == 2
    assert trained == [1]


@pytest.mark.parametrize(
    ("models", "options", "error", "message"),
    [
        (["tiny", "tniy"], {}, UnknownNameError, "Did you mean 'tiny'"),
        (["tiny", "tiny"], {}, InvalidInputError, "must name each model once.*give a mapping"),
        ("tiny", {}, InvalidInputError, r"a list of backbones' names\. Got 'tiny'\. Pass \['tiny', …\]"),
        ([], {}, InvalidInputError, "models must be one or more backbones' names"),
        ({"a/b": "tiny"}, {}, InvalidInputError, "names without spaces, slashes or a leading dot"),
        ({".a": "tiny"}, {}, InvalidInputError, "leading dot"),
        (
            ["tiny"],
            {"epoch": 1},
            UnknownOptionError,
            r"compare has no option 'epoch'\. Did you mean 'epochs'",
        ),
        (["tiny", "alexnet"], {"image_size": 16}, InvalidInputError, "at least 32 for 'alexnet'"),
        (["tiny", "alexnet"], {"weights": "imagnet"}, WeightsError, "'imagnet' is no file"),
        (["tiny"], {"recipe": "defualt"}, UnknownNameError, "Did you mean 'default'"),
    ],
)
def test_every_call_is_checked_before_the_first_training(
    compare, watched, tmp_path, models, options, error, message
):
    with pytest.raises(error, match=message):
        compare(models, out=tmp_path / "study", **options)
    assert list(tmp_path.iterdir()) == []


def test_all_folders_are_checked_before_the_first_training(compare, watched, tiny, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="b' is a folder that is not empty"):
        compare({"a": tiny, "b": tiny}, out=tmp_path)


def test_a_file_in_the_studys_place_is_refused(compare, watched, tiny, tmp_path):
    (tmp_path / "study").write_text("mine")
    with pytest.raises(InvalidInputError, match="out must be a folder"):
        compare([tiny], out=tmp_path / "study")


def test_all_weights_are_fetched_before_the_first_training(
    compare, watched, tiny, tmp_path, monkeypatch, closed_url
):
    from transferzoo.errors import DownloadError

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    published = tz.Weights(
        name="imagenet", url=f"{closed_url}/x.h5", hash=None, trained_on="", licence="", source=""
    )
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8, weights=[published])
    with pytest.raises(DownloadError, match="the imagenet weights of other"):
        compare(["other"], weights="imagenet")


@pytest.mark.parametrize("prepare", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_without_runs_is_no_study(tmp_path, prepare):
    prepare(tmp_path / "study")
    with pytest.raises(RecordError, match="holds no runs"):
        tz.Study.load(tmp_path / "study")
