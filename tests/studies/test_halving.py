"""Successive halving: what is trained for how long, what judges it, and what is never looked at."""

import dataclasses
import re

import numpy as np
import pytest

import transferzoo as tz
from conftest import QUICK, tiny_registered
from transferzoo import statistics
from transferzoo.errors import InvalidInputError, TransferZooError
from transferzoo.studies.halving import Halving

QUIET = {"weights": None, "lint": False, "verbose": False}
# the last two learn nothing
RATES = {"good": 0.05, "fair": 0.01, "slow": 1e-8, "slower": 1e-9}
MODELS = {name: {"model": "tiny", "learning_rate": rate} for name, rate in RATES.items()}


@pytest.fixture(scope="module")
def digits():
    return tz.load_dataset("digits").subset(train=250, validation=60, test=50)


@pytest.fixture(scope="module", autouse=True)
def tiny_for_all():
    with tiny_registered():
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory, digits):
    out = tmp_path_factory.mktemp("halving") / "out"
    return halve(MODELS, digits, epochs=2, out=out), out


def halve(models, data, **options):
    return tz.studies.successive_halving(models, data, **{"recipe": QUICK, **QUIET, **options})


@pytest.mark.medium
def test_half_of_the_models_is_trained_twice_as_long_from_the_beginning(found):
    halving, out = found
    assert halving.epochs == (2, 4)
    assert [len(study.results) for study in halving.rounds] == [4, 2]
    for epochs, study in zip(halving.epochs, halving.rounds, strict=True):
        assert {result.epochs for result in study.results} == {epochs}
        # the weights that a model ended a round with are not those that it begins the next one with
        assert all(len(result.history["loss"]) == epochs for result in study.results)
    assert sorted(each.name for each in out.iterdir()) == ["epochs-2", "epochs-4"]
    first = [row["model"] for row in halving.rounds[0].summary()]
    assert {result.name for result in halving.rounds[1].results} == set(first[:2])
    assert halving.winner == halving.rounds[1].summary()[0]["model"]
    assert halving.names[0] == halving.winner
    assert sorted(halving.names) == sorted(MODELS)
    assert halving.ranking is None


@pytest.mark.medium
def test_validation_images_judge_and_a_fifth_of_the_training_images_chooses(found, digits):
    halving, _ = found
    assert (halving.train_images, halving.judging_images) == (250, 60)
    for study in halving.rounds:
        for result in study.results:
            assert result.settings["data"]["train"] == 200
            assert result.settings["data"]["validation"] == 50
            np.testing.assert_array_equal(result.y_true, digits.y_validation)


@pytest.mark.medium
def test_test_images_change_nothing(found, digits):
    halving, _ = found
    turned = dataclasses.replace(digits, x_test=255 - digits.x_test, y_test=digits.y_test[::-1])
    # the first round's two best, which is where the second begins
    pair = {name: MODELS[name] for name in halving.rounds[1].names}
    again = halve(pair, turned, epochs=4)
    for name in pair:
        np.testing.assert_array_equal(halving.rounds[1][name].y_prob, again.rounds[0][name].y_prob)


@pytest.mark.medium
def test_the_same_call_reads_what_is_there(found, digits, monkeypatch):
    halving, out = found
    monkeypatch.setattr("transferzoo.fitting.train", None)
    again = halve(MODELS, digits, epochs=2, out=out)
    assert again.to_records() == halving.to_records()


@pytest.mark.medium
def test_what_was_left_out_by_chance_is_marked(found):
    halving, _ = found
    rows = {row["model"]: row for row in halving.to_records()}
    for name, row in rows.items():
        place = halving.epochs.index(row["epochs"])
        study = halving.rounds[place]
        stayed = [each for each in study.names if place == 0 and rows[each]["epochs"] == 4]
        stayed = stayed or [halving.winner]
        if name in stayed:
            assert not row["left_out_by_chance"]
            continue
        last = min(stayed, key=lambda each: study[each].accuracy)
        apart = statistics.difference(study.correct(last), study.correct(name))
        assert row["left_out_by_chance"] == (apart.low <= 0)
        mark = "[*]" if apart.low <= 0 else " "
        assert re.search(rf"^{name} *{mark} ", str(halving), re.MULTILINE)
    assert "2 epochs   4 epochs" in str(halving)
    assert "test images were not looked at" in str(halving)
    assert halving.verdicts()[0] in str(halving)


