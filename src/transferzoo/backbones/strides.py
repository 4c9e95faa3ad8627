"""Take strides out of a built network and keep its kernels: a stem that halves less, or a dilated end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from transferzoo.backbones.backbone import check_strides
from transferzoo.errors import InvalidInputError, invalid

Pads = tuple[tuple[int, int], tuple[int, int]]

_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)
_POSITION_LOST = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten)


@dataclass(frozen=True, kw_only=True)
class StridePlan:
    """What is to be changed in one network; nothing is, where `changes` is empty.

    Parameters
    ----------
    original_reduction, reduction : int
        Input pixels along a side that make one cell of the last feature map, as built and as planned.
    stem_factor : int
        By how much less the stem shrinks.
    changes : mapping
        Layer name -> fields of its configuration that get other values.
    padded : mapping
        Layer name -> zeros to add before it.
    dilated_pools : mapping
        Name of a pooling layer -> dilation, which Keras' own pooling does not have.
    """

    original_reduction: int
    reduction: int
    stem_factor: int = 1
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    padded: Mapping[str, Pads] = field(default_factory=dict)
    dilated_pools: Mapping[str, int] = field(default_factory=dict)


def plan_strides(
    network: keras.Model, *, stem: str = "original", output_stride: int | None = None, name: str = "network"
) -> StridePlan:
    """Decide which strides go, and what padding and dilation then keep every kernel where it was.

    Parameters
    ----------
    network : keras.Model
        Functional or Sequential, from one image to one feature map (or vector).
    stem : {"original", "stride1"}
        ``"stride1"`` gives stride 1 to the first layer that has a larger one, and to a pooling that follows
        it before the next convolution.
    output_stride : int, optional
        A power of two below the network's reduction. The strides that would go beyond it become 1, and all
        that comes after is dilated instead, so that each kernel sees what it saw.
    name : str
        What messages call the network.

    Returns
    -------
    StridePlan

    Raises
    ------
    InvalidInputError
        If a stride cannot be taken out of this network.

    References
    ----------
    Chen, Papandreou, Schroff, Adam (2017), "Rethinking Atrous Convolution for Semantic Image
    Segmentation", arXiv:1706.05587, section 3.1.

    Examples
    --------
    >>> images = keras.Input((32, 32, 3))
    >>> x = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    >>> network = keras.Model(images, layers.Conv2D(4, 3, strides=2, padding="same")(x))
    >>> plan_strides(network, output_stride=2).reduction
    2
    """
    check_strides(stem, output_stride)
    graph = _Graph(network, name)
    original = _walk(graph, (), None, centred=True).reduction
    stem_layers = graph.stem() if stem == "stride1" else ()
    plan = _walk(graph, stem_layers, None, centred=True)
    if output_stride is not None:
        accepted = [2**power for power in range(8) if 2**power < plan.reduction]
        if output_stride not in accepted:
            raise invalid(
                "output_stride",
                f"None or one of {', '.join(map(str, accepted))} for '{name}'"
                + (" with stem='stride1'" if stem_layers else "")
                + f", which shrinks {plan.reduction}-fold",
                output_stride,
            )
        try:
            plan = _walk(graph, stem_layers, output_stride, centred=True)
        except _BranchesShifted:
            plan = _walk(graph, stem_layers, output_stride, centred=False)
    return StridePlan(
        original_reduction=original,
        reduction=plan.reduction,
        stem_factor=plan.stem_factor,
        changes=plan.changes,
        padded=plan.padded,
        dilated_pools=plan.dilated_pools,
    )


def apply_strides(network: keras.Model, plan: StridePlan, input_shape: tuple[int, int, int]) -> keras.Model:
    """Carry a plan out on a copy of the network, with the same weights and layer names.

    Parameters
    ----------
    network : keras.Model
        The one that was planned for. For its later maps to be as large as the copy's, its sides must be
        `plan.stem_factor` times those of `input_shape`.
    plan : StridePlan
    input_shape : tuple of 3 ints
        Height, width and channels that the copy takes.

    Returns
    -------
    keras.Model
        Of built-in layers where `network` is.

    Raises
    ------
    InvalidInputError
        If a layer's weights depend on the size of the feature map.
    """

    def change(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), **plan.changes.get(layer.name, {})})

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if layer.name in plan.padded:
            pad = layers.ZeroPadding2D(plan.padded[layer.name], name=f"{layer.name}_zeros")
            arguments = (pad(arguments[0]), *arguments[1:])
        if layer.name in plan.dilated_pools:
            return _dilated_pool(layer, arguments[0], plan.dilated_pools[layer.name])
        return layer(*arguments, **options)

    try:
        return changed_copy(network, input_shape, change=change, call=call)
    except ValueError as error:
        raise InvalidInputError(
            "stem and output_stride must be left out for this backbone: a layer depends on the size of the "
            f"feature map. Reason: {' '.join(str(error).split())[:160]}",
            argument="output_stride",
        ) from error


def changed_copy(
    network: keras.Model,
    input_shape: tuple[int, int, int],
    *,
    change: Callable[[Any], Any] | None = None,
    call: Callable[..., Any],
) -> keras.Model:
    """Return a copy of a network with the same weights and layer names.

    `change` makes each new layer of an old one (by default the same again); `call` calls the new layer on
    its inputs, and may add others.
    """
    images = keras.Input(input_shape, name=network.inputs[0].name, dtype=network.inputs[0].dtype)
    functional = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    copy = keras.models.clone_model(
        functional, input_tensors=images, clone_function=change, call_function=call
    )
    for layer in functional.layers:
        if layer.weights:
            set_layer_weights(copy.get_layer(layer.name), layer.get_weights())
    return copy


def set_layer_weights(layer: Any, weights: list[Any]) -> None:
    """Set a layer's weights, and what the layer has computed from them."""
    layer.set_weights(weights)
    if isinstance(layer, layers.Normalization):
        # it divides by copies of its weights, which `set_weights` leaves as they were
        layer.finalize_state()


