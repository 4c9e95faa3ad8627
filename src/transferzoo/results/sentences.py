"""What a run's record says, in a few lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transferzoo.plots.axes import readable

if TYPE_CHECKING:
    from transferzoo.results.result import Result

COST_WORDS = {
    "parameters": "{} parameters",
    "trainable_parameters": "{} of them trainable",
    "size_bytes": "{}",
    "train_seconds": "trained in {}",
    "reused_feature_seconds": "of which {} for features that an earlier run computed",
    "images_per_second": "predicts {} images/s",
}


def in_sentences(result: Result) -> str:
    """Return a run's accuracy, its other metrics, what it cost, and what was returned: one line each."""
    lines = [result.headline()]
    figures = [
        f"{key.replace('_', ' ')} {readable(key, value)}"
        for key, value in result.metrics.items()
        if key not in ("accuracy", "accuracy_low", "accuracy_high") and math.isfinite(value)
    ]
    spent = [
        words.format(readable(key, result.costs[key]))
        for key, words in COST_WORDS.items()
        if math.isfinite(result.costs.get(key, math.nan))
        and (key != "reused_feature_seconds" or result.costs[key])
    ]
    lines += ["  " + ", ".join(parts) for parts in (figures, spent) if parts]
    if (others := result.without_copies) is not None:
        lines.append(f"  {others}")
    if result.epochs:
        phases = list(dict.fromkeys(result.history.get("phase", [])))
        named = f", phases {', '.join(phases)}" if phases else ""
        lines.append(f"  {result.epochs} epoch{'s' if result.epochs > 1 else ''}{named}")
    if chosen := result.provenance.get("chosen"):
        lines.append(f"  minutes={result.settings['minutes']:g}: {_chosen(chosen)}")
    if returned := result.provenance.get("returned"):
        lines.append(f"  returned: {returned}")
    if result.folder is not None:
        lines.append(f"  saved in {result.folder}")
    return "\n".join(lines)


def _chosen(chosen: Mapping[str, Any]) -> str:
    options = {key: chosen[key] for key in ("epochs", "steps_per_epoch") if chosen.get(key)}
    if not options:
        return "no time to train the backbone"
    return ", ".join(f"{key}={value}" for key, value in options.items()) + " in the last phase"
