"""A study as one page: what it says, and how it behaves in a real browser."""

import dataclasses
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import transferzoo as tz
from transferzoo import cli
from transferzoo.errors import InvalidInputError
from transferzoo.report.contents import call_in_words, report_contents
from transferzoo.results.result import Result

EVIL = "<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def made_run(name, seed, right, data, *, class_names=None, **changes):
    """A run that was never trained: of each test image, whether it is right."""
    generator = np.random.default_rng(seed)
    classes = data.num_classes
    guess = np.where(right, data.y_test, (data.y_test + 1 + generator.integers(0, classes - 1)) % classes)
    y_prob = np.full((len(guess), classes), 0.1 / (classes - 1))
    y_prob[np.arange(len(guess)), guess] = 0.9
    costs = {"parameters": 1000 * len(name), "macs": 10_000, "latency_ms": 1.5, "train_seconds": 3.0}
    fields = {
        "name": name,
        "metrics": tz.evaluation.evaluate(data.y_test, y_prob, validation=(data.y_test, y_prob)),
        "history": {
            "phase": ["head"] * 2,
            **{"loss": [1.0, 0.5], "accuracy": [0.4, 0.7]},
            **{"val_loss": [1.1, 0.7], "val_accuracy": [0.4, 0.6]},
        },
        "y_true": data.y_test,
        "y_prob": y_prob,
        "class_names": class_names or data.class_names,
        "settings": {
            "model": {"backbone": name},
            "data": {
                "name": "digits",
                "train": 100,
                "validation": 50,
                "test": len(guess),
                "test_sha256": "a",
            },
            "recipe": {"name": "head"},
            "seed": seed,
        },
        "costs": {**costs, "size_bytes": 4000 * len(name)},
        "environment": {"python": "3.11", "keras": "3.15"},
        "index": np.arange(len(guess)),
        "provenance": {
            "call": {
                "model": name,
                "data": [{"load_dataset": {"name": "digits", "seed": 0}}, {"subset": {"test": 50}}],
                "recipe": "head",
                "seed": seed,
                "options": {"weights": None},
            },
            "hashes": {"settings": "0" * 64, "weights": None},
            "findings": [{"code": "TZ207", "severity": "warning", "what": "few images", "subject": ""}],
            "started": "2026-01-01T00:00:00+00:00",
        },
        **changes,
    }
    return Result(**fields)


@pytest.fixture(scope="module")
def data():
    return tz.load_dataset("digits").subset(train=100, validation=50, test=200, seed=0)


@pytest.fixture(scope="module")
def study(data):
    """Three models on the same 200 images, two seeds each: 90, 70 and 69 % right."""
    generator = np.random.default_rng(0)
    order = generator.permutation(200)
    runs = [
        made_run(name, seed, np.isin(np.arange(200), order[:count]), data)
        for name, count in (("good", 180), ("middling", 140), ("poor", 138))
        for seed in (0, 1)
    ]
    return tz.Study(results=tuple(runs))


# --- the contents


def test_the_record_holds_what_the_study_says(study):
    found = report_contents(study)
    assert found["verdicts"] == study.verdicts()
    assert [row["model"] for row in found["models"]] == ["good", "middling", "poor"]
    assert [row["rank"] for row in found["models"]] == [[1, 1], [2, 3], [2, 3]]
    assert found["changed"] | {"a": 0, "b": 0} == {
        "a": 0, "b": 0, "seeds": [0, 0], "both": 140, "only_a": 40, "only_b": 0, "neither": 20, "images": 200
    }  # fmt: skip
    assert sum(row["images"] for row in found["classes"]) == 200
    recall = found["classes"][3]["models"]["good"]
    run = study["good", 0]
    assert recall[0] == pytest.approx(run.correct[run.y_true == 3].mean())
    assert recall[1] < recall[0] < recall[2]
    assert found["findings"] == [
        {"code": "TZ207", "severity": "warning", "subject": "", "what": "few images"}
    ]
    assert json.dumps(found, allow_nan=False)


