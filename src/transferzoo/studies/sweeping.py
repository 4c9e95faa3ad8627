"""The same study at several numbers of training images, or at several image sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferzoo import statistics
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count, check_sequence
from transferzoo.ground.storage.files import check_path
from transferzoo.studies.comparing import compare
from transferzoo.studies.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from transferzoo.data.dataset import Dataset

TITLES = {"train": "training images", "image_size": "pixels"}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One study for each value of what was varied.

    Parameters
    ----------
    by : {"train", "image_size"}
        What was varied: the number of training images, or the side in pixels that images are resized to.
    values : tuple of int
        Ascending.
    studies : tuple of Study
        One for each value, all tested on the same images.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=200, validation=50, test=50)
    >>> found = tz.studies.sweep(["mobilenet_025"], data, train=[50, 200], recipe="linear_probe",
    ...                          weights=None, lint=False, verbose=False)
    >>> [(row["model"], row["train"]) for row in found.to_records()]
    [('mobilenet_025', 50), ('mobilenet_025', 200)]
    """

    by: str
    values: tuple[int, ...]
    studies: tuple[Study, ...]

    def to_records(self) -> list[dict[str, Any]]:
        """Return one plain dict for each model at each value, as `Study.summary` has it, and what it gained.

        Returns
        -------
        list of dict
            With ``train`` or ``image_size``; and, but for a model's first, ``gain``, ``gain_low`` and
            ``gain_high``: how much more accurate the model is than at the value before, a fraction, with
            its 95 % interval, paired on the same test images.
        """
        rows = []
        for place, (value, study) in enumerate(zip(self.values, self.studies, strict=True)):
            for row in study.summary():
                rows.append({"model": row["model"], self.by: value, **row, **self._gain(place, row["model"])})
        order = {name: place for place, name in enumerate(self.names)}
        return sorted(rows, key=lambda row: (order[row["model"]], row[self.by]))

    @property
    def names(self) -> tuple[str, ...]:
        """The models' labels."""
        return tuple(dict.fromkeys(name for study in self.studies for name in study.names))

    def _gain(self, place: int, name: str) -> dict[str, float]:
        if place == 0 or name not in self.studies[place - 1].names:
            return {}
        now, before = self.studies[place], self.studies[place - 1]
        found = statistics.difference(now.correct(name), before.correct(name), groups=now.groups_of(name))
        return {"gain": found.estimate, "gain_low": found.low, "gain_high": found.high}

    def verdicts(self) -> list[str]:
        """Return a sentence for each model: what the last step from value to value gained."""
        return [self._verdict(name) for name in self.names]

    def _verdict(self, name: str) -> str:
        title = TITLES[self.by]
        rows = [row for row in self.to_records() if row["model"] == name and "gain" in row]
        if not rows:
            return f"{name}: one value of {title}, and nothing to compare it with."
        last = rows[-1]
        before = self.values[self.values.index(last[self.by]) - 1]
        gain, low, high = (100 * last[key] for key in ("gain", "gain_low", "gain_high"))
        said = (
            f"{name}: from {before:,} to {last[self.by]:,} {title} {gain:+.1f} points "
            f"(95 % interval {low:+.1f} to {high:+.1f}): "
        )
        more = "more images" if self.by == "train" else "larger images"
        if low > 0:
            return f"{said}{more} still help."
        if high < 0:
            return f"{said}{more} make it worse."
        return f"{said}it is not shown that {more} help."

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw accuracy against what was varied; see `plots.accuracy_by`."""
        from transferzoo.plots import accuracy_by

        return accuracy_by(self.to_records(), by=self.by, ax=ax)

    def __str__(self) -> str:
        rows = self.to_records()
        width = max(len(row["model"]) for row in rows)
        lines = []
        for row in rows:
            low, high = 100 * row["accuracy_low"], 100 * row["accuracy_high"]
            accuracy = f"{row['accuracy']:>6.1%} ({low:.1f} to {high:.1f})"
            line = f"{row['model']:<{width}}  {row[self.by]:>9,}  {accuracy}"
            if "gain" in row:
                gained = (100 * row[key] for key in ("gain", "gain_low", "gain_high"))
                line += "  {:+.1f} ({:+.1f} to {:+.1f})".format(*gained)
            lines.append(line)
        head = f"{'model':<{width}}  {TITLES[self.by]:>9}  accuracy (95 % interval)  gain, points"
        return "\n".join([head, *lines, "", *self.verdicts()])


def sweep(
    models: Sequence[str] | Mapping[str, Any],
    data: str | Path | Dataset,
    *,
    train: Sequence[int] | None = None,
    image_size: Sequence[int] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **options: Any,
) -> Sweep:
    """Repeat a comparison at several numbers of training images, or at several image sizes.

    "How much would more images help?" The test images are the same throughout, so that each step's gain is
    paired. Smaller training sets are parts of larger ones where classes are of one size.

    Parameters
    ----------
    models, data, seed, **options
        As `compare` takes them: with `seeds` several runs of each, and intervals that count how they vary.
    train : sequence of int
        Numbers of training images, two or more; stratified by class.
    image_size : sequence of int
        Sides in pixels that images are resized to. One of `train` and `image_size` is given.
    out : str or Path, optional
        Folder with one study for each value. A call that was interrupted continues.

    Returns
    -------
    Sweep
        ``print`` shows a table and one sentence for each model; ``plot()`` draws it.

    Raises
    ------
    InvalidInputError
        If not exactly one of `train` and `image_size` is given, or a value is not possible.
    TransferZooError
        As from `compare`, or where all runs of a value failed.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=200, validation=50, test=50)
    >>> found = sweep(["mobilenet_025"], data, image_size=[32, 64], recipe="linear_probe", weights=None,
    ...               lint=False, verbose=False)
    >>> len(found.studies)
    2
    """
    from transferzoo.data.catalog import resolve_data

    if (train is None) == (image_size is None):
        raise InvalidInputError(
            "Give one of train=[…], numbers of training images, and image_size=[…], sides in pixels.",
            argument="train",
            value=train,
        )
    by = "train" if train is not None else "image_size"
    values = _values(by, train if train is not None else image_size)
    folder = None if out is None else check_path("out", out, "a folder, as text or a Path")
    given = resolve_data(data, seed=seed)
    if by == "train" and values[-1] > len(given.x_train):
        raise invalid("train", f"numbers up to {len(given.x_train):,}, the training images", values[-1])
    studies = []
    for value, images, changed in _steps(by, values, given, seed):
        place = None if folder is None else folder / f"{by}-{value}"
        study = compare(models, images, seed=seed, out=place, **{**options, **changed})
        if not study.results:
            raise InvalidInputError(
                f"No run at {value:,} {TITLES[by]} could be finished: {study.failures[0].message}",
                argument=by,
                value=value,
            )
        studies.append(study)
    return Sweep(by=by, values=values, studies=tuple(studies))


def _values(by: str, given: Any) -> tuple[int, ...]:
    values = check_sequence(by, "whole numbers", given)
    if len(values) < 2:
        raise invalid(by, "two or more whole numbers", list(values))
    counted = [check_count(by, value, 1) for value in values]
    if len(set(counted)) < len(counted):
        raise invalid(by, "numbers that differ", list(values))
    return tuple(sorted(counted))


def _steps(
    by: str, values: Sequence[int], data: Dataset, seed: int
) -> Iterator[tuple[int, Dataset, dict[str, Any]]]:
    for value in values:
        if by == "train":
            yield value, data.subset(train=value, seed=seed), {}
        else:
            yield value, data, {"image_size": value}
