"""What the command line shows: tables, and the pictures of a run."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from transferzoo.ground.storage.files import written_beside

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.studies.study import Study


def console() -> Console:
    """Return the terminal; what is no terminal counts as 100 columns wide."""
    width = None if sys.stdout.isatty() else 100
    return Console(width=width)


def table(*columns: str) -> Table:
    """Return an empty table; a column whose name begins with ">" is set to the right."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if column[0] == ">" else "left"
        # a name in two lines cannot be copied
        made.add_column(column.lstrip(">"), justify=justify, overflow="fold", no_wrap=number == 0)
    return made


def facts(rows: dict[str, str]) -> Table:
    """Return a table of names and what is known; what is empty is left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows.items():
        if value:
            table.add_row(key, value)
    return table


def dataset_table(record: Any) -> Table:
    """Return what is known about a dataset."""
    shape = "×".join(map(str, record.image_shape)) if record.image_shape else ""
    return facts(
        {
            "dataset": record.name,
            "what it is": record.description,
            "classes": str(record.num_classes or ""),
            "images": shape,
            "source": record.source,
            "licence": record.licence,
        }
    )


def backbone_table(record: Any) -> Table:
    """Return what is known about a backbone."""
    how = record.preprocessing
    rows = {
        "backbone": record.name,
        "family": record.family,
        "paper": record.paper,
        "parameters": f"{record.parameters:,} without a head" if record.parameters else "not counted",
        "multiply-adds": (
            f"{record.multiply_adds:,} for {record.native_size}×{record.native_size} pixels"
            if record.multiply_adds
            else "not counted"
        ),
        "features": f"{record.feature_channels} channels" if record.feature_channels else "unknown",
        "reduction": f"{record.reduction} pixels per cell" if record.reduction else "unknown",
        "native size": f"{record.native_size} pixels",
        "smallest image": f"{record.minimum_size} pixels",
        "enlarged to": f"{record.default_size} pixels, with published weights" if record.weights else "",
        "preprocessing": f"{how.channels.upper()}, (pixel - {how.mean}) / {how.std}",
        "last convolution": record.last_convolution or "",
        "ImageNet top-1": f"{record.top1:.1f} % ({record.top1_source})" if record.top1 is not None else "",
        "licence": record.licence,
        "note": record.note,
    }
    for weights in record.weights:
        rows[f"weights '{weights.name}'"] = (
            f"{weights.trained_on}; {weights.licence}; {weights.source}; "
            f"{'part of this library' if weights.shipped else weights.url}; "
            f"{weights.hash or 'no hash is published'}"
        )
    if not record.weights:
        rows["weights"] = "none: trained from scratch"
    return facts(rows)


def print_json(value: Any) -> None:
    """Print a value as JSON; what is not a number becomes null."""
    from transferzoo.results.identity import plain

    print(json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False))


def run_record(result: Any) -> dict[str, Any]:
    """Return what a run left behind, without its arrays."""
    low, high = result.interval
    return {
        "name": result.name,
        "accuracy": result.accuracy,
        "accuracy_interval": [low, high],
        "test_images": len(result.y_true),
        "metrics": result.metrics,
        "costs": result.costs,
        "class_names": list(result.class_names),
        "most_confused": [each.to_dict() for each in result.most_confused()],
        "settings": result.settings,
        "provenance": result.provenance,
        "environment": result.environment,
        "folder": None if result.folder is None else str(result.folder),
    }


def study_record(study: Study) -> dict[str, Any]:
    """Return what a study found: its runs, its models, and what can be said of their differences."""
    return {
        "models": study.summary(),
        "runs": study.to_records(),
        "comparisons": [dataclasses.asdict(each) for each in study.comparisons()],
        "verdicts": study.verdicts(),
        "notes": study.notes(),
        "failures": [each.to_dict() for each in study.failures],
        "folder": None if study.folder is None else str(study.folder),
    }


def show(study: Study) -> None:
    """Print a study's table and caption."""
    header, rows = study.table()
    made = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(header):
        justify: Literal["left", "right"] = "right" if number else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=number == 0)
    for row in rows:
        made.add_row(*row)
    console().print(made)
    for line in study.notes():
        print(line)


