"""What a model costs: parameters, compute, bytes, memory, and the time that a prediction takes."""

from __future__ import annotations

import gc
import logging
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil

from transferzoo.costs.macs import count_macs
from transferzoo.costs.watching import Watch
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count
from transferzoo.models.prediction import as_input

logger = logging.getLogger("transferzoo")

# one look takes about 0.01 ms, which no training notices 20 times per second
MEMORY_INTERVAL = 0.05
# a slow model is timed no longer than this, and no fewer times than that
MOST_SECONDS, FEWEST = 5.0, 5
WARM_UP = 2


def costs_in_use(model: keras.Model, images: np.ndarray) -> dict[str, Any]:
    """Measure what a finished model costs in use.

    Parameters
    ----------
    model : keras.Model
    images : ndarray, shape (n, height, width, channels)
        Real images, 0-255.

    Returns
    -------
    dict
        As `count_parameters`, `measure_latency` and `measure_throughput` give it; ``macs``, multiply-
        accumulates for one image, from `count_macs`; ``file_bytes``, from `measure_file_size`. The last two
        are NaN for a model that cannot be counted or saved, and the log says why.

    Raises
    ------
    InvalidInputError
        If there are no images.

    Examples
    --------
    >>> from transferzoo import build
    >>> model = build("mobilenet_025", 10, weights=None)
    >>> costs = costs_in_use(model, np.zeros((4, 32, 32, 3), "uint8"))
    >>> costs["parameters"], costs["macs"]
    (221114, 834688)
    """
    return {
        **count_parameters(model),
        "macs": counted_macs(model),
        "file_bytes": _file_bytes(model),
        **measure_latency(model, images),
        **measure_throughput(model, images),
    }


def count_parameters(model: keras.Model) -> dict[str, int]:
    """Return a model's parameters and the bytes they take.

    Returns
    -------
    dict
        ``parameters``, ``trainable_parameters``, and ``size_bytes``: the weights in their own dtype,
        without optimizer state.
    """
    counted = [weight for weight in model.weights if "seed_generator" not in weight.path]
    return {
        "parameters": sum(int(np.prod(weight.shape)) for weight in counted),
        "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "size_bytes": sum(int(np.prod(weight.shape)) * _item_size(str(weight.dtype)) for weight in counted),
    }


def measure_throughput(
    model: Any, images: np.ndarray, *, batch_size: int = 32, repeats: int = 10
) -> dict[str, Any]:
    """Time warm predictions of one batch, from the array to the probabilities as an array.

    Parameters
    ----------
    model : keras.Model or ExportedModel
    images : ndarray, shape (n, height, width, channels)
        Real images, 0-255; repeated where there are fewer than a batch.
    batch_size : int, default 32
    repeats : int, default 10
        Timed predictions, after two that are not; 5 at least, where they take more than 5 s together.

    Returns
    -------
    dict
        ``images_per_second``: the median; ``images_per_second_q1`` and ``_q3``: half of the batches lie
        between; ``images_per_second_min`` and ``_max``; ``throughput_batch_size``.

    Raises
    ------
    InvalidInputError
        If there are no images, or a number is below 1.
    """
    batch_size = check_count("batch_size", batch_size, 1)
    batch = as_input(model, np.take(_some(images), range(batch_size), axis=0, mode="wrap"))
    rates = [batch_size / seconds for seconds in _timed(lambda: model.predict_on_batch(batch), repeats)]
    return {**_spread("images_per_second", rates), "throughput_batch_size": batch_size}


def measure_latency(model: Any, images: np.ndarray, *, repeats: int = 30) -> dict[str, float]:
    """Time warm predictions of one image, from the array to the probabilities as an array.

    Parameters
    ----------
    model : keras.Model or ExportedModel
    images : ndarray, shape (n, height, width, channels)
        Real images, 0-255; the first is taken.
    repeats : int, default 30
        Timed predictions, after two that are not; 5 at least, where they take more than 5 s together.

    Returns
    -------
    dict
        ``latency_ms``: the median, in milliseconds; ``latency_ms_q1`` and ``_q3``: half of the predictions
        lie between; ``latency_ms_min`` and ``_max``.

    Raises
    ------
    InvalidInputError
        If there are no images, or `repeats` is below 1.
    """
    one = as_input(model, _some(images)[:1])
    seconds = _timed(lambda: model.predict_on_batch(one), repeats)
    return _spread("latency_ms", [1000 * each for each in seconds])


def measure_file_size(model: keras.Model) -> int:
    """Return the bytes of the ``.keras`` file that a model is saved as.

    A compiled model's file holds its optimizer's state too. Models that `build` returns are not compiled,
    and training leaves them so.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.stat().st_size


class PeakMemory(Watch):
    """Watches the memory that this process holds while a block runs.

    It is the resident memory of the whole process: Python, the backend, the images, and whatever was
    allocated before. Memory that an earlier model gave back may not have been returned to the system, and
    then the next model's growth is too small: compare models by runs in processes of their own. It is
    looked at 20 times per second, so what lasts less than 0.05 s may be missed. Memory of a GPU, and of other
    processes, is not in it.

    Attributes
    ----------
    start, peak : int
        Bytes when the block began, and the most since.

    Examples
    --------
    >>> with PeakMemory() as memory:
    ...     block = np.ones(50_000_000, "uint8")
    >>> memory.costs()["peak_memory_growth_bytes"] > 40_000_000
    True
    """

    def __init__(self) -> None:
        super().__init__("transferzoo-memory", MEMORY_INTERVAL)
        self.start = 0
        self.peak = 0
        self._process = psutil.Process()

    def _begin(self) -> bool:
        # Keras models hold references in circles: without this an earlier one is freed at some later time
        gc.collect()
        self.start = self.peak = self._resident()
        return True

    def costs(self) -> dict[str, int]:
        """Return ``peak_memory_bytes``, and ``peak_memory_growth_bytes``, what came on top of the start."""
        return {"peak_memory_bytes": self.peak, "peak_memory_growth_bytes": self.peak - self.start}

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)

    def _look(self) -> None:
        self.peak = max(self.peak, self._resident())


def _some(images: np.ndarray) -> np.ndarray:
    if len(images) == 0:
        raise invalid("images", "one image or more", "none")
    return images


def _timed(call: Callable[[], Any], repeats: int) -> list[float]:
    """Return how long each call took, in seconds, after two that are not counted."""
    check_count("repeats", repeats, 1)
    for _ in range(WARM_UP):
        call()
    seconds: list[float] = []
    while len(seconds) < repeats and (len(seconds) < FEWEST or sum(seconds) < MOST_SECONDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _spread(key: str, values: list[float]) -> dict[str, float]:
    low, q1, median, q3, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return {key: median, f"{key}_q1": q1, f"{key}_q3": q3, f"{key}_min": low, f"{key}_max": high}


def counted_macs(model: keras.Model) -> float:
    """Return the multiply-accumulates for one image; NaN, and a message, where not all can be counted."""
    try:
        counted = count_macs(model)
    except InvalidInputError as error:
        logger.info("multiply-accumulates not counted: %s", error)
        return math.nan
    if counted.uncounted:
        logger.info("multiply-accumulates not counted, for: %s", ", ".join(counted.uncounted))
        return math.nan
    return counted.total


def _file_bytes(model: keras.Model) -> float:
    try:
        return measure_file_size(model)
    except Exception as error:
        # a trained model is not to be lost because it cannot be saved, or the disk is full
        logger.info("file size not measured: %s", error)
        return math.nan


def _item_size(dtype: str) -> int:
    return {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1}.get(dtype, 4)
