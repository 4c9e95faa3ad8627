"""The options that `fit`, `compare` and `find-rate` share, and what the library makes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferzoo.errors import InvalidInputError, UnknownNameError, invalid, nearest, printable, unknown_name
from transferzoo.ground.interrupts import Terminated
from transferzoo.ground.quiet import load_keras
from transferzoo.training.checkpoints import CHECKPOINT

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.ground.progress import Progress

DATA, MODEL, TRAINING, RUN = "Data", "Model", "Training", "Run"
THE_RECIPES = "the recipe's"

logger = logging.getLogger("transferzoo")


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
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=RUN)]
RopeOption = Annotated[
    float,
    typer.Option(
        "--rope",
        help="Accuracies that differ by less, with their whole interval, count as practically equal; a "
        "fraction.",
        rich_help_panel=RUN,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.", rich_help_panel=RUN)
]


def backbones_beginning_with(incomplete: str) -> list[str]:
    """Return the backbones that a shell may complete a word to."""
    import transferzoo as tz

    return [name for name in tz.list_backbones() if name.startswith(incomplete)]


BackboneArgument = Annotated[
    str,
    typer.Argument(
        help="A backbone; see: transferzoo list.",
        autocompletion=backbones_beginning_with,
        show_default=False,
    ),
]


def _maybe(
    kind: Any, name: str, text: str, short: str | None = None, default: Any = False
) -> tuple[Any, Any]:
    """Return an option about data that is None where it is not given."""
    return Annotated[kind | None, _option(name, DATA, text, short, show_default=default)], None


_DATA_OPTIONS: dict[str, tuple[Any, Any]] = {
    "dataset": _maybe(str, "dataset", "A name, or a folder of class folders with photos.", "-d"),
    "table": _maybe(Path, "table", "A CSV file with the photos' paths and labels, in place of --dataset."),
    "path": _maybe(
        Path, "path", "Where a named dataset is: npz, original archive, batches or class folders."
    ),
    "train": _maybe(int, "train", "Use only this many training images, stratified.", default="all"),
    "test": _maybe(int, "test", "Use only this many test images, stratified.", default="all"),
    "validation": (
        Annotated[float, _option("validation", DATA, "Share, or number, of training images held out.")],
        0.2,
    ),
    "test_share": _maybe(
        float, "test-share", "Share, or number, of photos split off as test images.", default="0.2"
    ),
    "read_size": _maybe(
        int,
        "read-size",
        "Side in pixels at which photos are read.",
        default="what most photos have, else 224",
    ),
    "resize": _maybe(
        str, "resize", "How photos of other proportions are fitted: crop, pad or stretch.", default="crop"
    ),
    "background": _maybe(
        str, "background", "Colour behind transparent pixels and around padded photos.", default="white"
    ),
    "classes": _maybe(
        str, "classes", "Classes to read, separated by commas, in label order.", default="all, sorted"
    ),
    "layout": _maybe(
        str, "layout", "What the folders in --dataset are: classes, splits, or auto.", default="auto"
    ),
    "skip_unreadable": (
        Annotated[
            bool,
            typer.Option(
                "--skip-unreadable",
                help="Leave out photos that cannot be read, and list them.",
                rich_help_panel=DATA,
            ),
        ],
        False,
    ),
    "flips": (
        Annotated[
            bool | None,
            typer.Option(
                "--flips/--no-flips",
                help="Whether a mirrored image keeps its label, so that augmentation may flip it.",
                rich_help_panel=DATA,
                show_default="yes; digits: no",
            ),
        ],
        None,
    ),
    "groups": _maybe(
        str,
        "groups",
        "What belongs together and stays in one split: a column of --table, or a regular expression over "
        "file names.",
        default="each image by itself",
    ),
    "image_column": _maybe(str, "image-column", "Column of --table with the paths.", default="image"),
    "label_column": _maybe(str, "label-column", "Column of --table with the labels.", default="label"),
    "split_column": _maybe(
        str, "split-column", "Column of --table that says train, validation or test.", default="none"
    ),
    "root": _maybe(Path, "root", "Folder that the paths in --table begin at.", default="the table's folder"),
}
# option -> argument of from_directory and from_table
_PHOTOS = {
    "test_share": "test",
    "read_size": "image_size",
    "resize": "resize",
    "background": "background",
    "classes": "class_names",
    "groups": "groups",
}
_COLUMNS = {"image_column": "image", "label_column": "label", "split_column": "split", "root": "root"}


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
        str,
        "image-size",
        MODEL,
        "Side in pixels that the model resizes images to; 'input': no resizing.",
        None,
        "the backbone's",
    ),
    "stem": _passed_on(str, "stem", MODEL, "First layer: original, or stride1, which shrinks images less."),
    "output_stride": _passed_on(
        int, "output-stride", MODEL, "Maximum output stride, in input pixels.", None, "the backbone's"
    ),
    "stages": _passed_on(
        int, "stages", MODEL, "Of how many of the backbone's last stages the head gets features.", None, "1"
    ),
    "trainable": _passed_on(
        str,
        "trainable",
        MODEL,
        "Layers of the backbone to train: all, none, top:N, top:N%, or the beginning of their names.",
    ),
    "epochs": _passed_on(int, "epochs", TRAINING, "Epochs of the last training phase.", "-e"),
    "steps_per_epoch": _passed_on(
        int,
        "steps-per-epoch",
        TRAINING,
        "Maximum steps per epoch; each epoch then sees other images.",
        None,
        "all images",
    ),
    "minutes": _passed_on(
        float, "minutes", TRAINING, "Time limit of a run, in place of --epochs.", "-m", "no limit"
    ),
    "batch_size": _passed_on(int, "batch-size", TRAINING, "Images per step."),
    "learning_rate": _passed_on(float, "learning-rate", TRAINING, "Peak learning rate."),
    "warmup": _passed_on(float, "warmup", TRAINING, "Share of the steps in which the learning rate rises."),
    "schedule": _passed_on(
        str, "schedule", TRAINING, "Learning-rate schedule: constant, cosine or one_cycle."
    ),
    "layer_decay": _passed_on(
        float,
        "layer-decay",
        TRAINING,
        "Learning rate of a layer, as a share of the rate of the layer above it.",
    ),
    "weight_decay": _passed_on(float, "weight-decay", TRAINING, "Decoupled weight decay."),
    "label_smoothing": _passed_on(float, "label-smoothing", TRAINING, "Label smoothing, from 0 to below 1."),
    "batch_norm": _passed_on(
        str, "batch-norm", TRAINING, "BatchNorm statistics: inference, train or as_built."
    ),
    "augmentation": _passed_on(
        str, "augmentation", TRAINING, "Augmentation of training images: none, article, light or strong."
    ),
    "mixup": _passed_on(float, "mixup", TRAINING, "Mixup, alpha of its Beta distribution; 0: no mixup."),
    "rand_augment": _passed_on(int, "rand-augment", TRAINING, "RandAugment operations per image; 0: none."),
    "class_weight": _passed_on(
        str, "class-weight", TRAINING, "balanced, or weights such as cat=2,dog=1.", None, "all the same"
    ),
    "sampling": _passed_on(
        str, "sampling", TRAINING, "balanced: an epoch shows all classes equally often.", None, "as_is"
    ),
    "keep": _passed_on(str, "keep", TRAINING, "Which epoch gives the weights: best, last or safe."),
    "patience": _passed_on(
        str, "patience", TRAINING, "Stop after this many epochs without improvement; none: never stop early."
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
                help="Also repeat the mistakes of the tutorial that the recipe comes from.",
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
                help="Cache the features of a frozen backbone on disk.",
                rich_help_panel=RUN,
            ),
        ],
        True,
    ),
    "lint": (
        Annotated[
            bool,
            typer.Option(
                "--lint/--no-lint", help="Report likely problems before training.", rich_help_panel=RUN
            ),
        ],
        True,
    ),
    "seed": (SeedOption, 0),
    "out": (OutOption, None),
    "quiet": (QuietOption, False),
    "as_json": (JsonOption, False),
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
    if not all(part.isdecimal() for part in parts):
        raise invalid(name, "whole numbers with commas, such as 0,1,2", text)
    return [int(part) for part in parts]


def class_weight_of(text: str) -> str | dict[str, float]:
    """Return the weights of a text such as ``cat=2,dog=1``; a text without ``=`` as it is."""
    if "=" not in text:
        return text
    weights = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            accepted = "balanced, or weights such as cat=2,dog=1"
            raise invalid("--class-weight", accepted, text) from None
    return weights


@contextlib.contextmanager
def stoppable(folder: Path | None) -> Iterator[None]:
    """Keep what the library says of an interrupt; where it says nothing, look for an earlier checkpoint."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        message = str(stop)
        if not message and folder is not None and any(folder.expanduser().rglob(CHECKPOINT)):
            message = f"Interrupted. A checkpoint is in '{folder}'; the same call continues from there."
        if isinstance(stop, Terminated):
            stop.said = message
            raise
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
    if "class_weight" in options:
        options["class_weight"] = class_weight_of(options["class_weight"])
    for name in ("image_size", "patience"):
        if (options.get(name) or "").isdecimal():
            options[name] = int(options[name])
    if given["faithful"]:
        options["faithful"] = True
    for name in ("recipe", "seed", "out", "cache", "save_model", "lint"):
        if name in given:
            options[name] = given[name]
    options["verbose"] = "auto" if not given["quiet"] else False
    _refuse_wrong_values(names, options)
    from transferzoo.ground.progress import choose_progress

    # whatever is wrong with the images, too, is said before TensorFlow takes its seconds to load
    data = load_data(given, choose_progress(options["verbose"]))
    load_keras()
    return data, options


