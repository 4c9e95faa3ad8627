"""Commands on whole studies: `study article`, `study best`, `study join` and `study show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import QuietOption, RopeOption, number_list, stoppable
from transferzoo.ground.quiet import load_keras

study = typer.Typer(
    name="study",
    help="Run a named study, help with one that was begun, or show one that was saved.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(study)


@study.command(
    epilog="Example: [bold]transferzoo study article mobilenet --dataset cifar10 --out article-study[/]"
)
def article(
    names: Annotated[list[str] | None, typer.Argument(help="Backbones.", show_default="mobilenet")] = None,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="A name.")] = "cifar10",
    train_size: Annotated[
        int | None, typer.Option("--train-size", help="Training images; 0: the article's 70 % of all.")
    ] = 10_000,
    test: Annotated[
        int | None,
        typer.Option("--test", help="Take this many test images, stratified.", show_default="all"),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", "-e", help="Of every step.")] = 5,
    seeds: Annotated[str, typer.Option("--seeds", help="Numbers with commas.")] = "0,1,2",
    image_size: Annotated[int, typer.Option("--image-size", help="Of the steps with larger images.")] = 96,
    weights: Annotated[
        str, typer.Option("--weights", "-w", help="imagenet, a weights file, or none.")
    ] = "imagenet",
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Runs at a time; -1: one per core.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for runs, ladder and plots.", show_default="none"),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Run the article's study as published, then with one fault more repaired at each step."""
    numbers = number_list("seeds", seeds)
    load_keras()

    import transferzoo as tz

    names = names or ["mobilenet"]
    for name in names:
        tz.backbone_info(name)
    data: Any = dataset
    if test is not None:
        data = tz.studies.article_data(dataset, train_size or None).subset(test=test)
    with stoppable(out):
        audit = tz.studies.article(
            names,
            data,
            train_size=train_size or None,
            epochs=epochs,
            seeds=numbers,
            image_size=image_size,
            weights=None if weights.lower() == "none" else weights,
            out=out,
            n_jobs=jobs,
            verbose=not quiet and "auto",
        )
    print(audit)
    if out is not None:
        output.save_audit(audit, out)
    if audit.study.failures:
        raise typer.Exit(1)


@study.command(epilog="Example: [bold]transferzoo study join runs/photos[/]")
def join(
    folder: Annotated[Path, typer.Argument(help="The study's folder: what compare got as --out.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Runs at a time; -1: one per core.")] = 1,
    quiet: QuietOption = False,
) -> None:
    """Help with a study that another process or machine has begun, or finish one that was interrupted."""
    load_keras()

    import transferzoo as tz

    with stoppable(folder):
        found = tz.studies.join(folder, n_jobs=jobs, verbose=not quiet and "auto")
    output.show(found)
    if found.failures:
        raise typer.Exit(1)


@study.command(epilog="Example: [bold]transferzoo study best runs/photos --max-latency-ms 10[/]")
def best(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    max_latency_ms: Annotated[
        float | None, typer.Option("--max-latency-ms", help="For one image.", show_default="none")
    ] = None,
    max_megabytes: Annotated[
        float | None, typer.Option("--max-megabytes", help="Of the saved model.", show_default="none")
    ] = None,
    max_train_minutes: Annotated[
        float | None, typer.Option("--max-train-minutes", help="Of training.", show_default="none")
    ] = None,
    max_gmacs: Annotated[
        float | None,
        typer.Option("--max-gmacs", help="10⁹ multiply-accumulates an image.", show_default="none"),
    ] = None,
    max_memory_megabytes: Annotated[
        float | None,
        typer.Option("--max-memory-megabytes", help="Of training, at its peak.", show_default="none"),
    ] = None,
) -> None:
    """Name the most accurate model of a saved study that keeps to limits."""
    import transferzoo as tz

    print(
        tz.Study.load(folder).best(
            max_latency_ms=max_latency_ms,
            max_megabytes=max_megabytes,
            max_train_minutes=max_train_minutes,
            max_gmacs=max_gmacs,
            max_memory_megabytes=max_memory_megabytes,
        )
    )


@study.command(epilog="Example: [bold]transferzoo study show runs --cost latency_ms --out frontier.png[/]")
def show(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    cost: Annotated[
        str, typer.Option("--cost", help="What the picture sets against accuracy.")
    ] = "parameters",
    rope: RopeOption = 0.005,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A picture to draw.", show_default="none")
    ] = None,
) -> None:
    """Show the table and the verdicts of a saved study."""
    import transferzoo as tz

    found = tz.Study.load(folder, rope=rope)
    output.show(found)
    for verdict in found.verdicts()[4:]:
        print(verdict)
    if out is not None:
        output.save_frontier(found, cost, out)
        print(f"The picture is in {out}")
