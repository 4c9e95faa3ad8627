"""`demo`: what pretrained weights are worth, without a network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import QuietOption, SeedOption, stoppable
from transferzoo.ground.quiet import load_keras

if TYPE_CHECKING:
    from transferzoo.studies.sweeping import Sweep

SIZES = (50, 100, 200)
NETWORKS = ("resnet20", "mobilenet_025")
# the training is the same, and only the weights that it begins with differ
TRAINING: dict[str, Any] = {"recipe": "from_scratch", "stem": "stride1", "epochs": 30, "batch_size": 32}
BEGINNINGS = {"pretrained": "cifar10", "from-scratch": None}


def models() -> dict[str, dict[str, Any]]:
    """Return what is compared: each network with both beginnings."""
    from transferzoo.backbones.catalog import backbone_info

    made = {}
    for name in NETWORKS:
        stem = "stride1" if "stride1" in backbone_info(name).stems else "original"
        for how, weights in BEGINNINGS.items():
            made[f"{name}-{how}"] = {"model": name, **TRAINING, "stem": stem, "weights": weights}
    return made


@app.command(epilog="Example: [bold]transferzoo demo --out my-demo[/]")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results and plots.")] = Path(
        "transferzoo-demo"
    ),
    seed: SeedOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Show what pretrained weights are worth on 1,797 real scans of digits; needs no network."""
    load_keras()

    import transferzoo as tz

    # few validation images, as they choose nothing here and are looked at after each epoch
    data = tz.load_dataset("digits", seed=seed).subset(validation=50, seed=seed)
    if not quiet:
        print(data, "\n")
        print(
            "Two networks, from CIFAR-10's weights and from random ones, on 50, 100 and 200 images …",
            flush=True,
        )
    warnings = logging.getLogger("transferzoo")
    level = warnings.level
    warnings.setLevel(logging.ERROR)  # few images from scratch may end near chance: that is what is shown
    try:
        with stoppable(out):
            found = tz.studies.sweep(
                models(),
                data,
                train=SIZES,
                seed=seed,
                out=out,
                lint=False,  # the pages say what is doubtful in it
                verbose=not quiet and "auto",
            )
    finally:
        warnings.setLevel(level)
    print(found)
    print()
    for name in NETWORKS:
        print(in_a_sentence(found, name))
    save_plot(found, out)
    print(
        output.save_study(
            found.studies[-1], data.subset(train=SIZES[-1], seed=seed), out / f"train-{SIZES[-1]}"
        )
    )
    print(f"Accuracy against the number of images is drawn in {out / 'transfer.png'}")


def in_a_sentence(found: Sweep, name: str) -> str:
    """Return what pretrained weights are worth to a network on the fewest images."""
    from transferzoo import statistics

    study, images = found.studies[0], found.values[0]
    with_weights, without = (study.correct(f"{name}-{how}") for how in ("pretrained", "from-scratch"))
    gain = statistics.difference(with_weights, without)
    return (
        f"{name} on {images} images: {with_weights.mean():.1%} with weights from CIFAR-10, "
        f"{without.mean():.1%} from scratch: {100 * gain.estimate:+.1f} points "
        f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})."
    )


def save_plot(found: Sweep, folder: Path) -> None:
    """Draw accuracy against the number of training images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    found.plot(ax=figure.subplots())
    figure.savefig(folder.expanduser() / "transfer.png", dpi=120)
