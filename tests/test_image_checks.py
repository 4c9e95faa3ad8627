"""Shortcuts, drift, empty and grouped images: planted, and then taken away again."""

import numpy as np
import pytest
from PIL import Image

import transferzoo as tz
from transferzoo.linting.data_checks import data_findings
from transferzoo.linting.image_checks import image_findings, looks_of, tells_apart


def noise(count, seed=0, side=16):
    return np.random.default_rng(seed).integers(40, 200, (count, side, side, 3), dtype=np.uint8)


def dataset(x, y, **options):
    return tz.from_arrays(x, y, class_names=["cat", "dog", "owl"], seed=1, **options)


def codes(data):
    return {finding.code for finding in image_findings(data)}


def of(data, code):
    (finding,) = [finding for finding in image_findings(data) if finding.code == code]
    return finding


@pytest.fixture
def plain():
    return noise(300), np.arange(300) % 3


def test_plain_images_have_no_finding(plain):
    assert codes(dataset(*plain)) == set()


def test_looks_are_those_of_numpy():
    x = noise(7, side=100)
    x[3] = 0
    looks = looks_of(x)
    gray = x[:, ::2, ::2].mean(axis=-1).reshape(7, -1)
    assert looks.brightness == pytest.approx(gray.mean(axis=1), rel=1e-5)
    assert looks.contrast == pytest.approx(gray.std(axis=1), rel=1e-4, abs=1e-4)
    assert looks.high == pytest.approx(np.percentile(gray, 99, axis=1), rel=1e-5)
    assert looks.detail[3] == 0 < looks.detail[0]
    assert np.isnan(looks_of(noise(2)).detail).all()
    assert looks_of(noise(2)[:0]).brightness.shape == (0,)


def test_one_number_that_tells_a_class_has_an_area_of_1():
    values = np.arange(100.0)
    assert tells_apart(values, values >= 60) == 1.0
    assert tells_apart(-values, values >= 60) == 1.0
    assert tells_apart(values % 2, values >= 60) == 0.5


def test_a_class_that_is_brighter_than_the_others_is_named(plain):
    x, y = plain
    x = np.where((y == 1)[:, None, None, None], np.minimum(x.astype(int) + 30, 255), x).astype(np.uint8)
    finding = of(dataset(x, y), "TZ212")
    assert "tells 1 of 3 classes from the others: 'dog' (median 1" in finding.what


def photos(folder, y, make, *, image_size=16, **options):
    """Write an image a label, and read them; `make` gives an array and an ending."""
    for number, label in enumerate(y):
        array, ending = make(number, label)
        path = folder / ("cat", "dog", "owl")[label] / f"{number:03d}.{ending}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(path)
    return tz.from_directory(folder, image_size=image_size, **options)


def test_a_class_of_another_format_is_found_without_looking_at_pixels(tmp_path, plain):
    x, y = plain
    data = photos(tmp_path, y, lambda number, label: (x[number], "jpg" if label == 2 else "png"))
    assert set(data.origins["train"]) == {"PNG 16×16", "JPEG 16×16"}
    finding = of(data, "TZ213")
    assert "from the files' format" in finding.what


def test_a_class_of_another_size_is_found(tmp_path, plain):
    x, y = plain
    large = noise(1, side=24)[0]
    data = photos(tmp_path, y, lambda number, label: (large if label == 0 else x[number], "png"))
    assert "width" in of(data, "TZ213").what or "height" in of(data, "TZ213").what


def test_files_of_all_kinds_in_all_classes_are_no_finding(tmp_path, plain):
    x, y = plain
    data = photos(tmp_path, y, lambda number, label: (x[number], "jpg" if number % 2 else "png"))
    assert "TZ213" not in codes(data)


def test_darker_test_images_are_drift(plain):
    x, y = plain
    test = np.maximum(noise(90, seed=5).astype(int) - 30, 0).astype(np.uint8)
    finding = of(dataset(x, y, x_test=test, y_test=np.arange(90) % 3), "TZ214")
    assert "brightness of the test images (" in finding.what


def test_empty_images_are_counted_and_the_first_named(plain):
    x, y = plain
    x[5], x[9], x[11] = 2, 250, 128
    data = dataset(x, y)
    finding = of(data, "TZ215")
    assert "3 of 300 images show little (1 %)" in finding.what
    assert all(word in finding.what for word in ("1 nearly black", "1 nearly white", "1 of one colour"))
    assert finding.severity == "note"
    shown = [data.splits[split][0][place] for split, place in finding.images]
    assert sorted(int(image.max()) for image in shown) == [2, 128, 250]
    x[:20] = 0
    assert of(dataset(x, y), "TZ215").severity == "warning"


