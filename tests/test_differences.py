"""`diff`: the settings that differ, the figures, and the images that flipped."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar

import transferzoo as tz
from transferzoo.errors import InvalidInputError, RecordError
from transferzoo.results.differences import diff, differing
from transferzoo.results.pairing import dataset_of
from transferzoo.results.result import Result

DIGITS = [{"load_dataset": {"name": "digits", "validation": 0.2, "seed": 0}}]


def one_hot(classes, sure=0.75):
    """Probabilities whose guesses are these classes."""
    rest = (1 - sure) / 9
    return np.where(np.arange(10) == np.asarray(classes)[:, None], sure, rest).astype("float32")


def make_run(data, guesses, *, name="small", seed=0, calls=DIGITS, **changes):
    """A run on a dataset's test images with these guesses."""
    settings = {
        "seed": seed,
        "data": {"name": data.name, "test_sha256": data.test_hash, "seed": data.seed},
        "recipe": {"phases": [{"epochs": 3}]},
    }
    y_prob = one_hot(guesses)
    fields = {
        "name": name,
        "metrics": tz.evaluate(data.y_test, y_prob),
        "history": {"loss": [1.0]},
        "y_true": data.y_test,
        "y_prob": y_prob,
        "class_names": data.class_names,
        "settings": settings,
        "costs": {"parameters": 10},
        "environment": {"keras": "3.8.0"},
        "index": data.test_index,
        "provenance": {"call": {"data": calls}, "hashes": {"weights": None}},
    }
    return Result(**(fields | changes))


@pytest.fixture(scope="module")
def digits():
    return tz.load_dataset("digits")


@pytest.fixture
def pair(digits):
    """Two runs: the first misses images 0 to 9, the second 5 to 24; on 5 to 9 the guesses are unlike."""
    guesses = [digits.y_test.copy(), digits.y_test.copy()]
    guesses[0][:10] = (guesses[0][:10] + 1) % 10
    guesses[1][5:25] = (guesses[1][5:25] + 2) % 10
    return make_run(digits, guesses[0]), make_run(digits, guesses[1], name="large", seed=1)


class TestSettings:
    def test_nested_settings_are_named_by_their_path(self):
        a = {"seed": 0, "recipe": {"phases": [{"epochs": 3, "rate": 0.1}], "name": "x"}}
        b = {"seed": 1, "recipe": {"phases": [{"epochs": 3, "rate": 0.2}], "name": "x"}}
        assert differing(a, b) == [("seed", 0, 1), ("recipe.phases[0].rate", 0.1, 0.2)]

    def test_a_setting_that_one_lacks_counts_as_none(self):
        assert differing({"a": 1}, {"b": 2}) == [("a", 1, None), ("b", None, 2)]
        assert differing({"a": None}, {}) == []

    def test_lists_of_another_length_are_one_difference_and_phases_one_each(self):
        assert differing({"size": [32, 32]}, {"size": [96]}) == [("size", [32, 32], [96])]
        assert differing({"phases": [{"a": 1}]}, {"phases": [{"a": 2}, {"a": 3}]}) == [
            ("phases[0].a", 1, 2),
            ("phases[1]", None, {"a": 3}),
        ]

    def test_nan_is_like_nan(self):
        assert differing({"a": math.nan}, {"a": math.nan}) == []

    def test_settings_and_environment_stand_apart(self, digits):
        a = make_run(digits, digits.y_test)
        b = make_run(digits, digits.y_test, seed=4, environment={"keras": "3.9.0"})
        found = diff(a, b)
        assert [(each.path, each.a, each.b) for each in found.settings] == [("seed", 0, 4)]
        assert [each.path for each in found.environment] == ["keras"]

    def test_weights_that_differ_by_their_hash_alone_are_named(self, digits):
        runs = [
            make_run(digits, digits.y_test, provenance={"hashes": {"weights": digest}}) for digest in "ab"
        ]
        assert [each.path for each in diff(*runs).settings] == ["provenance.hashes.weights"]

    def test_figures_stand_side_by_side(self, pair):
        rows = {row["figure"]: row for row in diff(*pair).figures}
        assert rows["accuracy"]["a"] == pair[0].accuracy
        assert rows["accuracy"]["b"] == pair[1].accuracy
        assert rows["parameters"] == {"figure": "parameters", "a": 10, "b": 10}

    def test_a_figure_that_one_lacks_is_nan(self, digits):
        a, b = make_run(digits, digits.y_test), make_run(digits, digits.y_test, costs={"macs": 3})
        rows = {row["figure"]: row for row in diff(a, b).figures}
        assert math.isnan(rows["macs"]["a"])
        assert math.isnan(rows["parameters"]["b"])


