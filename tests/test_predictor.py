"""New photos after training: read as in training, named with probabilities, and "none of these"."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import transferzoo as tz
from transferzoo.cli import run as command
from transferzoo.errors import InvalidInputError, RecordError

RNG = np.random.default_rng(0)
COLOURS = {"blue": (30, 30, 200), "green": (20, 180, 40), "red": (210, 40, 30)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty photos of each of three colours, not square, with noise."""
    folder = tmp_path_factory.mktemp("photos")
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(30):
            pixels = np.clip(RNG.normal(colour, 25, (24, 40, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def result(photos, tmp_path_factory):
    data = tz.from_directory(photos, image_size=32, resize="pad", background="black")
    return tz.fit_and_evaluate(
        "mobilenet_025",
        data,
        weights=None,
        recipe="linear_probe",
        lint=False,
        out=tmp_path_factory.mktemp("runs") / "run",
    )


@pytest.fixture
def files(photos):
    return sorted(photos.rglob("*.png"))[::7]


@pytest.mark.medium
def test_a_photo_is_named_with_its_probabilities(result, files):
    (found,) = result.predict(files[0], top=2)
    assert found.file == str(files[0])
    assert [name for name, _ in found.top] == list(dict(found.top))
    assert len(found.top) == 2
    assert found.top[0][1] == found.probability >= found.top[1][1]
    assert found.class_name in COLOURS
    assert str(found) == f"{files[0]}: " + ", ".join(f"{name} {chance:.1%}" for name, chance in found.top)
    json.dumps(found.to_dict())


@pytest.mark.medium
def test_photos_are_read_as_they_were_for_training(result, files):
    x = tz.read_images(files, 32, resize="pad", background="black")
    expected = result.model.predict(x, verbose=0)
    for row, found in zip(expected, result.predict(files), strict=True):
        assert dict(found.top) == pytest.approx(
            dict(zip(result.class_names, row.tolist(), strict=True)), abs=1e-6
        )


@pytest.mark.medium
def test_every_form_of_an_image_gets_the_same_answer(result, files):
    told = [each.top for each in result.predict(files)]
    opened = [Image.open(file) for file in files]
    arrays = np.stack([np.asarray(image) for image in opened])
    forms = [map(str, files), opened, arrays, list(arrays), arrays.astype("int64")]
    for form in forms:
        assert [each.top for each in result.predict(form)] == told
    assert result.predict(opened[0])[0].top == result.predict(arrays[0])[0].top == told[0]


@pytest.mark.medium
def test_a_folder_is_looked_through(result, photos):
    found = result.predict(photos)
    assert [each.file for each in found] == [str(file) for file in sorted(photos.rglob("*.png"))]
    assert result.predict(photos / "red")[0].file == str(photos / "red" / "00.png")


@pytest.mark.medium
def test_the_model_s_file_alone_predicts_the_same(result, files, tmp_path):
    moved = tmp_path / "elsewhere.keras"
    moved.write_bytes((result.folder / "model.keras").read_bytes())
    loaded = tz.load_model(moved)
    assert loaded.class_names == result.class_names
    assert loaded.predict(files, reject=0.2) == result.predict(files, reject=0.2)
    assert tz.load_model(result.folder).predict(files) == tz.Result.load(result.folder).predict(files)


@pytest.mark.medium
def test_keras_alone_still_loads_it(result, files):
    code = (
        "import sys; sys.modules['transferzoo'] = None\n"
        "import keras\n"
        f"print(keras.models.load_model({str(result.folder / 'model.keras')!r}).output_shape)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "(None, 3)", ran.stderr[-2000:]


@pytest.mark.medium
def test_a_share_of_the_validation_images_sets_the_threshold(result, files):
    confidence = result.validation_prob.max(axis=1)
    threshold = result.predictor.threshold(0.25)
    assert (confidence < threshold).mean() == pytest.approx(0.25, abs=1 / len(confidence) + 0.01)
    for found in result.predict(files, reject=0.25):
        assert found.rejected == (found.probability < threshold)
        assert (found.class_name is None) == found.rejected
    assert any(each.rejected for each in result.predict(files, reject=0.999))
    assert str(next(each for each in result.predict(files, reject=0.999) if each.rejected)).count("none of")


@pytest.mark.medium
def test_a_run_without_validation_images_has_no_threshold(result):
    from dataclasses import replace

    bare = replace(result, validation_true=None, validation_prob=None)
    with pytest.raises(InvalidInputError, match="no validation probabilities"):
        bare.predict(np.zeros((1, 32, 32, 3), "uint8"), reject=0.1)


@pytest.mark.medium
def test_grey_images_meet_a_model_of_grey_images(tmp_path):
    x = RNG.integers(0, 255, (60, 16, 16, 1), dtype="uint8")
    data = tz.from_arrays(x, np.arange(60) % 2)
    result = tz.fit_and_evaluate(
        "mobilenet_025", data, weights=None, image_size=32, recipe="linear_probe", lint=False
    )
    Image.fromarray(x[0, ..., 0]).save(tmp_path / "grey.png")
    assert result.predict(x[0])[0].top == result.predict(tmp_path / "grey.png")[0].top
    with pytest.raises(InvalidInputError, match="grey images"):
        result.predict(np.zeros((1, 16, 16, 3), "uint8"))


@pytest.mark.medium
def test_a_photo_that_cannot_be_read_is_named_or_left_out(result, files, tmp_path, caplog):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    with pytest.raises(
        InvalidInputError, match=r"Got 2 of 3 that cannot be read(.|\n)*broken.jpg(.|\n)*gone"
    ):
        result.predict([files[0], broken, tmp_path / "gone.jpg"])
    found = result.predict([broken, files[0]], on_error="skip")
    assert [each.file for each in found] == [str(files[0])]
    assert "broken.jpg" in caplog.text


@pytest.mark.medium
@pytest.mark.parametrize(
    "images",
    [
        *(5, None, b"x", {}, {"a": 1}, [], [5], "", "a\0b", np.zeros((0, 32, 32, 3)), np.zeros(3)),
        np.full((1, 32, 32, 3), 0.5),
        np.zeros((1, 32, 32, 2), "uint8"),
        np.full((1, 9, 9, 3), 17.5),
    ],
)
def test_what_is_no_image_is_refused(result, images):
    with pytest.raises(InvalidInputError, match=r"^images must"):
        result.predict(images)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("argument", "value"),
    [("top", value) for value in (0, "3", 1.5, True)]
    + [("reject", value) for value in (0.0, 1.0, "0.1", True, float("nan"), 2)]
    + [("on_error", "ignore"), ("verbose", "yes")],
)
def test_a_bad_option_is_refused(result, argument, value):
    with pytest.raises(InvalidInputError, match=f"^{argument} must"):
        result.predict(np.zeros((1, 32, 32, 3), "uint8"), **{argument: value})


@pytest.mark.medium
def test_a_file_that_is_no_model_is_refused(result, tmp_path):
    with pytest.raises(RecordError, match="no such file"):
        tz.load_model(tmp_path / "gone.keras")
    (tmp_path / "text.keras").write_text("text")
    with pytest.raises(RecordError, match="no file of Keras"):
        tz.load_model(tmp_path / "text.keras")
    result.model.save(tmp_path / "plain.keras")
    with pytest.raises(RecordError, match="holds no class names"):
        tz.load_model(tmp_path / "plain.keras")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("kind", "other"), ("format", 99), ("class_names", ["one"]), ("class_names", 5), ("reading", {})),
        *(("channels", 2), ("confidence", ["a"]), ("confidence", [0.5])),
        ("reading", {"size": [10**9, 5]}),
    ],
)
def test_a_damaged_record_is_refused(result, tmp_path, key, value):
    member = "transferzoo.json"
    damaged = io.BytesIO()
    with zipfile.ZipFile(result.folder / "model.keras") as held, zipfile.ZipFile(damaged, "w") as written:
        for name in held.namelist():
            content = held.read(name)
            if name == member:
                content = json.dumps({**json.loads(content), key: value}).encode()
            written.writestr(name, content)
    (tmp_path / "model.keras").write_bytes(damaged.getvalue())
    with pytest.raises(RecordError):
        tz.load_model(tmp_path / "model.keras")


