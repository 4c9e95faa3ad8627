"""One table of metrics and costs: names, kinds, directions, and how a value is written."""

import math

import pytest

import transferzoo as tz
from transferzoo.ground.metrics import KINDS, METRICS, bytes_in_words, metric_info


def test_every_entry_is_of_a_known_kind_and_has_a_title():
    assert {metric.kind for metric in METRICS.values()} <= set(KINDS)
    assert all(metric.title and metric.title[0].isupper() for metric in METRICS.values())


@pytest.mark.medium
def test_whatever_a_run_reports_is_in_the_table(tiny, tiny_digits):
    result = tz.fit_and_evaluate(tiny, tiny_digits, weights=None, epochs=1, lint=False)
    for name in (*result.metrics, *result.costs):
        base = metric_info(name)
        known = name in METRICS or any(base.title.startswith(each.title) for each in METRICS.values())
        assert known or name.startswith("top"), name


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("macs", 834_688, "835 k"),
        ("macs", 568_740_352, "569 M"),
        ("macs", 3.86e9, "3.86 G"),
        ("file_bytes", 13_100_000, "13.1 MB"),
        ("file_bytes", 0, "0 B"),
        ("top5_accuracy", 0.9, "90.0%"),
        ("accuracy_low", 0.9, "90.0%"),
        ("latency_ms_q1", 3.21, "3.21 ms"),
        ("calibrated_log_loss", 0.5, "0.500"),
        ("my_own_seconds", 12.34, "12.3 s"),
        ("my_own", 12.34, "12.3"),
        ("accuracy", math.inf, "n/a"),
    ],
)
def test_values_are_written_in_their_unit(name, value, text):
    assert metric_info(name).show(value) == text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("val_loss", "Loss, validation"),
        ("calibrated_ece", "Calibration error (ECE), calibrated"),
        ("latency_ms_q3", "Latency, one image, third quartile"),
        ("top3_accuracy", "Top-3 accuracy"),
        ("cohen_kappa", "Cohen kappa"),
    ],
)
def test_titles_follow_from_the_table(name, title):
    assert metric_info(name).title == title


@pytest.mark.parametrize(("name", "less"), [("seed_deviation", True), ("my_loss", True), ("kappa", False)])
def test_which_way_is_better(name, less):
    assert metric_info(name).less_is_better is less


def test_bytes_have_decimal_prefixes():
    assert bytes_in_words(4 * 10**9) == "4 GB"
