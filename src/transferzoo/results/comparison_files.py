"""A study's ``comparison.csv`` and ``comparison.md``, compared with the runs that they are about."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from transferzoo.results.discrepancies import TOLERANCE, Ledger, agree, one_line
from transferzoo.results.result import Result
from transferzoo.results.saved_files import SavedRun, label_of
from transferzoo.version import __version__

TABLE, MARKDOWN = "comparison.csv", "comparison.md"


def check_study(folder: Path, runs: Sequence[SavedRun], ledger: Ledger, root: Path) -> None:
    """Compare a study's tables with its runs."""
    below = [run for run in runs if run.run]
    listed = _check_table(folder, below, ledger, root) if (folder / TABLE).is_file() else below
    if (folder / MARKDOWN).is_file() and listed:
        _check_markdown(folder, listed, ledger, root)


def _check_table(folder: Path, runs: Sequence[SavedRun], ledger: Ledger, root: Path) -> list[SavedRun]:
    """Compare ``comparison.csv``, and return the runs that it lists, in its order."""
    label = label_of(folder / TABLE, root)
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        if not all({"model", "seed"} <= set(row) and None not in row for row in rows):
            raise ValueError("a row has no model or seed, or more cells than the header")
    except (OSError, ValueError, csv.Error) as error:
        ledger.differ(label, TABLE, "a table", f"it is damaged: {one_line(error)}")
        return []
    listed = []
    for row in rows:
        left = [run for run in runs if run not in listed and _is_of(run, row)]
        if not left:
            reported = f"{row['model']}, seed {row['seed'] or 'unknown'}"
            ledger.differ(label, "a row", reported, "no such run in the folder")
            continue
        # of two runs of a name and seed, the row is the one's that it agrees with
        run = min(left, key=lambda run: len(_cells_that_differ(run, row)))
        listed.append(run)
        differing = _cells_that_differ(run, row)
        for key in (key for key in row if key not in ("model", "seed")):
            ledger.checked += 1
            if key in differing:
                value = run.figures().get(key)
                ledger.differ(run.label, f"{TABLE}: {key}", _number(row[key]), value)
    others = [run.label for run in runs if run not in listed]
    if others:
        ledger.notes.append(f"not in {label}: {', '.join(others)}")
    return listed


def _is_of(run: SavedRun, row: Mapping[str, str]) -> bool:
    seed = "" if run.seed is None else str(run.seed)
    return row["model"] == str(run.run.get("name")) and row["seed"] == seed


def _cells_that_differ(run: SavedRun, row: Mapping[str, str]) -> list[str]:
    figures = run.figures()
    return [
        key
        for key, cell in row.items()
        if key not in ("model", "seed")
        # an empty cell is a figure that other runs of the table have
        and not (cell in ("", None) and key not in figures)
        and not agree(_number(cell), figures.get(key), TOLERANCE, 1e-12)
    ]


def _check_markdown(folder: Path, runs: Sequence[SavedRun], ledger: Ledger, root: Path) -> None:
    """Compare ``comparison.md``, cell by cell and sentence by sentence, with what the runs give."""
    from transferzoo.studies.study import Study

    label = label_of(folder / MARKDOWN, root)
    try:
        lines = (folder / MARKDOWN).read_text(encoding="utf-8").splitlines()
        study = Study(results=tuple(Result.load(run.folder) for run in runs))
        header, rows = study.table()
        sentences = study.notes()
    except Exception as error:
        ledger.notes.append(f"{label}: not compared: {one_line(error)}")
        return
    said = [_cells(line) for line in lines if line.startswith("|")]
    if len(said) < 2 or any(len(cells) != len(said[0]) for cells in said):
        ledger.differ(label, "the table", "a table", "it has none, or one with unequal rows")
        return
    # how an interval is computed, and a verdict worded, may be another matter in another version
    same_version = all(run.part("environment").get("transferzoo") == __version__ for run in runs)
    reported = {cells[0]: dict(zip(said[0], cells, strict=True)) for cells in said[2:]}
    for row in rows:
        recomputed = dict(zip(header, row, strict=True))
        name = recomputed.pop("model")
        if name not in reported:
            ledger.differ(label, "a row", "none", f"'{name}'")
            continue
        for key, value in recomputed.items():
            if key in reported[name] and (same_version or "interval" not in key):
                ledger.compare(label, f"{name}, {key}", reported[name][key], value)
    for name in [name for name in reported if name not in {row[0] for row in rows}]:
        ledger.differ(label, "a row", f"'{name}'", "no such model in the folder")
    if not same_version:
        ledger.notes.append(f"{label}: its intervals and sentences are another version's, and not compared")
        return
    notes = [line[2:] for line in lines if line.startswith("- ") and not line.startswith("- failed: ")]
    for before, now in zip_longest(notes, sentences, fillvalue="nothing"):
        ledger.compare(label, "a sentence", before, now)


def _cells(line: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [part.strip().replace("\\|", "|") for part in parts]


def _number(cell: str | None) -> Any:
    try:
        return float(cell or "nan")
    except ValueError:
        return cell
