"""`transferzoo lint`: exit codes, and what it prints."""

import json

import pytest

import transferzoo as tz
import transferzoo.cli.checking
from transferzoo import cli


@pytest.fixture
def run(capsys):
    """The command line in this process: exit code, output, and what it complains of."""

    def call(*arguments):
        code = cli.run(["lint", *arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def digits(tiny):
    return [tiny, "--dataset", "digits", "-w", "none"]


def test_without_an_error_the_exit_code_is_0(run, digits):
    code, out, err = run(*digits)
    assert (code, err) == (0, "")
    assert "TZ207" in out
    assert out.endswith("1 note\n")


def test_an_error_is_exit_code_1(run, tiny, tiny_weights):
    code, out, _ = run(tiny, "-d", "digits", "-w", str(tiny_weights), "-r", "article", "--faithful")
    assert code == 1
    assert all(found in out for found in ("TZ101", "TZ301", "TZ302", "TZ304", "3 errors"))


def test_json_is_what_the_library_returns(run, digits):
    from transferzoo.linting.advice import lint

    code, out, _ = run(*digits, "--train", "100", "--json")
    data = tz.load_dataset("digits").subset(train=100, seed=0)
    assert code == 0
    assert json.loads(out) == [each.to_dict() for each in lint("tiny", data, weights=None)]


def test_nothing_found_is_said(run, digits, monkeypatch):
    monkeypatch.setattr("transferzoo.linting.advice.lint", lambda *args, **options: [])
    assert run(*digits) == (0, "Nothing found.\n", "")
    assert run(*digits, "--json") == (0, "[]\n", "")


def test_several_names_are_linted_as_a_comparison(run, digits):
    tz.register_backbone("other", tz.backbone_info("tiny").builder, minimum_size=8)
    code, out, _ = run("other", *digits)
    assert code == 0
    assert "TZ408" in out
    assert "TZ408" not in run("other", *digits, "--seeds", "0,1,2")[1]


def test_it_is_readable_at_80_columns(run, digits):
    _, out, _ = run("mobilenet_025", *digits, "-e", "1", "--batch-size", "8")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.medium
def test_brackets_in_a_name_are_no_markup(run, tiny, tmp_path):
    from PIL import Image

    for name in ("[red]a[/]", "[bold]b"):
        (tmp_path / "photos" / name.replace("/", "")).mkdir(parents=True)
        for number in range(12 if "a" in name else 3):
            pixels = tz.load_dataset("digits").x_train[number]
            Image.fromarray(pixels).save(tmp_path / "photos" / name.replace("/", "") / f"{number}.png")
    _, out, err = run(tiny, "-d", str(tmp_path / "photos"), "-w", "none")
    assert "[red]a[]" in out, err


def test_a_bad_name_is_exit_code_2(run):
    code, out, err = run("tinny", "-d", "digits")
    assert (code, out) == (2, "")
    assert "No backbone named 'tinny'" in err


def test_help_says_what_the_exit_status_means(run):
    _, out, err = run("--help")
    assert "Exit status 1" in (out + err)
