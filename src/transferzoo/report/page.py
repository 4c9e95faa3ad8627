"""Write a study's report: one HTML file that asks for nothing, a Markdown text, or JSON."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

from transferzoo.data.dataset import Dataset
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_choice
from transferzoo.ground.metrics import metric_title, readable
from transferzoo.ground.storage.files import check_path, output_failed, written_beside
from transferzoo.report.contents import CALIBRATION, COSTS, report_contents
from transferzoo.report.pictures import report_pictures
from transferzoo.studies.study import Study

FORMATS = {"html": ".html", "md": ".md", "json": ".json"}


def write_report(study: Study, path: Any, *, data: Any = None, format: Any = None, title: Any = None) -> Path:
    """Write a report; see `Study.report`."""
    target = check_path("path", path)
    if format is None:
        kind = next((kind for kind, ending in FORMATS.items() if target.suffix == ending), None)
        if kind is None:
            raise invalid("path", "a file that ends in .html, .md or .json, or any with format=", str(path))
    else:
        check_choice("format", format, tuple(FORMATS))
        kind = format
    if data is not None and not isinstance(data, Dataset):
        raise invalid("data", "a Dataset, or None", data)
    if title is not None and not isinstance(title, str):
        raise invalid("title", "text, or None", title)
    if not study.results:
        raise InvalidInputError("A report needs a study with a finished run. This one has none.")
    if target.is_dir():
        raise invalid("path", "a file, not a folder", str(path))
    contents = report_contents(study, title=title)
    if kind == "json":
        text = json.dumps(contents, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    elif kind == "md":
        text = as_markdown(contents)
    else:
        text = as_page(contents, report_pictures(study, contents, data), study.folder)
    try:
        with written_beside(target) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise output_failed(target.parent, error) from error
    return target


def as_page(contents: dict[str, Any], pictures: dict[str, Any], folder: Path | None = None) -> str:
    """Return the HTML page of a report; text from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    source = resources.files("transferzoo.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    figure = environment.from_string(
        '<figure><img src="{{ each.source }}" alt="{{ each.alt }}"><figcaption>{{ each.alt }}</figcaption>'
        "</figure>"
    )
    models = contents["models"]
    frontier = contents["frontier"]
    parts = [
        ("verdicts", "What can be said"),
        ("models", "Models"),
        *([("frontier", "Accuracy against cost")] if "frontier" in pictures else []),
        *([("changed", "Where the two best differ")] if contents["changed"] else []),
        ("classes", "Each class"),
        ("calibration", "Calibration"),
        *([("mistakes", "Mistakes")] if "mistakes" in pictures else []),
        *([("findings", "Findings")] if contents["findings"] else []),
        *([("curves", "Learning curves")] if pictures["curves"] else []),
        ("runs", "Runs"),
        ("settings", "Settings"),
    ]
    return environment.from_string(source).render(
        c=contents,
        p={**dict.fromkeys(("frontier", "changed", "mistakes", "reliability")), **pictures},
        parts=parts,
        picture=lambda each: jinja2.filters.do_mark_safe(figure.render(each=each)),
        heading=COSTS,
        calibration=CALIBRATION,
        several=any(row["runs"] > 1 for row in models),
        ranked=any(row["rank"] for row in models),
        class_models=list(contents["classes"][0]["models"]) if contents["classes"] else [],
        cost_title=metric_title(frontier["cost"]) if frontier else "",
        folder=folder,
        percent=percent,
        number=lambda value: "" if value is None else value,
        decimal=lambda value: "–" if value is None else f"{value:.3f}",
        readable=lambda name, value: readable(name, math.nan if value is None else value),
        ranks=_ranks,
    )


def as_markdown(contents: dict[str, Any]) -> str:
    """Return the report as Markdown, short enough for a pull request."""
    models = contents["models"]
    ranked = any(row["rank"] for row in models)
    header = ["model", "accuracy", "95 % interval", *(["rank"] if ranked else [])]
    header += [COSTS[cost] for cost in contents["costs"]]
    lines = [f"# {_plain(contents['title'])}", "", contents["caption"], ""]
    lines += [f"- {_plain(line)}" for line in contents["verdicts"]]
    lines += [f"- not alike: {_plain(line)}" for line in contents["not_alike"]]
    lines += [f"- failed: {_plain(line)}" for line in contents["failures"]]
    lines += ["", f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    for row in models:
        cells = [_plain(row["model"]), percent(row["accuracy"])]
        cells.append(f"{percent(row['accuracy_low'])} to {percent(row['accuracy_high'])}")
        cells += [_ranks(row["rank"])] if ranked else []
        cells += [row["shown"][cost] for cost in contents["costs"]]
        lines.append(f"| {' | '.join(cells)} |")
    if changed := contents["changed"]:
        a, b = _plain(changed["a"]), _plain(changed["b"])
        lines += [
            "",
            f"Of {changed['images']} test images {a} and {b} both get {changed['both']} right, only {a} "
            f"{changed['only_a']}, only {b} {changed['only_b']}, neither {changed['neither']}.",
        ]
    if contents["findings"]:
        lines += ["", *(f"- {each['code']}: {_plain(each['what'])}" for each in contents["findings"])]
    calls = [run["call"] for run in contents["runs"] if run["call"]]
    if calls:
        lines += ["", "```python", *calls, "```"]
    return "\n".join(lines) + "\n"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage, a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _ranks(rank: list[int] | None) -> str:
    if rank is None:
        return "–"
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for mark in ("\\", "|", "<", "`", "*", "_", "["):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
