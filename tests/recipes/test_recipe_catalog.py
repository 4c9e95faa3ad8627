"""The named recipes, each in a whole run on a small network; and which phases a caller's options reach."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import transferzoo as tz
from conftest import make_tiny
from transferzoo.data.augmentation import ARTICLE, AUGMENTATIONS, LIGHT, Augmentation
from transferzoo.errors import InvalidInputError, UnknownOptionError
from transferzoo.models.construct import backbone_of, head_of
from transferzoo.models.prediction import predict
from transferzoo.planning import plan_run
from transferzoo.recipes.recipe import MAIN_PHASE_OPTIONS, OPTIONS, Recipe

NAMES = tz.list_recipes()
# a head that is solved has no use for what belongs to epochs
IN_EPOCHS = [name for name in NAMES if name != "linear_probe"]


def arrays(network):
    """Values of a network's weights by layer and name."""
    return {
        "/".join(weight.path.split("/")[-2:]): keras.ops.convert_to_numpy(weight)
        for weight in network.weights
        if "seed_generator" not in weight.path
    }


def moved(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.fixture
def published(tiny_weights):
    """Values of the weights that a run starts from."""
    network = make_tiny()
    network.load_weights(tiny_weights)
    return arrays(network)


@pytest.fixture
def run(tiny, tiny_weights, tiny_digits):
    def run(recipe, **options):
        return tz.fit_and_evaluate(
            tiny,
            tiny_digits,
            recipe=recipe,
            cache=False,
            verbose=False,
            **{"weights": tiny_weights, **options},
        )

    return run


# --- linear_probe


def test_a_linear_probe_is_one_keras_model_from_pixels_to_the_regressions_probabilities(
    run, tiny_digits, published, tmp_path
):
    result = run("linear_probe", out=tmp_path / "run")
    model = result.model
    assert moved(published, arrays(backbone_of(model))) == set()
    extract = keras.Model(model.inputs, keras.layers.GlobalAveragePooling2D()(features_of(model)))
    x, x_test = (
        predict(extract, images).astype("float64") for images in (tiny_digits.x_train, tiny_digits.x_test)
    )
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # some of the few channels never fire on digits
    floor = max(np.median(deviation[deviation > 1e-6 * deviation.max()]), deviation.max() / 10)
    deviation = np.maximum(deviation, floor)
    (strength,) = result.history["C"]
    regression = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
    regression.fit((x - mean) / deviation, tiny_digits.y_train)
    expected = regression.predict_proba((x_test - mean) / deviation)
    assert np.allclose(predict(model, tiny_digits.x_test), expected, atol=2e-3)
    assert np.allclose(result.y_prob, expected, atol=2e-3)
    plain = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert np.allclose(predict(plain, tiny_digits.x_test), expected, atol=2e-3)
    assert {type(layer).__module__.split(".")[0] for layer in plain._flatten_layers()} == {"keras"}


def features_of(model):
    network = backbone_of(model)
    prepared = model.get_layer("preprocessing")(model.inputs[0])
    return network(prepared)


@pytest.mark.medium
def test_a_linear_probe_has_one_row_with_the_strength_that_was_chosen(run):
    history = run("linear_probe").history
    assert history["phase"] == ["linear_probe"]
    assert history["C"][0] in tz.recipe_info("linear_probe").phases[0].c_values
    assert 0 <= history["val_accuracy"][0] <= 1


@pytest.mark.parametrize("option", MAIN_PHASE_OPTIONS)
def test_a_linear_probe_refuses_what_belongs_to_epochs(option):
    with pytest.raises(
        UnknownOptionError, match=f"solves its head in one go here, so '{option}' cannot apply"
    ):
        tz.recipe_info("linear_probe").with_options(**{option: OF_THE_MAIN_PHASE[option]})


def test_a_linear_probe_of_another_head_is_refused(run):
    with pytest.raises(InvalidInputError, match=r"no phase for loaded weights and a head that is not linear"):
        run("linear_probe", head="mlp")


# --- head


@pytest.mark.medium
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_head_recipe_moves_the_head_and_never_the_backbone(run, published, tiny, head):
    result = run("head", head=head, epochs=2, seed=3)
    untrained = head_of(tz.build(tiny, 10, weights=None, head=head, seed=3)).get_weights()
    assert moved(published, arrays(backbone_of(result.model))) == set()
    trained = head_of(result.model).get_weights()
    assert not any(map(np.array_equal, untrained, trained))
    assert result.history["phase"] == ["head", "head"]


# --- fine_tune


def farthest(before, after, name):
    return float(abs(before[name] - after[name]).max())


@pytest.mark.medium
def test_fine_tuning_solves_a_head_and_moves_every_layer_but_no_statistics(run, published):
    result = run("fine_tune", epochs=1, keep="last")
    after = arrays(backbone_of(result.model))
    statistics = {name for name in after if "moving_" in name}
    assert moved(published, after) == set(after) - statistics
    assert result.history["phase"] == ["probe", "fine_tune"]


@pytest.mark.medium
@pytest.mark.parametrize(("layer_decay", "share"), [(0.1, 0.1), (1, 1)])
def test_fine_tuning_moves_each_layer_by_its_share_of_the_one_above(run, published, layer_decay, share):
    options = {"layer_decay": layer_decay, "weight_decay": 0, "label_smoothing": 0}
    result = run(
        "fine_tune", epochs=1, learning_rate=1e-3, warmup=0, augmentation=None, keep="last", **options
    )
    after = arrays(backbone_of(result.model))
    upper, lower = (farthest(published, after, f"conv{i}/kernel") for i in (2, 1))
    # Adam's first steps are as long as the rate, whatever the gradient: two here, on half a cosine
    assert upper == pytest.approx(1.5e-3 * layer_decay, rel=0.15)
    assert lower == pytest.approx(share * upper, rel=0.15)


def test_fine_tuning_random_weights_is_refused(run):
    with pytest.raises(InvalidInputError, match=r"recipe 'fine_tune' has no phase for random weights"):
        run("fine_tune", weights=None)


# --- from_scratch


@pytest.mark.medium
def test_from_scratch_builds_with_a_stem_that_shrinks_images_less_and_with_random_weights(
    tiny, tiny_digits, published
):
    result = tz.fit_and_evaluate(tiny, tiny_digits, recipe="from_scratch", epochs=1, verbose=False)
    described = result.settings["model"]
    assert (described["stem"], described["weights"]) == ("stride1", None)
    network = backbone_of(result.model)
    assert (network.get_layer("conv1").strides, network.get_layer("conv2").strides) == ((1, 1), (2, 2))
    assert network.output_shape[1:3] == (14, 14)
    assert result.history["phase"] == ["scratch"]
    assert moved(published, arrays(network)) == set(published)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("alexnet", None), ("convnext_tiny", None), ("resnet20", None), ("mobilenet", "stride1")],
)
def test_from_scratch_names_no_stem_that_a_backbone_does_not_have(name, stem):
    stems = tz.backbone_info(name).stems
    options = tz.recipe_info("from_scratch").build_options(name, pretrained=False, stems=stems)
    assert options == {"weights": None, **({"stem": stem} if stem else {})}


