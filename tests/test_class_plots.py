"""Plots of classes, of features, and of several seeds: what they are drawn from, and what they refuse."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import transferzoo as tz
from transferzoo import plots
from transferzoo.errors import InvalidInputError
from transferzoo.plots.classes import class_data
from transferzoo.plots.clouds import cloud_data
from transferzoo.plots.seed_curves import seed_curve_data
from transferzoo.statistics import wilson_interval


@pytest.fixture(autouse=True)
def figures_closed():
    yield
    plt.close("all")


def run_of(y_true, guesses, k=3, names=None):
    y_prob = np.where(np.arange(k) == np.array(guesses)[:, None], 0.9, 0.1 / (k - 1))
    names = names or [f"class {number}" for number in range(k)]
    return SimpleNamespace(y_true=np.array(y_true), y_prob=y_prob, class_names=names, name="run")


TRUTH = [0, 0, 0, 0, 1, 1, 1, 2, 2]
ONE = run_of(TRUTH, [0, 0, 0, 1, 1, 0, 0, 2, 2])
TWO = run_of(TRUTH, [0, 0, 0, 0, 1, 1, 0, 2, 0])


class TestClasses:
    def test_the_least_accurate_class_comes_first_with_its_interval(self):
        found = class_data(ONE)
        assert found.class_names == ("class 1", "class 0", "class 2")
        assert found.images.tolist() == [3, 4, 2]
        assert found.models["run"][0] == pytest.approx([1 / 3, 3 / 4, 1])
        low, high = wilson_interval(3, 4)
        assert found.models["run"][1:, 1] == pytest.approx([low, high])

    def test_several_models_share_the_first_ones_order(self):
        found = class_data({"one": ONE, "two": TWO})
        assert found.models["two"][0] == pytest.approx([2 / 3, 1, 1 / 2])
        axes = plots.class_accuracies({"one": ONE, "two": TWO})
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
        assert axes.get_yticklabels()[0].get_text() == "class 1 (3)"

    def test_a_limit_leaves_out_the_most_accurate_and_says_so(self):
        assert class_data(ONE, limit=1).left_out == 2
        assert "2 more accurate classes are not shown" in plots.class_accuracies(ONE, limit=1).get_xlabel()

    def test_a_class_without_test_images_has_no_point(self):
        found = class_data(run_of([0, 0, 1], [0, 1, 1]))
        assert np.isnan(found.models["run"][:, list(found.class_names).index("class 2")]).all()

    def test_results_of_other_images_are_refused(self):
        other = run_of(TRUTH[::-1], TRUTH)
        with pytest.raises(InvalidInputError, match="same test images"):
            plots.class_accuracies([ONE, other])
        with pytest.raises(InvalidInputError, match="same test images"):
            plots.confusion_difference(ONE, other)

    def test_the_difference_is_of_shares_in_points(self):
        axes = plots.confusion_difference(ONE, TWO, names=("one", "two"))
        shown = np.asarray(axes.images[0].get_array())
        assert shown[0].tolist() == pytest.approx([25, -25, 0])
        assert shown[1].tolist() == pytest.approx([-100 / 3, 100 / 3, 0])
        assert shown[2].tolist() == pytest.approx([50, 0, -50])
        assert {text.get_text() for text in axes.texts} == {"+25", "-25", "+33", "-33", "+50", "-50"}

    def test_a_hundred_classes_are_drawn_without_numbers(self):
        rng = np.random.default_rng(0)
        truth = rng.permutation(np.repeat(np.arange(100), 5))
        runs = [run_of(truth, rng.integers(0, 100, 500), k=100) for _ in range(2)]
        axes = plots.confusion_difference(*runs)
        assert axes.texts == [] or not len(axes.texts)
        assert len(axes.get_xticks()) == 25
        assert class_data(runs[0]).left_out == 70

    def test_names_that_look_like_mathematics_or_pages_are_shown_as_they_are(self):
        names = ["$\\frac$", "<img src=x>", "a" * 300]
        for axes in (
            plots.class_accuracies(run_of(TRUTH, TRUTH, names=names)),
            plots.confusion_difference(
                run_of(TRUTH, TRUTH, names=names), run_of(TRUTH, [0] * 9, names=names), names=("$a", "b$")
            ),
        ):
            axes.figure.canvas.draw()
            shown = [label.get_text() for label in axes.get_yticklabels()]
            assert any(text.startswith("$\\frac$") for text in shown)
            assert any(text.startswith("<img src=x>") for text in shown)
            assert not any("a" * 300 in text for text in shown)


class TestFeatures:
    def clusters(self, k=3, channels=8):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(k), 12)
        return rng.normal(size=(len(labels), channels)) + 9 * np.eye(k, channels)[labels], labels

    def test_principal_components_are_those_of_standardised_features(self):
        features, labels = self.clusters()
        found = cloud_data(features, labels)
        values = (features - features.mean(axis=0)) / np.maximum(
            features.std(axis=0), np.median(features.std(axis=0))
        )
        _, singular, _ = np.linalg.svd(values, full_matrices=False)
        shares = singular**2 / (singular**2).sum()
        assert found.explained == pytest.approx(tuple(shares[:2]), rel=1e-6)
        assert np.abs(found.points).max(axis=0) == pytest.approx(
            np.abs(np.linalg.svd(values)[0][:, :2] * singular[:2]).max(axis=0)
        )

    @pytest.mark.parametrize("method", ["pca", "tsne"])
    def test_classes_that_lie_apart_are_drawn_apart(self, method):
        features, labels = self.clusters()
        points = cloud_data(features, labels, method=method).points
        middles = np.stack([points[labels == place].mean(axis=0) for place in range(3)])
        nearest = np.linalg.norm(points[:, None] - middles, axis=2).argmin(axis=1)
        assert (nearest == labels).mean() > 0.95

    def test_maps_are_averaged(self):
        features, labels = self.clusters()
        maps = np.repeat(features[:, None, None], 2, axis=1)
        assert np.abs(cloud_data(maps, labels).points) == pytest.approx(
            np.abs(cloud_data(features, labels).points)
        )

    def test_many_classes_are_numbered(self):
        features, labels = self.clusters(k=25, channels=30)
        axes = plots.feature_cloud(features, labels)
        assert axes.get_legend() is None
        assert len(axes.texts) == 25

    @pytest.mark.parametrize(
        ("features", "labels"),
        [
            (np.zeros((2, 4)), [0, 1]),
            (np.zeros((5, 1)), [0, 1, 0, 1, 0]),
            (np.full((5, 4), np.nan), [0, 1, 0, 1, 0]),
            (np.ones((5, 4)), [0, 1]),
        ],
    )
    def test_what_cannot_be_drawn_is_refused(self, features, labels):
        with pytest.raises(InvalidInputError):
            plots.feature_cloud(features, labels)


class TestSeeds:
    def history(self, values, **more):
        return {"loss": [1.0] * len(values), "accuracy": values, "val_accuracy": values, **more}

    def test_the_band_reaches_from_the_lowest_to_the_highest_run(self):
        runs = {"a": [self.history([0.1, 0.5, 0.6]), self.history([0.3, 0.4])]}
        axes = plots.histories(runs)
        assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.45, 0.6])
        (band,) = axes.collections
        corners = band.get_paths()[0].vertices
        assert corners[:, 1].min() == pytest.approx(0.1)
        assert corners[:, 1].max() == pytest.approx(0.6)
        assert axes.get_legend().get_texts()[0].get_text() == "a (2 seeds)"

    def test_solved_heads_are_no_epochs(self):
        run = self.history([0.9, 0.1, 0.2], C=[0.1, float("nan"), float("nan")], phase=["p", "f", "f"])
        assert seed_curve_data({"a": run}).models["a"].tolist() == [[0.1, 0.2]]

    @pytest.mark.medium
    def test_a_study_is_drawn_by_its_models(self, tiny, tiny_digits, quick):
        study = tz.compare([tiny], tiny_digits, recipe=quick, weights=None, seeds=[0, 1], verbose=False)
        found = seed_curve_data(study)
        assert found.models[tiny].shape[0] == 2
        plots.histories(study)

    def test_runs_without_the_figure_are_refused(self):
        with pytest.raises(InvalidInputError, match="'val_accuracy' by epoch"):
            plots.histories({"a": {"loss": [1.0], "accuracy": [0.5]}})
        with pytest.raises(InvalidInputError, match="metric must be"):
            plots.histories({"a": self.history([0.5])}, metric="speed")
