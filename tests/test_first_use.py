"""The main job on a machine that has nothing yet: weights and CIFAR-10 are fetched on the way."""

import dataclasses
import hashlib
import io
import os
import pickle
import pty
import re
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

import transferzoo as tz
from conftest import make_tiny
from transferzoo.data.cifar import SOURCES
from transferzoo.ground.progress import Progress, TerminalProgress

ARCHIVE = "/cifar-10-python.tar.gz"
WEIGHTS = "/tiny.weights.h5"


def cifar_archive():
    """A small archive of CIFAR-10's form: 20 images in each of six batches."""
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name in (*SOURCES["cifar10"].train, *SOURCES["cifar10"].test):
            pixels = rng.integers(0, 256, (20, 3072), dtype="uint8")
            batch = pickle.dumps({b"data": pixels, b"labels": [i % 10 for i in range(20)]})
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(batch)
            tar.addfile(member, io.BytesIO(batch))
    return stream.getvalue()


def publish(url, archive_digest, weights_digest):
    """Let 'tiny' and 'cifar10' be published at an address."""
    weights = tz.Weights(
        name="imagenet",
        url=f"{url}{WEIGHTS}",
        hash=f"sha256:{weights_digest}",
        trained_on="nothing",
        licence="none",
        source="a test",
    )
    tz.register_backbone("tiny", make_tiny, weights=[weights], minimum_size=8, default_size=32, replace=True)
    SOURCES["cifar10"] = dataclasses.replace(SOURCES["cifar10"], url=f"{url}{ARCHIVE}", sha256=archive_digest)


@pytest.fixture
def new_machine(file_server, tiny_weights, tmp_path, monkeypatch):
    """A server with both files, and an empty cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    file_server.files = {ARCHIVE: cifar_archive(), WEIGHTS: tiny_weights.read_bytes()}
    digests = [hashlib.sha256(file_server.files[name]).hexdigest() for name in (ARCHIVE, WEIGHTS)]
    monkeypatch.setitem(SOURCES, "cifar10", SOURCES["cifar10"])
    publish(file_server.url, *digests)
    file_server.digests = digests
    return file_server


QUICK = {"recipe": "linear_probe", "image_size": "input", "cache": False}


@pytest.mark.medium
@pytest.mark.parametrize("verbose", [True, False], ids=["progress", "quiet"])
@pytest.mark.parametrize(
    "job",
    [
        pytest.param(lambda v: tz.fit_and_evaluate("tiny", "cifar10", **QUICK, verbose=v), id="fit"),
        pytest.param(
            lambda v: tz.compare({"a": "tiny", "b": "tiny"}, "cifar10", **QUICK, verbose=v), id="compare"
        ),
        pytest.param(
            lambda v: tz.find_learning_rate("tiny", "cifar10", steps=20, image_size="input", verbose=v),
            id="find_learning_rate",
        ),
        pytest.param(lambda v: tz.rank(["tiny"], "cifar10", cache=False, verbose=v), id="rank"),
    ],
)
def test_a_call_fetches_weights_and_images(new_machine, capsys, monkeypatch, job, verbose):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    assert job(TerminalProgress() if verbose else False)
    assert sorted(new_machine.asked) == [ARCHIVE, WEIGHTS]
    shown = capsys.readouterr().err
    for what in ("downloading CIFAR-10", "downloading the imagenet weights of tiny"):
        assert (what in shown) == verbose
    assert bool(re.search(r"\d+\.\d/\d+\.\d MB|kB", shown)) == verbose


@pytest.mark.parametrize("progress", [None, Progress()])
def test_build_and_extract_features_fetch_weights(new_machine, progress):
    model = tz.build("tiny", 10, progress=progress)
    images = tz.load_dataset("cifar10").x_test
    assert tz.extract_features(model, images, store=False).shape == (20, 16)
    assert sorted(new_machine.asked) == [ARCHIVE, WEIGHTS]


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_first_use import publish
publish({url!r}, *{digests!r})
from transferzoo.cli import main
sys.argv = ["transferzoo", *{arguments!r}]
main()
"""


@pytest.mark.medium
@pytest.mark.parametrize(("command", "quiet"), [("fit", False), ("compare", True)])
def test_the_command_line_fetches_weights_and_images(new_machine, tmp_path, command, quiet):
    arguments = [command, "tiny", "--dataset", "cifar10", "--recipe", "linear_probe", "--no-cache"]
    script = SCRIPT.format(
        tests=str(Path(__file__).parent),
        url=new_machine.url,
        digests=new_machine.digests,
        arguments=[*arguments, "--image-size", "input", *(["--quiet"] if quiet else [])],
    )
    terminal, theirs = pty.openpty()
    shown = []

    def listen():
        while True:
            try:
                block = os.read(terminal, 4096)
            except OSError:  # the other end was closed
                return
            if not block:
                return
            shown.append(block)

    listener = threading.Thread(target=listen)
    listener.start()
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160", "TERM": "xterm", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    listener.join()
    os.close(terminal)
    said = b"".join(shown).decode(errors="replace")
    assert ran.returncode == 0, said
    assert "tiny" in ran.stdout
    assert sorted(new_machine.asked) == [ARCHIVE, WEIGHTS]
    assert ("downloading CIFAR-10" in said) == (not quiet)


@pytest.mark.medium
def test_a_mirror_serves_both(new_machine, closed_url, monkeypatch):
    monkeypatch.setenv("TRANSFERZOO_MIRROR", new_machine.url)
    publish(closed_url, *new_machine.digests)
    assert tz.fit_and_evaluate("tiny", "cifar10", **QUICK, verbose=False)
    assert sorted(new_machine.asked) == [ARCHIVE, WEIGHTS]
