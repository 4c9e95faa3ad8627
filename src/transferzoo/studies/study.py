"""`compare`: several models on the same data, seed and recipe; and the Study that they make."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferzoo.errors import InvalidInputError, RecordError, UnknownOptionError, invalid
from transferzoo.results import Result, is_run

if TYPE_CHECKING:
    import keras

    from transferzoo.data.dataset import Dataset
    from transferzoo.progress import Progress
    from transferzoo.recipes.recipe import Recipe
    from transferzoo.runs import RunPlan

logger = logging.getLogger("transferzoo")


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """Runs that were made on the same test images, ready to be read side by side.

    Parameters
    ----------
    results : tuple of Result
        One a model, in the order they were asked for; read back, in the order of their names.
    folder : Path or None
        Where they are saved: ``folder/<name>/``, each as `Result.save` writes it.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> study = tz.compare(["mobilenet_025"], data, weights=None, epochs=1)
    >>> [record["model"] for record in study.to_records()]
    ['mobilenet_025']
    """

    results: tuple[Result, ...]
    folder: Path | None = field(default=None)

    def __getitem__(self, name: str) -> Result:
        from transferzoo.errors import unknown_name

        for result in self.results:
            if result.name == name:
                return result
        raise unknown_name("run", name, [result.name for result in self.results], "study.to_records()")

    def __len__(self) -> int:
        return len(self.results)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one plain dict a run: model, accuracy, parameters, size, seconds, images/s, metrics."""
        return [result.row() for result in self.results]

    def to_csv(self) -> str:
        """Return the records as CSV text, with a header."""
        records = self.to_records()
        columns = list(dict.fromkeys(key for record in records for key in record))
        stream = io.StringIO()
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return stream.getvalue()

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the comparison as a header and rows of text, best accuracy first."""
        header = ["model", "test accuracy", "parameters", "size", "training", "epochs", "prediction"]
        rows = []
        for record in sorted(self.to_records(), key=lambda record: -record["accuracy"]):
            rows.append(
                [
                    record["model"],
                    f"{record['accuracy']:.1%}",
                    f"{record['parameters'] / 1e6:,.2f} M",
                    f"{record['size_bytes'] / 1e6:,.1f} MB",
                    f"{record['train_seconds']:,.0f} s",
                    f"{record['epochs']}",
                    f"{record['images_per_second']:,.0f} images/s",
                ]
            )
        return header, rows

    def to_markdown(self) -> str:
        """Return the comparison as a Markdown table."""
        header, rows = self.table()
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )

    def caption(self) -> str:
        """Return one line that says what was compared, and on what."""
        first = self.results[0].settings
        data, recipe = first.get("data", {}), first.get("recipe", {})
        return (
            f"{data.get('name', '?')}: {data.get('train', '?')} training, "
            f"{data.get('validation', '?')} validation, {data.get('test', '?')} test images; "
            f"recipe '{recipe.get('name', '?')}'"
            + (" (faithful)" if recipe.get("faults") else "")
            + f", seed {first.get('seed', '?')}"
            + self._mixed_weights()
        )

    def _mixed_weights(self) -> str:
        """Return a clause that names the models trained from scratch among pretrained ones."""
        weights = {result.name: result.settings.get("model", {}).get("weights") for result in self.results}
        scratch = [name for name, value in weights.items() if value is None]
        return f"; from random weights: {', '.join(scratch)}" if 0 < len(scratch) < len(weights) else ""

    def __str__(self) -> str:
        header, rows = self.table()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            first, *rest = zip(cells, widths, strict=True)
            return "  ".join(
                [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
            ).rstrip()

        rule = "  ".join("─" * width for width in widths)
        return "\n".join([line(header), rule, *map(line, rows), self.caption()])

    def plot(self, *, metric: str = "accuracy", ax: Any = None) -> Any:
        """Draw the runs as bars and return the Axes; see `plots.comparison`."""
        from transferzoo import plots

        return plots.comparison(self, metric=metric, ax=ax)

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Read back a folder of runs.

        Raises
        ------
        RecordError
            If there is no such folder, no run in it, or a run that cannot be read.
        """
        path = Path(folder).expanduser()
        runs = sorted(child for child in path.iterdir() if is_run(child)) if path.is_dir() else []
        if not runs:
            raise RecordError(
                f"'{path}' holds no runs. A study's folder has one folder a run, with a run.json in it.",
                argument="folder",
                value=str(path),
            )
        return cls(results=tuple(Result.load(run) for run in runs), folder=path)


