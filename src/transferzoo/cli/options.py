"""The options that `fit`, `compare` and `find-rate` share, and what the library makes of them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferzoo.checkpoints import CHECKPOINT
from transferzoo.errors import UnknownNameError, invalid, unknown_name

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.progress import Progress

DATA, MODEL, TRAINING, RUN = "Data", "Model", "Training", "Run"
THE_RECIPES = "the recipe's"


class StoppedError(Exception):
    """Ctrl-C, with what the library says about going on; typer would drop the words."""


def _option(name: str, panel: str, text: str | None = None, short: str | None = None, **more: Any) -> Any:
    names = (f"--{name}", short) if short else (f"--{name}",)
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


SeedOption = Annotated[int, _option("seed", RUN, short="-s")]
OutOption = Annotated[
    Path | None,
    _option("out", RUN, "A new folder for results and plots.", "-o", show_default="none"),
]
QuietOption = Annotated[bool, _option("quiet", RUN, "No progress.", "-q")]

_DATA_OPTIONS: dict[str, tuple[Any, Any]] = {
    "dataset": (
        Annotated[str, _option("dataset", DATA, "A name, or a folder of class folders with photos.", "-d")],
        inspect.Parameter.empty,
    ),
    "path": (
        Annotated[
            Path | None,
            _option("path", DATA, "Where the dataset is: npz, original archive, batches or class folders."),
        ],
        None,
    ),
    "train": (
        Annotated[
            int | None,
            _option("train", DATA, "Take this many training images, stratified.", show_default="all"),
        ],
        None,
    ),
    "test": (
        Annotated[
            int | None, _option("test", DATA, "Take this many test images, stratified.", show_default="all")
        ],
        None,
    ),
    "validation": (
        Annotated[float, _option("validation", DATA, "Share, or number, of training images held out.")],
        0.2,
    ),
}


def _passed_on(
    kind: Any, name: str, panel: str, text: str | None, short: str | None = None, default: str = THE_RECIPES
) -> tuple[Any, Any]:
    """Return an option that reaches the library where it is given, and stays unsaid where it is not."""
    return Annotated[kind | None, _option(name, panel, text, short, show_default=default)], None


# as the library calls them
_PASSED_ON: dict[str, tuple[Any, Any]] = {
    "weights": _passed_on(
        str, "weights", MODEL, "imagenet, a weights file, or none for random weights.", "-w", "imagenet"
    ),
    "head": _passed_on(str, "head", MODEL, "See: transferzoo list --kind heads."),
    "image_size": _passed_on(
        str, "image-size", MODEL, "Resize to this inside the model; 'input': do not.", None, "the backbone's"
    ),
    "stem": _passed_on(str, "stem", MODEL, "original, or stride1: shrink images less."),
    "output_stride": _passed_on(
        int, "output-stride", MODEL, "Pixels a cell of the last map, at most.", None, "the backbone's"
    ),
    "trainable": _passed_on(
        str, "trainable", MODEL, "all, none, top:N, top:N%, or the beginning of layer names."
    ),
    "epochs": _passed_on(int, "epochs", TRAINING, "Of the main phase.", "-e"),
    "batch_size": _passed_on(int, "batch-size", TRAINING, "Images a step."),
    "learning_rate": _passed_on(float, "learning-rate", TRAINING, "The highest, where it changes."),
    "warmup": _passed_on(float, "warmup", TRAINING, "Share of the steps over which the rate rises."),
    "layer_decay": _passed_on(
        float, "layer-decay", TRAINING, "A layer's rate as a share of the rate of the one above it."
    ),
    "weight_decay": _passed_on(float, "weight-decay", TRAINING, "Decoupled."),
    "label_smoothing": _passed_on(float, "label-smoothing", TRAINING, "0 to below 1."),
    "batch_norm": _passed_on(str, "batch-norm", TRAINING, "inference, train or as_built."),
    "augmentation": _passed_on(str, "augmentation", TRAINING, "none, article, light or strong."),
    "mixup": _passed_on(float, "mixup", TRAINING, "Alpha of the Beta distribution; 0: none."),
    "rand_augment": _passed_on(int, "rand-augment", TRAINING, "Operations an image; 0: none."),
    "keep": _passed_on(str, "keep", TRAINING, "best or last: which epoch's weights."),
    "patience": _passed_on(
        str, "patience", TRAINING, "Stop after so many epochs that are no better; none: do not."
    ),
}
_RUN_OPTIONS: dict[str, tuple[Any, Any]] = {
    "recipe": (
        Annotated[str, _option("recipe", TRAINING, "See: transferzoo list --kind recipes.", "-r")],
        "default",
    ),
    "faithful": (
        Annotated[
            bool,
            typer.Option(
                "--faithful",
                help="Bring back the faults of the study a recipe was taken from.",
                rich_help_panel=TRAINING,
            ),
        ],
        False,
    ),
    "cache": (
        Annotated[
            bool,
            typer.Option(
                "--cache/--no-cache",
                help="Keep a frozen backbone's features on disk.",
                rich_help_panel=RUN,
            ),
        ],
        True,
    ),
    "lint": (
        Annotated[
            bool,
            typer.Option(
                "--lint/--no-lint", help="Say what is doubtful before training.", rich_help_panel=RUN
            ),
        ],
        True,
    ),
    "seed": (SeedOption, 0),
    "out": (OutOption, None),
    "quiet": (QuietOption, False),
}
_SAVING: dict[str, tuple[Any, Any]] = {
    "save_model": (
        Annotated[
            bool,
            typer.Option(
                "--save-model/--no-save-model",
                help="Save the trained model too, in --out.",
                rich_help_panel=RUN,
            ),
        ],
        True,
    )
}


def sharing(*, saves_models: bool, without: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Any]:
    """Give a command the shared options, which it gets as ``**given``."""
    shared = {**_DATA_OPTIONS, **_PASSED_ON, **_RUN_OPTIONS, **(_SAVING if saves_models else {})}
    shared = {name: option for name, option in shared.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Any:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [each for each in own if each.kind is not inspect.Parameter.VAR_KEYWORD]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in shared.items()
        ]

        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            with stoppable(given["out"] if saves_models else None):
                command(**given)

        # typer reads what it asks for off the signature
        wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapped

    return decorate


def number_list(name: str, text: str) -> list[int]:
    """Return the numbers of a text such as ``0,1,2``."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise invalid(name, "whole numbers with commas, such as 0,1,2", text)
    return [int(part) for part in parts]


