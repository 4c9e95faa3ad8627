"""Signals that end a process: Ctrl-C, and those that schedulers, containers and closed terminals send."""

from __future__ import annotations

import signal
from typing import Any

# Windows has no SIGHUP
TERMINATIONS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(SystemExit):
    """The process was told to end; its exit code is 128 and the signal's number.

    Parameters
    ----------
    number : int
        Of the signal.
    said : str
        What is saved, and how to continue.
    """

    def __init__(self, number: int, said: str = "") -> None:
        super().__init__(128 + number)
        self.exit_code = 128 + number
        self.said = said

    def __str__(self) -> str:
        return self.said


def stopping(number: int, said: str = "") -> BaseException:
    """Return what a signal raises: KeyboardInterrupt for Ctrl-C, `Terminated` for any other."""
    return KeyboardInterrupt(said) if number == signal.SIGINT else Terminated(number, said)


def terminate(number: int, frame: Any) -> None:
    """End the process in order, as a signal handler."""
    raise stopping(number)