@pytest.mark.medium
def test_the_command_line_says_the_same(result, files, capsys):
    assert command(["predict", str(result.folder), *map(str, files), "--json", "--top", "2"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records == [json.loads(json.dumps(each.to_dict())) for each in result.predict(files, top=2)]


@pytest.mark.medium
def test_the_command_line_shows_a_line_a_photo(result, photos, capsys):
    assert (
        command(["predict", str(result.folder / "model.keras"), str(photos / "red"), "--reject", "0.5"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["photo", "class", "probability", "then"]
    assert len([line for line in lines if ".png" in line]) == 30


@pytest.mark.medium
def test_the_command_line_reads_paths_from_standard_input(result, files):
    ran = subprocess.run(
        [sys.executable, "-m", "transferzoo", "predict", str(result.folder), "-", "--json"],
        input="\n".join(map(str, files[:2])) + "\n",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert [each["file"] for each in json.loads(ran.stdout)] == [str(file) for file in files[:2]]


def test_the_command_line_refuses_what_is_not_there_before_anything_slow(tmp_path, capsys):
    assert command(["predict", str(tmp_path / "gone"), "a.jpg"]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.medium
def test_what_keras_wrote_is_counted_alone(result, tmp_path):
    from transferzoo.results.predictor import bytes_by_keras

    result.model.save(tmp_path / "plain.keras")
    assert bytes_by_keras(tmp_path / "plain.keras") == (tmp_path / "plain.keras").stat().st_size
    assert bytes_by_keras(result.folder / "model.keras") == (tmp_path / "plain.keras").stat().st_size
