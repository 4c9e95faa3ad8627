"""`diff`: two runs side by side: settings, figures, and the images that they took for different classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo import plots
from transferzoo.errors import InvalidInputError, invalid, shorten
from transferzoo.results.discrepancies import printable
from transferzoo.results.identity import plain
from transferzoo.results.pairing import (
    check_same_images,
    data_settings,
    dataset_of,
    paired_places,
    part_of,
    places_of,
)
from transferzoo.results.result import Result
from transferzoo.statistics import difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from transferzoo.data.dataset import Dataset

SHOWN = 10
# the spread around a median, and what it was measured with
ASIDE = ("_q1", "_q3", "_min", "_max", "_batch_size")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that is not the same in two runs.

    Parameters
    ----------
    path : str
        Where it stands, such as ``"recipe.phases[0].epochs"``.
    a, b : object
        Both values, in plain JSON types; None where a run has no such setting.
    """

    path: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{printable(self.path)}: {shorten(self.a)} and {shorten(self.b)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Flips:
    """Test images that two runs took for different classes.

    Parameters
    ----------
    index : ndarray of int64, shape (f,)
        Place of each in the dataset's test split.
    y_true, predicted_a, predicted_b : ndarray of int64, shape (f,)
        True class, and what each run took it for.
    prob_a, prob_b : ndarray of float32, shape (f,)
        The probability that each run gave to its own guess.
    images : int
        Test images that both runs saw.
    only_a, only_b, neither : int
        How many of the flipped ones each run alone got right, and how many neither did.
    p_value : float
        Of no difference between the runs' accuracies, by McNemar's test (mid-p).
    verdict : str
        Which run is better, or what it would take to know; see `statistics.difference`.
    """

    index: NDArray[np.int64]
    y_true: NDArray[np.int64]
    predicted_a: NDArray[np.int64]
    predicted_b: NDArray[np.int64]
    prob_a: NDArray[np.float32]
    prob_b: NDArray[np.float32]
    images: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    verdict: str

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunDifference:
    """What `diff` found.

    Parameters
    ----------
    a, b : str
        What the runs are called here.
    settings, environment : tuple of Setting
        Those that differ. Of hashes, that of the weights is among the settings.
    figures : tuple of dict
        ``figure``, ``a`` and ``b``, for every metric and cost; NaN where a run has none.
    class_names : tuple of str
        The names of the classes of run `a`.
    flips : Flips or None
        The images that flipped; None where the runs cannot be paired image by image.
    unpaired : str
        Why they cannot be; empty where they can.
    """

    a: str
    b: str
    settings: tuple[Setting, ...]
    environment: tuple[Setting, ...]
    figures: tuple[dict[str, Any], ...]
    class_names: tuple[str, ...]
    flips: Flips | None
    unpaired: str = ""
    runs: tuple[Result, Result] = field(repr=False)
    data: Any = field(default=None, repr=False)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one plain dict a flipped image, in the order of the test split.

        Returns
        -------
        list of dict
            ``index``, ``y_true``, ``predicted_a``, ``predicted_b``, ``prob_a``, ``prob_b``; and ``right``:
            ``"a"``, ``"b"`` or ``"neither"``.

        Raises
        ------
        InvalidInputError
            If the runs cannot be paired.
        """
        flips = self._paired()
        names = ("index", "y_true", "predicted_a", "predicted_b", "prob_a", "prob_b")
        columns = [getattr(flips, name).tolist() for name in names]
        records = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        for record in records:
            right = [run for run in "ab" if record[f"predicted_{run}"] == record["y_true"]]
            record["right"] = right[0] if right else "neither"
        return records

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, the flipped images included."""
        return {
            "a": self.a,
            "b": self.b,
            "settings": plain(self.settings),
            "environment": plain(self.environment),
            "figures": plain(self.figures),
            "class_names": list(self.class_names),
            "unpaired": self.unpaired,
            "flips": None
            if self.flips is None
            else {
                **{
                    name: getattr(self.flips, name)
                    for name in ("images", "only_a", "only_b", "neither", "p_value", "verdict")
                },
                "flipped": self.to_records(),
            },
        }

    def text(self, limit: int = SHOWN) -> str:
        """Return all of it in words, with the first `limit` images that flipped."""
        lines = [f"a: {printable(self.a)}", f"b: {printable(self.b)}", ""]
        lines += _listed("settings that differ", self.settings) + _listed("environment", self.environment)
        shown = [row for row in self.figures if not row["figure"].endswith(ASIDE)]
        lines += _columns(
            [
                ("", "a", "b"),
                *(
                    (printable(row["figure"]), *(plots.readable(row["figure"], row[run]) for run in "ab"))
                    for row in shown
                ),
            ]
        )
        if self.flips is None:
            return "\n".join([*lines, "", f"flipped images cannot be told: {self.unpaired}"])
        flips = self.flips
        lines += [
            "",
            printable(flips.verdict),
            f"{len(flips):,} of {flips.images:,} predictions differ: only a right {flips.only_a:,}, "
            f"only b right {flips.only_b:,}, neither {flips.neither:,} (McNemar p {flips.p_value:.2g})",
        ]
        names = [printable(name) for name in self.class_names]
        rows = [
            (
                f"{record['index']}",
                names[record["y_true"]],
                *(f"{names[record[f'predicted_{run}']]} ({record[f'prob_{run}']:.0%})" for run in "ab"),
            )
            for record in self.to_records()[:limit]
        ]
        if rows:
            lines += _columns([("image", "true", "a", "b"), *rows])
        if len(flips) > len(rows):
            lines.append(f"{len(flips) - len(rows):,} more")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def images(self, data: Any = None) -> NDArray[Any]:
        """Return the images that flipped, from the dataset.

        Parameters
        ----------
        data : Dataset or array, shape (n, height, width, channels), optional
            The dataset of the runs, or run `a`'s test images. By default what `diff` was given, else the
            dataset as the runs' record loads it again.

        Returns
        -------
        ndarray, shape (f, height, width, channels)
            In the order of `flips`.

        Raises
        ------
        InvalidInputError
            If the runs cannot be paired, or the images cannot be loaded or are not the same.
        """
        flips, run = self._paired(), self.runs[0]
        given = self.data if data is None else data
        if given is None:
            given = dataset_of(run)
        places = places_of(run.index, flips.index)
        if not hasattr(given, "x_test"):
            images = np.asarray(given)
            if images.ndim not in (3, 4) or len(images) != len(run.y_true):
                accepted = f"a dataset, or the {len(run.y_true):,} test images of '{self.a}'"
                raise invalid("data", accepted, images.shape)
            return images[places]
        if given.test_hash != data_settings(run).get("test_sha256"):
            check_same_images(given, run)
            places = places_of(given.test_index, flips.index)
        return np.asarray(given.x_test[places])

    def plot(
        self, data: Any = None, *, rows: int = 4, columns: int = 6, seed: int = 0, ax: Axes | None = None
    ) -> Axes:
        """Draw images that flipped; see `images` for `data`, and `plots.flips` for the rest."""
        flips = self._paired()
        images = self.images(data) if len(flips) else np.zeros((1, 1, 1, 3), "uint8")
        arrays = (flips.y_true, flips.predicted_a, flips.predicted_b)
        if not len(flips):
            # an empty grid has its title all the same
            arrays = (np.zeros(1, "int64"),) * 3
        return plots.flips(
            images,
            *arrays,
            self.class_names,
            names=(self.a, self.b),
            rows=rows,
            columns=columns,
            seed=seed,
            ax=ax,
        )

    def _paired(self) -> Flips:
        if self.flips is None:
            raise InvalidInputError(
                f"'{self.a}' and '{self.b}' cannot be compared image by image: {self.unpaired}",
                argument="run_b",
                value=self.b,
            )
        return self.flips


def diff(
    run_a: str | Path | Result, run_b: str | Path | Result, *, data: Dataset | None = None
) -> RunDifference:
    """Compare two runs: the settings that differ, the figures, and the test images that flipped.

    Images are paired where both runs were tested on the same ones, by the hash on record; and, where one or
    both took a part of the test split, by their places in it.

    Parameters
    ----------
    run_a, run_b : str, Path or Result
        A run's folder, or a result.
    data : Dataset, optional
        What the runs were tested on, for the pictures. By default it is loaded again when a picture is
        drawn, by the calls on the runs' record.

    Returns
    -------
    RunDifference
        ``print`` shows it, ``plot()`` draws images that flipped.

    Raises
    ------
    RecordError
        If a folder holds no run that can be read.
    InvalidInputError
        If an argument is none of the above.

    Examples
    --------
    >>> import transferzoo as tz
    >>> digits = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> runs = [
    ...     tz.fit_and_evaluate("mobilenet_025", digits, weights=None, recipe="linear_probe", seed=s)
    ...     for s in (0, 1)
    ... ]
    >>> found = diff(*runs)
    >>> [setting.path for setting in found.settings]
    ['seed']
    """
    a, b = _result("run_a", run_a), _result("run_b", run_b)
    names = _names(a, b)
    weights = [part_of(run.provenance, "hashes", "weights") for run in (a, b)]
    settings = differing(a.settings, b.settings)
    if None not in weights and weights[0] != weights[1]:
        settings.append(("provenance.hashes.weights", *weights))
    flips, unpaired = _flips(a, b, names)
    return RunDifference(
        a=names[0],
        b=names[1],
        settings=_settings(settings),
        environment=_settings(differing(a.environment, b.environment)),
        figures=tuple(_figures(a, b)),
        class_names=a.class_names,
        flips=flips,
        unpaired=unpaired,
        runs=(a, b),
        data=data,
    )


def differing(a: Any, b: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Return what differs between two nested settings, each with its path.

    Parameters
    ----------
    a, b : object
        Plain JSON types. A name that one of them lacks counts as None.
    path : str, default ""
        Where they stand.

    Returns
    -------
    list of (str, object, object)
        Path and both values, in the order of `a`; then what only `b` has.

    Examples
    --------
    >>> differing({"seed": 0, "phases": [{"epochs": 3}]}, {"seed": 0, "phases": [{"epochs": 5}]})
    [('phases[0].epochs', 3, 5)]
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return [
            found
            for key in {**a, **b}
            for found in differing(a.get(key), b.get(key), f"{path}.{key}".lstrip("."))
        ]
    if isinstance(a, list) and isinstance(b, list):
        tables = any(isinstance(entry, Mapping) for entry in [*a, *b])
        if len(a) == len(b) or tables:
            pairs = enumerate(zip_longest(a, b))
            return [found for i, (x, y) in pairs for found in differing(x, y, f"{path}[{i}]")]
    if a == b or (a != a and b != b):
        return []
    return [(path, a, b)]


def _settings(found: list[tuple[str, Any, Any]]) -> tuple[Setting, ...]:
    return tuple(Setting(path=path, a=a, b=b) for path, a, b in found)


def _result(argument: str, run: Any) -> Result:
    if isinstance(run, Result):
        return run
    if not isinstance(run, str | Path):
        raise invalid(argument, "a run's folder, or a Result", run)
    return Result.load(run)


def _names(a: Result, b: Result) -> tuple[str, str]:
    """Return what tells two runs apart."""
    if a.name != b.name:
        return a.name, b.name
    if a.seed != b.seed and None not in (a.seed, b.seed):
        return f"{a.name} (seed {a.seed})", f"{b.name} (seed {b.seed})"
    if a.folder is not None and b.folder is not None and a.folder.name != b.folder.name:
        return a.folder.name, b.folder.name
    return f"{a.name} (a)", f"{b.name} (b)"


def _figures(a: Result, b: Result) -> list[dict[str, Any]]:
    tables = [{**run.metrics, "epochs": run.epochs, **run.costs} for run in (a, b)]
    return [
        {"figure": key, **{name: table.get(key, math.nan) for name, table in zip("ab", tables, strict=True)}}
        for key in {**tables[0], **tables[1]}
    ]


def _flips(a: Result, b: Result, names: tuple[str, str]) -> tuple[Flips | None, str]:
    """Return the images that flipped, or why they cannot be told."""
    places = paired_places(a, b)
    if isinstance(places, str):
        return None, places
    in_a, in_b = places
    y_true, prob_a, prob_b = a.y_true[in_a], a.y_prob[in_a], b.y_prob[in_b]
    if not (np.isfinite(prob_a).all() and np.isfinite(prob_b).all()):
        return None, "a run's predictions hold no numbers, as it diverged."
    guess_a, guess_b = prob_a.argmax(axis=1), prob_b.argmax(axis=1)
    judged = difference(guess_a == y_true, guess_b == y_true)
    flipped = np.flatnonzero(guess_a != guess_b)
    right_a, right_b = (int((guess == y_true)[flipped].sum()) for guess in (guess_a, guess_b))
    assert a.index is not None
    return Flips(
        index=a.index[in_a][flipped],
        y_true=y_true[flipped],
        predicted_a=guess_a[flipped],
        predicted_b=guess_b[flipped],
        prob_a=prob_a.max(axis=1)[flipped],
        prob_b=prob_b.max(axis=1)[flipped],
        images=len(y_true),
        only_a=right_a,
        only_b=right_b,
        neither=len(flipped) - right_a - right_b,
        p_value=judged.p_value,
        verdict=judged.verdict(*names),
    ), ""


def _listed(title: str, settings: tuple[Setting, ...]) -> list[str]:
    if not settings:
        return [f"{title}: none" if title.startswith("settings") else f"{title}: the same", ""]
    rows = [(printable(each.path), shorten(each.a, 40), shorten(each.b, 40)) for each in settings]
    return [*_columns([(title, "a", "b"), *rows]), ""]


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows of text in columns; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]
