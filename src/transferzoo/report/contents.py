"""What a report says, as plain JSON types; nothing is drawn or trained for it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transferzoo import statistics
from transferzoo.evaluation import confusion
from transferzoo.ground.metrics import readable
from transferzoo.results.identity import plain
from transferzoo.results.result import Result
from transferzoo.studies.study import Study
from transferzoo.version import __version__

# columns of the table: costs that a study may hold, and their headings
COSTS = {
    "parameters": "parameters",
    "macs": "MACs",
    "size_bytes": "size",
    "train_seconds": "training",
    "latency_ms": "latency",
}
CALIBRATION = {
    "log_loss": "log loss",
    "ece": "calibration error",
    "temperature": "temperature",
    "calibrated_log_loss": "log loss, calibrated",
    "calibrated_ece": "calibration error, calibrated",
}
MOST_PAIRS = 12


def report_contents(study: Study, *, title: str | None = None) -> dict[str, Any]:
    """Return all that a report says of a study.

    Parameters
    ----------
    study : Study
        With one finished run or more.
    title : str, optional
        By default, what was compared.

    Returns
    -------
    dict
        ``title``, ``caption``, ``verdicts`` and ``notes`` in words; ``models``, one dict each with accuracy,
        interval, possible ranks and costs; ``frontier``; ``changed``, the test images that the two best
        models take differently; ``confusions``, where they differ most; ``classes``, each class's recall by
        model; ``calibration``; ``findings`` of lint; ``runs`` with seeds, hashes and the call that repeats
        each; ``settings``, ``environment``, ``failures``.
    """
    summary = study.summary()
    ranked = [row["model"] for row in summary]
    comparisons = study.comparisons() if len(study.names) > 1 else []
    ranks = statistics.rank_intervals(comparisons) if comparisons else {}
    best = two_best(study)
    runs = [(label, result) for label in study.names for result in study.runs(label)]
    found: dict[str, Any] = {
        "title": title or (" or ".join(ranked) if len(ranked) < 4 else f"{len(ranked)} models"),
        "caption": study.caption(),
        "verdicts": study.verdicts(),
        "not_alike": study.conditions(),
        "failures": [str(failure) for failure in study.failures],
        "models": [_model(row, ranks.get(row["model"])) for row in summary],
        "costs": [cost for cost in COSTS if any(math.isfinite(row.get(cost, math.nan)) for row in summary)],
        "frontier": _frontier(study),
        "comparisons": [
            {"a": each.a, "b": each.b, "verdict": each.verdict, "p_holm": each.p_holm} for each in comparisons
        ],
        "changed": _changed(best),
        "confusions": _confusions(best),
        "classes": _classes(study),
        "calibration": [
            {"model": row["model"], **{key: row.get(key, math.nan) for key in CALIBRATION}} for row in summary
        ],
        "findings": _findings(study.results),
        "runs": [_run(label, result) for label, result in runs],
        "settings": _settings([result for _, result in runs]),
        "environment": dict(study.results[0].environment),
        "version": __version__,
    }
    return dict(plain(found))


def _model(row: Mapping[str, Any], rank: tuple[int, int] | None) -> dict[str, Any]:
    return {
        "model": row["model"],
        "runs": row["runs"],
        "accuracy": row["accuracy"],
        "accuracy_low": row["accuracy_low"],
        "accuracy_high": row["accuracy_high"],
        "rank": None if rank is None else list(rank),
        **{cost: row.get(cost, math.nan) for cost in COSTS},
        "shown": {cost: readable(cost, row.get(cost, math.nan)) for cost in COSTS},
    }


def _frontier(study: Study) -> dict[str, Any] | None:
    """Return each model's place on the frontier of accuracy and the first cost that all have."""
    for cost in ("latency_ms", "macs", "parameters"):
        if all(math.isfinite(run.costs.get(cost, math.nan)) for run in study.results):
            rows = study.frontier(cost)
            kept = ("model", "accuracy", cost, "on_frontier", "frontier_probability")
            return {"cost": cost, "rows": [{key: row[key] for key in kept} for row in rows]}
    return None


def two_best(study: Study) -> dict[str, Result]:
    """Return a run of each of the two best models, by label, with one seed where they share one.

    Empty where fewer than two were tested on the same images.
    """
    labels = study.comparable()[:2]
    if len(labels) < 2:
        return {}
    pairs = list(itertools.product(*(study.runs(label) for label in labels)))
    return dict(
        zip(labels, next((pair for pair in pairs if pair[0].seed == pair[1].seed), pairs[0]), strict=True)
    )


def _changed(best: Mapping[str, Result]) -> dict[str, Any] | None:
    if not best:
        return None
    a, b = best.values()
    return {
        **dict(zip(("a", "b"), best, strict=True)),
        "seeds": [a.seed, b.seed],
        "both": int((a.correct & b.correct).sum()),
        "only_a": int((a.correct & ~b.correct).sum()),
        "only_b": int((~a.correct & b.correct).sum()),
        "neither": int((~a.correct & ~b.correct).sum()),
        "images": len(a.y_true),
    }


