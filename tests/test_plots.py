import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot

from transferzoo import plots
from transferzoo.errors import InvalidInputError
from transferzoo.evaluation import confusion

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def rendered_boxes(artists):
    figure = artists[0].get_figure(root=True)
    figure.canvas.draw()
    return [artist.get_window_extent() for artist in artists]


def overlapping(boxes):
    return [
        (i, j)
        for i, one in enumerate(boxes)
        for j, other in enumerate(boxes[:i])
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]


def marked_images(n, height=4, width=4):
    """Images that carry their own number, so that a drawn one can be told."""
    return np.broadcast_to(np.arange(n, dtype="uint8")[:, None, None, None], (n, height, width, 3))


class TestImageGrid:
    def test_each_image_stands_under_the_name_of_its_class(self):
        labels = np.arange(60) % 10
        ax = plots.image_grid(marked_images(60), labels, CIFAR, rows=3, columns=4)
        shown = [int(image.get_array()[0, 0, 0]) for image in ax.images]
        assert len(shown) == len(set(shown)) == 12
        assert [text.get_text() for text in ax.texts] == [CIFAR[labels[number]] for number in shown]
        for image, text in zip(ax.images, ax.texts, strict=True):
            left, right, _, top = image.get_extent()
            assert left < text.get_position()[0] < right
            assert text.get_position()[1] >= top

    def test_the_seed_decides_what_is_drawn(self):
        def shown(seed):
            ax = plots.image_grid(marked_images(60), seed=seed)
            return [int(image.get_array()[0, 0, 0]) for image in ax.images]

        assert shown(0) == shown(0) != shown(1)

    def test_a_dataset_brings_its_labels_and_names(self):
        dataset = SimpleNamespace(
            x_train=marked_images(4), y_train=np.array([0, 1, 0, 1]), class_names=("cat", "dog")
        )
        ax = plots.image_grid(dataset, rows=2, columns=2)
        assert sorted(text.get_text() for text in ax.texts) == ["cat", "cat", "dog", "dog"]

    def test_fewer_images_than_cells_are_all_drawn(self):
        assert len(plots.image_grid(marked_images(7)).images) == 7

    @pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1)])
    def test_grey_images_are_drawn_black_to_white_over_0_to_255(self, shape):
        ax = plots.image_grid(np.full(shape, 100.0))
        assert ax.images[0].get_clim() == (0, 255)
        assert (ax.images[0].get_array() == 100).all()

    def test_floats_up_to_one_are_taken_as_fractions(self):
        ax = plots.image_grid(np.ones((1, 2, 2, 3)))
        assert (ax.images[0].get_array() == 255).all()

    def test_long_class_names_stay_off_their_neighbours(self):
        names = ["a name that goes on and on and then goes on for a while more", "x" * 30]
        ax = plots.image_grid(marked_images(25), np.arange(25) % 2, names)
        assert not overlapping(rendered_boxes(ax.texts))

    def test_it_draws_on_the_axes_it_is_given(self):
        _, ax = pyplot.subplots()
        assert plots.image_grid(marked_images(3), ax=ax) is ax

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((np.zeros((3, 4)),), ["images must be", "shape (3, 4)"]),
            ((np.zeros((0, 4, 4, 3)),), ["images must be", "(0, 4, 4, 3)"]),
            ((np.zeros((2, 4, 4, 7)),), ["(2, 4, 4, 7)"]),
            ((np.full((2, 4, 4, 3), -1.0),), ["from -1 to -1", "before preprocessing"]),
            ((np.zeros((2, 4, 4, 3), dtype=complex),), ["complex"]),
            ((marked_images(3), [0, 1]), ["labels must be", "3"]),
            ((marked_images(2), [0, 2], ["cat", "dog"]), ["labels", "0 to 1"]),
            (("photos",), ["images must be", "photos"]),
        ],
    )
    def test_bad_images_are_refused_in_a_sentence(self, arguments, words):
        with pytest.raises(InvalidInputError) as caught:
            plots.image_grid(*arguments)
        for word in words:
            assert word in str(caught.value)


