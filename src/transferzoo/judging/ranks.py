"""Which ranks a model may have among several, as far as the tests tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transferzoo.errors import invalid


def rank_intervals(comparisons: Iterable[Any]) -> Mapping[str, tuple[int, int]]:
    """Return the best and the worst rank that each of several models may have.

    A model that k others are distinguishably better than has at best rank ``k + 1``; one that is
    distinguishably better than k of M models has at worst rank ``M - k``.

    Parameters
    ----------
    comparisons : iterable of Comparison
        Every pair of the models, as `compare_pairs` and `Study.comparisons` return them.

    Returns
    -------
    mapping of str to (int, int)
        Best and worst rank, 1 or more, in the order of the models' accuracies.

    Raises
    ------
    InvalidInputError
        If something else is given.

    References
    ----------
    Goldstein and Spiegelhalter (1996), League tables and their limitations, J. R. Stat. Soc. A 159,
    385-443, on reporting ranks with their uncertainty.

    Examples
    --------
    >>> import numpy as np
    >>> from transferzoo.statistics import compare_pairs
    >>> images = np.arange(400)
    >>> good = images % 10 != 0
    >>> models = {"good": good, "like it": good & (images != 1), "poor": images % 2 == 0}
    >>> rank_intervals(compare_pairs(models))
    {'good': (1, 2), 'like it': (1, 2), 'poor': (3, 3)}
    """
    pairs = list(comparisons) if isinstance(comparisons, Iterable) else [None]
    if not pairs or not all(hasattr(pair, "distinguishable") for pair in pairs):
        raise invalid("comparisons", "the comparisons of every pair, as compare_pairs returns them", pairs)
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b)))
    # the pairs of the best models come first, with the better one as `a`
    better = dict.fromkeys(names, 0)
    worse = dict.fromkeys(names, 0)
    for pair in pairs:
        if pair.distinguishable:
            worse[pair.a] += 1
            better[pair.b] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}


def ranks_in_words(intervals: Mapping[str, tuple[int, int]]) -> str:
    """Return rank intervals in a line.

    Examples
    --------
    >>> ranks_in_words({"good": (1, 2), "like it": (1, 2), "poor": (3, 3)})
    'possible ranks: good 1–2, like it 1–2, poor 3'
    """
    words = [
        f"{name} {low}" if low == high else f"{name} {low}–{high}" for name, (low, high) in intervals.items()
    ]
    return f"possible ranks: {', '.join(words)}"
