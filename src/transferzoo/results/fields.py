"""What a Result's fields must be: numbers, names and lists, as they are read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_mapping
from transferzoo.judging.prediction_checks import check_probabilities
from transferzoo.results.identity import plain


def numbers_of(argument: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of numbers, None in it as NaN, or raise."""
    check_mapping(argument, table, "a mapping of names to numbers")
    values = {str(key): plain(value) for key, value in table.items()}
    for key, value in values.items():
        if not isinstance(value, int | float | None):
            raise invalid(f"{argument}[{key!r}]", "a number", value)
    return {key: math.nan if value is None else value for key, value in values.items()}


def index_of(index: Any, count: int) -> NDArray[np.int64]:
    """Return the place of each image, or raise; by default 0, 1, …."""
    array = np.arange(count) if index is None else np.asarray(index)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise invalid("index", f"whole numbers, shape ({count},)", array.shape)
    return array.astype(np.int64, copy=False)


def history_of(history: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return lists of one length, the phase first, as they are read back, or raise."""
    lists: dict[str, list[Any]] = {}
    for key, values in history.items():
        try:
            lists[str(key)] = [_entry(key, value) for value in values]
        except (TypeError, ValueError):
            raise invalid(f"history[{key!r}]", "a list of numbers, one for each epoch", values) from None
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1 or "epoch" in lists:
        raise invalid("history", "lists of one length, one entry for each epoch, none named 'epoch'", lengths)
    # as they are read back
    return {key: lists[key] for key in sorted(lists, key=lambda key: key != "phase")}


def _entry(key: str, value: Any) -> Any:
    if key == "phase":
        return str(value)
    return math.nan if value is None else float(value)


def check_rows(argument: str, y_prob: NDArray[np.float32]) -> None:
    """Raise unless each row is probabilities that sum to 1, or NaN: a run that diverged is a result too."""
    known = ~np.isnan(y_prob).any(axis=1)
    if known.any() and y_prob.shape[1] > 1:
        check_probabilities(y_prob[known], argument=argument)


def names_of(argument: str, names: Any, count: int) -> NDArray[np.str_] | None:
    """Return one name for each image as an array of text, or None where none are given."""
    if names is None:
        return None
    array = np.asarray(names)
    if array.shape != (count,) or array.dtype.kind not in "UO":
        raise invalid(argument, f"text, shape ({count},), or None", array.shape)
    return array.astype(str)
