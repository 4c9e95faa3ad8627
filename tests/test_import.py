"""What an import loads, what the face offers, and which room may import which."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import transferzoo as tz

SOURCE = Path(tz.__file__).parent
HEAVY = ["keras", "tensorflow", "jax", "torch", "matplotlib", "sklearn", "scipy", "h5py", "PIL", "pandas"]
HEAVY += ["pooch", "requests", "rich", "typer"]
LIGHT_CALLS = """
import transferzoo as tz
tz.list_backbones(), tz.list_heads(), tz.list_datasets(), tz.list_recipes(), dir(tz)
tz.backbone_info("resnet50"), tz.head_info("linear"), tz.dataset_info("cifar10"), tz.recipe_info("article")
tz.Head, tz.Recipe, tz.Phase, tz.Augmentation, tz.Dataset, tz.Backbone, tz.errors, tz.evaluation
tz.Result, tz.Study, tz.statistics, tz.calibration, tz.verify, tz.diff, tz.studies
"""

# From the ground up: a room imports only from rooms that stand before it.
GROUND = ["version", "ground.frozen", "errors", "ground.arguments", "ground.metrics", "ground.progress"]
GROUND += ["ground.interrupts", "ground.quiet"]
GROUND += [
    "ground.storage.files",
    "ground.storage.bounded",
    "ground.storage.locking",
    "ground.storage.downloads",
    "ground.registry",
]
GROUND += ["ground.environment"]
MAKING = [
    "backbones.backbone",
    "backbones.weight_files",
    "backbones.measured",
    "backbones.shipped",
    "backbones.applications",
    "backbones.hub",
    "backbones.catalog",
    "backbones.weight_bundles",
    "backbones.weights",
    "backbones.strides",
    "backbones.stages",
    "backbones.weight_formats",
    "backbones.alexnet",
    "backbones.efficientnet",
    "backbones.small_images",
    "head_parts",
    "heads",
    "models.freezing",
    "models.options",
    "models.preprocessing",
    "models.architecture",
    "models.plan",
    "models.construct",
    "models.activations",
    "weights",
    "data.groups",
    "data.splits",
    "data.checking",
    "data.reading",
    "data.dataset",
    "data.arrays",
    "data.stream",
    "data.batchfile",
    "data.given",
    "data.photos",
    "data.folder_listing",
    "data.folder",
    "data.table",
    "data.cifar",
    "data.digits",
    "data.catalog",
    "data.warping",
    "data.colour",
    "data.augmentation",
    "data.mixing",
    "data.batches",
    "recipes.weighting",
    "recipes.phase",
    "recipes.recipe",
    "recipes.catalog",
    "models.prediction",
    "features.store",
    "features.extract",
    "class_maps",
    "training.checkpoints",
    "training.callbacks",
    "training.budget",
    "training.user_callbacks",
    "training.optimizers",
    "training.linear_head",
    "training.plan",
    "training.traces",
    "training.training_model",
    "training.returning",
    "training.loop",
    "costs.watching",
    "costs.energy",
    "costs.macs",
    "costs.measure",
    "costs.model_costs",
    "linting.findings",
    "linting.duplicates",
    "linting.image_checks",
    "linting.data_checks",
    "linting.model_checks",
    "linting.recipe_checks",
    "linting.checks",
]
JUDGING = [
    "judging.prediction_checks",
    "calibration",
    "judging.evidence",
    "judging.variation",
    "judging.proportions",
    "judging.power",
    "judging.ranks",
    "judging.score",
    "judging.frontier",
    "judging.selective",
    "judging.words",
    "statistics",
    "evaluation",
    "plots.axes",
    "plots.bars",
    "plots.cost_points",
    "plots.learning_curves",
    "plots.lines",
    "plots.seed_curves",
    "plots.classes",
    "plots.clouds",
    "plots.rates",
    "plots.matrices",
    "plots.pictures",
    "plots.image_grids",
    "plots.heat_maps",
    "plots.changed_images",
    "plots.wrong_images",
    "plots.rejection",
    "plots.reliability_bins",
    "plots.rungs",
    "results.identity",
    "results.folder",
    "results.copies",
    "results.fields",
    "results.mistakes",
    "results.predictor",
    "results.sentences",
    "results.result",
    "results.discrepancies",
    "results.saved_files",
    "results.comparison_files",
    "results.verification",
    "results.pairing",
    "results.run_data",
    "results.differences",
]
MEETING = [
    "planning",
    "fitting",
    "estimator",
    "runs",
    "linting.feature_checks",
    "linting.advice",
    "rate_finder",
    "exporting.formats",
    "exporting.exported",
    "exporting.conversion",
    "exporting.writing",
    "exporting.rows",
    "studies.failures",
    "studies.conditions",
    "studies.choosing",
    "studies.study",
    "report.contents",
    "report.pictures",
    "report.page",
    "studies.calls",
    "studies.candidates",
    "studies.comparing",
    "studies.joining",
    "studies.named",
    "studies.sweeping",
    "studies.ranking",
    "studies.transferability",
    "studies.halving",
]
COMMANDS = [
    "cli.options",
    "cli.wording",
    "cli.output",
    "cli.app",
    "cli.info",
    "cli.training",
    "cli.demonstration",
    "cli.checking",
    "cli.costing",
    "cli.records",
    "cli.predicting",
    "cli.exporting",
    "cli.ranking",
    "cli.studies",
    "cli.weights",
    "cli.__main__",
    "__main__",
]
ORDER = [*GROUND, *MAKING, *JUDGING, *MEETING, *COMMANDS]
PACKAGES = [
    "",
    "backbones",
    "cli",
    "costs",
    "data",
    "exporting",
    "features",
    "ground",
    "ground.storage",
    "judging",
]
PACKAGES += ["linting", "models", "plots", "recipes", "report", "results", "studies", "training"]


def loaded_after(code):
    """Names of heavy packages that a fresh interpreter holds after `code`."""
    report = f"\nimport sys, json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def rooms():
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported_on_loading(source):
    """Names of the modules that a file imports when it is loaded: not in functions, not for type checkers."""
    found = []

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.Import):
                found.extend(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.append(node.module)
                found.extend(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                visit(node.orelse)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                visit(ast.iter_child_nodes(node))

    visit(ast.parse(source).body)
    return found


def rooms_imported_by(room):
    """The project's own rooms that `room` imports when it is loaded."""
    known = rooms()
    names = imported_on_loading(known[room].read_text(encoding="utf-8"))
    own = {name.removeprefix("transferzoo.") for name in names if name.startswith("transferzoo.")}
    return sorted(name for name in own if name in known and name not in PACKAGES)