def _refuse_wrong_values(names: list[str], options: Mapping[str, Any]) -> None:
    """Raise for what can be seen to be wrong without Keras."""
    import transferzoo as tz
    from transferzoo.ground.storage.files import check_path, check_writable
    from transferzoo.models.options import OPTIONS as BUILD_OPTIONS
    from transferzoo.models.options import read_options
    from transferzoo.recipes.recipe import OPTIONS as RECIPE_OPTIONS

    recipe = tz.recipe_info(options["recipe"])
    told = {name: value for name, value in options.items() if name in RECIPE_OPTIONS}
    for name in names:
        built = {name: value for name, value in options.items() if name in BUILD_OPTIONS}
        read_options({**recipe.build_options(name), **built}, "build")
        recipe.with_options(name, **told)
    if options.get("out") is not None:
        check_writable("out", check_path("out", options["out"]))


def load_data(given: Mapping[str, Any], progress: Progress | None = None) -> Dataset:
    """Return the dataset that a command's options stand for."""
    import transferzoo as tz

    name, path, table, seed = given["dataset"], given["path"], given["table"], given["seed"]
    validation = _share(given["validation"])
    photos = {_PHOTOS[key]: given[key] for key in _PHOTOS if given.get(key) is not None}
    if "test" in photos:
        photos["test"] = _share(photos["test"])
    if "class_names" in photos:
        photos["class_names"] = [each.strip() for each in photos["class_names"].split(",")]
    if given["skip_unreadable"]:
        photos["on_error"] = "skip"
    if given["flips"] is not None:
        photos["flip_safe"] = given["flips"]
    columns = {_COLUMNS[key]: given[key] for key in _COLUMNS if given.get(key) is not None}
    if table is None and columns:
        option = next(key for key in _COLUMNS if given.get(key) is not None).replace("_", "-")
        raise invalid(f"--{option}", "given together with --table", str(next(iter(columns.values()))))
    if table is not None:
        _refuse("--table", {"--dataset": name, "--path": path, "--layout": given["layout"]})
        data = tz.from_table(table, **columns, **photos, validation=validation, seed=seed)
    else:
        data = _named_or_folder(given, photos, validation, progress)
    train, test = given["train"], given["test"]
    return data if train is None and test is None else data.subset(train=train, test=test, seed=seed)


