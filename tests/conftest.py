"""Fixtures that several rooms' tests share."""

import os

# read once, when TensorFlow and matplotlib are first imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "Agg"

import contextlib
import gc
import http.server
import logging
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import transferzoo as tz
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.data.catalog import DATASETS
from transferzoo.heads import HEADS
from transferzoo.recipes.catalog import RECIPES

ON_TORCH = os.environ.get("KERAS_BACKEND") == "torch"
OUT_OF_TIME = "the time was over"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser):
    """Add what tests as many as time allows."""
    parser.addoption(
        "--until",
        type=float,
        metavar="TIME",
        help="from this time on (seconds since 1970) no further test is begun; files come in another order "
        "each day, so that other ones are left out",
    )


def pytest_collection_modifyitems(config, items):
    """Begin with the longest tests, so that no process waits for them at the end; or with any files."""
    until = config.getoption("until")
    if until is None:
        items.sort(key=lambda item: item.path.name != "test_accuracy.py")
        return
    files = sorted({item.path for item in items})
    # of the day on which time is over, as processes that test side by side must agree on the order
    random.Random(int(until // 86_400)).shuffle(files)
    items.sort(key=lambda item: files.index(item.path))


def pytest_runtest_setup(item):
    """Begin no test when time is over."""
    until = item.config.getoption("until")
    if until is not None and time.time() > until:
        pytest.skip(OUT_OF_TIME)


def pytest_terminal_summary(terminalreporter):
    """Name the files of which tests were left out."""
    left_out = [
        report.nodeid.split("::")[0]
        for report in terminalreporter.stats.get("skipped", [])
        if OUT_OF_TIME in str(report.longrepr)
    ]
    if left_out:
        counts = ", ".join(f"{file} {count}" for file, count in sorted(Counter(left_out).items()))
        terminalreporter.write_line(f"{len(left_out)} tests left out, as the time was over: {counts}")


@pytest.fixture(autouse=True)
def everything_put_back():
    """Names that a test registers, figures that it draws, and the logger's level do not outlive it."""
    registries = (BACKBONES, DATASETS, HEADS, RECIPES)
    records = [dict(registry._records) for registry in registries]
    level = logging.getLogger("transferzoo").level
    yield
    logging.getLogger("transferzoo").setLevel(level)
    for registry, kept in zip(registries, records, strict=True):
        registry._records.clear()
        registry._records.update(kept)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    """A mirror that the user has set does not answer for a test's server."""
    monkeypatch.delenv("TRANSFERZOO_MIRROR", raising=False)


@pytest.fixture(scope="session", autouse=True)
def imports_left_alone_by_the_collector():
    """Runs and models collect garbage; half a million objects of the imports need no second look."""
    import keras  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def features_kept_apart(tmp_path_factory):
    """No test, nor a process that it starts, reads or fills the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_home(request):
    """A folder laid out like KERAS_HOME: datasets/cifar10.npz and models/*.h5, all of them real."""
    if not (SHARED / "unpack.py").is_file():
        pytest.skip("the real images and weights are not beside this checkout")
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir("shared-data") if cache else tempfile.mkdtemp(prefix="shared-data-"))
    home = folder / "home"
    if not home.is_dir():
        part = Path(tempfile.mkdtemp(prefix="part-", dir=folder))
        try:
            subprocess.run([sys.executable, SHARED / "unpack.py", part], check=True, capture_output=True)
            part.rename(home)
        except OSError:
            # another process of the same tests was first
            if not home.is_dir():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return home


@pytest.fixture
def real_weights(monkeypatch, shared_home):
    """Published weights are found in the cache, as after a download."""
    monkeypatch.setenv("KERAS_HOME", str(shared_home))
    return shared_home / "models"


@pytest.fixture(scope="session")
def tiny_digits():
    """100 training, 50 validation and 50 test scans of digits, 32×32×3."""
    return tz.load_dataset("digits").subset(train=100, validation=50, test=50, seed=0)


# one of each kind of preprocessing that is built in less than half a second
FAST_BACKBONES = ("alexnet", "mobilenet_025", "mobilenet_v3_small_minimalistic", "resnet20")


def each_backbone(*, leaving_out=()):
    """Every backbone as a test's parameter: few are fast, one of each family slow, the others thorough."""
    seen, parameters = set(), []
    for name in sorted(tz.list_backbones(), key=lambda name: tz.backbone_info(name).parameters):
        family = tz.backbone_info(name).family
        marks = () if name in FAST_BACKBONES else (pytest.mark.slow,)
        if marks and family in seen:
            marks = (pytest.mark.slow, pytest.mark.thorough)
        seen.add(family)
        if "not build it on torch" in tz.backbone_info(name).note:
            marks = (*marks, pytest.mark.skipif(ON_TORCH, reason="Keras does not build it on torch"))
        if name not in leaving_out:
            parameters.append(pytest.param(name, marks=marks))
    return parameters


def make_tiny(input_shape=(32, 32, 3)):
    """A real network that builds in milliseconds: two convolutions, each with BatchNorm."""
    import keras
    from keras import layers

    x = images = keras.Input(input_shape)
    for number, filters in enumerate((8, 16), 1):
        x = layers.Conv2D(filters, 3, strides=2, use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"bn{number}", momentum=0.99)(x)
        x = layers.Activation("relu", name=f"relu{number}")(x)
    return keras.Model(images, x)


@contextlib.contextmanager
def tiny_registered():
    """Register the backbone `tiny` while the block lasts: for fixtures that live longer than a test."""
    records = dict(BACKBONES._records)
    options = {"minimum_size": 8, "default_size": 32, "feature_channels": 16}
    tz.register_backbone("tiny", make_tiny, replace=True, **options)
    yield "tiny"
    BACKBONES._records.clear()
    BACKBONES._records.update(records)


@pytest.fixture
def tiny():
    """The name of a small registered backbone: 32×32 images to 7×7×16 features."""
    with tiny_registered() as name:
        yield name


@pytest.fixture
def tiny_weights(tmp_path):
    """A weights file for `tiny`."""
    import keras

    path = tmp_path / "tiny.weights.h5"
    keras.utils.set_random_seed(7)
    make_tiny().save_weights(path)
    return path


QUICK = tz.Recipe(
    name="quick",
    description="one short phase",
    phases=(tz.Phase(name="all", epochs=1, learning_rate=0.01),),
)


@pytest.fixture
def quick():
    """A recipe of one short phase for any weights."""
    return QUICK


@pytest.fixture(scope="session")
def short_runs(tmp_path_factory, tiny_digits):
    """Saved runs of `tiny` with `quick`, each trained once; they are for copying and not to be changed."""
    made = {}

    def get(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            out = tmp_path_factory.mktemp("short") / "run"
            given = {"recipe": QUICK, "weights": None, "verbose": False, "lint": False, **options}
            with tiny_registered():
                tz.fit_and_evaluate("tiny", tiny_digits, out=out, **given)
            made[key] = out
        return made[key]

    return get


@pytest.fixture
def saved_run(tiny, short_runs):
    """A function that puts a finished run into a folder and returns the folder; it trains at most once."""
    # made before the test begins, which may have forbidden all training
    short_runs()

    def put(folder, **options):
        shutil.copytree(short_runs(**options), folder)
        return folder

    return put


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, body = self.server, self.server.files.get(self.path)
        server.asked.append(self.path)
        server.ranges.append(self.headers.get("Range"))
        if server.delay:
            server.released.wait(server.delay)
        status, start = (200, 0) if body is not None else (404, 0)
        body = body or b""
        wanted = self.headers.get("Range")
        if wanted and server.knows_ranges and status == 200:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
        if server.status:
            status = server.status
        self.send_response(status)
        self.send_header("Content-Type", server.content_type)
        sent = body[start:]
        self.send_header("Content-Length", str(len(sent) + server.withheld))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            sent = sent[: len(sent) // 2]
            self.close_connection = True
        self.wfile.write(sent)

    def log_message(self, *args):
        pass


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files`, path to bytes.

    Promises `withheld` bytes more than it sends; breaks off `breaks` answers half way; sends a part of a
    file if `knows_ranges`; answers with `status` and `content_type`, after `delay` seconds.
    """

    def handle_error(self, request, client_address):
        # a client that is under test may hang up at any moment
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = {}
        self.asked = []
        self.ranges = []
        self.withheld = self.breaks = self.delay = 0
        self.knows_ranges = True
        self.status = None
        self.content_type = "application/octet-stream"
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def file_server():
    """A real HTTP server on the loopback interface."""
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_url():
    """An address where nobody listens."""
    with FileServer() as server:
        return server.url