HISTORY = {
    "loss": [1.2, 0.8, 0.6, 0.5],
    "val_loss": [1.3, 0.9, 0.7, 0.65],
    "accuracy": [0.5, 0.7, 0.8, 0.85],
    "val_accuracy": [0.45, 0.65, 0.75, 0.8],
    "learning_rate": [1e-3] * 4,
    "phase": ["head", "head", "fine-tune", "fine-tune"],
}


class TestHistory:
    def test_both_panels_hold_training_and_validation_from_epoch_one(self):
        for panel, name in zip(plots.history(HISTORY), ("loss", "accuracy"), strict=True):
            training, validation = panel.lines[:2]
            assert training.get_xdata().tolist() == [1, 2, 3, 4]
            assert training.get_ydata().tolist() == HISTORY[name]
            assert validation.get_ydata().tolist() == HISTORY[f"val_{name}"]

    def test_a_line_with_its_name_marks_where_a_phase_begins(self):
        for panel in plots.history(HISTORY):
            assert [line.get_xdata() for line in panel.lines[2:]] == [[2.5, 2.5]]
            assert [text.get_text().strip() for text in panel.texts] == ["fine-tune"]

    def test_a_solved_head_is_a_line_across_and_no_epoch(self):
        solved = {name: [values[0], *values] for name, values in HISTORY.items()}
        solved |= {"phase": ["probe", *HISTORY["phase"]], "C": [0.01, *[math.nan] * 4]}
        for panel, name in zip(plots.history(solved), ("loss", "accuracy"), strict=True):
            assert panel.lines[0].get_ydata().tolist() == HISTORY[name]
            assert panel.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
            across = panel.lines[2]
            assert across.get_ydata() == [HISTORY[f"val_{name}"][0]] * 2
            assert across.get_label() == "probe, validation"

    def test_a_solved_head_alone_is_two_bars(self):
        solved = {"loss": [0.1], "accuracy": [1.0], "val_loss": [0.6], "val_accuracy": [0.8]}
        solved |= {"phase": ["probe"], "C": [0.1]}
        loss, accuracy = plots.history(solved)
        assert [bar.get_height() for bar in loss.patches] == [0.1, 0.6]
        assert [bar.get_height() for bar in accuracy.patches] == [1.0, 0.8]
        assert [label.get_text() for label in accuracy.get_xticklabels()] == ["training", "validation"]
        assert not loss.lines

    def test_a_title_stands_above_the_legend(self):
        loss, _ = plots.history(HISTORY, title="mobilenet on cifar10")
        title, legend = rendered_boxes([loss.title, loss._left_title, loss.get_legend()])[-2:]
        assert loss.get_title(loc="left") == "mobilenet on cifar10"
        assert not overlapping([title, legend])

    def test_epochs_have_whole_numbers(self):
        for epochs in (1, 2, 3, 40):
            loss, _ = plots.history({"loss": [0.5] * epochs, "accuracy": [0.5] * epochs})
            assert all(tick == int(tick) for tick in loss.get_xticks())

    def test_without_validation_only_training_is_drawn(self):
        axes = plots.history({"loss": [1.0], "accuracy": [0.5], "phase": None})
        assert [len(panel.lines) for panel in axes] == [1, 1]

    def test_an_object_with_a_history_is_taken(self):
        axes = plots.history(SimpleNamespace(history=HISTORY))
        assert isinstance(axes, np.ndarray)
        assert axes.shape == (2,)

    def test_a_gap_in_the_curve_is_left_open(self):
        loss, _ = plots.history({"loss": [1.0, None, 0.5], "accuracy": [0.1, 0.2, 0.3]})
        assert math.isnan(loss.lines[0].get_ydata()[1])

    def test_it_draws_on_the_pair_it_is_given(self):
        _, pair = pyplot.subplots(2, 1)
        assert list(plots.history(HISTORY, ax=pair)) == list(pair)

    @pytest.mark.parametrize(
        "bad",
        [{}, {"loss": [1.0]}, {"loss": [1.0], "accuracy": [0.1, 0.2]}, {"loss": [], "accuracy": []}, 3],
    )
    def test_a_history_that_cannot_be_drawn_is_refused(self, bad):
        with pytest.raises(InvalidInputError, match="history must be"):
            plots.history(bad)

    def test_words_among_the_numbers_are_refused(self):
        with pytest.raises(InvalidInputError, match="numbers"):
            plots.history({"loss": ["high"], "accuracy": [0.1]})

    def test_a_single_axes_is_refused(self):
        _, ax = pyplot.subplots()
        with pytest.raises(InvalidInputError, match="a pair of matplotlib Axes"):
            plots.history(HISTORY, ax=ax)


