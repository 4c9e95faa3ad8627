"""Multiply-accumulates of a model, counted layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count

Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class LayerMacs:
    """One call of one layer, or of a `keras.ops` function in a model's graph.

    Parameters
    ----------
    name, kind : str
        The layer's name, within its model's (``"backbone/conv1"``), and its class.
    macs : int
        Multiply-accumulates for one image.
    parameters : int
        Of the layer; at a second call of the same layer 0.
    output_shape : tuple
        Of the first output, without the batch.
    """

    name: str
    kind: str
    macs: int
    parameters: int
    output_shape: Shape


@dataclass(frozen=True, kw_only=True)
class MacCount:
    """What `count_macs` found; as text, the total and the lines that are not 0.

    Parameters
    ----------
    total : int
        Multiply-accumulates for one image. FLOPs are about twice as many.
    layers : tuple of LayerMacs
        Every call of every layer, in order, those with 0 too.
    uncounted : tuple of str
        Classes that hold weights, or multiply tensors with each other, and that it cannot count. Where
        there are any, `total` is too low.
    """

    total: int
    layers: tuple[LayerMacs, ...]
    uncounted: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.total:,} multiply-accumulates an image"]
        lines += [f"{each.macs:>15,}  {each.kind:<24}{each.name}" for each in self.layers if each.macs]
        if self.uncounted:
            lines.append(f"not counted: {', '.join(self.uncounted)}")
        return "\n".join(lines)


def count_macs(model: keras.Model, input_shape: Sequence[int] | None = None) -> MacCount:
    """Count a model's multiply-accumulates for one image, layer by layer.

    Counted are products with kernels, as published figures count them: convolutions, plain, grouped,
    depthwise, separable and transposed, Dense and Dot layers. A layer counts at each of its calls, and models
    within the model are entered. The sizes are those that images have inside it, after its own resizing.

    All other layers count 0: biases, activations, pooling, padding, resizing, sums, scaling, and
    normalisation, which inference can fold into the kernels. A layer that holds weights and is not known,
    and an operation that multiplies tensors with each other, such as attention, stand in `uncounted`.

    Parameters
    ----------
    model : keras.Model
        A model of connected layers, such as `build` returns.
    input_shape : sequence of int, optional
        Height, width and channels of an image, for a model that leaves its size open.

    Returns
    -------
    MacCount
        ``total``, ``layers`` and ``uncounted``.

    Raises
    ------
    InvalidInputError
        If the model is not one of connected layers, a size in it is open, or `input_shape` does not fit it.

    References
    ----------
    He, Zhang, Ren, Sun (2016), "Deep Residual Learning for Image Recognition", CVPR: multiply-adds of
    convolutions and fully connected layers, which they call FLOPs (table 1).

    Examples
    --------
    >>> from transferzoo import build
    >>> model = build("mobilenet", 1000, weights=None, input_shape=(224, 224, 3))
    >>> f"{count_macs(model).total / 1e9:.3f} GMAC"
    '0.569 GMAC'
    """
    graph = _graph(model)
    if graph is None:
        raise invalid("model", "a keras.Model of connected layers, such as tz.build returns", model)
    counted: list[LayerMacs] = []
    uncounted: dict[str, None] = {}
    seen: set[int] = set()
    for name, operation, given, outputs in _calls(graph, _images(graph, input_shape)):
        kind = type(operation).__name__
        rule = next((rule for kinds, rule in RULES if isinstance(operation, kinds)), None)
        if rule is None and not _is_free(operation):
            uncounted[kind] = None
        shape = tuple(outputs[0].shape[1:])
        if rule is not None and None in (*shape, *given[0].shape[1:]):
            remedy = f"Pass input_shape=(height, width, channels): at '{name}' a size is open."
            raise invalid("model", "of fixed image sizes", shape, remedy=remedy)
        holds = isinstance(operation, layers.Layer) and id(operation) not in seen
        seen.add(id(operation))
        counted.append(
            LayerMacs(
                name=name,
                kind=kind,
                macs=0 if rule is None else rule(operation, given[0].shape[1:], shape),
                parameters=int(operation.count_params()) if holds else 0,
                output_shape=shape,
            )
        )
    return MacCount(
        total=sum(each.macs for each in counted), layers=tuple(counted), uncounted=tuple(uncounted)
    )


Call = tuple[str, Any, list[Any], list[Any]]


def _calls(model: Any, images: Sequence[Any], path: str = "") -> Generator[Call, None, list[Any]]:
    """Yield every call in a model: name, layer, inputs, outputs; models within are entered.

    A model within may have been built at another size than it is called with, or at an open one, so sizes
    are followed from the images on. Nothing is computed, and no layer is called.
    """
    tensors = {id(own): ours for own, ours in zip(model.inputs, images, strict=True)}
    for node in _nodes(model):
        if any(id(each) not in tensors for each in node.input_tensors):
            # it stands before the tensor that this model begins at
            continue
        operation = node.operation
        arguments, options = node.arguments.fill_in(tensors)
        given = [each for each in keras.tree.flatten((arguments, options)) if _is_tensor(each)]
        within = _graph(operation)
        if within is not None:
            outputs = yield from _calls(within, given[: len(within.inputs)], f"{path}{operation.name}/")
        else:
            outputs = list(node.outputs)
            if [each.shape for each in given] != [each.shape for each in node.input_tensors]:
                outputs = keras.tree.flatten(operation.compute_output_spec(*arguments, **options))
            yield f"{path}{operation.name}", operation, given, outputs
        tensors.update({id(own): ours for own, ours in zip(node.outputs, outputs, strict=True)})
    return [tensors[id(each)] for each in model.outputs]


def _graph(model: Any) -> Any:
    """Return a model of connected layers, a Sequential one as such too; None for anything else."""
    if isinstance(model, keras.Sequential) and model.built and model.layers:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    return model if isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth") else None


def _nodes(graph: Any) -> list[Any]:
    """Return a graph's calls of its layers, in order."""
    depths = graph._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth] if node.input_tensors]


