import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferzoo.errors import InvalidInputError
from transferzoo.evaluation import confusion, evaluate, per_class, predicted_classes


def probabilities(seed, n, k, sharpness=2.0):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k)) + sharpness * np.eye(k)[y_true]
    y_prob = np.exp(scores)
    return y_true, y_prob / y_prob.sum(axis=1, keepdims=True)


def counted(y_true, y_prob, top_k):
    """The metrics by plain counting, from their definitions."""
    n, k = y_prob.shape
    guesses = [max(range(k), key=lambda c: (row[c], -c)) for row in y_prob]
    recalls, f1s = [], []
    for c in range(k):
        hits = sum(t == g == c for t, g in zip(y_true, guesses, strict=True))
        true = sum(t == c for t in y_true)
        taken = sum(g == c for g in guesses)
        if true:
            recalls.append(hits / true)
        if true + taken:
            f1s.append(2 * hits / (true + taken))
    ranked = [sorted(range(k), key=lambda c: (-row[c], c))[:top_k] for row in y_prob]
    metrics = {
        "accuracy": sum(t == g for t, g in zip(y_true, guesses, strict=True)) / n,
        "balanced_accuracy": sum(recalls) / len(recalls),
        "macro_f1": sum(f1s) / len(f1s),
        "log_loss": -sum(math.log(row[t] / sum(row)) for t, row in zip(y_true, y_prob, strict=True)) / n,
    }
    hits = sum(t == g for t, g in zip(y_true, guesses, strict=True))
    z = 1.959963984540054
    centre, spread = hits + z * z / 2, z * math.sqrt(hits * (n - hits) / n + z * z / 4)
    metrics["accuracy_low"], metrics["accuracy_high"] = (
        (centre + side * spread) / (n + z * z) for side in (-1, 1)
    )
    metrics["brier_score"] = (
        sum((row[c] - (c == t)) ** 2 for t, row in zip(y_true, y_prob, strict=True) for c in range(k)) / n
    )
    sure = [(max(row), t == g) for t, g, row in zip(y_true, guesses, y_prob, strict=True)]
    ranks = [sum(other < one for other, _ in sure) for one, _ in sure]
    for name, places in (
        ("ece", [math.ceil(one * 15) for one, _ in sure]),
        ("ece_equal_mass", [rank * 15 // n for rank in ranks]),
    ):
        gaps = dict.fromkeys(places, 0.0)
        for place, (one, right) in zip(places, sure, strict=True):
            gaps[place] += (right - one) / n
        metrics[name] = sum(abs(gap) for gap in gaps.values())
    if k > top_k:
        metrics[f"top{top_k}_accuracy"] = sum(t in best for t, best in zip(y_true, ranked, strict=True)) / n
    return metrics


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 30),
    k=st.integers(2, 9),
    top_k=st.integers(1, 6),
)
def test_metrics_equal_those_counted_by_hand(seed, n, k, top_k):
    y_true, y_prob = probabilities(seed, n, k)
    metrics = evaluate(y_true, y_prob, top_k=top_k)
    expected = counted(y_true, y_prob, top_k)
    assert metrics.keys() == expected.keys()
    assert metrics == pytest.approx(expected, abs=1e-9)


