"""What is doubtful about a model: the pixels that reach its weights, its last feature map, its outputs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from transferzoo.backbones.backbone import RAW, Backbone
from transferzoo.data.dataset import Dataset
from transferzoo.heads import Head, Normalize
from transferzoo.linting.findings import Finding, found
from transferzoo.models.architecture import layers_within
from transferzoo.models.construct import backbone_of, model_settings
from transferzoo.models.freezing import set_trainable
from transferzoo.models.plan import BuildPlan, build_network, generators_kept, strides_of
from transferzoo.models.preprocessing import build_preprocessing

logger = logging.getLogger("transferzoo")

SAMPLE = 32
# how much narrower than [0, 1] pixels that were scaled twice are: 1/127.5 as a rule
COLLAPSED = 0.1
FLATTENING = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten)
RANDOM = tuple(
    getattr(layers, name)
    for name in dir(layers)
    if name.startswith("Random") or name in ("AutoContrast", "MixUp", "CutMix", "AugMix")
)
FAR_SMALLER, FAR_LARGER = 0.3, 2.0


@dataclass(frozen=True)
class Norm:
    """One BatchNorm layer: its momentum, and whether it learns as the model is built."""

    momentum: float
    learns: bool
    in_backbone: bool


@dataclass(frozen=True)
class ModelFacts:
    """What the checks need to know of a model that a run trains."""

    backbone: Backbone | None
    pretrained: bool | None
    preprocessing: str | None
    image_size: tuple[int, int] | None
    feature_map: tuple[int, int] | None
    reached: tuple[float, float] | None
    norms: tuple[Norm, ...]
    frozen: bool
    activation: str | None
    random_layers: tuple[str, ...]
    random_in_evaluation: bool


_KEPT: dict[tuple[Any, ...], ModelFacts] = {}
_MOST_KEPT = 64


def model_facts(run: Any) -> ModelFacts:
    """Return what there is to know of a run's model; a backbone is built without its weights for it."""
    if run.model is not None:
        return _facts_of_model(run.model, run.data)
    described = run.settings["model"]
    key = (
        run.backbone.resolve_builder(),
        repr(sorted(run.backbone.arguments.items())),
        run.backbone.preprocessing,
        tuple(described["image_size"]),
        *(described[name] for name in ("weights", "head", "stem", "output_stride", "stages", "trainable")),
        described["preprocessing"],
        run.data.content_hash(),
    )
    if key not in _KEPT:
        while len(_KEPT) >= _MOST_KEPT:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = _facts_of_plan(run.build_plan, run.data)
    return _KEPT[key]


def model_findings(run: Any, facts: ModelFacts) -> Iterator[Finding]:
    """Find what is doubtful about a run's model."""
    yield from _pixel_findings(run, facts)
    yield from _size_findings(run, facts)
    yield from _weights_findings(run)
    if facts.activation not in (None, "linear", "softmax", "log_softmax"):
        yield found(
            "TZ107",
            "error",
            subject=run.name,
            what=f"The model's last activation is {facts.activation}.",
            why="Its outputs do not sum to 1, so they are taken for logits and go through a softmax: the "
            "loss has nearly no gradient, and probabilities and calibration mean nothing.",
            how="End the model in keras.layers.Dense(num_classes), or with activation='softmax'.",
        )
    if facts.random_layers:
        always = facts.random_in_evaluation
        mirrors = "RandomFlip" in facts.random_layers and not run.data.flip_safe
        why = (
            "It acts in training alone, but adds to the recipe's own augmentation, and stays in the model "
            "that is exported."
        )
        if mirrors:
            why = f"A mirrored image of '{run.data.name}' may mean something else: the labels become wrong."
        if always:
            why = "The figures then depend on chance, and are too low."
        yield found(
            "TZ108",
            "error" if always else "warning" if mirrors else "note",
            subject=run.name,
            what=f"The model holds {', '.join(facts.random_layers)}"
            + (", and changes images in evaluation too." if always else "."),
            why=why,
            how="Leave it out, and pass fit_and_evaluate(augmentation=…): it changes training images alone.",
        )


