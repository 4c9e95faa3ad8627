"""The Ranking record: what `rank` found of each backbone, and how it is shown."""

from __future__ import annotations

import csv
import io
import itertools
import math
import textwrap
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import metric_info
from transferzoo.statistics import Difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# the table then is 80 columns wide at most
NAME_WIDTH = 23


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedBackbone:
    """What `rank` found of one backbone.

    Parameters
    ----------
    model : str
        Its name in the ranking.
    backbone : str or None
        Its registered name; None for a model that `build` did not make in this process.
    weights : str or None
        None: random ones.
    image_size : tuple of 2 ints
        Height and width that reach the backbone.
    channels : int
        Length of a feature vector.
    logme, logme_deviation : float
        LogME on the training images, and its standard deviation: how much it would differ on other images,
        by a jackknife.
    accuracy, low, high : float
        Of the linear probe on the judged images, with its 95 % interval; fractions in ``[0, 1]``. The
        interval is for these probes: that each fold's has other training images is not in it.
    C : float
        Inverse strength C of the probe's penalty, chosen within its training images; the median of the
        folds.
    knn : float
        Accuracy on the same images of their nearest training images by cosine similarity, the
        nearer ones counting more; a fraction.
    published_top1 : float or None
        ImageNet accuracy from where the weights come from, in percent; None for other weights.
    macs : float
        Multiply-accumulates for one image, with the head; NaN where a layer cannot be counted.
    probability_best : float
        Share of bootstrap samples of the judged images in which it has the best probe.
    behind : Difference or None
        What the first has over it, in probe accuracy; None for the first.
    p_holm : float or None
        The p-value of that, Holm-corrected over all comparisons with the first; None for the first.
    distinguishable : bool
        Whether the first is better by that p-value.
    feature_seconds, logme_seconds, probe_seconds, knn_seconds : float
        What each took. Features that were kept already take next to nothing.
    correct : ndarray of bool, shape (n,)
        Whether the probe classified each judged image rightly: the validation images, or with folds the
        training images and then those.
    """

    model: str
    backbone: str | None
    weights: str | None
    image_size: tuple[int, int]
    channels: int
    logme: float
    logme_deviation: float
    accuracy: float
    low: float
    high: float
    C: float
    knn: float
    published_top1: float | None
    macs: float
    probability_best: float
    behind: Difference | None = field(repr=False)
    p_holm: float | None
    distinguishable: bool
    feature_seconds: float
    logme_seconds: float
    probe_seconds: float
    knn_seconds: float
    correct: NDArray[np.bool_] = field(repr=False)

    @property
    def seconds(self) -> float:
        """All that it took."""
        return self.feature_seconds + self.logme_seconds + self.probe_seconds + self.knn_seconds

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; of the difference to the first, its estimate and bounds."""
        left_out = ("behind", "correct")
        record = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        behind = self.behind
        return {
            **record,
            "image_size": list(self.image_size),
            # JSON knows no NaN
            "macs": None if math.isnan(self.macs) else self.macs,
            "behind": behind and behind.estimate,
            "behind_low": behind and behind.low,
            "behind_high": behind and behind.high,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Backbones by the accuracy of a linear probe, the best first. ``print`` shows the table.

    Parameters
    ----------
    rows : tuple of RankedBackbone
    data : str
        The dataset's name.
    train_images, validation_images : int
        How many were looked at. Test images never are.
    folds : int
        Of the cross-validation of both together; 1 where the validation images alone were judged.
    seed : int
    left_out : tuple of str
        Backbones that were not asked for by name, and whose weights are not at hand.
    groups : ndarray of shape (n,), optional
        What each judged image belongs to. Groups, not images, are then what intervals and differences count.
    """

    rows: tuple[RankedBackbone, ...]
    data: str
    train_images: int
    validation_images: int
    folds: int
    seed: int
    left_out: tuple[str, ...] = ()
    groups: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, model: str) -> RankedBackbone:
        for row in self.rows:
            if row.model == model:
                return row
        names = [row.model for row in self.rows]
        raise invalid("model", "one that was ranked", model, candidates=names)

    @property
    def judged_images(self) -> int:
        """How many images the accuracies are of."""
        return self.validation_images + (self.train_images if self.folds > 1 else 0)

    @property
    def best(self) -> tuple[str, ...]:
        """The first, and those that are not distinguishable from it."""
        return tuple(row.model for row in self.rows if not row.distinguishable)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict a backbone, the best first, of plain JSON types."""
        return [row.to_dict() for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain JSON types."""
        left_out = ("rows", "groups")
        record = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        return {
            **record,
            "left_out": list(self.left_out),
            "best": list(self.best),
            "rows": self.to_records(),
        }

    def to_csv(self) -> str:
        """Return the table as CSV, a line a backbone below the names of the columns."""
        records = [{**row, "image_size": "×".join(map(str, row["image_size"]))} for row in self.to_records()]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return text.getvalue()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the probes' accuracies as bars, the best on top."""
        from transferzoo import plots

        return plots.comparison(self.to_records(), ax=ax)

    def pairs_ordered_by_top1(self) -> tuple[int, int]:
        """Count the pairs of backbones that published ImageNet accuracy orders as the probe does.

        Such lists cost nothing, and on the usual benchmarks of ranking they did better than scores of
        features (arXiv:2510.06448): where they order all pairs, the features tell nothing new.

        Returns
        -------
        ordered, pairs : int
            Pairs that tie in either accuracy do not count.
        """
        # in the order of the probe, so that of each pair the first is ahead by it
        known = [(row.accuracy, row.published_top1) for row in self.rows if row.published_top1 is not None]
        pairs = [(a, b) for a, b in itertools.combinations(known, 2) if a[0] != b[0] and a[1] != b[1]]
        return sum(a[1] > b[1] for a, b in pairs), len(pairs)

    def notes(self) -> list[str]:
        """Return what one must know to read the table, one line each."""
        tied = len(self.best) - 1
        parts = f"{self.train_images:,} training and {self.validation_images:,} validation images"
        if self.folds > 1:
            parts = f"{parts} in {self.folds} folds"
        lines = [f"{self.data}: {parts}, seed {self.seed}"]
        if tied:
            lines.append("* not distinguishable from the first")
        ordered, pairs = self.pairs_ordered_by_top1()
        if pairs:
            lines.append(
                f"top-1, the published ImageNet accuracy, orders {ordered} of {pairs} "
                f"pair{'s' * (pairs > 1)} as the probe does"
            )
        if drawn := [row.model for row in self.rows if row.weights is None and row.backbone is not None]:
            lines += textwrap.wrap(f"with random weights: {', '.join(drawn)}", 80)
        if self.left_out:
            many = len(self.left_out)
            lines.append(f"{many} backbone{'s' * (many > 1)} left out, as their weights are not at hand")
        return lines

    def __str__(self) -> str:
        width = min(NAME_WIDTH, max(len(row.model) for row in self.rows))
        form = f"{{:<{width}}} {{}} {{:>6}} {{:>9}} {{:>5}} {{:>6}} {{:>6}} {{:>7}} {{:>7}}"
        lines = [form.format("", " ", "probe", "95 %", "best", "k-NN", "top-1", "MACs", "seconds").rstrip()]
        for place, row in enumerate(self.rows):
            lines.append(
                form.format(
                    row.model if len(row.model) <= width else f"{row.model[: width - 1]}…",
                    "*" if place and not row.distinguishable else " ",
                    f"{row.accuracy:.1%}",
                    f"{100 * row.low:.1f}–{100 * row.high:.1f}",
                    f"{row.probability_best:.0%}",
                    f"{row.knn:.1%}",
                    "–" if row.published_top1 is None else f"{row.published_top1:.1f}%",
                    "–" if math.isnan(row.macs) else metric_info("macs").show(row.macs),
                    f"{row.seconds:,.1f}",
                )
            )
        return "\n".join([*lines, *self.notes()])
