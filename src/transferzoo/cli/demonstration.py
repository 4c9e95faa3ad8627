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

SIZES = (20, 50, 100)
NETWORK = "resnet20"
# the training is the same, and only the weights that it begins with differ
TRAINING: dict[str, Any] = {
    "model": NETWORK,
    "recipe": "from_scratch",
    "epochs": 20,
    "batch_size": 32,
    "learning_rate": 0.03,
}
BEGINNINGS = {"pretrained": "cifar10", "from-scratch": None}


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
            f"{NETWORK} from CIFAR-10's weights and from random ones, three seeds, on {SIZES} images …",
            flush=True,
        )
    warnings = logging.getLogger("transferzoo")
    level = warnings.level
    warnings.setLevel(logging.ERROR)  # few images from scratch may end near chance: that is what is shown
    try:
        with stoppable(out):
            found = tz.studies.sweep(
                {how: {**TRAINING, "weights": weights} for how, weights in BEGINNINGS.items()},
                data,
                train=SIZES,
                seed=seed,
                seeds=(seed, seed + 1, seed + 2),
                n_jobs=2,
                out=out,
                lint=False,  # the pages say what is doubtful in it
                verbose=not quiet and "auto",
            )
    finally:
        warnings.setLevel(level)
    print(found)
    print()
    print(in_a_sentence(found))
    save_plot(found, out)
    print(
        output.save_study(
            found.studies[-1], data.subset(train=SIZES[-1], seed=seed), out / f"train-{SIZES[-1]}"
        )
    )
    print(f"Accuracy against the number of images is drawn in {out / 'transfer.png'}")


def in_a_sentence(found: Sweep) -> str:
    """Return what pretrained weights are worth, at each number of images."""
    from transferzoo import statistics

    gains = []
    for images, study in zip(found.values, found.studies, strict=True):
        with_weights, without = (study.correct(how) for how in BEGINNINGS)
        gain = statistics.difference(with_weights, without)
        low, high = 100 * gain.low, 100 * gain.high
        gains.append(f"{100 * gain.estimate:+.1f} points ({low:+.1f} to {high:+.1f}) on {images} images")
    return f"{NETWORK} gains from CIFAR-10's weights, with 95 % intervals: {', '.join(gains)}."


def save_plot(found: Sweep, folder: Path) -> None:
    """Draw accuracy against the number of training images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    found.plot(ax=figure.subplots())
    figure.savefig(folder.expanduser() / "transfer.png", dpi=120)
