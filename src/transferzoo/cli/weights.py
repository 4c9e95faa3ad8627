"""Commands about weights files: `weights list`, `fetch`, `verify`, `bundle` and `import`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, backbones_beginning_with, load_keras
from transferzoo.errors import invalid
from transferzoo.ground.metrics import bytes_in_words

weights = typer.Typer(
    name="weights",
    help="List, fetch, check, pack and import weights files.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(weights)

Names = Annotated[list[str], typer.Argument(help="Backbones.", autocompletion=backbones_beginning_with)]


@weights.command(
    "list",
    epilog="Examples: [bold]transferzoo weights list[/], [bold]transferzoo weights list 'resnet*' --here[/]",
)
def list_command(
    pattern: Annotated[str, typer.Argument(help="Backbones, with wildcards.")] = "*",
    here: Annotated[bool, typer.Option("--here", help="Only those on this machine.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List weights, and which are on this machine."""
    import transferzoo as tz

    found = [each for each in tz.weights.status(pattern) if each.here or not here]
    if as_json:
        output.print_json([dataclasses.asdict(each) for each in found])
        return
    if not found and not here:
        raise invalid("pattern", "a pattern that some backbones with weights match", pattern)
    table = output.table("backbone", "weights", "here", ">size", "checked by", "file")
    for each in found:
        table.add_row(
            each.backbone,
            each.weights,
            ("imported" if each.imported else "yes") if each.here else "–",
            bytes_in_words(each.size) if each.size is not None else "",
            each.checked_by or ("not yet" if each.here else ""),
            each.file,
        )
    if found:
        output.console().print(table)
    from transferzoo.backbones.weight_files import models_folder

    print(f"{sum(each.here for each in found)} of {len(found)} are in {models_folder()}")


@weights.command(epilog="Example: [bold]transferzoo weights fetch resnet50 mobilenet[/]")
def fetch(names: Names) -> None:
    """Download published weights, unless they are here."""
    import transferzoo as tz

    for path in tz.weights.fetch(names):
        print(path)


@weights.command(
    epilog="Examples: [bold]transferzoo weights verify[/], [bold]transferzoo weights verify vgg16[/]"
)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Backbones.", show_default="all that are here", autocompletion=backbones_beginning_with
        ),
    ] = None,
    activations: Annotated[
        bool,
        typer.Option(
            "--activations/--no-activations", help="Also compute features and compare with those on record."
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check files against their hashes, and what their networks compute against the record."""
    import transferzoo as tz

    if activations:
        load_keras()
    checks = tz.weights.verify(names or None, activations=activations)
    if as_json:
        output.print_json([dataclasses.asdict(each) for each in checks])
    elif checks:
        table = output.table("backbone", "weights", "held against", ">features differ by", "result")
        for each in checks:
            apart = "" if each.difference is None else f"{each.difference:.1e}"
            table.add_row(
                each.backbone, each.weights, each.checked_by, apart, "ok" if each.ok else each.problem
            )
        output.console().print(table)
    if not as_json:
        print(f"{sum(each.ok for each in checks)} of {len(checks)} weights files are in order")
    if not all(each.ok for each in checks):
        raise typer.Exit(1)


@weights.command(epilog="Example: [bold]transferzoo weights bundle resnet50 mobilenet --out weights.tar[/]")
def bundle(
    names: Names,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, a .tar.")] = Path(
        "transferzoo-weights.tar"
    ),
) -> None:
    """Pack weights into one file, for a machine without a network."""
    import transferzoo as tz

    path = tz.weights.bundle(names, out)
    print(f"{path}: {bytes_in_words(path.stat().st_size)}. There: transferzoo weights import {path.name}")


@weights.command(
    "import",
    epilog="Examples: [bold]transferzoo weights import transferzoo-weights.tar[/], "
    "[bold]transferzoo weights import mine.weights.h5 --as vgg16[/]",
)
def import_command(
    file: Annotated[Path, typer.Argument(help="A weights file, or a bundle.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--as", help="The backbone that a weights file is of.", autocompletion=backbones_beginning_with
        ),
    ] = None,
) -> None:
    """Take in a weights file under a backbone's name, or a bundle."""
    import transferzoo as tz

    if name is not None:
        load_keras()
    for each in tz.weights.import_file(file, name):
        print(f"{each.backbone}, weights '{each.weights}': {each.file}")
