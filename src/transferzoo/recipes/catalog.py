"""The table of recipes, and the names that `fit_and_evaluate` knows them by."""

from __future__ import annotations

from dataclasses import replace

from transferzoo.data.augmentation import ARTICLE, LIGHT
from transferzoo.errors import invalid
from transferzoo.ground.registry import Registry
from transferzoo.recipes.phase import Phase, Plateau
from transferzoo.recipes.recipe import FAULTS, Recipe

RECIPES: Registry[Recipe] = Registry("recipe", lambda record: isinstance(record, Recipe))

_PROBE_FIRST = Phase(
    name="probe",
    when="pretrained",
    heads="linear",
    trainable="none",
    optimizer="lbfgs",
    max_images=2_000,
    c_values=(1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0),
)
_HEAD = Phase(
    name="head",
    trainable="none",
    epochs=30,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=3.0,
    decay_steps=1_200,
    schedule="cosine",
    batch_size=256,
    label_smoothing=0.1,
)
_HEAD_FIRST = replace(_HEAD, when="pretrained", heads="other", epochs=10, decay_steps=None)
_FINE_TUNE = Phase(
    name="fine_tune",
    when="pretrained",
    epochs=5,
    batch_norm="inference",
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=0.05,
    layer_decay=0.9,
    schedule="cosine",
    warmup=0.05,
    label_smoothing=0.1,
    augmentation=LIGHT,
)
_FROM_SCRATCH = Phase(
    name="scratch",
    epochs=30,
    batch_norm="train",
    learning_rate=0.05,
    nesterov=True,
    weight_decay=5e-3,
    schedule="one_cycle",
    warmup=0.25,
    batch_size=128,
    label_smoothing=0.1,
    augmentation=LIGHT,
)

RECIPES.register(
    "default",
    Recipe(
        name="default",
        description=(
            "For your own images. Pretrained weights: the head is trained first, on features computed once; "
            "then the upper three quarters too, at a low learning rate. Random weights: all layers, at a "
            "high one."
        ),
        source="chosen on held-out CIFAR-10 images and digits; docs/recipes/default.md has the measurements",
        phases=(
            _PROBE_FIRST,
            _HEAD_FIRST,
            Phase(
                name="fine_tune",
                when="pretrained",
                epochs=8,
                least_steps=256,
                batch_norm="train",
                optimizer="adamw",
                learning_rate=5e-4,
                rate_images=1_000,
                norm_images=2_000,
                weight_decay=0.05,
                schedule="cosine",
                warmup=0.05,
                warmup_steps=100,
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
        # the lowest quarter holds edges and colours, and costs half of every step
        build={"pretrained": {"trainable": "top:75%"}},
        # on validation images, never worse than the head that it begins with
        keep="safe",
    ),
)

RECIPES.register(
    "linear_probe",
    Recipe(
        name="linear_probe",
        description=(
            "How good are these features as they are? A logistic regression on frozen features, its penalty "
            "chosen on validation images. Seconds to minutes; the backbone is frozen."
        ),
        source=(
            "the protocol of Kornblith, Shlens, Le (2019), arXiv:1805.08974, section 3, "
            "with standardised features and a coarser grid"
        ),
        phases=(Phase(name="linear_probe", heads="linear", trainable="none", optimizer="lbfgs"),),
        build={"*": {"trainable": "none", "head": "linear"}},
    ),
)

RECIPES.register(
    "head",
    Recipe(
        name="head",
        description=(
            "Any head on a frozen backbone, trained with Keras on features computed once. For heads that are "
            "not linear, or to compare heads: all share the same features."
        ),
        source="rates chosen on held-out CIFAR-10 images; docs/recipes/head.md has the measurements",
        phases=(_HEAD,),
        build={"*": {"trainable": "none"}},
        keep="best",
    ),
)

RECIPES.register(
    "fine_tune",
    Recipe(
        name="fine_tune",
        description=(
            "All of a pretrained network is trained: the head first, then every layer, lower ones "
            "more slowly, BatchNorm with its stored statistics. The best epoch on validation images is kept."
        ),
        source="docs/recipes/fine_tune.md has the measurements and the papers",
        phases=(_PROBE_FIRST, _HEAD_FIRST, _FINE_TUNE),
        keep="safe",
        patience=5,
    ),
)

RECIPES.register(
    "from_scratch",
    Recipe(
        name="from_scratch",
        description=(
            "Small images without published weights: stride-1 stem, flips and padded crops, SGD with "
            "Nesterov momentum along one cycle."
        ),
        source=(
            "padded crops and flips of He et al. (2016), arXiv:1512.03385, section 4.2; one cycle of Smith "
            "and Topin (2018), arXiv:1708.07120"
        ),
        phases=(_FROM_SCRATCH,),
        build={"*": {"weights": None, "stem": "stride1"}},
    ),
)

RECIPES.register(
    "article",
    Recipe(
        name="article",
        description=(
            "The study this library grew out of: SGD 0.001, 32×32 images, all layers trained, 30 epochs for "
            "ResNet-50 and 100 for MobileNet. faithful=True brings back raw pixels, augmented, partly "
            "repeated validation images, and a second model that begins at the first one's last rate."
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
    ['article', 'default', 'fine_tune', 'from_scratch', 'head', 'linear_probe']
    """
    return RECIPES.names(pattern)


def recipe_info(name: str) -> Recipe:
    """Return the recipe behind a name.

    Examples
    --------
    >>> [phase.name for phase in recipe_info("default").phases]
    ['probe', 'head', 'fine_tune', 'scratch']
    """
    return RECIPES.get(name)


def register_recipe(recipe: Recipe, *, replace: bool = False) -> None:
    """Make a recipe of your own a first-class name, `recipe.name`.

    Parameters
    ----------
    recipe : Recipe
    replace : bool, default False
        Whether to replace a recipe that has this name already.

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