def test_importing_the_library_and_asking_for_names_loads_nothing_heavy():
    assert loaded_after(LIGHT_CALLS) == []


@pytest.mark.medium
def test_the_check_for_heavy_packages_can_fail():
    assert loaded_after("import transferzoo.models.construct")[0] == "keras"


def test_the_public_names_are_those_of_the_tables():
    assert sorted(tz.__all__) == sorted([*tz._ROOMS, *tz._MODULES, "__version__"])


def test_the_public_names_stand_in_order():
    assert tz.__all__ == sorted(tz.__all__)


@pytest.mark.parametrize("name", tz.__all__)
def test_every_public_name_resolves(name):
    assert getattr(tz, name) is not None


def test_a_name_is_kept_once_it_is_resolved():
    assert tz.build is vars(tz)["build"]


def test_dir_shows_the_public_names_and_no_others():
    assert dir(tz) == sorted(tz.__all__)


def test_editors_are_told_the_same_names_as_the_interpreter():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body for alias in node.names}
    expected = {name: f"transferzoo.{room}" for name, room in tz._ROOMS.items()}
    assert told == expected | dict.fromkeys(tz._MODULES, "transferzoo")


def test_an_unknown_attribute_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="module 'transferzoo' has no attribute 'biuld'"):
        tz.biuld


def test_no_room_bears_a_public_functions_name():
    top = {name for name in rooms() if "." not in name} - {""}
    assert top & set(tz.__all__) <= set(tz._MODULES)


def test_the_order_of_the_house_names_every_room():
    assert sorted(ORDER) == sorted(set(rooms()) - set(PACKAGES))


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_rooms_that_stand_before_it(room):
    assert [other for other in rooms_imported_by(room) if other not in ORDER[: ORDER.index(room)]] == []


@pytest.mark.parametrize("room", JUDGING)
def test_a_judging_room_knows_nothing_of_the_making_wing(room):
    assert [other for other in rooms_imported_by(room) if other in MAKING] == []


@pytest.mark.parametrize("room", [*GROUND, *JUDGING])
def test_rooms_of_the_ground_and_of_judging_load_no_keras(room):
    names = imported_on_loading(rooms()[room].read_text(encoding="utf-8"))
    assert [name for name in names if name.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize("room", GROUND)
def test_the_ground_stands_on_itself_alone(room):
    assert [other for other in rooms_imported_by(room) if other not in GROUND] == []


def test_the_walk_sees_imports_in_every_form():
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
    source += "try:\n    import g\nexcept ImportError:\n    import h\ndef i():\n    import j\n"
    assert imported_on_loading(source) == ["a.b", "c", "c.d", "f", "g", "h"]


# files past 400 lines: one table or one record whose methods belong together, or still to be divided
LONG = {
    "cli.options",
    "data.checking",
    "data.cifar",
    "data.dataset",
    "backbones.strides",
    # a table
    "backbones.applications",
    "results.differences",
    "results.predictor",
    "results.result",
    "statistics",
    "studies.comparing",
    "studies.study",
    "studies.transferability",
    "training.loop",
}


@pytest.mark.parametrize("room", sorted(rooms()))
def test_no_file_is_longer_than_400_lines_without_a_reason(room):
    lines = len(rooms()[room].read_text(encoding="utf-8").splitlines())
    assert lines <= (550 if room in LONG else 400)
    assert lines > 400 or room not in LONG