@pytest.mark.parametrize("name", ["alexnet", "resnet20"])
def test_from_scratch_is_planned_for_networks_with_one_stem(name, tiny_digits):
    plan = plan_run(name, tiny_digits, recipe="from_scratch", seed=0, out=None, options={})
    assert plan.settings["model"]["stem"] == "original"


def test_the_callers_stem_goes_before_the_recipes(tiny, tiny_digits):
    settings = plan_run(
        tiny, tiny_digits, recipe="from_scratch", seed=0, out=None, options={"stem": "original"}
    ).settings
    assert settings["model"]["stem"] == "original"


# --- on validation images, never worse than where it began


@pytest.mark.medium
@pytest.mark.parametrize("name", ["default", "fine_tune"])
def test_a_worse_epoch_than_the_head_before_it_is_not_returned(run, tiny_digits, published, name, caplog):
    result = run(name, epochs=1, learning_rate=0.5, label_smoothing=0)
    assert result.provenance["returned"] == "phase 'probe'"
    assert moved(published, arrays(backbone_of(result.model))) == set()
    placed = result.history["val_accuracy"][0]
    found = (result.validation_prob.argmax(axis=1) == tiny_digits.y_validation).mean()
    assert found == pytest.approx(placed)
    assert "the model of phase 'probe' is returned" in caplog.text
    assert "returned: phase 'probe'" in str(result)
    assert result.history["phase"] == ["probe", "fine_tune"]