def compare(
    models: Sequence[str] | Mapping[str, str | keras.Model],
    data: str | Dataset,
    *,
    recipe: str | Recipe = "default",
    seed: int = 0,
    out: str | Path | None = None,
    callbacks: Iterable[Any] = (),
    save_model: bool = True,
    cache: bool = True,
    verbose: bool | str | Progress = "auto",
    **options: Any,
) -> Study:
    """Train and test several models on the same split, with the same seed, recipe and options.

    Parameters
    ----------
    models : sequence of str, or mapping of str to str or keras.Model
        Backbones' names; or names of your own, and what they stand for.
    data : str or Dataset
        A dataset's name, or a dataset.
    recipe : str or Recipe, default "default"
    seed : int, default 0
    out : str or Path, optional
        Folder for the study; each run gets a folder in it. Runs that it holds already, made by the same
        call, are loaded instead of made again; one that was interrupted goes on from its checkpoint.
    callbacks, save_model, cache, verbose, **options
        As `fit_and_evaluate` takes them, for every model.

    Returns
    -------
    Study
        ``print(study)`` shows the table.

    Raises
    ------
    TransferZooError
        As from `fit_and_evaluate`; every model's call is checked, and all weights are fetched, before
        the first training begins.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> len(tz.compare(["mobilenet_025", "mobilenet_v2_035"], data, weights=None, epochs=1))
    2
    """
    from transferzoo.backbones.weights import locate_weights
    from transferzoo.data.catalog import load_dataset
    from transferzoo.progress import choose_progress
    from transferzoo.runs import execute, plan_run

    entries = _entries(models)
    progress = choose_progress(verbose)
    folder = None if out is None else Path(out).expanduser()
    if folder is not None and folder.exists() and not folder.is_dir():
        raise invalid("out", "a folder", str(folder))
    if isinstance(data, str):
        data = load_dataset(data, seed=seed)
    plans: list[RunPlan] = []
    for name, model in entries.items():
        try:
            plans.append(
                plan_run(
                    model,
                    data,
                    recipe=recipe,
                    seed=seed,
                    out=None if folder is None else folder / name,
                    options=options,
                    name=name,
                    after=plans[-1].name if plans else None,
                    keep_features=cache,
                )
            )
        except UnknownOptionError as error:
            message = str(error).replace("fit_and_evaluate has", "compare has")
            raise UnknownOptionError(message, argument=error.argument, suggestion=error.suggestion) from None
    for run in plans:
        if run.backbone is not None and not run.finished():
            locate_weights(run.backbone, run.build_options.get("weights", "imagenet"), progress=progress)
    results: list[Result] = []
    for number, run in enumerate(plans, 1):
        logger.info("run %d of %d: %s", number, len(plans), run.name)
        carried = "carried_rate" in run.recipe.faults and results
        results.append(
            execute(
                run,
                callbacks=callbacks,
                save_model=save_model,
                progress=progress,
                first_rate=results[-1].history["learning_rate"][-1] if carried else None,
            )
        )
    return Study(results=tuple(results), folder=folder)


def _entries(models: Any) -> dict[str, Any]:
    if isinstance(models, str):
        raise invalid("models", "a list of backbones' names", models, remedy=f"Pass ['{models}', …].")
    entries = dict(models) if isinstance(models, Mapping) else {str(name): name for name in models}
    if not entries:
        raise invalid("models", "one or more backbones' names", models)
    if len(entries) < len(models):
        raise InvalidInputError(
            f"models must name each model once. Got {list(models)!r}. "
            "To run one twice, give a mapping: {'first': 'mobilenet', 'second': 'mobilenet'}.",
            argument="models",
            value=list(models),
        )
    for name in entries:
        if not name or any(c in "/\\" or c.isspace() for c in name) or name.startswith("."):
            raise invalid("models", "names without spaces, slashes or a leading dot", name)
    return entries
