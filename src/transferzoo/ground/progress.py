"""One progress display, handed down; silent unless a terminal asks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from transferzoo.errors import invalid


class Progress:
    """Says nothing. The base of what shows something, and the display of whoever wants quiet."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None, *, unit: str = "steps") -> Iterator[Task]:
        """Show a task while the block runs.

        Parameters
        ----------
        description : str
        total : int, optional
            Steps, or bytes; None while it is not known.
        unit : {"steps", "bytes"}, default "steps"
        """
        del description, total, unit
        yield Task()


class Task:
    """One line of a display."""

    def advance(self, steps: int = 1) -> None:
        """Move on by `steps`."""

    def describe(self, text: str) -> None:
        """Say how it stands."""

    def restart(self, done: int, total: int | None) -> None:
        """Set how much is done already, and of how much."""


class TerminalProgress(Progress):
    """Bars with the time left, on standard error."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None, *, unit: str = "steps") -> Iterator[Task]:
        """Show a bar while the block runs; it leaves no trace."""
        from rich import progress
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        counted: list[progress.ProgressColumn] = [progress.MofNCompleteColumn()]
        if unit == "bytes":
            counted = [
                progress.TaskProgressColumn(),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
            ]
        columns = [
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            *counted,
            progress.TimeRemainingColumn(),
        ]
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as display:
            yield _Bar(display, display.add_task(description, total=total))


class _Bar(Task):
    def __init__(self, display: Any, number: Any) -> None:
        self._display = display
        self._number = number

    def advance(self, steps: int = 1) -> None:
        self._display.advance(self._number, steps)

    def describe(self, text: str) -> None:
        self._display.update(self._number, description=text)

    def restart(self, done: int, total: int | None) -> None:
        self._display.update(self._number, completed=done, total=total)


def check_progress(progress: Any) -> None:
    """Raise unless `progress` is None or a display."""
    if not isinstance(progress, Progress | None):
        raise invalid("progress", "a tz Progress display or None", progress)


def choose_progress(verbose: bool | str | Progress) -> Progress:
    """Return the display that `verbose` asks for.

    Parameters
    ----------
    verbose : {"auto", True, False} or Progress
        ``"auto"`` shows bars when standard error is a terminal.
    """
    if isinstance(verbose, Progress):
        return verbose
    if isinstance(verbose, str) and verbose == "auto":
        return TerminalProgress() if sys.stderr.isatty() else Progress()
    if isinstance(verbose, bool):
        return TerminalProgress() if verbose else Progress()
    raise invalid("verbose", "'auto', True or False", verbose, candidates=("auto",))
