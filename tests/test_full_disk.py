"""A disk that is really full: checkpoints, results, features and downloads on a file system in memory."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TRIAL = textwrap.dedent(
    """
    import http.server
    import logging
    import os
    import sys
    import threading
    from pathlib import Path

    import numpy as np

    disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, {tests!r})
    os.environ["TRANSFERZOO_CACHE"] = str(disk / "cache")

    import transferzoo as tz
    from conftest import QUICK, make_tiny
    from transferzoo.errors import DownloadError, OutputError
    from transferzoo.ground.storage.downloads import download

    said = []

    class Listen(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    logging.getLogger("transferzoo").addHandler(Listen())


    def fill(left):
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize - left))


    def visible(folder):
        return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


    options = {{"minimum_size": 8, "default_size": 32, "feature_channels": 16}}
    tz.register_backbone("tiny", make_tiny, **options)
    data = tz.load_dataset("digits").subset(train=100, validation=50, test=50, seed=0)
    given = {{"recipe": QUICK, "weights": None, "verbose": False, "lint": False}}

    # room for the lock, and neither for a checkpoint nor for the results
    fill(12_000)
    try:
        tz.fit_and_evaluate("tiny", data, out=disk / "run", **given)
        raise SystemExit("a run was saved on a full disk")
    except OutputError as error:
        assert "No space left on device. Free some space" in str(error), error
    assert any("a checkpoint could not be written" in each for each in said), said
    assert visible(disk / "run") in ([], [".checkpoint.npz"]), visible(disk / "run")

    # the same call, once there is room
    (disk / "filler").unlink()
    again = tz.fit_and_evaluate("tiny", data, out=disk / "run", **given)
    reference = tz.fit_and_evaluate("tiny", data, out=elsewhere / "run", **given)
    assert np.array_equal(again.y_prob, reference.y_prob)
    assert visible(disk / "run") == visible(elsewhere / "run")

    # features go to memory
    said.clear()
    fill(4_000)
    probe = tz.fit_and_evaluate(
        "mobilenet_025", data, weights=None, recipe="linear_probe", lint=False, verbose=False
    )
    assert len(probe.y_prob) == 50
    assert any("features" in each for each in said), said
    kept = [each for each in (disk / "cache").rglob("*") if each.is_file() and each.suffix != ".lock"]
    assert kept == [], kept


    # a download says why it failed, and goes through once there is room
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "200000")
            self.end_headers()
            self.wfile.write(bytes(200_000))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{{server.server_address[1]}}/file.bin"
    try:
        download(url, disk / "file.bin", None, what="a file")
        raise SystemExit("a file was downloaded to a full disk")
    except DownloadError as error:
        assert "No space left" in str(error), error
    assert not (disk / "file.bin").exists()
    (disk / "filler").unlink()
    assert download(url, disk / "file.bin", None, what="a file").stat().st_size == 200_000
    print("all of it")
    """
)


@pytest.mark.slow
def test_a_full_disk_costs_no_result_and_leaves_nothing_half_written(tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    script = tmp_path / "trial.py"
    script.write_text(TRIAL.format(tests=str(Path(__file__).parent)))
    for name in ("disk", "elsewhere"):
        (tmp_path / name).mkdir()
    mount = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$1" "$4"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", tmp_path / "disk", sys.executable, script,
         tmp_path / "elsewhere"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "all of it\n"), done.stderr
