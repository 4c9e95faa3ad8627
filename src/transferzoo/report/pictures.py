"""The pictures of a report, as PNG in text, so that its page asks for nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from transferzoo.data.dataset import Dataset
from transferzoo.ground.metrics import metric_title
from transferzoo.report.contents import two_best
from transferzoo.studies.study import Study

DPI = 110
MOST_CURVES = 10


def report_pictures(study: Study, contents: dict[str, Any], data: Dataset | None) -> dict[str, Any]:
    """Draw what a report shows.

    Parameters
    ----------
    study : Study
    contents : dict
        What `report_contents` returned.
    data : Dataset or None
        The images; without them, none are shown.

    Returns
    -------
    dict
        ``comparison``, ``frontier``, ``reliability``, ``changed`` and ``mistakes``, and ``curves``, a list:
        each picture a dict of ``source`` (a ``data:`` address), ``alt`` and ``caption``.
    """
    from transferzoo import plots

    found: dict[str, Any] = {"curves": []}
    summary = study.summary()
    found["comparison"] = _picture(
        (7.2, 1.2 + 0.42 * len(summary)),
        lambda axes: plots.comparison(summary, ax=axes),
        "Test accuracy of each model with its 95 % interval; the table has the numbers.",
    )
    if contents["frontier"]:
        cost = contents["frontier"]["cost"]
        against = metric_title(cost).lower()
        found["frontier"] = _picture(
            (7.2, 4.4),
            lambda axes: study.plot(cost=cost, ax=axes),
            f"Test accuracy against {against}; models on the frontier are joined by a line.",
        )
    runs = {row["model"]: study.runs(row["model"])[0] for row in summary[:MOST_CURVES]}
    label, best = next(iter(runs.items()))
    if np.isfinite(best.y_prob).all():
        temperature = best.metrics.get("temperature")
        found["reliability"] = _picture(
            (4.6, 4.4),
            lambda axes: plots.reliability(best, temperature=temperature, ax=axes),
            f"Reliability of {label}: share right against confidence, before and after temperature scaling.",
        )
    for name, run in runs.items():
        if run.history.get("loss"):
            words = f"Loss and accuracy of {name}, seed {run.seed}, by epoch."
            found["curves"].append(_picture((8.6, 3.0), partial(_curves, run), words, columns=2))
    compared = two_best(study)
    if data is not None and compared:
        a, b = compared.values()
        first, second = compared
        if len(a.y_true) == len(data.x_test):
            found["changed"] = _picture(
                (8.6, 8.0),
                lambda axes: plots.flips(
                    data.x_test,
                    a.y_true,
                    a.y_prob.argmax(axis=1),
                    b.y_prob.argmax(axis=1),
                    a.class_names,
                    names=(first, second),
                    ax=axes,
                ),
                f"Test images that {first} and {second} take for different classes.",
            )
    if data is not None and len(best.y_true) == len(data.x_test) and not best.correct.all():
        found["mistakes"] = _picture(
            (8.6, 8.0),
            lambda axes: plots.mistakes(data.x_test, best.y_true, best.y_prob, best.class_names, ax=axes),
            f"Test images that {label} gets wrong, the surest first.",
        )
    return found


def _picture(
    size: tuple[float, float], draw: Callable[[Any], Any], alt: str, *, columns: int = 1
) -> dict[str, str]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots(1, columns))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return {"source": f"data:image/png;base64,{text}", "alt": alt}


def _curves(run: Any, axes: Any) -> None:
    run.plot_history(ax=axes)
