"""A run's accuracy on those test images that are no copies of training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transferzoo.judging.proportions import wilson_interval

if TYPE_CHECKING:
    from transferzoo.results.result import Result

# copies to the last bit, and images that are almost the same
COPIES = ("TZ201", "TZ202")


@dataclass(frozen=True, kw_only=True)
class WithoutCopies:
    """An accuracy on the test images that lint did not take for copies of training or validation images.

    Parameters
    ----------
    images, copies : int
        Test images that are left, and that were left out.
    accuracy, low, high : float
        A fraction, with its 95 % interval (Wilson 1927). Unlike a run's own interval it takes each image by
        itself, groups or not.
    """

    images: int
    copies: int
    accuracy: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"without {self.copies:,} test images that are copies of training images: accuracy "
            f"{self.accuracy:.1%} ({100 * self.low:.1f} to {100 * self.high:.1f}%) on {self.images:,}"
        )


def without_copies(result: Result) -> WithoutCopies | None:
    """Return a run's accuracy without copies; None where lint found none, or was not asked."""
    places = copied_places(result.provenance.get("findings"), len(result.y_true))
    images = len(result.y_true) - len(places)
    if not len(places) or not images:
        return None
    right = int(np.delete(result.correct, places).sum())
    low, high = wilson_interval(right, images)
    return WithoutCopies(
        images=images, copies=len(places), accuracy=right / images, low=float(low), high=float(high)
    )


def copied_places(findings: Any, images: int) -> list[int]:
    """Return the places of test images that findings on record take for copies."""
    places: set[int] = set()
    for finding in findings if isinstance(findings, list | tuple) else ():
        if isinstance(finding, Mapping) and finding.get("code") in COPIES:
            given = finding.get("images", ())
            places |= {each for each in given if isinstance(each, int) and 0 <= each < images}
    return sorted(places)
