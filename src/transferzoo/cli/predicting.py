"""The command that uses what was trained: `predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, QuietOption
from transferzoo.errors import RecordError, invalid
from transferzoo.ground.quiet import load_keras


@app.command(
    epilog="Examples: [bold]transferzoo predict runs/mobilenet new-photos[/], "
    "[bold]transferzoo predict model.keras a.jpg b.jpg --json[/], "
    "[bold]find . -name '*.jpg' | transferzoo predict model.keras -[/]"
)
def predict(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a model.keras.", show_default=False)],
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos or folders; - reads paths from standard input.", show_default=False),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="Classes to name for each photo.")] = 3,
    reject: Annotated[
        float | None,
        typer.Option(
            "--reject",
            help="Say 'none of these' below the probability that this share of the validation images is "
            "below.",
            show_default="never",
        ),
    ] = None,
    skip: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out photos that cannot be read.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Name what is on new photos, with a trained model."""
    paths = [path for each in photos for path in (_listed() if each == "-" else [each])]
    if not paths:
        raise invalid("photos", "at least one path on standard input", "none")
    if not run.expanduser().exists():
        raise RecordError(f"'{run}' does not exist. Give a run's folder, or a model.keras file.")
    load_keras()

    import transferzoo as tz

    found = tz.load_model(run).predict(
        paths,
        top=top,
        reject=reject,
        on_error="skip" if skip else "raise",
        verbose="auto" if not quiet else False,
    )
    if as_json:
        output.print_json([each.to_dict() for each in found])
        return
    table = output.table("photo", "class", ">probability", "then")
    for each in found:
        then = ", ".join(f"{name} {chance:.1%}" for name, chance in each.top[not each.rejected :])
        table.add_row(each.file, each.class_name or "none of these", f"{each.probability:.1%}", then)
    output.console().print(table)


def _listed() -> list[str]:
    return [line for line in sys.stdin.read().splitlines() if line.strip()]