class TestFlips:
    def test_images_that_flipped_are_counted_by_who_was_right(self, pair):
        flips = diff(*pair).flips
        assert flips.index.tolist() == list(range(25))
        assert (len(flips), flips.only_a, flips.only_b, flips.neither) == (25, 15, 5, 5)
        assert flips.images == 359

    def test_the_p_value_is_that_of_another_implementation(self, pair):
        table = [[0, 15], [5, 0]]
        # mid-p: the outcome that was seen counts half on either side
        expected = mcnemar(table, exact=True).pvalue - binom.pmf(5, 20, 0.5)
        assert diff(*pair).flips.p_value == pytest.approx(expected)

    def test_the_verdict_names_the_better_run(self, pair):
        assert diff(*pair).flips.verdict.startswith("small beats large by 2.8 points")

    def test_records_hold_both_guesses(self, pair, digits):
        first, *_, last = diff(*pair).to_records()
        true = int(digits.y_test[0])
        assert first == {
            "index": 0,
            "y_true": true,
            "predicted_a": (true + 1) % 10,
            "predicted_b": true,
            "prob_a": 0.75,
            "prob_b": 0.75,
            "right": "b",
        }
        assert last["right"] == "a"

    def test_runs_on_unlike_parts_of_the_test_split_are_paired_by_their_places(self, digits, pair):
        part = digits.subset(test=100, seed=3)
        places = part.test_index
        b = pair[1]
        run = make_run(part, b.y_prob.argmax(axis=1)[places], name="part")
        flips = diff(pair[0], run).flips
        assert flips.images == 100
        assert flips.index.tolist() == [place for place in range(25) if place in places]

    def test_runs_in_another_order_are_paired_by_their_places(self, pair):
        a, b = pair
        order = np.random.default_rng(0).permutation(len(b.y_true))
        shuffled = make_run_in_order(b, order)
        assert diff(a, shuffled).to_records() == diff(a, b).to_records()

    def test_the_same_images_are_paired_wherever_they_were_taken_from(self, digits):
        part = digits.subset(test=50)
        arrays = tz.from_arrays(
            part.x_train, part.y_train, part.x_test, part.y_test, class_names=part.class_names
        )
        guesses = part.y_test.copy()
        guesses[7] = (guesses[7] + 1) % 10
        calls = [*DIGITS, {"subset": {"test": 50}}]
        found = diff(
            make_run(part, guesses, calls=calls), make_run(arrays, part.y_test, calls="arrays", name="b")
        )
        assert found.flips.index.tolist() == [part.test_index[7]]
        assert (found.images()[0] == part.x_test[7]).all()

    def test_another_dataset_is_not_paired_and_settings_are_shown_all_the_same(self, digits, pair):
        other = make_run(digits, digits.y_test, name="other")
        other.settings["data"] = {"name": "cats", "test_sha256": "00"}
        found = diff(pair[0], other)
        assert found.flips is None
        assert found.unpaired == "they were tested on 'digits' and 'cats'."
        assert "data.name" in str(found)
        assert "flipped images cannot be told: they were tested on" in str(found)
        with pytest.raises(InvalidInputError, match="image by image"):
            found.to_records()

    def test_other_content_at_the_same_places_is_not_paired(self, digits, pair):
        other = make_run(digits, digits.y_test, name="other")
        other.settings["data"]["test_sha256"] = "00"
        assert "other content" in diff(pair[0], other).unpaired

    def test_a_split_by_another_seed_is_not_paired_by_places(self, digits):
        halves = [digits.subset(test=100, seed=seed) for seed in (0, 1)]
        runs = [make_run(half, half.y_test, calls=[{"from_directory": {"path": "x"}}]) for half in halves]
        runs[1].settings["data"]["seed"] = 1
        assert "drawn with other seeds (0 and 1)" in diff(*runs).unpaired

    def test_a_named_dataset_has_one_test_split_for_all_seeds(self, digits):
        halves = [digits.subset(test=100, seed=seed) for seed in (0, 1)]
        runs = [make_run(half, half.y_test) for half in halves]
        runs[1].settings["data"]["seed"] = 1
        assert 0 < diff(*runs).flips.images < 100

    def test_labels_that_disagree_are_not_paired(self, digits):
        halves = [digits.subset(test=100, seed=seed) for seed in (0, 1)]
        a = make_run(halves[0], halves[0].y_test)
        b = make_run(halves[1], halves[1].y_test, y_true=(halves[1].y_test + 1) % 10)
        assert "have other labels" in diff(a, b).unpaired

    def test_other_classes_are_not_paired(self, digits, pair):
        other = make_run(digits, digits.y_test, class_names=tuple("abcdefghij"))
        assert "other classes" in diff(pair[0], other).unpaired

    def test_parts_without_a_common_image_are_not_paired(self, digits):
        runs = [
            make_run(digits, one_hot(digits.y_test).argmax(axis=1), index=np.arange(359) + 359 * number)
            for number in (0, 1)
        ]
        runs[1].settings["data"]["test_sha256"] = "00"
        assert "no test image in common" in diff(*runs).unpaired

    def test_a_run_that_diverged_has_no_flips(self, digits, pair):
        lost = make_run(digits, digits.y_test, metrics={})
        lost.y_prob[:] = np.nan
        assert "diverged" in diff(pair[0], lost).unpaired


