"""Heads, composed from small parts: from a backbone's features to one logit per class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transferzoo.errors import InvalidInputError, TransferZooError, invalid, printable
from transferzoo.ground.arguments import check_choice, check_count, finite
from transferzoo.ground.registry import Registry

POOLINGS = ("avg", "max", "avg_max", "gem", "attention")
NORMALIZATIONS = ("batch", "layer")
# Keras' own names, without those that learn or take the whole row
ACTIVATIONS = (
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "swish",
    "tanh",
)
MOST_UNITS = 1_000_000
GEM_POWER, GEM_LEAST = 3.0, 1e-6
ATTENTION_UNITS = 128


@dataclass(frozen=True)
class Pool:
    """Global pooling: ``(batch, h, w, channels)`` to ``(batch, channels)``; vectors pass unchanged.

    Parameters
    ----------
    kind : {"avg", "max", "avg_max", "gem", "attention"}, default "avg"
        ``"avg"`` and ``"max"``: mean and maximum over the feature map. ``"avg_max"``: both, one behind the
        other, ``(batch, 2 * channels)``. ``"gem"``: the generalised mean of what is above zero, with power 3,
        between the two [1]_, equation 3. ``"attention"``: a mean whose weights are learned: a cell counts by
        the softmax, over the cells, of ``w · tanh(V · cell)``, with 128 rows in V [2]_, equation 8.

    References
    ----------
    .. [1] Radenović, Tolias, Chum (2019), "Fine-tuning CNN Image Retrieval with No Human Annotation", IEEE
       TPAMI 41(7), arXiv:1711.02512.
    .. [2] Ilse, Tomczak, Welling (2018), "Attention-based Deep Multiple Instance Learning", ICML,
       arXiv:1802.04712.

    Examples
    --------
    >>> import keras
    >>> Pool("avg_max")(keras.Input((7, 7, 64))).shape
    (None, 128)
    """

    kind: str = "avg"

    def __post_init__(self) -> None:
        check_choice("Pool's kind", self.kind, POOLINGS)

    def __call__(self, features: Any) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        if len(features.shape) == 2:
            return features
        mean, maximum = layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D
        if self.kind == "avg_max":
            return layers.Concatenate()([mean()(features), maximum()(features)])
        if self.kind == "gem":
            return _generalised_mean(features)
        if self.kind == "attention":
            return _attended(features)
        return {"avg": mean, "max": maximum}[self.kind]()(features)


def _generalised_mean(features: Any) -> Any:
    from keras import layers, ops

    # a root has no slope at zero
    positive = ops.maximum(features, GEM_LEAST)
    return ops.power(layers.GlobalAveragePooling2D()(ops.power(positive, GEM_POWER)), 1 / GEM_POWER)


def _attended(features: Any) -> Any:
    from keras import layers

    cells = layers.Reshape((-1, features.shape[-1]))(features)
    scores = layers.Dense(1, use_bias=False)(layers.Dense(ATTENTION_UNITS, activation="tanh")(cells))
    return layers.Flatten()(layers.Dot(axes=1)([layers.Softmax(axis=1)(scores), cells]))


@dataclass(frozen=True)
class Flatten:
    """All cells of the feature map in a row: ``(batch, h, w, channels)`` to ``(batch, h·w·channels)``."""

    def __call__(self, features: Any) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        return layers.Flatten()(features)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: ``(batch, n)`` to ``(batch, units)``.

    Parameters
    ----------
    units : int
        1 or more.
    activation : str or None, default "relu"
        Any name that Keras knows.
    """

    units: int
    activation: str | None = "relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_count("Dense's units", self.units, 1, most=MOST_UNITS))
        if self.activation is not None and (
            not isinstance(self.activation, str) or self.activation not in ACTIVATIONS
        ):
            raise invalid(
                "Dense's activation",
                f"None or one of {', '.join(ACTIVATIONS)}",
                self.activation,
                candidates=ACTIVATIONS,
            )

    def __call__(self, features: Any) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        return layers.Dense(self.units, activation=self.activation)(features)


@dataclass(frozen=True)
class Normalize:
    """Batch or layer normalisation; shapes stay.

    Parameters
    ----------
    kind : {"batch", "layer"}, default "batch"
    """

    kind: str = "batch"

    def __post_init__(self) -> None:
        check_choice("Normalize's kind", self.kind, NORMALIZATIONS)

    def __call__(self, features: Any) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        layer = {"batch": layers.BatchNormalization, "layer": layers.LayerNormalization}[self.kind]
        return layer()(features)


@dataclass(frozen=True)
class Dropout:
    """Sets a share of the features to zero while training; shapes stay.

    Parameters
    ----------
    rate : float
        In [0, 1).
    """

    rate: float

    def __post_init__(self) -> None:
        rate = finite(self.rate)
        if rate is None or not 0 <= rate < 1:
            raise invalid("Dropout's rate", "a number from 0 to below 1", self.rate)
        object.__setattr__(self, "rate", rate)

    def __call__(self, features: Any) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        return layers.Dropout(self.rate)(features)


