"""What watches a phase: its record, the best weights, and the checkpoint that lets it continue."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from transferzoo.errors import RecordError
from transferzoo.ground.interrupts import stopping
from transferzoo.training.checkpoints import Checkpoints, TrainingState

logger = logging.getLogger("transferzoo")

# what Keras' own callbacks forget when `fit` begins
REMEMBERED = ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch")


class EpochRecord(keras.callbacks.Callback):
    """Adds each epoch's figures to `rows`, with its rate and its seconds.

    Parameters
    ----------
    phase : str
    rows : list of dict
    earlier_seconds : float, default 0
        Spent on the first epoch before it was broken off.
    """

    def __init__(self, phase: str, rows: list[dict[str, Any]], earlier_seconds: float = 0.0) -> None:
        super().__init__()
        self.phase = phase
        self.rows = rows
        self._earlier = earlier_seconds
        self._began = time.perf_counter()

    @property
    def epoch_seconds(self) -> float:
        """Spent on the epoch so far."""
        return self._earlier + time.perf_counter() - self._began

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add a row."""
        figures = {key: float(value) for key, value in (logs or {}).items() if key != "learning_rate"}
        figures["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        figures["seconds"] = self.epoch_seconds
        self._earlier, self._began = 0.0, time.perf_counter()
        self.rows.append({**figures, "phase": self.phase})
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        logger.info("%s, epoch %d: %s", self.phase, epoch + 1, shown)


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """Where a phase began: its weights, and what they make of the validation images.

    Parameters
    ----------
    weights : list of ndarray
    correct : ndarray of bool, shape (n,)
        Which validation images they get right.
    likelihood : ndarray of float, shape (n,)
        The logarithm of the probability that they give to the true class.
    """

    weights: list[np.ndarray]
    correct: np.ndarray
    likelihood: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as `TrainingState.arrays` holds it."""
        weights = {f"origin_{i}": value for i, value in enumerate(self.weights)}
        return {**weights, "correct_0": self.correct, "likelihood_0": self.likelihood}

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Origin | None:
        """Return what `arrays` holds of it, or None."""
        if "correct_0" not in arrays:
            return None
        return Origin(
            weights=_listed(arrays, "origin"),
            correct=arrays["correct_0"].astype(bool),
            likelihood=arrays["likelihood_0"],
        )


class KeepBest(keras.callbacks.EarlyStopping):
    """Early stopping that leaves the weights to the phase, which may take two sittings.

    Of epochs that are equally good the last one is kept: a few validation images leave many so, and the
    rate's schedule ends there.
    """

    best_epoch: int

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the epoch if it is the best so far, or as good as that."""
        super().on_epoch_end(epoch, logs)
        value = (logs or {}).get(self.monitor)
        if value is not None and value == self.best and epoch != self.best_epoch:
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the weights as they are."""


class CheckpointCallback(keras.callbacks.Callback):
    """Saves the state of a phase, and brings a saved one back.

    Parameters
    ----------
    checkpoints : Checkpoints
    start : TrainingState
        Where the phase begins.
    model : keras.Model
        The user's model; Keras sets `self.model` to the one that is fitted, which shares its weights.
    remembering : sequence of Callback
        Those whose state is kept.
    batches : int
        Batches per epoch.
    describe : callable
        Returns the fields of `TrainingState` that only the run knows.
    origin : Origin, optional
        Where the phase began, if it may be returned to.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        start: TrainingState,
        model: keras.Model,
        remembering: Sequence[keras.callbacks.Callback],
        *,
        batches: int,
        describe: Callable[[], Mapping[str, Any]],
        origin: Origin | None = None,
    ) -> None:
        super().__init__()
        self._origin = origin
        self._checkpoints = checkpoints
        self._state: TrainingState | None = start if start.arrays else None
        self._built = model
        self._remembering = remembering
        self._batches = batches
        self._describe = describe
        self._phase = start.phase
        self._epoch, self._batch = start.epoch, start.batch
        self._metrics: list[np.ndarray] | None = None
        self._memory: tuple[list[dict[str, Any]], list[np.ndarray]] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Bring the saved state back, after the other callbacks have forgotten theirs."""
        state, self._state = self._state, None
        if self._memory is not None:
            recall(self._remembering, *self._memory)
        if state is None:
            return
        _assign(self._variables(), state.arrays, "model")
        self.model.optimizer.build(self.model.trainable_variables)
        _assign(self.model.optimizer.variables, state.arrays, "optimizer")
        if state.batch:
            self._metrics = _listed(state.arrays, "metric")
        recall(self._remembering, state.callbacks, _listed(state.arrays, "best"))

    def bring_back(self, network: keras.Model) -> None:
        """Set weights and memory to the saved ones, where nothing of the phase is left to fit."""
        if self._state is not None:
            _assign(unique_variables(self._built, network), self._state.arrays, "model")
            recall(self._remembering, self._state.callbacks, _listed(self._state.arrays, "best"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """From here on, Ctrl-C waits for the end of a batch."""
        self._checkpoints.may_wait = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save if it is time; the end of an epoch saves anyway."""
        if self._metrics is not None:
            # Keras makes its metrics' sums at a first batch, so a broken epoch's are added after it
            sums, self._metrics = self._metrics, None
            for variable, value in zip(self.model.metrics_variables, sums, strict=True):
                variable.assign_add(value)
        self._batch += 1
        if self._batch < self._batches and self._checkpoints.due():
            self._save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save."""
        self._epoch, self._batch = epoch + 1, 0
        self._save()

    def on_train_end(self, logs: Any = None) -> None:
        """Let Ctrl-C work at once again; a broken epoch is one call of `fit`, the rest another."""
        self._checkpoints.may_wait = False
        self._memory = remember(self._remembering), best_weights(self._remembering)

    def _save(self) -> None:
        state = TrainingState(
            phase=self._phase,
            epoch=self._epoch,
            batch=self._batch,
            stopped=bool(self.model.stop_training),
            callbacks=remember(self._remembering),
            arrays={
                **_numbered(self._variables(), "model"),
                **_numbered(self.model.optimizer.variables, "optimizer"),
                **(_numbered(self.model.metrics_variables, "metric") if self._batch else {}),
                **{f"best_{i}": value for i, value in enumerate(best_weights(self._remembering))},
                **(self._origin.arrays() if self._origin is not None else {}),
            },
            **self._describe(),
        )
        self._checkpoints.save(state)
        if self._checkpoints.interrupted:
            said = (
                f"Interrupted. All up to {state.where()} is saved in '{self._checkpoints.folder}'; "
                "the same call continues from there."
            )
            if self._checkpoints.interrupted != signal.SIGINT:
                # SystemExit shows no message of its own beside a code
                logger.warning("%s", said)
            raise stopping(self._checkpoints.interrupted, said)

    def _variables(self) -> list[Any]:
        # jax: asking for `self.model` brings its variables up to date
        return unique_variables(self._built, self.model)


def unique_variables(*models: keras.Model) -> list[Any]:
    """Return the models' variables, random states included, each once; optimizers' and metrics' left out."""
    found: dict[int, Any] = {}
    for model in models:
        skipped = {id(variable) for variable in model.metrics_variables}
        found |= {id(variable): variable for variable in model.variables if id(variable) not in skipped}
    return list(found.values())