@pytest.mark.medium
def test_an_epoch_that_is_clearly_better_is_returned(run, tiny_digits, monkeypatch):
    from transferzoo.training import loop as training

    def spoilt(head_model, *rest):
        c_values = tz.recipe_info("default").phases[0].c_values
        return {**solve(head_model, *rest), "C": c_values[0], **forget(head_model)}

    def forget(head_model):
        dense = next(layer for layer in head_model.layers if layer.weights)
        dense.set_weights([0 * value for value in dense.get_weights()])
        return {"val_accuracy": 0.1}

    solve = training.solve_head
    monkeypatch.setattr(training, "solve_head", spoilt)
    options = {"epochs": 20, "learning_rate": 0.01, "batch_norm": "train", "batch_size": 10}
    result = run("default", label_smoothing=0, **options)
    assert result.provenance["returned"].endswith("of phase 'fine_tune'")
    epoch = int(result.provenance["returned"].split()[1])
    rows = zip(result.history["val_accuracy"], result.history["phase"], strict=True)
    tuned = [accuracy for accuracy, phase in rows if phase == "fine_tune"]
    assert epoch == len(tuned) - int(np.argmax(tuned[::-1]))
    found = (result.validation_prob.argmax(axis=1) == tiny_digits.y_validation).mean()
    assert found == pytest.approx(max(tuned))


def outcomes(n, right, likelier):
    """Which of n images are right, `right` more or fewer than half, and their log-probabilities."""
    correct = np.arange(n) < n // 2 + right
    noise = np.random.default_rng(0).normal(0, 0.5, n)
    return correct, likelier + noise - noise.mean() - 1


BEGAN, MEAN, NOW = 0.0, 2.0, 4.0


@pytest.mark.parametrize(
    ("n", "mean", "now", "chosen"),
    [
        # few images: the mean of both models
        (80, (0, 0.0), (0, 0.0), "mean"),
        (80, (-20, 0.3), (-20, -0.3), "mean"),
        (80, (2, 0.0), (5, 0.3), "mean"),
        (80, (-20, 0.0), (-20, -0.3), "mean"),
        (80, (0, 0.0), (20, 0.0), "mean"),
        (80, (0, 0.0), (0, 0.3), "mean"),
        # unless one of them is clearly ahead of it, in accuracy and in log loss
        (80, (-20, -0.3), (-20, -0.3), "before"),
        (80, (0, 0.0), (20, 0.3), "now"),
        (80, (-20, -0.3), (20, 0.3), "now"),
        (80, (-20, -0.3), (0, 0.0), "before"),
        # enough images: the better one
        (200, (0, 0.0), (1, -0.3), "now"),
        (200, (0, 0.0), (0, 0.1), "now"),
        (200, (0, 0.0), (0, -0.1), "before"),
        (200, (0, 0.0), (-1, 0.3), "before"),
    ],
)
@pytest.mark.parametrize("safe", [True, False])
def test_which_weights_are_returned(n, mean, now, chosen, safe, monkeypatch):
    from transferzoo.training import returning
    from transferzoo.training.callbacks import Origin

    class Network:
        weights = NOW

        def get_weights(self):
            return [np.float32(self.weights), np.int64(7)]

        def set_weights(self, weights):
            self.weights, counter = weights
            assert counter == 7

    found = {MEAN: outcomes(n, *mean), NOW: outcomes(n, *now)}
    monkeypatch.setattr(returning, "_judged", lambda network, *given: found[float(network.weights)])
    network, (correct, likelihood) = Network(), outcomes(n, 0, 0.0)
    origin = Origin(
        weights=[np.float32(BEGAN), np.int64(7)], correct=correct, likelihood=np.full(n, likelihood.mean())
    )
    told = returning.choose_weights(
        network, None, np.zeros(n), origin, logits=False, safe=safe, phase="tune", before="probe"
    )
    if not safe:
        # validation images alone decide, however few
        chosen = "now" if now > (0, 0.0) else "before"
    assert told == chosen
    assert network.weights == {"before": BEGAN, "mean": MEAN, "now": NOW}[chosen]


