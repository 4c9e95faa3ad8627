import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import transferzoo as tz
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


# --- names from packages


PLUGIN = """
import dataclasses

import transferzoo as tz

def network(input_shape):
    import keras
    images = keras.Input(input_shape)
    return keras.Model(images, keras.layers.Conv2D(4, 3, strides=2)(images))

NETWORK = dataclasses.replace(
    tz.backbone_info("mobilenet_025"), name="plugged", builder=network, arguments={}, feature_channels=4,
    parameters=None, reduction=2, default_size=32, weights=(),
)
STEADY = tz.Recipe(name="plugged", description="steady", phases=(tz.Phase(name="all", learning_rate=0.01),))
WRONG = 3
"""
POINTS = """
[transferzoo.backbones]
plugged = plugin:NETWORK
wrong = plugin:WRONG
broken = no_such_plugin:NETWORK
resnet50 = plugin:NETWORK

[transferzoo.recipes]
plugged = plugin:STEADY
"""


def with_plugin(tmp_path, code):
    """Run code in a process that finds a package with entry points, and return what it printed."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nimport transferzoo as tz\n" + code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.medium
def test_an_installed_package_adds_names_and_is_imported_when_one_is_used(tmp_path):
    code = """
print("plugged" in tz.list_backbones(), tz.list_recipes("plug*"), "plugin" in sys.modules)
print(tz.build("plugged", 3, weights=None).output_shape, "plugin" in sys.modules)
print(tz.backbone_info("resnet50").family, tz.recipe_info("plugged").description)
"""
    assert with_plugin(tmp_path, code).splitlines() == [
        "True ['plugged'] False",
        "(None, 3) True",
        "resnet steady",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", "The backbone 'wrong' of 'plugin' (entry point 'plugin:WRONG') is no backbone's record"),
        ("broken", "'no_such_plugin:NETWORK') cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_package_that_offers_something_else_is_named(tmp_path, name, message):
    code = f"""
try:
    tz.backbone_info({name!r})
except tz.TransferZooError as error:
    print(error)
"""
    assert message in with_plugin(tmp_path, code)


def test_a_whole_record_is_registered(everything_put_back):
    import dataclasses

    import transferzoo as tz

    record = dataclasses.replace(tz.backbone_info("mobilenet_025"), name="mine")
    assert tz.register_backbone(record, replace=True) is record
    assert tz.backbone_info("mine") is record
    with pytest.raises(tz.TransferZooError, match="builder must be left out where a whole record is given"):
        tz.register_backbone(record, len)


def test_names_that_are_taken_are_warned_of(tmp_path):
    code = """
import logging
logging.basicConfig(format="%(message)s", stream=sys.stdout)
tz.list_backbones(), tz.list_backbones()
"""
    printed = with_plugin(tmp_path, code)
    assert printed.splitlines() == [
        "'plugin' offers a backbone named 'resnet50', which is taken: transferzoo's own is used"
    ]


@pytest.mark.slow
def test_the_example_package_adds_four_kinds_of_names(tmp_path):
    pytest.importorskip("setuptools")
    example = Path(__file__).parents[1] / "examples" / "plugin"
    # a build writes beside the source
    shutil.copytree(example, tmp_path / "plugin")
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site")]
    subprocess.run([sys.executable, "-m", "pip", *install, str(tmp_path / "plugin")], check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    call = ["fit", "stripes_cnn", "--dataset", "stripes", "--head", "max_pooled", "--recipe", "two_epochs"]
    done = subprocess.run(
        [sys.executable, "-m", "transferzoo", *call, "--weights", "none", "--out", "run", "--quiet"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    settings = tz.Result.load(tmp_path / "run").settings
    assert (settings["model"]["backbone"], settings["model"]["head"]) == ("stripes_cnn", "max_pooled")
    assert (settings["data"]["name"], settings["recipe"]["name"]) == ("stripes", "two_epochs")