def model_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """Return a model's variables as `TrainingState.arrays` holds them between phases."""
    return _numbered(unique_variables(model), "model")


def restore_model(model: keras.Model, arrays: Mapping[str, np.ndarray], *, whole: bool = False) -> None:
    """Set a model's variables to saved ones; what a phase's own network adds comes after them.

    Raises
    ------
    RecordError
        If an array does not fit; with `whole`, also if there is none for a variable.
    """
    values = _listed(arrays, "model")
    variables = unique_variables(model)
    if whole and len(values) < len(variables):
        raise _unfit(f"{len(values)} arrays for {len(variables)} variables of the model")
    for variable, value in zip(variables, values, strict=False):
        _set(variable, value)


def remember(callbacks: Sequence[keras.callbacks.Callback]) -> list[dict[str, Any]]:
    """Return what the callbacks know, in plain JSON types."""
    return [
        {name: _number(getattr(callback, name)) for name in REMEMBERED if hasattr(callback, name)}
        for callback in callbacks
    ]


def recall(
    callbacks: Sequence[keras.callbacks.Callback],
    states: Sequence[Mapping[str, Any]],
    best: Sequence[np.ndarray],
) -> None:
    """Give the callbacks back what `remember` returned, and the best weights."""
    if len(callbacks) != len(states):
        raise _unfit(f"{len(states)} callbacks for {len(callbacks)}")
    for callback, state in zip(callbacks, states, strict=True):
        for name, value in state.items():
            if name not in REMEMBERED or not isinstance(value, int | float | None):
                raise _unfit(f"{name}={value!r:.40} for a callback")
            setattr(callback, name, value)
        if isinstance(callback, KeepBest) and best:
            callback.best_weights = list(best)


def best_weights(callbacks: Sequence[keras.callbacks.Callback]) -> list[np.ndarray]:
    """Return the best weights that a callback holds, or none."""
    held = (callback.best_weights for callback in callbacks if isinstance(callback, KeepBest))
    return next((list(weights) for weights in held if weights is not None), [])


def _number(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else float(value)


def _numbered(variables: Sequence[Any], kind: str) -> dict[str, np.ndarray]:
    return {f"{kind}_{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}


def _listed(arrays: Mapping[str, np.ndarray], kind: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{kind}_") for name in arrays)
    if any(f"{kind}_{i}" not in arrays for i in range(count)):
        raise _unfit(f"arrays of the {kind} whose numbers have gaps")
    return [arrays[f"{kind}_{i}"] for i in range(count)]


def _assign(variables: Sequence[Any], arrays: Mapping[str, np.ndarray], kind: str) -> None:
    values = _listed(arrays, kind)
    if len(values) != len(variables):
        raise _unfit(f"{len(values)} arrays for {len(variables)} variables of the {kind}")
    for variable, value in zip(variables, values, strict=True):
        _set(variable, value)


def _set(variable: Any, value: np.ndarray) -> None:
    if tuple(variable.shape) != value.shape or value.dtype.kind not in "biuf":
        raise _unfit(f"an array of {value.dtype} of shape {value.shape} for one of {tuple(variable.shape)}")
    variable.assign(value)


def _unfit(why: str) -> RecordError:
    return RecordError(
        f"The checkpoint does not fit the model: it has {why}. Delete it, and the run starts from the "
        "beginning.",
        argument="out",
    )
