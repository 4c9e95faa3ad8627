import dataclasses
import json

import pytest

import transferzoo as tz
from transferzoo.data.augmentation import ARTICLE, LIGHT, Augmentation
from transferzoo.errors import InvalidInputError, NameTakenError, UnknownNameError, UnknownOptionError
from transferzoo.recipes.catalog import resolve_recipe
from transferzoo.recipes.phase import Phase, Plateau
from transferzoo.recipes.recipe import FAULTS, OPTIONS, Recipe

NAMES = tz.list_recipes()


def recipe(**changes):
    phases = (
        Phase(name="head", when="pretrained", trainable="none", epochs=2, learning_rate=0.1),
        Phase(name="tune", when="pretrained", epochs=3, learning_rate=0.01),
        Phase(name="scratch", when="scratch", epochs=4, learning_rate=0.1),
    )
    return Recipe(**{"name": "mine", "description": "a test", "phases": phases, **changes})


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_comes_back_from_json_as_it_was(name):
    record = tz.recipe_info(name)
    assert Recipe.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize("name", [name for name in NAMES if name != "linear_probe"])
def test_a_recipe_with_options_comes_back_from_json_as_it_was(name):
    record = tz.recipe_info(name).with_options("mobilenet", epochs=3, augmentation=Augmentation(shift=2))
    assert Recipe.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_cannot_be_changed(name):
    record = tz.recipe_info(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.keep = "best"
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.phases[0].epochs = 1
    with pytest.raises(TypeError):
        record.build["*"] = {}
    with pytest.raises(TypeError):
        record.epochs["mobilenet"] = 1


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_bears_the_name_that_it_is_listed_under(name):
    assert tz.recipe_info(name).name == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "fine_tune"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_recipe_has_a_phase_for_loaded_and_for_random_weights(name, pretrained):
    assert tz.recipe_info(name).phases_for(pretrained=pretrained)


# --- the article's settings, by their numbers in the study


def test_the_article_turns_by_two_degrees_flips_and_zooms_by_a_tenth():
    # setting 5
    (phase,) = tz.recipe_info("article").phases
    assert phase.augmentation == Augmentation(rotation=2.0, horizontal_flip=True, zoom=0.1)


def test_the_article_cuts_the_rate_on_a_plateau_of_validation_accuracy():
    # setting 6
    (phase,) = tz.recipe_info("article").phases
    assert phase.plateau == Plateau(monitor="val_accuracy", factor=0.01, patience=3, minimum=1e-5)


def test_the_article_leaves_images_at_their_size_and_trains_all_layers():
    # setting 7
    record = tz.recipe_info("article")
    assert record.build_options("mobilenet")["image_size"] == "input"
    assert [phase.trainable for phase in record.phases] == ["as_built"]


@pytest.mark.parametrize("name", ["resnet50", "mobilenet"])
def test_the_article_gives_each_backbone_its_own_head(name):
    # setting 8
    assert tz.recipe_info("article").build_options(name)["head"] == f"article_{name}"


def test_the_article_trains_by_plain_sgd_with_momentum_in_batches_of_a_hundred():
    # setting 9
    (phase,) = tz.recipe_info("article").phases
    numbers = (phase.optimizer, phase.learning_rate, phase.momentum, phase.nesterov, phase.batch_size)
    assert numbers == ("sgd", 1e-3, 0.9, False, 100)
    assert (phase.weight_decay, phase.label_smoothing) == (0, 0)


@pytest.mark.parametrize(("name", "epochs"), [("resnet50", 30), ("mobilenet", 100)])
def test_the_article_trains_each_backbone_for_its_own_number_of_epochs(name, epochs):
    # setting 10
    (phase,) = tz.recipe_info("article").with_options(name).phases
    assert phase.epochs == epochs


def test_the_articles_faults_are_left_out_by_default():
    record = tz.recipe_info("article").with_options("mobilenet")
    assert (record.faults, record.build_options("mobilenet").get("preprocessing")) == ((), None)


def test_faithful_brings_the_articles_faults_back():
    record = tz.recipe_info("article").with_options("mobilenet", faithful=True)
    assert record.faults == FAULTS
    assert record.build_options("mobilenet")["preprocessing"] == "none"


def test_faithful_can_be_taken_back():
    record = tz.recipe_info("article").with_options(faithful=True).with_options(faithful=False)
    assert record.faults == ()


def test_a_recipe_without_a_study_behind_it_cannot_be_faithful():
    with pytest.raises(InvalidInputError, match=r"recipe 'mine' has none\. Leave it out, or use recipe='art"):
        recipe().with_options(faithful=True)


def test_faithful_is_yes_or_no():
    with pytest.raises(InvalidInputError, match="faithful must be True or False"):
        tz.recipe_info("article").with_options(faithful="yes")


# --- options


@pytest.mark.parametrize(
    ("option", "value"),
    [("epochs", 7), ("learning_rate", 0.5), ("label_smoothing", 0.2), ("weight_decay", 0.3)],
)
def test_an_option_of_the_main_phase_reaches_the_last_phase_of_each_kind(option, value):
    head, tune, scratch = recipe().with_options(**{option: value}).phases
    assert [getattr(phase, option) == value for phase in (head, tune, scratch)] == [False, True, True]


def test_the_batch_size_reaches_every_phase():
    assert [phase.batch_size for phase in recipe().with_options(batch_size=5).phases] == [5, 5, 5]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("none", None), (None, None), ("light", LIGHT), ("article", ARTICLE), (ARTICLE, ARTICLE)],
)
def test_an_augmentation_may_be_given_by_name_or_as_a_record(given, expected):
    assert recipe().with_options(augmentation=given).phases[1].augmentation == expected


