"""The command line: parse, call, print."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from transferzoo.errors import (
    DivergedError,
    DownloadError,
    RecordError,
    TransferZooError,
    UnknownNameError,
    invalid,
    unknown_name,
)
from transferzoo.version import __version__

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.studies.study import Study

DEMO_BACKBONES = ("mobilenet_025", "mobilenet_v2_035")
DEMO_EPOCHS = 25
INTERRUPTED = 130
# what `fit` and `compare` hand to the library where it was given
PASSED_ON = ("weights", "head", "image_size", "trainable", "epochs", "batch_size", "learning_rate")

app = typer.Typer(
    name="transferzoo",
    help="Which backbone, with which head and recipe, gives what accuracy at what cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

cache = typer.Typer(
    name="cache",
    help="Show or clear the features kept on disk.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(cache)


class Kind(StrEnum):
    """What `list` can list."""

    backbones = "backbones"
    heads = "heads"
    datasets = "datasets"
    recipes = "recipes"


DatasetOption = Annotated[
    str, typer.Option("--dataset", "-d", help="A dataset's name, or a folder of class folders with photos.")
]
PathOption = Annotated[
    Path | None,
    typer.Option("--path", help="Where the dataset is: npz, original archive, batches or class folders."),
]
TrainOption = Annotated[
    int | None,
    typer.Option("--train", help="Take this many training images, stratified.", show_default="all"),
]
TestOption = Annotated[
    int | None, typer.Option("--test", help="Take this many test images, stratified.", show_default="all")
]
ValidationOption = Annotated[
    float, typer.Option("--validation", help="Share, or number, of training images held out.")
]
RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="See: transferzoo list --kind recipes.")]
WeightsOption = Annotated[
    str | None,
    typer.Option("--weights", "-w", help="imagenet, none, or a weights file.", show_default="imagenet"),
]
HeadOption = Annotated[
    str | None,
    typer.Option("--head", help="See: transferzoo list --kind heads.", show_default="the recipe's"),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        help="Resize to this inside the model; 'input': do not.",
        show_default="the backbone's",
    ),
]
TrainableOption = Annotated[
    str | None, typer.Option("--trainable", help="all, none, top:N, or the beginning of layer names.")
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", "-e", help="Of the main phase.", show_default="the recipe's")
]
BatchOption = Annotated[int | None, typer.Option("--batch-size", show_default="the recipe's")]
RateOption = Annotated[float | None, typer.Option("--learning-rate", show_default="the recipe's")]
FaithfulOption = Annotated[
    bool, typer.Option("--faithful", help="Bring back the faults of the study a recipe was taken from.")
]
SeedOption = Annotated[int, typer.Option("--seed", "-s")]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="A new folder for results and plots.", show_default="none")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


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
        typer.Option("--version", help="Show the version and stop.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    del version


@app.command(
    "list",
    epilog="Examples: [bold]transferzoo list[/], [bold]transferzoo list 'mobilenet*'[/], "
    "[bold]transferzoo list --kind recipes[/]",
)
def list_command(
    pattern: Annotated[str, typer.Argument(help="Names, with wildcards.")] = "*",
    kind: Annotated[Kind, typer.Option("--kind", "-k", help="What to list.")] = Kind.backbones,
) -> None:
    """List backbones, heads, datasets or recipes."""
    import transferzoo as tz

    if kind is Kind.backbones:
        table = _table("backbone", "family", ">parameters", ">features", ">smallest image", "weights")
        for name in tz.list_backbones(pattern):
            record = tz.backbone_info(name)
            table.add_row(
                name,
                record.family,
                f"{record.parameters / 1e6:.2f} M" if record.parameters else "?",
                str(record.feature_channels or "?"),
                str(record.minimum_size),
                ", ".join(weights.name for weights in record.weights) or "none: from scratch",
            )
    elif kind is Kind.heads:
        table = _table("head", "parts")
        for name in tz.list_heads(pattern):
            table.add_row(name, str(tz.head_info(name)))
    elif kind is Kind.datasets:
        table = _table("dataset", "what it is")
        for name in tz.list_datasets(pattern):
            table.add_row(name, tz.dataset_info(name).description)
    else:
        table = _table("recipe", "when to use it")
        for name in tz.list_recipes(pattern):
            table.add_row(name, tz.recipe_info(name).description)
    if not table.row_count:
        raise invalid("pattern", f"a pattern that some of the {kind.value} match", pattern)
    _console().print(table)


@app.command(epilog="Example: [bold]transferzoo info mobilenet[/]")
def info(name: Annotated[str, typer.Argument(help="A backbone, dataset, recipe or head.")]) -> None:
    """Show what is known about a backbone, dataset, recipe or head."""
    import json

    import transferzoo as tz

    found = False
    if name in tz.list_backbones():
        found = True
        _console().print(_backbone_table(tz.backbone_info(name)))
    if name in tz.list_heads():
        print(f"{chr(10) if found else ''}head '{name}': {tz.head_info(name)}")
        found = True
    if name in tz.list_datasets():
        found = True
        _console().print(_dataset_table(tz.dataset_info(name)))
    if name in tz.list_recipes():
        found = True
        print(json.dumps(tz.recipe_info(name).to_dict(), indent=2))
    if not found:
        every = [*tz.list_backbones(), *tz.list_heads(), *tz.list_datasets(), *tz.list_recipes()]
        raise unknown_name("backbone, head, dataset or recipe", name, every, "transferzoo list")


@app.command(
    epilog="Examples: [bold]transferzoo fit mobilenet_025 --dataset digits --weights none[/], "
    "[bold]transferzoo fit mobilenet --dataset cifar10 --train 5000 --out runs/mobilenet[/]"
)
def fit(
    name: Annotated[str, typer.Argument(help="A backbone; see: transferzoo list.")],
    dataset: DatasetOption,
    path: PathOption = None,
    train: TrainOption = None,
    test: TestOption = None,
    validation: ValidationOption = 0.2,
    recipe: RecipeOption = "default",
    weights: WeightsOption = None,
    head: HeadOption = None,
    image_size: SizeOption = None,
    trainable: TrainableOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    learning_rate: RateOption = None,
    faithful: FaithfulOption = False,
    seed: SeedOption = 0,
    out: OutOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train one model on a dataset and test it."""
    data, options = _prepare([name], locals())
    import transferzoo as tz

    result = tz.fit_and_evaluate(name, data, **options)
    print(result)
    if out is not None:
        _save_run_plots(result, out)
        print(f"Results, model and plots are in {out}")


