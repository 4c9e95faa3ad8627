"""Parts of heads: pooling, layers and classifiers, as records that need no Keras until they are applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_choice, check_count, finite

POOLINGS = ("avg", "max", "avg_max", "gem", "attention", "first")
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

    Tokens ``(batch, tokens, channels)``, as of a vision transformer, are pooled alike.

    Parameters
    ----------
    kind : {"avg", "max", "avg_max", "gem", "attention", "first"}, default "avg"
        ``"avg"`` and ``"max"``: mean and maximum over the feature map. ``"avg_max"``: both, one behind the
        other, ``(batch, 2 * channels)``. ``"gem"``: the generalised mean of what is above zero, with power 3,
        between the two [1]_, equation 3. ``"attention"``: a mean whose weights are learned: a cell counts by
        the softmax, over the cells, of ``w · tanh(V · cell)``, with 128 rows in V [2]_, equation 8.
        ``"first"``: the first cell or token, which in many vision transformers stands for the class.

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
        if len(features.shape) == 3:
            mean, maximum = layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D
        if self.kind == "first":
            return _first(features)
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
    mean = layers.GlobalAveragePooling1D if len(features.shape) == 3 else layers.GlobalAveragePooling2D
    return ops.power(mean()(ops.power(positive, GEM_POWER)), 1 / GEM_POWER)


def _first(features: Any) -> Any:
    from keras import layers

    cells = layers.Reshape((-1, features.shape[-1]))(features)
    return layers.Flatten()(layers.Cropping1D((0, cells.shape[1] - 1))(cells))


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
    >>> from transferzoo.heads import Head
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
    >>> from transferzoo.heads import Head
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