def test_a_mistyped_augmentation_gets_the_nearest():
    with pytest.raises(
        InvalidInputError, match=r"'none', 'article', 'light', 'strong' or .*Did you mean 'light'\?"
    ):
        recipe().with_options(augmentation="lihgt")


def test_given_epochs_go_before_the_backbones_own():
    (phase,) = tz.recipe_info("article").with_options("mobilenet", epochs=3).phases
    assert phase.epochs == 3


def test_a_recipe_with_options_leaves_the_first_as_it_was():
    first = recipe()
    first.with_options(epochs=9, batch_size=1)
    assert first == recipe()


def test_an_unknown_option_gets_the_nearest():
    with pytest.raises(
        UnknownOptionError, match=r"recipe 'mine' has no option 'epoch'\. Did you mean 'epochs'"
    ):
        recipe().with_options(epoch=3)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_unknown_option_is_told_every_other(option):
    with pytest.raises(UnknownOptionError, match=f"'{option}'"):
        recipe().with_options(zzz=3)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": 2.5},
        {"batch_size": 0},
        {"learning_rate": 0},
        {"learning_rate": -1},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
        {"learning_rate": "high"},
        {"label_smoothing": 1},
        {"weight_decay": -0.1},
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_name(options):
    (name,) = options
    with pytest.raises(InvalidInputError, match=f"{name} must be a"):
        recipe().with_options(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"when": "never"}, "when must be 'always' or 'pretrained' or 'scratch'"),
        ({"batch_norm": "frozen"}, "batch_norm must be 'as_built' or 'inference' or 'train'"),
        (
            {"optimizer": "adam"},
            r"optimizer must be 'sgd' or 'adamw' or 'lbfgs'\. Got 'adam'\. Did you mean 'adamw'",
        ),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"momentum": 1.0}, "momentum must be a number from 0 to below 1"),
        ({"warmup": 1}, "warmup must be a number from 0 to below 1"),
        ({"plateau": Plateau(), "schedule": "cosine"}, "plateau must be left out where the schedule"),
    ],
)
def test_a_phase_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        Phase(**{"name": "p", "epochs": 1, "learning_rate": 0.1, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": ()}, r"phases must be one or more tz\.Phase records"),
        ({"phases": ("head",)}, "phases must be"),
        ({"keep": "beste"}, r"keep must be 'best' or 'last'.*Did you mean 'best'\?"),
        ({"known_faults": ("raw_pixel",)}, r"faults must be among .*Did you mean 'raw_pixels'\?"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        recipe(**changes)


def test_the_callers_backbone_goes_before_what_is_for_all():
    record = recipe(build={"*": {"head": "linear", "image_size": 64}, "vgg16": {"head": "mlp"}})
    assert record.build_options("vgg16") == {"head": "mlp", "image_size": 64}


# --- names


def test_a_registered_recipe_is_a_name_like_any_other():
    tz.register_recipe(recipe())
    assert tz.recipe_info("mine") == recipe()


def test_a_taken_recipe_name_is_refused():
    with pytest.raises(NameTakenError, match="A recipe named 'default' is registered already"):
        tz.register_recipe(recipe(name="default"))


def test_only_a_recipe_can_be_registered():
    with pytest.raises(InvalidInputError, match=r"recipe must be a tz\.Recipe record"):
        tz.register_recipe(recipe().to_dict())


def test_a_record_stands_for_itself():
    record = recipe()
    assert resolve_recipe(record) is record


def test_a_mistyped_recipe_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'article'"):
        resolve_recipe("artcle")


def test_a_number_of_epochs_for_one_backbone_is_checked():
    with pytest.raises(InvalidInputError, match="epochs must be a whole number of 1 or more"):
        tz.Recipe(
            name="x", description="", phases=(Phase(name="a", learning_rate=0.1),), epochs={"resnet50": 0}
        )


@pytest.mark.parametrize("option", ["patience", "keep", "batch_size"])
def test_a_recipe_that_solves_its_head_has_no_use_for_what_belongs_to_epochs(option):
    value = {"patience": 3, "keep": "best", "batch_size": 8}[option]
    with pytest.raises(UnknownOptionError, match=f"'{option}' cannot apply"):
        tz.recipe_info("linear_probe").with_options(**{option: value})
