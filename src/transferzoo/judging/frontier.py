"""Which models no other beats in both accuracy and cost, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array, check_count, check_seed
from transferzoo.judging.prediction_checks import Found
from transferzoo.judging.proportions import check_correct, check_same_images, resampled_accuracies


def pareto_frontier(accuracies: ArrayLike, costs: ArrayLike) -> NDArray[np.bool_]:
    """Which models no other beats: at least as accurate for at most the cost, and better in one.

    Parameters
    ----------
    accuracies : array of float, shape (k,) or (resamples, k)
        More is better.
    costs : array of float, shape (k,)
        Less is better. A model without a cost or an accuracy (NaN) is never on the frontier.

    Returns
    -------
    ndarray of bool, shape of `accuracies`
        Of two models that are alike in both, both are on it or neither.

    Raises
    ------
    InvalidInputError
        If there is not one cost for each model.

    Examples
    --------
    >>> pareto_frontier([0.8, 0.9, 0.7], [1.0, 5.0, 2.0])
    array([ True,  True, False])
    """
    gains, prices = (
        check_array(argument, value, "numbers, one for each model").astype(np.float64)
        for argument, value in (("accuracies", accuracies), ("costs", costs))
    )
    if prices.ndim != 1 or gains.shape[-1:] != prices.shape:
        models = gains.shape[-1] if gains.ndim else 1
        raise invalid("costs", f"{models} numbers, one for each model", Found(f"shape {prices.shape}"))
    kept = np.ones(gains.shape, dtype=bool)
    for i in range(len(prices)):
        for j in range(len(prices)):
            no_worse = (gains[..., j] >= gains[..., i]) & bool(prices[j] <= prices[i])
            better = (gains[..., j] > gains[..., i]) | bool(prices[j] < prices[i])
            kept[..., i] &= ~(no_worse & better)
    return kept & np.isfinite(prices) & np.isfinite(gains)


def pareto_probability(
    correct: Sequence[ArrayLike], costs: ArrayLike, *, resamples: int = 2_000, seed: int = 0
) -> NDArray[np.float64]:
    """How often each model lies on the Pareto frontier when test images and seeds are drawn again.

    Parameters
    ----------
    correct : sequence of array of bool, shape (n,) or (seeds, n)
        One a model, all on the same images.
    costs : array of float, shape (k,)
        Less is better; taken as known. NaN: never on the frontier.
    resamples : int, default 2,000
        Bootstrap samples of images, the same for all models, and of each model's runs.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    ndarray of float64, shape (k,)
        Shares of the resamples, in ``[0, 1]``. With one run of each, how seeds vary is not counted.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together.

    Examples
    --------
    >>> images = np.arange(400)
    >>> pareto_probability([images % 10 != 0, images % 2 == 0, images % 3 != 0], [5.0, 1.0, 9.0])
    array([1., 1., 0.])
    """
    arrays = [check_correct(f"correct[{i}]", each) for i, each in enumerate(correct)]
    for i, each in enumerate(arrays):
        check_same_images(arrays[0], each, f"correct[{i}]")
    check_count("resamples", resamples, 1)
    rng = np.random.default_rng(check_seed(seed))
    if not arrays:
        raise invalid("correct", "one array for each model", Found("none"))
    drawn = np.stack(resampled_accuracies(arrays, resamples, rng), axis=1)
    return np.asarray(pareto_frontier(drawn, costs).mean(axis=0))