@pytest.mark.parametrize(
    ("images", "epochs"), [(10, 16), (1000, 16), (1500, 11), (2000, 8), (2049, 8), (45_000, 8)]
)
def test_few_images_get_more_epochs_and_no_more_than_twice_as_many(images, epochs):
    recipe = tz.recipe_info("default").for_model(pretrained=True).for_images(images)
    assert recipe.phases[-1].epochs == epochs
    assert recipe.phases[-1].least_steps is None


@pytest.mark.parametrize(("images", "rate"), [(50, 2.5e-5), (500, 2.5e-4), (1_000, 5e-4), (45_000, 5e-4)])
def test_fewer_images_are_trained_at_a_lower_rate(images, rate):
    recipe = tz.recipe_info("default").for_model(pretrained=True)
    assert recipe.for_images(images).phases[-1].learning_rate == pytest.approx(rate)
    assert recipe.for_images(images).phases[-1].rate_images is None
    asked_for = recipe.with_options(learning_rate=0.002).for_images(images)
    assert asked_for.phases[-1].learning_rate == 0.002


@pytest.mark.parametrize(("total", "rising"), [(1, 0), (64, 19), (256, 77), (632, 100), (5_632, 282)])
def test_a_short_phase_rises_for_as_many_steps_as_a_longer_one(total, rising):
    phase = tz.recipe_info("default").for_model(pretrained=True).phases[-1]
    assert phase.rising_steps(total) == rising
    asked_for = tz.recipe_info("default").for_model(pretrained=True).with_options(warmup=0.05).phases[-1]
    assert asked_for.rising_steps(total) == round(0.05 * total)


@pytest.mark.parametrize(("images", "norm"), [(25, "inference"), (1_999, "inference"), (2_000, "train")])
def test_few_images_leave_the_stored_statistics(images, norm):
    recipe = tz.recipe_info("default").for_model(pretrained=True)
    assert recipe.for_images(images).phases[-1].batch_norm == norm
    assert recipe.for_images(images).phases[-1].norm_images is None
    asked_for = recipe.with_options(batch_norm="train").for_images(images)
    assert asked_for.phases[-1].batch_norm == "train"


@pytest.mark.parametrize(
    ("images", "decay"), [(10, 30.0), (500, 30.0), (2000, 15.0), (10_000, 3.0), (45_000, 3.0)]
)
def test_a_head_on_few_images_gets_more_weight_decay_and_no_more_than_ten_times(images, decay):
    recipe = tz.recipe_info("head").for_images(images)
    assert recipe.phases[-1].weight_decay == pytest.approx(decay)
    assert recipe.phases[-1].decay_steps is None
    asked = tz.recipe_info("head").with_options(weight_decay=0.5).for_images(images)
    assert asked.phases[-1].weight_decay == 0.5


@pytest.mark.medium
def test_epochs_that_are_asked_for_are_those_that_run(run):
    assert run("default", epochs=2).history["phase"] == ["probe", "fine_tune", "fine_tune"]


@pytest.mark.medium
def test_a_phase_that_diverges_gives_the_head_before_it(run, published, caplog):
    result = run("default", epochs=2, learning_rate=1e30)
    assert result.provenance["returned"] == "phase 'probe'"
    assert moved(published, arrays(backbone_of(result.model))) == set()
    assert "Training diverged" in caplog.text
    assert "The model of phase 'probe', before it, is returned" in caplog.text
    assert np.isfinite(result.y_prob).all()


@pytest.mark.medium
def test_safe_is_last_where_no_phase_comes_before(run):
    result = run("default", weights=None, epochs=3)
    assert result.provenance["returned"] == "the last epoch of phase 'scratch'"


# --- default


