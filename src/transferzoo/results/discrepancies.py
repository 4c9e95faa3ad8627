"""What `verify` hands back, and the ledger that it keeps meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferzoo.errors import shorten
from transferzoo.results.identity import plain

# the probabilities are saved as float32, and the figures were computed from what is saved: what is left is
# the order of the additions
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """A figure that is not what the saved files give.

    Parameters
    ----------
    run : str
        The run's folder, or the file of a study.
    figure : str
        Such as ``"metrics.accuracy"``; a file's name where it cannot be read.
    reported, recomputed : object
        Both values; a sentence where one is missing.
    """

    run: str
    figure: str
    reported: Any
    recomputed: Any

    def __str__(self) -> str:
        return (
            f"{printable(self.run)}: {printable(self.figure)}: "
            f"reported {_shown(self.reported)}, recomputed {_shown(self.recomputed)}"
        )


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """A saved model's predictions, made again.

    Parameters
    ----------
    run : str
        The run's folder.
    images : int
        Test images.
    largest_difference : float
        Between a saved probability and the same one now.
    flips : int
        Images whose predicted class is another now.
    """

    run: str
    images: int
    largest_difference: float
    flips: int

    def __str__(self) -> str:
        return (
            f"{printable(self.run)}: {self.images:,} images predicted again: "
            f"largest difference of a probability {self.largest_difference:.2g}, {self.flips:,} flips"
        )


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What `verify` found.

    Parameters
    ----------
    folder : Path
        What was verified.
    runs : tuple of str
        Its runs, by their folders.
    checked : int
        Figures that were recomputed and compared.
    discrepancies : tuple of Discrepancy
        Those that differ; empty where all agree.
    reruns : tuple of Rerun
        Models that predicted again.
    notes : tuple of str
        What could not be checked, and why.
    """

    folder: Path
    runs: tuple[str, ...]
    checked: int
    discrepancies: tuple[Discrepancy, ...]
    reruns: tuple[Rerun, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.discrepancies

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "folder": str(self.folder),
            "ok": self.ok,
            "runs": list(self.runs),
            "checked": self.checked,
            "discrepancies": plain(self.discrepancies),
            "reruns": plain(self.reruns),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        runs = f"{len(self.runs):,} run{'' if len(self.runs) == 1 else 's'}"
        outcome = "all agree" if self.ok else f"{len(self.discrepancies):,} differ:"
        return "\n".join(
            [
                f"{self.checked:,} figures of {runs} recomputed; {outcome}",
                *(f"  {found}" for found in self.discrepancies),
                *map(str, self.reruns),
                *(f"note: {printable(note)}" for note in self.notes),
            ]
        )


def printable(text: str) -> str:
    """Return `text` without what would move the cursor: names and keys come from files of others."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@dataclass
class Ledger:
    """What was compared so far."""

    checked: int = 0
    discrepancies: list[Discrepancy] = field(default_factory=list)
    reruns: list[Rerun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(
        self,
        run: str,
        figure: str,
        reported: Any,
        recomputed: Any,
        *,
        tolerance: float = 0.0,
        share: float = 0,
    ) -> None:
        """Count a figure, and keep it where the two values are not the same."""
        self.checked += 1
        if not agree(reported, recomputed, tolerance, share):
            self.differ(run, figure, reported, recomputed)

    def differ(self, run: str, figure: str, reported: Any, recomputed: Any) -> None:
        """Keep a discrepancy."""
        self.discrepancies.append(
            Discrepancy(run=run, figure=figure, reported=reported, recomputed=recomputed)
        )


def agree(reported: Any, recomputed: Any, tolerance: float = 0.0, share: float = 0.0) -> bool:
    """Tell whether two figures are the same; None is a number that is not known, as in JSON."""
    a, b = (math.nan if value is None else value for value in (reported, recomputed))
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b)):
        return bool(a == b)
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=share, abs_tol=tolerance)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    return printable(value) if isinstance(value, str) and len(value) <= 300 else shorten(value, 160)


def one_line(error: BaseException) -> str:
    """Return what an error says, short enough for a line."""
    return " ".join(str(error).split())[:200]
