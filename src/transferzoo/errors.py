"""Exception types, and the one place that words an error and finds the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class TransferZooError(Exception):
    """Base of every error that transferzoo raises on purpose.

    ``str(error)`` is one or a few plain sentences: what was given, what is accepted, the nearest match,
    and what to do. The parts stay on the exception for programs.

    Attributes
    ----------
    argument : str or None
        Name of the argument at fault.
    value : object
        What was given.
    accepted : str or None
        What would have been accepted.
    suggestion : str or None
        The nearest accepted value.
    """

    def __init__(
        self,
        message: str,
        *,
        argument: str | None = None,
        value: Any = None,
        accepted: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value
        self.accepted = accepted
        self.suggestion = suggestion


class InvalidInputError(TransferZooError, ValueError):
    """An argument, array or record does not hold what it must."""


class UnknownNameError(TransferZooError, LookupError):
    """No backbone, head, dataset or recipe has the name that was asked for."""


class UnknownOptionError(TransferZooError, ValueError):
    """An option belongs to nothing that the call leads to."""


class NameTakenError(TransferZooError, ValueError):
    """A name is registered already."""


class WeightsError(TransferZooError, OSError):
    """A weights file is missing, damaged, or of another architecture."""


class DownloadError(TransferZooError, OSError):
    """A file could not be fetched; the message says how to place it by hand."""


class OutputExistsError(TransferZooError, OSError):
    """The output folder holds something else; nothing in it was touched."""


class OutputError(TransferZooError, OSError):
    """Output could not be written: the disk is full, for example."""


class DivergedError(TransferZooError, ValueError):
    """A training's loss became infinite or no number."""


class ExportError(TransferZooError, ValueError):
    """A model cannot be exported, or the exported one does not compute the same."""


class RecordError(TransferZooError, ValueError):
    """A saved run or study cannot be read back."""


def shorten(value: Any, limit: int = 80) -> str:
    """Return ``repr(value)``, cut in the middle of long ones so that a sentence stays a sentence."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 20]}…{text[-15:]}"


def printable(text: Any) -> str:
    """Return text that any terminal and file takes: a file name may hold bytes that are no UTF-8."""
    try:
        return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # halves of characters, which no file name holds
        return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def nearest(name: Any, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `name`, or None when nothing is close."""
    names = {candidate.lower(): candidate for candidate in candidates}
    wanted = str(name).lower()
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    if not close and len(wanted) > 2:
        close = [key for key in names if key.startswith(wanted)][:1]
    if not close:
        squeezed = {key.replace("_", "").replace("-", ""): key for key in names}
        hit = difflib.get_close_matches(wanted.replace("_", "").replace("-", ""), squeezed, n=1, cutoff=0.6)
        close = [squeezed[key] for key in hit]
    return names[close[0]] if close else None


def listing(names: Iterable[str], limit: int = 12) -> str:
    """Return names as ``'a', 'b', 'c'``; past `limit`, how many more there are."""
    every = [f"'{name}'" for name in names]
    return ", ".join(every[:limit]) + (f" and {len(every) - limit} more" if len(every) > limit else "")


def invalid(
    argument: str, accepted: str, value: Any, *, candidates: Iterable[str] = (), remedy: str = ""
) -> InvalidInputError:
    """Word the error for a bad argument: ``{argument} must be {accepted}. Got {value}. …``."""
    suggestion = nearest(value, candidates) if isinstance(value, str) else None
    sentences = [f"{argument} must be {accepted}.", f"Got {shorten(value)}."]
    if suggestion:
        sentences.append(f"Did you mean '{suggestion}'?")
    if remedy:
        sentences.append(remedy)
    return InvalidInputError(
        " ".join(sentences), argument=argument, value=value, accepted=accepted, suggestion=suggestion
    )


def unknown_name(kind: str, value: Any, names: Iterable[str], show: str) -> UnknownNameError:
    """Word the error for a name that nothing is registered under; `show` is the call that lists them."""
    every = list(names)
    suggestion = nearest(value, every)
    sentences = [f"No {kind} named {shorten(value)}."]
    if suggestion:
        sentences.append(f"Did you mean '{suggestion}'?")
    if len(every) <= 12:
        sentences.append(f"There are {listing(every)}.")
    else:
        sentences.append(f"{show} shows all {len(every)}.")
    return UnknownNameError(
        " ".join(sentences), argument=kind, value=value, accepted=listing(every, 1000), suggestion=suggestion
    )


# what a Keras user writes, and what is written here; the nearest spelling would be another thing
_ELSEWHERE = {
    "sample_weight": "Images cannot be weighted one by one; class_weight weighs classes.",
    "validation_split": "The dataset holds the validation images: tz.from_arrays(…, validation=0.2).",
    "validation_data": "The dataset holds the validation images: tz.from_arrays(…, x_validation=…).",
    "optimizer": "The recipe chooses it: tz.Phase(optimizer='sgd' or 'adamw') in a tz.Recipe of your own.",
    "loss": "It is cross-entropy, always; label_smoothing softens it.",
    "metrics": "tz.evaluate computes all of them after the training.",
    "lr": "It is called learning_rate.",
}


def unknown_option(call: str, option: str, options: Iterable[str], remedy: str = "") -> UnknownOptionError:
    """Word the error for a keyword that `call` has no use for."""
    every = sorted(options)
    elsewhere = _ELSEWHERE.get(option) if option not in every else None
    if elsewhere is not None and "epochs" in every:
        return UnknownOptionError(
            f"{call} has no option '{option}'. {elsewhere}",
            argument=option,
            accepted=listing(every, 1000),
        )
    suggestion = nearest(option, every)
    sentences = [f"{call} has no option '{option}'."]
    if suggestion:
        sentences.append(f"Did you mean '{suggestion}'?")
    sentences.append(remedy or f"It takes {listing(every, 1000)}.")
    return UnknownOptionError(
        " ".join(sentences), argument=option, accepted=listing(every, 1000), suggestion=suggestion
    )
