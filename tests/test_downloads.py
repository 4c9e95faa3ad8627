import hashlib
import logging

import pytest

from transferzoo.errors import DownloadError
from transferzoo.ground.progress import Progress, Task
from transferzoo.ground.storage import downloads
from transferzoo.ground.storage.downloads import download

BODY = bytes(range(256)) * 4000
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class Counted(Progress, Task):
    """A display that remembers what it was told."""

    def __init__(self):
        self.tasks, self.done, self.total = [], 0, None

    def task(self, description, total=None, *, unit="steps"):
        import contextlib

        self.tasks.append((description, unit))
        return contextlib.nullcontext(self)

    def advance(self, steps=1):
        self.done += steps

    def restart(self, done, total):
        self.done, self.total = done, total


@pytest.fixture
def served(file_server):
    file_server.files["/a.h5"] = BODY
    return file_server


def fetch(server, folder, known_hash=SHA256, **options):
    return download(f"{server.url}/a.h5", folder / "a.h5", known_hash, what="the weights of x", **options)


def reason(server, folder, known_hash=SHA256):
    with pytest.raises(DownloadError) as caught:
        fetch(server, folder, known_hash)
    return str(caught.value).partition("Reason: ")[2]


@pytest.mark.parametrize("known_hash", [SHA256, None])
def test_a_download_arrives_whole_and_alone(served, tmp_path, known_hash):
    path = fetch(served, tmp_path / "models", known_hash)
    assert path.read_bytes() == BODY
    assert list(path.parent.iterdir()) == [path]


def test_a_download_shows_its_bytes_out_of_all(served, tmp_path):
    display = Counted()
    fetch(served, tmp_path, progress=display)
    assert display.tasks == [("downloading the weights of x", "bytes")]
    assert (display.done, display.total) == (len(BODY), len(BODY))


