"""`transferzoo verify` and `transferzoo diff`: what they print, draw and answer."""

import json
import subprocess
import sys

import numpy as np
import pytest

import transferzoo as tz
import transferzoo.cli.records
from transferzoo import cli
from transferzoo.results.folder import sealed
from transferzoo.results.result import Result


@pytest.fixture
def run(capsys):
    """The command line in this process: exit code, output, and what it complains of."""

    def call(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def save_run(folder, data, wrong, *, name, calls=None, seed=0):
    """Save a run that takes the first `wrong` test images for the next class."""
    guesses = data.y_test.copy()
    guesses[:wrong] = (guesses[:wrong] + 1) % 10
    y_prob = np.where(np.arange(10) == guesses[:, None], 0.82, 0.02).astype("float32")
    return Result(
        name=name,
        metrics=tz.evaluate(data.y_test, y_prob),
        history={"loss": [1.0]},
        y_true=data.y_test,
        y_prob=y_prob,
        class_names=data.class_names,
        settings={"seed": seed, "data": {"name": data.name, "test_sha256": data.test_hash, "seed": 0}},
        costs={"parameters": 10},
        environment={"keras": "3.8.0"},
        index=data.test_index,
        provenance={"call": {"data": list(data.calls) if calls is None else calls}},
    ).save(folder)


@pytest.fixture
def pair(tmp_path, tiny_digits):
    return (
        save_run(tmp_path / "small", tiny_digits, 0, name="small"),
        save_run(tmp_path / "large", tiny_digits, 7, name="large", seed=1),
    )


def test_verify_says_that_all_agree(run, pair):
    code, out, err = run("verify", pair[0].parent)
    assert (code, err) == (0, "")
    assert out.endswith("figures of 2 runs recomputed; all agree\n")


def test_verify_lists_what_differs_and_exits_with_1(run, pair):
    record = json.loads((pair[1] / "run.json").read_text("utf-8"))
    record["metrics"]["accuracy"] = 0.99
    (pair[1] / "run.json").write_text(json.dumps(sealed(record)), "utf-8")
    code, out, _ = run("verify", pair[1].parent)
    assert code == 1
    assert "large: metrics.accuracy: reported 0.99, recomputed 0.86" in out


def test_verify_prints_json(run, pair):
    code, out, _ = run("verify", pair[0], "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["runs"]) == (0, True, ["small"])


def test_verify_loads_models_where_it_is_asked_to(run, pair):
    code, out, _ = run("verify", pair[0], "--model", "--rerun")
    assert code == 0
    assert "note: small: no model.keras was kept" in out


def test_verify_of_nothing_is_one_line(run, tmp_path):
    code, out, err = run("verify", tmp_path / "nothing")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "holds no runs" in err


def test_diff_shows_settings_verdict_and_images(run, pair):
    code, out, _ = run("diff", *pair, "--limit", 2)
    assert code == 0
    assert ["seed", "0", "1"] in [line.split() for line in out.splitlines()]
    assert "small beats large by 14.0 points" in out
    assert "7 of 50 predictions differ: only a right 7, only b right 0, neither 0" in out
    assert "\n5 more\n" in out
    assert out.endswith("--out flips.png draws them\n")


def test_diff_prints_json(run, pair):
    code, out, _ = run("diff", *pair, "--json")
    assert code == 0
    assert len(json.loads(out)["flips"]["flipped"]) == 7


def test_diff_draws_the_images_of_the_dataset_on_record(run, pair, tmp_path):
    from PIL import Image

    code, out, _ = run("diff", *pair, "--out", tmp_path / "pictures" / "flips.png")
    assert code == 0
    assert out.endswith("flips.png\n")
    with Image.open(tmp_path / "pictures" / "flips.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_diff_draws_from_a_dataset_that_is_named(run, tmp_path, tiny_digits):
    pair = [
        save_run(tmp_path / f"run{wrong}", tiny_digits, wrong, name=f"run{wrong}", calls="arrays named 'x'")
        for wrong in (0, 3)
    ]
    code, _, err = run("diff", *pair, "--out", tmp_path / "flips.png")
    assert code == 1
    assert err.startswith("transferzoo: No picture was drawn. The images of 'run0' were given as arrays")
    assert "--dataset and --path" in err
    assert not (tmp_path / "flips.png").exists()
    assert run("diff", *pair, "--out", tmp_path / "flips.png", "--dataset", "digits")[0] == 0
    assert (tmp_path / "flips.png").exists()


def test_diff_finds_a_folder_that_has_moved(run, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for kind in "0123456789":
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{number}.png")
    data = tz.from_directory(tmp_path / "photos", seed=0)
    pair = [save_run(tmp_path / f"run{n}", data, n, name=f"run{n}") for n in (0, 2)]
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    arguments = ("diff", *pair, "--out", tmp_path / "flips.png")
    code, _, err = run(*arguments)
    assert code == 1
    assert "cannot be loaded again" in err
    assert run(*arguments, "--path", tmp_path / "elsewhere")[0] == 0
    assert run(*arguments, "--dataset", tmp_path / "elsewhere")[0] == 0


def test_diff_of_runs_on_other_images_says_why_there_is_no_picture(run, pair, tmp_path):
    other = save_run(tmp_path / "other", tz.load_dataset("digits"), 3, name="other")
    record = json.loads((other / "run.json").read_text("utf-8"))
    record["settings"]["data"]["name"] = "cats"
    (other / "run.json").write_text(json.dumps(sealed(record)), "utf-8")
    code, out, err = run("diff", pair[0], other, "--out", tmp_path / "flips.png")
    assert code == 1
    assert "flipped images cannot be told: they were tested on 'digits' and 'cats'." in out
    assert "No picture was drawn" in err


@pytest.mark.parametrize("arguments", [["--dataset", "digits"], ["--path", "photos"]])
def test_diff_with_a_dataset_and_no_picture_is_a_wrong_call(run, pair, arguments):
    code, out, err = run("diff", *pair, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("transferzoo: --out must be the picture to draw")


def test_diff_of_a_damaged_run_names_the_file(run, pair):
    (pair[1] / "predictions.npz").write_bytes(b"nothing")
    code, _, err = run("diff", *pair)
    assert code == 1
    assert "predictions.npz: it is damaged" in err


def test_markup_in_a_record_is_shown_as_it_is(run, pair):
    record = json.loads((pair[1] / "run.json").read_text("utf-8"))
    record["settings"]["[bold]seed[/]"] = "[link=x]"
    (pair[1] / "run.json").write_text(json.dumps(sealed(record)), "utf-8")
    _, out, _ = run("diff", *pair)
    assert "[bold]seed[/]" in out
    assert "[link=x]" in out


@pytest.mark.medium
def test_neither_command_loads_keras_unless_asked_to(pair):
    code = (
        "import sys, transferzoo.cli.records; from transferzoo import cli; "
        f"cli.run(['verify', {str(pair[0].parent)!r}]); "
        f"cli.run(['diff', {str(pair[0])!r}, {str(pair[1])!r}]); "
        "print([name for name in ('keras', 'tensorflow', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "all agree" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
