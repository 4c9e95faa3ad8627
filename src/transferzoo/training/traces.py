"""What TensorFlow keeps of each traced training for good, let go of when the training is over."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import keras

from transferzoo.ground.quiet import traces_expected

_lock = threading.Lock()
_active: list[object] = []
_before: set[str] = set()


@contextlib.contextmanager
def traces_freed() -> Iterator[None]:
    """Forget the gradients that operations registered while they were traced in the block.

    TensorFlow enters the gradient of each operation that has one of its own in a registry at each trace, and
    never takes it out; each entry holds a graph, tens of megabytes for a small network. Nothing looks it up
    once its step is traced. Where trainings run at once, the last to end takes out those of all.
    """
    registry = _gradients()
    mine = object()
    with _lock:
        if not _active:
            _before.clear()
            _before.update(registry)
        _active.append(mine)
    try:
        with traces_expected():
            yield
    finally:
        with _lock:
            _active.remove(mine)
            if not _active:
                for name in [each for each in registry if each not in _before]:
                    if name.startswith("CustomGradient-"):
                        del registry[name]


def _gradients() -> MutableMapping[str, Any]:
    """Return TensorFlow's registry of gradients; an empty one for other backends."""
    if keras.backend.backend() != "tensorflow":
        return {}
    from tensorflow.python.framework import ops

    # private, so it may move: memory is then not freed, and nothing else changes
    return getattr(getattr(ops, "gradient_registry", None), "_registry", {})
