"""Recipes: how a model is trained, as frozen records made of phases that any JSON file can hold."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from transferzoo.data.augmentation import ARTICLE, AUGMENTATIONS, LIGHT, Augmentation
from transferzoo.errors import InvalidInputError, check_count, invalid, unknown_option
from transferzoo.registry import Registry

MAIN_PHASE_OPTIONS = ("epochs", "learning_rate", "augmentation", "label_smoothing", "weight_decay")
OPTIONS = (*MAIN_PHASE_OPTIONS, "batch_size", "faithful")
FAULTS = ("raw_pixels", "augmented_validation", "repeated_validation")


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Lower the rate when a figure stops improving (`keras.callbacks.ReduceLROnPlateau`)."""

    monitor: str = "val_accuracy"
    factor: float = 0.1
    patience: int = 3
    minimum: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training with one optimizer.

    Parameters
    ----------
    name : str
        Stands in the history beside each epoch.
    epochs : int
    learning_rate : float
        The highest rate of the phase.
    when : {"always", "pretrained", "scratch"}, default "always"
        Whether the phase is for loaded weights, random ones, or both.
    trainable : str, default "as_built"
        As `build` takes it; ``"as_built"`` leaves what `build` was told.
    batch_norm : {"as_built", "inference", "train"}, default "as_built"
        The backbone's BatchNorm: left to Keras; with its stored statistics while its scale and shift
        learn; or with the batch's statistics and a momentum of ``max(1 - 10 / steps an epoch, 0.9)``
        (Kornblith, Shlens, Le 2019, arXiv:1805.08974, appendix A.5), as the momenta that pretrained models
        carry, 0.99 to 0.999, never settle in a short training.
    optimizer : {"sgd", "adamw"}, default "sgd"
    momentum, nesterov : float, bool
        For SGD.
    weight_decay : float, default 0
        Decoupled: each step takes ``learning_rate * weight_decay`` of a weight away.
    schedule : {"constant", "cosine"}, default "constant"
    warmup : float, default 0
        Share of the steps over which a cosine schedule rises from 0.
    plateau : Plateau, optional
        With a constant schedule.
    batch_size : int, default 64
    label_smoothing : float, default 0
        In [0, 1).
    augmentation : Augmentation, optional
        For training images only.
    """

    name: str
    epochs: int
    learning_rate: float
    when: str = "always"
    trainable: str = "as_built"
    batch_norm: str = "as_built"
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    plateau: Plateau | None = None
    batch_size: int = 64
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs, 1)
        check_count("batch_size", self.batch_size, 1)
        _check_number("learning_rate", self.learning_rate, "a number above 0", lambda v: v > 0)
        _check_number("label_smoothing", self.label_smoothing, "a number from 0 to below 1", lambda v: v < 1)
        _check_number("weight_decay", self.weight_decay, "a number of 0 or more", lambda v: True)
        _check_number("momentum", self.momentum, "a number from 0 to below 1", lambda v: v < 1)
        _check_number("warmup", self.warmup, "a number from 0 to below 1", lambda v: v < 1)
        for argument, choices in (
            ("when", ("always", "pretrained", "scratch")),
            ("batch_norm", ("as_built", "inference", "train")),
            ("optimizer", ("sgd", "adamw")),
            ("schedule", ("constant", "cosine")),
        ):
            value = getattr(self, argument)
            if value not in choices:
                raise invalid(argument, " or ".join(map(repr, choices)), value, candidates=choices)
        if self.plateau is not None and self.schedule != "constant":
            raise invalid("plateau", "left out where the schedule is not constant", self.plateau)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train a model.

    Parameters
    ----------
    name, description, source : str
        What it is called, when to use it, and where its numbers come from.
    phases : tuple of Phase
        In order; the last that applies is the main one, which `epochs` and the like refer to.
    build : mapping of str to mapping
        What `build` is told when a run starts from a backbone's name: ``"*"`` for all, then the
        backbone's own. The caller's options go before both.
    epochs : mapping of str to int
        The main phase's epochs by backbone, where they differ.
    keep : {"best", "last"}, default "last"
        Whether the epoch with the best validation accuracy gives the weights, or the last one.
    patience : int, optional
        Stop after so many epochs without a better validation accuracy.
    known_faults : tuple of str
        What ``faithful=True`` brings back.
    faults : tuple of str
        Those that are in force.

    Examples
    --------
    >>> recipe = RECIPES.get("article").with_options("mobilenet", epochs=3)
    >>> recipe.phases[-1].epochs, recipe.phases[-1].learning_rate
    (3, 0.001)
    """

    name: str
    description: str
    phases: tuple[Phase, ...]
    source: str = ""
    build: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    keep: str = "last"
    patience: int | None = None
    known_faults: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.phases or not all(isinstance(phase, Phase) for phase in self.phases):
            raise invalid("phases", "one or more tz.Phase records", self.phases)
        if self.keep not in ("best", "last"):
            raise invalid("keep", "'best' or 'last'", self.keep, candidates=("best", "last"))
        for fault in (*self.known_faults, *self.faults):
            if fault not in FAULTS:
                raise invalid("faults", f"among {', '.join(FAULTS)}", fault, candidates=FAULTS)
        frozen = {name: MappingProxyType(dict(options)) for name, options in self.build.items()}
        object.__setattr__(self, "build", MappingProxyType(frozen))
        object.__setattr__(self, "epochs", MappingProxyType(dict(self.epochs)))

    def build_options(self, backbone: str) -> dict[str, Any]:
        """Return what `build` is told for this backbone."""
        options = {**self.build.get("*", {}), **self.build.get(backbone, {})}
        if "raw_pixels" in self.faults:
            options["preprocessing"] = "none"
        return options

    def phases_for(self, *, pretrained: bool) -> tuple[Phase, ...]:
        """Return the phases that apply."""
        wanted = ("always", "pretrained" if pretrained else "scratch")
        return tuple(phase for phase in self.phases if phase.when in wanted)

    def for_weights(self, *, pretrained: bool) -> Recipe:
        """Return the recipe with only the phases that apply.

        Raises
        ------
        InvalidInputError
            If none does.
        """
        phases = self.phases_for(pretrained=pretrained)
        if not phases:
            kind = "loaded" if pretrained else "random"
            raise InvalidInputError(
                f"recipe '{self.name}' has no phase for {kind} weights. "
                f"Its phases are for: {', '.join(phase.when for phase in self.phases)}.",
                argument="recipe",
                value=self.name,
            )
        return replace(self, phases=phases)

    def with_options(self, backbone: str | None = None, **options: Any) -> Recipe:
        """Return the recipe for a backbone, with a caller's options in place.

        Parameters
        ----------
        backbone : str, optional
            Whose own number of epochs to take.
        epochs : int
            Of the main phase.
        learning_rate, label_smoothing, weight_decay : float
            Of the main phase.
        augmentation : {"none", "light", "article"}, Augmentation or None
            Of the main phase.
        batch_size : int
            Of every phase.
        faithful : bool
            Bring back the faults of what the recipe was taken from.

        Raises
        ------
        UnknownOptionError
            For anything else, with the nearest option.
        """
        for option in options:
            if option not in OPTIONS:
                raise unknown_option(f"recipe '{self.name}'", option, OPTIONS)
        main = {name: options[name] for name in MAIN_PHASE_OPTIONS if name in options}
        if "augmentation" in main:
            main["augmentation"] = _augmentation(main["augmentation"])
        if "epochs" in main:
            check_count("epochs", main["epochs"], 1)
        elif backbone in self.epochs:
            main["epochs"] = self.epochs[str(backbone)]
        every = {"batch_size": options["batch_size"]} if "batch_size" in options else {}
        mains = {
            max((i for i, phase in enumerate(self.phases) if phase.when in group), default=-1)
            for group in (("always", "pretrained"), ("always", "scratch"))
        }
        phases = tuple(
            replace(phase, **every, **(main if i in mains else {})) for i, phase in enumerate(self.phases)
        )
        return replace(self, phases=phases, epochs={}, faults=self._faults(options.get("faithful")))

    def _faults(self, faithful: Any) -> tuple[str, ...]:
        if faithful is None:
            return self.faults
        if not isinstance(faithful, bool):
            raise invalid("faithful", "True or False", faithful)
        if faithful and not self.known_faults:
            raise InvalidInputError(
                f"faithful=True brings back the faults of a published study; recipe '{self.name}' has none. "
                "Leave it out, or use recipe='article'.",
                argument="faithful",
                value=faithful,
            )
        return self.known_faults if faithful else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `Recipe.from_dict` reads them back."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["phases"] = [asdict(phase) for phase in self.phases]
        record["build"] = {name: dict(options) for name, options in self.build.items()}
        record["epochs"] = dict(self.epochs)
        record["known_faults"] = list(self.known_faults)
        record["faults"] = list(self.faults)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` described."""
        phases = []
        for phase in record["phases"]:
            plateau, augmentation = phase.get("plateau"), phase.get("augmentation")
            phases.append(
                Phase(
                    **{
                        **phase,
                        "plateau": Plateau(**plateau) if plateau else None,
                        "augmentation": Augmentation(**augmentation) if augmentation else None,
                    }
                )
            )
        known = {f.name for f in fields(cls)}
        rest = {key: value for key, value in record.items() if key in known and key != "phases"}
        for key in ("known_faults", "faults"):
            rest[key] = tuple(rest.get(key, ()))
        return cls(phases=tuple(phases), **rest)


def _check_number(argument: str, value: Any, accepted: str, fits: Any) -> None:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 <= value < float("inf") or not fits(value):
        raise invalid(argument, accepted, value)


def _augmentation(value: Any) -> Augmentation | None:
    if value is None or isinstance(value, Augmentation):
        return value
    if isinstance(value, str) and value in AUGMENTATIONS:
        return AUGMENTATIONS[value]
    raise invalid(
        "augmentation",
        "'none', 'light', 'article' or a tz.Augmentation",
        value,
        candidates=AUGMENTATIONS,
    )


RECIPES: Registry[Recipe] = Registry("recipe")

RECIPES.register(
    "default",
    Recipe(
        name="default",
        description=(
            "For a stranger's images. Published weights: the head learns on features computed once, then "
            "everything moves at a low rate. Random weights: everything learns at a high rate."
        ),
        source="chosen on held-out CIFAR-10 images and digits; see docs/recipes.md for the measurements",
        phases=(
            Phase(
                name="head",
                when="pretrained",
                trainable="none",
                epochs=30,
                optimizer="adamw",
                learning_rate=3e-3,
                weight_decay=0.3,
                schedule="cosine",
                batch_size=256,
                label_smoothing=0.1,
            ),
            Phase(
                name="fine_tune",
                when="pretrained",
                epochs=5,
                batch_norm="train",
                optimizer="adamw",
                learning_rate=5e-4,
                weight_decay=0.05,
                schedule="cosine",
                warmup=0.1,
                label_smoothing=0.1,
                augmentation=LIGHT,
            ),
            Phase(
                name="scratch",
                when="scratch",
                epochs=20,
                batch_norm="train",
                learning_rate=0.03,
                nesterov=True,
                schedule="cosine",
                warmup=0.1,
                batch_size=32,
                label_smoothing=0.1,
                augmentation=LIGHT,
            ),
        ),
    ),
)

RECIPES.register(
    "article",
    Recipe(
        name="article",
        description=(
            "The study this library grew out of: SGD 0.001, 32×32 images, all layers trained, 30 epochs for "
            "ResNet-50 and 100 for MobileNet. faithful=True brings back raw pixels and augmented, partly "
            "repeated validation images."
        ),
        source="a 2021 tutorial that compares MobileNet and ResNet-50 on CIFAR-10",
        phases=(
            Phase(
                name="article",
                epochs=30,
                learning_rate=1e-3,
                plateau=Plateau(monitor="val_accuracy", factor=0.01, patience=3, minimum=1e-5),
                batch_size=100,
                augmentation=ARTICLE,
            ),
        ),
        epochs={"resnet50": 30, "mobilenet": 100},
        build={
            "*": {"image_size": "input", "head": "article_mobilenet"},
            "resnet50": {"head": "article_resnet50"},
            "mobilenet": {"head": "article_mobilenet"},
        },
        known_faults=FAULTS,
    ),
)


def list_recipes(pattern: str = "*") -> list[str]:
    """Names of the recipes that `fit_and_evaluate` knows, sorted.

    Parameters
    ----------
    pattern : str, default "*"
        Shell-style wildcards; case does not matter.

    Examples
    --------
    >>> list_recipes()
    ['article', 'default']
    """
    return RECIPES.names(pattern)


def recipe_info(name: str) -> Recipe:
    """Return the recipe behind a name.

    Examples
    --------
    >>> [phase.name for phase in recipe_info("default").phases]
    ['head', 'fine_tune', 'scratch']
    """
    return RECIPES.get(name)


def register_recipe(recipe: Recipe, *, replace: bool = False) -> None:
    """Make a recipe of your own a first-class name, `recipe.name`.

    Parameters
    ----------
    recipe : Recipe
    replace : bool, default False
        Whether a recipe that has the name already gives way.

    Raises
    ------
    NameTakenError
        If the name is taken and `replace` is False.

    Examples
    --------
    >>> quick = Recipe(
    ...     name="quick", description="one pass", phases=(Phase(name="all", epochs=1, learning_rate=0.01),)
    ... )
    >>> register_recipe(quick, replace=True)
    """
    if not isinstance(recipe, Recipe):
        raise invalid("recipe", "a tz.Recipe record", recipe)
    RECIPES.register(recipe.name, recipe, replace=replace)


def resolve_recipe(recipe: str | Recipe) -> Recipe:
    """Return the recipe behind a name, or the record itself."""
    return recipe if isinstance(recipe, Recipe) else RECIPES.get(recipe)