@pytest.mark.medium
def test_a_winner_at_chance_is_said_to_be_none(digits):
    pair = {"slow": MODELS["slow"], "slower": MODELS["slower"]}
    halving = halve(pair, digits)
    (line,) = [line for line in halving.verdicts() if "most frequent class" in line]
    assert line.startswith(f"{halving.winner} is not shown to be better")
    assert line in str(halving)


@pytest.mark.medium
def test_a_long_list_is_cut_by_linear_probes(digits):
    few = digits.subset(train=120)
    models = {name: {"model": "tiny", "image_size": size} for name, size in (("a", 32), ("b", 16), ("c", 8))}
    halving = halve(models, few, shortlist=2)
    assert isinstance(halving, Halving)
    ranked = [row.model for row in halving.ranking.rows]
    assert {result.name for result in halving.rounds[0].results} == set(ranked[:2])
    row = next(row for row in halving.to_records() if row["model"] == ranked[2])
    assert (row["epochs"], row["accuracy"]) == (0, None)
    assert row["probe"] == halving.ranking[ranked[2]].accuracy
    apart = statistics.difference(halving.ranking.rows[1].correct, halving.ranking.rows[2].correct)
    assert row["left_out_by_chance"] == (apart.low <= 0)
    # neither probe nor penalty saw an image that judges the rounds
    assert halving.ranking.train_images + halving.ranking.validation_images == 120


@pytest.mark.medium
def test_a_run_that_fails_is_left_out_and_named(digits):
    wild = {"model": "tiny", "learning_rate": 1e30}
    halving = halve({"good": "tiny", "wild": wild}, digits)
    assert halving.winner == "good"
    assert any("wild" in line for line in halving.verdicts())
    assert halving.names == ("good", "wild")
    with pytest.raises(InvalidInputError, match="No run of 1 epochs could be finished"):
        halve({"wild": wild, "wilder": wild}, digits)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["resnet20"], {}, "models must be two models or more"),
        ("resnet20", {}, r"Pass \['resnet20', …\]"),
        (["tiny", "resnet21"], {}, "No backbone named 'resnet21'"),
        ({"a": 1, "b": "resnet20"}, {}, r"models\['a'\] must be a backbone's name"),
        ({"a": {"head": "mlp"}, "b": "resnet20"}, {}, r"models\['a'\] must be a backbone's name"),
        (["tiny", "resnet20"], {"epochs": 0}, "epochs must be"),
        (["tiny", "resnet20"], {"shortlist": 1}, "shortlist must be"),
        (["tiny", "resnet20"], {"recipe": "linear_probe"}, "epochs"),
        (["tiny", "resnet20"], {"colour": 1}, "colour"),
        ({"a": "tiny", "b": "tiny", "c": {"model": "tiny", "colour": 1}}, {"shortlist": 2}, "colour"),
    ],
)
def test_a_call_that_cannot_be_is_refused(digits, models, options, message, tmp_path, monkeypatch):
    monkeypatch.setattr("transferzoo.studies.halving.rank", None)
    with pytest.raises(TransferZooError, match=message):
        halve(models, digits, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_class_too_rare_to_be_divided_is_named(digits):
    rare = dataclasses.replace(
        digits,
        x_train=digits.x_train[(digits.y_train != 3) | (np.cumsum(digits.y_train == 3) <= 1)],
        y_train=digits.y_train[(digits.y_train != 3) | (np.cumsum(digits.y_train == 3) <= 1)],
    )
    with pytest.raises(InvalidInputError, match="one for each split to be made"):
        halve(["tiny", "resnet20"], rare)