def test_mistakes_that_differ_are_counted_on_both_sides(study):
    a, b = study["good", 0], study["middling", 0]
    for row in report_contents(study)["confusions"]:
        true, guess = a.class_names.index(row["true"]), a.class_names.index(row["predicted"])
        counts = [int(((run.y_true == true) & (run.y_prob.argmax(1) == guess)).sum()) for run in (a, b)]
        assert [row["a"], row["b"]] == counts
        assert counts[0] != counts[1]


@pytest.mark.medium
def test_the_call_in_a_report_repeats_a_run(tiny, tiny_digits, quick, tmp_path):
    result = tz.fit_and_evaluate(tiny, tiny_digits, weights=None, recipe="head", epochs=1, verbose=False)
    call = call_in_words(result.provenance["call"])
    again = eval(call, {"tz": tz})
    assert np.array_equal(again.y_prob, result.y_prob)


@pytest.mark.parametrize("call", [None, {}, {"model": None, "data": []}, {"model": "a", "data": [3]}, "text"])
def test_a_run_of_hand_made_parts_has_no_call(call):
    assert call_in_words(call) is None


def test_one_run_is_reported_too(study, tmp_path):
    alone = tz.Study(results=study.results[:1])
    page = alone.report(tmp_path / "report.html").read_text("utf-8")
    assert "There is nothing to compare it with" in page
    assert "90.0 % of the test images are right" in page


def test_a_study_without_runs_has_no_report(tmp_path):
    with pytest.raises(InvalidInputError, match="needs a study with a finished run"):
        tz.Study(results=()).report(tmp_path / "report.html")


@pytest.mark.medium
def test_probabilities_that_are_no_numbers_are_reported_as_far_as_they_go(study, data, tmp_path):
    broken = made_run("broken", 0, np.ones(200, bool), data)
    broken.y_prob[3] = np.nan
    broken = dataclasses.replace(broken, metrics={"accuracy": 0.5, "log_loss": float("nan")})
    page = tz.Study(results=(*study.results, broken)).report(tmp_path / "report.html").read_text("utf-8")
    assert ">broken<" in page
    assert "nan" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)


@pytest.mark.medium
def test_two_settings_of_one_backbone_are_told_apart(data, tmp_path):
    runs = []
    for head, right in (("linear", 150), ("mlp", 120)):
        settings = {"model": {"backbone": "same", "head": head}, "recipe": {"name": "head"}, "seed": 0}
        settings["data"] = {"name": "digits", "train": 100, "validation": 50, "test": 200}
        runs.append(made_run("same", 0, np.arange(200) < right, data, settings=settings))
    study = tz.Study(results=tuple(runs))
    changed = report_contents(study)["changed"]
    assert [changed["a"], changed["b"]] == study.comparable()
    assert (changed["only_a"], changed["only_b"]) == (30, 0)
    assert f"Test images that {changed['a']} and {changed['b']}" in (
        study.report(tmp_path / "report.html", data=data).read_text("utf-8")
    )


# --- the files


def test_the_page_shows_text_from_outside_as_text(data, tmp_path):
    names = (EVIL, *data.class_names[1:])
    runs = [made_run(f"{EVIL}{k}", 0, np.arange(200) < 150 + k, data, class_names=names) for k in (0, 20)]
    page = tz.Study(results=tuple(runs)).report(tmp_path / "report.html", title=EVIL).read_text("utf-8")
    assert EVIL not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    text = tz.Study(results=tuple(runs)).report(tmp_path / "report.md").read_text("utf-8")
    assert not re.search(r"(?<!\\)<img", text.partition("```")[0])


@pytest.mark.medium
def test_the_page_asks_for_nothing(study, data, tmp_path):
    page = study.report(tmp_path / "report.html", data=data).read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "default-src 'none'" in page
    assert "http:" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)


@pytest.mark.medium
def test_ten_models_fit_into_five_megabytes(data, tmp_path):
    runs = [made_run(f"model{k}", 0, np.arange(200) < 100 + 8 * k, data) for k in range(10)]
    path = tz.Study(results=tuple(runs)).report(tmp_path / "report.html", data=data)
    assert path.stat().st_size < 5e6


