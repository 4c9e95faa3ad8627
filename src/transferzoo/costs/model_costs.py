"""`measure_costs`: what a model costs, without training it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from transferzoo.backbones.catalog import BACKBONES
from transferzoo.costs.energy import Energy
from transferzoo.costs.macs import count_macs
from transferzoo.costs.measure import (
    PeakMemory,
    count_parameters,
    measure_file_size,
    measure_latency,
    measure_throughput,
)
from transferzoo.data.checking import image_array
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_count
from transferzoo.ground.environment import environment
from transferzoo.models.construct import build
from transferzoo.models.prediction import predict

BATCHES = (1, 8, 32, 128)
ENERGY_BATCH, ENERGY_SECONDS = 32, 2.0


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a model costs, on this machine.

    Parameters
    ----------
    name : str
        The backbone's name, or the model's.
    image_size : tuple of 2 ints
        Height and width of the images that were predicted.
    parameters, trainable_parameters : int
    macs : float
        Multiply-accumulates for one image; NaN where `uncounted` names a layer.
    uncounted : tuple of str
        Kinds of layers that could not be counted.
    size_bytes, file_bytes : int
        Weights in their own dtype; the model saved as one ``.keras`` file.
    latency_ms, latency_ms_q1, latency_ms_q3 : float
        One image, warm: median and quartiles, in milliseconds.
    images_per_second, images_per_second_q1, images_per_second_q3 : float
        In batches of 32, warm.
    best_batch_size : int
        Of 1, 8, 32 and 128, the batch size with the most images per second.
    best_images_per_second : float
    joules_per_image : float
        Energy of the processors while batches of 32 were predicted, an image; NaN where the system does not
        say (see `transferzoo.costs.energy`).
    peak_memory_bytes, peak_memory_growth_bytes : int
        Resident memory of the process at its highest while 128 images were predicted, and what came on top.
    backend, devices, threads : str
        What computed it.
    """

    name: str
    image_size: tuple[int, int]
    parameters: int
    trainable_parameters: int
    macs: float
    uncounted: tuple[str, ...]
    size_bytes: int
    file_bytes: int
    latency_ms: float
    latency_ms_q1: float
    latency_ms_q3: float
    images_per_second: float
    images_per_second_q1: float
    images_per_second_q3: float
    best_batch_size: int
    best_images_per_second: float
    joules_per_image: float
    peak_memory_bytes: int
    peak_memory_growth_bytes: int
    backend: str
    devices: str
    threads: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "image_size": list(self.image_size), "uncounted": list(self.uncounted)}


def measure_costs(
    model: str | keras.Model,
    images: Any = None,
    *,
    num_classes: int = 1000,
    **options: Any,
) -> Costs:
    """Measure what a model costs, without training it.

    Times and memory hold for one machine and what else it did at the time. Memory that an earlier model of
    the same process gave back may be counted again: ``transferzoo costs`` measures each model in a process of
    its own.

    Parameters
    ----------
    model : str or keras.Model
        A backbone's name, which is built with random weights at its native size, or a built model.
    images : array, shape (n, height, width, channels), optional
        Images to predict, 0 to 255. Default: random pixels of the size that the model takes.
    num_classes : int, default 1000
        Of the head, where a name is given.
    **options
        What `build` takes, where a name is given: `head`, `image_size`, `stem`, ….

    Returns
    -------
    Costs

    Raises
    ------
    InvalidInputError
        If the model leaves its image size open and no images are given.
    UnknownNameError, UnknownOptionError
        As from `build`.

    Examples
    --------
    >>> import transferzoo as tz
    >>> costs = tz.measure_costs("mobilenet_025", input_shape=(64, 64, 3), num_classes=10)
    >>> costs.parameters, costs.macs
    (221114, 3331072.0)
    """
    given = None if images is None else image_array("images", images)
    if isinstance(model, str):
        record = BACKBONES.get(model)
        size = record.native_size
        shape = (size, size, 3) if given is None else given.shape[1:]
        settings = {"input_shape": shape, "image_size": "input", "weights": None, **options}
        network = build(model, check_count("num_classes", num_classes, 1), **settings)
        name = record.name
    elif isinstance(model, keras.Model):
        if options:
            raise invalid("model", "a backbone's name, where options of tz.build are given", "a built model")
        network, name = model, str(model.name)
    else:
        raise invalid("model", "a backbone's name or a keras.Model", model)
    pixels = _images(network, given)
    counted = count_macs(network, pixels.shape[1:])
    many = np.resize(pixels, (max(BATCHES), *pixels.shape[1:]))
    with PeakMemory() as memory:
        predict(network, many)
    speeds = {size: measure_throughput(network, pixels, batch_size=size) for size in BATCHES}
    best = max(speeds, key=lambda size: speeds[size]["images_per_second"])
    known = environment()
    latency = measure_latency(network, pixels)
    measured: dict[str, Any] = {
        **count_parameters(network),
        **{key: latency[key] for key in ("latency_ms", "latency_ms_q1", "latency_ms_q3")},
        **{
            key: speeds[32][key]
            for key in ("images_per_second", "images_per_second_q1", "images_per_second_q3")
        },
        **memory.costs(),
    }
    return Costs(
        name=name,
        image_size=(int(pixels.shape[1]), int(pixels.shape[2])),
        macs=math.nan if counted.uncounted else float(counted.total),
        uncounted=counted.uncounted,
        file_bytes=measure_file_size(network),
        best_batch_size=best,
        best_images_per_second=speeds[best]["images_per_second"],
        joules_per_image=_joules_per_image(network, pixels),
        backend=known["backend"],
        devices=known["devices"],
        threads=known["cores"],
        **measured,
    )


def _joules_per_image(network: keras.Model, pixels: np.ndarray) -> float:
    """Return what an image takes in warm batches of 32, over long enough for counters to move."""
    batch = np.resize(pixels, (ENERGY_BATCH, *pixels.shape[1:]))
    with Energy() as energy:
        began, images = time.perf_counter(), 0
        while energy.joules is not None and time.perf_counter() - began < ENERGY_SECONDS:
            network.predict_on_batch(batch)
            images += len(batch)
    return math.nan if energy.joules is None or not images else energy.joules / images


def _images(network: keras.Model, given: Any) -> np.ndarray:
    if given is not None:
        return np.asarray(given[:32])
    shape = network.input_shape[1:]
    if None in shape:
        raise InvalidInputError(
            f"The model leaves its image size open, {shape}. Give images of the size to measure.",
            argument="images",
        )
    return np.random.default_rng(0).integers(0, 256, (32, *shape), dtype=np.uint8)
