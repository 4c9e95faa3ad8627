"""Each fault is found where it is, and not where it is not."""

import dataclasses
import logging
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import transferzoo as tz
from transferzoo.linting.checks import CODES, findings_between, findings_for, log_findings
from transferzoo.planning import plan_run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "lint.md"


@pytest.fixture(scope="module")
def scans():
    """All 1,797 scans of digits and their labels."""
    data = tz.load_dataset("digits")
    parts = data.splits.values()
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


@pytest.fixture(scope="module")
def data(scans):
    """Scans in splits that nothing can be said against."""
    return tz.from_arrays(*scans, test=450, validation=400, name="scans", flip_safe=False)


@pytest.fixture
def weights(tiny_weights):
    return {"weights": str(tiny_weights)}


def planned(model, data, recipe="default", seed=0, name=None, after=None, **options):
    return plan_run(
        model,
        data,
        recipe=recipe,
        seed=seed,
        out=None,
        options=options,
        name=name,
        after=after,
        for_training=False,
    )


def codes(findings):
    return [finding.code for finding in findings]


def of(findings, code):
    """The finding of this code, of which there is one."""
    (finding,) = [each for each in findings if each.code == code]
    return finding


def phase(**changes):
    return tz.Recipe(
        name="own",
        description="one phase",
        phases=(tz.Phase(**{"name": "all", "epochs": 30, "learning_rate": 1e-3, **changes}),),
    )


def network(*first, last="softmax", bn=False):
    """A classifier of one's own, with these layers before its first weights."""
    found = [*first, layers.Conv2D(4, 3, strides=4)]
    if bn:
        found.append(layers.BatchNormalization())
    found += [layers.GlobalAveragePooling2D(), layers.Dense(10, activation=last)]
    return keras.Sequential([keras.Input((32, 32, 3)), *found])


def scaling():
    return layers.Rescaling(1 / 127.5, offset=-1)


def scaled(data, how):
    """The dataset with pixels changed; only the record itself takes such."""
    changed = {f"x_{split}": how(x.astype("float32")) for split, (x, _) in data.splits.items()}
    return dataclasses.replace(data, **changed)


def splits(scans, *places, **options):
    """A dataset with these scans for training, validation and testing."""
    x, y = scans
    train, validation, test = places
    return tz.from_arrays(
        x[train],
        y[train],
        x[test],
        y[test],
        x_validation=x[validation],
        y_validation=y[validation],
        **options,
    )


@pytest.mark.parametrize("recipe", ["default", "from_scratch", "fine_tune", "head", "linear_probe"])
def test_nothing_is_found_where_nothing_is_wrong(tiny, data, weights, recipe):
    options = {} if recipe == "from_scratch" else weights
    assert findings_for(planned(tiny, data, recipe, **options)) == []


def test_nothing_is_found_between_models_that_are_treated_alike(tiny, data):
    tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8)
    runs = [planned(name, data, weights=None) for name in (tiny, "other")]
    assert findings_between(runs, seeds=3) == []
    assert findings_between(runs[:1]) == []


def test_nothing_is_found_in_a_sound_model_of_one_s_own(data):
    assert findings_for(planned(network(scaling(), bn=True), data)) == []


