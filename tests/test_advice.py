"""`lint`: what it takes, and what it leaves alone."""

import keras
import pytest
from keras import layers

import transferzoo as tz
from transferzoo.errors import InvalidInputError, UnknownNameError, UnknownOptionError
from transferzoo.linting.advice import lint


def codes(findings):
    return [finding.code for finding in findings]


def network():
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(4, 3, strides=4),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture
def other(tiny):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8, default_size=32)
    return "other"


def test_a_dataset_may_be_given_by_name(tiny):
    assert codes(lint(tiny, "digits", weights=None)) == codes(
        lint(tiny, tz.load_dataset("digits"), weights=None)
    )


def test_options_reach_the_build_and_the_recipe(tiny, tiny_digits):
    assert {"TZ101", "TZ305"} <= set(
        codes(lint(tiny, tiny_digits, weights=None, preprocessing="none", warmup=0.7))
    )


def test_a_model_of_one_s_own_is_looked_at_and_left_as_it_is(tiny_digits):
    model = network()
    before = model.to_json()
    assert codes(lint(model, tiny_digits)) == ["TZ207"]
    assert model.to_json() == before
    assert not model.compiled


def test_published_weights_need_not_be_at_hand(tiny_digits, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    lint("mobilenet_025", tiny_digits)
    assert not list(tmp_path.glob("models/*"))


def test_several_models_are_a_comparison(tiny, other, tiny_digits):
    assert "TZ408" in codes(lint([tiny, other], tiny_digits, weights=None))
    assert "TZ408" not in codes(lint([tiny, other], tiny_digits, weights=None, seeds=(0, 1)))
    assert "TZ408" not in codes(lint([tiny], tiny_digits, weights=None))


def test_models_may_be_mixed_with_names(tiny, tiny_digits):
    models = {"small": {"model": tiny, "weights": None}, "mine": network()}
    assert {"TZ401", "TZ408"} <= set(codes(lint(models, tiny_digits)))


def test_a_mapping_gives_names_and_options_of_their_own(tiny, other, tiny_digits):
    models = {"first": tiny, "second": {"model": other, "recipe": "from_scratch", "warmup": 0.9}}
    found = lint(models, tiny_digits, weights=None)
    assert {"TZ402", "TZ403", "TZ408"} <= set(codes(found))
    assert [each.subject for each in found if each.code == "TZ305"] == ["second"]


def test_a_faithful_second_model_carries_the_rate_of_the_first(tiny, other, tiny_digits):
    found = lint([tiny, other], tiny_digits, "article", faithful=True, weights=None)
    assert [each.subject for each in found if each.code == "TZ303"] == ["other"]


@pytest.mark.parametrize("own", [{"head": "mlp"}, {"learning_rate": 0.01}, {"image_size": 64}, {"epochs": 3}])
def test_one_thing_changed_on_one_backbone_is_the_question_and_no_fault(tiny, tiny_digits, own):
    found = lint(
        {"as it is": tiny, "changed": {"model": tiny, **own}}, tiny_digits, weights=None, seeds=(0, 1)
    )
    assert not [each for each in found if each.code.startswith("TZ4")]


def test_two_things_changed_on_one_backbone_are_found(tiny, tiny_digits):
    for own, expected in (
        ({"head": "mlp", "epochs": 3}, ["TZ401", "TZ402"]),
        ({"learning_rate": 0.01, "label_smoothing": 0.0}, ["TZ403"]),
    ):
        models = {"as it is": tiny, "changed": {"model": tiny, **own}}
        found = lint(models, tiny_digits, weights=None, seeds=(0, 1))
        assert [code for code in codes(found) if code.startswith("TZ4")] == expected


@pytest.mark.parametrize(
    ("model", "options", "kind", "message"),
    [
        ("tinny", {}, UnknownNameError, "No backbone named 'tinny'"),
        ("tiny", {"epoch": 3}, UnknownOptionError, "Did you mean 'epochs'"),
        ([], {}, InvalidInputError, "model must be"),
        (["tiny", "tiny"], {}, InvalidInputError, "model must be models of different names"),
        ({"a": {"head": "mlp"}}, {}, InvalidInputError, "a dict with one under 'model'"),
        ("tiny", {"seeds": ()}, InvalidInputError, "seeds must be one or more whole numbers"),
    ],
)
def test_a_bad_call_is_refused(tiny, tiny_digits, model, options, kind, message):
    with pytest.raises(kind, match=message):
        lint(model, tiny_digits, **options)
