"""A learning-rate finder: a short training whose rate rises, and where its loss is lowest."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from transferzoo import plots
from transferzoo.data.dataset import Dataset
from transferzoo.data.splits import stratified_indices
from transferzoo.errors import DivergedError, InvalidInputError, UnknownOptionError, invalid
from transferzoo.features.extract import frozen_features, split_at_features
from transferzoo.features.store import FeatureStore
from transferzoo.ground.arguments import check_count, check_flag, finite
from transferzoo.ground.progress import Progress, choose_progress
from transferzoo.models.construct import construct
from transferzoo.models.plan import seeded
from transferzoo.models.prediction import needs_floats
from transferzoo.planning import plan_run
from transferzoo.recipes.recipe import Recipe
from transferzoo.training.callbacks import model_arrays, restore_model
from transferzoo.training.loop import train
from transferzoo.training.plan import PhasePlan, images_for, plan, training_batches
from transferzoo.training.traces import traces_freed
from transferzoo.training.training_model import compile_for, training_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger("transferzoo")

MOST_STEPS = 1_000_000
FEWEST_STEPS = 20
# share of the steps that the average of the losses reaches back, and that is left out at the beginning
MEMORY = 0.1
# fastai's: a smoothed loss so many times the best one has left for good
LOST = 4
BELOW_MINIMUM = 10


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """The loss of a short training against its rising rate.

    Parameters
    ----------
    rates : tuple of float
        One per step, growing exponentially.
    losses : tuple of float
        As many: the training loss, smoothed by an exponential moving average with bias correction that
        reaches back a tenth of the steps.
    raw_losses : tuple of float
        As many: each batch's own, label smoothing included.
    suggestion : float
        A tenth of the rate at which `losses` is lowest, and no less than the lowest rate; the first tenth of
        the steps do not count.
    stopped_early : bool
        Whether the loss left for good, past 4 times its best or the numbers, before the highest rate.
    phase : str
        Name of the recipe's phase that was looked at.
    recipe_rate : float
        The rate that the phase has without this.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    raw_losses: tuple[float, ...]
    suggestion: float
    stopped_early: bool
    phase: str
    recipe_rate: float

    def __str__(self) -> str:
        return (
            f"suggested learning rate {self.suggestion:.2g} for phase '{self.phase}' "
            f"(the recipe's own: {self.recipe_rate:.2g})"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loss against the rate; see :func:`transferzoo.plots.learning_rates`."""
        return plots.learning_rates(self, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; ``RateCurve(**record)`` holds the same numbers."""
        return {
            "rates": list(self.rates),
            "losses": list(self.losses),
            "raw_losses": list(self.raw_losses),
            "suggestion": self.suggestion,
            "stopped_early": self.stopped_early,
            "phase": self.phase,
            "recipe_rate": self.recipe_rate,
        }


def find_learning_rate(
    model: str | keras.Model,
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe = "default",
    lowest: float = 1e-7,
    highest: float = 1.0,
    steps: int = 100,
    seed: int = 0,
    cache: bool = True,
    verbose: bool | str | Progress = "auto",
    **options: Any,
) -> RateCurve:
    """Suggest a learning rate for the recipe's main phase, from a short training whose rate rises.

    The phases before the main one are carried out first. Then the main one's optimizer, batches, augmentation
    and loss are used for `steps` batches. Validation and test images are not used: where an earlier phase
    chooses by validation images, a fifth of the training images stands in.

    Parameters
    ----------
    model : str or keras.Model
        A backbone's name, or a model from `build`, whose weights are put back exactly.
    data : str, Path or Dataset
        As `fit_and_evaluate` takes it.
    recipe : str or Recipe, default "default"
        One of `list_recipes()`, or a record.
    lowest, highest : float, default 1e-7 and 1.0
        Rates of the first and the last step.
    steps : int, default 100
        Batches, 20 or more.
    seed : int, default 0
        Of random weights, order and augmentation.
    cache : bool, default True
        Whether features of a frozen backbone are kept on disk; see `FeatureStore`.
    verbose : {"auto", True, False}, default "auto"
        Show progress on standard error: bars in a terminal or a notebook, lines elsewhere.
    **options
        As `fit_and_evaluate` takes them, without `learning_rate`.

    Returns
    -------
    RateCurve
        Rates, losses and the suggestion.

    Raises
    ------
    UnknownNameError, UnknownOptionError, InvalidInputError
        For a bad call, or where the recipe solves its head in one go and so has no rate.
    WeightsError, DownloadError
        If weights cannot be downloaded.
    DivergedError
        If the loss becomes NaN or infinite before a tenth of the steps.

    Notes
    -----
    The suggestion is a tenth of the rate at the lowest smoothed loss, one of the rules of fastai's
    ``lr_find`` (``minimum``). Its ``steep`` takes the steepest fall and its ``valley``, the default there,
    a point along the longest fall. The lowest point is less at the mercy of single batches where the head is
    trained already, so that the loss begins low and hardly falls.

    References
    ----------
    Smith (2017), "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3.
    fastai, ``fastai/callback/schedule.py``, ``LRFinder`` and ``lr_find``.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> curve = tz.find_learning_rate("mobilenet_025", data, weights=None, image_size="input", steps=20)
    >>> curve.phase, len(curve.rates) <= 20
    ('scratch', True)
    """
    lowest, highest = _check_rates(lowest, highest)
    steps = check_count("steps", steps, FEWEST_STEPS, most=MOST_STEPS)
    progress = choose_progress(verbose)
    cache = check_flag("cache", cache)
    if "learning_rate" in options:
        raise UnknownOptionError(
            "find_learning_rate looks for the learning_rate, so it takes none. Leave it out, or pass lowest "
            "and highest.",
            argument="learning_rate",
        )
    run = plan_run(
        model,
        data,
        recipe=recipe,
        seed=seed,
        out=None,
        options=options,
        keep_features=cache,
        progress=progress,
        caller="find_learning_rate",
        for_testing=False,
    )
    _refuse_without_rate(run.recipe)
    network = run.model
    if network is None:
        assert run.build_plan is not None
        network = construct(run.build_plan, seed=run.seed, progress=progress)
    store = FeatureStore() if run.keep_features else None
    rates = np.geomspace(lowest, highest, steps).tolist()
    with seeded(run.seed), traces_freed(), _put_back(network):
        main = plan(network, run.data, run.recipe, seed=run.seed)[-1]
        if len(run.recipe.phases) > 1:
            before = replace(run.recipe, phases=run.recipe.phases[:-1], keep="last", patience=None)
            train(
                network,
                _held_out(run.data, run.seed),
                before,
                seed=run.seed,
                progress=progress,
                store=store,
            )
        raw_losses, lost = _rising(main, network, run.data, rates, store, progress)
    return _judge(rates, raw_losses, lost, main)


def smooth(values: Iterable[float], memory: float) -> list[float]:
    """Return a moving average whose weights fall by ``1 - 1 / memory`` a step, corrected for its start."""
    kept = max(0.0, 1 - 1 / memory)
    average, smoothed = 0.0, []
    for count, value in enumerate(values, 1):
        average = kept * average + (1 - kept) * value
        smoothed.append(average / (1 - kept**count))
    return smoothed


def _judge(rates: list[float], raw_losses: list[float], lost: bool, main: PhasePlan) -> RateCurve:
    """Return the curve and what it suggests."""
    memory = MEMORY * len(rates)
    first = round(memory)
    if len(raw_losses) <= first:
        raise DivergedError(
            f"Training diverged: the loss became NaN or infinite at a rate of {rates[len(raw_losses)]:.2g}, "
            f"after {len(raw_losses)} steps. Pass a lower 'lowest'; it was {rates[0]:g}."
        )
    losses = smooth(raw_losses, memory)
    minimum = first + int(np.argmin(losses[first:]))
    for end, where in (("lowest", first), ("highest", len(rates) - 1)):
        if minimum == where:
            logger.warning(
                "the loss is lowest at the %s rates that were tried, so the suggestion says little; "
                "pass other bounds",
                end,
            )
    fall = losses[first] - losses[minimum]
    spread = float(np.std(np.subtract(raw_losses, losses)[: minimum + 1]))
    if fall < spread:
        logger.warning(
            "the loss hardly falls at any rate that was tried, by %.2g where batches differ by %.2g, so the "
            "suggestion says little; pass a higher 'highest' or more steps",
            fall,
            spread,
        )
    assert main.phase.learning_rate is not None
    return RateCurve(
        rates=tuple(rates[: len(losses)]),
        losses=tuple(losses),
        raw_losses=tuple(raw_losses),
        suggestion=max(rates[0], rates[minimum] / BELOW_MINIMUM),
        stopped_early=lost,
        phase=main.phase.name,
        recipe_rate=main.phase.learning_rate,
    )


def _rising(
    main: PhasePlan,
    model: keras.Model,
    data: Dataset,
    rates: list[float],
    store: FeatureStore | None,
    progress: Progress,
) -> tuple[list[float], bool]:
    """Train one batch at each rate; return the batches' losses, and whether they left for good."""
    plain = replace(main.phase, schedule="constant", plateau=None, learning_rate=rates[0])
    step = replace(main, phase=plain)
    part = images_for(step, data)
    x_train = part.x_train
    if step.features_once:
        x_train = frozen_features(split_at_features(model)[0], x_train, store=store, progress=progress)
    with training_model(step, model, x_train) as fitted:
        network = fitted.network
        compile_for(step, network, model, part.x_train)
        batches = training_batches(step, part, x_train, as_float=needs_floats(network))
        losses: list[float] = []
        with progress.task(f"{step.phase.name}, rising rate", len(rates)) as task:
            for number, rate in enumerate(rates):
                batches.epoch, index = divmod(number, batches.steps)
                network.optimizer.learning_rate = rate
                loss = float(network.train_on_batch(*batches[index], return_dict=True)["loss"])
                if not math.isfinite(loss):
                    return losses, True
                losses.append(loss)
                smoothed = smooth(losses, MEMORY * len(rates))
                if smoothed[-1] > LOST * min(smoothed):
                    return losses, number < len(rates) - 1
                task.advance()
    return losses, False


@contextlib.contextmanager
def _put_back(model: keras.Model) -> Iterator[None]:
    """Give the model back the weights and random states it had, whatever the block does."""
    arrays = {name: np.array(value) for name, value in model_arrays(model).items()}
    try:
        yield
    finally:
        restore_model(model, arrays)


def _held_out(data: Dataset, seed: int) -> Dataset:
    """Return the training images alone, a fifth of them in the validation images' place."""
    count = max(data.num_classes, len(data.y_train) // 5)
    chosen = stratified_indices(data.y_train, count, np.random.SeedSequence((seed, 1)))
    rest = np.setdiff1d(np.arange(len(data.y_train)), chosen)
    return replace(
        data,
        x_train=data.x_train[rest],
        y_train=data.y_train[rest],
        x_validation=data.x_train[chosen],
        y_validation=data.y_train[chosen],
    )


def _check_rates(lowest: Any, highest: Any) -> tuple[float, float]:
    for argument, value in (("lowest", lowest), ("highest", highest)):
        number = finite(value)
        if number is None or number <= 0:
            raise invalid(argument, "a number above 0", value)
    if highest <= lowest:
        raise invalid("highest", f"above lowest, {lowest:g}", highest)
    return float(lowest), float(highest)


def _refuse_without_rate(recipe: Recipe) -> None:
    if recipe.phases[-1].optimizer == "lbfgs":
        raise InvalidInputError(
            f"recipe '{recipe.name}' solves its head in one go here and has no learning rate to look for. "
            "Use recipe='head', which trains a head in epochs, or let the backbone learn.",
            argument="recipe",
            value=recipe.name,
        )
