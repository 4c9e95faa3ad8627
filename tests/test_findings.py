"""A finding as a record, in words and in the log; and the page that explains them."""

import contextlib
import dataclasses
import io
import json
import logging
import re
from pathlib import Path

import pytest

from transferzoo.errors import InvalidInputError
from transferzoo.linting.findings import CODES, Finding, found, log_findings, points, worst_first

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "lint.md").read_text(encoding="utf-8")


def made(code="TZ408", severity="note", what="What.", subject=""):
    return found(code, severity, what=what, why="Why.", how="How.", subject=subject)


def test_a_finding_bears_the_name_of_its_code():
    assert made("TZ104").name == "one-cell-map"


def test_a_finding_is_plain_json():
    finding = made(subject="mobilenet")
    assert Finding(**json.loads(json.dumps(finding.to_dict()))) == finding


def test_a_finding_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made().severity = "error"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"severity": "grave"}, "severity must be 'error' or 'warning' or 'note'. Got 'grave'."),
        ({"code": "TZ999"}, "code must be one of transferzoo.linting.findings.CODES. Got 'TZ999'."),
    ],
)
def test_an_unknown_code_or_severity_is_refused(arguments, message):
    record = {"code": "TZ408", "name": "x", "severity": "note", "what": "", "why": "", "how": ""}
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        Finding(**{**record, **arguments})


def test_in_words_a_finding_stays_within_80_columns_and_loses_none():
    what = "images of 32×32 reach " + "several backbones, and " * 20 + "arXiv:1902.00423"
    lines = str(made(what=what, subject="mobilenet")).splitlines()
    assert lines[0] == "note TZ408 one-run: mobilenet"
    assert max(map(len, lines)) <= 80
    said = " ".join(line.strip() for line in lines[1:])
    assert said == f"what  {what} why   Why. how   How."


def test_the_gravest_come_first_each_once():
    findings = [made(), made("TZ304", "warning"), made(), made("TZ103", "error"), made("TZ104", "warning")]
    assert [each.code for each in worst_first(findings)] == ["TZ103", "TZ104", "TZ304", "TZ408"]


def test_shares_are_shown_in_percent():
    assert [points(share) for share in (0.0275, 1.0, 0.005)] == ["2.75 %", "100 %", "0.5 %"]


def test_the_log_has_each_finding_once_and_not_what_build_says_itself(caplog):
    findings = [
        made("TZ207", "note", what="Only here."),
        made("TZ104", "warning", what="Only here."),
        made("TZ303", "error", what="Only here.", subject="mobilenet"),
    ]
    with caplog.at_level(logging.INFO, logger="transferzoo"):
        log_findings(findings)
        log_findings(findings)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "TZ303 carried-rate: mobilenet: Only here. How."),
        ("INFO", "TZ207 few-test-images: Only here. How."),
    ]


def test_codes_and_names_are_unique_and_in_order():
    assert list(CODES) == sorted(CODES)
    names = [name for name, _ in CODES.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


@pytest.mark.parametrize("code", CODES)
def test_the_page_says_what_why_and_how_for_each_code(code):
    section = PAGE.partition(f"### {code} {CODES[code][0]}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    assert re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE) == ["What", "Why", "How"]


def test_the_page_s_example_prints_what_it_shows():
    source, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(source, {})
    assert printed.getvalue() == shown