class TestPixels:
    def test_raw_pixels_into_published_weights_are_an_error(self, tiny, data, weights):
        finding = of(findings_for(planned(tiny, data, preprocessing="none", **weights)), "TZ101")
        assert finding.severity == "error"
        assert "from 0 to 255" in finding.what
        assert "expects -1 to 1" in finding.what

    def test_raw_pixels_into_random_weights_are_a_warning(self, tiny, data):
        assert of(
            findings_for(planned(tiny, data, preprocessing="none", weights=None)), "TZ101"
        ).severity == ("warning")

    def test_pixels_scaled_by_hand_suit_a_model_without_preprocessing(self, tiny, data):
        ready = scaled(data, lambda x: x / 127.5 - 1)
        assert findings_for(planned(tiny, ready, preprocessing="none", weights=None)) == []

    @pytest.mark.parametrize(
        "how", [lambda x: x / 255, lambda x: x / 127.5 - 1, lambda x: (x - 128) / 64], ids=["0", "-1", "sd"]
    )
    def test_scaled_images_for_a_model_that_scales_are_an_error(self, tiny, data, how):
        found = findings_for(planned(tiny, scaled(data, how), weights=None))
        assert codes(found) == ["TZ102"]
        assert found[0].severity == "error"

    def test_scaled_images_for_a_scaling_model_of_one_s_own_are_found(self, data):
        model = network(layers.Rescaling(1 / 255))
        assert codes(findings_for(planned(model, scaled(data, lambda x: x / 255)))) == ["TZ102"]

    def test_scaled_images_suit_a_model_of_one_s_own_without_scaling(self, data):
        assert findings_for(planned(network(), scaled(data, lambda x: x / 255))) == []

    def test_a_backbone_that_scales_by_itself_doubles_the_preprocessing(self, tiny, data):
        plain = tz.backbone_info(tiny).builder

        def scaling_builder(input_shape):
            images = keras.Input(input_shape)
            return keras.Model(images, plain(input_shape)(scaling()(images)))

        tz.register_backbone("scaling", scaling_builder, minimum_size=8)
        found = findings_for(planned("scaling", data, weights=None))
        assert codes(found) == ["TZ103"]
        assert found[0].subject == "scaling"

    def test_a_model_that_scales_twice_is_found_whatever_it_scales_with(self, data):
        images = keras.Input((32, 32, 3))
        twice = keras.ops.divide(layers.Rescaling(1 / 255)(images), 255)
        model = keras.Model(images, network()(twice))
        assert codes(findings_for(planned(model, data))) == ["TZ103"]

    def test_a_model_of_one_s_own_without_scaling_is_warned_of(self, data):
        found = findings_for(planned(network(), data))
        assert [(each.code, each.severity) for each in found] == [("TZ105", "warning")]

    @pytest.mark.parametrize(
        "first",
        [
            lambda: layers.Normalization(mean=[128.0] * 3, variance=[64.0**2] * 3),
            lambda: layers.BatchNormalization(),
            lambda: layers.Lambda(lambda x: x / 255),
        ],
        ids=["Normalization", "BatchNormalization", "Lambda"],
    )
    def test_any_kind_of_scaling_counts(self, data, first):
        assert "TZ105" not in codes(findings_for(planned(network(first()), data)))

    def test_a_model_whose_graph_does_not_show_is_left_in_peace(self, data):
        class Hidden(keras.Model):
            def __init__(self):
                super().__init__()
                self.last = layers.Dense(10, activation="softmax")

            def call(self, images):
                return self.last(keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2)))

        model = Hidden()
        model(data.x_train[:2])
        assert findings_for(planned(model, data)) == []


