"""Class folders of image files."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferzoo.data.folder import from_directory
from transferzoo.errors import InvalidInputError

COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "eel": (30, 30, 200), "fox": (200, 200, 30)}


def fill(folder, count=6, size=(20, 16), classes=("cat", "dog"), ending="png"):
    """Write images of one colour a class; `size` is width and height, as Pillow has it."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, COLOURS.get(name, (9, 9, 9))).save(folder / name / f"{number:02}.{ending}")
    return folder


def refused(folder, *parts, **options):
    with pytest.raises(InvalidInputError) as caught:
        from_directory(folder, **options)
    for part in parts:
        assert part in str(caught.value)
    return caught.value


def test_class_folders_become_a_dataset(tmp_path):
    data = from_directory(fill(tmp_path / "pets"))
    assert data.name == "pets"
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (16, 20, 3)
    assert data.x_train.dtype == np.uint8
    assert [len(y) for _, y in data.splits.values()] == [8, 2, 2]
    assert str(tmp_path / "pets") in data.source
    for x, y in data.splits.values():
        for image, label in zip(x, y, strict=True):
            assert (image == COLOURS[data.class_names[label]]).all()


def test_split_folders_are_taken_as_they_are(tmp_path):
    for split, count in (("train", 5), ("test", 3), ("val", 2)):
        fill(tmp_path / split, count)
    data = from_directory(tmp_path, name="pets", flip_safe=False)
    assert [len(y) for _, y in data.splits.values()] == [10, 4, 6]
    assert (data.name, data.flip_safe) == ("pets", False)


def test_what_split_folders_leave_out_is_split_off(tmp_path):
    fill(tmp_path / "Train", 10)
    fill(tmp_path / "Validation", 2)
    assert [len(y) for _, y in from_directory(tmp_path).splits.values()] == [16, 4, 4]


def test_the_order_is_that_of_sorted_names(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", 1)
    for number in (9, 1, 5):
        Image.new("RGB", (20, 16), (number,) * 3).save(tmp_path / "test" / "cat" / f"{number}.png")
    assert from_directory(tmp_path).x_test[:, 0, 0, 0].tolist() == [200, 1, 5, 9, 30]


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "bmp", "gif", "webp", "tif", "TIFF"])
def test_every_listed_format_is_read(tmp_path, ending):
    data = from_directory(fill(tmp_path, ending=ending))
    assert np.abs(data.x_train[0, 0, 0].astype(int) - COLOURS["cat"]).max() < 12


def test_other_files_and_hidden_folders_are_ignored(tmp_path):
    fill(tmp_path)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "README.txt").write_text("pets")
    (tmp_path / "cat" / "Thumbs.db").write_text("")
    (tmp_path / "cat" / "._00.png").write_text("")
    assert sum(len(y) for _, y in from_directory(tmp_path).splits.values()) == 12


def test_a_shared_small_size_is_kept_and_others_become_224(tmp_path):
    assert from_directory(fill(tmp_path / "small", size=(224, 100))).input_shape == (100, 224, 3)
    assert from_directory(fill(tmp_path / "large", size=(225, 100))).input_shape == (224, 224, 3)
    mixed = fill(tmp_path / "mixed")
    for number in range(6):
        Image.new("RGB", (21, 16)).save(mixed / "cat" / f"more{number}.png")
    assert from_directory(mixed).input_shape == (224, 224, 3)


def test_one_image_of_another_size_does_not_change_the_size_of_all(tmp_path, caplog):
    mixed = fill(tmp_path)
    Image.new("RGB", (500, 400)).save(mixed / "cat" / "more.png")
    assert from_directory(mixed).input_shape == (16, 20, 3)
    assert "1 of 13 images have another size than 16×20" in caplog.text


def test_image_size_is_height_then_width(tmp_path):
    fill(tmp_path)
    assert from_directory(tmp_path, image_size=8).input_shape == (8, 8, 3)
    assert from_directory(tmp_path, image_size=(8, 12)).input_shape == (8, 12, 3)


