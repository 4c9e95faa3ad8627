"""Downloads that are verified, shown, resumed, and renamed into place only when they are whole."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from transferzoo.errors import DownloadError
from transferzoo.ground.progress import Progress, Task, choose_progress

logger = logging.getLogger("transferzoo")

MIRROR = "TRANSFERZOO_MIRROR"
# seconds without a byte from the server
TIMEOUT = 30.0
# a connection that breaks is resumed so many times in one call
ATTEMPTS = 3
CHUNK = 1 << 16
HTML = (b"<!doctype html", b"<html")


def download(
    url: str,
    path: Path,
    known_hash: str | None,
    *,
    what: str,
    progress: Progress | None = None,
) -> Path:
    """Fetch `url` to `path`, verified and renamed into place.

    Where the environment variable ``TRANSFERZOO_MIRROR`` holds a base URL, ``<base>/<file name>`` is tried
    first. A download that breaks is resumed where it stopped, by this call or by a later one, if the server
    can send a part of a file and the file's hash is known; it starts again if not.

    Parameters
    ----------
    url : str
        Where the file is published.
    path : Path
        Where it goes; its folder is made.
    known_hash : str or None
        ``"md5:…"`` or ``"sha256:…"``; None if no hash is published.
    what : str
        What the file is, for the progress display and for messages.
    progress : Progress, optional
        Shows bytes, share and time left. Default: a bar if standard error is a terminal.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DownloadError
        With file, source, hash and target folder, so that it can be placed by hand, and with the reason
        for each source that was tried.
    """
    from filelock import FileLock

    progress = choose_progress("auto") if progress is None else progress
    reasons: dict[str, str] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a second process waits, and then finds the file
        with FileLock(_beside(path, "lock")):
            if path.exists():
                return path
            for source in _sources(url, path.name):
                try:
                    try:
                        _fetch(source, path, known_hash, what, progress)
                    except _StalePartError:
                        logger.info("%s: what was there was of another file; starting again", what)
                        _fetch(source, path, known_hash, what, progress)
                    return path
                except _RefusedError as refused:
                    reasons[source] = str(refused)
                    if source != url:
                        logger.warning("%s: the mirror failed: %s", what, refused)
    except OSError as error:
        reasons.setdefault(url, f"{type(error).__name__}: {error}.")
    finally:
        with contextlib.suppress(OSError):
            _beside(path, "lock").unlink()
    raise _failed(url, path, known_hash, what, reasons)


class _RefusedError(Exception):
    """One source cannot give the file; the message is a sentence that says why."""


class _BrokenOffError(Exception):
    """The connection broke within the file."""


class _StalePartError(Exception):
    """The bytes of an earlier call and those of this one do not belong together."""


class _Fetcher:
    """Pooch's downloader: writes to a part file that stays after a break, then hands it to pooch.

    Parameters
    ----------
    part : Path
        The file to write to, and to continue from.
    resumable : bool
        Whether what is in `part` may be kept; only a hash at the end can tell that it fits.
    task : Task
        Is told how many bytes are there.
    """

    def __init__(self, part: Path, *, resumable: bool, task: Task) -> None:
        self._part = part
        self._resumable = resumable
        self._task = task

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: Any) -> None:
        del pooch
        if not self._resumable:
            self._part.unlink(missing_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._receive(url)
                break
            except _BrokenOffError as broken:
                if attempt == ATTEMPTS:
                    raise _RefusedError(str(broken)) from broken
                if not self._resumable:
                    self._part.unlink(missing_ok=True)
                logger.info("%s Trying again.", broken)
        # pooch made this name, in the same folder
        self._part.replace(str(output_file))

    def _receive(self, url: str) -> None:
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                if have and response.status_code in (200, 416):
                    # no ranges here, or nothing is left to send; a whole file is read again either way
                    if response.status_code == 416:
                        self._part.unlink()
                        return self._receive(url)
                    have = 0
                _refuse_bad_answer(response, url)
                self._write(response, have)
        except requests.exceptions.ProxyError as error:
            raise _RefusedError(
                "The proxy could not be reached or refused the connection. Check the environment variables "
                f"HTTP_PROXY, HTTPS_PROXY and NO_PROXY ({_short(error)})."
            ) from error
        except requests.exceptions.Timeout as error:
            raise _RefusedError(
                f"The server did not answer within {TIMEOUT:g} seconds. Try again later, or set {MIRROR}."
            ) from error
        except requests.exceptions.SSLError as error:
            raise _RefusedError(f"The server's certificate was not accepted ({_short(error)}).") from error
        except requests.exceptions.ChunkedEncodingError as error:
            size = self._part.stat().st_size if self._part.exists() else 0
            raise _BrokenOffError(f"The connection broke after {size:,} bytes.") from error
        except requests.exceptions.ConnectionError as error:
            if "Read timed out" in str(error):
                raise _RefusedError(
                    f"The server stopped sending for {TIMEOUT:g} seconds. Try again later; the download goes "
                    "on where it stopped."
                ) from error
            raise _RefusedError(f"The server could not be reached ({_short(error)}).") from error
        except requests.exceptions.RequestException as error:
            raise _RefusedError(f"The address cannot be read ({_short(error)}).") from error
        return None

    def _write(self, response: Any, have: int) -> None:
        expected = response.headers.get("Content-Length")
        total = have + int(expected) if (expected or "").isdigit() else None
        self._task.restart(have, total)
        with self._part.open("ab" if have else "wb") as stream:
            for number, block in enumerate(response.iter_content(CHUNK)):
                if not have and not number and block.lstrip()[:64].lower().startswith(HTML):
                    raise _RefusedError(_web_page(response.url))
                stream.write(block)
                self._task.advance(len(block))
        if total is not None and self._part.stat().st_size < total:
            raise _BrokenOffError(f"The connection broke after {self._part.stat().st_size:,} bytes.")


def _fetch(source: str, path: Path, known_hash: str | None, what: str, progress: Progress) -> None:
    import pooch

    part = _beside(path, "part")
    resumed = known_hash is not None and part.exists() and part.stat().st_size > 0
    logger.info("downloading %s from %s%s", what, source, ", resumed" if resumed else "")
    previous = pooch.get_logger().level
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        with progress.task(f"downloading {what}", unit="bytes") as task:
            fetcher = _Fetcher(part, resumable=known_hash is not None, task=task)
            try:
                pooch.retrieve(source, known_hash, fname=path.name, path=path.parent, downloader=fetcher)
            except ValueError as error:
                if "hash" not in str(error).lower():
                    raise _RefusedError(f"{type(error).__name__}: {_short(error)}.") from error
                if resumed:
                    raise _StalePartError from error
                raise _RefusedError(
                    "The file that came has another hash than the published one: it was damaged on the way, "
                    f"or the source holds another file ({_short(error)})."
                ) from error
    except _RefusedError:
        if part.exists() and (known_hash is None or not part.stat().st_size):
            part.unlink()
        raise
    finally:
        pooch.get_logger().setLevel(previous)


def _refuse_bad_answer(response: Any, url: str) -> None:
    if response.status_code == 404:
        raise _RefusedError(f"The server has no such file (404 Not Found): {url}.")
    if response.status_code == 407:
        raise _RefusedError(
            "The proxy asks for a name and password (407). Set HTTPS_PROXY to http://user:password@host:port."
        )
    if response.status_code >= 400:
        raise _RefusedError(f"The server answered {response.status_code} {response.reason}: {url}.")
    if response.headers.get("Content-Type", "").split(";")[0].strip().lower() == "text/html":
        raise _RefusedError(_web_page(response.url))


def _web_page(url: str) -> str:
    return (
        f"A web page (HTML) came instead of the file: {url}. A network that asks you to log in, or a "
        "firewall, does that; open the address in a browser to see the page."
    )


def _sources(url: str, name: str) -> list[str]:
    mirror = os.environ.get(MIRROR, "").strip().rstrip("/")
    return [*([f"{mirror}/{name}"] if mirror else []), url]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".rstrip(".")


def _failed(
    url: str, path: Path, known_hash: str | None, what: str, reasons: Mapping[str, str]
) -> DownloadError:
    digest = known_hash.replace(":", " ") if known_hash else "none is published"
    why = " ".join(
        reason if source == url else f"From the mirror {source}: {reason}"
        for source, reason in reasons.items()
    )
    return DownloadError(
        f"Could not download {what}. File: {path.name}. From: {url}. Hash: {digest}. "
        f"To place it by hand, download it elsewhere and put it in {path.parent}. Reason: {why}",
        argument="url",
        value=url,
    )