def make_run_in_order(run, order):
    """The same run with its images in another order, of which the hash is another too."""
    settings = json.loads(json.dumps(run.settings))
    settings["data"]["test_sha256"] = None
    return Result(
        **{
            **{name: getattr(run, name) for name in ("name", "metrics", "history", "class_names", "costs")},
            "environment": run.environment,
            "provenance": run.provenance,
            "settings": settings,
            "index": run.index[order],
            "y_true": run.y_true[order],
            "y_prob": run.y_prob[order],
        }
    )


class TestImages:
    def test_they_are_loaded_again_by_the_calls_on_record(self, pair, digits):
        images = diff(*pair).images()
        assert (images == digits.x_test[:25]).all()

    def test_they_are_taken_from_a_dataset_that_is_given(self, pair, digits):
        pair[0].provenance["call"]["data"] = "arrays"
        assert (diff(*pair, data=digits).images() == digits.x_test[:25]).all()

    def test_they_are_taken_from_an_array(self, pair, digits):
        assert (diff(*pair).images(digits.x_test) == digits.x_test[:25]).all()
        with pytest.raises(InvalidInputError, match="359 test images"):
            diff(*pair).images(digits.x_test[:10])

    def test_of_a_part_the_whole_dataset_has_them_too(self, digits):
        part = digits.subset(test=100, seed=3)
        guesses = part.y_test.copy()
        guesses[[4, 8]] += 1
        found = diff(make_run(part, part.y_test), make_run(part, guesses % 10))
        assert (found.images(digits) == part.x_test[[4, 8]]).all()

    def test_a_dataset_with_other_images_is_refused(self, pair, digits):
        with pytest.raises(InvalidInputError, match="a test split without 259 of them"):
            diff(*pair).images(digits.subset(test=100))
        changed = tz.from_arrays(
            digits.x_train, digits.y_train, 255 - digits.x_test, digits.y_test, name="digits"
        )
        with pytest.raises(InvalidInputError, match="test images with hash"):
            diff(*pair).images(changed)

    def test_a_dataset_with_other_labels_is_refused(self, digits):
        part = digits.subset(test=100, seed=3)
        found = diff(make_run(part, part.y_test), make_run(part, (part.y_test + 1) % 10))
        changed = tz.from_arrays(digits.x_train, digits.y_train, digits.x_test, (digits.y_test + 1) % 10)
        with pytest.raises(InvalidInputError, match="100 other labels"):
            found.images(changed)

    def test_arrays_cannot_be_loaded_again(self, pair):
        pair[0].provenance["call"]["data"] = "arrays named 'mine'"
        with pytest.raises(InvalidInputError, match=r"given as arrays.*Pass data="):
            diff(*pair).images()

    def test_a_dataset_that_changed_since_is_refused(self, pair):
        pair[0].settings["data"]["test_sha256"] = "00" * 32
        with pytest.raises(InvalidInputError, match="other test images by now"):
            dataset_of(pair[0])

    def test_a_dataset_that_is_gone_is_said_with_what_to_do(self, pair):
        pair[0].provenance["call"]["data"] = [{"load_dataset": {"name": "gone"}}]
        with pytest.raises(InvalidInputError, match=r"No dataset named 'gone'.*Pass data="):
            dataset_of(pair[0])

    def test_the_picture_shows_what_flipped(self, pair):
        from matplotlib.figure import Figure

        ax = Figure().subplots()
        diff(*pair).plot(rows=2, columns=3, ax=ax)
        assert len(ax.images) == 6
        assert ax.get_title() == "25 predictions differ: only small right 15, only large right 5, neither 5"

    def test_where_nothing_flipped_the_picture_says_so(self, digits):
        from matplotlib.figure import Figure

        ax = Figure().subplots()
        runs = make_run(digits, digits.y_test), make_run(digits, digits.y_test, calls="arrays")
        diff(*runs).plot(ax=ax)
        assert len(ax.images) == 0
        assert ax.get_title().startswith("0 predictions differ")