def test_resizing_crops_the_middle_and_does_not_distort(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", 1)
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    Image.fromarray(picture).save(tmp_path / "test" / "cat" / "00.png")
    assert (from_directory(tmp_path, image_size=10).x_test[0] == 255).all()


def test_an_image_is_turned_as_its_exif_data_says(tmp_path):
    fill(tmp_path, size=(16, 20), ending="jpg")
    for name in COLOURS.keys() & {"cat", "dog"}:
        for file in (tmp_path / name).iterdir():
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.new("RGB", (20, 16), COLOURS[name]).save(file, exif=exif)
    assert from_directory(tmp_path).input_shape == (20, 16, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    fill(tmp_path)
    ending = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (20, 16), "white").convert(mode).save(tmp_path / "cat" / f"odd.{ending}")
    data = from_directory(tmp_path)
    assert max(x.max() for x, _ in data.splits.values()) == 255


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_16_bit_image_is_scaled_and_not_clipped(tmp_path, ending):
    fill(tmp_path / "train")
    fill(tmp_path / "test", 1)
    ramp = np.linspace(0, 65_535, 16 * 20).reshape(16, 20).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "test" / "cat" / f"deep.{ending}")
    read = from_directory(tmp_path).x_test[1]
    assert (read == np.rint(ramp / 257).astype(np.uint8)[..., None]).all()