def _pixel_findings(run: Any, facts: ModelFacts) -> Iterator[Finding]:
    low, high = _pixel_range(run.data)
    scaled = low < 0 or high <= 1.0
    given = f"The images go from {low:.3g} to {high:.3g}"
    if facts.preprocessing == "none" and facts.backbone is not None and facts.backbone.preprocessing != RAW:
        wanted_low, wanted_high = _wanted_range(facts.backbone)
        width = wanted_high - wanted_low
        fits = (
            scaled
            and wanted_low - 0.3 * width <= low
            and high <= wanted_high + 0.3 * width
            and high - low >= 0.6 * width
        )
        if not fits:
            name = facts.backbone.name
            yield found(
                "TZ101",
                "error" if facts.pretrained else "warning",
                subject=run.name,
                what=f"{given} and reach {name} as they are; it expects {wanted_low:.4g} to "
                f"{wanted_high:.4g}, {facts.backbone.preprocessing.channels.upper()}.",
                why="Published weights answer to the pixels that they were trained on; others leave the "
                "features far from useful at the start (keras-applications issue 21)."
                if facts.pretrained
                else "Large pixels make large activations: the first steps overshoot.",
                how=f"Leave preprocessing out: tz.build('{name}', …) scales inside the model."
                + (" Or leave faithful=True out." if "raw_pixels" in run.recipe.faults else ""),
            )
        return
    if facts.reached is None:
        if scaled and facts.preprocessing == "backbone":
            yield _scaled(run, given)
        return
    bottom, top = facts.reached
    collapsed = top - bottom < COLLAPSED
    if scaled and (collapsed or facts.preprocessing == "backbone"):
        yield _scaled(run, given)
    elif collapsed and high - low > 1:
        yield found(
            "TZ103",
            "error",
            subject=run.name,
            what=f"{given}, and what reaches the first weights from {bottom:.4g} to {top:.4g}.",
            why="That is what scaling twice leaves: all images look the same to the model.",
            how="Take one of the two scalings out. A backbone's builder must not scale: "
            "tz.register_backbone(…, preprocessing=tz.Preprocessing(…)) says what is done before it.",
        )
    elif facts.backbone is None and bottom >= 0 and top > 50:
        yield found(
            "TZ105",
            "warning",
            subject=run.name,
            what=f"The first weights of the model get pixels from {bottom:.4g} to {top:.4g}.",
            why="Weights are initialised, and published ones trained, for inputs of about -1 to 1; large "
            "ones make the first steps overshoot (LeCun et al. 1998, Efficient BackProp, section 4.3).",
            how="Put keras.layers.Rescaling(1 / 127.5, offset=-1) first, or what the weights expect.",
        )


def _scaled(run: Any, given: str) -> Finding:
    return found(
        "TZ102",
        "error",
        subject=run.name,
        what=f"{given}, and the model scales 0 to 255.",
        why="After a second scaling all images look the same to the model.",
        how="Give images as they were before scaling, 0 to 255: tz.from_arrays(x * 255, y).",
    )


