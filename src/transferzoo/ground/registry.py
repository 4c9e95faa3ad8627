"""A registry keeps the records of one kind (backbone, head, dataset, recipe) under their names."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, Generic, TypeVar

from transferzoo.errors import InvalidInputError, NameTakenError, invalid, unknown_name
from transferzoo.ground.arguments import check_flag

T = TypeVar("T")

logger = logging.getLogger("transferzoo")


class Registry(Generic[T]):
    """Names and what stands behind them, for one kind of thing.

    Parameters
    ----------
    kind : str
        The word for one of them in messages, such as ``"backbone"``.
    fits : callable, optional
        Tells whether what a package's entry point holds is such a record.
    made_of : callable, optional
        Makes a record of the name and of what an entry point holds, where that is none yet.

    Notes
    -----
    An installed package adds names through entry points of the group ``transferzoo.backbones`` (``.heads``,
    ``.datasets``, ``.recipes``): each names the place of a record, which is imported when the name is first
    used. A name that is registered goes before a package's.

    Examples
    --------
    >>> colours = Registry("colour")
    >>> colours.register("crimson", "#dc143c")
    >>> colours.names("c*")
    ['crimson']
    """

    def __init__(
        self,
        kind: str,
        fits: Callable[[Any], bool] = lambda record: True,
        *,
        made_of: Callable[[str, Any], Any] = lambda name, found: found,
    ) -> None:
        self.kind = kind
        self._fits = fits
        self._made_of = made_of
        self._records: dict[str, T] = {}
        self._found: dict[str, metadata.EntryPoint] | None = None
        self._elsewhere: dict[str, Callable[[str], T]] = {}
        self._seen: dict[str, T] = {}

    def resolve_with(self, prefix: str, find: Callable[[str], T]) -> None:
        """Let a function find the records of names that begin with `prefix`; each is looked for once."""
        self._elsewhere[prefix] = find

    def _plugins(self) -> dict[str, metadata.EntryPoint]:
        """Return what installed packages offer; looked for once, and not imported."""
        if self._found is None:
            self._found = {}
            for point in metadata.entry_points(group=f"transferzoo.{self.kind}s"):
                first = self._found.setdefault(point.name, point)
                if first is not point or point.name in self._records:
                    used = (
                        "transferzoo's own" if point.name in self._records else f"that of '{_package(first)}'"
                    )
                    logger.warning(
                        "'%s' offers a %s named '%s', which is taken: %s is used",
                        _package(point),
                        self.kind,
                        point.name,
                        used,
                    )
        return self._found

    def _load(self, name: str) -> T:
        """Import what a package offers under a name, and keep it."""
        point = self._plugins()[name]
        where = f"The {self.kind} '{name}' of '{_package(point)}' (entry point '{point.value}')"
        try:
            record = self._made_of(name, point.load())
        except Exception as error:
            # a stranger's module may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise InvalidInputError(f"{where} cannot be imported: {reason}.", argument=self.kind) from error
        if not self._fits(record):
            raise InvalidInputError(
                f"{where} is no {self.kind}'s record. Got {type(record).__name__}.", argument=self.kind
            )
        self._records[name] = record
        return self._records[name]

    def register(self, name: str, record: T, *, replace: bool = False) -> None:
        """Put `record` under `name`; a name that is taken is refused unless `replace`."""
        replace = check_flag("replace", replace)
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
        every = {*self._records, *self._plugins()}
        return sorted(name for name in every if fnmatch.fnmatchcase(name.lower(), pattern.lower()))

    def get(self, name: Any) -> T:
        """Return the record under `name`, or raise with the nearest name."""
        if isinstance(name, str) and name in self._records:
            return self._records[name]
        if isinstance(name, str) and name in self._plugins():
            return self._load(name)
        for prefix, find in self._elsewhere.items():
            if isinstance(name, str) and name.startswith(prefix):
                if name not in self._seen:
                    self._seen[name] = find(name)
                return self._seen[name]
        raise unknown_name(self.kind, name, self.names(), f"tz.list_{self.kind}s()")

    def __contains__(self, name: object) -> bool:
        found = name in self._records or name in self._plugins()
        return found or (isinstance(name, str) and name.startswith(tuple(self._elsewhere)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a package"