def test_four_images_give_the_metrics_worked_out_on_paper():
    metrics = evaluate([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == 0.75
    assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics["log_loss"] == pytest.approx(-math.log(0.9 * 0.8 * 0.4 * 0.7) / 4)


def test_metrics_are_plain_floats():
    assert {type(value) for value in evaluate(*probabilities(0, 20, 8)).values()} == {float}


def test_classes_absent_from_the_truth_raise_no_warning():
    _, y_prob = probabilities(1, 20, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = evaluate(np.zeros(20, int), y_prob)
        per_class(np.zeros(20, int), y_prob)
        confusion(np.zeros(20, int), y_prob, normalize="true")
    assert metrics["balanced_accuracy"] == metrics["accuracy"]


@pytest.mark.parametrize("k", [2, 12])
def test_the_log_loss_is_scikit_learn_s(k):
    from sklearn.metrics import log_loss

    y_true, y_prob = probabilities(4, 300, k)
    y_prob[:5] = np.eye(k)[0]
    expected = log_loss(y_true, y_prob, labels=range(k))
    assert evaluate(y_true, y_prob)["log_loss"] == pytest.approx(expected, rel=1e-12)


def test_equal_probabilities_count_the_lower_class_first():
    y_prob = np.array([[0.2, 0.4, 0.2, 0.2]])
    top_two = [evaluate([c], y_prob, top_k=2)["top2_accuracy"] for c in range(4)]
    assert top_two == [1.0, 1.0, 0.0, 0.0]


def test_calibrated_metrics_are_of_the_test_images_at_the_temperature_of_the_others():
    from transferzoo.calibration import apply_temperature, fit_temperature

    y_true, y_prob = probabilities(0, 400, 4, sharpness=1.0)
    told = apply_temperature(y_prob, 0.4)
    y_held, held = probabilities(1, 300, 4, sharpness=1.0)
    metrics = evaluate(y_true, told, validation=(y_held, apply_temperature(held, 0.4)))
    assert metrics["temperature"] == fit_temperature(y_held, apply_temperature(held, 0.4))
    mended = evaluate(y_true, apply_temperature(told, metrics["temperature"]))
    for name in ("log_loss", "brier_score", "ece", "ece_equal_mass"):
        assert metrics[f"calibrated_{name}"] == pytest.approx(mended[name])
        assert metrics[f"calibrated_{name}"] < metrics[name]
    assert metrics["accuracy"] == mended["accuracy"]


def test_without_validation_images_nothing_is_said_of_calibrated_probabilities():
    metrics = evaluate(*probabilities(0, 20, 3))
    assert [name for name in metrics if "calibrated" in name or name == "temperature"] == []


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (([0], [[0.5, 0.3, 0.2]]), ["validation[1]", "2 classes", "(1, 3)"]),
        (([0, 1], [[0.5, 0.5]]), ["validation[0]", "2 entries"]),
        (([0], [[5.0, -4.0]]), ["validation[1]", "softmax"]),
        ([[0.5, 0.5]], ["validation", "a pair"]),
    ],
)
def test_validation_arrays_that_do_not_fit_are_named(validation, words):
    with pytest.raises(InvalidInputError) as caught:
        evaluate([0], [[0.5, 0.5]], validation=validation)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(("k", "present"), [(5, False), (6, True)])
def test_top_five_is_given_only_for_more_than_five_classes(k, present):
    assert ("top5_accuracy" in evaluate(*probabilities(0, 20, k))) is present


def test_equal_probabilities_never_put_top_five_below_accuracy():
    metrics = evaluate(np.zeros(3, int), np.full((3, 10), 0.1))
    assert metrics["accuracy"] == metrics["top5_accuracy"] == 1.0


def test_a_probability_of_zero_on_the_truth_costs_a_finite_log_loss():
    assert evaluate([0], [[0.0, 1.0]])["log_loss"] == pytest.approx(36.04, abs=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rounded_softmax_is_accepted_and_scaled(dtype):
    y_true, y_prob = probabilities(3, 50, 10)
    rounded = evaluate(y_true, y_prob.astype(dtype))
    assert rounded["log_loss"] == pytest.approx(evaluate(y_true, y_prob)["log_loss"], abs=2e-3)


def test_bfloat16_softmax_over_many_classes_is_accepted():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    y_true, y_prob = probabilities(3, 200, 100)
    rounded = evaluate(y_true, y_prob.astype(ml_dtypes.bfloat16))
    assert rounded["log_loss"] == pytest.approx(evaluate(y_true, y_prob)["log_loss"], rel=0.02)


@pytest.mark.parametrize(
    ("y_true", "y_prob", "words"),
    [
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], ["y_prob", "softmax"]),
        ([0, 1], [[1.0, 1.0], [0.5, 0.5]], ["row 0 with sum 2", "softmax"]),
        ([0, 1], [[np.nan, 1.0], [0.5, 0.5]], ["NaN", "row 0", "diverged"]),
        ([0, 1], [0.5, 0.5], ["shape (2,)", "both columns"]),
        ([0, 1], [["a", "b"], ["c", "d"]], ["y_prob", "dtype"]),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], ["y_true", "0 to 1", "from 0 to 2"]),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], ["y_true", "from -1 to 0"]),
        ([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], ["y_true", "float64", "astype"]),
        ([[0], [1]], [[0.5, 0.5], [0.5, 0.5]], ["shape (2, 1)", "ravel"]),
        ([[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]], ["one-hot", "argmax"]),
        ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]], ["y_true", "2", "3 entries"]),
        ([], np.empty((0, 2)), ["y_prob", "shape (0, 2)"]),
    ],
)
def test_bad_arrays_are_named_with_what_was_found(y_true, y_prob, words):
    with pytest.raises(InvalidInputError) as caught:
        evaluate(y_true, y_prob)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("class_names", [["cat"], "ab"])