@dataclass(frozen=True)
class Classifier:
    """The last layer: ``(batch, n)`` to logits ``(batch, num_classes)``.

    Its bias starts at 0; whether probabilities come out is for ``build(classifier_activation=…)``.
    """

    def __call__(self, features: Any, num_classes: int) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        return layers.Dense(num_classes, name="logits")(features)


@dataclass(frozen=True)
class CosineClassifier(Classifier):
    """A last layer that looks at directions alone: logits are `scale` times the cosine with each class.

    Features are divided by their length, and so are the weights of each class after each step; there is no
    bias. It is known for few images and for classes of very different sizes.

    Parameters
    ----------
    scale : float, default 16.0
        What cosines are multiplied by before the softmax; above 0.

    References
    ----------
    Gidaris, Komodakis (2018), "Dynamic Few-Shot Visual Learning without Forgetting", CVPR,
    arXiv:1804.09367, section 3.2.

    Examples
    --------
    >>> Head(Pool(), CosineClassifier())
    Head(Pool('avg'), CosineClassifier(16.0))
    """

    scale: float = 16.0

    def __post_init__(self) -> None:
        scale = finite(self.scale)
        if scale is None or scale <= 0:
            raise invalid("CosineClassifier's scale", "a number above 0", self.scale)
        object.__setattr__(self, "scale", scale)

    def __call__(self, features: Any, num_classes: int) -> Any:
        """Apply it to a Keras tensor."""
        from keras import constraints, layers

        directions = layers.Dense(
            num_classes,
            use_bias=False,
            # in many dimensions such rows are about as long as one another
            kernel_initializer="random_normal",
            kernel_constraint=constraints.UnitNorm(axis=0),
            name="logits",
        )
        return layers.Rescaling(self.scale)(directions(layers.UnitNormalization()(features)))


@dataclass(frozen=True)
class MultiSampleClassifier(Classifier):
    """A last layer that sees features through several dropouts at once while training.

    One Dense layer is applied to the features under each of several dropouts, and its logits are averaged
    (the paper averages the losses). Outside of training it is a `Classifier`.

    Parameters
    ----------
    rate : float, default 0.5
        Of each dropout, in [0, 1).
    samples : int, default 5
        How many there are, 2 to 64.

    References
    ----------
    Inoue (2019), "Multi-Sample Dropout for Accelerated Training and Better Generalization",
    arXiv:1905.09788.

    Examples
    --------
    >>> Head(Pool(), MultiSampleClassifier(0.5, 8))
    Head(Pool('avg'), MultiSampleClassifier(0.5, 8))
    """

    rate: float = 0.5
    samples: int = 5

    def __post_init__(self) -> None:
        rate = finite(self.rate)
        if rate is None or not 0 <= rate < 1:
            raise invalid("MultiSampleClassifier's rate", "a number from 0 to below 1", self.rate)
        object.__setattr__(self, "rate", rate)
        samples = check_count("MultiSampleClassifier's samples", self.samples, 2, most=64)
        object.__setattr__(self, "samples", samples)

    def __call__(self, features: Any, num_classes: int) -> Any:
        """Apply it to a Keras tensor."""
        from keras import layers

        logits = layers.Dense(num_classes, name="logits")
        seen = [logits(layers.Dropout(self.rate)(features)) for _ in range(self.samples)]
        return layers.Average()(seen)


# parts whose values say all that they do
RECORDS = (
    *(Pool, Flatten, Dense, Normalize, Dropout),
    *(Classifier, CosineClassifier, MultiSampleClassifier),
)


@dataclass(frozen=True)
class Head:
    """A head: parts in order, the last a `Classifier`.

    Parameters
    ----------
    *parts : callable
        Parts of this module, Keras layers, or any function from a Keras tensor to a Keras tensor. Give
        functions that make new layers where one head serves several models.

    Raises
    ------
    InvalidInputError
        If the last part is no `Classifier`, one stands elsewhere, or a part cannot be called.

    Examples
    --------
    >>> Head(Pool("avg"), Dropout(0.2), Classifier())
    Head(Pool('avg'), Dropout(0.2), Classifier())
    """

    parts: tuple[Callable[..., Any], ...]

    def __init__(self, *parts: Callable[..., Any]) -> None:
        for part in parts:
            if not callable(part) or isinstance(part, type):
                raise invalid("A head's part", "a part such as Pool('avg') or a function of a tensor", part)
        if not parts or not isinstance(parts[-1], Classifier):
            raise InvalidInputError(
                "A head must end in Classifier(), or one of its kinds: Head(Pool(), Classifier())."
            )
        if any(isinstance(part, Classifier) for part in parts[:-1]):
            raise InvalidInputError(
                "A head must hold one Classifier(), as its last part. Got another before it."
            )
        object.__setattr__(self, "parts", parts)

    def __call__(self, features: Any, num_classes: int) -> Any:
        """Apply the parts: features, a Keras tensor, to logits ``(batch, num_classes)``."""
        *body, classifier = self.parts
        for part in body:
            features = part(features)
        return classifier(features, num_classes)

    def __repr__(self) -> str:
        words = []
        for part in self.parts:
            values = [repr(value) for value in vars(part).values()] if hasattr(part, "__dict__") else []
            known = type(part) in RECORDS
            words.append(f"{type(part).__name__}({', '.join(values)})" if known else head_name(part))
        return f"Head({', '.join(words)})"


