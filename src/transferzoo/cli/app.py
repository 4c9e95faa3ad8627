"""The command `transferzoo` itself, which the others are added to."""

from __future__ import annotations

from typing import Annotated

import typer

from transferzoo.version import __version__

app = typer.Typer(
    name="transferzoo",
    help="Which backbone, with which head and recipe, gives what accuracy at what cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"transferzoo {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Every command takes [bold]--debug[/], which shows the traceback behind an error. "
    "First steps: [bold]transferzoo demo[/]"
)
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Show the version and stop.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    del version
