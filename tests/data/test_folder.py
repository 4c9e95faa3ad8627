"""Class folders of image files."""

import warnings

import numpy as np
import pytest
from PIL import Image

from transferzoo.data.folder import from_directory
from transferzoo.errors import InvalidInputError

COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "eel": (30, 30, 200)}


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
    data = from_directory(tmp_path, name="pets", mirror_safe=False)
    assert [len(y) for _, y in data.splits.values()] == [10, 4, 6]
    assert (data.name, data.mirror_safe) == ("pets", False)


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
    Image.new("RGB", (21, 16)).save(mixed / "cat" / "more.png")
    assert from_directory(mixed).input_shape == (224, 224, 3)


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


def test_a_16_bit_image_is_refused_and_not_clipped(tmp_path):
    fill(tmp_path)
    Image.fromarray(np.full((16, 20), 40_000, np.uint16)).save(tmp_path / "cat" / "deep.png")
    refused(tmp_path, "deep.png", "8 bits")


def test_unreadable_images_are_counted_and_the_first_named(tmp_path):
    fill(tmp_path, 8)
    for number in range(7):
        (tmp_path / "cat" / f"{number:02}.png").write_bytes(b"no image")
    whole = (tmp_path / "dog" / "00.png").read_bytes()
    (tmp_path / "dog" / "00.png").write_bytes(whole[: len(whole) // 2])
    error = refused(tmp_path, "8 of 16", "00.png", "04.png", "and 3 more")
    assert "05.png" not in str(error)
    assert len(error.value) == 8


@pytest.mark.parametrize("factor", [0.9, 0.4])
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, factor):
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(20 * 16 * factor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(tmp_path, "12 of 12", "decompression bomb")


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    refused(tmp_path / "nowhere", "path must be", "nowhere", "does not exist")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file")


def test_a_folder_without_class_folders_is_refused(tmp_path):
    refused(tmp_path, "one folder of images for each class", "no class folders")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    refused(tmp_path, "1 images and no class folders")


def test_a_single_class_folder_is_refused(tmp_path):
    refused(fill(tmp_path, classes=("cat",)), "only class is 'cat'")


def test_an_empty_class_folder_is_refused(tmp_path):
    fill(tmp_path)
    (tmp_path / "eel").mkdir()
    refused(tmp_path, "'eel'", "no images", "jpg", "webp")


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
    fill(tmp_path / "valid")
    refused(tmp_path, "'valid'", "validation/")


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