def test_class_names_must_be_one_for_each_class(class_names):
    with pytest.raises(InvalidInputError, match="class_names must be 2 names"):
        evaluate([0], [[0.5, 0.5]], class_names=class_names)


def test_top_k_below_one_is_refused():
    with pytest.raises(InvalidInputError, match="top_k must be a whole number of 1 or more"):
        evaluate([0], [[0.5, 0.5]], top_k=0)


def test_the_most_probable_class_wins_and_ties_go_to_the_lower():
    classes = predicted_classes([[0.1, 0.9], [0.5, 0.5]])
    assert classes.tolist() == [1, 0]
    assert classes.dtype == np.int64


@settings(max_examples=30, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_confusion_counts_every_pair_once(pairs):
    expected = np.zeros((5, 5), int)
    for true, guess in pairs:
        expected[true, guess] += 1
    y_true, y_pred = zip(*pairs, strict=True)
    assert (confusion(y_true, y_pred, num_classes=5) == expected).all()


def test_confusion_takes_probabilities_as_it_takes_classes():
    y_true, y_prob = probabilities(2, 60, 4)
    assert (confusion(y_true, y_prob) == confusion(y_true, predicted_classes(y_prob), num_classes=4)).all()


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        ("true", [[0.5, 0.5], [0, 1]]),
        ("pred", [[1, 0.5], [0, 0.5]]),
        ("all", [[1 / 3, 1 / 3], [0, 1 / 3]]),
    ],
)
def test_normalised_confusion_sums_to_one_the_way_asked(normalize, expected):
    assert confusion([0, 0, 1], [0, 1, 1], normalize=normalize) == pytest.approx(np.array(expected))


def test_a_misspelt_normalisation_shows_the_nearest_and_all():
    with pytest.raises(InvalidInputError) as caught:
        confusion([0], [0], normalize="ture")
    for word in ("None", "'true'", "'pred'", "'all'", "Did you mean 'true'?"):
        assert word in str(caught.value)


def test_num_classes_must_agree_with_the_columns():
    with pytest.raises(InvalidInputError, match="num_classes must be 2"):
        confusion([0], [[0.5, 0.5]], num_classes=3)


def test_per_class_agrees_with_the_confusion_matrix():
    y_true, y_prob = probabilities(5, 200, 4)
    matrix = confusion(y_true, y_prob)
    for number, row in enumerate(per_class(y_true, y_prob, list("abcd"))):
        hits = matrix[number, number]
        assert row["class_name"] == "abcd"[number]
        assert row["support"] == matrix[number].sum()
        assert row["recall"] == pytest.approx(hits / matrix[number].sum())
        assert row["precision"] == pytest.approx(hits / matrix[:, number].sum())
        assert row["f1"] == pytest.approx(2 * hits / (matrix[number].sum() + matrix[:, number].sum()))


def test_a_class_without_images_has_support_zero_and_no_nan():
    row = per_class([0, 0], [[0.9, 0.1], [0.8, 0.2]])[1]
    assert row == {"class_name": "1", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def loaded_after(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_judging_wing_starts_without_keras_matplotlib_or_sklearn():
    loaded = loaded_after(
        "import transferzoo.evaluation, transferzoo.plots, transferzoo.results.result, transferzoo.statistics"
    )
    assert not {"keras", "tensorflow", "matplotlib", "sklearn"} & set(loaded)


@pytest.mark.medium
def test_the_import_check_can_fail():
    assert "sklearn" in loaded_after("import sklearn.metrics")
