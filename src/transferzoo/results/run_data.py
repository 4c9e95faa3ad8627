"""The dataset of a saved run, loaded again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from transferzoo.errors import TransferZooError
from transferzoo.results.pairing import data_settings, part_of

if TYPE_CHECKING:
    from transferzoo.data.dataset import Dataset
    from transferzoo.results.result import Result

logger = logging.getLogger("transferzoo")


def same_data(result: Result) -> Dataset | None:
    """Load a run's dataset again; None where that is not possible, or where it is another one now."""
    from transferzoo.data.catalog import repeat_calls

    calls = part_of(result.provenance, "call", "data")
    try:
        data = repeat_calls(calls if isinstance(calls, list) else ())
    except TransferZooError as error:
        logger.warning("the dataset of run '%s' could not be loaded again: %s", result.name, error)
        return None
    known = data_settings(result).get("test_sha256")
    if known is not None and known != data.test_hash:
        logger.warning("the test images of run '%s' are others now; they are not used", result.name)
        return None
    return data