class _BranchesShifted(Exception):
    """Two branches meet, and centred padding has shifted one against the other."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a map's cells lie: cell ``i`` of the undilated map is cell ``dilation * i + offset`` here."""

    reduction: int = 1
    dilation: int = 1
    offset: tuple[int, int] = (0, 0)


class _Graph:
    """A network's layers in order, with what stands before each."""

    def __init__(self, network: keras.Model, name: str) -> None:
        self.name = name
        functional = keras.Model(network.inputs, network.outputs)
        self.operations = list(functional.operations)
        calls = {node["name"]: len(node["inbound_nodes"]) for node in functional.get_config()["layers"]}
        self.producer: dict[int, Any] = {}
        self.consumers: Counter[int] = Counter()
        for operation in self.operations:
            if isinstance(operation, keras.Model):
                raise self.refused(operation, "is a network itself")
            if calls[operation.name] > 1:
                raise self.refused(operation, "is used more than once")
            for tensor in _flat(operation.output):
                self.producer[id(tensor)] = operation
            if not isinstance(operation, layers.InputLayer):
                self.consumers.update(id(tensor) for tensor in _flat(operation.input))

    def refused(self, layer: Any, why: str) -> InvalidInputError:
        return InvalidInputError(
            f"stem must be 'original' and output_stride None for '{self.name}': "
            f"its layer '{layer.name}' {why}, so strides cannot be taken out.",
            argument="stem",
        )

    def stem(self) -> tuple[str, ...]:
        """Names of the first strided layer, and of a strided pooling before the next convolution."""
        found: list[str] = []
        for operation in self.operations:
            if found and isinstance(operation, _CONVOLUTIONS):
                break
            if isinstance(operation, _CONVOLUTIONS + _POOLINGS) and max(_pair(operation.strides)) > 1:
                found.append(operation.name)
        if not found:
            raise InvalidInputError(
                f"stem must be 'original' for '{self.name}': none of its layers has a stride above 1.",
                argument="stem",
                value="stride1",
            )
        return tuple(found)

    def padding_before(self, layer: Any) -> Any:
        """Return the ZeroPadding2D that serves this layer alone, or None."""
        tensor = _flat(layer.input)[0]
        before = self.producer[id(tensor)]
        if isinstance(before, layers.ZeroPadding2D) and layer.padding == "valid":
            if self.consumers[id(tensor)] > 1:
                raise self.refused(before, "pads for several layers at once")
            return before
        return None