def test_unreadable_images_are_counted_and_all_are_named(tmp_path):
    fill(tmp_path, 8)
    for number in range(7):
        (tmp_path / "cat" / f"{number:02}.png").write_bytes(b"no image")
    whole = (tmp_path / "dog" / "00.png").read_bytes()
    (tmp_path / "dog" / "00.png").write_bytes(whole[: len(whole) // 2])
    broken = [f"cat/{number:02}.png" for number in range(7)]
    error = refused(tmp_path, "8 of 16", *broken, "dog/00.png", "on_error='skip'")
    assert len(error.value) == 8


def test_unreadable_images_are_left_out_and_all_named_where_that_is_asked_for(tmp_path, caplog):
    fill(tmp_path, 8)
    for number in (0, 3, 5):
        (tmp_path / "cat" / f"{number:02}.png").write_bytes(b"no image")
    data = from_directory(tmp_path, on_error="skip")
    assert sum(len(y) for _, y in data.splits.values()) == 13
    assert data.class_counts["train"].sum() + data.class_counts["validation"].sum() < 13
    assert data.left_out == {"unreadable": 3}
    assert all(f"cat/{number:02}.png" in caplog.text for number in (0, 3, 5))
    for split, (x, y) in data.splits.items():
        for label, name in enumerate(data.class_names):
            first = x[y == label][:, 0, 0]
            assert (first == COLOURS[name]).all(), split


@pytest.mark.parametrize("factor", [0.9, 0.4])
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, factor):
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(20 * 16 * factor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = refused(tmp_path, "12 of 12", "decompression bomb")
    assert error.argument is not None


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    refused(tmp_path / "nowhere", "path must be", "nowhere", "does not exist")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file")


def test_a_folder_without_class_folders_is_refused(tmp_path):
    refused(tmp_path, "one folder of images for each class", "no class folders")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    refused(tmp_path, "1 images lie in", "which has no class folders")


def test_a_single_class_folder_is_refused(tmp_path):
    refused(fill(tmp_path, classes=("cat",)), "only class is 'cat'")


def test_an_empty_class_folder_is_refused(tmp_path):
    fill(tmp_path)
    (tmp_path / "eel").mkdir()
    refused(tmp_path, "'eel'", "no images", "it holds nothing")
    (tmp_path / "eel" / "1.heic").write_bytes(b"photo")
    refused(tmp_path, "1 .heic (Pillow does not open it)")


def test_loose_images_beside_class_folders_are_refused(tmp_path):
    fill(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "stray.JPG")
    refused(tmp_path, "1 images", "'stray.JPG'", "beside")


def test_folders_inside_class_folders_are_refused(tmp_path):
    fill(tmp_path / "test")
    fill(tmp_path / "other")
    refused(tmp_path, "'other'", "'cat'", "pass the folder that holds the classes")


def test_strange_folders_beside_train_are_refused(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "validate")
    refused(tmp_path, "'validate'", "validation/", "layout='classes'")


def test_two_validation_folders_are_refused(tmp_path):
    for split in ("train", "val", "validation"):
        fill(tmp_path / split)
    refused(tmp_path, "'val'", "'validation'", "keep one")


def test_a_test_class_that_training_lacks_is_refused_with_the_nearest(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes=("cat", "dogs"))
    assert refused(tmp_path, "Got 'dogs'", "Did you mean 'dog'?").suggestion == "dog"


def test_classes_too_small_to_split_are_refused_before_any_image_is_read(tmp_path):
    fill(tmp_path, 2)
    (tmp_path / "cat" / "00.png").write_bytes(b"no image")
    refused(tmp_path, "at least 3 images of each class", "{'cat': 2, 'dog': 2}")


@pytest.mark.parametrize("size", [0, -3, 2.5, True, (8,), (8, 0), "8", (8, 8, 3)])
def test_other_image_sizes_are_refused(tmp_path, size):
    refused(fill(tmp_path), "image_size must be", "height, width", image_size=size)


@pytest.mark.parametrize("options", [{"validation": 0}, {"test": 1.0}, {"seed": -1}])
def test_other_shares_and_seeds_are_refused(tmp_path, options):
    refused(fill(tmp_path), f"{next(iter(options))} must be", **options)


def total(data):
    return sum(len(y) for _, y in data.splits.values())


def test_every_photo_is_taken_whatever_its_ending(tmp_path):
    fill(tmp_path)
    for number in range(20):
        Image.new("RGB", (20, 16)).save(tmp_path / "cat" / f"saved{number}.jfif", "JPEG")
    Image.new("RGB", (20, 16)).save(tmp_path / "dog" / "no-ending", "PNG")
    assert total(from_directory(tmp_path)) == 33


def test_what_is_left_out_is_counted_by_reason_and_said(tmp_path, caplog):
    fill(tmp_path)
    for number in range(3):
        (tmp_path / "cat" / f"{number}.heic").write_bytes(b"photo")
    (tmp_path / "cat" / "._00.png").write_bytes(b"resource")
    (tmp_path / "dog" / "notes.txt").write_text("a dog")
    data = from_directory(tmp_path)
    counts = {".heic (Pillow does not open it)": 3, "hidden": 1, "not an image": 1}
    assert data.left_out == counts
    assert total(data) == 12
    for place in (data.summary(), caplog.text):
        assert "left out: 5 files" in place
        assert "3 .heic (Pillow does not open it)" in place


def test_what_loses_no_image_is_no_warning(tmp_path, caplog):
    fill(tmp_path)
    (tmp_path / "notes.txt").write_text("pets")
    (tmp_path / "cat" / ".DS_Store").write_text("")
    assert from_directory(tmp_path).left_out == {"hidden": 1, "not an image": 1}
    assert not caplog.records


def test_a_class_folder_with_a_dot_is_left_out_loudly_and_read_where_it_is_named(tmp_path, caplog):
    fill(tmp_path)
    (tmp_path / "cat").rename(tmp_path / ".cat")
    fill(tmp_path, classes=("fox",))
    data = from_directory(tmp_path)
    assert data.class_names == ("dog", "fox")
    assert data.left_out == {"in hidden folders": 6}
    assert "rename it without the dot" in caplog.text
    assert from_directory(tmp_path, class_names=[".cat", "dog"]).class_names == (".cat", "dog")


def test_class_names_choose_order_and_subset(tmp_path):
    fill(tmp_path, classes=("cat", "dog", "fox"))
    data = from_directory(tmp_path, class_names=["fox", "cat"])
    assert data.class_names == ("fox", "cat")
    assert (data.x_train[data.y_train == 0][:, 0, 0] == COLOURS["fox"]).all()
    assert data.left_out == {"of classes that class_names leaves out": 6}
    refused(tmp_path, "'foxes'", "Did you mean 'fox'?", class_names=["foxes", "cat"])
    refused(tmp_path, "A set has no order", class_names={"fox", "cat"})


def test_classes_are_sorted_by_code_points_on_every_system(tmp_path, monkeypatch):
    fill(tmp_path, classes=("cat", "dog", "fox"))
    (tmp_path / "dog").rename(tmp_path / "Zebra")
    (tmp_path / "fox").rename(tmp_path / "\u00e9mu")
    assert from_directory(tmp_path).class_names == ("Zebra", "cat", "\u00e9mu")


def test_two_unicode_forms_of_a_name_are_one_class(tmp_path):
    import unicodedata

    for split, form in (("train", "NFD"), ("test", "NFC")):
        fill(tmp_path / split, count=6 if split == "test" else 8)
        (tmp_path / split / "cat").rename(tmp_path / split / unicodedata.normalize(form, "caf\u00e9"))
    data = from_directory(tmp_path)
    assert data.class_names == ("caf\u00e9", "dog")
    assert data.class_counts["test"].tolist() == [6, 6]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux alone")
def test_a_folder_whose_name_is_not_utf8_is_read(tmp_path):
    fill(tmp_path)
    (tmp_path / "cat").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    data = from_directory(tmp_path)
    assert data.class_names == ("caf\u00e9", "dog")
    data.content_hash(), data.summary().encode()
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"\xe9"))
    tmp_path.rename(odd)
    from_directory(odd).summary().encode()
    (odd / "dog" / "00.png").write_bytes(b"")
    refused(odd, "00.png")


