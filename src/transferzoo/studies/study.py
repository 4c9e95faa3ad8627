"""Study: runs on the same test images, side by side, and what may be concluded from them."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import statistics as averages
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferzoo import statistics
from transferzoo.errors import InvalidInputError, RecordError, invalid, unknown_name
from transferzoo.evaluation import groups_to_count
from transferzoo.ground.arguments import check_sequence
from transferzoo.ground.metrics import readable
from transferzoo.ground.storage.files import check_path
from transferzoo.judging.power import check_rope
from transferzoo.judging.ranks import ranks_in_words
from transferzoo.results.folder import is_run, read_settings
from transferzoo.results.result import Result
from transferzoo.studies.choosing import Choice, choose
from transferzoo.studies.conditions import condition_key, unlike_conditions
from transferzoo.studies.failures import Failure

if TYPE_CHECKING:
    import pandas

    from transferzoo.data.dataset import Dataset

# a difference of less than half a point matters to few
ROPE = 0.005
SHOWN_VERDICTS = 4

logger = logging.getLogger("transferzoo")


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """Runs that were made on the same test images, and what may be concluded from them.

    Runs of one name that differ in nothing but their seeds are runs of one model. Where a name stands for
    several settings, each gets a label of its own, ``name#`` and four digits of its settings' hash.

    Parameters
    ----------
    results : tuple of Result
        One a run, in the order they were asked for; read back, in the order of their folders.
    failures : tuple of Failure
        Runs that could not be finished.
    folder : Path or None
        Where they are saved, a folder each: ``folder/<name>-<ten digits of the settings' hash>/``.
    rope : float, default 0.005
        The region of practical equivalence: differences whose whole interval lies within ``-rope`` to
        ``rope``, a fraction, count as none in verdicts. 0.005 is half a point of accuracy; 0: no region.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> study = tz.compare(["mobilenet_025"], data, weights=None, recipe="linear_probe", seeds=(0, 1))
    >>> study.names
    ('mobilenet_025',)
    >>> [record["seed"] for record in study.to_records()]
    [0, 1]
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...] = ()
    folder: Path | None = field(default=None)
    rope: float = ROPE

    def __post_init__(self) -> None:
        object.__setattr__(self, "rope", check_rope(self.rope))
        for name, kind in (("results", Result), ("failures", Failure)):
            accepted = f"{kind.__name__} records"
            entries = check_sequence(name, accepted, getattr(self, name))
            if not all(isinstance(entry, kind) for entry in entries):
                raise invalid(name, accepted, entries)
            object.__setattr__(self, name, entries)

    @cached_property
    def _models(self) -> dict[str, tuple[Result, ...]]:
        groups: dict[tuple[str, str], list[Result]] = {}
        for result in self.results:
            groups.setdefault((result.name, condition_key(result.settings)), []).append(result)
        names = [name for name, _ in groups]
        return {
            name if names.count(name) == 1 else f"{name}#{key[:4]}": tuple(runs)
            for (name, key), runs in groups.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The models' labels, in the order of their first runs."""
        return tuple(self._models)

    def runs(self, name: str) -> tuple[Result, ...]:
        """Return the runs of one model, one per seed."""
        if name not in self._models:
            raise unknown_name("run", name, self.names, "study.names")
        return self._models[name]

    def __getitem__(self, name: str | tuple[str, int]) -> Result:
        label, seed = name if isinstance(name, tuple) else (name, None)
        runs = self.runs(label)
        if seed is None and len(runs) == 1:
            return runs[0]
        seeds = [run.seed for run in runs]
        if seed not in seeds:
            remedy = f"study.runs({label!r}) gives them all." if seed is None else ""
            raise invalid(
                "seed", f"one of {seeds} for '{label}': study[{label!r}, seed]", seed, remedy=remedy
            )
        return runs[seeds.index(seed)]

    def __len__(self) -> int:
        return len(self.results)

    def correct(self, name: str) -> Any:
        """Return which test images a model's runs got right: bool, shape (n,), or (seeds, n) for several."""
        runs = self.runs(name)
        return runs[0].correct if len(runs) == 1 else np.stack([run.correct for run in runs])

    def to_records(self) -> list[dict[str, Any]]:
        """Return one plain dict per run: model, seed, accuracy, parameters, size, seconds, metrics."""
        return [result.row() for result in self.results]

    def summary(self) -> list[dict[str, Any]]:
        """Return one plain dict per model, best accuracy first.

        Returns
        -------
        list of dict
            ``model``; ``runs``; ``accuracy``, the mean over runs; ``accuracy_low`` and ``accuracy_high``,
            its 95 % interval (`statistics.accuracy_interval`); ``seed_deviation``, the runs' standard
            deviation, NaN for one run; ``epochs``; then the other metrics' means and the costs' medians.
        """
        rows = []
        for name, runs in self._models.items():
            interval = statistics.accuracy_interval(self.correct(name), groups=self.groups_of(name))
            row = {
                "model": name,
                "runs": len(runs),
                "accuracy": averages.fmean(run.accuracy for run in runs),
                "accuracy_low": interval.low,
                "accuracy_high": interval.high,
                "seed_deviation": interval.seed_deviation,
                "epochs": averages.median(run.epochs for run in runs),
            }
            for key in runs[0].metrics:
                row.setdefault(key, averages.fmean(run.metrics.get(key, math.nan) for run in runs))
            for key in runs[0].costs:
                row.setdefault(key, averages.median(run.costs.get(key, math.nan) for run in runs))
            rows.append(row)
        return sorted(rows, key=lambda row: -_last(row["accuracy"]))

    def to_csv(self) -> str:
        """Return the records as CSV text, with a header."""
        records = self.to_records()
        columns = list(dict.fromkeys(key for record in records for key in record))
        stream = io.StringIO()
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return stream.getvalue()

    def to_pandas(self) -> pandas.DataFrame:
        """Return the records as a DataFrame.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "study.to_pandas() needs pandas. Install it with: pip install pandas; "
                "study.to_records() gives the same rows without it."
            ) from error
        return pandas.DataFrame.from_records(self.to_records())

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the comparison as a header and rows of text, best accuracy first."""
        summary = self.summary()
        several = any(row["runs"] > 1 for row in summary)
        header = ["model", "accuracy", "95 % interval", "parameters", "MACs", "size", "training", "latency"]
        if several:
            header.insert(1, "runs")
        rows = []
        for row in summary:
            cells = [
                row["model"],
                _shown(row["accuracy"], "{:.1%}"),
                _between(row["accuracy_low"], row["accuracy_high"]),
                readable("parameters", row.get("parameters", math.nan)),
                readable("macs", row.get("macs", math.nan)),
                readable("size_bytes", row.get("size_bytes", math.nan)),
                _shown(row.get("train_seconds", math.nan), "{:,.0f} s") + ("*" if _reused(row) else ""),
                _shown(row.get("latency_ms", math.nan), "{:,.1f} ms"),
            ]
            if several:
                cells.insert(1, str(row["runs"]))
            rows.append(cells)
        return header, rows

    def to_markdown(self) -> str:
        """Return the comparison as a Markdown table."""
        header, rows = self.table()
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )

    def comparisons(self, *, rope: float | None = None) -> list[statistics.Comparison]:
        """Return every pair of models compared on the test images, Holm-corrected, best models first.

        See `statistics.compare_pairs`; models tested on other images than the best one's are left out.

        Parameters
        ----------
        rope : float, optional
            In place of the study's own.
        """
        rope = self.rope if rope is None else rope
        alike = self.comparable()
        groups = self.groups_of(alike[0]) if alike else None
        return statistics.compare_pairs(
            {name: self.correct(name) for name in alike}, groups=groups, rope=rope
        )

    def groups_of(self, name: str) -> Any:
        """Return what a model's test images belong to; None where that is not known, or all is one group."""
        return groups_to_count(self.runs(name)[0].groups)

    def comparable(self) -> list[str]:
        """Return the models that were tested on the images that the best was tested on, best first."""
        ranked = [row["model"] for row in self.summary() if math.isfinite(row["accuracy"])]
        tested = {name: _test_images(self._models[name][0]) for name in ranked}
        return [name for name in ranked if tested[name] == tested[ranked[0]]]

    def verdicts(self, *, rope: float | None = None) -> list[str]:
        """Return what may be said of the best model against each other one, in words.

        One of three things: it is better; both are practically equal, the whole interval of their difference
        lying within ``-rope`` to ``rope`` (by default the study's); or it is not known, and what would tell.
        Of three models or more the last line has the ranks that each may have (`statistics.rank_intervals`).
        """
        alike = self.comparable()
        if len(self.names) < 2 or not alike:
            return []
        found = [pair for pair in self.comparisons(rope=rope) if alike[0] in (pair.a, pair.b)]
        lines = [pair.verdict for pair in found]
        if len(alike) > 2:
            lines.append(ranks_in_words(statistics.rank_intervals(self.comparisons(rope=rope))))
        others = [name for name in self.names if name not in alike]
        if others:
            lines.append(f"not compared, as tested on other images: {', '.join(others)}")
        return lines

    def conditions(self) -> list[str]:
        """Return in what the models were not treated alike, one line each; empty for a fair comparison."""
        return unlike_conditions(
            {name: [run.settings for run in runs] for name, runs in self._models.items()}
        )

    def caption(self) -> str:
        """Return one line that says what was compared, and on what."""
        if not self.results:
            return "no run was finished"
        first = self.results[0].settings
        data, recipe = first.get("data", {}), first.get("recipe", {})
        seeds = sorted({run.seed for run in self.results if run.seed is not None})
        several = "s" if len(seeds) > 1 else ""
        words = f"seed{several} {', '.join(map(str, seeds)) or '?'}"
        return (
            f"{data.get('name', '?')}: {data.get('train', '?')} training, "
            f"{data.get('validation', '?')} validation, {data.get('test', '?')} test images; "
            f"recipe '{recipe.get('name', '?')}'"
            + (" (faithful)" if recipe.get("faults") else "")
            + (f", {_minutes(self.results)}" if "minutes" in first else "")
            + f", {words}"
        )

    def _grouped(self) -> list[str]:
        """Return a line that says how many groups the test images come in, where they do."""
        found = [groups for run in self.results if (groups := groups_to_count(run.groups)) is not None]
        if not found:
            return []
        count = len(np.unique(found[0]))
        return [f"intervals and tests count the {count:,} groups of the test images as the independent units"]

    def notes(self) -> list[str]:
        """Return what stands below the table: the caption, unlike conditions, verdicts, failures."""
        verdicts = self.verdicts()
        reused = any(map(_reused, self.summary()))
        if len(verdicts) > SHOWN_VERDICTS:
            rest = len(verdicts) - SHOWN_VERDICTS
            verdicts = [*verdicts[:SHOWN_VERDICTS], f"{rest} more: study.verdicts()"]
        return [
            self.caption(),
            *(f"not alike: {line}" for line in self.conditions()),
            *verdicts,
            *self._grouped(),
            *(["* with the time that features from the cache took when they were computed"] * reused),
            *(f"failed: {failure}" for failure in self.failures),
        ]

    def __str__(self) -> str:
        header, rows = self.table()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            first, *rest = zip(cells, widths, strict=True)
            return "  ".join(
                [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
            ).rstrip()

        rule = "  ".join("─" * width for width in widths)
        return "\n".join([line(header), rule, *map(line, rows), *self.notes()])

    def frontier(self, cost: str = "parameters") -> list[dict[str, Any]]:
        """Return the summary with each model's place on the Pareto frontier of accuracy and a cost.

        Parameters
        ----------
        cost : str, default "parameters"
            A cost of which less is better, such as ``"macs"``, ``"latency_ms"`` or ``"train_seconds"``.

        Returns
        -------
        list of dict
            `summary`'s rows with ``on_frontier``, and ``frontier_probability``: the share of bootstrap
            samples of test images and seeds in which no other model is as good for less.

        Raises
        ------
        InvalidInputError
            If no run has the cost, or more of it is better.
        """
        alike = self.comparable()
        rows = [row for row in self.summary() if row["model"] in alike]
        known = sorted({key for run in self.results for key in run.costs if not key.startswith("images")})
        costs = [float(row.get(cost, math.nan)) for row in rows]
        if cost not in known or not any(map(math.isfinite, costs)):
            raise invalid("cost", f"a cost that was measured: {', '.join(known)}", cost, candidates=known)
        on = statistics.pareto_frontier([row["accuracy"] for row in rows], costs)
        probability = statistics.pareto_probability([self.correct(row["model"]) for row in rows], costs)
        return [
            {**row, "on_frontier": bool(here), "frontier_probability": float(share)}
            for row, here, share in zip(rows, on, probability, strict=True)
        ]

    def plot(self, *, cost: str = "parameters", ax: Any = None) -> Any:
        """Draw accuracy against a cost, with intervals and the Pareto frontier, and return the Axes.

        See `frontier` for what is drawn and `plots.accuracy_against_cost` for how.
        """
        from transferzoo import plots

        return plots.accuracy_against_cost(self.frontier(cost), cost=cost, ax=ax)

    def best(
        self,
        *,
        max_latency_ms: float | None = None,
        max_megabytes: float | None = None,
        max_train_minutes: float | None = None,
        max_gmacs: float | None = None,
        max_memory_megabytes: float | None = None,
    ) -> Choice:
        """Choose the most accurate model that keeps to limits.

        Parameters
        ----------
        max_latency_ms : float, optional
            Milliseconds for one image, on the machine that the runs were made on.
        max_megabytes : float, optional
            Of the saved file (10⁶ bytes), or of the weights where no file was measured.
        max_train_minutes, max_gmacs, max_memory_megabytes : float, optional
            Of training; 10⁹ multiply-accumulates an image; peak memory of training (10⁶ bytes).

        Returns
        -------
        Choice
            The model's name, why each other one was left out, and which of those allowed are not
            distinguishable from it. ``print`` shows all of it.

        Raises
        ------
        InvalidInputError
            If a limit is no positive number, or no model keeps to them; then the nearest is named.
        """
        limits = {
            "latency_ms": max_latency_ms,
            "megabytes": max_megabytes,
            "train_minutes": max_train_minutes,
            "gmacs": max_gmacs,
            "memory_megabytes": max_memory_megabytes,
        }
        if not self.results:
            raise InvalidInputError("study.best needs a study with a finished run. This one has none.")
        return choose(
            self.summary(), {key: value for key, value in limits.items() if value is not None}, self
        )

    def report(
        self,
        path: str | Path,
        *,
        data: Dataset | None = None,
        format: str | None = None,
        title: str | None = None,
    ) -> Path:
        """Write the study as one file: verdicts in words, tables, pictures, and how to repeat each run.

        The HTML file asks for nothing from elsewhere; names and messages in it are shown as text. Nothing is
        trained for it.

        Parameters
        ----------
        path : str or Path
            The file, replaced if it exists.
        data : Dataset, optional
            The images of the runs: shows those that the two best models take for different classes, and
            mistakes. Saved runs do not hold images.
        format : {"html", "md", "json"}, optional
            By default what the file's name ends in. ``"md"`` is short enough for a pull request.
        title : str, optional
            By default the models' names.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InvalidInputError
            If the study has no finished run, or the format is not known.
        OutputError
            If the file cannot be written.
        """
        from transferzoo.report.page import write_report

        return write_report(self, path, data=data, format=format, title=title)

    @classmethod
    def load(cls, folder: str | Path, *, rope: float = ROPE) -> Study:
        """Read back a folder of runs.

        Parameters
        ----------
        folder : str or Path
        rope : float, default 0.005
            The region of practical equivalence, a fraction.

        Raises
        ------
        RecordError
            If there is no such folder, no run in it, or none that can be read. A damaged run among others is
            under `failures`, and said.
        """
        path = check_path("folder", folder)
        # what begins with a dot is half written, or no run
        children = sorted(each for each in path.iterdir() if each.name[0] != ".") if path.is_dir() else []
        runs = [child for child in children if is_run(child)]
        failures = [failure for child in children if not is_run(child) if (failure := Failure.load(child))]
        if not runs and not failures:
            raise RecordError(
                f"'{path}' holds no runs. A study's folder has one folder per run, with a run.json in it.",
                argument="folder",
                value=str(path),
            )
        results: list[Result] = []
        for run in runs:
            try:
                results.append(Result.load(run))
            except RecordError as error:
                # one damaged run must not keep the others from being looked at
                logger.warning("%s", error)
                known = read_settings(run) or {}
                failures.append(
                    Failure(
                        name=run.name, error="RecordError", message=str(error), settings=known, folder=run
                    )
                )
        if not results and not any(failure.error != "RecordError" for failure in failures):
            raise RecordError(failures[0].message, argument="folder", value=str(path))
        return cls(results=tuple(results), failures=tuple(failures), folder=path, rope=rope)


def _test_images(result: Result) -> Any:
    data: Mapping[str, Any] = result.settings.get("data", {})
    assert result.index is not None
    known = data.get("test_sha256")
    return known or json.dumps([data.get("name"), result.index.tolist(), result.y_true.tolist()])


def _minutes(runs: Sequence[Result]) -> str:
    given = sorted({run.settings["minutes"] for run in runs if "minutes" in run.settings})
    return f"{' or '.join(f'{each:g}' for each in given)} minutes a run"


def _shown(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else "n/a"


def _between(low: float, high: float) -> str:
    return f"{100 * low:.1f}–{100 * high:.1f}" if math.isfinite(low) else "n/a"


def _reused(row: Mapping[str, Any]) -> bool:
    """Tell whether a row's training time counts features that an earlier run computed."""
    return bool(row.get("reused_feature_seconds", 0.0) > 0)


def _last(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
