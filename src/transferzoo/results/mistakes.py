"""What a model gets wrong: its most confident errors, and the classes that it confuses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transferzoo.ground.arguments import check_count

if TYPE_CHECKING:
    from transferzoo.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test image that was classified wrongly.

    Parameters
    ----------
    place : int
        Its place in ``result.y_true``, and in ``x_test`` of the dataset that the run was tested on.
    file : str or None
        Its file, as the dataset has it; None where the images came as arrays.
    true, predicted : str
        Class names.
    probability : float
        Of the predicted class, 0 to 1.
    probability_of_true : float
        Of the true class, 0 to 1.
    """

    place: int
    true: str
    predicted: str
    probability: float
    probability_of_true: float
    file: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        image = f"test image {self.place}" if self.file is None else self.file
        return f"{image}: {self.true}, taken for {self.predicted} ({self.probability:.1%})"


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A class, and another that its test images were taken for.

    Parameters
    ----------
    true, predicted : str
        Class names.
    count : int
        Test images.
    share : float
        Of all test images of the true class, 0 to 1.
    """

    true: str
    predicted: str
    count: int
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.true} taken for {self.predicted}: {self.count:,} ({self.share:.1%} of its test images)"


def find_mistakes(result: Result, limit: int | None) -> list[Mistake]:
    """Return a run's mistakes, the most confident first; of equals the first image."""
    if limit is not None:
        check_count("limit", limit, 1)
    guesses = result.y_prob.argmax(axis=1)
    wrong = np.flatnonzero(guesses != result.y_true)
    wrong = wrong[np.argsort(-result.y_prob[wrong, guesses[wrong]], kind="stable")][:limit]
    return [
        Mistake(
            place=int(place),
            true=result.class_names[result.y_true[place]],
            predicted=result.class_names[guesses[place]],
            probability=float(result.y_prob[place, guesses[place]]),
            probability_of_true=float(result.y_prob[place, result.y_true[place]]),
            file=None if result.files is None else str(result.files[place]),
        )
        for place in wrong
    ]


def find_confusions(result: Result, limit: int | None) -> list[Confusion]:
    """Return which classes a run confuses, the most frequent pair first; of equals the larger share."""
    if limit is not None:
        check_count("limit", limit, 1)
    classes = len(result.class_names)
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (result.y_true, result.y_prob.argmax(axis=1)), 1)
    totals = table.sum(axis=1)
    np.fill_diagonal(table, 0)
    found = [
        Confusion(
            true=result.class_names[true],
            predicted=result.class_names[predicted],
            count=int(table[true, predicted]),
            share=float(table[true, predicted] / totals[true]),
        )
        for true, predicted in np.argwhere(table)
    ]
    return sorted(found, key=lambda each: (-each.count, -each.share))[:limit]
