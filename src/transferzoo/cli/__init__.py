"""The command line: parse, call, print."""

from __future__ import annotations

import io
import re
import signal
import sys
from typing import Any

import typer

from transferzoo.cli import checking, info, predicting, ranking, records, studies, training
from transferzoo.cli.app import app
from transferzoo.cli.options import StoppedError
from transferzoo.errors import DivergedError, DownloadError, OutputError, RecordError, TransferZooError
from transferzoo.ground.interrupts import TERMINATIONS, Terminated, terminate

__all__ = [
    "app",
    "checking",
    "info",
    "main",
    "predicting",
    "ranking",
    "records",
    "run",
    "studies",
    "training",
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
    try:
        code = _command().main(arguments, prog_name="transferzoo", standalone_mode=False)
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
        return _complain(in_shell(str(error), error.argument), 1 if failed else 2)
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


# arguments of the library whose option has another name
OPTIONS = {
    "data": "dataset",
    "path": "dataset",
    "class_names": "classes",
    "n_jobs": "jobs",
    "older_than_days": "older-than",
    "image": "image-column",
    "label": "label-column",
    "split": "split-column",
    "test": "test-share",
}
# arguments that are no options: what the command is about
POSITIONS = ("name", "names", "pattern", "folder", "run", "photos", "model", "images")


# a setting as Python has it, such as image_size=96, of an option that the command line has too
_SETTING = re.compile(
    r"(?<![\w.(])(recipe|weights|head|image_size|stem|output_stride|trainable|epochs|steps_per_epoch|minutes|batch_size"
    r"|learning_rate|warmup|schedule|layer_decay|weight_decay|label_smoothing|batch_norm|augmentation|mixup"
    r"|rand_augment|keep|patience|class_weight|sampling|faithful)=('[^']*'|None|True|[\w.%:]+)"
)


def _as_option(found: re.Match[str]) -> str:
    before = found.string[: found.start()]
    call = before[before.rfind("tz.") :] if "tz." in before else ""
    if call.count("(") > call.count(")"):
        # an argument of a call in Python
        return found[0]
    name, value = found[1].replace("_", "-"), found[2].strip("'")
    if value == "True":
        return f"--{name}"
    return f"--{name} {'none' if value == 'None' else value.rstrip('.')}" + "." * value.endswith(".")


def in_shell(message: str, argument: str | None) -> str:
    """Return the library's sentence with the names that the command line has for things.

    Examples
    --------
    >>> in_shell("image_size must be at least 32. Got 16.", "image_size")
    '--image-size must be at least 32. Got 16.'
    >>> in_shell("No head named 'linaer'. tz.list_heads() shows all 14.", "head")
    "No head named 'linaer'. transferzoo list --kind heads shows all 14."
    >>> in_shell("Use recipe='linear_probe', or leave weights=None out.", None)
    'Use --recipe linear_probe, or leave --weights none out.'
    """
    if argument and argument not in POSITIONS and message.startswith(f"{argument} must "):
        option = OPTIONS.get(argument, argument.replace("_", "-"))
        message = f"--{option}{message[len(argument) :]}"
    message = _SETTING.sub(_as_option, message)
    message = message.replace("tz.list_backbones()", "transferzoo list")
    return re.sub(r"tz\.list_(\w+)\(\)", r"transferzoo list --kind \1", message)


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