def _size_findings(run: Any, facts: ModelFacts) -> Iterator[Finding]:
    if facts.feature_map == (1, 1):
        name = facts.backbone.name if facts.backbone is not None else None
        size = "×".join(map(str, facts.image_size or run.data.input_shape[:2]))
        how = "Enlarge the images inside the model, or take out strides."
        if facts.backbone is not None:
            larger = max(facts.backbone.default_size, 2 * max(facts.image_size or (32,)))
            stem = " or stem='stride1'" if "stride1" in facts.backbone.stems else ""
            how = f"Pass image_size={larger}{stem}."
        yield found(
            "TZ104",
            "warning",
            subject=run.name,
            what=f"{name or 'The model'} shrinks images of {size} to a feature map of 1×1.",
            why="One cell has to hold the whole image, and most of what each kernel sees is padding. On "
            "CIFAR-10 a linear head on MobileNet's ImageNet features reached 19.8 % at 32×32 and 75.2 % at "
            "96×96 (docs/resolution.md).",
            how=how,
        )
    if facts.backbone is None or not facts.backbone.weights or not facts.pretrained or not facts.image_size:
        return
    native, side = facts.backbone.native_size, min(facts.image_size)
    if facts.feature_map == (1, 1):
        return  # said already
    if FAR_SMALLER * native <= side <= FAR_LARGER * native:
        return
    yield found(
        "TZ106",
        "note",
        subject=run.name,
        what=f"Images of {'×'.join(map(str, facts.image_size))} reach {facts.backbone.name}, whose weights "
        f"saw {native}×{native}.",
        why="Things then are of another size than those the kernels know "
        "(Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv:1906.06423).",
        how=f"Leave image_size out (small images are then enlarged to {facts.backbone.default_size}), "
        f"or pass image_size={native}.",
    )


def _weights_findings(run: Any) -> Iterator[Finding]:
    weights = run.settings["model"].get("weights")
    # published weights of that name, as those that the library ships
    if weights is None or weights != run.data.name:
        return
    yield found(
        "TZ312",
        "warning",
        subject=run.name,
        what=f"The weights '{weights}' were trained on the training images of '{run.data.name}', this run's "
        "validation images among them.",
        why="Validation accuracy is then too high, and what it chooses is chosen by images that the network "
        "has learned. The test images were not used.",
        how="Judge by the test images alone, or begin with other weights: weights=None.",
    )