def test_the_default_recipe_places_a_head_and_then_moves_the_upper_layers_alone(run, published):
    result = run("default", epochs=1, keep="last")
    assert result.history["phase"] == ["probe", "fine_tune"]
    after = moved(published, arrays(backbone_of(result.model)))
    # three of four layers with weights
    assert result.settings["model"]["trainable"] == "top:75%"
    # and of few images no statistics
    assert after == {name for name in published if not name.startswith("conv1") and "moving" not in name}


@pytest.mark.medium
def test_the_default_recipe_trains_all_of_random_weights(run, published):
    result = run("default", weights=None, epochs=1)
    assert result.history["phase"] == ["scratch"]
    assert result.settings["model"]["trainable"] == "all"


# --- options


def others_and_mains(name, options, *, pretrained, linear_head):
    """Phases before and with options: those before the main one, and the main one."""
    recipe = tz.recipe_info(name)
    kinds = {"pretrained": pretrained, "linear_head": linear_head}
    plain, changed = (each.phases_for(**kinds) for each in (recipe, recipe.with_options(**options)))
    assert len(plain) == len(changed)
    return (plain[:-1], changed[:-1]), (plain[-1], changed[-1])


OF_THE_MAIN_PHASE = {
    "epochs": 77,
    "steps_per_epoch": 777,
    "learning_rate": 0.077,
    "augmentation": Augmentation(shift=7),
    "label_smoothing": 0.77,
    "weight_decay": 0.077,
    "layer_decay": 0.77,
    "warmup": 0.77,
    "schedule": "one_cycle",
    "batch_norm": "as_built",
}


def test_no_option_of_the_main_phase_is_forgotten_here():
    assert set(OF_THE_MAIN_PHASE) == set(MAIN_PHASE_OPTIONS)


EPOCHS = [name for name in NAMES if name != "linear_probe"]


