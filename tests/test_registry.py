import pytest

from transferzoo.errors import InvalidInputError, NameTakenError, UnknownNameError
from transferzoo.ground.registry import Registry


@pytest.fixture
def colours():
    registry = Registry("colour")
    for name in ("crimson", "Cyan", "amber"):
        registry.register(name, f"<{name}>")
    return registry


def test_a_record_is_found_under_its_name(colours):
    assert colours.get("crimson") == "<crimson>"


def test_names_come_sorted(colours):
    assert colours.names() == ["Cyan", "amber", "crimson"]


def test_a_pattern_ignores_case(colours):
    assert colours.names("C*") == ["Cyan", "crimson"]


def test_a_pattern_that_matches_nothing_gives_an_empty_list(colours):
    assert colours.names("z*") == []


def test_a_pattern_that_is_no_string_is_refused(colours):
    with pytest.raises(InvalidInputError, match="pattern must be a string with wildcards"):
        colours.names(3)


def test_an_unknown_name_gets_the_nearest(colours):
    with pytest.raises(UnknownNameError, match=r"No colour named 'crimsn'\. Did you mean 'crimson'\?"):
        colours.get("crimsn")


@pytest.mark.parametrize("name", [None, 3, ["crimson"], {"a": 1}])
def test_something_that_is_no_name_is_unknown_too(colours, name):
    with pytest.raises(UnknownNameError, match="No colour named"):
        colours.get(name)


def test_a_name_that_is_taken_is_refused(colours):
    with pytest.raises(NameTakenError, match=r"colour named 'amber' is registered already\..*replace=True"):
        colours.register("amber", "other")


def test_a_refused_name_keeps_its_record(colours):
    with pytest.raises(NameTakenError):
        colours.register("amber", "other")
    assert colours.get("amber") == "<amber>"


def test_replace_puts_a_record_in_anothers_place(colours):
    colours.register("amber", "other", replace=True)
    assert colours.get("amber") == "other"


@pytest.mark.parametrize("name", ["", " ", "two words", "a/b", "a\\b", "a*", "a?", "[a]", 3, None])
def test_a_name_that_no_command_line_could_take_is_refused(colours, name):
    with pytest.raises(InvalidInputError, match="A colour's name must be a non-empty string without spaces"):
        colours.register(name, "record")


def test_a_registry_reads_like_a_collection_of_names(colours):
    assert ("amber" in colours, "red" in colours, len(colours), list(colours)) == (
        True,
        False,
        3,
        ["Cyan", "amber", "crimson"],
    )