def test_markdown_is_short_and_json_is_the_record(study, tmp_path):
    text = study.report(tmp_path / "report.md").read_text("utf-8")
    assert text.startswith("# good or middling or poor\n")
    assert "| good | 90.0 % |" in text
    assert len(text) < 6000
    found = json.loads(study.report(tmp_path / "any", format="json").read_text("utf-8"))
    assert found == report_contents(study)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("report.pdf", {}, r"path must be a file that ends in \.html, \.md or \.json"),
        ("report.html", {"format": "pdf"}, "format must be 'html' or 'md' or 'json'"),
        ("report.html", {"data": "digits"}, "data must be a Dataset"),
        ("report.html", {"title": 3}, "title must be text"),
        (5, {}, "path must be"),
    ],
)
def test_a_bad_call_is_refused(study, tmp_path, path, options, message):
    with pytest.raises(InvalidInputError, match=message):
        study.report(tmp_path / path if isinstance(path, str) else path, **options)


@pytest.mark.medium
def test_the_command_writes_a_report_of_a_study_and_of_a_run(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, run in enumerate(study.results):
        run.save(tmp_path / "runs" / f"run-{number}", model=False)
    assert cli.run(["report", "runs"]) == 0
    assert capsys.readouterr().out == "The report is in report.html\n"
    assert "transferzoo verify runs" in Path("report.html").read_text("utf-8")
    assert cli.run(["report", "runs/run-0", "--out", "-", "--format", "md", "--title", "One run"]) == 0
    assert capsys.readouterr().out.startswith("# One run\n")


@pytest.mark.medium
def test_with_images_the_command_loads_the_dataset_again_and_shows_mistakes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tz.load_dataset("digits").subset(train=60, validation=30, test=60)
    options = {"weights": None, "recipe": "linear_probe", "lint": False, "verbose": False}
    tz.fit_and_evaluate("mobilenet_025", data, out="run", save_model=False, **options)
    for arguments, shown in (([], False), (["--images"], True)):
        assert cli.run(["report", "run", *arguments]) == 0
        assert ('<h2 id="mistakes">' in Path("report.html").read_text("utf-8")) == shown


# --- in a browser


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, study, data, tmp_path):
    """A report in a tab of 1,200 pixels, with what it asked for and complained of."""
    path = study.report(tmp_path / "report.html", data=data)
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    tab.asked, tab.complaints = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    start = time.perf_counter()
    tab.goto(path.as_uri())
    tab.seconds = time.perf_counter() - start
    yield tab
    tab.close()


@pytest.mark.slow
def test_a_browser_asks_for_nothing_and_complains_of_nothing(page):
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in page.asked if url.startswith("file:")]) == 1
    assert page.complaints == []
    assert page.locator("h1").inner_text() == "good or middling or poor"


@pytest.mark.slow
def test_tables_are_sorted_by_keyboard_and_say_so(page):
    head = page.locator("#models ~ div table th", has_text="accuracy")
    column = page.locator("#models ~ div tbody td:first-child")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column.all_inner_texts() == ["poor", "middling", "good"]
    page.locator("#models ~ div table th", has_text="model").locator("button").click()
    assert column.all_inner_texts() == ["good", "middling", "poor"]
    size = page.locator("#models ~ div table th", has_text="parameters")
    size.locator("button").click()
    assert column.all_inner_texts() == ["middling", "good", "poor"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    for details in page.locator("details > summary").all():
        details.click()
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["impact"]) for each in found if each["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_a_narrow_window_scrolls_tables_and_not_the_page(page):
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.slow
def test_a_class_with_a_script_for_a_name_runs_none(browser, data, tmp_path):
    names = (EVIL, *data.class_names[1:])
    run = made_run(EVIL, 0, np.arange(200) < 150, data, class_names=names)
    path = tz.Study(results=(run,)).report(tmp_path / "report.html", title=EVIL, data=data)
    tab = browser.new_page()
    alerts = []
    tab.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    tab.goto(path.as_uri())
    assert tab.locator("h1").inner_text() == EVIL
    assert tab.locator("img[onerror]").count() == 0
    assert alerts == []
    tab.close()