def test_a_terminal_shows_bytes_share_and_time_left(capsys, monkeypatch):
    import re

    from transferzoo.ground.progress import TerminalProgress

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with TerminalProgress().task("downloading CIFAR-10", unit="bytes") as task:
        task.restart(0, 170_000_000)
        task.advance(85_000_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "50%" in shown
    assert "85.0/170.0 MB" in shown
    assert re.search(r"-:--:--|\d:\d\d:\d\d", shown)


def test_a_broken_download_goes_on_where_it_stopped_within_one_call(served, tmp_path):
    served.breaks = 1
    assert fetch(served, tmp_path).read_bytes() == BODY
    first, second = served.ranges
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= len(BODY) // 2


def test_a_broken_download_goes_on_where_it_stopped_in_a_later_call(served, tmp_path):
    served.breaks = 100
    assert "The connection broke after" in reason(served, tmp_path)
    have = (tmp_path / ".a.h5.part").stat().st_size
    assert 0 < have < len(BODY)
    served.breaks, served.ranges = 0, []
    display = Counted()
    assert fetch(served, tmp_path, progress=display).read_bytes() == BODY
    assert served.ranges == [f"bytes={have}-"]
    assert (display.done, display.total) == (len(BODY), len(BODY))
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_server_without_ranges_is_asked_from_the_start(served, tmp_path):
    served.knows_ranges, served.breaks = False, 1
    assert fetch(served, tmp_path).read_bytes() == BODY


def test_a_part_of_another_file_is_thrown_away(served, tmp_path):
    (tmp_path / ".a.h5.part").write_bytes(b"of another version")
    assert fetch(served, tmp_path).read_bytes() == BODY
    assert served.ranges == ["bytes=18-", None]


@pytest.mark.parametrize("length", [0, 1])
def test_a_part_that_is_as_long_as_the_file_or_longer_is_no_obstacle(served, tmp_path, length):
    (tmp_path / ".a.h5.part").write_bytes(b"?" * (len(BODY) + length))
    assert fetch(served, tmp_path).read_bytes() == BODY


def test_without_a_hash_nothing_is_resumed(served, tmp_path):
    (tmp_path / ".a.h5.part").write_bytes(b"of another version")
    assert fetch(served, tmp_path, None).read_bytes() == BODY
    assert served.ranges == [None]


def test_a_file_that_is_there_by_now_is_not_fetched_again(served, tmp_path):
    (tmp_path / "a.h5").write_bytes(b"by another process")
    assert fetch(served, tmp_path).read_bytes() == b"by another process"
    assert served.asked == []


class TestReasons:
    def test_not_found(self, served, tmp_path):
        served.files.clear()
        assert "no such file (404 Not Found)" in reason(served, tmp_path)

    def test_another_refusal(self, served, tmp_path):
        served.status = 503
        assert "answered 503" in reason(served, tmp_path)

    def test_a_time_out(self, served, tmp_path, monkeypatch):
        monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
        served.delay = 5
        assert "did not answer within 0.2 seconds" in reason(served, tmp_path)

    def test_a_proxy_that_cannot_be_reached(self, tmp_path, closed_url, monkeypatch):
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, closed_url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(DownloadError, match="The proxy could not be reached"):
            download("http://files.example/a.h5", tmp_path / "a.h5", SHA256, what="a file")

    def test_a_proxy_that_asks_for_a_password(self, served, tmp_path):
        served.status = 407
        assert "proxy asks for a name and password" in reason(served, tmp_path)

    @pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
    @pytest.mark.parametrize("known_hash", [SHA256, None])
    def test_a_web_page_in_place_of_the_file(self, served, tmp_path, content_type, known_hash):
        served.files["/a.h5"] = b"\n<!DOCTYPE html><html>log in first</html>"
        served.content_type = content_type
        assert "A web page (HTML) came instead of the file" in reason(served, tmp_path, known_hash)
        assert list(tmp_path.iterdir()) == []

    def test_other_content(self, served, tmp_path):
        served.files["/a.h5"] = BODY[:-1] + b"?"
        assert "another hash than the published one" in reason(served, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_closed_door(self, closed_url, tmp_path):
        with pytest.raises(DownloadError, match="The server could not be reached"):
            download(f"{closed_url}/a.h5", tmp_path / "a.h5", SHA256, what="a file")

    def test_a_folder_that_cannot_be_made(self, served, tmp_path):
        (tmp_path / "models").write_text("a file")
        assert "Error" in reason(served, tmp_path / "models")

    def test_an_address_that_is_none(self, tmp_path):
        with pytest.raises(DownloadError, match="The address cannot be read"):
            download("htp:/x/a.h5", tmp_path / "a.h5", SHA256, what="a file")


@pytest.mark.parametrize(
    "part", ["the weights of x", "File: a.h5", "From: {url}/a.h5", "Hash: " + SHA256.replace(":", " ")]
)
def test_a_failure_says_all_that_is_needed_by_hand(closed_url, tmp_path, part):
    with pytest.raises(DownloadError) as caught:
        download(f"{closed_url}/a.h5", tmp_path / "a.h5", SHA256, what="the weights of x")
    assert part.format(url=closed_url) in str(caught.value)
    assert f"put it in {tmp_path}" in str(caught.value)


def test_a_failure_says_when_no_hash_is_published(closed_url, tmp_path):
    with pytest.raises(DownloadError, match="Hash: none is published"):
        download(f"{closed_url}/a.h5", tmp_path / "a.h5", None, what="a file")


class TestMirror:
    @pytest.mark.parametrize("end", ["", "/"])
    def test_it_is_asked_first(self, served, closed_url, tmp_path, monkeypatch, end):
        monkeypatch.setenv("TRANSFERZOO_MIRROR", f"{served.url}{end}")
        download(f"{closed_url}/published/a.h5", tmp_path / "a.h5", SHA256, what="a file")
        assert served.asked == ["/a.h5"]

    def test_the_published_address_is_asked_where_it_fails(
        self, served, closed_url, tmp_path, monkeypatch, caplog
    ):
        monkeypatch.setenv("TRANSFERZOO_MIRROR", closed_url)
        with caplog.at_level(logging.WARNING, logger="transferzoo"):
            assert fetch(served, tmp_path).read_bytes() == BODY
        assert "the mirror failed" in caplog.text

    def test_a_mirrors_other_content_is_not_taken(self, served, closed_url, tmp_path, monkeypatch):
        served.files["/a.h5"] = b"something else"
        monkeypatch.setenv("TRANSFERZOO_MIRROR", served.url)
        with pytest.raises(DownloadError, match=r"From the mirror http.* another hash") as caught:
            download(f"{closed_url}/published/a.h5", tmp_path / "a.h5", SHA256, what="a file")
        assert "could not be reached" in str(caught.value)


def test_two_downloads_of_one_file_fetch_it_once(served, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(served, tmp_path).read_bytes(), range(4)))
    assert found == [BODY] * 4
    assert served.asked == ["/a.h5"]
