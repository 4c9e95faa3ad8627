"""The command line: parse, call, print."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import sys
from collections.abc import Collection, Iterator
from typing import Any

import typer

from transferzoo.cli import (
    checking,
    costing,
    demonstration,
    exporting,
    info,
    predicting,
    ranking,
    records,
    studies,
    training,
    weights,
)
from transferzoo.cli.app import app
from transferzoo.cli.options import StoppedError
from transferzoo.cli.wording import in_shell, options_of
from transferzoo.errors import DivergedError, DownloadError, OutputError, RecordError, TransferZooError
from transferzoo.ground.interrupts import TERMINATIONS, Terminated, terminate

__all__ = [
    "app",
    "checking",
    "costing",
    "demonstration",
    "exporting",
    "info",
    "main",
    "predicting",
    "ranking",
    "records",
    "run",
    "studies",
    "training",
    "weights",
]

INTERRUPTED = 130


def main() -> None:
    """Run the command line, and end the process with its exit code.

    0: done. 1: it failed underway. 2: the call was wrong, and nothing was done. 130: interrupted. 143: told
    to end by SIGTERM, 129 by SIGHUP.
    """
    for stream in (sys.stdout, sys.stderr):
        # a terminal that knows no "×" must not end a run of an hour
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for number in TERMINATIONS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, terminate)
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    sys.exit(run([argument for argument in arguments if argument != "--debug"], debug=debug))


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run the command line with these arguments and return its exit code."""
    if "" in arguments:
        # as a path it would mean the current folder
        before = arguments[max(0, arguments.index("") - 1)]
        return _complain(f"An argument is empty, after '{before}'. Give it a value, or leave it out.", 2)
    command = _command()
    options = options_of(command, arguments)
    try:
        with _warnings_in_shell(options):
            code = command.main(arguments, prog_name="transferzoo", standalone_mode=False)
        return _interrupted() if code == INTERRUPTED else code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort, StoppedError) as stop:
        if debug:
            raise
        return _interrupted(str(stop) if isinstance(stop, StoppedError) else "")
    except Terminated as stop:
        return _interrupted(str(stop), stop.exit_code)
    except TransferZooError as error:
        if debug:
            raise
        failed = isinstance(error, DownloadError | DivergedError | OutputError | RecordError)
        words = in_shell(str(error), error.argument, options, arguments)
        return _complain(words, 1 if failed else 2)
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if debug:
            raise
        if format_message is not None:
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "transferzoo"
            if not format_message().strip():
                return 2  # a command without arguments: its help was shown
            return _complain(f"{format_message()} See: {command} --help".replace("\n", " "), 2)
        reason = " ".join(str(error).split())[:300]
        return _complain(f"{type(error).__name__}: {reason} (--debug shows where)", 1)


class _InShell(logging.Handler):
    """Writes warnings to standard error as it is at that moment, with options in place of arguments."""

    def __init__(self, options: Collection[str]) -> None:
        super().__init__(logging.WARNING)
        self._options = options

    def emit(self, record: logging.LogRecord) -> None:
        """Write one warning."""
        print(in_shell(record.getMessage(), None, self._options), file=sys.stderr)


@contextlib.contextmanager
def _warnings_in_shell(options: Collection[str]) -> Iterator[None]:
    logger = logging.getLogger("transferzoo")
    handler = _InShell(options)
    # where the caller listens already, nothing is said twice
    listening = logger.hasHandlers()
    if not listening:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _command() -> Any:
    """Return the command, with its own flags (``--help``) shown like ours: without a type."""
    command = typer.main.get_command(app)
    waiting: list[Any] = [command]
    while waiting:
        each = waiting.pop()
        waiting += getattr(each, "commands", {}).values()
        own = each.get_help_option(each.context_class(each))
        for option in [*each.params, own]:
            if option is not None and getattr(option, "is_flag", False):
                option.metavar = ""
    return command


def _interrupted(how_to_go_on: str = "", code: int = INTERRUPTED) -> int:
    return _complain(how_to_go_on or "Interrupted; nothing of the unfinished run was saved.", code)


def _complain(message: str, code: int) -> int:
    print(f"transferzoo: {message}", file=sys.stderr)
    return code