@contextlib.contextmanager
def stoppable(folder: Path | None) -> Iterator[None]:
    """Keep what the library says of an interrupt; where it says nothing, look for an earlier checkpoint."""
    try:
        yield
    except KeyboardInterrupt as stop:
        message = str(stop)
        if not message and folder is not None and any(folder.expanduser().rglob(CHECKPOINT)):
            message = f"Interrupted. A checkpoint is in '{folder}'; the same call goes on from there."
        raise StoppedError(message) from stop


def prepare(names: list[str], given: dict[str, Any]) -> tuple[Dataset, dict[str, Any]]:
    """Return the dataset, and the rest of a command's options as the library takes them."""
    import transferzoo as tz

    for name in names:
        tz.backbone_info(name)
    tz.recipe_info(given["recipe"])
    options = {name: given[name] for name in _PASSED_ON if given.get(name) is not None}
    for name in ("weights", "patience"):
        if options.get(name, "").lower() == "none":
            options[name] = None
    for name in ("image_size", "patience"):
        if (options.get(name) or "").isdigit():
            options[name] = int(options[name])
    if given["faithful"]:
        options["faithful"] = True
    for name in ("recipe", "seed", "out", "cache", "save_model", "lint"):
        if name in given:
            options[name] = given[name]
    options["verbose"] = "auto" if not given["quiet"] else False
    with quiet_import():
        import keras  # noqa: F401
    from transferzoo.progress import choose_progress

    data_parameters = ("dataset", "path", "validation", "seed", "train", "test")
    progress = choose_progress(options["verbose"])
    return _dataset(*(given[name] for name in data_parameters), progress=progress), options


def _dataset(
    name: str,
    path: Path | None,
    validation: float,
    seed: int,
    train: int | None,
    test: int | None,
    *,
    progress: Progress,
) -> Dataset:
    import transferzoo as tz

    validation = int(validation) if validation >= 1 and validation == int(validation) else validation
    if name not in tz.list_datasets() and Path(name).is_dir() and path is None:
        data = tz.from_directory(name, validation=validation, seed=seed)
    elif name not in tz.list_datasets():
        error = unknown_name("dataset", name, tz.list_datasets(), "transferzoo list --kind datasets")
        raise UnknownNameError(f"{error} Nor is there a folder of that name.", argument="dataset", value=name)
    elif path is not None:
        data = tz.load_dataset(name, validation=validation, seed=seed, path=path, progress=progress)
    else:
        data = tz.load_dataset(name, validation=validation, seed=seed, progress=progress)
    if train is None and test is None:
        return data
    return data.subset(train=train, test=test, seed=seed)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Keep what TensorFlow's C++ says while loading off the terminal, unless loading fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except BaseException:
            heard.seek(0)
            os.write(saved, heard.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