def guesses(n, k, seed=0):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, k, n)
    y_prob = rng.dirichlet(np.ones(k), n) + np.eye(k)[y_true]
    return y_true, y_prob / 2


class TestConfusionMatrix:
    @pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
    def test_the_picture_is_the_matrix(self, normalize):
        y_true, y_prob = guesses(300, 10)
        ax = plots.confusion_matrix(y_true, y_prob, class_names=CIFAR, normalize=normalize)
        matrix = confusion(y_true, y_prob, normalize=normalize)
        assert (ax.images[0].get_array() == matrix).all()
        if normalize is None:
            shown = [str(value) if value else "" for value in matrix.flat]
        else:
            words = [f"{100 * value:.0f}%" if value >= 0.005 else "<1%" for value in matrix.flat]
            shown = [word if value else "" for word, value in zip(words, matrix.flat, strict=True)]
        assert [text.get_text() for text in ax.texts] == shown

    def test_both_axes_carry_the_class_names(self):
        ax = plots.confusion_matrix(*guesses(100, 10), class_names=CIFAR)
        across, down = ax.get_xticklabels(), ax.get_yticklabels()
        assert [label.get_text() for label in across] == [label.get_text() for label in down] == CIFAR
        assert {(label.get_rotation(), label.get_ha()) for label in across} == {(45.0, "right")}

    def test_a_result_brings_its_arrays_and_names(self):
        y_true, y_prob = guesses(50, 2)
        ax = plots.confusion_matrix(SimpleNamespace(y_true=y_true, y_prob=y_prob, class_names=("cat", "dog")))
        assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog"]

    def test_predicted_classes_are_taken_as_well(self):
        ax = plots.confusion_matrix([0, 1, 1], [0, 1, 0])
        assert ax.images[0].get_array().tolist() == [[1, 0], [1, 1]]

    def test_many_classes_have_a_colour_bar_and_no_crowded_text(self):
        ax = plots.confusion_matrix(*guesses(1000, 100), class_names=[f"class_{i}" for i in range(100)])
        assert len(ax.texts) == 0
        assert len(ax.get_figure(root=True).axes) == 2
        assert not overlapping(rendered_boxes(ax.get_yticklabels()))

    @pytest.mark.parametrize("k", [2, 10, 20])
    def test_numbers_stay_inside_their_cells(self, k):
        ax = plots.confusion_matrix(*guesses(20_000, k))
        boxes = rendered_boxes(list(ax.texts))
        cell = ax.get_window_extent().width / k
        assert max(box.width for box in boxes) < cell

    def test_no_image_drawn_is_no_error_when_normalised_over_an_absent_class(self):
        ax = plots.confusion_matrix([0, 0], [0, 0], class_names=["cat", "dog"], normalize="true")
        assert ax.images[0].get_array().tolist() == [[1, 0], [0, 0]]

    def test_it_draws_on_the_axes_it_is_given(self):
        _, ax = pyplot.subplots()
        assert plots.confusion_matrix([0, 1], [0, 1], ax=ax) is ax

    @pytest.mark.parametrize(
        ("arguments", "options", "words"),
        [
            (([0, 1],), {}, ["y_pred must be", "a result"]),
            (([0, 1], [0, 1]), {"normalize": "row"}, ["'true'", "'pred'", "'all'"]),
            (([0, 1], [0, 2]), {"class_names": ["cat", "dog"]}, ["y_pred", "0 to 1"]),
            (([0, 1], [[0.5, 0.5]] * 2), {"class_names": ["cat"]}, ["class_names must be 2 names"]),
            (([0, 1], [0]), {}, ["y_true"]),
        ],
    )
    def test_bad_arguments_are_refused_in_a_sentence(self, arguments, options, words):
        with pytest.raises(InvalidInputError) as caught:
            plots.confusion_matrix(*arguments, **options)
        for word in words:
            assert word in str(caught.value)


