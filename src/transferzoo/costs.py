"""What a model costs: parameters, bytes, and the images it predicts a second."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
import numpy as np


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
    model: keras.Model, images: np.ndarray, *, batch_size: int = 32, repeats: int = 10
) -> dict[str, Any]:
    """Time warm predictions of one batch.

    Parameters
    ----------
    model : keras.Model
    images : ndarray, shape (n, height, width, channels)
        Real images, 0-255; repeated where there are fewer than a batch.
    batch_size : int, default 32
    repeats : int, default 10
        Timed predictions, after two that are not.

    Returns
    -------
    dict
        ``images_per_second``: the median; ``images_per_second_min`` and ``_max``: the spread;
        ``throughput_batch_size``.
    """
    batch = np.take(images, range(batch_size), axis=0, mode="wrap")
    rates = []
    for repeat in range(repeats + 2):
        began = time.perf_counter()
        model.predict_on_batch(batch)
        if repeat >= 2:
            rates.append(batch_size / (time.perf_counter() - began))
    return {
        "images_per_second": statistics.median(rates),
        "images_per_second_min": min(rates),
        "images_per_second_max": max(rates),
        "throughput_batch_size": batch_size,
    }


def _item_size(dtype: str) -> int:
    return {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1}.get(dtype, 4)
