"""Several models on the same footing: which runs are made, where, and what becomes of those that fail."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import (
    InvalidInputError,
    UnknownNameError,
    UnknownOptionError,
    WeightsError,
)
from transferzoo.studies.failures import Failure


@pytest.fixture
def compare(tiny, quick, tiny_digits):
    """Compare short runs."""

    def make(models, data=tiny_digits, **options):
        named = isinstance(models, str | list) or all(
            isinstance(value, str | dict) for value in models.values()
        )
        options = {
            "recipe": quick,
            "save_model": False,
            "lint": False,
            **({"weights": None} if named else {}),
            **options,
        }
        return tz.compare(models, data, **options)

    return make


@pytest.fixture
def watched(monkeypatch):
    """Fails the test if a training begins."""
    monkeypatch.setattr("transferzoo.fitting.train", lambda *args, **kwargs: pytest.fail("a training began"))


@pytest.fixture
def trained(monkeypatch):
    """A list that grows by the seed of each training."""
    from transferzoo import fitting

    begun = []

    def train(*args, train=fitting.train, **given):
        begun.append(given["seed"])
        return train(*args, **given)

    monkeypatch.setattr(fitting, "train", train)
    return begun


@pytest.mark.medium
def test_models_are_run_in_the_order_they_are_named(compare, tiny):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    made = compare([tiny, "other"])
    assert [run.name for run in made.results] == ["tiny", "other"]


@pytest.mark.medium
def test_all_models_are_tested_on_the_same_images(compare, tiny, tiny_digits):
    made = compare({"first": tiny, "second": tiny}, head="mlp")
    assert all(np.array_equal(run.y_true, tiny_digits.y_test) for run in made.results)


@pytest.mark.medium
def test_a_mapping_gives_runs_names_of_their_own(compare, tiny):
    model = tz.build(tiny, 10, weights=None)
    assert [run.name for run in compare({"mine": model}).results] == ["mine"]


@pytest.mark.medium
def test_a_study_is_saved_a_folder_a_run_and_loads_again(compare, tiny, tmp_path):
    made = compare({"a": tiny, "b": tiny}, out=tmp_path / "study")
    read = tz.Study.load(tmp_path / "study")
    assert [run.name for run in read.results] == ["a", "b"]
    assert read.to_records() == made.to_records()


@pytest.mark.medium
def test_runs_that_are_there_are_loaded_and_the_others_made(compare, tiny, tmp_path, trained):
    compare({"a": tiny}, out=tmp_path / "study")
    assert len(compare({"a": tiny, "b": tiny}, out=tmp_path / "study")) == 2
    assert trained == [0, 0]


def test_a_runs_folder_is_named_after_the_hash_of_its_settings(compare, tiny, tmp_path):
    run = compare({"a": tiny}, out=tmp_path).results[0]
    assert run.folder.name == f"a-{run.provenance['hashes']['identity'][:10]}"


@pytest.mark.medium
def test_other_settings_make_another_run_in_the_same_study(compare, tiny, tmp_path):
    compare({"a": tiny}, out=tmp_path)
    compare({"a": tiny}, out=tmp_path, epochs=2)
    assert len(tz.Study.load(tmp_path)) == 2


# --- seeds


@pytest.mark.medium
def test_each_model_is_run_with_each_seed_on_the_same_split(compare, tiny, tmp_path):
    made = compare({"a": tiny, "b": tiny}, seeds=(3, 5), out=tmp_path)
    assert [(run.name, run.seed) for run in made.results] == [("a", 3), ("a", 5), ("b", 3), ("b", 5)]
    assert len({run.settings["data"]["sha256"] for run in made.results}) == 1
    assert not np.array_equal(made["a", 3].y_prob, made["a", 5].y_prob)


@pytest.mark.medium
def test_a_complete_comparison_of_the_first_seed_comes_first(compare, tiny, trained):
    compare({"a": tiny, "b": tiny}, seeds=(3, 5))
    assert trained == [3, 3, 5, 5]


@pytest.mark.parametrize("seeds", [(), (1, 1), "01", 3, (0.5,)])
def test_seeds_are_whole_numbers_each_once(compare, watched, tiny, seeds):
    with pytest.raises(InvalidInputError, match="seeds must be"):
        compare([tiny], seeds=seeds)


def test_a_built_model_is_not_run_with_several_seeds(compare, watched, tiny):
    model = tz.build(tiny, 10, weights=None)
    with pytest.raises(InvalidInputError, match=r"'mine' is a built model.*backbone's name"):
        compare({"mine": model}, seeds=(0, 1))


# --- options of one model alone


@pytest.mark.medium
def test_a_dict_gives_one_model_options_of_its_own_and_the_study_says_so(compare, tiny):
    made = compare({"a": tiny, "b": {"model": tiny, "epochs": 2}})
    assert [run.epochs for run in made.results] == [1, 2]
    assert made.conditions() == ["epochs (a 1, b 2)"]


def test_a_dict_without_a_model_is_refused(compare, watched):
    with pytest.raises(InvalidInputError, match="a dict with one under 'model'"):
        compare({"a": {"epochs": 2}})


# --- failures


@pytest.fixture
def failing(monkeypatch):
    """A function that makes the training of models with some head fail."""
    from transferzoo import fitting
    from transferzoo.models.construct import model_settings

    def fail(head, train=fitting.train):
        def maybe(model, *args, **given):
            if model_settings(model).head == head:
                raise MemoryError("no memory left")
            return train(model, *args, **given)

        monkeypatch.setattr(fitting, "train", maybe)

    return fail


@pytest.mark.medium
def test_a_run_that_fails_is_on_record_and_the_others_go_on(compare, tiny, tmp_path, failing):
    failing("mlp")
    made = compare({"bad": {"model": tiny, "head": "mlp"}, "good": tiny}, out=tmp_path)
    assert [run.name for run in made.results] == ["good"]
    (failure,) = made.failures
    assert (failure.name, failure.error, failure.message) == ("bad", "MemoryError", "no memory left")
    record = json.loads((failure.folder / "failure.json").read_text())
    assert (record["kind"], record["settings"]["model"]["head"]) == ("transferzoo failure", "mlp")
    read = tz.Study.load(tmp_path)
    assert [each.message for each in read.failures] == ["no memory left"]


@pytest.mark.medium
def test_a_run_that_failed_is_tried_again_by_the_same_call(compare, tiny, tmp_path, failing):
    failing("mlp")
    models = {"bad": {"model": tiny, "head": "mlp"}}
    assert len(compare(models, out=tmp_path).failures) == 1
    failing("nothing")
    again = compare(models, out=tmp_path)
    assert (len(again), again.failures) == (1, ())
    assert tz.Study.load(tmp_path).failures == ()


def test_a_run_that_fails_without_a_folder_is_in_the_study(compare, tiny, failing):
    failing("linear")
    made = compare([tiny])
    assert (len(made), made.failures[0].folder) == (0, None)


def test_an_interrupt_is_no_failure(compare, tiny, tmp_path, monkeypatch):
    def stop(*args, **given):
        raise KeyboardInterrupt

    monkeypatch.setattr("transferzoo.fitting.train", stop)
    with pytest.raises(KeyboardInterrupt):
        compare([tiny], out=tmp_path)


def test_a_file_that_is_no_failure_is_not_taken_for_one(tmp_path):
    (tmp_path / "failure.json").write_text('{"kind": "other"}')
    assert Failure.load(tmp_path) is None


# --- several processes


CHILD = """
import sys, transferzoo as tz
data = tz.load_dataset("digits").subset(train=60, validation=30, test=30)
study = tz.compare({"a": "mobilenet_025", "b": {"model": "mobilenet_025", "head": "mlp"}}, data, weights=None,
    epochs=1, image_size="input", out=sys.argv[1], save_model=False, lint=False, cache=False)
