"""A phase's optimizer: its rate over the steps, and over the layers."""

from __future__ import annotations

from typing import Any

import keras

from transferzoo.recipes.phase import Phase


def make_optimizer(
    phase: Phase, steps_per_epoch: int, *, rate_factors: list[float] | None = None
) -> keras.optimizers.Optimizer:
    """Return a fresh optimizer for a phase.

    Parameters
    ----------
    phase : Phase
    steps_per_epoch : int
    rate_factors : list of float, optional
        What the rate of each trainable variable is multiplied by, in the model's order.
    """
    rate: Any = phase.learning_rate
    total = phase.epochs * steps_per_epoch
    warmup = phase.rising_steps(total)
    if phase.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else phase.learning_rate,
            max(1, total - warmup),
            warmup_target=phase.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    elif phase.schedule == "one_cycle":
        rate = OneCycle(phase.learning_rate or 0.0, warmup, total)
    arguments: dict[str, Any] = {"learning_rate": rate, "weight_decay": phase.weight_decay or None}
    if phase.clip_norm is not None:
        arguments["global_clipnorm"] = float(phase.clip_norm)
    kind = keras.optimizers.SGD
    if phase.optimizer == "adamw":
        kind = keras.optimizers.AdamW
        arguments["weight_decay"] = phase.weight_decay
    else:
        # Keras refuses a whole number
        arguments |= {"momentum": float(phase.momentum), "nesterov": phase.nesterov}
    if rate_factors is not None and any(factor != 1 for factor in rate_factors):
        return _layerwise(kind)(rate_factors, **arguments)
    return kind(**arguments)


def rate_factors(model: keras.Model, backbone: keras.Model | None, decay: float) -> list[float]:
    """Return ``decay**k`` for each trainable variable of `model`, 1 outside the backbone.

    `k` counts the layers with kernels from the variable's own up to the backbone's end.
    """
    depths: dict[int, int] = {}
    depth = 0
    for layer in reversed(backbone.layers if backbone is not None else []):
        # what follows a kernel (a BatchNorm's scale, say) belongs to it
        for variable in layer.variables:
            depths[id(variable)] = depth + 1
        if any(len(variable.shape) > 1 for variable in layer.variables):
            depth += 1
    return [decay ** depths.get(id(variable), 0) for variable in model.trainable_variables]


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A straight rise to `peak` over `warmup` steps, and a straight fall to 0 at step `total`."""

    def __init__(self, peak: float, warmup: int, total: int) -> None:
        self.peak = peak
        self.warmup = warmup
        self.total = total

    def __call__(self, step: Any) -> Any:
        """Return the rate at `step`, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1.0
        rising = done / max(1, self.warmup)
        falling = (self.total + 1.0 - done) / max(1.0, self.total + 1.0 - self.warmup)
        return self.peak * keras.ops.maximum(keras.ops.minimum(rising, falling), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Return its arguments."""
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


def _layerwise(kind: Any) -> Any:
    # keras.optimizers.MultiOptimizer would need an optimizer a layer, and hides the rate from callbacks
    class Layerwise(kind):
        """Takes each variable's own share of the step that `kind` would take, weight decay included."""

        def __init__(self, factors: list[float], **arguments: Any) -> None:
            super().__init__(**arguments)
            self._factors = factors
            self._moved: Any = tuple

        def build(self, variables: Any) -> None:
            moved = list(variables)
            # as an attribute Keras would take the model's variables for the optimizer's own
            self._moved = lambda: moved
            super().build(variables)

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            if trainable_variables is not None and not self.built:
                self.build(list(trainable_variables))
            slower = [pair for pair in zip(self._moved(), self._factors, strict=True) if pair[1] != 1]
            # torch changes a variable's tensor in place
            before = [keras.ops.copy(variable) for variable, _ in slower]
            result = super().apply(grads, trainable_variables)
            for (variable, factor), old in zip(slower, before, strict=True):
                variable.assign(old + factor * (variable - old))
            return result

    Layerwise.__name__ = kind.__name__
    return Layerwise