HEADS: Registry[Callable[..., Any]] = Registry("head", callable)

HEADS.register("linear", Head(Pool("avg"), Classifier()))
HEADS.register("mlp", Head(Pool("avg"), Dropout(0.2), Dense(512), Dropout(0.5), Classifier()))
HEADS.register("alexnet", Head(Flatten(), Dropout(0.5), Dense(4096), Dropout(0.5), Dense(4096), Classifier()))
HEADS.register(
    "article_resnet50",
    Head(
        Flatten(),
        Dense(1024),
        Dense(512),
        Dropout(0.4),
        Dense(256),
        Dropout(0.3),
        Dense(128),
        Dropout(0.2),
        Classifier(),
    ),
)
HEADS.register(
    "article_mobilenet", Head(Flatten(), Dense(1024), Dense(512), Dense(256), Dense(128), Classifier())
)


def list_heads(pattern: str = "*") -> list[str]:
    """Names of the heads that `build` knows, sorted.

    Parameters
    ----------
    pattern : str, default "*"
        Shell-style wildcards; case does not matter.

    Examples
    --------
    >>> list_heads("article*")
    ['article_mobilenet', 'article_resnet50']
    """
    return HEADS.names(pattern)


def head_info(name: str) -> Callable[..., Any]:
    """Return the head behind a name; printing it shows its parts.

    Examples
    --------
    >>> head_info("linear")
    Head(Pool('avg'), Classifier())
    """
    return HEADS.get(name)


def register_head(name: str, head: Callable[..., Any], *, replace: bool = False) -> None:
    """Make a head of your own a first-class name.

    Parameters
    ----------
    name : str
        The new name; no spaces, slashes or wildcards.
    head : Head or callable
        A `Head`, or any function from features, a Keras tensor, to logits ``(batch, num_classes)``. One
        that has a parameter `num_classes` is given it.
    replace : bool, default False
        Whether to replace a head that has this name already.

    Raises
    ------
    NameTakenError
        If the name is taken and `replace` is False.
    InvalidInputError
        If `head` cannot be called.

    Examples
    --------
    >>> register_head("small_mlp", Head(Pool("max"), Dense(64), Classifier()), replace=True)
    """
    if not callable(head):
        raise invalid("head", "a tz.Head, or a function from features to logits", head)
    HEADS.register(name, head, replace=replace)


def resolve_head(head: Any) -> Callable[..., Any]:
    """Return the callable behind a head's name, or the callable itself."""
    if isinstance(head, str):
        return HEADS.get(head)
    if not callable(head) or isinstance(head, type):
        raise invalid("head", "a head's name, a tz.Head, or a function from features to logits", head)
    return head


def head_name(head: Any) -> str:
    """Return a head's name for records: what was given, or the callable's own name."""
    if isinstance(head, str):
        return head
    if isinstance(head, Head):
        return repr(head)
    name = getattr(head, "__qualname__", None) or getattr(head, "name", None) or type(head).__name__
    return f"{getattr(head, '__module__', '')}.{name}".lstrip(".")


def is_linear(head: Any) -> bool:
    """Tell whether a head, or the head behind a name, is pooling and one Dense layer at most."""
    head = resolve_head(head)
    if not isinstance(head, Head) or type(head.parts[-1]) is not Classifier:
        return False
    return all(
        isinstance(part, Flatten | Dropout) or (isinstance(part, Pool) and part.kind in ("avg", "max"))
        for part in head.parts[:-1]
    )


def apply_head(head: Callable[..., Any], features: Any, num_classes: int) -> Any:
    """Return the logits of `head` on the Keras tensor `features`, with their shape checked."""
    try:
        takes_count = "num_classes" in inspect.signature(head).parameters
    except (TypeError, ValueError):
        takes_count = False
    try:
        logits = head(features, num_classes=num_classes) if takes_count else head(features)
    except TransferZooError:
        raise
    except Exception as error:
        # a stranger's function may raise anything
        raise InvalidInputError(
            f"head '{head_name(head)}' failed on features of shape {tuple(features.shape)}: "
            f"{type(error).__name__}: {printable(error)[:300]}",
            argument="head",
            value=head_name(head),
        ) from error
    shape = getattr(logits, "shape", None)
    given = tuple(shape) if shape is not None else type(logits).__name__
    if shape is None or len(shape) != 2 or shape[-1] != num_classes:
        raise InvalidInputError(
            f"head must turn features into logits of shape (batch, {num_classes}). "
            f"'{head_name(head)}' turned {tuple(features.shape)} into {given}. "
            f"End it in a layer of {num_classes} units without activation.",
            argument="head",
            value=head_name(head),
        )
    return logits
