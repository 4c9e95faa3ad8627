"""A phase: a stretch of training with one optimizer, as a frozen record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from transferzoo.data.augmentation import Augmentation
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_choice, check_count, check_flag, finite
from transferzoo.models.freezing import check_policy_form

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)

# a phase of few steps gets so many times its weight decay at most
MOST_DECAY = 10.0

# and rises for so much of itself at most, to have as many steps as another
MOST_WARMUP = 0.3

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Lower the rate when a figure stops improving (`keras.callbacks.ReduceLROnPlateau`).

    Parameters
    ----------
    monitor : {"val_accuracy", "val_loss", "accuracy", "loss"}, default "val_accuracy"
    factor : float, default 0.1
        What the rate is multiplied by, above 0 and below 1.
    patience : int, default 3
        Epochs without improvement before that.
    minimum : float, default 0
        The rate falls no lower.
    """

    monitor: str = "val_accuracy"
    factor: float = 0.1
    patience: int = 3
    minimum: float = 0.0

    def __post_init__(self) -> None:
        if self.monitor not in FIGURES:
            raise invalid("monitor", " or ".join(map(repr, FIGURES)), self.monitor, candidates=FIGURES)
        _check_number("factor", self.factor, "a number above 0 and below 1", lambda v: 0 < v < 1)
        check_count("patience", self.patience, 1)
        _check_number("minimum", self.minimum, "a number of 0 or more", lambda v: True)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training with one optimizer.

    Parameters
    ----------
    name : str
        Stands in the history beside each epoch.
    epochs : int, default 1
    learning_rate : float, optional
        The highest rate of the phase. Left out for ``"lbfgs"``, which has none.
    when : {"always", "pretrained", "scratch"}, default "always"
        Whether the phase is for loaded weights, random ones, or both.
    heads : {"any", "linear", "other"}, default "any"
        Whether the phase is for heads that are pooling and one Dense layer, for all others, or for both.
    trainable : str, default "as_built"
        As `build` takes it; ``"as_built"`` leaves what `build` was told.
    batch_norm : {"as_built", "inference", "train"}, default "as_built"
        The backbone's BatchNorm: left to Keras; with its stored statistics while its scale and shift
        learn; or with the batch's statistics and a momentum of ``max(1 - 10 / steps per epoch, 0.9)``
        (Kornblith, Shlens, Le 2019, arXiv:1805.08974, appendix A.5), as the momenta that pretrained models
        carry, 0.99 to 0.999, never settle in a short training.
    optimizer : {"sgd", "adamw", "lbfgs"}, default "sgd"
        ``"lbfgs"`` solves a linear head as an L2-regularised multinomial logistic regression on
        standardised features (scikit-learn), in one go, for each of `c_values`.
    momentum, nesterov : float, bool
        For SGD.
    weight_decay : float, default 0
        Decoupled: each step takes ``learning_rate * weight_decay`` of a weight away, at the layer's own rate.
    layer_decay : float, default 1
        Layer-wise rate decay, in (0, 1]: the rate of a backbone layer with `k` layers of kernels between
        it and the head, its own included, is ``learning_rate * layer_decay**k`` (Howard and Ruder 2018,
        arXiv:1801.06146; Clark et al. 2020, arXiv:2003.10555). The head has the full rate.
    clip_norm : float, optional
        A step whose gradients are longer than this, all together, is shortened to it (Pascanu, Mikolov,
        Bengio 2013, arXiv:1211.5063, section 3.2).
    schedule : {"constant", "cosine", "one_cycle"}, default "constant"
        ``"cosine"`` falls to 0 along half a cosine; ``"one_cycle"`` along a line, as it rose (Smith and
        Topin 2018, arXiv:1708.07120, the momentum left alone).
    warmup : float, default 0
        Share of the steps over which a schedule rises from 0.
    plateau : Plateau, optional
        With a constant schedule.
    batch_size : int, default 64
    label_smoothing : float, default 0
        In [0, 1).
    augmentation : Augmentation, optional
        For training images only.
    max_images : int, optional
        At most so many training images, stratified, and a fifth as many validation images: enough to
        place a head that learns on.
    steps_per_epoch : int, optional
        At most so many steps per epoch, each epoch with other images; all images without it.
    least_steps : int, optional
        Where `epochs` have fewer steps than this, epochs are added, up to twice their number: a few hundred
        images make few steps per epoch.
    decay_steps : int, optional
        `weight_decay` is meant for so many steps. A phase with fewer takes proportionally more, up to ten
        times, so that few images shrink a weight as much as many do over the whole phase; after the
        normalised weight decay of Loshchilov and Hutter 2019, arXiv:1711.05101, appendix B.1.
    warmup_steps : int, optional
        Where `warmup` has fewer steps than this, the rate rises over so many, or over three tenths of the
        phase if those are fewer.
    rate_images : int, optional
        `learning_rate` is meant for so many training images or more. With fewer it is lower, by their share:
        few images say little about the layers that they would move far.
    norm_images : int, optional
        ``batch_norm="train"`` is meant for so many training images or more. With fewer it is ``"inference"``:
        the statistics of few images are worse than those that the weights were trained with.
    c_values : tuple of float
        Inverse strengths C of the penalty (scikit-learn's term) that ``"lbfgs"`` tries; validation
        accuracy chooses.
    """

    name: str
    epochs: int = 1
    learning_rate: float | None = None
    when: str = "always"
    heads: str = "any"
    trainable: str = "as_built"
    batch_norm: str = "as_built"
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    clip_norm: float | None = None
    schedule: str = "constant"
    warmup: float = 0.0
    plateau: Plateau | None = None
    batch_size: int = 64
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    max_images: int | None = None
    steps_per_epoch: int | None = None
    least_steps: int | None = None
    decay_steps: int | None = None
    warmup_steps: int | None = None
    rate_images: int | None = None
    norm_images: int | None = None
    c_values: tuple[float, ...] = STRENGTHS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise invalid("name", "a name that is not empty", self.name)
        object.__setattr__(self, "nesterov", check_flag("nesterov", self.nesterov))
        check_count("epochs", self.epochs, 1)
        check_count("batch_size", self.batch_size, 1)
        if self.max_images is not None:
            check_count("max_images", self.max_images, 1)
        if self.steps_per_epoch is not None:
            check_count("steps_per_epoch", self.steps_per_epoch, 1)
        if self.least_steps is not None:
            check_count("least_steps", self.least_steps, 1)
        if self.decay_steps is not None:
            check_count("decay_steps", self.decay_steps, 1)
        if self.warmup_steps is not None:
            check_count("warmup_steps", self.warmup_steps, 1)
        if self.rate_images is not None:
            check_count("rate_images", self.rate_images, 1)
        if self.norm_images is not None:
            check_count("norm_images", self.norm_images, 1)
        if self.trainable != "as_built":
            check_policy_form(self.trainable)
        if not isinstance(self.augmentation, Augmentation | None):
            remedy = "Recipe.with_options(augmentation=…) takes names."
            raise invalid("augmentation", "a tz.Augmentation or None", self.augmentation, remedy=remedy)
        if not isinstance(self.plateau, Plateau | None):
            raise invalid("plateau", "a tz.Plateau or None", self.plateau)
        if not isinstance(self.c_values, list | tuple):
            raise invalid("c_values", "one or more numbers above 0", self.c_values)
        object.__setattr__(self, "c_values", tuple(self.c_values))
        for argument, choices in (
            ("when", ("always", "pretrained", "scratch")),
            ("heads", ("any", "linear", "other")),
            ("batch_norm", ("as_built", "inference", "train")),
            ("optimizer", ("sgd", "adamw", "lbfgs")),
            ("schedule", ("constant", "cosine", "one_cycle")),
        ):
            check_choice(argument, getattr(self, argument), choices)
        if self.optimizer == "lbfgs":
            self._check_lbfgs()
        else:
            _check_number("learning_rate", self.learning_rate, "a number above 0", lambda v: v > 0)
        _check_number("label_smoothing", self.label_smoothing, "a number from 0 to below 1", lambda v: v < 1)
        _check_number("weight_decay", self.weight_decay, "a number of 0 or more", lambda v: True)
        _check_number("layer_decay", self.layer_decay, "a number above 0, at most 1", lambda v: 0 < v <= 1)
        if self.clip_norm is not None:
            _check_number("clip_norm", self.clip_norm, "a number above 0, or None", lambda v: v > 0)
        _check_number("momentum", self.momentum, "a number from 0 to below 1", lambda v: v < 1)
        _check_number("warmup", self.warmup, "a number from 0 to below 1", lambda v: v < 1)
        if self.plateau is not None and self.schedule != "constant":
            raise invalid("plateau", "left out where the schedule is not constant", self.plateau)

    def _check_lbfgs(self) -> None:
        given = {"learning_rate": self.learning_rate, "augmentation": self.augmentation}
        for argument, value in given.items():
            if value is not None:
                raise invalid(argument, "left out where the optimizer is 'lbfgs'", value)
        if self.trainable != "none":
            raise invalid("trainable", "'none' where the optimizer is 'lbfgs'", self.trainable)
        if not self.c_values:
            raise invalid("c_values", "one or more numbers above 0", self.c_values)
        for c in self.c_values:
            _check_number("c_values", c, "numbers above 0", lambda v: v > 0)

    def for_images(self, images: int) -> Phase:
        """Return the phase with the epochs, rate, decay and statistics that so many training images need."""
        images = min(images, self.max_images or images)
        steps = -(-images // self.batch_size)
        steps = min(steps, self.steps_per_epoch or steps)
        epochs, decay = self.epochs, self.weight_decay
        if self.least_steps is not None:
            epochs = max(epochs, min(-(-self.least_steps // steps), 2 * epochs))
        if self.decay_steps is not None:
            decay *= min(MOST_DECAY, max(1.0, self.decay_steps / (epochs * steps)))
        settled = replace(self, epochs=epochs, weight_decay=decay, least_steps=None, decay_steps=None)
        if self.norm_images is not None:
            stored = self.batch_norm == "train" and images < self.norm_images
            norm = "inference" if stored else self.batch_norm
            settled = replace(settled, batch_norm=norm, norm_images=None)
        if self.rate_images is None or self.learning_rate is None:
            return settled
        rate = self.learning_rate * min(1.0, images / self.rate_images)
        return replace(settled, learning_rate=rate, rate_images=None)

    def rising_steps(self, total: int) -> int:
        """Return over how many of the phase's steps the rate rises."""
        return round(total * max(self.warmup, min(MOST_WARMUP, (self.warmup_steps or 0) / max(1, total))))

    def applies(self, *, pretrained: bool, linear_head: bool) -> bool:
        """Tell whether the phase is for such a model."""
        weights_fit = self.when in ("always", "pretrained" if pretrained else "scratch")
        return weights_fit and self.heads in ("any", "linear" if linear_head else "other")


def _check_number(argument: str, value: Any, accepted: str, fits: Any) -> None:
    number = finite(value)
    if number is None or number < 0 or not fits(value):
        raise invalid(argument, accepted, value)
