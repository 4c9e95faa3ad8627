"""Which test images two runs share, and where the images can be loaded from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import InvalidInputError, invalid
from transferzoo.judging.prediction_checks import Found
from transferzoo.results.result import Result

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset


def paired_places(a: Result, b: Result) -> tuple[NDArray[np.int64], NDArray[np.int64]] | str:
    """Return where each run has the images that both saw, in the dataset's order; or why that is unknown."""
    if a.class_names != b.class_names:
        return "the runs have other classes, or the same in another order."
    assert a.index is not None
    assert b.index is not None
    if len(np.unique(a.index)) < len(a.index) or len(np.unique(b.index)) < len(b.index):
        return "a run's index names an image twice; transferzoo verify says which run's."
    common, in_a, in_b = np.intersect1d(a.index, b.index, return_indices=True)
    tables = [data_settings(run) for run in (a, b)]
    hashes = [table.get("test_sha256") for table in tables]
    same_places = len(common) == len(a.index) == len(b.index)
    if None not in hashes and hashes[0] == hashes[1]:
        if not same_places and len(a.y_true) == len(b.y_true):
            # one was made of arrays that the other's are a part of: the places differ, the images do not
            common, in_a, in_b = a.index, np.arange(len(a.index)), np.arange(len(a.index))
    elif tables[0].get("name") != tables[1].get("name"):
        return f"they were tested on '{tables[0].get('name')}' and '{tables[1].get('name')}'."
    elif None not in hashes and same_places:
        return "their test images have the same places and other content (settings.data.test_sha256)."
    elif not _same_split(a, b, tables):
        seeds = " and ".join(str(table.get("seed")) for table in tables)
        return f"their test images were drawn with other seeds ({seeds}), so that places mean other images."
    if not len(common):
        return "they have no test image in common."
    wrong = int((a.y_true[in_a] != b.y_true[in_b]).sum())
    if wrong:
        return f"of {len(common):,} test images at the same places {wrong:,} have other labels."
    return in_a, in_b


def dataset_of(run: Result, path: str | Path | None = None) -> Dataset:
    """Load the dataset of a run again, by the calls on its record.

    Parameters
    ----------
    run : Result
    path : str or Path, optional
        Where the dataset is now, if it has moved.

    Returns
    -------
    Dataset
        Its test images are those of the run, by their hash.

    Raises
    ------
    InvalidInputError
        If it cannot be loaded, and why; or if its test images are others by now.
    """
    from transferzoo.data.catalog import repeat_calls

    remedy = "Pass data=, the dataset that the run was tested on; on the command line, --dataset and --path."
    calls = _calls(run)
    if not calls:
        raise InvalidInputError(
            f"The images of '{run.name}' were given as arrays, and cannot be loaded again. {remedy}",
            argument="data",
        )
    if path is not None:
        moved = str(Path(path).expanduser().absolute())
        calls[0] = {function: {**arguments, "path": moved} for function, arguments in calls[0].items()}
    try:
        data = repeat_calls(calls)
    except Exception as error:
        # the calls come from a file: whatever they lead to is a reason
        reason = " ".join(str(error).split())[:300]
        raise InvalidInputError(
            f"The dataset of '{run.name}' cannot be loaded again: {reason} {remedy}", argument="data"
        ) from error
    known = data_settings(run).get("test_sha256")
    if known not in (None, data.test_hash):
        raise InvalidInputError(
            f"The dataset of '{run.name}' has other test images by now: hash {data.test_hash[:12]}…, and "
            f"{str(known)[:12]}… on record. {remedy}",
            argument="data",
        )
    return data


def check_same_images(data: Dataset, run: Result) -> None:
    """Raise unless a test split of another hash holds the images that a run was tested on."""
    assert run.index is not None
    index, known = np.asarray(data.test_index), data_settings(run).get("test_sha256")
    outside = int((~np.isin(run.index, index)).sum())
    if outside:
        found = f"a test split without {outside:,} of them"
    elif known is not None and len(index) == len(run.index):
        found = f"test images with hash {data.test_hash[:12]}…"
    elif wrong := int((data.y_test[places_of(index, run.index)] != run.y_true).sum()):
        found = f"{wrong:,} other labels"
    else:
        return
    on_record = "" if known is None else f" (hash {str(known)[:12]}…)"
    raise invalid(
        "data", f"a dataset with the test images of '{run.name}'{on_record}", Found(f"'{data.name}', {found}")
    )


def places_of(index: Any, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where `wanted` stand in `index`."""
    order = np.argsort(index)
    return order[np.searchsorted(np.asarray(index)[order], wanted)]


def _same_split(a: Result, b: Result, tables: list[dict[str, Any]]) -> bool:
    """Tell whether a place in the test split means the same image in both."""
    if tables[0].get("seed") == tables[1].get("seed"):
        return True
    # a dataset with a name has one test split, whatever the seed
    calls = [_calls(run) for run in (a, b)]
    return all(each and "load_dataset" in each[0] for each in calls)


def part_of(table: Any, *keys: str) -> Any:
    """Return an entry of nested tables; None where there is none, or no table."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def data_settings(run: Result) -> dict[str, Any]:
    """Return what a run has on record of its dataset; empty where that is nothing."""
    found = part_of(run.settings, "data")
    return dict(found) if isinstance(found, Mapping) else {}


def _calls(run: Result) -> list[Any]:
    """Return the calls that loaded a run's dataset; empty where it came as arrays."""
    found = part_of(run.provenance, "call", "data")
    if not isinstance(found, list) or not found:
        return []
    tables = all(
        isinstance(call, Mapping) and all(isinstance(each, Mapping) for each in call.values())
        for call in found
    )
    return list(found) if tables else []