def _walk(graph: _Graph, stem: Sequence[str], output_stride: int | None, *, centred: bool) -> StridePlan:
    """Follow the layers from the image on, and note what each must become.

    `centred` pads evenly on both sides, as a kernel without a stride would be; else all that is added goes
    behind, and no map is ever shifted against another.
    """
    places: dict[int, _Place | None] = {}
    changes: dict[str, dict[str, Any]] = {}
    padded: dict[str, Pads] = {}
    dilated_pools: dict[str, int] = {}
    reduction = stem_factor = 1
    for layer in graph.operations:
        if isinstance(layer, layers.InputLayer):
            places[id(layer.output)] = _Place()
            continue
        place = _meet(graph, layer, [places[id(tensor)] for tensor in _flat(layer.input)])
        if place is not None:
            if stem or output_stride:
                _check_can_be_followed(graph, layer, dilating=output_stride is not None)
            if isinstance(layer, _POSITION_LOST):
                place = None
            elif isinstance(layer, layers.ZeroPadding2D | layers.Cropping2D) and place.dilation > 1:
                edge = "padding" if isinstance(layer, layers.ZeroPadding2D) else "cropping"
                scaled = [[place.dilation * n for n in pair] for pair in getattr(layer, edge)]
                changes[layer.name] = {edge: scaled}
            elif isinstance(layer, _CONVOLUTIONS + _POOLINGS):
                stride = max(_pair(layer.strides))
                in_stem = layer.name in stem
                beyond = output_stride is not None and place.reduction * stride > output_stride
                removed = stride > 1 and (in_stem or beyond or place.dilation > 1)
                if removed or place.dilation > 1:
                    pads, offset = _new_padding(
                        graph, layer, place, removed=removed, centred=centred or in_stem
                    )
                    _note(graph, layer, place.dilation, pads, changes, padded, dilated_pools)
                if in_stem:
                    stem_factor *= stride
                elif removed:
                    place = _Place(reduction=place.reduction, dilation=place.dilation * stride, offset=offset)
                elif place.dilation > 1:
                    place = _Place(reduction=place.reduction, dilation=place.dilation, offset=offset)
                else:
                    place = _Place(reduction=place.reduction * stride)
        if place is not None:
            reduction = max(reduction, place.reduction)
        for tensor in _flat(layer.output):
            places[id(tensor)] = place
    return StridePlan(
        original_reduction=reduction,
        reduction=reduction,
        stem_factor=stem_factor,
        changes=changes,
        padded=padded,
        dilated_pools=dilated_pools,
    )


def _meet(graph: _Graph, layer: Any, places: Sequence[_Place | None]) -> _Place | None:
    """Return the one place of a layer's inputs; vectors have none and go with any map."""
    known = list(dict.fromkeys(place for place in places if place is not None))
    if len(known) < 2:
        return known[0] if known else None
    if len({(place.reduction, place.dilation) for place in known}) == 1:
        raise _BranchesShifted
    raise graph.refused(layer, "joins branches that would no longer be of one size")


def _check_can_be_followed(graph: _Graph, layer: Any, *, dilating: bool) -> None:
    if isinstance(layer, _CONVOLUTIONS + _POOLINGS + (layers.ZeroPadding2D, layers.Cropping2D)):
        if layer.data_format != "channels_last":
            raise graph.refused(layer, "has its channels first")
        strides = _pair(getattr(layer, "strides", 1))
        if strides[0] != strides[1]:
            raise graph.refused(layer, f"has the unequal strides {strides}")
        return
    if isinstance(layer, _POSITION_LOST):
        return
    sizes = {tuple(tensor.shape[1:3]) for tensor in _flat(layer.input) if len(tensor.shape) == 4}
    size = tuple(_flat(layer.output)[0].shape[1:3])
    if size not in sizes or len(_flat(layer.output)[0].shape) != 4:
        raise graph.refused(layer, f"({type(layer).__name__}) changes a map's shape in its own way")
    foreign = isinstance(layer, layers.Lambda) or not type(layer).__module__.startswith("keras.")
    if dilating and foreign:
        raise graph.refused(layer, f"({type(layer).__name__}) may look at neighbouring cells")


