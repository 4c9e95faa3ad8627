"""Studies: several runs with the same data and settings, and what follows from them.

A table of contents, as the library's own: ``tz.studies.article`` runs the article's study.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferzoo.studies.halving import Halving, successive_halving
    from transferzoo.studies.joining import join
    from transferzoo.studies.named import Audit, Step, article, article_data
    from transferzoo.studies.sweeping import Sweep, sweep

ROOMS = {
    "Audit": "named",
    "Halving": "halving",
    "Step": "named",
    "Sweep": "sweeping",
    "article": "named",
    "article_data": "named",
    "join": "joining",
    "successive_halving": "halving",
    "sweep": "sweeping",
}
__all__ = [
    "Audit",
    "Halving",
    "Step",
    "Sweep",
    "article",
    "article_data",
    "join",
    "successive_halving",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module '{__name__}' has no attribute '{name}'", name=name, obj=sys.modules[__name__]
        )
    value = getattr(importlib.import_module(f"transferzoo.studies.{ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
