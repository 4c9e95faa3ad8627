"""The article's study, repaired one fault at a time."""

import itertools

import numpy as np
import pytest

import transferzoo as tz
from conftest import make_tiny
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.errors import InvalidInputError
from transferzoo.studies import named


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """A ladder of a small network."""
    tz.register_backbone("tiny", make_tiny, minimum_size=8, default_size=32, feature_channels=16)
    data = tz.load_dataset("digits").subset(train=60, validation=30, test=40)
    found = tz.studies.article(
        "tiny",
        data,
        epochs=1,
        seeds=(0,),
        image_size=64,
        weights=None,
        out=tmp_path_factory.mktemp("audit"),
    )
    # each test registers it for itself
    del BACKBONES._records["tiny"]
    return found


KEYS = [
    "published",
    "own-optimizer",
    "preprocessing",
    "plain-validation",
    "cosine",
    "larger-images",
    "linear-head",
    "default-recipe",
]


def settings_of(audit, number):
    return audit.study.results[number].settings


@pytest.mark.medium
def test_every_step_is_run_in_order(audit):
    assert [step.key for step in audit.ladders["tiny"]] == KEYS
    assert [run.name for run in audit.study.results] == [
        f"tiny-{number}-{key}" for number, key in enumerate(KEYS)
    ]


@pytest.mark.medium
def test_it_begins_as_published(audit):
    first = settings_of(audit, 0)
    assert set(first["recipe"]["faults"]) == {"raw_pixels", "augmented_validation", "repeated_validation"}
    phase = first["recipe"]["phases"][0]
    assert (phase["learning_rate"], phase["batch_size"], phase["plateau"]["factor"]) == (1e-5, 100, 0.01)
    assert first["model"]["preprocessing"] == "none"
    assert (first["model"]["head"], first["model"]["image_size"]) == ("article_mobilenet", [32, 32])


CHANGES = {
    1: {"recipe.phases.learning_rate"},
    2: {"recipe.faults", "model.preprocessing"},
    3: {"recipe.faults"},
    4: {"recipe.phases.plateau", "recipe.phases.schedule"},
    5: {"model.image_size"},
    6: {"model.head"},
}


def flat(value, path=""):
    if isinstance(value, dict):
        return {key: v for name, part in value.items() for key, v in flat(part, f"{path}.{name}").items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {key: v for part in value for key, v in flat(part, path).items()}
    return {path: value}


@pytest.mark.medium
@pytest.mark.parametrize("number", CHANGES)
def test_each_step_changes_one_thing(audit, number):
    before, after = flat(settings_of(audit, number - 1)), flat(settings_of(audit, number))
    changed = {key for key in {**before, **after} if before.get(key) != after.get(key)}
    assert {key for key in changed if any(key.startswith(f".{path}") for path in CHANGES[number])} == changed
    assert len(changed) >= len(CHANGES[number])


@pytest.mark.medium
def test_every_step_has_the_same_epochs(audit):
    assert {run.epochs for run in audit.study.results} == {1}


@pytest.mark.medium
def test_the_gain_of_a_step_is_what_it_is_above_the_one_before(audit):
    steps = audit.ladders["tiny"]
    assert steps[0].gain is None
    for before, after in itertools.pairwise(steps):
        assert after.gain == pytest.approx(after.accuracy - before.accuracy)
        assert after.gain_low <= after.gain <= after.gain_high


@pytest.mark.medium
def test_records_text_and_markdown_have_a_line_a_step(audit):
    assert len(audit.to_records()) == len(KEYS)
    assert len(audit.to_markdown().splitlines()) == 2 + len(KEYS)
    lines = str(audit).splitlines()
    assert lines[0] == "tiny:"
    assert [line.split(".")[0].strip() for line in lines[1 : 1 + len(KEYS)]] == list(
        map(str, range(len(KEYS)))
    )


@pytest.mark.medium
def test_the_ladder_is_drawn_with_a_label_a_step(audit):
    texts = [label.get_text() for label in audit.plot().get_yticklabels()]
    assert all(any(step.label in text for text in texts) for step in audit.ladders["tiny"])


@pytest.mark.medium
def test_the_audit_can_only_draw_what_it_ran(audit):
    with pytest.raises(InvalidInputError, match="Did you mean 'tiny'"):
        audit.plot("tinny")


@pytest.mark.medium
def test_asking_twice_does_not_run_twice(audit, tiny, monkeypatch):
    monkeypatch.setattr("transferzoo.fitting.train", lambda *args, **kwargs: pytest.fail("a training began"))
    data = tz.load_dataset("digits").subset(train=60, validation=30, test=40)
    again = tz.studies.article(
        [tiny],
        data,
        epochs=1,
        seeds=(0,),
        image_size=64,
        weights=None,
        out=audit.study.folder,
    )
    assert again.to_records() == audit.to_records()


def test_the_first_model_of_the_article_begins_at_its_own_rate_with_dropout_in_its_head():
    steps = named._steps("resnet50", 96)
    assert [key for key, _, _ in steps] == [key for key in KEYS if key != "own-optimizer"]
    assert steps[0][2]["head"] == "article_resnet50"
    assert steps[0][2]["recipe"].phases[0].learning_rate == 1e-3


def test_the_split_is_the_articles_70_to_30():
    data = named.article_data("digits")
    share = len(data.x_validation) / (len(data.x_train) + len(data.x_validation))
    assert share == pytest.approx(0.3, abs=0.01)
    assert np.unique(data.y_validation).size == 10


def test_a_step_that_brings_nothing_clear_says_so():
    unclear = named.Step(
        key="k", label="l", accuracy=0.5, low=0.4, high=0.6, gain=0.01, gain_low=-0.02, gain_high=0.04
    )
    assert "not distinguishable from none" in str(unclear)


@pytest.mark.slow
def test_real_weights_on_real_images_climb_the_ladder(shared_home, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(shared_home))
    data = named.article_data("cifar10", 400).subset(test=500)
    audit = tz.studies.article("mobilenet", data, epochs=1, seeds=(0,), image_size=64)
    steps = audit.ladders["mobilenet"]
    assert steps[0].accuracy < 0.2
    assert steps[-1].accuracy > 0.5
    assert steps[-1].low > steps[0].high