def _facts_of_plan(plan: BuildPlan, data: Dataset) -> ModelFacts:
    backbone, options, size = plan.backbone, plan.options, plan.image_size
    how = backbone.preprocessing if options.preprocessing == "backbone" else RAW
    with generators_kept():
        network = build_network(backbone, size)
        set_trainable(network, options.trainable)
        prepare = build_preprocessing(data.input_shape, size, how)
        sample = _sample(data)
        reached = _reached(network, _values(prepare, sample) if prepare is not None else sample)
    shape = network.output_shape
    feature_map = tuple(shape[1:3]) if len(shape) == 4 else _last_map(network)
    if len(shape) == 4 and (options.stem != "original" or options.output_stride is not None):
        reduction = strides_of(network, backbone, options).reduction
        feature_map = tuple(-(-side // reduction) for side in size)
    head = plan.make_logits
    in_head = isinstance(head, Head) and any(part == Normalize("batch") for part in head.parts)
    norms = [*_norms(network, in_backbone=True), *([Norm(0.99, True, False)] if in_head else [])]
    names, always = _random_layers(network, (*size, 3))
    return ModelFacts(
        backbone=backbone,
        pretrained=options.weights is not None,
        preprocessing=options.preprocessing,
        image_size=size,
        feature_map=feature_map,
        reached=reached,
        norms=tuple(norms),
        frozen=not network.trainable_weights,
        activation=None,
        random_layers=names,
        random_in_evaluation=always,
    )


def _facts_of_model(model: keras.Model, data: Dataset) -> ModelFacts:
    from transferzoo.backbones.catalog import BACKBONES

    settings = model_settings(model)
    backbone = backbone_of(model)
    in_backbone = {id(layer) for layer in layers_within(backbone)} if backbone is not None else None
    norms = [
        Norm(float(layer.momentum), bool(layer.trainable), in_backbone is None or id(layer) in in_backbone)
        for layer in layers_within(model)
        if isinstance(layer, layers.BatchNormalization)
    ]
    shape = backbone.output_shape if backbone is not None else None
    with generators_kept():
        reached = _reached(model, _sample(data))
        names, always = _random_layers(model, data.input_shape)
    return ModelFacts(
        backbone=BACKBONES.get(settings.backbone) if settings and settings.backbone in BACKBONES else None,
        pretrained=None if settings is None else settings.weights is not None,
        preprocessing=settings.preprocessing if settings else None,
        image_size=settings.image_size if settings else None,
        feature_map=tuple(shape[1:3]) if shape is not None and len(shape) == 4 else _last_map(model),
        reached=reached,
        norms=tuple(norms),
        frozen=not model.trainable_weights if backbone is None else not backbone.trainable_weights,
        activation=_last_activation(model),
        random_layers=names,
        random_in_evaluation=always,
    )


def _pixel_range(data: Dataset) -> tuple[float, float]:
    return float(data.x_train.min()), float(data.x_train.max())


def _wanted_range(backbone: Backbone) -> tuple[float, float]:
    how = backbone.preprocessing
    lows = [-mean / std for mean, std in zip(how.mean, how.std, strict=True)]
    highs = [(255 - mean) / std for mean, std in zip(how.mean, how.std, strict=True)]
    return min(lows), max(highs)


def _sample(data: Dataset) -> np.ndarray:
    places = np.unique(np.linspace(0, len(data.x_train) - 1, SAMPLE).astype(int))
    return data.x_train[places].astype("float32")


def _values(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def _reached(model: keras.Model, images: np.ndarray) -> tuple[float, float] | None:
    """Return the range of what reaches a model's first weights; None where the model does not show it."""
    try:
        values = _before_weights(model, images)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        logger.debug("what reaches the weights of '%s' does not show: %s", model.name, error)
        return None
    return None if values is None else (float(values.min()), float(values.max()))


def _before_weights(model: keras.Model, images: np.ndarray) -> np.ndarray | None:
    (inputs,) = model.inputs
    graph = keras.Model(inputs, model.outputs)
    weighted = (op for op in graph.operations if getattr(op, "weights", None))
    first = next((op for op in weighted if not isinstance(op, layers.Normalization)), None)
    if first is None or isinstance(first, layers.BatchNormalization):
        return None  # nothing learns, or what learns scales by itself
    calls = [node for nodes in graph._nodes_by_depth.values() for node in nodes if node.operation is first]
    tensor = calls[0].input_tensors[0]
    values = images
    if tensor is not inputs:
        values = _values(keras.Model(inputs, tensor), images)
    return _before_weights(first, values) if isinstance(first, keras.Model) else values


def _norms(network: keras.Model, *, in_backbone: bool) -> Iterator[Norm]:
    for layer in layers_within(network):
        if isinstance(layer, layers.BatchNormalization):
            yield Norm(float(layer.momentum), bool(layer.trainable), in_backbone)


def _random_layers(model: keras.Model, shape: tuple[int, ...]) -> tuple[tuple[str, ...], bool]:
    """Return the names of layers that change images at random, and whether one does so in evaluation."""
    names = tuple(type(layer).__name__ for layer in layers_within(model) if isinstance(layer, RANDOM))
    if not names:
        return (), False
    images = np.random.default_rng(0).uniform(0, 255, (4, *shape)).astype("float32")
    return names, not np.array_equal(_values(model, images), _values(model, images))


def _last_map(model: keras.Model) -> tuple[int, int] | None:
    """Return the size of the map that pooling or flattening takes, where a model shows it."""
    for layer in reversed(layers_within(model)):
        if isinstance(layer, FLATTENING) and len(layer._inbound_nodes) == 1:
            shape = tuple(getattr(layer.input, "shape", ()))
            if len(shape) == 4 and None not in shape[1:3]:
                return int(shape[1]), int(shape[2])
    return None


def _last_activation(model: keras.Model) -> str | None:
    leaves = layers_within(model)
    if not leaves or not hasattr(leaves[-1], "activation"):
        return None
    return getattr(leaves[-1].activation, "__name__", None)