class TestTrainAsAClass:
    def test_a_class_called_train_is_a_class_and_that_is_said(self, tmp_path, caplog):
        fill(tmp_path, classes=("cat", "dog"))
        (tmp_path / "cat").rename(tmp_path / "train")
        assert from_directory(tmp_path).class_names == ("dog", "train")
        assert "'train' is taken for a class" in caplog.text
        assert "layout='splits'" in caplog.text

    def test_layout_settles_it(self, tmp_path):
        fill(tmp_path, classes=("cat", "dog"))
        (tmp_path / "cat").rename(tmp_path / "train")
        (tmp_path / "dog").rename(tmp_path / "test")
        refused(tmp_path, "layout='classes'", "class folders")
        assert from_directory(tmp_path, layout="classes").class_names == ("test", "train")
        refused(tmp_path, "layout must be", layout="class")
        refused(tmp_path / "train", "a folder called train", layout="splits")

    def test_split_folders_are_still_split_folders(self, tmp_path):
        fill(tmp_path / "train")
        fill(tmp_path / "testing", 2)
        fill(tmp_path / "valid", 1)
        assert from_directory(tmp_path, layout="splits").class_counts["validation"].sum() == 2

    def test_a_test_set_of_one_class_is_taken_and_said(self, tmp_path, caplog):
        fill(tmp_path / "train")
        fill(tmp_path / "test", 2, classes=("dog",))
        assert from_directory(tmp_path).class_counts["test"].tolist() == [0, 2]
        assert "the test set has no images of 'cat'" in caplog.text


def test_resize_and_background_reach_the_images(tmp_path):
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (90, 30), colour).save(tmp_path / name / f"{number}.png")
    padded = from_directory(tmp_path, image_size=30, resize="pad", background="lime")
    assert (padded.x_train[:, 0, 15] == (0, 255, 0)).all()
    assert padded.calls[0]["from_directory"]["resize"] == "pad"


def test_a_folder_can_be_read_again_from_its_record(tmp_path):
    from transferzoo.data.catalog import repeat_calls

    fill(tmp_path, classes=("cat", "dog", "fox"))
    options = {"class_names": ["fox", "cat"], "image_size": 12, "resize": "pad", "background": (1, 2, 3)}
    data = from_directory(tmp_path, **options, validation=0.3, test=4, seed=5)
    import json

    again = repeat_calls(json.loads(json.dumps(data.calls)))
    assert again.content_hash() == data.content_hash()


@pytest.mark.medium
def test_a_folder_may_be_given_in_a_datasets_place(tmp_path, tiny, monkeypatch, caplog):
    import transferzoo as tz

    fill(tmp_path / "photos", 10)
    for given in (tmp_path / "photos", str(tmp_path / "photos")):
        result = tz.fit_and_evaluate(
            tiny, given, recipe="linear_probe", weights=None, image_size="input", cache=False, verbose=False
        )
        assert result.class_names == ("cat", "dog")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "digits")
    from transferzoo.data.catalog import resolve_data

    assert resolve_data("digits", seed=0).num_classes == 10
    assert "write './digits' for the folder" in caplog.text
    assert resolve_data("./digits", seed=0).class_names == ("cat", "dog")
    with pytest.raises(tz.errors.UnknownNameError, match="Nor is there a folder"):
        resolve_data("digitz", seed=0)
    with pytest.raises(InvalidInputError, match="an existing folder"):
        resolve_data("./digitz", seed=0)