print(sorted(run.provenance["started"] + run.name for run in study.results))
"""


@pytest.mark.slow
def test_two_processes_fill_one_study_and_no_run_is_made_twice(tmp_path):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    said = [child.communicate(timeout=300)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said[0] == said[1]
    assert len(tz.Study.load(tmp_path)) == 2


@pytest.mark.medium
def test_a_run_that_another_process_works_at_comes_last(compare, tiny, tmp_path, trained, monkeypatch):
    from transferzoo.studies import comparing

    monkeypatch.setattr(comparing, "_busy", lambda run: run.name == "a")
    order = []
    monkeypatch.setattr(
        comparing,
        "_outcome",
        lambda run, *, outcome=comparing._outcome, **given: order.append(run.name) or outcome(run, **given),
    )
    made = compare({"a": tiny, "b": tiny}, out=tmp_path)
    assert order == ["b", "a"]
    assert [run.name for run in made.results] == ["a", "b"]


@pytest.mark.slow
def test_runs_in_processes_of_their_own_are_those_of_this_one(compare, tiny, tmp_path, capfd):
    models = {"a": tiny, "b": {"model": tiny, "head": "mlp"}}
    here = compare(models, seeds=(0, 1), out=tmp_path / "here")
    capfd.readouterr()
    there = compare(models, seeds=(0, 1), out=tmp_path / "there", n_jobs=2)
    # nor do they show what TensorFlow says as it is imported
    assert not [line for line in capfd.readouterr().err.splitlines() if "I0000" in line or "absl" in line]
    assert [(run.name, run.seed) for run in there.results] == [(run.name, run.seed) for run in here.results]
    for ours, theirs in zip(here.results, there.results, strict=True):
        assert theirs.settings == ours.settings
        assert np.allclose(theirs.y_prob, ours.y_prob, atol=1e-4)


def test_processes_get_their_share_of_the_cores():
    from transferzoo.studies.comparing import _share_of_cores

    before = dict(os.environ)
    with _share_of_cores(3):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["TF_NUM_INTRAOP_THREADS"]) == ("3", "3")
    assert dict(os.environ) == before


def test_the_number_of_processes_is_a_count_or_all(compare, watched, tiny):
    with pytest.raises(InvalidInputError, match=r"n_jobs must be.*Or -1, for as many as there are cores"):
        compare([tiny], n_jobs=0)


# --- calls that are refused


@pytest.mark.parametrize(
    ("models", "options", "error", "message"),
    [
        (["tiny", "tniy"], {}, UnknownNameError, "Did you mean 'tiny'"),
        (["tiny", "tiny"], {}, InvalidInputError, "must name each model once.*give a mapping"),
        ("tiny", {}, InvalidInputError, r"a list of backbones' names\. Got 'tiny'\. Pass \['tiny', …\]"),
        ([], {}, InvalidInputError, "models must be one or more backbones' names"),
        (
            {"a/b": "tiny"},
            {},
            InvalidInputError,
            "names of at most 100 characters, without spaces, slashes, # or a leading dot",
        ),
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
