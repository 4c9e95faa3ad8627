"""What a model costs, without training it; on the command line each in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

import transferzoo as tz
from transferzoo import cli
from transferzoo.errors import InvalidInputError, UnknownNameError


@pytest.fixture(scope="module")
def costs():
    return tz.measure_costs("mobilenet_025", input_shape=(32, 32, 3), num_classes=10)


@pytest.mark.medium
def test_what_is_counted_is_what_the_model_has(costs):
    model = tz.build("mobilenet_025", 10, weights=None, input_shape=(32, 32, 3), image_size="input")
    assert costs.parameters == model.count_params()
    assert costs.macs == tz.count_macs(model).total
    assert costs.size_bytes == 4 * costs.parameters
    assert costs.file_bytes > costs.size_bytes
    assert costs.uncounted == ()


@pytest.mark.medium
def test_times_have_a_spread_and_the_best_batch_is_the_fastest(costs):
    assert 0 < costs.latency_ms_q1 <= costs.latency_ms <= costs.latency_ms_q3
    assert 0 < costs.images_per_second_q1 <= costs.images_per_second <= costs.images_per_second_q3
    assert costs.best_batch_size in (1, 8, 32, 128)
    assert costs.best_images_per_second >= costs.images_per_second
    assert costs.peak_memory_bytes > costs.peak_memory_growth_bytes >= 0


@pytest.mark.medium
def test_costs_are_plain_json(costs):
    record = json.loads(json.dumps(costs.to_dict()))
    assert (record["name"], record["image_size"]) == ("mobilenet_025", [32, 32])


@pytest.mark.medium
def test_a_backbone_is_measured_at_its_native_size_unless_told_otherwise(tiny):
    assert tz.measure_costs(tiny, num_classes=3).image_size == (tz.backbone_info(tiny).native_size,) * 2
    assert tz.measure_costs(tiny, np.zeros((4, 16, 16, 3), np.uint8), num_classes=3).image_size == (16, 16)


def test_a_built_model_is_measured_as_it_is(tiny):
    model = tz.build(tiny, 4, weights=None)
    assert tz.measure_costs(model).parameters == model.count_params()
    with pytest.raises(InvalidInputError, match=r"a backbone's name, where options of tz\.build are given"):
        tz.measure_costs(model, head="mlp")


def test_a_model_of_open_size_needs_images():
    import keras

    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images)))
    with pytest.raises(InvalidInputError, match="leaves its image size open"):
        tz.measure_costs(model)
    assert tz.measure_costs(model, np.zeros((2, 10, 10, 3), np.uint8)).macs == 8 * 8 * 9 * 3 * 4


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenet'"):
        tz.measure_costs("mobilnet")


@pytest.mark.medium
def test_the_command_line_shows_a_row_a_model():
    call = [
        sys.executable,
        "-m",
        "transferzoo",
        "costs",
        "mobilenet_025",
        "--image-size",
        "32",
        "--classes",
        "10",
    ]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    header, row, note = done.stdout.splitlines()
    assert header.split()[0] == "model"
    assert row.split()[:3] == ["mobilenet_025", "32×32", "221"]
    assert "random weights" in note


def test_the_command_line_refuses_a_wrong_name_before_anything_is_measured(capsys):
    assert cli.run(["costs", "mobilenet_025", "mobilnet"]) == 2
    assert "Did you mean 'mobilenet'" in capsys.readouterr().err


@pytest.mark.medium
def test_the_best_model_of_a_study_within_limits(saved_run, tmp_path, capsys):
    saved_run(tmp_path / "study" / "tiny-0")
    assert cli.run(["study", "best", str(tmp_path / "study"), "--max-megabytes", "100"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert cli.run(["study", "best", str(tmp_path / "study"), "--max-megabytes", "0.000001"]) == 2