class TestModel:
    def test_a_feature_map_of_one_cell_is_found(self, tiny, data):
        finding = of(findings_for(planned("mobilenet_025", data, weights=None)), "TZ104")
        assert "32×32 to a feature map of 1×1" in finding.what
        assert "image_size=96 or stem='stride1'" in finding.how

    @pytest.mark.medium
    @pytest.mark.parametrize(
        "options",
        [{"image_size": 64}, {"stem": "stride1"}, {"output_stride": 16}],
        ids=lambda each: next(iter(each)),
    )
    def test_larger_maps_are_not(self, data, options):
        assert "TZ104" not in codes(findings_for(planned("mobilenet_025", data, weights=None, **options)))

    @pytest.mark.medium
    def test_what_build_warns_of_is_what_is_found(self, data, caplog):
        for options in ({}, {"image_size": 64}, {"stem": "stride1"}):
            caplog.clear()
            model = tz.build("mobilenet_025", 10, weights=None, **options)
            found = codes(findings_for(planned("mobilenet_025", data, weights=None, **options)))
            assert ("TZ104" in found) == ("1×1 feature map" in caplog.text)
            assert ("TZ104" in codes(findings_for(planned(model, data)))) == ("TZ104" in found)

    def test_one_cell_in_a_model_of_one_s_own_is_found(self, data):
        first = [scaling(), layers.AveragePooling2D(8), layers.Conv2D(4, 4)]
        model = keras.Sequential([keras.Input((32, 32, 3)), *first, layers.Flatten(), layers.Dense(10)])
        assert codes(findings_for(planned(model, data))) == ["TZ104"]

    @pytest.mark.parametrize(("size", "expected"), [(64, ["TZ106"]), (96, []), (480, ["TZ106"])])
    def test_sizes_far_from_the_weights_own_are_noted(self, data, size, expected):
        assert codes(findings_for(planned("mobilenet_025", data, image_size=size))) == expected

    def test_random_weights_know_no_size(self, data):
        assert findings_for(planned("mobilenet_025", data, weights=None, image_size=64)) == []

    @pytest.mark.parametrize(
        ("last", "found"), [("sigmoid", True), ("relu", True), ("softmax", False), (None, False)]
    )
    def test_outputs_that_are_no_probabilities_are_an_error(self, data, last, found):
        assert ("TZ107" in codes(findings_for(planned(network(scaling(), last=last), data)))) == found

    def test_random_layers_in_a_model_are_noted(self, data):
        finding = of(findings_for(planned(network(scaling(), layers.RandomRotation(0.1)), data)), "TZ108")
        assert finding.severity == "note"
        assert "RandomRotation" in finding.what

    def test_mirrored_digits_are_a_warning(self, data):
        model = network(scaling(), layers.RandomFlip("horizontal"))
        assert of(findings_for(planned(model, data)), "TZ108").severity == "warning"
        photos = dataclasses.replace(data, flip_safe=True)
        assert of(findings_for(planned(model, photos)), "TZ108").severity == "note"

    def test_random_layers_that_act_in_evaluation_are_an_error(self, data):
        class Always(layers.RandomRotation):
            def call(self, images, training=True):
                return super().call(images, training=True)

        model = network(scaling(), Always(0.1))
        assert of(findings_for(planned(model, data)), "TZ108").severity == "error"


