"""The command line: exit codes, one-line errors, and what it prints and leaves."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import transferzoo as tz
from transferzoo import cli
from transferzoo.cli.wording import in_shell


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


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "transferzoo", "list"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "mobilenet" in done.stdout


@pytest.mark.medium
def test_debug_shows_the_traceback():
    done = command("info", "resnet5", "--debug")
    assert done.returncode != 0
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["fit", "--help"]])
def test_help_and_lists_load_nothing_heavy(arguments):
    code = (
        f"import sys; from transferzoo import cli; cli.run({arguments!r}); "
        "print([name for name in ('keras', 'tensorflow', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_version_is_shown(run):
    assert run("--version") == (0, f"transferzoo {tz.__version__}\n", "")


def test_without_arguments_help_is_shown(run):
    _, out, err = run()
    assert "Usage" in out + err


def test_the_list_shows_every_backbone(run):
    _, out, _ = run("list")
    assert set(tz.list_backbones()) <= set(out.split())


def test_the_list_takes_limits(run):
    _, out, _ = run("list", "--max-parameters", "0.5", "--max-macs", "55", "--weights", "published")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names == ["mobilenet_025", "mobilenet_v3_small_minimalistic", "resnet20"]
    code, _, err = run("list", "vgg*", "--max-parameters", "1")
    said = "None of the backbones fits 'vgg*' within the limits given. transferzoo list shows them."
    assert (code, err.strip()) == (2, f"transferzoo: {said}")
    code, _, err = run("list", "--kind", "heads", "--family", "vgg")
    assert (code, err.strip()) == (
        2,
        "transferzoo: --family must be left out unless backbones are listed. Got 'heads'.",
    )


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
    assert "fits 'zzz*'" in err


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
        (["fit", "mobilenet_025"], "--dataset must be a dataset's name, or a folder"),
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


@pytest.mark.medium
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


@pytest.mark.medium
def test_fit_leaves_run_and_plots_in_the_folder(run, digits, tiny, tmp_path):
    code, out, _ = run("fit", tiny, *digits, "--out", str(tmp_path / "run"))
    assert code == 0
    assert str(tmp_path / "run") in out
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "classification-report.txt",
        "confusion.png",
        "confusion_normalized.png",
        "history.csv",
        "history.png",
        "mistakes.png",
        "risk-coverage.png",
        "model.keras",
        "predictions.npz",
        "run.json",
    }


@pytest.mark.medium
def test_fit_may_be_repeated_on_its_own_folder(run, digits, tiny, tmp_path):
    arguments = ["fit", tiny, *digits, "--out", str(tmp_path / "run")]
    run(*arguments)
    assert run(*arguments)[0] == 0


def test_fit_refuses_a_folder_of_something_else(run, digits, tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = run("fit", tiny, *digits, "--out", str(tmp_path))
    assert code == 2
    assert "is a folder that is not empty" in err


@pytest.mark.medium
def test_fit_expands_a_tilde_that_the_shell_left(run, digits, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("fit", tiny, *digits, "--out=~/run")[0] == 0
    assert (tmp_path / "run" / "history.png").is_file()


@pytest.mark.medium
def test_compare_shows_each_model_and_leaves_tables_and_plots(run, digits, tiny, tmp_path):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    code, out, _ = run("compare", tiny, "other", *digits, "--out", str(tmp_path / "study"))
    assert code == 0
    assert {"tiny", "other"} <= set(out.split())
    names = {path.name for path in (tmp_path / "study").iterdir() if not path.name.startswith(".")}
    tables = {"comparison.md", "comparison.csv", "comparison.png", "frontier.png", "images.png", "study.json"}
    assert {name.partition("-")[0] for name in names - tables} == {"tiny", "other"}
    assert tables < names


@pytest.mark.medium
def test_sweep_shows_what_more_images_gain_and_leaves_studies_and_a_plot(run, digits, tiny, tmp_path):
    out = tmp_path / "sweep"
    code, said, err = run("sweep", tiny, *digits, "--train-sizes", "20,60", "--out", str(out))
    assert (code, err) == (0, "")
    assert f"{tiny}: from 20 to 60 training images" in said
    assert said.endswith(f"The studies, the table and its picture are in {out}\n")
    assert {each.name for each in out.iterdir()} == {"train-20", "train-60", "sweep.png", "sweep.txt"}
    # done already: the same call reads it again
    again = run("sweep", tiny, *digits, "--train-sizes", "20,60", "--out", str(out), "--json")
    record = json.loads(again[1])
    assert (again[0], record["by"]) == (0, "train")
    assert [row["train"] for row in record["rows"]] == [20, 60]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give one of --train-sizes and --image-sizes."),
        (["--train-sizes", "20,60", "--image-sizes", "8,16"], "Give one of --train-sizes and --image-sizes."),
        (["--train-sizes", "20"], "--train-sizes must be two or more numbers that differ"),
        (["--train-sizes", "20,20"], "--train-sizes must be two or more numbers that differ"),
        (["--train-sizes", "20,all"], "--train-sizes must be whole numbers with commas"),
        (["--train-sizes", "20,600"], "--train-sizes must be numbers up to 60"),
        (["--image-sizes", "8,16", "--image-size", "8"], "--image-sizes must be given without --image-size"),
    ],
)
def test_a_sweep_over_nothing_or_two_things_is_refused(run, digits, tiny, options, message):
    code, _, err = run("sweep", tiny, *digits, *options)
    assert code == 2
    assert message in err


def test_rank_cross_validates_and_offers_nothing_of_a_training(run, tiny):
    given = ("--dataset", "digits", "--weights", "none", "--train", "60", "--no-cache", "--quiet", "--json")
    code, said, err = run("rank", tiny, *given, "--folds", "3")
    assert code == 0, err
    found = json.loads(said)
    assert (found["folds"], found["train_images"], found["validation_images"]) == (3, 60, 60)
    code, said, _ = run("rank", "--help")
    assert code == 0
    assert "--folds" in said
    assert "Training ─" not in said


@pytest.mark.medium
def test_halving_names_a_winner_and_leaves_its_studies(run, tiny, quick, tmp_path):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    tz.register_recipe(quick)
    out = tmp_path / "halving"
    given = ["--dataset", "digits", "--train", "80", "-w", "none", "-r", "quick", "--quiet"]
    code, said, err = run("halving", tiny, "other", *given, "--no-lint", "--out", str(out))
    assert (code, err) == (0, "")
    assert "test images were not looked at" in said
    assert said.endswith(f"The studies are in {out}\n")
    again = run("halving", tiny, "other", *given, "--no-lint", "--out", str(out), "--json")
    record = json.loads(again[1])
    assert record["winner"] == record["rows"][0]["model"]
    assert {row["model"] for row in record["rows"]} == {tiny, "other"}


def test_one_backbone_alone_is_not_halved(run, tiny):
    code, _, err = run("halving", tiny)
    assert code == 2
    assert "two backbones or more" in err


@pytest.mark.medium
def test_compare_runs_each_seed_and_says_who_beats_whom(run, digits, tiny):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    code, out, _ = run("compare", tiny, "other", *digits, "--seeds", "0,1", "--no-lint")
    assert code == 0
    assert "seeds 0, 1" in out
    assert "not distinguishable" in out or "beats" in out


def test_compare_ends_with_1_where_a_run_failed(run, digits, tiny, monkeypatch):
    def fail(*args, **given):
        raise MemoryError("no memory left")

    monkeypatch.setattr("transferzoo.fitting.train", fail)
    code, out, _ = run("compare", tiny, *digits)
    assert code == 1
    assert "failed: tiny, seed 0: MemoryError: no memory left" in out


@pytest.mark.parametrize("seeds", ["0;1", "a", "0,,1"])
def test_seeds_are_numbers_with_commas(run, digits, tiny, seeds):
    code, _, err = run("compare", tiny, *digits, "--seeds", seeds)
    assert code == 2
    assert "seeds must be whole numbers with commas, such as 0,1,2" in err


@pytest.mark.medium
def test_a_saved_study_is_shown_with_its_verdicts_and_drawn(run, digits, tiny, tmp_path):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    run("compare", tiny, "other", *digits, "--out", str(tmp_path / "study"))
    picture = tmp_path / "frontier.png"
    code, out, _ = run("study", "show", str(tmp_path / "study"), "--cost", "macs", "--out", str(picture))
    assert code == 0
    assert "not distinguishable" in out or "beats" in out
    assert picture.stat().st_size > 5000


@pytest.mark.slow
def test_the_articles_study_leaves_its_ladder(run, tiny, tmp_path):
    out = tmp_path / "audit"
    data = ["-d", "digits", "--train-size", "40", "--test", "40"]
    small = ["--image-size", "64", "-w", "none", "-e", "1", "--seeds", "0", "-q", "--out", str(out)]
    code, said, _ = run("study", "article", tiny, *data, *small)
    assert code == 0
    assert "7. the default recipe" in said
    assert (out / "ladder-tiny.png").stat().st_size > 5000
    assert (out / "ladder.md").read_text().count("| tiny |") == 8


@pytest.mark.medium
def test_the_articles_faults_can_be_asked_for(run, tiny):
    arguments = ["-d", "digits", "--train", "60", "--test", "60", "-w", "none", "-r", "article", "--faithful"]
    code, out, _ = run("fit", tiny, *arguments, "--epochs", "1", "--head", "linear", "-q")
    assert code == 0
    assert "tiny" in out


@pytest.fixture
def told(monkeypatch):
    """What the commands hand to the library, which does nothing."""
    calls = []

    def note(names, data, **options):
        calls.append(options)
        raise tz.errors.InvalidInputError("noted", argument="")

    for name in ("fit_and_evaluate", "compare", "find_learning_rate"):
        monkeypatch.setattr(tz, name, note)
    return calls


GIVEN = {
    "head": "mlp",
    "image_size": 48,
    "stem": "stride1",
    "output_stride": 16,
    "stages": 2,
    "trainable": "top:50%",
    "epochs": 2,
    "batch_size": 8,
    "warmup": 0.1,
    "layer_decay": 0.9,
    "weight_decay": 0.02,
    "label_smoothing": 0.05,
    "batch_norm": "inference",
    "augmentation": "strong",
    "mixup": 0.2,
    "rand_augment": 1,
    "keep": "best",
    "patience": 3,
}


@pytest.mark.parametrize("name", ["fit", "compare", "find-rate"])
def test_options_that_are_given_reach_the_library_and_no_others(run, told, name):
    words = [
        word for option, value in GIVEN.items() for word in (f"--{option.replace('_', '-')}", str(value))
    ]
    run(name, "mobilenet_025", "-d", "digits", "--train", "60", "--test", "60", "-w", "none", *words)
    run(name, "mobilenet_025", "-d", "digits", "--train", "60", "--test", "60")
    given, plain = told
    assert {option: given[option] for option in GIVEN} == GIVEN
    assert given["weights"] is None
    assert set(plain) & {*GIVEN, "weights", "faithful", "learning_rate"} == set()
    assert plain["recipe"] == "default"
    assert plain["cache"] is True


def test_saving_the_model_and_the_cache_can_be_turned_off(run, told):
    run("fit", "mobilenet_025", "-d", "digits", "--no-save-model", "--no-cache", "--learning-rate", "0.1")
    assert (told[0]["save_model"], told[0]["cache"], told[0]["learning_rate"]) == (False, False, 0.1)


@pytest.mark.medium
def test_fit_without_its_model_leaves_the_rest(run, digits, tiny, tmp_path):
    code, out, _ = run("fit", tiny, *digits, "--no-save-model", "--out", str(tmp_path / "run"))
    assert code == 0
    assert "model" not in out.splitlines()[-1].replace(str(tmp_path), "")
    assert not (tmp_path / "run" / "model.keras").exists()
    assert (tmp_path / "run" / "predictions.npz").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--augmentation", "stong"], "Did you mean 'strong'?"),
        (["--batch-norm", "frozen"], "--batch-norm must be"),
        (["--stem", "stride2"], "stem must be"),
        (["--keep", "bset"], "Did you mean 'best'?"),
        (["--patience", "-1"], "patience must be a whole number of 1 or more"),
        (["--trainable", "top:0%"], "trainable must be"),
    ],
)
def test_a_wrong_value_gets_the_librarys_own_words(run, tiny, digits, words, message):
    code, _, err = run("fit", tiny, *digits, *words)
    assert code == 2
    assert message in err


@pytest.mark.medium
def test_find_rate_prints_its_suggestion_and_leaves_curve_and_figures(run, digits, tiny, tmp_path):
    code, out, _ = run("find-rate", tiny, *digits, "--steps", "20", "--out", str(tmp_path / "rates"))
    assert code == 0
    assert out.startswith("suggested learning rate ")
    curve = json.loads((tmp_path / "rates" / "learning-rate.json").read_text())
    assert len(curve["rates"]) == len(curve["losses"]) <= 20
    assert (tmp_path / "rates" / "learning-rate.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupt_in_training_says_what_the_library_says(run, digits, tiny, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt("All is saved; the same call continues.")

    monkeypatch.setattr(tz, "fit_and_evaluate", interrupt)
    code, _, err = run("fit", tiny, *digits)
    assert (code, err) == (130, "transferzoo: All is saved; the same call continues.\n")


def test_an_interrupt_without_words_names_an_earlier_checkpoint(run, digits, tiny, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(tz, "fit_and_evaluate", interrupt)
    arguments = ["fit", tiny, *digits, "--out", str(tmp_path)]
    assert run(*arguments)[2] == "transferzoo: Interrupted; nothing of the unfinished run was saved.\n"
    (tmp_path / "checkpoint.npz").touch()
    assert "A checkpoint is in" in run(*arguments)[2]


def test_find_rate_refuses_a_file_for_its_folder_before_it_trains(run, digits, tiny, told, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = run("find-rate", tiny, *digits, "--out", str(tmp_path / "notes.txt"))
    assert (code, told) == (2, [])
    assert "out must be a folder" in err


def test_patience_can_be_taken_from_a_recipe(run, told):
    run("fit", "mobilenet_025", "-d", "digits", "--patience", "none")
    run("fit", "mobilenet_025", "-d", "digits", "--mixup", "0")
    assert told[0]["patience"] is None
    assert "patience" not in told[1]
    assert told[1]["mixup"] == 0


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    out = tmp_path / "run"
    words = ["fit", "mobilenet_025", "-d", "digits", "--train", "400", "--test", "60", "-w", "none"]
    words = [*words, "--image-size", "input", "--epochs", "30", "--no-save-model", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "transferzoo.cli", *words], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not (out / "checkpoint.npz").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same call continues from there" in err
    assert "Traceback" not in err
    assert {path.name for path in out.iterdir()} == {"checkpoint.npz"}
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert len(tz.Result.load(out).history["loss"]) == 30


@pytest.mark.slow
def test_the_demo_needs_no_network_and_leaves_a_study(tmp_path):
    done = command("demo", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "transfer.png").stat().st_size > 10_000
    studies = {size: tz.Study.load(tmp_path / "demo" / f"train-{size}") for size in (20, 50, 100)}
    for study in studies.values():
        assert study.names == ("pretrained", "from-scratch")
        assert len(study) == 6
    for size in (20, 50):
        gain = tz.statistics.difference(*(studies[size].correct(name) for name in studies[size].names))
        assert gain.low > 0
    assert "near chance" not in done.stderr
    assert "resnet20 gains from CIFAR-10's weights" in done.stdout


@pytest.fixture
def photos(tmp_path):
    """Ten photos of each of two classes, one of them broken, and a table of the others."""
    from PIL import Image

    lines = ["file,kind"]
    for name, colour in (("leaf", "green"), ("rose", "red")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (90, 40), colour).save(tmp_path / "photos" / name / f"{number}.png")
            lines.append(f"photos/{name}/{number}.png,{name}")
    (tmp_path / "photos" / "leaf" / "broken.png").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


QUICK = ["-w", "none", "-r", "linear_probe", "--image-size", "input", "--no-cache", "--quiet", "--no-lint"]


def read(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.medium
def test_photos_are_read_as_the_options_say(run, tiny, photos, monkeypatch):
    monkeypatch.chdir(photos)
    options = ["--skip-unreadable", "--read-size", "24", "--resize", "pad", "--background", "black"]
    options += ["--test-share", "4", "--classes", "rose,leaf", "--no-flips"]
    code, _, _ = run("fit", tiny, "-d", "photos", *options, *QUICK, "--out", "run")
    assert code == 0
    record = read(photos / "run")
    (call,) = record["provenance"]["call"]["data"]
    made = call["from_directory"]
    expected = {
        "image_size": [24, 24],
        "resize": "pad",
        "background": "black",
        "test": 4,
        "flip_safe": False,
    }
    assert {key: made[key] for key in expected} == expected
    assert record["class_names"] == ["rose", "leaf"]
    assert record["provenance"]["left_out"] == {"unreadable": 1}
    assert record["settings"]["data"]["test"] == 4


def test_a_broken_photo_ends_the_call_with_its_name(run, tiny, photos):
    code, _, err = run("fit", tiny, "-d", str(photos / "photos"), *QUICK)
    assert code == 2
    assert "broken.png" in err
    assert "--skip-unreadable" in err


@pytest.mark.medium
def test_a_table_is_read(run, tiny, photos):
    columns = ["--image-column", "file", "--label-column", "kind"]
    out = photos / "run"
    code, _, _ = run("fit", tiny, "--table", str(photos / "labels.csv"), *columns, *QUICK, "--out", str(out))
    assert code == 0
    assert read(out)["class_names"] == ["leaf", "rose"]


@pytest.mark.medium
def test_a_path_alone_is_a_folder(run, tiny, photos):
    folder = str(photos / "photos")
    code, out, _ = run("fit", tiny, "--path", folder, "--skip-unreadable", *QUICK)
    assert (code, "tiny" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["-d", "digits", "--read-size", "32"], "write --dataset ./digits"),
        (
            ["-d", "{photos}/photos", "--path", "{photos}"],
            "--path must be left out",
        ),
        (["-d", "digits", "--table", "{photos}/labels.csv"], "--dataset must be left out with --table"),
        (["-d", "digits", "--root", "{photos}"], "--root must be given together with --table"),
        (["-d", "cifar10", "--path", "{photos}/photos"], "to read photos of your own, pass their folder"),
        (["-d", "{photos}/nowhere"], "--dataset must be an existing folder"),
        (["-d", "{photos}/photos", "--layout", "class"], "Did you mean 'classes'"),
        (["--table", "{photos}/labels.csv"], "Name it with image="),
        (["-d", "digitz"], "Nor is there a folder of that name"),
    ],
)
def test_options_that_contradict_each_other_are_refused(run, tiny, photos, arguments, part):
    code, _, err = run("fit", tiny, *(each.format(photos=photos) for each in arguments), *QUICK)
    assert code == 2
    assert part in err


@pytest.mark.medium
def test_a_name_goes_before_a_folder_and_that_is_said(run, tiny, photos, monkeypatch, caplog):
    (photos / "photos").rename(photos / "digits")
    monkeypatch.chdir(photos)
    code, _, _ = run("fit", tiny, "-d", "digits", *QUICK, "--train", "40", "--test", "20")
    assert code == 0
    assert "--dataset ./digits for the folder" in caplog.text
    code, _, _ = run("fit", tiny, "-d", "./digits", "--skip-unreadable", *QUICK)
    assert code == 0


@pytest.mark.parametrize("arguments", [[], ["cache"]])
def test_a_command_without_arguments_shows_its_help_and_no_more(run, arguments):
    code, out, err = run(*arguments)
    assert (code, err) == (2, "")
    assert "Usage: transferzoo" in out


@pytest.mark.medium
def test_json_is_all_that_standard_output_holds(run, tmp_path):
    arguments = [
        "fit",
        "mobilenet_025",
        "-d",
        "digits",
        "-w",
        "none",
        "-r",
        "linear_probe",
        "--train",
        "50",
        "--test",
        "50",
        "--json",
        "--out",
    ]
    code, out, err = run(*arguments, str(tmp_path / "run"))
    assert code == 0
    record = json.loads(out)
    assert record["name"] == "mobilenet_025"
    low, high = record["accuracy_interval"]
    assert low < record["accuracy"] < high
    assert record["test_images"] == 50
    assert "features of 50 training images" in err

    code, out, _ = run("show", str(tmp_path / "run"), "--json")
    assert json.loads(out) == {**record, "folder": str(tmp_path / "run")}

    code, out, _ = run("show", str(tmp_path / "run"))
    assert code == 0
    assert out.startswith("mobilenet_025: accuracy ")
    assert "precision" in out


@pytest.mark.medium
def test_a_comparison_is_json_too(run):
    arguments = (
        "compare mobilenet_025 mobilenet_v2_035 -d digits -w none -r linear_probe --train 50 --test 50"
    )
    code, out, _ = run(*arguments.split(), "--json", "--quiet")
    assert code == 0
    record = json.loads(out)
    assert {row["model"] for row in record["models"]} == {"mobilenet_025", "mobilenet_v2_035"}
    assert len(record["runs"]) == 2
    assert len(record["comparisons"]) == 1
    assert record["verdicts"]


@pytest.mark.parametrize("kind", ["backbones", "heads", "datasets", "recipes"])
def test_lists_and_facts_are_json_too(run, kind):
    listed = json.loads(run("list", "--kind", kind, "--json")[1])
    assert [each["name"] for each in listed] == list(getattr(tz, f"list_{kind}")())
    assert listed[0] in json.loads(run("info", listed[0]["name"], "--json")[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fit mobilenet -d digits --epochs 0", "--epochs must be a whole number of 1 or more. Got 0."),
        ("fit mobilenet -d digits --learning-rate 0", "--learning-rate must be"),
        ("fit mobilenet -d digits --stem strid1", "--stem must be"),
        ("fit mobilenet -d no-such-folder", "No dataset named 'no-such-folder'"),
        ("fit mobilnet -d digits", "transferzoo list shows all"),
        ("compare mobilenet vgg16 -d digits --keep worst", "--keep must be"),
    ],
)
def test_wrong_values_are_refused_before_keras_is_loaded(arguments, words):
    code = (
        "import sys\nfrom transferzoo.cli import run\n"
        f"code = run({arguments.split()!r})\nprint('keras' in sys.modules)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == "False\n"


def test_a_shell_can_complete_backbones():
    environment = {
        **os.environ,
        "_TRANSFERZOO_COMPLETE": "complete_bash",
        "COMP_WORDS": "transferzoo fit mobilenet_v2",
        "COMP_CWORD": "2",
    }
    code = "from transferzoo.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == list(tz.list_backbones("mobilenet_v2*"))


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["cache", "clear", "--help"]])
def test_help_shows_flags_without_a_type(run, arguments):
    code, out, _ = run(*arguments)
    assert code == 0
    assert "<bool>" not in out


def test_a_folder_that_is_misspelt_gets_the_nearest_one(run, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    code, _, err = run("fit", "mobilenet", "-d", "photo")
    assert code == 2
    assert err.rstrip().endswith("Nor is there a folder of that name. Did you mean the folder 'photos'?")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Pass image_size=96 or stem='stride1'.", "Pass --image-size 96 or --stem stride1."),
        ("Leave weights=None out; faithful=True stays.", "Leave --weights none out; --faithful stays."),
        ("tz.Phase(optimizer='sgd', epochs=3)", "tz.Phase(optimizer='sgd', epochs=3)"),
        ("patience must be 1 or more.", "--patience must be 1 or more."),
    ],
)
def test_the_librarys_sentences_name_options_as_a_shell_has_them(said, shown):
    options = {"--image-size", "--stem", "--weights", "--faithful", "--patience", "--epochs"}
    assert in_shell(said, "patience", options) == shown


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["fit", "--test", "0", "-d", "digits"], "--test"),
        (["fit", "--test-share=0", "-d", "photos"], "--test-share"),
        (["fit", "-d", "photos"], "--test-share"),
    ],
)
def test_of_two_options_for_one_argument_the_one_that_was_given_is_named(arguments, option):
    assert in_shell("test must be more.", "test", {"--test", "--test-share"}, arguments).startswith(
        f"{option} must"
    )


def test_an_argument_that_is_no_option_of_the_command_keeps_its_name():
    assert in_shell("model must be a name.", "model", {"--out"}) == "model must be a name."
