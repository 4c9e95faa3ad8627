"""A mapping that cannot be changed, so that a record that holds it can be hashed, copied and pickled."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeVar

V = TypeVar("V")


class FrozenMap(Mapping[str, V]):
    """A read-only mapping; mappings within it are read-only too.

    Examples
    --------
    >>> record = FrozenMap({"a": 1})
    >>> record, record == {"a": 1}, hash(record) == hash(FrozenMap({"a": 1}))
    ({'a': 1}, True, True)
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, V]) -> None:
        self._entries: dict[str, Any] = {
            key: FrozenMap(value) if isinstance(value, Mapping) else value for key, value in entries.items()
        }

    def __getitem__(self, key: str) -> V:
        value: V = self._entries[key]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        # a list among the values has its text in its place: equal lists have equal texts
        pairs = ((key, value if isinstance(value, Hashable) else repr(value)) for key, value in self.items())
        return hash(frozenset(pairs))

    def __repr__(self) -> str:
        return repr(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMap, (dict(self._entries),)