class TestData:
    def found(self, data):
        return findings_for(planned(network(scaling()), data))

    def test_copies_in_the_test_images_are_counted(self, scans):
        order = np.random.default_rng(0).permutation(1797)
        test = np.concatenate([order[1347:], order[:5]])
        finding = of(self.found(splits(scans, order[:947], order[947:1347], test)), "TZ201")
        assert finding.severity == "warning"
        assert finding.what.startswith("5 of 455 test images (1.1 %)")
        assert "the first is test image 450" in finding.what

    def test_many_copies_are_an_error(self, scans):
        order = np.random.default_rng(0).permutation(1797)
        test = np.concatenate([order[1347:], order[:100]])
        assert of(self.found(splits(scans, order[:947], order[947:1347], test)), "TZ201").severity == "error"

    def test_the_test_images_as_validation_images_are_an_error(self, scans):
        order = np.random.default_rng(0).permutation(1797)
        found = self.found(splits(scans, order[:1347], order[1347:], order[1347:]))
        assert codes(found) == ["TZ203"]
        assert found[0].what.startswith("450 of 450")

    def test_validation_images_that_are_trained_on_are_an_error(self, scans):
        order = np.random.default_rng(0).permutation(1797)
        found = self.found(splits(scans, order[:1347], order[:400], order[1347:]))
        assert codes(found) == ["TZ210"]
        assert found[0].severity == "error"

    def test_the_same_image_with_two_labels_is_found(self, data):
        y = data.y_train.copy()
        x = data.x_train.copy()
        x[1], y[1] = x[0], (y[0] + 1) % 10
        finding = of(self.found(dataclasses.replace(data, x_train=x, y_train=y)), "TZ204")
        assert finding.what.startswith(
            "1 images occur more than once with different labels (2 copies in all)"
        )
        assert finding.images == (("train", 0), ("train", 1))

    def test_rare_classes_are_found_with_the_accuracy_of_guessing(self, scans):
        x, y = scans
        kept = np.concatenate([np.flatnonzero(y != 3), np.flatnonzero(y == 3)[:40]])
        finding = of(self.found(tz.from_arrays(x[kept], y[kept], test=450)), "TZ205")
        assert finding.severity == "note"
        assert "4.6 times fewer" in finding.what
        assert "10.9 %" in finding.what

    def test_a_class_without_test_images_is_found(self, data):
        kept = data.y_test != 3
        found = self.found(
            dataclasses.replace(data, x_test=data.x_test[kept], y_test=data.y_test[kept], test_index=None)
        )
        assert "1 of 10 classes have no test image: '3'" in of(found, "TZ206").what

    def test_classes_of_few_images_are_named_with_their_counts(self, data):
        kept = np.concatenate([np.flatnonzero(data.y_test != 3), np.flatnonzero(data.y_test == 3)[:1]])
        few = dataclasses.replace(data, x_test=data.x_test[kept], y_test=data.y_test[kept], test_index=None)
        finding = of(self.found(few), "TZ211")
        assert finding.severity == "warning"
        assert finding.what.startswith("1 of 10 classes have fewer than 5 training images or 3 test images: ")
        assert "training, 1 test)" in finding.what
        assert "TZ211" not in codes(self.found(data))

    @pytest.mark.parametrize(("images", "severity"), [(50, "warning"), (200, "note")])
    def test_few_test_images_are_found_with_the_width_of_the_interval(self, data, images, severity):
        finding = of(self.found(data.subset(test=images)), "TZ207")
        assert finding.severity == severity
        assert {50: "± 8.3 points", 200: "± 4.2 points"}[images] in finding.what

    def test_splits_that_differ_by_more_than_chance_are_found(self, scans):
        _, y = scans
        order = np.concatenate([np.flatnonzero(y < 7), np.flatnonzero(y >= 7)])
        places = np.r_[0:600, 1300:1650], np.r_[600:700, 1650:1680], np.r_[700:1300, 1680:1797]
        found = self.found(splits(scans, *(order[part] for part in places)))
        assert "TZ208" in codes(found)

    @pytest.mark.medium
    def test_a_split_drawn_without_regard_to_classes_is_not(self, scans):
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(1797)
            assert self.found(splits(scans, order[:947], order[947:1347], order[1347:])) == []

    def test_a_split_of_one_label_is_an_error(self, data):
        kept = data.y_validation == 3
        changed = {"x_validation": data.x_validation[kept], "y_validation": data.y_validation[kept]}
        assert of(self.found(dataclasses.replace(data, **changed)), "TZ209").severity == "error"

    def test_near_copies_are_found_where_images_are_not_all_alike(self, photos):
        rng = np.random.default_rng(0)
        test = photos(300)
        test[:30] = np.clip(photos.train[:30].astype(float) * 0.9 + rng.normal(8, 4, (30, 32, 32, 3)), 0, 255)
        data = tz.from_arrays(photos.train, np.arange(1000) % 10, test, np.arange(300) % 10)
        finding = of(self.found(data), "TZ202")
        assert finding.what.startswith("30 of 300 test images (10")
        assert finding.severity == "error"


class Photos:
    """Pictures of random blobs, no two alike."""

    def __init__(self):
        self.rng = np.random.default_rng(1)
        self.train = self(1000)

    def __call__(self, count):
        spectrum = 1 / (
            1 + np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.rfftfreq(32), indexing="ij")) * 32
        )
        noise = np.fft.rfft2(self.rng.normal(size=(count, 32, 32)))
        pictures = np.fft.irfft2(noise * spectrum**1.2)
        pictures = 128 + 45 * pictures / pictures.std(axis=(1, 2), keepdims=True)
        return np.clip(pictures, 0, 255).astype("uint8")[..., None].repeat(3, axis=3)


