"""The command that looks before training: `lint`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, number_list, prepare, sharing
from transferzoo.cli.wording import in_shell, options_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from transferzoo.linting.findings import Finding

NOT_FOR_LINT = ("as_json", "out", "cache", "lint", "quiet", "minutes")


@app.command(
    epilog="Examples: [bold]transferzoo lint mobilenet --dataset cifar10[/], "
    "[bold]transferzoo lint resnet50 mobilenet -d cifar10 -r article --faithful --json[/]"
)
@sharing(saves_models=False, without=NOT_FOR_LINT)
def lint(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Backbones; several are linted as a comparison.")],
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            help="Of a comparison, with commas; --seed is the split's.",
            show_default="--seed alone",
            rich_help_panel="Run",
        ),
    ] = None,
    ignore: Annotated[
        str | None,
        typer.Option("--ignore", help="Codes to leave out, with commas: TZ207,TZ408.", show_default="none"),
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Also look for label errors, in the backbone's features.")
    ] = False,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Report likely problems of a training before it starts. Exit status 1 if there is an error."""
    numbers = None if seeds is None else number_list("seeds", seeds)
    data, options = prepare(names, {**given, "quiet": True})
    del options["verbose"]
    from transferzoo.linting.advice import lint as find

    codes = [] if ignore is None else [code.strip() for code in ignore.split(",")]
    several = names[0] if len(names) == 1 else names
    findings = find(several, data, seeds=numbers, ignore=codes, features=features, **options)
    if as_json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=1, ensure_ascii=False))
    else:
        _show(findings, options_of(context.command, ()))
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def _show(findings: Sequence[Finding], options: Collection[str]) -> None:
    from rich.text import Text

    colours = {"error": "bold red", "warning": "bold yellow", "note": "bold"}
    console = output.console()
    for finding in findings:
        title, _, body = str(finding).partition("\n")
        body = in_shell(body, None, options)
        # as Text, so that brackets in a name are no markup
        console.print(Text.assemble((title, colours[finding.severity]), f"\n{body}\n"))
    counts = {severity: sum(each.severity == severity for each in findings) for severity in colours}
    words = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count]
    print(", ".join(words) or "Nothing found.")
