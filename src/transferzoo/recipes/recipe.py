"""A recipe: how a model is trained, as a frozen record made of phases that any JSON file can hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from transferzoo.data.augmentation import AUGMENTATIONS, Augmentation
from transferzoo.errors import InvalidInputError, UnknownOptionError, invalid, unknown_option
from transferzoo.ground.arguments import check_choice, check_count, check_flag, check_mapping, check_sequence
from transferzoo.ground.frozen import FrozenMap
from transferzoo.models.options import OPTIONS as BUILD_OPTIONS
from transferzoo.recipes.phase import Phase, Plateau
from transferzoo.recipes.weighting import SAMPLINGS, check_class_weight

MAIN_PHASE_OPTIONS = (
    "epochs",
    "steps_per_epoch",
    "learning_rate",
    "augmentation",
    "label_smoothing",
    "weight_decay",
    "layer_decay",
    "warmup",
    "schedule",
    "batch_norm",
)
AUGMENTATION_OPTIONS = ("mixup", "rand_augment")
KEEPS = ("best", "last", "safe")
RECIPE_OPTIONS = ("keep", "patience")
WEIGHTING_OPTIONS = ("class_weight", "sampling")
OPTIONS = (
    *MAIN_PHASE_OPTIONS,
    *AUGMENTATION_OPTIONS,
    *RECIPE_OPTIONS,
    *WEIGHTING_OPTIONS,
    "batch_size",
    "faithful",
)
FAULTS = ("raw_pixels", "augmented_validation", "repeated_validation", "carried_rate")


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
        What `build` is told when a run starts from a backbone's name: ``"*"`` for all, then
        ``"pretrained"`` or ``"scratch"``, then the backbone's own. The caller's options go before all.
    epochs : mapping of str to int
        The main phase's epochs by backbone, where they differ.
    keep : {"best", "last", "safe"}, default "last"
        Whether the epoch with the best validation accuracy gives the weights, or the last one. With
        ``"best"`` the model as it was before the main phase is a candidate too, if another phase trained it,
        and is returned unless the best epoch is ahead of it. ``"safe"`` is ``"last"`` without such a phase,
        and ``"best"`` after one; with fewer than 100 validation images it gives the mean of both models'
        weights, unless one of them is clearly better.
    patience : int, optional
        Stop after so many epochs without a better validation accuracy.
    class_weight : "balanced", mapping of str to float, or None
        What a class weighs in the loss of every phase: by default all images weigh the same. ``"balanced"``
        lets all classes weigh the same: class c has the weight ``n / (k * n_c)``. A mapping of class names
        gives other weights; classes that it does not name have 1.
    sampling : {"as_is", "balanced"}, default "as_is"
        ``"balanced"``: each epoch shows as many images as ever, all classes equally often; images of small
        classes are shown several times, augmented differently each time. A head that is solved in one go gets
        balanced weights instead.
    known_faults : tuple of str
        What ``faithful=True`` brings back.
    faults : tuple of str
        Those that are in force.

    Examples
    --------
    >>> from transferzoo.recipes.catalog import recipe_info
    >>> recipe = recipe_info("article").with_options("mobilenet", epochs=3)
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
    class_weight: Any = None
    sampling: str = "as_is"
    known_faults: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise invalid("name", "a name that is not empty", self.name)
        for name in ("description", "source"):
            if not isinstance(getattr(self, name), str):
                raise invalid(name, "text", getattr(self, name))
        accepted = "one or more tz.Phase records"
        phases = check_sequence("phases", accepted, self.phases)
        if not phases or not all(isinstance(phase, Phase) for phase in phases):
            raise invalid("phases", accepted, self.phases)
        if self.patience is not None:
            check_count("patience", self.patience, 1)
        check_mapping("build", self.build, "a mapping of backbones' names to options of tz.build")
        for backbone, options in self.build.items():
            check_mapping(f"build[{backbone!r}]", options, "a mapping of options of tz.build")
            for option in options:
                if option not in BUILD_OPTIONS:
                    raise unknown_option(
                        f"build, to which recipe '{self.name}' gives options,", option, BUILD_OPTIONS
                    )
        check_mapping("epochs", self.epochs, "a mapping of backbones' names to numbers of epochs")
        for epochs in self.epochs.values():
            check_count("epochs", epochs, 1)
        check_choice("keep", self.keep, KEEPS)
        object.__setattr__(self, "class_weight", check_class_weight(self.class_weight))
        check_choice("sampling", self.sampling, SAMPLINGS)
        if self.class_weight == "balanced" and self.sampling == "balanced":
            raise invalid(
                "sampling",
                "'as_is' where class_weight is 'balanced'",
                self.sampling,
                remedy="Each of them balances the classes; both together favour small classes.",
            )
        for name in ("known_faults", "faults"):
            among = f"among {', '.join(FAULTS)}"
            for fault in check_sequence(name, among, getattr(self, name)):
                if fault not in FAULTS:
                    raise invalid(name, among, fault, candidates=FAULTS)
        object.__setattr__(self, "build", FrozenMap(self.build))
        object.__setattr__(self, "epochs", FrozenMap(self.epochs))
        for name in ("phases", "known_faults", "faults"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def build_options(
        self, backbone: str, *, pretrained: bool = True, stems: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Return what `build` is told for this backbone, with such weights.

        What is said for all backbones leaves out a stem that is not among `stems`, those that it has.
        """
        kind = "pretrained" if pretrained else "scratch"
        options = {**self.build.get("*", {}), **self.build.get(kind, {})}
        if stems is not None and options.get("stem", "original") not in stems:
            del options["stem"]
        options.update(self.build.get(backbone, {}))
        if "raw_pixels" in self.faults:
            options["preprocessing"] = "none"
        return options

    def phases_for(self, *, pretrained: bool, linear_head: bool = True) -> tuple[Phase, ...]:
        """Return the phases that apply to a model with such weights and such a head."""
        return tuple(
            phase for phase in self.phases if phase.applies(pretrained=pretrained, linear_head=linear_head)
        )

    def for_model(
        self,
        *,
        pretrained: bool,
        linear_head: bool = True,
        frozen: bool = False,
        has_backbone: bool = True,
    ) -> Recipe:
        """Return the recipe with only the phases that apply, for any model from then on.

        Parameters
        ----------
        pretrained : bool
            Whether weights are loaded.
        linear_head : bool, default True
            Whether the head is pooling and one Dense layer.
        frozen : bool, default False
            Whether the backbone was built not to learn. Phases that train it as built are left out if
            another phase trains the head.
        has_backbone : bool, default True
            Whether the model has parts called ``"backbone"`` and ``"head"``. Phases that choose what learns
            are left out if it has not.

        Raises
        ------
        InvalidInputError
            If none applies.
        """
        phases = self.phases_for(pretrained=pretrained, linear_head=linear_head)
        if frozen and any(phase.trainable == "none" for phase in phases):
            phases = tuple(phase for phase in phases if phase.trainable != "as_built")
        if phases and not has_backbone:
            phases = tuple(phase for phase in phases if phase.trainable == "as_built")
            if not phases:
                raise InvalidInputError(
                    f"recipe '{self.name}' has no phase for this model. Its phases need a model made by "
                    "tz.build.",
                    argument="recipe",
                    value=self.name,
                )
        if not phases:
            kind = "loaded" if pretrained else "random"
            head = "a linear head" if linear_head else "a head that is not linear"
            raise InvalidInputError(
                f"recipe '{self.name}' has no phase for {kind} weights and {head}. "
                f"Its phases are for: {'; '.join(f'{p.when} weights, {p.heads} head' for p in self.phases)}. "
                "Use recipe='default', which has phases for all.",
                argument="recipe",
                value=self.name,
            )
        # what they were for is settled: the last one is the main one now
        return replace(self, phases=tuple(replace(phase, when="always", heads="any") for phase in phases))

    def for_images(self, images: int) -> Recipe:
        """Return the recipe with what so many images need; see `Phase.least_steps` and those behind it."""
        return replace(self, phases=tuple(phase.for_images(images) for phase in self.phases))

    def with_options(self, backbone: str | None = None, **options: Any) -> Recipe:
        """Return the recipe for a backbone, with a caller's options in place.

        Parameters
        ----------
        backbone : str, optional
            Whose own number of epochs to take.
        epochs : int
            Of the main phase.
        steps_per_epoch : int or None
            At most so many steps in each of them; None: as many as show all images once.
        learning_rate, label_smoothing, weight_decay, layer_decay, warmup : float
            Of the main phase.
        schedule : {"constant", "cosine", "one_cycle"}
            Of the main phase's rate. ``"constant"`` leaves it to a callback of yours; the others take the
            place of a plateau.
        batch_norm : {"as_built", "inference", "train"}
            Of the main phase.
        augmentation : str, Augmentation or None
            Of the main phase: ``"none"``, ``"light"``, ``"article"``, ``"strong"``, or a record.
        mixup : float
            Parameter of the main phase's mixup, added to its augmentation.
        rand_augment : int
            Operations per image of the main phase's RandAugment, added to its augmentation.
        keep : {"best", "last", "safe"}
            Whether the epoch with the best validation accuracy gives the weights, or the last one.
        patience : int or None
            Epochs without a better validation accuracy before the training stops.
        class_weight : "balanced", mapping of class names to float, or None
            What a class weighs in the loss.
        sampling : {"as_is", "balanced"}
            Whether an epoch shows all classes equally often.
        batch_size : int
            Of every phase.
        faithful : bool
            Also repeat the mistakes of the tutorial that the recipe comes from.

        Raises
        ------
        UnknownOptionError
            For anything else, with the nearest option; and for an option that the main phase has no use
            for.
        """
        for option in options:
            if option not in OPTIONS:
                raise unknown_option(f"recipe '{self.name}'", option, OPTIONS)
        main = {name: options[name] for name in MAIN_PHASE_OPTIONS if name in options}
        if "augmentation" in main:
            main["augmentation"] = _augmentation(main["augmentation"])
        if main.get("schedule", "constant") != "constant":
            main["plateau"] = None
        if "epochs" in main:
            check_count("epochs", main["epochs"], 1)
            main["least_steps"] = None
        if "weight_decay" in main:
            main["decay_steps"] = None
        if "warmup" in main:
            main["warmup_steps"] = None
        if "learning_rate" in main:
            main["rate_images"] = None
        if "batch_norm" in main:
            main["norm_images"] = None
        if "epochs" not in main and backbone in self.epochs:
            main["epochs"] = self.epochs[str(backbone)]
        added = {name: options[name] for name in AUGMENTATION_OPTIONS if name in options}
        every = {"batch_size": options["batch_size"]} if "batch_size" in options else {}
        mains = self._mains()
        own = {name: options[name] for name in RECIPE_OPTIONS if name in options}
        weighting = {name: options[name] for name in WEIGHTING_OPTIONS if name in options}
        in_epochs = {**main, **added, **own, **every}
        if in_epochs and all(self.phases[i].optimizer == "lbfgs" for i in mains):
            option = next(iter(in_epochs))
            raise UnknownOptionError(
                f"recipe '{self.name}' solves its head in one go here, so '{option}' cannot apply. "
                "Leave it out; recipe='head' trains a head in epochs.",
                argument=option,
            )
        phases = []
        for i, phase in enumerate(self.phases):
            changes = {**every, **(main if i in mains and phase.optimizer != "lbfgs" else {})}
            phase = replace(phase, **changes)
            if i in mains and added and phase.optimizer != "lbfgs":
                phase = replace(phase, augmentation=replace(phase.augmentation or Augmentation(), **added))
            phases.append(phase)
        return replace(
            self,
            phases=tuple(phases),
            epochs={},
            faults=self._faults(options.get("faithful")),
            **own,
            **weighting,
        )

    def _mains(self) -> set[int]:
        """Return which phases are the last of their kind of model."""
        kinds = [(pretrained, linear) for pretrained in (True, False) for linear in (True, False)]
        found = set()
        for pretrained, linear in kinds:
            fitting = [
                i for i, p in enumerate(self.phases) if p.applies(pretrained=pretrained, linear_head=linear)
            ]
            found |= set(fitting[-1:])
        return found

    def with_faults(self, faithful: Any) -> Recipe:
        """Return the recipe with the faults of what it was taken from, or without."""
        return replace(self, faults=self._faults(faithful))

    def _faults(self, faithful: Any) -> tuple[str, ...]:
        if faithful is None:
            return self.faults
        faithful = check_flag("faithful", faithful)
        if faithful and not self.known_faults:
            raise InvalidInputError(
                f"faithful=True repeats the mistakes of a published tutorial; recipe '{self.name}' has none. "
                "Leave it out, or use recipe='article'.",
                argument="faithful",
                value=faithful,
            )
        return self.known_faults if faithful else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `Recipe.from_dict` reads them back."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["phases"] = [{**asdict(phase), "c_values": list(phase.c_values)} for phase in self.phases]
        record["build"] = {name: dict(options) for name, options in self.build.items()}
        record["epochs"] = dict(self.epochs)
        if isinstance(self.class_weight, Mapping):
            record["class_weight"] = dict(self.class_weight)
        record["known_faults"] = list(self.known_faults)
        record["faults"] = list(self.faults)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` described.

        Raises
        ------
        InvalidInputError
            If a key is missing or unknown, or a value does not fit; it is named.
        """
        given = _fields_of(cls, "recipe", record)
        phases = []
        for phase in check_sequence("phases", "a list of phases", given["phases"]):
            told = _fields_of(Phase, "phase", phase)
            for key, kind in (("plateau", Plateau), ("augmentation", Augmentation)):
                if told.get(key) is not None:
                    told[key] = kind(**_fields_of(kind, key, told[key]))
            phases.append(Phase(**told))
        return cls(**{**given, "phases": tuple(phases)})


def _fields_of(kind: Any, word: str, record: Any) -> dict[str, Any]:
    """Return what a record's dictionary holds, with every key that it must have and none that is unknown."""
    check_mapping(word, record, f"a mapping, as {kind.__name__} has fields")
    known = {each.name: each for each in fields(kind)}
    for key in record:
        if key not in known:
            raise unknown_option(f"A {word}'s record", key, known)
    for name, each in known.items():
        if name not in record and each.default is MISSING and each.default_factory is MISSING:
            raise InvalidInputError(f"A {word}'s record must have '{name}', and has not.", argument=name)
    return dict(record)


def _augmentation(value: Any) -> Augmentation | None:
    if value is None or isinstance(value, Augmentation):
        return value
    if isinstance(value, str) and value in AUGMENTATIONS:
        return AUGMENTATIONS[value]
    raise invalid(
        "augmentation",
        f"{', '.join(map(repr, AUGMENTATIONS))} or a tz.Augmentation",
        value,
        candidates=AUGMENTATIONS,
    )
