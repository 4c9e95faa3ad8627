"""Trained models in other formats: what they compute, what stands beside them, and what is refused."""

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import transferzoo as tz
from transferzoo import cli
from transferzoo.data.reading import Reading
from transferzoo.errors import ExportError, InvalidInputError, OutputExistsError, RecordError
from transferzoo.exporting import conversion, formats, writing
from transferzoo.exporting.exported import ExportedModel
from transferzoo.exporting.formats import FORMATS, format_of
from transferzoo.results.folder import sealed
from transferzoo.results.predictor import Predictor
from transferzoo.results.run_data import same_data

PLACES = {"saved_model": "digits", "onnx": "digits.onnx", "litert": "digits.tflite", "openvino": "digits.xml"}


def needed(name):
    modules = {*FORMATS[name].writes_with, *FORMATS[name].reads_with}
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


EACH = [pytest.param(name, marks=needed(name)) for name in FORMATS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_digits):
    """A saved run whose probabilities differ from image to image."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return tz.fit_and_evaluate(
        "resnet20",
        tiny_digits,
        weights=None,
        recipe="linear_probe",
        verbose=False,
        lint=False,
        out=folder,
    )


@pytest.fixture(scope="module")
def small(short_runs):
    """A saved run of a network of two convolutions, for tests that convert it anew."""
    return tz.Result.load(short_runs(recipe="linear_probe"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, trained):
    """A function that exports to a format once, and returns where and what was said of it."""
    known = {}

    def get(name, precision="float32"):
        if (name, precision) not in known:
            path = tmp_path_factory.mktemp("made") / PLACES[name]
            known[name, precision] = trained.export(name, path, precision=precision)
        return known[name, precision]

    return get


# --- what an exported model computes


@pytest.mark.medium
@pytest.mark.parametrize("name", EACH)
def test_an_exported_model_gives_the_probabilities_of_its_run(name, made, trained, tiny_digits):
    export = made(name)
    assert (export.format, export.precision) == (name, "float32")
    assert (export.images, export.images_from) == (50, "test images of 'digits'")
    assert export.agreement == 1
    assert export.largest_difference < 1e-4
    read = tz.load_model(export.path)
    assert isinstance(read.model, ExportedModel)
    found = read.probabilities(tiny_digits.x_test)
    assert found.shape == (50, 10)
    np.testing.assert_allclose(found, trained.y_prob, atol=1e-4)
    # one image, and another number than before
    np.testing.assert_allclose(read.probabilities(tiny_digits.x_test[3:4]), found[3:4], atol=1e-6)
    assert read.probabilities(tiny_digits.x_test[:0]).shape == (0, 10)


@pytest.mark.medium
@pytest.mark.parametrize("name", EACH)
def test_it_names_what_is_on_photos_as_the_run_does(name, made, trained, tiny_digits):
    read = tz.load_model(made(name).path)
    expected = trained.predictor
    assert read.class_names == expected.class_names
    assert read.reading == expected.reading
    # of another size, and so resized as in training
    photos = np.repeat(np.repeat(tiny_digits.x_test[:6], 2, axis=1), 2, axis=2)
    theirs, ours = (each.predict(photos, reject=0.3, verbose=False) for each in (expected, read))
    assert [each.class_name for each in ours] == [each.class_name for each in theirs]
    assert [each.probability for each in ours] == pytest.approx(
        [each.probability for each in theirs], abs=1e-4
    )


@pytest.mark.medium
def test_a_run_of_logits_gives_probabilities_too(tiny, tmp_path, tiny_digits):
    model = tz.build(tiny, 10, weights=None, input_shape=(32, 32, 3), classifier_activation=None)
    trained = tz.fit_and_evaluate(model, tiny_digits, recipe="linear_probe", verbose=False, lint=False)
    export = trained.export("litert", tmp_path / "logits.tflite")
    read = tz.load_model(export.path)
    assert read.model.outputs == "logits"
    np.testing.assert_allclose(read.probabilities(tiny_digits.x_test), trained.y_prob, atol=1e-4)


@pytest.mark.medium
def test_half_precision_halves_the_file(made):
    full, half = made("litert"), made("litert", "float16")
    assert half.file_bytes < 0.6 * full.file_bytes
    assert half.largest_difference < 0.05


@pytest.mark.medium
def test_whole_numbers_quarter_the_file_and_their_rows_sum_to_one(made, tiny_digits):
    full, small = made("litert"), made("litert", "int8")
    assert small.file_bytes < 0.45 * full.file_bytes
    found = tz.load_model(small.path).probabilities(tiny_digits.x_test)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_ranges_are_measured_on_training_images_alone(tiny_digits):
    ranges = writing._ranges("int8", tiny_digits)
    shown = [batch[0] for batch in conversion._options("int8", ranges)["representative_dataset"]()]
    assert len(shown) == len(tiny_digits.x_train)
    known = {image.tobytes() for image in tiny_digits.x_train}
    assert all(image[0].astype("uint8").tobytes() in known for image in shown)


# --- a row of the comparison


@pytest.mark.medium
def test_an_exported_model_is_a_row_beside_its_run(made, trained, tiny_digits, tmp_path):
    export = made("litert")
    row = tz.load_model(export.path).evaluate(tiny_digits)
    assert row.name == "digits.tflite"
    assert row.accuracy == trained.accuracy
    assert row.costs["size_bytes"] == export.file_bytes == export.path.stat().st_size
    assert row.costs["parameters"] == trained.costs["parameters"]
    assert row.costs["latency_ms"] > 0
    study = tz.Study(results=(trained, row))
    assert study.names == ("resnet20", "digits.tflite")
    assert "digits.tflite" in str(study)
    assert row.interval == trained.interval
    again = tz.Result.load(row.save(tmp_path / "row"))
    assert again.accuracy == row.accuracy
    with pytest.raises(RecordError, match=r"model of run 'digits\.tflite'"):
        _ = again.model


@pytest.mark.medium
def test_a_keras_model_is_tested_again_and_gives_the_same(trained, tiny_digits):
    again = trained.predictor.evaluate(tiny_digits, name="again")
    np.testing.assert_allclose(again.y_prob, trained.y_prob, atol=1e-6)
    same = {key: value for key, value in trained.metrics.items() if key != "temperature"}
    assert {key: again.metrics[key] for key in same} == pytest.approx(same, abs=1e-4)


@pytest.mark.medium
def test_a_dataset_with_other_classes_is_refused(trained, tiny_digits):
    other = tz.from_arrays(tiny_digits.x_train, tiny_digits.y_train, class_names=list("ABCDEFGHIJ"))
    with pytest.raises(InvalidInputError, match="a dataset with the model's classes"):
        trained.predictor.evaluate(other)


@pytest.mark.medium
def test_a_dataset_of_another_size_is_refused(trained, tiny_digits):
    other = tz.from_arrays(np.repeat(tiny_digits.x_train, 2, axis=1), tiny_digits.y_train)
    with pytest.raises(InvalidInputError, match=r"a dataset of images of shape \(32, 32, 3\)"):
        trained.export("litert", "x.tflite", data=other)


@pytest.mark.medium
def test_an_array_in_place_of_a_dataset_is_refused(trained, tiny_digits):
    with pytest.raises(InvalidInputError, match="data must be a Dataset"):
        trained.predictor.evaluate(tiny_digits.x_test)


# --- what it is checked on


@pytest.mark.medium
def test_without_a_dataset_generated_images_are_taken_and_it_is_said(small, tmp_path):
    export = small.predictor.export("litert", tmp_path / "a.tflite")
    assert (export.images, export.images_from) == (16, "generated images")
    assert "16 generated images" in str(export)
    with pytest.raises(InvalidInputError, match="the run's dataset for precision='int8'"):
        small.predictor.export("litert", tmp_path / "b.tflite", precision="int8")


@pytest.mark.medium
def test_images_of_another_split_are_not_taken_for_the_runs(trained, tmp_path, caplog):
    copy = shutil.copytree(trained.folder, tmp_path / "run")
    record = json.loads((copy / "run.json").read_text())
    record["settings"]["data"]["test_sha256"] = "0" * 64
    (copy / "run.json").write_text(json.dumps(sealed(record)))
    assert same_data(tz.Result.load(copy)) is None
    assert "are others now" in caplog.text


@pytest.mark.medium
def test_a_model_that_computes_something_else_is_not_written(monkeypatch, small, tmp_path):
    form = FORMATS["litert"]
    real = form.open

    def skewed(path):
        compute = real(path)
        return lambda images: np.roll(compute(images), 1, axis=1)

    monkeypatch.setitem(formats.FORMATS, "litert", dataclasses.replace(form, open=skewed))
    with pytest.raises(ExportError, match=r"does not compute what the Keras model does.*Nothing was written"):
        small.export("litert", tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.medium
def test_a_model_that_its_runtime_refuses_is_not_written(monkeypatch, small, tmp_path):
    def refuse(path):
        raise RuntimeError("failed to\nprepare")

    form = dataclasses.replace(FORMATS["litert"], open=refuse)
    monkeypatch.setitem(formats.FORMATS, "litert", form)
    with pytest.raises(ExportError, match=r"cannot be opened by its own runtime.*failed to prepare"):
        small.export("litert", tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.medium
def test_a_model_that_says_the_same_of_all_images_is_warned_of(tiny, tmp_path, tiny_digits, caplog):
    model = tz.build(tiny, 10, weights=None, input_shape=(32, 32, 3))
    for weight in model.get_layer("head").weights:
        weight.assign(np.zeros(weight.shape))
    reading = Reading(size=tiny_digits.input_shape[:2])
    Predictor(model=model, class_names=tiny_digits.class_names, reading=reading).export(
        "litert", tmp_path / "a.tflite", data=tiny_digits
    )
    assert "says little" in caplog.text


# --- what is refused, and leaves nothing behind


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "path", "options", "message"),
    [
        ("onxx", "a.onnx", {}, "Did you mean 'onnx'"),
        ("litert", "a.onnx", {}, r"a file that ends in \.tflite"),
        ("saved_model", "a.onnx", {}, "a folder's name"),
        ("litert", "a.tflite", {"precision": "int4"}, "precision must be"),
        ("onnx", "a.onnx", {"precision": "int8"}, "litert can be written in int8"),
        ("litert", 3, {}, "path must be"),
    ],
)
def test_a_wrong_argument_is_named(trained, tmp_path, monkeypatch, name, path, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        trained.export(name, path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.medium
@pytest.mark.parametrize("there", ["a.tflite", "a.tflite.json"])
def test_nothing_is_written_over(trained, tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(OutputExistsError, match="is there already"):
        trained.export("litert", tmp_path / "a.tflite")
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.medium
def test_a_missing_package_is_named_before_anything_is_done(trained, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        formats.importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else real(name)
    )
    with pytest.raises(ExportError, match=r"needs tf2onnx.*pip install 'transferzoo\[export\]'"):
        trained.export("onnx", tmp_path / "a.onnx")


@pytest.mark.medium
def test_on_another_backend_a_process_of_its_own_converts(made, trained, tmp_path, monkeypatch):
    precision = "int8"
    expected = tz.load_model(made("litert", precision).path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    export = trained.export("litert", tmp_path / "digits.tflite", precision=precision)
    monkeypatch.undo()
    assert export.precision == precision
    images = tz.load_dataset("digits").x_test[:5]
    found = tz.load_model(export.path).probabilities(images)
    np.testing.assert_allclose(found, expected.probabilities(images), atol=1e-6)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["digits.tflite", "digits.tflite.json"]


@pytest.mark.medium
def test_what_another_process_cannot_convert_is_said_in_one_sentence(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(conversion.sys, "executable", shutil.which("false"))
    with pytest.raises(ExportError, match="could not export this model as litert: the process ended with"):
        trained.export("litert", tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needed("onnx")
def test_a_run_on_jax_is_exported(tmp_path):
    script = (
        "import sys, transferzoo as tz\n"
        "data = tz.load_dataset('digits').subset(train=60, validation=30, test=30)\n"
        "run = tz.fit_and_evaluate('resnet20', data, weights=None, recipe='linear_probe', verbose=False)\n"
        "for name, place in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    print(name, run.export(name, place).largest_difference)\n"
    )
    places = [part for name in ("litert", "onnx") for part in (name, str(tmp_path / PLACES[name]))]
    ended = subprocess.run(
        [sys.executable, "-c", script, *places],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = dict(line.split() for line in ended.stdout.splitlines())
    assert set(found) == {"litert", "onnx"}
    assert all(float(difference) < 1e-3 for difference in found.values())


@pytest.mark.medium
def test_what_keras_cannot_convert_is_said_in_one_sentence(trained, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise ValueError("no such\noperation")

    monkeypatch.setattr(type(trained.model), "export", fail)
    with pytest.raises(ExportError, match="could not export this model as litert: no such operation"):
        trained.export("litert", tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.medium
def test_an_exported_model_is_not_exported_again(made, tmp_path):
    with pytest.raises(ExportError, match="Only a Keras model"):
        tz.load_model(made("litert").path).export("litert", tmp_path / "a.tflite")


# --- what stands beside it


def copied(export, folder):
    shutil.copytree(export.path.parent, folder)
    return folder / export.path.name


@pytest.mark.medium
def test_a_model_without_its_record_is_refused(made, tmp_path):
    path = copied(made("litert"), tmp_path / "copy")
    (path.parent / "digits.tflite.json").unlink()
    with pytest.raises(RecordError, match=r"no 'digits\.tflite\.json' beside it"):
        tz.load_model(path)


@pytest.mark.medium
def test_a_changed_file_is_refused(made, tmp_path):
    path = copied(made("litert"), tmp_path / "copy")
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(RecordError, match="damaged, changed or exchanged"):
        tz.load_model(path)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: [], "is not the record"),
        (lambda record: {**record, "kind": "x"}, "is not the record"),
        (lambda record: {**record, "format": 99}, "newer transferzoo"),
        (lambda record: {**record, "exported": {**record["exported"], "format": "onnx"}}, "another model"),
        (lambda record: {**record, "class_names": ["a"]}, "damaged"),
        (lambda record: {**record, "exported": {**record["exported"], "file_bytes": None}}, "damaged"),
        (None, "damaged"),
    ],
)
def test_a_damaged_record_is_refused(made, tmp_path, change, message):
    path = copied(made("litert"), tmp_path / "copy")
    beside = path.parent / "digits.tflite.json"
    record = json.loads(beside.read_text())
    beside.write_text("{" if change is None else json.dumps(change(record)))
    with pytest.raises(RecordError, match=message):
        tz.load_model(path)


@pytest.mark.medium
def test_a_saved_models_record_lies_inside_it(made):
    path = made("saved_model").path
    record = json.loads((path / "transferzoo.json").read_text())
    assert record["class_names"] == list("0123456789")
    assert "saved_model.pb" in record["exported"]["sha256"]
    assert "transferzoo.json" not in record["exported"]["sha256"]
    assert format_of(path).name == "saved_model"


# --- the command


@pytest.mark.medium
def test_the_command_exports_tests_and_predicts(trained, tmp_path):
    def call(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "transferzoo", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done

    done = call(
        "export", trained.folder, "litert", "d.tflite", "--precision", "float16", "--out", "row", "--json"
    )
    said = json.loads(done.stdout)
    assert done.stderr == ""
    assert (said["format"], said["precision"], said["images"]) == ("litert", "float16", 50)
    assert said["run"]["name"] == "d.tflite"
    assert abs(said["run"]["accuracy"] - trained.accuracy) <= 0.04
    assert tz.Result.load(tmp_path / "row").name == "d.tflite"
    Image.fromarray(tz.load_dataset("digits").x_test[0]).save(tmp_path / "one.png")
    found = json.loads(call("predict", "d.tflite", "one.png", "--json").stdout)
    assert found[0]["class_name"] in "0123456789"


@pytest.mark.medium
def test_the_command_refuses_a_full_folder_before_it_begins(trained, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    code = cli.run(
        ["export", str(trained.folder), "litert", str(tmp_path / "a.tflite"), "--out", str(tmp_path / "full")]
    )
    assert code == 2
    assert "not empty" in capsys.readouterr().err
    assert not (tmp_path / "a.tflite").exists()


# --- real weights, and larger networks


# of the large networks one, in a format that converts it; all of them take minutes
SOME = {("vgg16", "onnx")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        pytest.param(
            backbone,
            name,
            marks=[needed(name), *([] if (backbone, name) in SOME else [pytest.mark.thorough])],
        )
        for backbone in ("mobilenet", "vgg16", "resnet50")
        for name in FORMATS
    ],
)
def test_other_networks_compute_the_same(name, backbone, tmp_path, tiny_digits):
    model = tz.build(backbone, 10, weights=None, input_shape=(32, 32, 3), trainable="none", head="linear")
    trained = tz.fit_and_evaluate(model, tiny_digits, recipe="linear_probe", verbose=False, lint=False)
    assert np.ptp(trained.y_prob, axis=0).max() > 0.1
    export = trained.export(name, tmp_path / PLACES[name], data=tiny_digits)
    assert export.largest_difference < 1e-3
    assert tz.load_model(export.path).evaluate(tiny_digits).accuracy == pytest.approx(trained.accuracy)


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_real_weights_on_real_images_compute_the_same(name, tmp_path, real_weights):
    data = tz.load_dataset("cifar10").subset(train=500, validation=100, test=200)
    trained = tz.fit_and_evaluate("mobilenet", data, recipe="linear_probe", verbose=False, lint=False)
    export = trained.export(name, tmp_path / PLACES[name], data=data)
    assert (export.images, export.images_from) == (200, "test images of 'cifar10'")
    assert export.largest_difference < 1e-3
    assert export.agreement == 1
