"""Features of several stages of a network, joined to one vector."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from transferzoo.errors import InvalidInputError, invalid

# the layer that joins the stages, in a network that `join_stages` made
JOINED = "stages"
_EDGES = (layers.ZeroPadding2D, layers.Cropping2D)


def stage_maps(network: keras.Model) -> list[Any]:
    """Return the feature map at the end of each stage of a network, the first stage's first.

    A stage is what a network computes at one size of its maps, and ends with the last layer of that size
    that all of the computation goes through: a layer within a branch is none.

    Parameters
    ----------
    network : keras.Model
        Functional or Sequential, from images of a fixed size to one feature map.

    Returns
    -------
    list of KerasTensor
        The last one is the network's own output. Empty where that is no feature map.

    Examples
    --------
    >>> images = keras.Input((32, 32, 3))
    >>> x = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    >>> network = keras.Model(images, layers.Conv2D(8, 3, strides=2, padding="same")(x))
    >>> [tuple(each.shape) for each in stage_maps(network)]
    [(None, 16, 16, 4), (None, 8, 8, 8)]
    """
    if len(network.outputs[0].shape) != 4 or None in network.inputs[0].shape[1:3]:
        return []
    operations = list(keras.Model(network.inputs[0], network.outputs[0]).operations)
    producers = {id(tensor): place for place, each in enumerate(operations) for tensor in _outputs(each)}
    last_use = list(range(len(operations)))
    for place, operation in enumerate(operations):
        if isinstance(operation, layers.InputLayer):
            continue
        for tensor in keras.tree.flatten(operation.input):
            if id(tensor) not in producers:
                # a layer that stands in another network too, so that its first input is not this one's
                return [network.outputs[0]]
            producer = producers[id(tensor)]
            last_use[producer] = max(last_use[producer], place)
    found: dict[int, Any] = {}
    learned, open_until = False, 0
    for place, operation in enumerate(operations):
        outputs = _outputs(operation)
        learned = learned or any(len(weight.shape) == 4 for weight in getattr(operation, "weights", ()))
        passed = open_until <= place and len(outputs) == 1
        open_until = max(open_until, last_use[place])
        if learned and passed and len(outputs[0].shape) == 4 and not isinstance(operation, _EDGES):
            found[_halvings(network, outputs[0])] = outputs[0]
    found.pop(_halvings(network, network.outputs[0]), None)
    return [*found.values(), network.outputs[0]]


def join_stages(network: keras.Model, stages: int, name: str = "network") -> keras.Model:
    """Return a network, on the same weights, whose features are those of its last stages.

    Parameters
    ----------
    network : keras.Model
    stages : int
        1 leaves the network as it is. With more, each stage's map is averaged over its cells, and the
        means stand beside each other, the last stage's last.
    name : str
        What messages call the network.

    Returns
    -------
    keras.Model
        Gives vectors, ``(batch, channels of the stages)``.

    Raises
    ------
    InvalidInputError
        If the network has not so many stages, or gives no feature map.

    References
    ----------
    Evci, Dumoulin, Larochelle, Mozer (2022), "Head2Toe: Utilizing Intermediate Representations for Better
    Transfer Learning", ICML, arXiv:2201.03529, section 3: features of inner layers, averaged over positions
    and joined. They choose among all layers; here it is the ends of the last stages.

    Examples
    --------
    >>> images = keras.Input((32, 32, 3))
    >>> x = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    >>> network = keras.Model(images, layers.Conv2D(8, 3, strides=2, padding="same")(x))
    >>> join_stages(network, 2).output_shape
    (None, 12)
    """
    if stages == 1:
        return network
    maps = stage_maps(network)
    if not maps:
        shape = tuple(network.outputs[0].shape)
        raise InvalidInputError(
            f"stages must be 1 for '{name}': it gives no feature map, but {shape}.",
            argument="stages",
            value=stages,
        )
    if stages > len(maps):
        channels = ", ".join(str(each.shape[-1]) for each in maps)
        raise invalid("stages", f"1 to {len(maps)} for '{name}', with {channels} channels", stages)
    means = [
        layers.GlobalAveragePooling2D(name=f"{JOINED}_mean{number}")(each)
        for number, each in enumerate(maps[-stages:], start=1)
    ]
    return keras.Model(network.inputs[0], layers.Concatenate(name=JOINED)(means), name=network.name)


def joined_map(network: keras.Model) -> Any | None:
    """Return the last of the maps that `join_stages` joined; None for a network that it did not make."""
    joined = next((layer for layer in network.layers if layer.name == JOINED), None)
    if joined is None or joined.output is not network.outputs[0]:
        return None
    return network.get_layer(f"{JOINED}_mean{len(joined.input)}").input


def _halvings(network: keras.Model, tensor: Any) -> int:
    """Return how often a map is half the size of the images, by its longer side."""
    side = 1 if network.inputs[0].shape[1] >= network.inputs[0].shape[2] else 2
    return round(math.log2(network.inputs[0].shape[side] / tensor.shape[side]))


def _outputs(operation: Any) -> list[Any]:
    return list(keras.tree.flatten(operation.output))