def test_blur_is_looked_for_in_large_images_alone():
    y = np.arange(120) % 3
    sharp = noise(120, side=64)
    coarse = noise(120, side=8)
    smooth = np.stack([np.asarray(Image.fromarray(each).resize((64, 64))) for each in coarse])
    assert codes(dataset(sharp, y)) == set()
    assert "120 blurred" in of(dataset(smooth, y), "TZ215").what


def sized(folder, side_of, **options):
    """Photos of noise, each as wide and high as its number and label say."""

    def image(number, label):
        return noise(1, seed=number, side=side_of(number, label))[0], "png"

    return photos(folder, np.arange(120) % 3, image, **options)


def test_a_file_enlarged_is_named_and_not_called_blurred(tmp_path):
    data = sized(tmp_path, lambda number, _: 9 if number < 12 else 100, image_size=100)
    finding = of(data, "TZ218")
    assert "12 of 120 files (10 %) are enlarged 2 times or more to 100×100" in finding.what
    assert "of 9×9, 11.1 times" in finding.what
    assert finding.severity == "warning"
    assert len(finding.images) == 12
    assert all(data.origins[split][place] == "PNG 9×9" for split, place in finding.images)
    assert "TZ215" not in codes(data)


def test_where_all_files_are_small_it_is_a_note(tmp_path):
    finding = of(sized(tmp_path, lambda *_: 16, image_size=64), "TZ218")
    assert "120 of 120 files" in finding.what
    assert finding.severity == "note"


def test_a_file_padded_is_enlarged_by_its_longer_side(tmp_path):
    y = np.arange(120) % 3
    (tmp_path / "wide").mkdir()
    wide = np.random.default_rng(0).integers(40, 200, (120, 16, 48, 3), dtype=np.uint8)
    for resize, enlarged in (("pad", False), ("crop", True), ("stretch", True)):
        data = photos(
            tmp_path / "wide", y, lambda number, _: (wide[number], "png"), image_size=64, resize=resize
        )
        assert ("TZ218" in codes(data)) is enlarged


def named(folder, name):
    x, y = noise(120), np.arange(120) % 3
    for number, label in enumerate(y):
        path = folder / ("cat", "dog", "owl")[label] / name(number, label)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(x[number]).save(path)


def test_names_that_fall_into_groups_are_noticed_and_groups_settle_it(tmp_path):
    named(tmp_path, lambda number, label: f"patient{number // 4:02d}-{number % 4}.png")
    finding = of(tz.from_directory(tmp_path, image_size=16), "TZ216")
    assert "fall into 30 groups" in finding.what
    pattern = finding.how.split("groups=r'")[1].split("')")[0]
    kept = tz.from_directory(tmp_path, image_size=16, groups=pattern)
    assert "TZ216" not in codes(kept)
    assert len({*kept.groups["train"]} & {*kept.groups["test"]}) == 0


@pytest.mark.parametrize("form", ["{0}.png", "IMG_{0:04d}.png", "a photo of {1} {0}.png", "{2}.png"])
def test_other_names_are_no_groups(tmp_path, form):
    named(tmp_path, lambda number, label: form.format(number, label, f"x{number}y"))
    assert "TZ216" not in codes(tz.from_directory(tmp_path, image_size=16))


def test_findings_of_images_are_findings_of_the_data(plain):
    x, y = plain
    x[:20] = 0
    assert "TZ215" in {finding.code for finding in data_findings(dataset(x, y))}


def test_codes_can_be_left_out_of_lint(tiny):
    data = tz.load_dataset("digits").subset(train=60, validation=30, test=30)
    found = {finding.code for finding in tz.lint(tiny, data, weights=None)}
    assert "TZ207" in found
    left = {finding.code for finding in tz.lint(tiny, data, weights=None, ignore=["TZ207"])}
    assert left == found - {"TZ207"}
    with pytest.raises(tz.errors.InvalidInputError, match=r"ignore must be.*Did you mean 'TZ217'"):
        tz.lint(tiny, data, weights=None, ignore=["TZ2O7"])


@pytest.mark.medium
def test_a_run_keeps_what_was_found(tiny, quick, tmp_path):
    data = tz.load_dataset("digits").subset(train=60, validation=30, test=30)
    result = tz.fit_and_evaluate(tiny, data, weights=None, recipe=quick, out=tmp_path / "run", verbose=False)
    kept = tz.Result.load(tmp_path / "run").provenance["findings"]
    assert kept == result.provenance["findings"]
    assert {"code": "TZ207", "severity": "warning"}.items() <= next(
        each for each in kept if each["code"] == "TZ207"
    ).items()
    quiet = tz.fit_and_evaluate(tiny, data, weights=None, recipe=quick, lint=False, verbose=False)
    assert quiet.provenance["findings"] == []
