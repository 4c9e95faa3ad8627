"""One progress display, handed down: bars in terminals and notebooks, lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Iterator
from typing import Any

from transferzoo.errors import invalid
from transferzoo.ground.metrics import bytes_in_words

# seconds between two lines about one task, where no bar can be shown
EVERY = 30.0


class Progress:
    """Says nothing. The base of what shows something, and the display for `quiet`."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None, *, unit: str = "steps") -> Iterator[Task]:
        """Show a task while the block runs.

        Parameters
        ----------
        description : str
        total : int, optional
            Steps, or bytes; None while it is not known.
        unit : str, default "steps"
            What is counted, in the plural. ``"bytes"`` are shown with their prefix and their speed.
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


class LineProgress(Progress):
    """Lines for pipes and log files: about a long task, one every 30 seconds.

    Parameters
    ----------
    stream : {"stderr", "stdout"}, default "stderr"
        Of the process, as it is at that moment. Notebooks show standard error like a fault.
    prefix : str, default ""
        What each line begins with, where several processes write lines.
    """

    def __init__(self, stream: str = "stderr", prefix: str = "") -> None:
        self._stream = stream
        self._prefix = prefix

    def say(self, text: str) -> None:
        """Print a line at once."""
        # one write a line: those of other processes must not come between
        stream = getattr(sys, self._stream)
        stream.write(f"{self._prefix}{text}\n")
        stream.flush()

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None, *, unit: str = "steps") -> Iterator[Task]:
        """Print lines while the block runs, if it takes long; that a download begins, at once."""
        if unit == "bytes":
            self.say(description)
        yield _Lines(self, description, total, unit)


class _Lines(Task):
    def __init__(self, display: LineProgress, description: str, total: int | None, unit: str) -> None:
        self._display = display
        self._description = description
        self._total = total
        self._unit = unit
        self._done = 0
        self._began = self._said = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._said < EVERY:
            return
        self._said = now
        of, left = "", ""
        if self._total:
            of = f" of {self._count(self._total)}"
            left = f", {duration((now - self._began) * (self._total / self._done - 1))} left"
        joint = "," if ":" in self._description else ":"
        counted = f"{self._count(self._done)}{of} {self._word()}".rstrip()
        self._display.say(f"{self._description}{joint} {counted}{left}")

    def _count(self, number: int) -> str:
        return bytes_in_words(number) if self._unit == "bytes" else f"{number:,}"

    def _word(self) -> str:
        return "" if self._unit == "bytes" else self._unit

    def describe(self, text: str) -> None:
        self._description = text

    def restart(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total


class TerminalProgress(Progress):
    """Bars with the time left, on standard error; in a notebook, below its cell."""

    def __init__(self) -> None:
        self._display: Any = None

    def say(self, text: str) -> None:
        """Print a line; above the bar, if one is shown."""
        console = self._console() if self._display is None else self._display.console
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    @staticmethod
    def _console() -> Any:
        from rich.console import Console

        return Console() if in_notebook() else Console(stderr=True)

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None, *, unit: str = "steps") -> Iterator[Task]:
        """Show a bar while the block runs; it leaves no trace."""
        from rich import progress
        from rich.progress import Progress as RichProgress

        counted: list[progress.ProgressColumn] = [
            progress.MofNCompleteColumn(),
            progress.TextColumn(unit),
        ]
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
        with RichProgress(*columns, console=self._console(), transient=True) as display:
            before, self._display = self._display, display
            try:
                yield _Bar(display, display.add_task(description, total=total))
            finally:
                self._display = before


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


def duration(seconds: float) -> str:
    """Return seconds as a person would say them.

    Examples
    --------
    >>> duration(8.4), duration(200), duration(4000)
    ('8 s', '3 min', '1 h 7 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def in_notebook() -> bool:
    """Tell whether the code runs in a notebook, where output is no terminal but can be drawn over."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def check_progress(progress: Any) -> None:
    """Raise unless `progress` is None or a display."""
    if not isinstance(progress, Progress | None):
        raise invalid("progress", "a tz Progress display or None", progress)


def choose_progress(verbose: bool | str | Progress) -> Progress:
    """Return the display that `verbose` asks for.

    Parameters
    ----------
    verbose : {"auto", True, False} or Progress
        ``"auto"`` and True show bars where standard error is a terminal, or in a notebook that has the
        package ipywidgets, and print lines elsewhere. False shows nothing.
    """
    if isinstance(verbose, Progress):
        return verbose
    if verbose is False:
        return Progress()
    if verbose is True or (isinstance(verbose, str) and verbose == "auto"):
        if in_notebook():
            # without this package a bar in a notebook is a warning to install it
            drawn = importlib.util.find_spec("ipywidgets") is not None
            return TerminalProgress() if drawn else LineProgress("stdout")
        return TerminalProgress() if sys.stderr.isatty() else LineProgress()
    raise invalid("verbose", "'auto', True or False", verbose, candidates=("auto",))