def _named_or_folder(
    given: Mapping[str, Any], photos: dict[str, Any], validation: float, progress: Progress | None
) -> Dataset:
    import transferzoo as tz

    name, path, seed, layout = given["dataset"], given["path"], given["seed"], given["layout"]
    if name is None and path is None:
        raise invalid(
            "--dataset",
            "a dataset's name, or a folder of class folders",
            None,
            remedy="transferzoo list --kind datasets shows the names. --table reads a CSV file.",
        )
    if name in tz.list_datasets():
        if path is None and Path(name).is_dir():
            logger.warning(
                "--dataset %s is taken as the dataset of that name, not as the folder '%s' here; write "
                "--dataset ./%s for the folder",
                name,
                name,
                name,
            )
        flip_safe = photos.pop("flip_safe", None)
        extra = {**photos, **({"layout": layout} if layout else {})}
        if extra:
            options = [
                f"--{key.replace('_', '-')}"
                for key in _DATA_OPTIONS
                if given.get(key) and key in (*_PHOTOS, "layout", "skip_unreadable")
            ]
            raise invalid(
                options[0],
                "given with a folder or a table of photos",
                f"it with the dataset '{name}'",
                remedy=f"If you mean a folder called {name}, write --dataset ./{name}.",
            )
        where = {} if path is None else {"path": path}
        try:
            data = tz.load_dataset(name, validation=validation, seed=seed, progress=progress, **where)
        except InvalidInputError as error:
            if path is None or not path.is_dir():
                raise
            raise InvalidInputError(
                f"{error} (--path says where the dataset '{name}' is; to read photos of your own, pass their "
                f"folder with --dataset.)",
                argument="path",
                value=str(path),
            ) from error
        return data if flip_safe is None else dataclasses.replace(data, flip_safe=flip_safe)
    if name is not None and path is not None:
        raise invalid(
            "--path",
            "left out, unless --dataset is a name; it says where a named dataset is",
            str(path),
            remedy=f"To read the folder {name}, pass --dataset {name} alone.",
        )
    folder = Path(name if name is not None else path).expanduser()
    if not folder.is_dir():
        if name is None or "/" in name or "\\" in name:
            raise invalid(
                "--dataset" if name else "--path", "an existing folder or a dataset's name", str(folder)
            )
        unknown = unknown_name("dataset", name, tz.list_datasets(), "transferzoo list --kind datasets")
        close = nearest(name, [entry.name for entry in Path().iterdir() if entry.is_dir()])
        meant = f" Did you mean the folder '{printable(close)}'?" if close else ""
        raise UnknownNameError(
            f"{unknown} Nor is there a folder of that name.{meant}", argument="dataset", value=name
        )
    more = {} if layout is None else {"layout": layout}
    return tz.from_directory(folder, **photos, **more, validation=validation, seed=seed)


def _refuse(option: str, others: Mapping[str, Any]) -> None:
    for other, value in others.items():
        if value is not None:
            raise invalid(other, f"left out with {option}", str(value), remedy=f"Or leave {option} out.")


def _share(value: float) -> float:
    return int(value) if math.isfinite(value) and value >= 1 and value == int(value) else value
