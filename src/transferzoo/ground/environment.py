"""Versions, backend and machine, for the record."""

from __future__ import annotations

import os
import platform
from importlib import metadata


def environment() -> dict[str, str]:
    """Return versions, backend and machine, for the record."""
    import keras

    packages = ("transferzoo", "keras", "tensorflow", "jax", "torch", "numpy", "scipy", "scikit-learn")
    found = {
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "devices": ", ".join(keras.distribution.list_devices()),
        "cores": str(os.cpu_count()),
        "dtype_policy": keras.config.dtype_policy().name,
    }
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "platform": platform.platform(), "machine": platform.machine()}