@pytest.fixture
def photos():
    return Photos()


class TestTraining:
    def test_the_article_s_faults_are_found(self, tiny, data, weights):
        found = findings_for(planned(tiny, data, "article", faithful=True, after="resnet50", **weights))
        assert codes([each for each in found if each.severity == "error"]) == [
            "TZ101",
            "TZ301",
            "TZ302",
            "TZ303",
        ]
        assert "TZ304" in codes(found)
        assert "counted as 700: 300 twice" in of(found, "TZ302").what
        assert "'resnet50' ended with, which may be 1e-05, not at 0.001" in of(found, "TZ303").what

    def test_the_first_model_carries_no_rate(self, tiny, data, weights):
        found = findings_for(planned(tiny, data, "article", faithful=True, **weights))
        assert "TZ303" not in codes(found)

    @pytest.mark.parametrize(
        ("rate", "factor", "minimum", "expected"),
        [(1e-3, 0.01, 1e-5, "in one step"), (1e-5, 0.1, 1e-5, "begins at"), (1e-3, 0.1, 1e-6, None)],
    )
    def test_a_plateau_that_has_the_rate_at_its_floor_at_once_is_found(
        self, tiny, data, rate, factor, minimum, expected
    ):
        plateau = tz.Plateau(factor=factor, minimum=minimum)
        recipe = phase(learning_rate=rate, plateau=plateau)
        found = [
            each.what
            for each in findings_for(planned(tiny, data, recipe, weights=None))
            if each.code == "TZ304"
        ]
        assert [expected in what for what in found] == ([True] if expected else [])

    @pytest.mark.parametrize(("warmup", "expected"), [(0.6, ["TZ305"]), (0.3, [])])
    def test_a_long_warmup_is_found(self, tiny, data, warmup, expected):
        recipe = phase(schedule="cosine", warmup=warmup)
        assert codes(findings_for(planned(tiny, data, recipe, weights=None))) == expected

    @pytest.mark.parametrize(
        ("optimizer", "rate", "found"),
        [("sgd", 0.1, True), ("adamw", 1e-2, True), ("sgd", 0.01, False), ("adamw", 1e-3, False)],
    )
    def test_a_rate_that_undoes_published_weights_is_found(self, tiny, data, weights, optimizer, rate, found):
        recipe = phase(optimizer=optimizer, learning_rate=rate)
        assert ("TZ306" in codes(findings_for(planned(tiny, data, recipe, **weights)))) == found
        assert "TZ306" not in codes(findings_for(planned(tiny, data, recipe, weights=None)))
        frozen = planned(tiny, data, recipe, trainable="none", **weights)
        assert "TZ306" not in codes(findings_for(frozen))

    @pytest.mark.parametrize(("size", "found"), [(8, True), (16, False)])
    def test_batches_too_small_for_batch_norm_are_found(self, tiny, data, size, found):
        assert ("TZ307" in codes(findings_for(planned(tiny, data, weights=None, batch_size=size)))) == found

    def test_batch_norm_that_does_not_learn_may_have_any_batches(self, tiny, data, weights):
        for options in ({"batch_norm": "inference"}, {"trainable": "none"}):
            recipe = phase(batch_size=8)
            assert findings_for(planned(tiny, data, recipe, **options, **weights)) == []
        assert findings_for(planned(network(scaling()), data, batch_size=8)) == []

    def test_batch_norm_in_the_head_learns_on_a_frozen_backbone_too(self, tiny, data, weights):
        head = tz.Head(tz.heads.Pool(), tz.heads.Normalize("batch"), tz.heads.Classifier())
        found = findings_for(planned(tiny, data, "head", head=head, batch_size=8, **weights))
        assert codes(found) == ["TZ307"]

    @pytest.mark.parametrize(
        ("epochs", "batch_norm", "found"),
        [(2, "as_built", True), (30, "as_built", False), (2, "train", False)],
    )
    def test_statistics_that_do_not_settle_are_found(self, tiny, data, epochs, batch_norm, found):
        # 947 images in batches of 64: 15 steps; 0.99 ** 30 = 0.74, and 0.9 ** 30 = 0.04
        recipe = phase(epochs=epochs, batch_norm=batch_norm)
        said = [
            each for each in findings_for(planned(tiny, data, recipe, weights=None)) if each.code == "TZ308"
        ]
        assert [("74.0 %" in each.what or "74 %" in each.what) for each in said] == ([True] if found else [])

    @pytest.mark.parametrize(("images", "found"), [(641, True), (640, False), (642, False)])
    def test_a_last_batch_of_one_image_is_found(self, tiny, data, images, found):
        run = planned(tiny, data.subset(train=images), weights=None)
        assert ("TZ309" in codes(findings_for(run))) == found

    def test_the_remedy_for_it_is_one(self, tiny, data):
        few = data.subset(train=641)
        finding = of(findings_for(planned(tiny, few, weights=None)), "TZ309")
        size = int(finding.how.partition("batch_size=")[2].partition(",")[0])
        assert "TZ309" not in codes(findings_for(planned(tiny, few, weights=None, batch_size=size)))

    def test_random_weights_that_never_learn_are_found(self, tiny, data):
        found = findings_for(planned(tiny, data, "linear_probe", weights=None))
        assert codes(found) == ["TZ310"]

    def test_random_statistics_that_never_learn_are_found(self, tiny, data):
        found = findings_for(planned(tiny, data, weights=None, batch_norm="inference"))
        assert codes(found) == ["TZ310"]
        assert "mean 0 and variance 1" in found[0].what

    @pytest.mark.parametrize(("images", "severity"), [(50, "warning"), (200, "note")])
    def test_few_validation_images_that_choose_are_found(self, tiny, data, images, severity):
        few = data.subset(validation=images)
        finding = of(findings_for(planned(tiny, few, weights=None, keep="best")), "TZ311")
        assert finding.severity == severity
        assert "the best of 20 epochs" in finding.what
        assert findings_for(planned(tiny, few, weights=None)) == []

    @pytest.mark.medium
    def test_weights_that_have_seen_the_training_images_are_found(self, data):
        named = dataclasses.replace(data, name="cifar10")
        found = findings_for(planned("resnet20", named, "linear_probe", weights="cifar10"))
        assert "TZ312" in codes(found)
        assert "TZ312" not in codes(
            findings_for(planned("resnet20", data, "linear_probe", weights="cifar10"))
        )
        assert "TZ312" not in codes(findings_for(planned("resnet20", named, "linear_probe", weights=None)))


