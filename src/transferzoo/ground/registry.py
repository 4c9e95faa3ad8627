"""A registry keeps the records of one kind (backbone, head, dataset, recipe) under their names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from transferzoo.errors import NameTakenError, invalid, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and what stands behind them, for one kind of thing.

    Parameters
    ----------
    kind : str
        The word for one of them in messages, such as ``"backbone"``.

    Examples
    --------
    >>> colours = Registry("colour")
    >>> colours.register("crimson", "#dc143c")
    >>> colours.names("c*")
    ['crimson']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._records: dict[str, T] = {}

    def register(self, name: str, record: T, *, replace: bool = False) -> None:
        """Put `record` under `name`; a name that is taken is refused unless `replace`."""
        if not isinstance(name, str) or not name.strip() or any(c.isspace() or c in "*?[]/\\" for c in name):
            raise invalid(
                f"A {self.kind}'s name", "a non-empty string without spaces, slashes or wildcards", name
            )
        if name in self._records and not replace:
            raise NameTakenError(
                f"A {self.kind} named '{name}' is registered already. "
                f"Choose another name, or pass replace=True to put yours in its place.",
                argument="name",
                value=name,
            )
        self._records[name] = record

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names that match a shell-style wildcard, sorted."""
        if not isinstance(pattern, str):
            raise invalid("pattern", "a string with wildcards, such as 'mobilenet*'", pattern)
        return sorted(name for name in self._records if fnmatch.fnmatchcase(name.lower(), pattern.lower()))

    def get(self, name: Any) -> T:
        """Return the record under `name`, or raise with the nearest name."""
        if isinstance(name, str) and name in self._records:
            return self._records[name]
        raise unknown_name(self.kind, name, self.names(), f"tz.list_{self.kind}s()")

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._records)