@app.command(
    epilog="Examples: [bold]transferzoo compare resnet50 mobilenet --dataset cifar10 --recipe article[/], "
    "[bold]transferzoo compare alexnet mobilenet_025 -d digits -w none -e 3[/]"
)
def compare(
    names: Annotated[list[str], typer.Argument(help="Backbones; see: transferzoo list.")],
    dataset: DatasetOption,
    path: PathOption = None,
    train: TrainOption = None,
    test: TestOption = None,
    validation: ValidationOption = 0.2,
    recipe: RecipeOption = "default",
    weights: WeightsOption = None,
    head: HeadOption = None,
    image_size: SizeOption = None,
    trainable: TrainableOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    learning_rate: RateOption = None,
    faithful: FaithfulOption = False,
    seed: SeedOption = 0,
    out: OutOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train several models on the same footing and show them side by side."""
    data, options = _prepare(names, locals())
    import transferzoo as tz

    study = tz.compare(names, data, **options)
    _show(study)
    if out is not None:
        _save_study(study, data, out)


@app.command(epilog="Example: [bold]transferzoo demo --out my-demo[/]")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results and plots.")] = Path(
        "transferzoo-demo"
    ),
    seed: SeedOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Compare two small backbones on 1,797 real scans of digits; needs no network."""
    import logging

    with _quiet_import():
        import keras  # noqa: F401

    import transferzoo as tz

    data = tz.load_dataset("digits", seed=seed)
    if not quiet:
        print(data, "\n")
        names = " and ".join(DEMO_BACKBONES)
        print(f"Training {names} from scratch, {DEMO_EPOCHS} epochs each …", flush=True)
    warnings = logging.getLogger("transferzoo.models")
    level = warnings.level
    warnings.setLevel(logging.ERROR)  # that 32×32 pixels leave a 1×1 feature map is known, and no news here
    try:
        study = tz.compare(
            list(DEMO_BACKBONES),
            data,
            weights=None,
            epochs=DEMO_EPOCHS,
            image_size="input",
            seed=seed,
            out=out,
            verbose=not quiet and "auto",
        )
    finally:
        warnings.setLevel(level)
    _show(study)
    _save_study(study, data, out)


@cache.command("list", epilog="Example: [bold]transferzoo cache list[/]")
def cache_list() -> None:
    """List the features kept on disk, the ones used last first."""
    import transferzoo as tz

    store = tz.FeatureStore()
    entries = store.entries()
    table = _table("what", ">images", ">shape", ">size", "last used")
    for entry in entries:
        about = dict(entry.description)
        size = "×".join(map(str, about.get("image_size", ())))
        words = [str(about.get("backbone", "?")), f"at {size}" if size else "", str(about.get("layer", ""))]
        table.add_row(
            ", ".join(word for word in words if word),
            f"{entry.shape[0]:,}",
            "×".join(map(str, entry.shape[1:])),
            _size(entry.size_bytes),
            f"{entry.last_used.astimezone():%Y-%m-%d %H:%M}",
        )
    if entries:
        _console().print(table)
    total = sum(entry.size_bytes for entry in entries)
    print(f"{len(entries)} kept, {_size(total)} of at most {_size(store.max_bytes)}, in {store.folder}")


@cache.command("clear", epilog="Example: [bold]transferzoo cache clear --older-than 30[/]")
def cache_clear(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", help="Leave what was used within this many days.", show_default="all"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the features kept on disk; they are computed again when needed."""
    import transferzoo as tz

    store = tz.FeatureStore()
    if not yes and sys.stdin.isatty():
        which = f"not used for {older_than:g} days " if older_than is not None else ""
        if not typer.confirm(f"Delete the features {which}in {store.folder}?"):
            print("Nothing was deleted.")
            return
    freed = store.clear(older_than_days=older_than)
    print(f"Freed {_size(freed)}; {len(store.entries())} kept, in {store.folder}")


def main() -> None:
    """Run the command line, and end the process with its exit code.

    0: done. 1: it failed underway. 2: the call was wrong, and nothing was done. 130: interrupted.
    """
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    sys.exit(run([argument for argument in arguments if argument != "--debug"], debug=debug))


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run the command line with these arguments and return its exit code."""
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="transferzoo", standalone_mode=False)
        return _interrupted() if code == INTERRUPTED else code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        if debug:
            raise
        return _interrupted()
    except TransferZooError as error:
        if debug:
            raise
        failed = isinstance(error, DownloadError | DivergedError | RecordError)
        return _complain(str(error), 1 if failed else 2)
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if debug:
            raise
        if format_message is not None:
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "transferzoo"
            return _complain(f"{format_message()} See: {command} --help".replace("\n", " "), 2)
        reason = " ".join(str(error).split())[:300]
        return _complain(f"{type(error).__name__}: {reason} (--debug shows where)", 1)


def _interrupted() -> int:
    return _complain("Interrupted; nothing of the unfinished run was saved.", INTERRUPTED)


def _complain(message: str, code: int) -> int:
    print(f"transferzoo: {message}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _quiet_import() -> Iterator[None]:
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


def _console() -> Console:
    width = None if sys.stdout.isatty() else 100
    return Console(width=width)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column[0] == ">" else "left", overflow="fold")
    return table


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1024
    return f"{count:,.1f} GiB"


def _facts(rows: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows.items():
        if value:
            table.add_row(key, value)
    return table


def _dataset_table(record: Any) -> Table:
    shape = "×".join(map(str, record.image_shape)) if record.image_shape else ""
    return _facts(
        {
            "dataset": record.name,
            "what it is": record.description,
            "classes": str(record.num_classes or ""),
            "images": shape,
            "source": record.source,
            "licence": record.licence,
        }
    )


def _backbone_table(record: Any) -> Table:
    how = record.preprocessing
    rows = {
        "backbone": record.name,
        "family": record.family,
        "paper": record.paper,
        "parameters": f"{record.parameters:,} without a head" if record.parameters else "not counted",
        "features": f"{record.feature_channels} channels" if record.feature_channels else "unknown",
        "reduction": f"{record.reduction} pixels a cell" if record.reduction else "unknown",
        "native size": f"{record.native_size} pixels",
        "smallest image": f"{record.minimum_size} pixels",
        "enlarged to": f"{record.default_size} pixels, with published weights" if record.weights else "",
        "preprocessing": f"{how.channels.upper()}, (pixel - {how.mean}) / {how.std}",
        "licence": record.licence,
        "note": record.note,
    }
    for weights in record.weights:
        rows[f"weights '{weights.name}'"] = (
            f"{weights.trained_on}; {weights.licence}; {weights.source}; {weights.url}; "
            f"{weights.hash or 'no hash is published'}"
        )
    if not record.weights:
        rows["weights"] = "none: trained from scratch"
    return _facts(rows)


def _prepare(names: list[str], given: dict[str, Any]) -> tuple[Dataset, dict[str, Any]]:
    """Return the dataset, and the rest of a command's parameters as the library takes them."""
    import transferzoo as tz

    for name in names:
        tz.backbone_info(name)
    tz.recipe_info(given["recipe"])
    options = {name: given[name] for name in PASSED_ON if given[name] is not None}
    if str(options.get("weights", "")).lower() == "none":
        options["weights"] = None
    if options.get("image_size", "").isdigit():
        options["image_size"] = int(options["image_size"])
    if given["faithful"]:
        options["faithful"] = True
    for name in ("recipe", "seed", "out"):
        options[name] = given[name]
    options["verbose"] = "auto" if not given["quiet"] else False
    with _quiet_import():
        import keras  # noqa: F401
    data_parameters = ("dataset", "path", "validation", "seed", "train", "test")
    return _dataset(*(given[name] for name in data_parameters)), options


def _dataset(
    name: str, path: Path | None, validation: float, seed: int, train: int | None, test: int | None
) -> Dataset:
    import transferzoo as tz

    validation = int(validation) if validation >= 1 and validation == int(validation) else validation
    if name not in tz.list_datasets() and Path(name).is_dir() and path is None:
        data = tz.from_directory(name, validation=validation, seed=seed)
    elif name not in tz.list_datasets():
        error = unknown_name("dataset", name, tz.list_datasets(), "transferzoo list --kind datasets")
        raise UnknownNameError(f"{error} Nor is there a folder of that name.", argument="dataset", value=name)
    elif path is not None:
        data = tz.load_dataset(name, validation=validation, seed=seed, path=path)
    else:
        data = tz.load_dataset(name, validation=validation, seed=seed)
    if train is None and test is None:
        return data
    return data.subset(train=train, test=test, seed=seed)


def _show(study: Study) -> None:
    header, rows = study.table()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(header):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console().print(table)
    print(study.caption())


def _save_run_plots(result: Any, folder: Path) -> None:
    from matplotlib.figure import Figure

    folder = folder.expanduser()
    figure = Figure(figsize=(10, 4), layout="constrained")
    result.plot_history(ax=figure.subplots(1, 2))
    figure.savefig(folder / "history.png", dpi=120)
    size = min(14, max(6, 0.6 * len(result.class_names)))
    for normalize, name in ((None, "confusion.png"), ("true", "confusion_normalized.png")):
        figure = Figure(figsize=(size, size * 0.9), layout="constrained")
        result.plot_confusion_matrix(normalize=normalize, ax=figure.subplots())
        figure.savefig(folder / name, dpi=120)


def _save_study(study: Study, data: Dataset, folder: Path) -> None:
    from matplotlib.figure import Figure

    from transferzoo import plots

    folder = folder.expanduser()
    for result in study.results:
        _save_run_plots(result, folder / result.name)
    figure = Figure(figsize=(7, 1.4 + 0.5 * len(study)), layout="constrained")
    study.plot(ax=figure.subplots())
    figure.savefig(folder / "comparison.png", dpi=120)
    figure = Figure(figsize=(8, 8), layout="constrained")
    plots.image_grid(data, ax=figure.subplots())
    figure.savefig(folder / "images.png", dpi=120)
    (folder / "comparison.md").write_text(study.to_markdown() + f"\n\n{study.caption()}\n", encoding="utf-8")
    (folder / "comparison.csv").write_text(study.to_csv(), encoding="utf-8")
    print(f"Results, models and plots are in {folder}")


if __name__ == "__main__":
    main()
