"""The documentation is true: its Python runs, its names exist, its numbers are those in force."""

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

import transferzoo as tz
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.data.augmentation import AUGMENTATIONS
from transferzoo.data.catalog import DATASETS
from transferzoo.heads import HEADS
from transferzoo.recipes.catalog import RECIPES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = "".join(
    page.read_text(encoding="utf-8")
    for page in (ROOT / "docs" / "api.md", *sorted((ROOT / "docs" / "reference").glob("*.md")))
)
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# in pages, and in the README, which other programs show
NOT_RUN = ("{.python .no-run}", "python no-run")


def blocks(page, language):
    """Return the blocks that open with exactly ``language``, each with blank lines before it for its line."""
    text = page.read_text(encoding="utf-8")
    return [
        "\n" * (text.count("\n", 0, match.start()) + 1) + match[2]
        for match in FENCE.finditer(text)
        if match[1] == language
    ]


@pytest.fixture
def registries_put_back():
    """Forget what a page registers."""
    registries = (BACKBONES, HEADS, DATASETS, RECIPES)
    saved = [dict(registry._records) for registry in registries]
    yield
    for registry, records in zip(registries, saved, strict=True):
        registry._records.clear()
        registry._records.update(records)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem) for page in PAGES if blocks(page, "python")],
)
@pytest.mark.usefixtures("registries_put_back")
def test_every_python_block_of_a_page_runs_in_order(page, tmp_path, monkeypatch, capsys):
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    # a block that would download something fails here, whatever the machine has in its cache
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    namespace = {"__name__": "__main__"}
    try:
        for source in blocks(page, "python"):
            exec(compile(source, str(page), "exec"), namespace)
    finally:
        pyplot.close("all")
    # Keras writes a keras.json there by itself
    assert not list((tmp_path / "keras").glob("*/*"))
    printed = capsys.readouterr().out
    assert "Error: " not in printed or page.stem == "errors"


def test_the_errors_shown_are_the_errors_raised(tmp_path, monkeypatch, capsys):
    page = ROOT / "docs" / "errors.md"
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page, "python")[0], str(page), "exec"), {})
    assert capsys.readouterr().out.strip() == blocks(page, "text")[0].strip()


@pytest.mark.medium
def test_the_feature_map_sizes_shown_are_those_printed(capsys):
    page = ROOT / "docs" / "preprocessing.md"
    namespace = {}
    for source in blocks(page, "python"):
        capsys.readouterr()
        exec(compile(source, str(page), "exec"), namespace)
    assert capsys.readouterr().out.strip() == blocks(page, "text")[0].strip()


def test_blocks_that_are_not_run_are_few():
    # those that download, or need files that only a user has
    skipped = {page.stem: len(blocks(page, NOT_RUN[page.name == "README.md"])) for page in PAGES}
    assert {name: count for name, count in skipped.items() if count} == {
        "README": 1,
        "index": 1,
        "getting-started": 1,
        "no-network": 1,
        "study": 2,
    }


def test_every_fence_is_of_a_kind_that_is_known():
    kinds = {match[1] for page in PAGES for match in FENCE.finditer(page.read_text(encoding="utf-8"))}
    assert kinds <= {"python", *NOT_RUN, "sh", "text", "toml"}


def test_every_block_becomes_code_on_the_built_page():
    # MkDocs takes a second word after the language for text, and the block with it
    for page in PAGES[1:]:
        kinds = {match[1] for match in FENCE.finditer(page.read_text(encoding="utf-8"))}
        assert not [kind for kind in kinds if " " in kind and not kind.startswith("{")], page.name


@pytest.mark.parametrize("name", tz.__all__)
def test_every_public_name_is_on_the_reference_page(name):
    page = REFERENCE
    if name in tz._ROOMS:
        assert f"\n::: transferzoo.{tz._ROOMS[name]}.{name}\n" in page
    elif name == "__version__":
        assert "`tz.__version__`" in page
    else:
        assert f"`tz.{name}`" in page
        assert f"\n::: transferzoo.{name}." in page


