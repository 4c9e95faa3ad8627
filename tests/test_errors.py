import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferzoo import errors
from transferzoo.errors import (
    InvalidInputError,
    TransferZooError,
    invalid,
    listing,
    nearest,
    shorten,
    unknown_name,
    unknown_option,
)
from transferzoo.ground.arguments import check_count

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, TransferZooError) and value is not TransferZooError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_standard_one_too(kind):
    assert issubclass(kind, ValueError | LookupError | OSError)


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_prints_quotes_around_its_sentence(kind):
    assert str(kind("A sentence.")) == "A sentence."


def test_an_error_keeps_its_parts_for_programs():
    error = invalid("fill", "'wrap' or 'nearest'", "nearst", candidates=("wrap", "nearest"))
    parts = (error.argument, error.accepted, error.value, error.suggestion)
    assert parts == ("fill", "'wrap' or 'nearest'", "nearst", "nearest")


def test_a_bad_argument_is_worded_in_the_order_of_the_house():
    error = invalid("size", "32 or more", 16, remedy="Leave it out.")
    assert str(error) == "size must be 32 or more. Got 16. Leave it out."


def test_a_bad_argument_gets_the_nearest_accepted_value():
    assert "Did you mean 'nearest'?" in str(invalid("fill", "…", "nearst", candidates=("wrap", "nearest")))


def test_a_value_that_is_no_string_gets_no_suggestion():
    assert "Did you mean" not in str(invalid("fill", "…", 3, candidates=("wrap", "nearest")))


def test_a_long_value_is_cut_in_the_middle():
    text = shorten("a" * 500 + "z")
    assert len(text) <= 80
    assert text.startswith("'aaa")
    assert text.endswith("z'")


def test_a_short_value_is_shown_whole():
    assert shorten({"a": 1}) == "{'a': 1}"


@given(st.text(max_size=300))
def test_a_shortened_text_fits_in_a_sentence(text):
    assert len(shorten(text)) <= 80


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("resnet5", "resnet50"),
        ("ResNet50", "resnet50"),
        ("ResNet-50", "resnet50"),
        ("mobilenetv2", "mobilenet_v2"),
        ("vgg-16", "vgg16"),
    ],
)
def test_the_nearest_name_is_found_past_case_and_punctuation(typo, meant):
    assert nearest(typo, ["resnet50", "mobilenet_v2", "vgg16", "mobilenet"]) == meant


def test_nothing_is_nearest_when_nothing_is_close():
    assert nearest("xylophone", ["resnet50", "vgg16"]) is None


def test_a_listing_says_how_many_more_there_are():
    assert listing("abcd", limit=2) == "'a', 'b' and 2 more"


def test_an_unknown_name_lists_all_when_they_are_few():
    assert str(unknown_name("head", "linaer", ["linear", "mlp"], "tz.list_heads()")) == (
        "No head named 'linaer'. Did you mean 'linear'? There are 'linear', 'mlp'."
    )


def test_an_unknown_name_tells_the_call_that_lists_many():
    names = [f"net{i}" for i in range(13)]
    assert str(unknown_name("backbone", "zzz", names, "tz.list_backbones()")) == (
        "No backbone named 'zzz'. tz.list_backbones() shows all 13."
    )


def test_an_unknown_name_keeps_every_name_on_the_exception():
    names = [f"net{i}" for i in range(30)]
    error = unknown_name("backbone", "zzz", names, "tz.list_backbones()")
    assert all(f"'{name}'" in error.accepted for name in names)


def test_an_unknown_option_names_the_nearest_and_all_others():
    message = str(unknown_option("build", "epoch", ["epochs", "batch_size"]))
    assert message == ("build has no option 'epoch'. Did you mean 'epochs'? It takes 'batch_size', 'epochs'.")


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2)])
def test_a_count_of_any_integer_type_becomes_an_int(value):
    assert type(check_count("n", value, 2)) is int


@pytest.mark.parametrize("value", [1, -3, 2.0, "2", None, True, np.float32(2), [2]])
def test_a_count_is_refused_unless_it_is_whole_and_large_enough(value):
    with pytest.raises(InvalidInputError, match=r"n must be a whole number of 2 or more\. Got"):
        check_count("n", value, 2)


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("validation_split", "tz.from_arrays(…, validation=0.2)"),
        ("optimizer", "tz.Phase(optimizer="),
        ("lr", "It is called learning_rate"),
    ],
)
def test_what_keras_calls_otherwise_is_not_answered_with_the_nearest_spelling(option, advice):
    said = str(unknown_option("fit_and_evaluate", option, ("epochs", "weights", "learning_rate")))
    assert advice in said
    assert "Did you mean" not in said
