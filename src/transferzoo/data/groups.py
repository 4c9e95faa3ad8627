"""Images that belong together, such as the frames of one video: groups that no split divides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transferzoo.errors import InvalidInputError, invalid, listing, printable

GROUPS = "one name or number for each image"
# random orders in which groups are offered to a split; the one nearest to the wanted share is taken
DRAWS = 32
SHOWN = 5


def check_groups(argument: str, groups: Any, count: int) -> np.ndarray:
    """Return groups as an array of text, shape (count,), or raise.

    Raises
    ------
    InvalidInputError
        If there are more or fewer than `count`, or one is missing (None, NaN, empty text).
    """
    if isinstance(groups, str | bytes | Mapping) or not hasattr(groups, "__len__"):
        raise invalid(argument, GROUPS, groups)
    values = np.asarray(groups, dtype=object)
    if values.shape != (count,):
        raise invalid(argument, f"{GROUPS}, {count} of them", values.shape)
    texts = [_text(value) for value in values]
    missing = [place for place, text in enumerate(texts) if not text]
    if missing:
        raise invalid(
            argument,
            GROUPS,
            f"{len(missing)} empty ones, the first at place {missing[0]}",
            remedy="Give an image that belongs to no other one a name of its own.",
        )
    return np.array(texts)


def _text(value: Any) -> str:
    """Return a group as text; a whole number loses the '.0' that a data frame gave it."""
    if value is None or value != value:
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


def groups_by_pattern(pattern: Any, names: Sequence[str]) -> list[str]:
    r"""Return the part of each file name that a regular expression finds.

    Its first group in parentheses counts, or all that it matches where it has none.

    Raises
    ------
    InvalidInputError
        If it is no regular expression, or finds nothing in some of the names.

    Examples
    --------
    >>> groups_by_pattern(r"(patient\d+)", ["cat/patient7-a.png", "dog/patient12-a.png"])
    ['patient7', 'patient12']
    """
    accepted = "a regular expression over file names, such as r'(patient\\d+)_'"
    if not isinstance(pattern, str) or not pattern:
        raise invalid("groups", accepted, pattern)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise invalid("groups", accepted, pattern, remedy=f"It cannot be read: {error}.") from error
    found, without = [], []
    for name in names:
        match = compiled.search(name)
        text = "" if match is None else (match.group(1) if compiled.groups else match.group(0)) or ""
        found.append(text)
        if not text:
            without.append(printable(name))
    if without:
        raise InvalidInputError(
            f"groups must find a group in the name of each file. '{pattern}' finds none in {len(without)} of "
            f"{len(names)}: {listing(without, SHOWN)}. The names begin at the class folder, with '/' between "
            "the parts.",
            argument="groups",
            value=pattern,
        )
    return found


def refuse_divided(groups: Mapping[str, np.ndarray], argument: str) -> None:
    """Raise where splits that were given share a group.

    Parameters
    ----------
    groups : mapping of split to array of text
    argument : str
        What the splits came from, for the error.
    """
    seen: dict[str, str] = {}
    for split, names in groups.items():
        for name in dict.fromkeys(names.tolist()):
            if name and seen.setdefault(name, split) != split:
                raise invalid(
                    argument,
                    "splits that share no group",
                    name,
                    remedy=f"That group is in the {seen[name]} set and in the {split} set.",
                )


def groups_of_classes(y: np.ndarray, groups: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    """Return how many groups have images of each class."""
    return {name: len(np.unique(groups[y == label])) for label, name in enumerate(class_names)}


def grouped_indices(
    y: np.ndarray, groups: np.ndarray, count: int, seed: int | np.random.SeedSequence, *, spare: int
) -> np.ndarray:
    """Return sorted indices of whole groups: about `count` labels, in about the proportions of `y`.

    Of each class at least one group is taken, and `spare` groups are left behind. Groups are offered in a
    random order, and one is taken where that brings the number of images of each class nearer to its share,
    as scikit-learn's ``StratifiedGroupKFold`` decides, which can only divide into equal parts. The best of 32
    orders counts.

    Raises
    ------
    InvalidInputError
        If no order leaves each class enough groups on both sides.
    """
    rng = np.random.default_rng(seed)
    names, number = np.unique(groups, return_inverse=True)
    labels, label = np.unique(y, return_inverse=True)
    table = np.zeros((len(names), len(labels)))
    np.add.at(table, (number, label), 1)
    total = table.sum(axis=0)
    wanted = total * (count / len(y))
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for _ in range(DRAWS):
        taken = np.zeros(len(names), bool)
        held = np.zeros(len(labels))
        for group in rng.permutation(len(names)):
            nearer = _distance(held + table[group], wanted, total) < _distance(held, wanted, total)
            left = ((table > 0) & ~taken[:, None]).sum(axis=0) - (table[group] > 0)
            if nearer and (left >= spare).all():
                taken[group] = True
                held += table[group]
        missing = int((held == 0).sum())
        score = (missing, _distance(held, wanted, total))
        if best is None or score < best[0]:
            best = score, taken
    assert best is not None
    if best[0][0]:
        raise InvalidInputError(
            "The groups cannot be shared out so that each split has images of each class. Use larger shares "
            "or fewer splits, or give the splits yourself.",
            argument="groups",
        )
    return np.flatnonzero(best[1][number])


def _distance(held: np.ndarray, wanted: np.ndarray, total: np.ndarray) -> float:
    """Return how far the images of each class are from the wanted number, as shares of the class."""
    return float((((held - wanted) / total) ** 2).sum())