@pytest.mark.parametrize(("option", "value"), list(OF_THE_MAIN_PHASE.items()))
@pytest.mark.parametrize(("pretrained", "linear_head"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("name", EPOCHS)
def test_an_option_reaches_the_main_phase_and_only_that(name, pretrained, linear_head, option, value):
    if name == "fine_tune" and not pretrained:
        return
    kinds = {"pretrained": pretrained, "linear_head": linear_head}
    others, (plain, changed) = others_and_mains(name, {option: value}, **kinds)
    assert others[0] == others[1]
    # a schedule takes the place of a plateau
    gone = {"plateau": None} if option == "schedule" else {}
    # and a number of epochs that of a number of steps
    gone |= {"least_steps": None} if option == "epochs" else {}
    # a weight decay that is asked for is the one that is taken
    gone |= {"decay_steps": None} if option == "weight_decay" else {}
    gone |= {"warmup_steps": None} if option == "warmup" else {}
    gone |= {"rate_images": None} if option == "learning_rate" else {}
    gone |= {"norm_images": None} if option == "batch_norm" else {}
    assert changed == dataclasses.replace(plain, **{option: value}, **gone)


@pytest.mark.parametrize(("option", "value"), [("mixup", 0.7), ("rand_augment", 3)])
@pytest.mark.parametrize("name", EPOCHS)
def test_mixing_and_random_operations_are_added_to_the_main_phases_augmentation(name, option, value):
    kinds = {"pretrained": True, "linear_head": False}
    others, (plain, changed) = others_and_mains(name, {option: value}, **kinds)
    assert others[0] == others[1]
    expected = dataclasses.replace(plain.augmentation or Augmentation(), **{option: value})
    assert changed == dataclasses.replace(plain, augmentation=expected)


def test_mixing_is_added_to_the_augmentation_that_is_given_with_it():
    phase = tz.recipe_info("default").with_options(augmentation="article", mixup=0.2).phases[-1]
    assert phase.augmentation == dataclasses.replace(ARTICLE, mixup=0.2)
    phase = tz.recipe_info("default").with_options(augmentation="none", rand_augment=2).phases[-1]
    assert phase.augmentation == Augmentation(rand_augment=2)


@pytest.mark.parametrize("name", IN_EPOCHS)
@pytest.mark.parametrize(
    ("option", "value"), [("keep", "best"), ("keep", "last"), ("patience", 3), ("patience", None)]
)
def test_keeping_and_patience_are_the_recipes_and_leave_its_phases(name, option, value):
    recipe = tz.recipe_info(name)
    changed = recipe.with_options(**{option: value})
    assert changed == dataclasses.replace(recipe, epochs={}, **{option: value})


@pytest.mark.medium
def test_options_reach_the_training_itself(run, tiny_digits, monkeypatch):
    seen = []
    fit = keras.Model.fit

    def note(self, batches, **arguments):
        seen.append((self.optimizer, self.loss, batches.augmentation, arguments["callbacks"]))
        return fit(self, batches, **arguments)

    monkeypatch.setattr(keras.Model, "fit", note)
    result = run(
        "fine_tune",
        head="mlp",
        epochs=1,
        mixup=0.3,
        rand_augment=1,
        label_smoothing=0.25,
        layer_decay=0.5,
        warmup=0.5,
        weight_decay=0.125,
        keep="best",
        patience=4,
    )
    # a head that is not linear is trained in epochs first
    assert result.history["phase"] == ["head"] * 10 + ["fine_tune"]
    (head, smoothing, still, head_callbacks), (tune, other_smoothing, shaken, callbacks) = seen
    assert (smoothing.label_smoothing, other_smoothing.label_smoothing) == (0.1, 0.25)
    # digits are not mirrored
    assert (still, shaken) == (
        None,
        dataclasses.replace(LIGHT, horizontal_flip=False, mixup=0.3, rand_augment=1),
    )
    assert (head.weight_decay, tune.weight_decay) == (3.0, 0.125)
    assert float(head._learning_rate(0)) == pytest.approx(3e-3)
    # two steps, the first of them warming up
    assert [float(tune._learning_rate(step)) for step in range(2)] == pytest.approx([0, 1e-4])
    assert sorted(set(tune._factors)) == [0.25, 0.5, 1]
    stopping = [
        [each.patience for each in found if isinstance(each, keras.callbacks.EarlyStopping)]
        for found in (head_callbacks, callbacks)
    ]
    assert stopping == [[], [4]]


@pytest.mark.medium
@pytest.mark.parametrize(("given", "inference"), [("inference", True), ("train", False)])
def test_batch_norm_reaches_the_main_phase_of_a_run(run, published, given, inference):
    after = arrays(
        backbone_of(run("default", epochs=1, batch_norm=given, trainable="all", keep="last").model)
    )
    still = [np.array_equal(published[name], after[name]) for name in published if "moving_" in name]
    assert set(still) == {inference}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_mistyped_option_gets_the_nearest(tiny, tiny_digits, option):
    with pytest.raises(UnknownOptionError, match=f"Did you mean '{option}'") as caught:
        tz.fit_and_evaluate(tiny, tiny_digits, **{f"{option}s": 1})
    assert caught.value.suggestion == option


# --- records


@pytest.mark.parametrize("name", IN_EPOCHS)
def test_a_recipe_with_every_option_comes_back_from_json_as_it_was(name):
    recipe = tz.recipe_info(name)
    options = {"keep": "best", "patience": 3, "batch_size": 7}
    options |= {**OF_THE_MAIN_PHASE, "mixup": 0.2, "rand_augment": 1}
    if recipe.known_faults:
        options["faithful"] = True
    changed = recipe.with_options("mobilenet", **options)
    assert changed != recipe
    assert Recipe.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed


@pytest.mark.parametrize("name", NAMES)
def test_what_a_recipe_was_in_a_run_is_what_its_folder_says(name, tiny, tiny_digits, tiny_weights):
    weights = None if name == "from_scratch" else tiny_weights
    planned = plan_run(tiny, tiny_digits, recipe=name, seed=0, out=None, options={"weights": weights})
    assert Recipe.from_dict(json.loads(json.dumps(planned.settings["recipe"]))) == planned.recipe


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_and_where_its_numbers_come_from(name):
    recipe = tz.recipe_info(name)
    assert recipe.description
    assert recipe.source
    assert len({phase.name for phase in recipe.phases}) == len(recipe.phases)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_every_named_augmentation_is_an_option(name):
    phase = tz.recipe_info("default").with_options(augmentation=name).phases[-1]
    assert phase.augmentation == AUGMENTATIONS[name]
