"""Energy from Linux' counters, with a folder that stands in for them."""

import math
import time

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.costs import energy
from transferzoo.costs.energy import Energy


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two processor packages, one part of a package, and a function that sets a counter."""

    def counter(name, microjoules, most=1_000_000_000):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, value in (("max_energy_range_uj", most), ("energy_uj", microjoules)):
            # a counter is never seen half written
            (folder / "new").write_text(f"{value}\n")
            (folder / "new").replace(folder / file)

    counter("intel-rapl:0", 5_000_000)
    counter("intel-rapl:1", 7_000_000)
    counter("intel-rapl:0:0", 1_000_000)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    return counter


def test_what_the_packages_took_is_added_up_and_their_parts_are_not(packages):
    with Energy() as used:
        packages("intel-rapl:0", 9_000_000)
        packages("intel-rapl:1", 7_500_000)
        packages("intel-rapl:0:0", 900_000_000)
    assert used.joules == pytest.approx(4.5)
    assert used.costs() == {"train_joules": pytest.approx(4.5)}


def test_a_counter_that_starts_again_from_zero_goes_on(packages):
    packages("intel-rapl:0", 999_000_000)
    with Energy() as used:
        packages("intel-rapl:0", 2_000_000)
    assert used.joules == pytest.approx(3.0)


def test_a_counter_that_starts_again_from_an_unknown_height_ends_the_count(packages, tmp_path):
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").unlink()
    with Energy() as used:
        packages("intel-rapl:1", 8_000_000)
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1000")
    assert used.joules is None


def test_a_counter_is_read_while_the_block_runs(packages, monkeypatch):
    monkeypatch.setattr(energy, "INTERVAL", 0.01)
    with Energy() as used:
        packages("intel-rapl:0", 800_000_000)
        for _ in range(1000):
            if used.joules:
                break
            time.sleep(0.01)
        packages("intel-rapl:0", 1_000_000)
    assert used.joules == pytest.approx(795 + 201)


@pytest.mark.parametrize("content", [None, "not a number"])
def test_nothing_is_counted_where_the_system_does_not_say(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "intel-rapl:0").mkdir()
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(content)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    with Energy() as used:
        pass
    assert used.joules is None
    assert used.costs() == {}


def test_a_package_that_goes_away_leaves_no_half_sum(packages, tmp_path):
    with Energy() as used:
        (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert used.joules is None


@pytest.mark.medium
def test_a_run_has_its_energy_among_its_costs(packages, tiny_digits, monkeypatch):
    counted = iter(range(5_000_000, 10**9, 1_000_000))

    def counters():
        return {tz.__file__: next(counted)}

    monkeypatch.setattr(energy, "_counters", counters)
    result = tz.fit_and_evaluate(
        "mobilenet_025", tiny_digits, weights=None, recipe="linear_probe", lint=False, verbose=False
    )
    assert result.costs["train_joules"] == 1.0
    assert tz.ground.metrics.metric_info("train_joules").show(1234.0) == "1.23 kJ"


@pytest.mark.medium
def test_a_model_is_predicted_until_counters_move(packages, monkeypatch):
    monkeypatch.setattr("transferzoo.costs.model_costs.ENERGY_SECONDS", 0.05)
    images = np.zeros((1, 32, 32, 3), "uint8")
    found = tz.measure_costs("mobilenet_025", images, num_classes=3)
    assert found.joules_per_image == 0
    monkeypatch.setattr(energy, "POWERCAP", energy.Path("/nowhere"))
    assert math.isnan(tz.measure_costs("mobilenet_025", images, num_classes=3).joules_per_image)
