"""Commands that train: `fit`, `compare`, `sweep` and `find-rate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import (
    BackboneArgument,
    OutOption,
    RopeOption,
    backbones_beginning_with,
    number_list,
    prepare,
    sharing,
)
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.storage.files import written_beside

BackbonesArgument = Annotated[
    list[str],
    typer.Argument(help="Backbones; see: transferzoo list.", autocompletion=backbones_beginning_with),
]
SeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        help="A run of each model for each of these, with commas; --seed is the split's.",
        show_default="--seed alone",
        rich_help_panel="Run",
    ),
]


@app.command(
    epilog="Examples: [bold]transferzoo fit mobilenet_025 --dataset digits --weights none[/], "
    "[bold]transferzoo fit mobilenet --dataset cifar10 --train 5000 --out runs/mobilenet[/]"
)
@sharing(saves_models=True)
def fit(
    name: BackboneArgument,
    save_backbone: Annotated[
        Path | None,
        typer.Option(
            "--save-backbone",
            help="New .weights.h5 file for the trained backbone alone.",
            rich_help_panel="Run",
        ),
    ] = None,
    **given: Any,
) -> None:
    """Train one model on a dataset and test it."""
    data, options = prepare([name], given)
    import transferzoo as tz

    result = tz.fit_and_evaluate(name, data, save_backbone=save_backbone, **options)
    if given["out"] is not None:
        output.save_run_plots(result, given["out"], data)
    if given["as_json"]:
        output.print_json(output.run_record(result))
        return
    print(result)
    if given["out"] is not None:
        print(f"{'Results, model' if given['save_model'] else 'Results'} and plots are in {given['out']}")


@app.command(
    epilog="Examples: [bold]transferzoo compare resnet50 mobilenet --dataset cifar10 --recipe article[/], "
    "[bold]transferzoo compare alexnet mobilenet_025 -d digits -w none -e 3 --seeds 0,1,2[/]"
)
@sharing(saves_models=True)
def compare(
    names: BackbonesArgument,
    seeds: SeedsOption = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", help="Runs at a time; -1: one per core.", rich_help_panel="Run"),
    ] = 1,
    rope: RopeOption = 0.005,
    **given: Any,
) -> None:
    """Train several models with the same data and settings, and show them side by side."""
    numbers = None if seeds is None else number_list("seeds", seeds)
    data, options = prepare(names, given)
    import transferzoo as tz

    study = tz.compare(names, data, seeds=numbers, n_jobs=jobs, rope=rope, **options)
    saved = None if given["out"] is None else output.save_study(study, data, given["out"])
    if given["as_json"]:
        output.print_json(output.study_record(study))
    else:
        output.show(study)
        if saved is not None:
            print(saved)
    if study.failures:
        raise typer.Exit(1)


@app.command(
    epilog="Example: [bold]transferzoo sweep mobilenet -d cifar10 --train-sizes 100,1000,10000 "
    "-r linear_probe --out sweep[/]"
)
@sharing(saves_models=True)
def sweep(
    names: BackbonesArgument,
    train_sizes: Annotated[
        str | None,
        typer.Option(
            "--train-sizes",
            help="Numbers of training images, with commas.",
            show_default="none",
            rich_help_panel="Run",
        ),
    ] = None,
    image_sizes: Annotated[
        str | None,
        typer.Option(
            "--image-sizes",
            help="Sides in pixels that images are resized to, with commas, in place of --train-sizes.",
            show_default="none",
            rich_help_panel="Run",
        ),
    ] = None,
    seeds: SeedsOption = None,
    **given: Any,
) -> None:
    """Repeat a comparison with more and more training images, or at larger and larger image sizes."""
    if image_sizes is not None and given["image_size"] is not None:
        raise invalid("image_sizes", "given without --image-size", image_sizes)
    by, text = ("train_sizes", train_sizes) if image_sizes is None else ("image_sizes", image_sizes)
    if text is None or None not in (train_sizes, image_sizes):
        raise InvalidInputError("Give one of --train-sizes and --image-sizes.", argument=by, value=text)
    values = number_list(by, text)
    if len(set(values)) < max(2, len(values)):
        raise invalid(by, "two or more numbers that differ, with commas", text)
    numbers = None if seeds is None else number_list("seeds", seeds)
    data, options = prepare(names, given)
    if by == "train_sizes" and max(values) > len(data.x_train):
        raise invalid(by, f"numbers up to {len(data.x_train):,}, the training images", text)
    import transferzoo as tz

    options["train" if by == "train_sizes" else "image_size"] = values
    found = tz.studies.sweep(names, data, seeds=numbers, **options)
    if given["out"] is not None:
        output.save_sweep(found, given["out"])
    if given["as_json"]:
        output.print_json({"by": found.by, "rows": found.to_records(), "verdicts": found.verdicts()})
        return
    print(found)
    if given["out"] is not None:
        print(f"The studies, the table and its picture are in {given['out']}")


@app.command(
    "find-rate",
    epilog="Example: [bold]transferzoo find-rate mobilenet --dataset cifar10 --train 5000 --out rates[/]",
)
@sharing(saves_models=False, without=("learning_rate", "out", "lint", "minutes", "as_json"))
def find_rate(
    name: BackboneArgument,
    lowest: Annotated[float, typer.Option("--lowest", help="Rate of the first step.")] = 1e-7,
    highest: Annotated[float, typer.Option("--highest", help="Rate of the last step.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", help="Batches, 20 or more.")] = 100,
    out: OutOption = None,
    **given: Any,
) -> None:
    """Suggest a learning rate for the recipe's main phase."""
    if out is not None and out.expanduser().exists() and not out.expanduser().is_dir():
        raise invalid("out", "a folder", str(out))
    data, options = prepare([name], given)
    import transferzoo as tz

    curve = tz.find_learning_rate(name, data, lowest=lowest, highest=highest, steps=steps, **options)
    print(curve)
    if out is not None:
        folder = out.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        output.save_rate_curve(curve, folder)
        with written_beside(folder / "learning-rate.json") as part:
            part.write_text(json.dumps(curve.to_dict(), indent=1) + "\n", encoding="utf-8")
        print(f"The curve is in {out}")