def _new_padding(
    graph: _Graph, layer: Any, place: _Place, *, removed: bool, centred: bool
) -> tuple[Pads | None, tuple[int, int]]:
    """Return the zeros that a layer needs without its stride, or None for its own; and the map's offset."""
    dilation = place.dilation
    zeros = graph.padding_before(layer)
    if not removed and layer.padding == "valid":
        return None, place.offset
    tensor = _flat((zeros or layer).input)[0]
    pads, offset = [], []
    for axis in (0, 1):
        size, cells = tensor.shape[1 + axis], _flat(layer.output)[0].shape[1 + axis]
        if size is None:
            raise graph.refused(layer, "has no fixed size")
        stride, reach = _pair(layer.strides)[axis], _reach(layer, axis)
        if zeros is not None:
            before, behind = zeros.padding[axis]
        elif layer.padding == "same":
            needed = max((cells - 1) * stride + reach + 1 - size, 0)
            before, behind = needed // 2, needed - needed // 2
        else:
            before = behind = 0
        total = dilation * reach
        if before + behind == 0:
            # a kernel that never looked past the border: only the cells that its stride skipped come back
            total = min(max(dilation * (stride * cells + reach - size), 0), total)
        even = not removed or (centred and before + behind > 0)
        first = total // 2 if even else min(dilation * before, total)
        pads.append((first, total - first))
        offset.append(place.offset[axis] + first - dilation * before)
    return (pads[0], pads[1]), (offset[0], offset[1])


def _note(
    graph: _Graph,
    layer: Any,
    dilation: int,
    pads: Pads | None,
    changes: dict[str, dict[str, Any]],
    padded: dict[str, Pads],
    dilated_pools: dict[str, int],
) -> None:
    """Say the new stride, dilation and padding of a layer in Keras' terms."""
    pooling = isinstance(layer, _POOLINGS)
    change: dict[str, Any] = {"strides": (1, 1)}
    if not pooling:
        change["dilation_rate"] = tuple(dilation * rate for rate in _pair(layer.dilation_rate))
    elif dilation > 1 and max(_pair(layer.pool_size)) > 1:
        dilated_pools[layer.name] = dilation
    if pads is not None:
        zeros = graph.padding_before(layer)
        kept_size = all(
            sum(pads[axis]) == dilation * _reach(layer, axis) and pads[axis][0] == sum(pads[axis]) // 2
            for axis in (0, 1)
        )
        if zeros is not None:
            changes[zeros.name] = {"padding": [list(pair) for pair in pads]}
        elif kept_size and layer.name not in dilated_pools:
            change["padding"] = "same"
        elif pooling and layer.padding == "same":
            # Keras pads a maximum with minus infinity, and leaves padding out of a mean
            raise graph.refused(layer, "pools with padding='same'")
        else:
            change["padding"] = "valid"
            if pads != ((0, 0), (0, 0)):
                padded[layer.name] = pads
    changes[layer.name] = change


def _dilated_pool(layer: Any, x: Any, dilation: int) -> Any:
    """Pool over cells that lie `dilation` apart, out of built-in layers: one shifted view a cell."""
    rows, columns = _pair(layer.pool_size)
    views = []
    for row in range(rows):
        for column in range(columns):
            cropping = (
                (dilation * row, dilation * (rows - 1 - row)),
                (dilation * column, dilation * (columns - 1 - column)),
            )
            views.append(layers.Cropping2D(cropping, name=f"{layer.name}_view{row}{column}")(x))
    merge = layers.Maximum if isinstance(layer, layers.MaxPooling2D) else layers.Average
    return merge(name=layer.name)(views)


def _reach(layer: Any, axis: int) -> int:
    """How many cells the last that a kernel sees lies behind the first."""
    if isinstance(layer, _POOLINGS):
        return int(_pair(layer.pool_size)[axis]) - 1
    return int((_pair(layer.kernel_size)[axis] - 1) * _pair(layer.dilation_rate)[axis])


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _flat(tensors: Any) -> list[Any]:
    return list(keras.tree.flatten(tensors))
