"""The most accurate model that a user's limits allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transferzoo import statistics
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import finite

# limit: (the words for it, its unit, the costs that it may be read from, what makes one of the cost)
LIMITS = {
    "latency_ms": ("latency", "ms", ("latency_ms",), 1.0),
    "megabytes": ("size", "MB", ("file_bytes", "size_bytes"), 1e6),
    "train_minutes": ("training", "min", ("train_seconds",), 60.0),
    "gmacs": ("compute", "GMAC", ("macs",), 1e9),
    "memory_megabytes": ("peak memory", "MB", ("peak_memory_bytes",), 1e6),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `Study.best` chose, and why.

    Parameters
    ----------
    name : str
        The model's label in the study.
    accuracy, low, high : float
        Mean test accuracy over its runs, with its 95 % interval; fractions in ``[0, 1]``.
    costs : mapping of str to float
        Its value for each limit that was given, in the limit's unit.
    excluded : mapping of str to str
        The other models that are past a limit, and which.
    rivals : tuple of str
        Models within the limits that are not distinguishable from it, more accurate ones first.
    """

    name: str
    accuracy: float
    low: float
    high: float
    costs: Mapping[str, float]
    excluded: Mapping[str, str]
    rivals: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.name}: accuracy {self.accuracy:.1%} "
            f"(95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"
            + "".join(f", {LIMITS[key][0]} {_number(key, value)}" for key, value in self.costs.items())
        ]
        if self.rivals:
            lines.append(f"not distinguishable from it: {', '.join(self.rivals)}")
        lines += [f"left out: {name}: {why}" for name, why in self.excluded.items()]
        return "\n".join(lines)


def choose(rows: Sequence[Mapping[str, Any]], limits: Mapping[str, float], study: Any) -> Choice:
    """Choose from a study's summary, best accuracy first; `study` gives what each model got right."""
    for key, most in limits.items():
        number = finite(most)
        if number is None or number <= 0:
            raise invalid(f"max_{key}", "a number above 0", most)
    excluded: dict[str, str] = {}
    allowed = []
    for row in rows:
        past = [
            f"{LIMITS[key][0]} {_number(key, value)} of at most {_number(key, most)}"
            for key, most in limits.items()
            if not (value := cost_of(row, key)) <= most
        ]
        if past or not math.isfinite(row["accuracy"]):
            excluded[row["model"]] = ", ".join(past) or "its accuracy was not measured"
        else:
            allowed.append(row)
    if not allowed:
        words = "; ".join(f"{name}: {why}" for name, why in excluded.items())
        raise InvalidInputError(f"No model of the study keeps to these limits. {words}.")
    best = allowed[0]
    correct = {row["model"]: study.correct(row["model"]) for row in allowed}
    size = correct[best["model"]].shape[-1]
    alike = {name: rights for name, rights in correct.items() if rights.shape[-1] == size}
    pairs = statistics.compare_pairs(alike) if len(alike) > 1 else []
    rivals = [
        pair.b if pair.a == best["model"] else pair.a
        for pair in pairs
        if best["model"] in (pair.a, pair.b) and not pair.distinguishable
    ]
    return Choice(
        name=best["model"],
        accuracy=best["accuracy"],
        low=best["accuracy_low"],
        high=best["accuracy_high"],
        costs={key: cost_of(best, key) for key in limits},
        excluded=excluded,
        rivals=tuple(rivals),
    )


def cost_of(row: Mapping[str, Any], limit: str) -> float:
    """Return a model's cost in a limit's unit; NaN where it was not measured."""
    _, _, keys, unit = LIMITS[limit]
    values = [float(row.get(key, math.nan)) for key in keys]
    return next((value for value in values if math.isfinite(value)), math.nan) / unit


def _number(limit: str, value: float) -> str:
    return f"{value:,.3g} {LIMITS[limit][1]}" if math.isfinite(value) else "not measured"