def test_every_error_is_on_the_reference_page_and_among_the_errors():
    kinds = [kind.__name__ for kind in tz.TransferZooError.__subclasses__()]
    for text in (REFERENCE, (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")):
        assert [kind for kind in kinds if kind not in text] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("backbones.md", tz.list_backbones()),
        ("heads.md", tz.list_heads()),
        ("data.md", tz.list_datasets()),
        ("recipes.md", tz.list_recipes()),
    ],
)
def test_every_built_in_name_is_on_the_page_of_its_kind(page, names):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_readme_holds_the_two_commands_that_set_the_library_up():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n([^\n]+)\n```\n", text))
    tests = 'python -m pytest -n auto -m "not medium and not slow"'
    assert commands == {
        "demo": "python -m pip install . && transferzoo demo",
        "tests": f'python -m pip install -e ".[test]" && {tests}',
    }


def test_the_ten_line_example_is_no_longer_than_that():
    (example,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 10


# what a phase holds for other optimizers than its own
UNUSED = {
    "lbfgs": {
        *("epochs", "learning_rate", "batch_norm", "momentum", "nesterov", "weight_decay", "layer_decay"),
        *("schedule", "warmup", "plateau", "clip_norm", "batch_size", "label_smoothing", "augmentation"),
    },
    "adamw": {"momentum", "nesterov", "c_values"},
    "sgd": {"c_values"},
}
ALWAYS_SHOWN = {"optimizer"}
SHOWN_IF_TRAINED = {"epochs", "learning_rate", "batch_size", "batch_norm", "label_smoothing", "augmentation"}
WHOM = {"*": "every backbone", "pretrained": "loaded weights", "scratch": "random weights"}


def _cell(value):
    """Return the words that a page has for a setting."""
    if value is None:
        return "–"
    if isinstance(value, tz.Augmentation):
        return next(name for name, known in AUGMENTATIONS.items() if known == value)
    if isinstance(value, tz.Plateau):
        return f"× {value.factor} after {value.patience}, down to {value.minimum}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _phase_cells(phase):
    """Return field -> cell; a dash where the optimizer has no use for it."""
    return {
        field.name: "–" if field.name in UNUSED[phase.optimizer] else _cell(getattr(phase, field.name))
        for field in fields(phase)
    }


def _whole_run_cells(recipe):
    """Return row -> cell of what holds for all phases."""
    rows = {"keep": _cell(recipe.keep), "patience": _cell(recipe.patience)}
    rows |= {f"epochs, {backbone}": str(epochs) for backbone, epochs in recipe.epochs.items()}
    return rows | {
        f"built with, {WHOM.get(who, who)}": ", ".join(f"{key}={value!r}" for key, value in options.items())
        for who, options in recipe.build.items()
    }


def _table(lines, header):
    """Return row -> cells of the table that begins with `header`."""
    rows = {}
    for line in lines[lines.index(header) + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


@pytest.mark.parametrize("name", tz.list_recipes())
def test_the_numbers_on_a_recipe_s_page_are_those_in_force(name):
    lines = (ROOT / "docs" / "recipes" / f"{name}.md").read_text(encoding="utf-8").splitlines()
    recipe = tz.recipe_info(name)
    phases = [_phase_cells(phase) for phase in recipe.phases]
    shown = _table(lines, f"| | {' | '.join(phase.name for phase in recipe.phases)} |")
    assert shown == {field: [phase[field] for phase in phases] for field in shown}
    plain = _phase_cells(tz.Phase(name="any", learning_rate=1.0))
    needed = {field for phase in phases for field in phase if phase[field] not in (plain[field], "–")}
    needed |= ALWAYS_SHOWN
    if any(phase["epochs"] != "–" for phase in phases):
        needed |= SHOWN_IF_TRAINED
    assert needed - {"name"} - set(shown) == set()
    whole = _table(lines, "| | the whole run |")
    assert whole == {row: [cell] for row, cell in _whole_run_cells(recipe).items()}


@pytest.mark.parametrize("name", tz.list_recipes())
def test_a_recipe_s_page_says_when_why_and_how(name):
    page = ROOT / "docs" / "recipes" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", FENCE.sub("", text), re.MULTILINE)
    asked = ["When to use it", "Its numbers", "Why each number", "Options", "An example", "What it reached"]
    assert [heading for heading in headings if heading in asked] == asked
    assert len(blocks(page, "python")) == 1
    assert f'recipe="{name}"' in blocks(page, "python")[0]
    assert re.search(rf"<!-- figures: {name} -->\n.*<!-- /figures -->", text, re.DOTALL)
    overview = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert f"[`{name}`](recipes/{name}.md)" in overview


@pytest.mark.parametrize("name", tz.list_recipes())
def test_each_shown_number_of_a_recipe_has_its_reason(name):
    text = (ROOT / "docs" / "recipes" / f"{name}.md").read_text(encoding="utf-8")
    recipe = tz.recipe_info(name)
    shown = _table(text.splitlines(), f"| | {' | '.join(phase.name for phase in recipe.phases)} |")
    reasons = text.partition("## Why each number")[2].partition("\n## ")[0]
    assert [field for field in shown if f"`{field}`" not in reasons] == []


def test_pictures_and_pages_that_are_linked_to_exist():
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            # pages of backbones are made with the site, from the records
            if not target.startswith("https://") and target != "backbones/all.md":
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_pictures_are_small():
    for picture in (ROOT / "docs" / "images").glob("*.png"):
        assert picture.stat().st_size < 80_000, picture.name


def test_the_command_lines_shown_name_commands_and_options_that_exist():
    import typer

    from transferzoo.cli import app

    commands = typer.main.get_command(app).commands
    shown = [
        line
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.split("\n")
        if line.startswith("transferzoo ") and not line.startswith("transferzoo --")
    ]
    assert len(shown) > 10
    for line in shown:
        words = line.split()[1:]
        command = commands[words[0]]
        if subcommands := getattr(command, "commands", None):
            command = subcommands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", line)) - {"--help"} <= known, line


@pytest.mark.medium
def test_the_help_excerpts_are_lines_of_the_real_help():
    import subprocess
    import sys

    page = ROOT / "docs" / "command-line.md"
    shown = [line for block in blocks(page, "text") for line in block.splitlines() if line.startswith("│")]
    real = ""
    for arguments in (["--help"], ["fit", "--help"]):
        call = [sys.executable, "-c", "from transferzoo.cli import main; main()", *arguments]
        environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
        real += subprocess.run(
            call, capture_output=True, encoding="utf-8", env=environment, check=True
        ).stdout
    assert len(shown) > 20
    assert [line for line in shown if line not in real.splitlines()] == []