ROWS = [
    {"model": "vgg16", "accuracy": 0.71, "parameters": 138_000_000, "log_loss": 0.9},
    {"model": "mobilenet", "accuracy": 0.812, "parameters": 3_200_000, "log_loss": 0.6},
    {"model": "resnet50", "accuracy": 0.79, "parameters": 25_600_000, "log_loss": None},
]


def bars(ax):
    labels = [label.get_text() for label in ax.get_yticklabels()]
    return list(zip(labels, [bar.get_width() for bar in ax.patches], strict=True))


class TestComparison:
    def test_the_most_accurate_stands_on_top_with_its_percentage(self):
        ax = plots.comparison(ROWS)
        assert bars(ax) == [("mobilenet", 0.812), ("resnet50", 0.79), ("vgg16", 0.71)]
        assert [text.get_text() for text in ax.texts] == ["81.2%", "79.0%", "71.0%"]
        assert ax.yaxis_inverted()

    def test_the_fewest_parameters_stand_on_top(self):
        ax = plots.comparison(ROWS, metric="parameters")
        assert [name for name, _ in bars(ax)] == ["mobilenet", "resnet50", "vgg16"]
        assert [text.get_text() for text in ax.texts] == ["3.2 M", "25.6 M", "138 M"]

    def test_intervals_are_drawn_and_the_axis_ends_at_100_per_cent(self):
        rows = [
            {"model": "a", "accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.97},
            {"model": "b", "accuracy": 0.5},
        ]
        ax = plots.comparison(rows, title="cifar10")
        (segments,) = [each.get_segments() for each in ax.collections]
        np.testing.assert_allclose(segments, [[[0.85, 0], [0.97, 0]]])
        assert ax.get_xlim() == (0, 1)
        assert ax.get_title(loc="left") == "cifar10"
        assert [text.get_text() for text in ax.texts] == ["90.0%", "50.0%"]
        assert ax.texts[0].xy[0] == 0.97

    def test_a_row_without_the_metric_comes_last(self):
        ax = plots.comparison(ROWS, metric="log_loss")
        assert [name for name, _ in bars(ax)] == ["mobilenet", "vgg16", "resnet50"]
        assert ax.texts[-1].get_text() == "n/a"

    @pytest.mark.parametrize(
        "metric", ["log_loss", "val_loss", "train_seconds", "size_bytes", "parameters", "latency_ms", "macs"]
    )
    def test_less_is_better_for_costs(self, metric):
        assert plots.less_is_better(metric)

    @pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "top5_accuracy", "images_per_second"])
    def test_more_is_better_for_merits(self, metric):
        assert not plots.less_is_better(metric)

    def test_a_table_object_is_taken(self):
        ax = plots.comparison(SimpleNamespace(to_records=lambda: ROWS))
        assert len(ax.patches) == 3

    def test_an_unknown_metric_shows_the_nearest_and_all(self):
        with pytest.raises(InvalidInputError) as caught:
            plots.comparison(ROWS, metric="acuracy")
        for word in ("'acuracy'", "Did you mean 'accuracy'?", "'parameters'", "'log_loss'"):
            assert word in str(caught.value)

    @pytest.mark.parametrize("rows", [[], {}, "rows", 3, [{"accuracy": 0.5}], [1]])
    def test_rows_that_are_none_are_refused(self, rows):
        with pytest.raises(InvalidInputError, match="rows must be"):
            plots.comparison(rows)

    def test_negative_values_keep_their_bars_in_sight(self):
        ax = plots.comparison([{"model": "a", "score": -2.0}, {"model": "b", "score": 1.0}], metric="score")
        assert ax.get_xlim()[0] < -2

    def test_it_draws_on_the_axes_it_is_given(self):
        _, ax = pyplot.subplots()
        assert plots.comparison(ROWS, ax=ax) is ax


