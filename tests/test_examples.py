"""The examples run as they are shown, without a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import transferzoo as tz

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TINY = ("--train", "100", "--test", "50", "--epochs", "1")


def run(script, folder, *options):
    """Run an example in `folder` and return what it printed."""
    environment = {
        **os.environ,
        # an empty cache: whatever would be downloaded is missed
        "KERAS_HOME": str(folder / "keras"),
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    call = [sys.executable, str(EXAMPLES / script), *options]
    done = subprocess.run(
        call, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(folder.glob("keras/models/*"))
    return done.stdout


def test_the_quick_start_compares_two_backbones_and_run_again_trains_nothing(tmp_path):
    printed = run("quickstart.py", tmp_path, *TINY)
    out = tmp_path / "runs" / "quickstart"
    assert "100 training, 288 validation, 50 test images" in printed
    assert "weighted avg" in printed
    assert printed.count("was taken for") == 5
    assert {result.name for result in tz.Study.load(out).results} == {"mobilenet_025", "mobilenet_v2_035"}
    assert (out / "comparison.png").stat().st_size > 1000
    assert (out / "best_confusion.png").stat().st_size > 1000
    (record,) = out.glob("mobilenet_025-*/run.json")
    written = record.stat().st_mtime_ns
    assert run("quickstart.py", tmp_path, *TINY) == printed
    assert record.stat().st_mtime_ns == written


OFFLINE = (
    "--weights",
    "none",
    "--recipe",
    "linear_probe",
    "--backbones",
    "mobilenet_025",
    "mobilenet_v2_035",
)


def test_your_photos_makes_both_folders_of_a_dataset(tmp_path):
    printed = run("your_photos.py", tmp_path, "--export", "digits", "--per-class", "20", *OFFLINE)
    assert "photos: 10 classes, images of 32×32×3" in printed
    assert len(list((tmp_path / "photos" / "7").glob("*.png"))) == 20
    assert {result.name for result in tz.Study.load(tmp_path / "runs" / "photos").results} == set(
        OFFLINE[-2:]
    )
    assert printed.count("new-photos/new-") == 12
    assert (tmp_path / "runs" / "photos" / "predictions.png").stat().st_size > 1000


def test_your_photos_reads_the_folders_it_is_given(tmp_path):
    from PIL import Image

    for colour in ("green", "red"):
        (tmp_path / "mine" / colour).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (40, 36), colour).save(tmp_path / "mine" / colour / f"{number}.png")
    printed = run("your_photos.py", tmp_path, "mine", "--new", "mine/red", *OFFLINE)
    assert "mine: 2 classes, images of 36×40×3" in printed
    assert printed.count("mine/red/") >= 10


def test_what_is_registered_in_an_example_is_compared_like_the_rest(tmp_path):
    printed = run("own_backbone_and_head.py", tmp_path, *TINY)
    study = tz.Study.load(tmp_path / "runs" / "own")
    assert "recipe 'plain_sgd'" in printed
    assert study["small_cnn"].settings["model"]["head"] == "pooled_mlp"
    assert (tmp_path / "runs" / "own" / "accuracy_against_cost.png").exists()


def test_heads_share_the_features_of_one_backbone(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFERZOO_CACHE", str(tmp_path / "cache"))
    printed = run("heads_on_cached_features.py", tmp_path, *TINY)
    out = tmp_path / "runs" / "heads"
    results = [tz.Result.load(out / name) for name in ("linear", "mlp", "narrow", "deep")]
    assert {result.settings["recipe"]["name"] for result in results} == {"linear_probe", "head"}
    assert len({result.settings["model"]["weights_sha256"] for result in results}) == 1
    # of the training images and of the validation images
    store = tz.FeatureStore(tmp_path / "cache" / "features")
    used = [entry.last_used for entry in store.entries()]
    assert len(used) == 2
    assert run("heads_on_cached_features.py", tmp_path, *TINY) == printed
    assert [entry.last_used for entry in store.entries()] == used


@pytest.mark.parametrize("faithful", [False, True])
def test_the_article_s_study_runs_in_miniature(tmp_path, faithful):
    options = ("--backbones", "mobilenet_025", "--out", "study", *(["--faithful"] if faithful else []))
    printed = run("article_study.py", tmp_path, *TINY, *options)
    result = tz.Study.load(tmp_path / "study")["mobilenet_025"]
    assert ("recipe 'article' (faithful)" in printed) is faithful
    assert result.settings["model"]["preprocessing"] == ("none" if faithful else "backbone")
    assert result.settings["model"]["head"] == "article_mobilenet"
    pictures = {path.name for path in (tmp_path / "study").glob("*.png")}
    assert pictures == {
        "images.png",
        "mobilenet_025_history.png",
        "mobilenet_025_confusion.png",
        "mobilenet_025_confusion_normalized.png",
    }


@pytest.mark.slow
def test_the_article_s_study_compares_both_of_its_backbones(tmp_path):
    printed = run("article_study.py", tmp_path, *TINY)
    assert "recipe 'article', seed 0" in printed
    study = tz.Study.load(tmp_path / "runs" / "article")
    assert study["resnet50"].settings["model"]["head"] == "article_resnet50"


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_says_what_it_shows_and_how_to_run_it(script):
    text = (EXAMPLES / script).read_text(encoding="utf-8")
    docstring = text.split('"""')[1]
    assert f"python examples/{script}" in docstring
    assert "network" in docstring