def _images(graph: Any, input_shape: Sequence[int] | None) -> list[Any]:
    if input_shape is None:
        return list(graph.inputs)
    accepted = [tuple(each.shape[1:]) for each in graph.inputs]
    if not isinstance(input_shape, Sequence) or not _fits(input_shape, accepted):
        shapes = " or ".join(map(str, accepted))
        raise invalid("input_shape", f"a shape that the model takes, {shapes}", input_shape)
    sides = [check_count("input_shape", side, 1) for side in input_shape]
    return [keras.KerasTensor((None, *sides), dtype=graph.inputs[0].dtype)]


def _fits(given: Sequence[int], accepted: Sequence[Shape]) -> bool:
    if len(accepted) != 1 or len(given) != len(accepted[0]):
        return False
    return all(own in (None, ours) for own, ours in zip(accepted[0], given, strict=True))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


# weights that scale and shift each value by itself
ELEMENTWISE = {
    *("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"),
    *("Normalization", "PReLU", "LayerScale"),
}
# no kernel of their own, and yet as many products as a layer that has one
PRODUCTS = {
    *("Attention", "AdditiveAttention", "DotProductAttention"),
    *("Matmul", "Einsum", "Tensordot", "Inner", "Outer", "Vdot", "Vecdot"),
    *("Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose"),
}


def _is_free(operation: Any) -> bool:
    """Tell whether an operation that no rule counts does nothing that is counted."""
    names = {each.__name__ for each in type(operation).__mro__ if each.__module__.startswith("keras.")}
    if names & PRODUCTS:
        return False
    return not getattr(operation, "weights", None) or bool(names & ELEMENTWISE)


def _area(layer: Any, shape: Shape) -> int:
    spatial = shape[:-1] if layer.data_format == "channels_last" else shape[1:]
    return math.prod(int(side or 0) for side in spatial)


def _convolution(layer: Any, given: Shape, shape: Shape) -> int:
    return math.prod(layer.kernel.shape) * _area(layer, shape)


def _transposed(layer: Any, given: Shape, shape: Shape) -> int:
    return math.prod(layer.kernel.shape) * _area(layer, given)


def _separable(layer: Any, given: Shape, shape: Shape) -> int:
    kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return kernels * _area(layer, shape)


def _dense(layer: Any, given: Shape, shape: Shape) -> int:
    return math.prod(layer.kernel.shape) * math.prod(int(side or 0) for side in shape[:-1])


def _dot(layer: Any, given: Shape, shape: Shape) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    # the batch is cut off the shape
    return math.prod(int(side or 0) for side in shape) * int(given[axis - (axis > 0)] or 0)


# A kernel's shape holds what one output cell takes: a grouped convolution's spans one group's channels.
RULES: tuple[tuple[Any, Callable[[Any, Shape, Shape], int]], ...] = (
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _convolution),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    (layers.Dense, _dense),
    (layers.Dot, _dot),
)