class TestWords:
    def test_the_text_names_settings_figures_verdict_and_images(self, pair):
        text = diff(*pair).text(limit=2)
        lines = text.splitlines()
        assert lines[:2] == ["a: small", "b: large"]
        assert ["seed", "0", "1"] in [line.split() for line in lines]
        assert "small beats large by" in text
        assert "25 of 359 predictions differ: only a right 15, only b right 5, neither 5" in text
        assert lines[-1] == "23 more"
        assert [line.split()[0] for line in lines[-3:-1]] == ["0", "1"]

    def test_two_runs_of_a_name_are_told_apart(self, digits, tmp_path):
        a, b = make_run(digits, digits.y_test), make_run(digits, digits.y_test, seed=1)
        assert (diff(a, b).a, diff(a, b).b) == ("small (seed 0)", "small (seed 1)")
        assert (diff(a, a).a, diff(a, a).b) == ("small (a)", "small (b)")
        folders = [a.save(tmp_path / "one"), a.save(tmp_path / "two")]
        assert (diff(*folders).a, diff(*folders).b) == ("one", "two")

    def test_runs_that_are_alike_are_said_to_be(self, digits):
        run = make_run(digits, digits.y_test)
        text = str(diff(run, run))
        assert "settings that differ: none" in text
        assert "environment: the same" in text
        assert "0 of 359 predictions differ" in text

    def test_what_stands_in_a_file_does_not_move_the_cursor(self, digits):
        run = make_run(digits, digits.y_test)
        other = make_run(digits, (digits.y_test + 1) % 10, name="[red]\x1b[31m", metrics={"\x1b[2J": 1.0})
        other.settings["\x1b[2J"] = "\x1b[2J"
        assert "\x1b" not in str(diff(run, other))
        assert "[red]" in str(diff(run, other))

    def test_it_is_plain_json(self, pair):
        found = json.loads(json.dumps(diff(*pair).to_dict(), allow_nan=False))
        assert found["flips"]["only_a"] == 15
        assert len(found["flips"]["flipped"]) == 25
        assert found["settings"] == [{"path": "seed", "a": 0, "b": 1}]


@pytest.mark.medium
def test_a_real_run_read_back_is_like_itself(tiny, tiny_digits, quick, tmp_path):
    options = {"recipe": quick, "weights": None, "lint": False, "verbose": False}
    run = tz.fit_and_evaluate(tiny, tiny_digits, out=tmp_path / "run", **options)
    found = diff(run, tmp_path / "run")
    assert (found.settings, found.environment, len(found.flips)) == ((), (), 0)
    assert (dataset_of(Result.load(tmp_path / "run")).x_test == tiny_digits.x_test).all()


def test_a_folder_without_a_run_is_an_error(tmp_path, pair):
    with pytest.raises(RecordError, match=r"run\.json: it is missing"):
        diff(pair[0], tmp_path)


def test_what_is_no_run_is_an_error(pair):
    with pytest.raises(InvalidInputError, match="run_b must be a run's folder, or a Result"):
        diff(pair[0], 3)