class TestAccuracyAgainstCost:
    def test_each_model_is_a_named_point(self):
        ax = plots.accuracy_against_cost(ROWS)
        points = ax.collections[0].get_offsets().tolist()
        assert points == [[row["parameters"], row["accuracy"]] for row in ROWS]
        assert [text.get_text() for text in ax.texts] == ["vgg16", "mobilenet", "resnet50"]

    def test_a_wide_span_is_drawn_on_a_log_axis_and_a_narrow_one_is_not(self):
        assert plots.accuracy_against_cost(ROWS).get_xscale() == "log"
        assert plots.accuracy_against_cost(ROWS[1:]).get_xscale() == "linear"

    def test_rows_without_both_numbers_are_left_out(self):
        ax = plots.accuracy_against_cost([*ROWS, {"model": "mystery", "accuracy": 0.9}])
        assert len(ax.texts) == 3

    def test_names_of_neighbouring_points_do_not_overlap(self):
        rows = [
            {"model": f"backbone_{i}", "accuracy": 0.8 + 0.001 * i, "parameters": 1e6 + 1e4 * i}
            for i in range(5)
        ]
        ax = plots.accuracy_against_cost(rows)
        assert not overlapping(rendered_boxes(list(ax.texts)))

    def test_an_unknown_cost_shows_the_nearest(self):
        with pytest.raises(InvalidInputError, match="Did you mean 'parameters'"):
            plots.accuracy_against_cost(ROWS, cost="parameter")

    def test_rows_that_never_hold_both_are_refused(self):
        rows = [{"model": "a", "accuracy": 0.5}, {"model": "b", "parameters": 3.0}]
        with pytest.raises(InvalidInputError, match="both 'accuracy' and 'parameters'"):
            plots.accuracy_against_cost(rows)

    def test_it_draws_on_the_axes_it_is_given(self):
        _, ax = pyplot.subplots()
        assert plots.accuracy_against_cost(ROWS, ax=ax) is ax


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.8125, "81.2%"),
        ("parameters", 999_950, "1 M"),
        ("parameters", 12, "12"),
        ("size_bytes", 13_000_000, "13 MB"),
        ("train_seconds", 41.53, "41.5 s"),
        ("train_seconds", 4153.0, "4,153 s"),
        ("latency_ms", 99.97, "100 ms"),
        ("log_loss", 0.46, "0.460"),
        ("log_loss", math.nan, "n/a"),
    ],
)
def test_numbers_read_as_a_person_would_write_them(metric, value, text):
    assert plots.readable(metric, value) == text


def test_dollar_signs_in_names_are_shown_as_they_are():
    ax = plots.comparison([{"model": "$a_b$ {", "accuracy": 0.5}])
    ax.get_figure(root=True).canvas.draw()
    assert ax.get_yticklabels()[0].get_parse_math() is False


def test_nothing_is_ever_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda *_, **__: shown.append(1))
    plots.image_grid(marked_images(2))
    plots.history(HISTORY)
    plots.confusion_matrix([0, 1], [0, 1])
    plots.comparison(ROWS)
    plots.accuracy_against_cost(ROWS)
    assert shown == []