class TestComparison:
    @pytest.fixture
    def other(self, tiny):
        tz.register_backbone("other", tz.backbone_info(tiny).builder, minimum_size=8, default_size=32)
        return "other"

    def between(self, data, tiny, other, first=None, second=None, seeds=3):
        runs = [
            planned(tiny, data, **{"weights": None, **(first or {})}),
            planned(other, data, **{"weights": None, **(second or {})}),
        ]
        return findings_between(runs, seeds=seeds)

    @pytest.mark.parametrize(
        ("code", "own", "words"),
        [
            ("TZ401", {"head": "mlp"}, "linear: 'tiny'; mlp: 'other'"),
            ("TZ402", {"epochs": 5}, "20 epochs: 'tiny'; 5 epochs: 'other'"),
            ("TZ403", {"learning_rate": 0.1}, "learning_rate (0.03: 'tiny'; 0.1: 'other')"),
            ("TZ403", {"keep": "best"}, "keep (safe: 'tiny'; best: 'other')"),
            ("TZ403", {"trainable": "top:1"}, "trainable (all: 'tiny'; top:1: 'other')"),
            ("TZ403", {"augmentation": "none"}, "augmentation ("),
            ("TZ404", {"image_size": 64}, "32×32: 'tiny'; 64×64: 'other'"),
            ("TZ407", {"seed": 1}, "0: 'tiny'; 1: 'other'"),
        ],
    )
    def test_what_one_model_alone_is_given_is_found(self, data, tiny, other, code, own, words):
        found = self.between(data, tiny, other, second=own)
        assert codes(found) == [code]
        assert words in found[0].what

    def test_random_beside_published_weights_are_found_and_not_the_recipe_s_answer_to_them(
        self, data, tiny, other, weights
    ):
        found = self.between(data, tiny, other, second=weights)
        assert codes(found) == ["TZ405"]
        assert "random: 'tiny'; published: 'other'" in found[0].what

    def test_other_test_images_are_an_error_and_other_training_images_a_warning(self, data, tiny, other):
        for part, severity in ({"test": 420}, "error"), ({"train": 900}, "warning"):
            runs = [planned(tiny, data, weights=None), planned(other, data.subset(**part), weights=None)]
            found = findings_between(runs, seeds=3)
            assert [(each.code, each.severity) for each in found] == [("TZ406", severity)]

    def test_one_run_each_is_noted(self, data, tiny, other):
        assert codes(self.between(data, tiny, other, seeds=1)) == ["TZ408"]

    @pytest.mark.medium
    def test_the_article_s_unequal_heads_and_epochs_are_found(self, data):
        runs = [planned(name, data, "article") for name in ("resnet50", "mobilenet")]
        found = findings_between(runs)
        assert codes(found) == ["TZ401", "TZ402", "TZ408"]
        assert "30 epochs: 'resnet50'; 100 epochs: 'mobilenet'" in of(found, "TZ402").what


