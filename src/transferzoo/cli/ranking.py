"""Commands that choose among backbones: `rank`, without training one, and `halving`, training for short."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, prepare, sharing
from transferzoo.cli.training import BackbonesArgument
from transferzoo.errors import invalid

# of a training, or of the test images, which a ranking does not look at
NOT_FOR_RANK = (
    "as_json",
    *("train", "test", "head", "trainable", "recipe", "faithful", "epochs", "batch_size", "learning_rate"),
    *("warmup", "layer_decay", "weight_decay", "label_smoothing", "batch_norm", "augmentation", "mixup"),
    *("steps_per_epoch", "minutes", "rand_augment", "keep", "patience", "lint", "out", "class_weight"),
    *("sampling", "schedule"),
)


@app.command(
    epilog="Examples: [bold]transferzoo rank --dataset cifar10[/], "
    "[bold]transferzoo rank mobilenet mobilenet_v2_035 -d photos --image-size 128 --json[/]"
)
@sharing(saves_models=False, without=NOT_FOR_RANK)
def rank(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Backbones.", show_default="every one whose weights are at hand"),
    ] = None,
    train: Annotated[
        int,
        typer.Option(
            "--train",
            help="Take this many training images at most, and as many for validation.",
            rich_help_panel="Data",
        ),
    ] = 5_000,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            help="Cross-validate in so many parts; 1: judge the validation images.",
            show_default="5 below 1,000 validation images",
            rich_help_panel="Data",
        ),
    ] = None,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Rank backbones by their frozen features, without training one."""
    asked = {"recipe": "linear_probe", "faithful": False, "train": None, "test": None}
    data, options = prepare(names or [], {**given, **asked})
    del options["recipe"]
    from transferzoo.studies.transferability import rank as find

    ranking = find(names or None, data, max_images=train, folds=folds, **options)
    print(json.dumps(ranking.to_dict(), indent=1, ensure_ascii=False) if as_json else ranking)


@app.command(
    epilog="Example: [bold]transferzoo halving mobilenet mobilenet_v2_035 vgg16 -d cifar10 --train 5000 "
    "--out runs/halving[/]"
)
@sharing(saves_models=True, without=("epochs", "test", "minutes"))
def halving(
    names: BackbonesArgument,
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs",
            "-e",
            help="Of the first round; each after it has twice as many.",
            rich_help_panel="Training",
        ),
    ] = 1,
    shortlist: Annotated[
        int,
        typer.Option(
            "--shortlist",
            help="Train this many at most: those with the best linear probes.",
            rich_help_panel="Run",
        ),
    ] = 4,
    **given: Any,
) -> None:
    """Train many models for short, the better half for twice as long, until one is left."""
    if len(names) < 2:
        raise invalid("names", "two backbones or more", names)
    data, options = prepare(names, {**given, "test": None})
    import transferzoo as tz

    found = tz.studies.successive_halving(names, data, epochs=epochs, shortlist=shortlist, **options)
    if given["as_json"]:
        record = {"winner": found.winner, "rows": found.to_records(), "verdicts": found.verdicts()}
        output.print_json(record)
        return
    print(found)
    if given["out"] is not None:
        print(f"The studies are in {given['out']}")
