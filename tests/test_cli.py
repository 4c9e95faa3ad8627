"""The command line: exit codes, one-line errors, and what it prints and leaves."""

import json
import subprocess
import sys

import pytest

import transferzoo as tz
from transferzoo import cli


def command(*arguments):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "transferzoo.cli", *arguments], capture_output=True, text=True
    )


@pytest.fixture
def run(capsys):
    """The command line in this process: exit code, output, and what it complains of."""

    def call(*arguments, debug=False):
        code = cli.run(list(arguments), debug=debug)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def digits(tiny, quick):
    """Arguments of a short training of `tiny` on a few digits."""
    tz.register_recipe(quick)
    return ["--dataset", "digits", "--train", "60", "--test", "60", "-w", "none", "-r", "quick", "--quiet"]


def test_help_names_every_command():
    done = command("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("list", "info", "fit", "compare", "demo", "--debug"))


def test_a_mistyped_name_is_one_line_and_no_traceback():
    done = command("info", "resnet5")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "transferzoo: No backbone, head, dataset or recipe named 'resnet5'. Did you mean 'resn"
    )


def test_debug_shows_the_traceback():
    done = command("info", "resnet5", "--debug")
    assert done.returncode != 0
    assert "Traceback (most recent call last)" in done.stderr


def test_listing_loads_no_keras():
    code = "import sys; from transferzoo import cli; cli.run(['list']); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_version_is_shown(run):
    assert run("--version") == (0, f"transferzoo {tz.__version__}\n", "")


def test_without_arguments_help_is_shown(run):
    _, out, err = run()
    assert "Usage" in out + err


@pytest.mark.parametrize("name", tz.list_backbones())
def test_the_list_shows_every_backbone(run, name):
    _, out, _ = run("list")
    assert name in out.split()


@pytest.mark.parametrize(
    ("kind", "names"),
    [("heads", tz.list_heads()), ("datasets", tz.list_datasets()), ("recipes", tz.list_recipes())],
)
def test_the_other_kinds_are_listed_too(run, kind, names):
    code, out, _ = run("list", "--kind", kind)
    assert code == 0
    assert set(names) <= set(out.split())


def test_a_pattern_chooses(run):
    _, out, _ = run("list", "vgg*")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["vgg16", "vgg19"]


def test_a_pattern_that_matches_nothing_is_an_error(run):
    code, _, err = run("list", "zzz*")
    assert (code, err.count("\n")) == (2, 1)
    assert "Got 'zzz*'" in err


@pytest.mark.parametrize("name", ["mobilenet", "alexnet"])
def test_info_shows_what_is_known_of_a_backbone(run, name):
    code, out, _ = run("info", name)
    record = tz.backbone_info(name)
    assert code == 0
    assert f"{record.parameters:,}" in out
    assert record.licence in out


def test_info_shows_a_recipe_as_json(run):
    _, out, _ = run("info", "article")
    assert json.loads(out) == tz.recipe_info("article").to_dict()


def test_info_shows_the_parts_of_a_head(run):
    assert "Head(Pool('avg'), Classifier())" in run("info", "linear")[1]


def test_info_shows_a_dataset(run):
    assert "digits" in run("info", "digits")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "No such command 'fly'"),
        (["list", "--kind", "heds"], "'heds' is not one of"),
        (["list", "--nid"], "No such option"),
        (["info"], "Missing argument"),
        (["fit", "mobilenet_025"], "Missing option '--dataset'"),
        (["fit", "mobilnet", "-d", "digits"], "Did you mean 'mobilenet'"),
        (["fit", "alexnet", "-d", "digit"], "Did you mean 'digits'"),
        (["fit", "alexnet", "-d", "digits", "-r", "defualt"], "Did you mean 'default'"),
        (["fit", "vgg16", "-d", "digits", "-w", "imagnet"], "Did you mean 'imagenet'"),
        (["fit", "alexnet", "-d", "digits", "-w", "none", "--epochs", "0"], "epochs must be"),
        (["fit", "alexnet", "-d", "digits", "-w", "none", "--epochs", "two"], "for '--epochs'"),
        (["fit", "alexnet", "-d", "digits", "-w", "none", "--train", "3"], "train must be"),
        (["compare", "alexnet", "alexnet", "-d", "digits", "-w", "none"], "must name each model once"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("transferzoo: ")
    assert message in err


def test_debug_raises_the_error_itself(run):
    with pytest.raises(tz.TransferZooError, match="resnet5"):
        run("info", "resnet5", debug=True)


def test_a_failure_underway_is_exit_code_1(run, digits, tiny):
    code, _, err = run("fit", tiny, *digits, "--learning-rate", "1e30", "--epochs", "2")
    assert (code, err.count("\n")) == (1, 1)
    assert "Training diverged" in err


def test_an_error_that_nobody_foresaw_is_one_line_with_its_kind(run, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(tz, "list_backbones", fail)
    code, _, err = run("list")
    assert (code, err) == (1, "transferzoo: ZeroDivisionError: by zero (--debug shows where)\n")


def test_an_interrupt_is_exit_code_130(run, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(tz, "list_backbones", interrupt)
    assert run("list")[0] == 130


def test_fit_prints_the_result(run, digits, tiny):
    code, out, _ = run("fit", tiny, *digits)
    assert code == 0
    assert out.startswith("tiny: accuracy ")


def test_fit_leaves_run_and_plots_in_the_folder(run, digits, tiny, tmp_path):
    code, out, _ = run("fit", tiny, *digits, "--out", str(tmp_path / "run"))
    assert code == 0
    assert str(tmp_path / "run") in out
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "confusion.png",
        "confusion_normalized.png",
        "history.csv",
        "history.png",
        "model.keras",
        "predictions.npz",
        "run.json",
    }


def test_fit_may_be_repeated_on_its_own_folder(run, digits, tiny, tmp_path):
    arguments = ["fit", tiny, *digits, "--out", str(tmp_path / "run")]
    run(*arguments)
    assert run(*arguments)[0] == 0


def test_fit_refuses_a_folder_of_something_else(run, digits, tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = run("fit", tiny, *digits, "--out", str(tmp_path))
    assert code == 2
    assert "is a folder that is not empty" in err


def test_fit_expands_a_tilde_that_the_shell_left(run, digits, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("fit", tiny, *digits, "--out=~/run")[0] == 0
    assert (tmp_path / "run" / "history.png").is_file()


def test_compare_shows_each_model_and_leaves_tables_and_plots(run, digits, tiny, tmp_path):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    code, out, _ = run("compare", tiny, "other", *digits, "--out", str(tmp_path / "study"))
    assert code == 0
    assert {"tiny", "other"} <= set(out.split())
    names = {path.name for path in (tmp_path / "study").iterdir()}
    assert names == {"tiny", "other", "comparison.md", "comparison.csv", "comparison.png", "images.png"}


def test_the_articles_faults_can_be_asked_for(run, tiny):
    arguments = ["-d", "digits", "--train", "60", "--test", "60", "-w", "none", "-r", "article", "--faithful"]
    code, out, _ = run("fit", tiny, *arguments, "--epochs", "1", "--head", "linear", "-q")
    assert code == 0
    assert "tiny" in out


@pytest.mark.slow
def test_the_demo_needs_no_network_and_leaves_a_study(tmp_path):
    done = command("demo", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    study = tz.Study.load(tmp_path / "demo")
    assert len(study) == 2
    assert all(run.accuracy > 0.8 for run in study.results)