def test_every_code_is_looked_for_by_a_test():
    files = (__file__, "test_image_checks.py", "test_feature_checks.py")
    source = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in files)
    assert [code for code in CODES if f'"{code}"' not in source] == []


def test_the_page_has_a_section_for_each_code_and_for_no_other():
    sections = [
        line.split()[1:3]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("### TZ")
    ]
    assert sections == [[code, name] for code, (name, *_) in CODES.items()]


def test_looking_changes_neither_generators_nor_the_model(tiny, data):
    model = network(scaling(), bn=True)
    before = [value.copy() for value in model.get_weights()]
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    findings_for(planned(tiny, data, weights=None, image_size=40))
    findings_for(planned(model, data))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_the_data_are_looked_at_once_for_all_runs(tiny, data, monkeypatch):
    from transferzoo.linting import data_checks

    first = findings_for(planned(tiny, data.subset(test=90), weights=None))
    monkeypatch.setattr(data_checks, "image_hashes", None)
    assert findings_for(planned(tiny, data.subset(test=90), weights=None)) == first


def test_each_finding_is_said_once_a_process(tiny, data, caplog):
    found = findings_for(planned(tiny, data.subset(test=91), weights=None, warmup=0.7))
    with caplog.at_level(logging.INFO, logger="transferzoo"):
        log_findings(found)
        log_findings(found)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert sorted(code for code in CODES for record in caplog.records if code in record.getMessage()) == [
        "TZ207",
        "TZ305",
    ]


@pytest.mark.slow
def test_near_copies_in_cifar10_are_found(real_weights):
    data = tz.load_dataset("cifar10")
    found = findings_for(planned("mobilenet", data))
    # four of 60,000 images are nearly black or white
    assert codes(found) == ["TZ202", "TZ215"]
    count = int(found[0].what.split()[0])
    # ciFAIR counts 286 test images with a near-copy among the training images
    assert 150 < count < 400
    assert found[0].severity == "warning"
