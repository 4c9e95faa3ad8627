"""The library's sentences with the names that a shell has for things."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

# arguments of the library whose option has another name; where there are several, the one that was given
OTHERWISE = {
    "data": ("dataset",),
    "path": ("path", "dataset"),
    "class_names": ("classes",),
    "n_jobs": ("jobs",),
    "older_than_days": ("older-than",),
    "image": ("image-column",),
    "label": ("label-column",),
    "split": ("split-column",),
    "test": ("test-share", "test"),
}
# a setting as Python has it, such as image_size=96
SETTING = re.compile(r"(?<![\w.(])([a-z_]+)=('[^']*'|None|True|[\w.%:]+)")


def options_of(command: Any, arguments: Sequence[str]) -> set[str]:
    """Return the long options, such as ``--image-size``, of the command that was called."""
    for word in arguments:
        command = getattr(command, "commands", {}).get(word, command)
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def in_shell(
    message: str, argument: str | None, options: Collection[str], arguments: Sequence[str] = ()
) -> str:
    """Return a sentence of the library's with options in place of arguments.

    Parameters
    ----------
    message : str
    argument : str or None
        What the sentence is about.
    options : collection of str
        Long options of the command.
    arguments : sequence of str
        What the command was called with.

    Examples
    --------
    >>> options = {"--image-size", "--recipe", "--weights", "--head"}
    >>> in_shell("image_size must be at least 32. Got 16.", "image_size", options)
    '--image-size must be at least 32. Got 16.'
    >>> in_shell("No head named 'linaer'. tz.list_heads() shows all 14.", "head", options)
    "No head named 'linaer'. transferzoo list --kind heads shows all 14."
    >>> in_shell("Use recipe='linear_probe', or leave weights=None out.", None, options)
    'Use --recipe linear_probe, or leave --weights none out.'
    """
    if argument and message.startswith(f"{argument} must "):
        names = [f"--{name}" for name in OTHERWISE.get(argument, (argument.replace("_", "-"),))]
        known = [name for name in names if name in options]
        given = [name for name in known if any(word.split("=")[0] == name for word in arguments)]
        if known:
            message = f"{[*given, *known][0]}{message[len(argument) :]}"
    message = SETTING.sub(lambda found: _as_option(found, options), message)
    message = message.replace("tz.list_backbones()", "transferzoo list")
    message = re.sub(r"tz\.weights\.(\w+)\('([^']*)'\)", r"transferzoo weights \1 \2", message)
    return re.sub(r"tz\.list_(\w+)\(\)", r"transferzoo list --kind \1", message)


def _as_option(found: re.Match[str], options: Collection[str]) -> str:
    before = found.string[: found.start()]
    call = before[before.rfind("tz.") :] if "tz." in before else ""
    option, value = f"--{found[1].replace('_', '-')}", found[2].strip("'")
    if option not in options or call.count("(") > call.count(")"):
        # of Python alone, or an argument of a call
        return found[0]
    if value == "True":
        return option
    return f"{option} {'none' if value == 'None' else value.rstrip('.')}" + "." * value.endswith(".")
