"""Versions, backend and machine, for the record."""

from __future__ import annotations

import os
import platform
from importlib import metadata


def devices() -> list[str]:
    """Return the devices that the backend sees, such as ``["cpu:0"]`` or ``["gpu:0"]``."""
    import keras

    if keras.backend.backend() != "torch":
        return list(keras.distribution.list_devices())
    # Keras cannot list them there
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"gpu:{number}" for number in range(count)] or ["cpu:0"]


def environment() -> dict[str, str]:
    """Return versions, backend and machine, for the record."""
    import keras

    packages = ("transferzoo", "keras", "tensorflow", "jax", "torch", "numpy", "scipy", "scikit-learn")
    found = {
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "devices": ", ".join(devices()),
        "cores": str(os.cpu_count()),
        "dtype_policy": keras.config.dtype_policy().name,
    }
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "platform": platform.platform(), "machine": platform.machine()}
