"""Commands on saved runs: `verify` and `diff`."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, RopeOption
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.quiet import load_keras
from transferzoo.ground.storage.files import written_beside

if TYPE_CHECKING:
    from transferzoo.results.differences import RunDifference


class ReportFormat(StrEnum):
    """What a report may be written as."""

    html = "html"
    md = "md"
    json = "json"


@app.command(
    epilog="Examples: [bold]transferzoo show runs/mobilenet[/], [bold]transferzoo show runs --json[/]"
)
def show(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or a study's.")],
    rope: RopeOption = 0.005,
    as_json: JsonOption = False,
) -> None:
    """Show a saved run or study again."""
    import transferzoo as tz
    from transferzoo.results.folder import is_run

    if is_run(folder):
        result = tz.Result.load(folder)
        if as_json:
            output.print_json(output.run_record(result))
        else:
            print(f"{result}\n\n{result.classification_report()}")
        return
    study = tz.Study.load(folder, rope=rope)
    if as_json:
        output.print_json(output.study_record(study))
    else:
        output.show(study)


@app.command(
    epilog="Examples: [bold]transferzoo report runs[/], "
    "[bold]transferzoo report runs --out report.md --format md[/]"
)
def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder, or a run's.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file to write; - for standard output.", show_default="report.html"
        ),
    ] = None,
    kind: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = ReportFormat.html,
    title: Annotated[
        str | None, typer.Option("--title", help="What stands above.", show_default="the models' names")
    ] = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images",
            help="Load the dataset again, as the runs' record says, and show images that were mistaken.",
        ),
    ] = False,
    rope: RopeOption = 0.005,
) -> None:
    """Write a study as one file: verdicts, tables, pictures, and how to repeat each run."""
    import transferzoo as tz
    from transferzoo.results.folder import is_run

    if is_run(folder):
        study = tz.Study(results=(tz.Result.load(folder),), rope=rope)
    else:
        study = tz.Study.load(folder, rope=rope)
    data = None
    if images and study.results:
        from transferzoo.results.run_data import same_data

        data = same_data(study.results[0])
    if out is not None and str(out) == "-":
        with tempfile.TemporaryDirectory() as beside:
            path = study.report(Path(beside) / "report", data=data, format=kind.value, title=title)
            print(path.read_text(encoding="utf-8"), end="")
        return
    path = study.report(out or Path(f"report.{kind.value}"), data=data, format=kind.value, title=title)
    print(f"The report is in {path}")


@app.command(
    epilog="Examples: [bold]transferzoo verify runs[/], [bold]transferzoo verify runs/mobilenet --rerun[/]"
)
def verify(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or one with runs in it.")],
    model: Annotated[
        bool, typer.Option("--model", help="Load each model, and count its parameters again.")
    ] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Let each model predict the test images again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recompute every figure of saved runs, and say where one differs."""
    if model or rerun:
        load_keras()

    import transferzoo as tz

    found = tz.verify(folder, model=model, rerun=rerun)
    print(json.dumps(found.to_dict(), indent=1) if as_json else found)
    if not found.ok:
        raise typer.Exit(1)


@app.command(epilog="Example: [bold]transferzoo diff runs/mobilenet runs/alexnet --out flips.png[/]")
def diff(
    run_a: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    run_b: Annotated[Path, typer.Argument(help="Another's.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A picture of images that flipped.", show_default="none"),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", help="The runs' dataset: a name or a folder.", show_default="as on record"
        ),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--path", help="Where the dataset is now.", show_default="as on record")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Flipped images to list.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show in what two runs differ, and the images that they took for different classes."""
    import transferzoo as tz

    if out is None and (dataset is not None or path is not None):
        raise invalid("out", "the picture to draw, where --dataset or --path is given", None)
    if out is not None and out.expanduser().is_dir():
        raise invalid("out", "a picture's file, such as flips.png", str(out))
    found = tz.diff(run_a, run_b)
    print(json.dumps(found.to_dict(), indent=1) if as_json else found.text(limit))
    if out is None:
        if found.flips is not None and not as_json:
            print("--out flips.png draws them")
        return
    try:
        _draw(found, out.expanduser(), _images(found, dataset, path))
    except InvalidInputError as error:
        print(f"transferzoo: No picture was drawn. {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if not as_json:
        print(f"The picture is in {out}")


def _images(found: RunDifference, dataset: str | None, path: Path | None) -> Any:
    """Return the dataset with the images; None where there is nothing to draw."""
    import transferzoo as tz
    from transferzoo.results.pairing import dataset_of

    if found.flips is not None and not len(found.flips):
        return None
    if dataset is None:
        return dataset_of(found.runs[0], path)
    # of a folder's photos the seed chooses the test images
    seed = found.runs[0].settings.get("data", {}).get("seed") or 0
    if dataset not in tz.list_datasets() and Path(dataset).is_dir():
        return tz.from_directory(dataset, seed=seed)
    return tz.load_dataset(dataset, seed=seed, path=path)


def _draw(found: RunDifference, out: Path, data: Any) -> None:
    from matplotlib.figure import Figure

    rows, columns = 4, 6
    used = 1 if found.flips is None else max(1, min(rows, math.ceil(len(found.flips) / columns)))
    figure = Figure(figsize=(11, 0.5 + 2.3 * used), layout="constrained")
    found.plot(data, rows=rows, columns=columns, ax=figure.subplots())
    with written_beside(out) as part:
        figure.savefig(part, dpi=120)