def _confusions(best: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Return the mistakes of which one of the two best models makes most more than the other."""
    if not best:
        return []
    runs = list(best.values())
    names = runs[0].class_names
    size = len(names)
    counts = [confusion(run.y_true, run.y_prob.argmax(axis=1), num_classes=size) for run in runs]
    apart = counts[0] - counts[1]
    np.fill_diagonal(apart, 0)
    order = np.argsort(-np.abs(apart), axis=None, kind="stable")[:MOST_PAIRS]
    places = [np.unravel_index(place, apart.shape) for place in order]
    return [
        {
            "true": names[row],
            "predicted": names[column],
            "a": int(counts[0][row, column]),
            "b": int(counts[1][row, column]),
        }
        for row, column in places
        if apart[row, column]
    ]


def _classes(study: Study) -> list[dict[str, Any]]:
    """Return each class's recall in each model's first run, with its 95 % interval."""
    alike = study.comparable()
    names = study.runs(alike[0])[0].class_names if alike else ()
    rows: list[dict[str, Any]] = [{"class": name, "images": 0, "models": {}} for name in names]
    for model in alike:
        run = study.runs(model)[0]
        for place, row in enumerate(rows):
            of_class = run.y_true == place
            row["images"] = images = int(of_class.sum())
            right = int((of_class & run.correct).sum())
            low, high = statistics.wilson_interval(right, images) if images else (math.nan, math.nan)
            row["models"][model] = [right / images if images else math.nan, low, high]
    return rows


def _findings(results: Sequence[Result]) -> list[dict[str, str]]:
    """Return what lint found before the runs, each finding once."""
    seen: dict[str, dict[str, str]] = {}
    for result in results:
        for each in result.provenance.get("findings") or ():
            if isinstance(each, Mapping):
                finding = {key: str(each.get(key, "")) for key in ("code", "severity", "subject", "what")}
                seen.setdefault(json.dumps(finding, sort_keys=True), finding)
    order = {"error": 0, "warning": 1}
    return sorted(seen.values(), key=lambda each: (order.get(each["severity"], 2), each["code"]))


def _run(label: str, result: Result) -> dict[str, Any]:
    given = result.provenance.get("hashes", {})
    hashes = {key: value for key, value in given.items() if value} if isinstance(given, Mapping) else {}
    return {
        "model": label,
        "seed": result.seed,
        "accuracy": result.accuracy,
        "epochs": result.epochs,
        "folder": None if result.folder is None else result.folder.name,
        "started": result.provenance.get("started"),
        "hashes": hashes,
        "call": call_in_words(result.provenance.get("call")),
    }


def call_in_words(call: Any) -> str | None:
    """Return the Python call that repeats a run, or None where its data or model were made by hand.

    Examples
    --------
    >>> call_in_words({"model": "resnet50", "data": [{"load_dataset": {"name": "cifar10"}}],
    ...                "recipe": "head", "seed": 1, "options": {"epochs": 3}})
    "tz.fit_and_evaluate('resnet50', tz.load_dataset('cifar10'), recipe='head', seed=1, epochs=3)"
    """
    if not isinstance(call, Mapping) or not isinstance(call.get("model"), str):
        return None
    steps = call.get("data")
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        return None
    data = ""
    for place, step in enumerate(steps):
        if not isinstance(step, Mapping) or len(step) != 1:
            return None
        (function, arguments), *_ = step.items()
        if not isinstance(arguments, Mapping):
            return None
        given = dict(arguments)
        first = [repr(given.pop(key)) for key in ("name", "folder") if key in given][:1] if place == 0 else []
        words = ", ".join([*first, *(f"{key}={value!r}" for key, value in given.items())])
        data = f"tz.{function}({words})" if place == 0 else f"{data}.{function}({words})"
    parts = [repr(call["model"]), data, f"recipe={call.get('recipe')!r}", f"seed={call.get('seed')!r}"]
    options = call.get("options")
    parts += [f"{key}={value!r}" for key, value in (options.items() if isinstance(options, Mapping) else ())]
    return f"tz.fit_and_evaluate({', '.join(parts)})"


def _settings(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return every setting by its dotted name: one value where all runs share it, else one for each run."""
    flat = [_flat(result.settings) for result in results]
    names = list(dict.fromkeys(name for each in flat for name in each))
    rows = []
    for name in names:
        values = [json.dumps(plain(each.get(name)), ensure_ascii=False) for each in flat]
        shared = len(set(values)) == 1
        rows.append({"setting": name, "values": values[:1] if shared else values})
    return rows


def _flat(settings: Any, before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        else:
            found[name] = value
    return found
