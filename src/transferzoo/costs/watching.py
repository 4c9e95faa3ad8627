"""Looks at something again and again while a block runs."""

from __future__ import annotations

import abc
import threading
from types import TracebackType
from typing import Self


class Watch(abc.ABC):
    """A context in which a thread calls `_look` every `interval` seconds; the last look is at the end.

    Parameters
    ----------
    name : str
        Of the thread.
    interval : float
        Seconds.
    """

    def __init__(self, name: str, interval: float) -> None:
        self._name = name
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = None
        if self._begin():
            self._thread = threading.Thread(target=self._watch, name=self._name, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._look()

    @abc.abstractmethod
    def _begin(self) -> bool:
        """Take the first look; tell whether there is anything to look at."""

    @abc.abstractmethod
    def _look(self) -> None:
        """Look, and keep what was seen."""

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._look()