def save_run_plots(result: Any, folder: Path, data: Dataset | None = None) -> None:
    """Draw a run's curves, confusion matrices and, with its dataset, mistakes; write its report."""
    from matplotlib.figure import Figure

    from transferzoo import plots

    folder = folder.expanduser()
    figure = Figure(figsize=(10, 4), layout="constrained")
    result.plot_history(ax=figure.subplots(1, 2))
    figure.savefig(folder / "history.png", dpi=120)
    size = min(14, max(6, 0.6 * len(result.class_names)))
    for normalize, name in ((None, "confusion.png"), ("true", "confusion_normalized.png")):
        figure = Figure(figsize=(size, size * 0.9), layout="constrained")
        result.plot_confusion_matrix(normalize=normalize, ax=figure.subplots())
        figure.savefig(folder / name, dpi=120)
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    if np.isfinite(result.y_prob).all():
        plots.risk_coverage(result, title=result.name, ax=figure.subplots())
        figure.savefig(folder / "risk-coverage.png", dpi=120)
    confused = "\n".join(str(each) for each in result.most_confused())
    report = f"{result.classification_report()}\nMost confused:\n{confused or 'none'}\n"
    (folder / "classification-report.txt").write_text(report, encoding="utf-8")
    if data is not None:
        figure = Figure(figsize=(10.2, 9.5), layout="constrained")
        axes = figure.subplots()
        plots.mistakes(data.x_test, result.y_true, result.y_prob, result.class_names, ax=axes)
        figure.savefig(folder / "mistakes.png", dpi=120)


def save_study(study: Study, data: Dataset, folder: Path) -> str:
    """Draw a study and each of its runs, and write its table, into its folder; say so in a sentence."""
    from matplotlib.figure import Figure

    from transferzoo import plots

    folder = folder.expanduser()
    if not study.results:
        return "No run succeeded"
    for result in study.results:
        assert result.folder is not None
        save_run_plots(result, result.folder, data)
    rows = study.summary()
    figure = Figure(figsize=(7, 1.4 + 0.5 * len(rows)), layout="constrained")
    title = f"{data.name}, {len(data.y_test):,} test images, 95 % intervals"
    plots.comparison(rows, title=title, ax=figure.subplots())
    figure.savefig(folder / "comparison.png", dpi=120)
    save_frontier(study, "latency_ms", folder / "frontier.png")
    figure = Figure(figsize=(8, 8), layout="constrained")
    plots.image_grid(data, ax=figure.subplots())
    figure.savefig(folder / "images.png", dpi=120)
    notes = "\n".join(f"- {line}" for line in study.notes())
    (folder / "comparison.md").write_text(f"{study.to_markdown()}\n\n{notes}\n", encoding="utf-8")
    (folder / "comparison.csv").write_text(study.to_csv(), encoding="utf-8")
    models = ", models" if any(folder.glob("*/model.keras")) else ""
    return f"Results{models} and plots are in {folder}"


def save_frontier(study: Study, cost: str, path: Path) -> None:
    """Draw a study's accuracy against a cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    study.plot(cost=cost, ax=figure.subplots())
    path.expanduser().parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.expanduser(), dpi=120)


def save_audit(audit: Any, folder: Path) -> None:
    """Draw an audit's ladders, and write its table, into its folder."""
    from matplotlib.figure import Figure

    folder = folder.expanduser()
    for model, steps in audit.ladders.items():
        if not steps:
            continue
        figure = Figure(figsize=(9, 1.4 + 0.55 * len(steps)), layout="constrained")
        audit.plot(model, ax=figure.subplots())
        figure.savefig(folder / f"ladder-{model}.png", dpi=120)
    (folder / "ladder.md").write_text(f"{audit.to_markdown()}\n", encoding="utf-8")
    (folder / "comparison.csv").write_text(audit.study.to_csv(), encoding="utf-8")
    print(f"The runs, the ladder and its pictures are in {folder}")


def save_sweep(found: Any, folder: Path) -> None:
    """Draw a sweep, and write its table, into its folder."""
    from matplotlib.figure import Figure

    folder = folder.expanduser()
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    found.plot(ax=figure.subplots())
    figure.savefig(folder / "sweep.png", dpi=120)
    with written_beside(folder / "sweep.txt") as part:
        part.write_text(f"{found}\n", encoding="utf-8")


def save_rate_curve(curve: Any, folder: Path) -> None:
    """Draw a learning rate finder's curve into a folder."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    curve.plot(ax=figure.subplots())
    figure.savefig(folder / "learning-rate.png", dpi=120)
