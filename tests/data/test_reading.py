"""Files to pixels: what training and prediction read alike."""

import io

import numpy as np
import pytest
from PIL import Image

import transferzoo as tz
from transferzoo.data.photos import common_size
from transferzoo.data.reading import is_image, read_images
from transferzoo.errors import InvalidInputError


def saved(folder, image, name="a.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


def black_ink(mode="RGBA"):
    """A black square on a transparent ground, whose hidden colour is black too."""
    pixels = np.zeros((20, 20, 4), "uint8")
    pixels[5:15, 5:15, 3] = 255
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_white(tmp_path, mode):
    read = read_images(saved(tmp_path, black_ink(mode)), 20)[0]
    assert (read[0, 0] == 255).all()
    assert (read[10, 10] == 0).all()


@pytest.mark.parametrize("background", ["red", "#ff0000", (255, 0, 0)])
def test_the_background_can_be_chosen(tmp_path, background):
    read = read_images(saved(tmp_path, black_ink()), 20, background=background)[0]
    assert read[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_shows_the_background(tmp_path, mode):
    image = Image.new("RGB", (8, 8), (51, 51, 51)).convert(mode)
    key = image.getpixel((0, 0))
    path = saved(tmp_path, image, transparency=key)
    assert (read_images(path, 8) == 255).all()


def test_colours_hidden_under_transparency_are_not_used(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype("uint8")
    pixels[..., 3] = 0
    assert (read_images(saved(tmp_path, Image.fromarray(pixels)), 8) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "tif", "png", "webp"])
def test_every_orientation_is_read_upright_in_every_format(tmp_path, ending, orientation):
    from PIL import ImageOps

    pixels = np.zeros((24, 40, 3), "uint8")
    pixels[:12, :20] = (255, 0, 0)
    pixels[12:, :20] = (0, 255, 0)
    pixels[:12, 20:] = (0, 0, 255)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 95, "subsampling": 0}}
    path = saved(tmp_path, image, f"a.{ending}", exif=exif, **lossless.get(ending, {}))
    assert common_size([path]) == upright.shape[:2]
    assert np.abs(read_images(path, upright.shape[:2])[0].astype(int) - upright).max() < 12


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_are_scaled_to_8(tmp_path, ending):
    pixels = np.array([[0, 257, 32_896, 65_535]], "uint16").repeat(2, 0)
    path = saved(tmp_path, Image.fromarray(pixels), f"a.{ending}")
    assert read_images(path, (2, 4))[0, 0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(("high", "expected"), [(1.0, 255), (200.0, 200)])
def test_floats_from_0_to_1_or_to_255_are_read(tmp_path, high, expected):
    path = saved(tmp_path, Image.fromarray(np.full((4, 4), high, "float32")), "a.tif")
    assert (read_images(path, 4) == expected).all()


@pytest.mark.parametrize("value", [-3.0, 1e6, np.nan])
def test_floats_of_no_known_scale_are_refused(tmp_path, value):
    path = saved(tmp_path, Image.fromarray(np.full((4, 4), value, "float32")), "a.tif")
    with pytest.raises(InvalidInputError, match="of no known scale"):
        read_images(path, 4)


def wide():
    """Red at the left end, blue at the right one, grey between."""
    pixels = np.full((30, 300, 3), 128, "uint8")
    pixels[:, :60], pixels[:, -60:] = (255, 0, 0), (0, 0, 255)
    return Image.fromarray(pixels)


def test_a_crop_takes_the_middle_and_says_so(tmp_path, caplog):
    assert (read_images(saved(tmp_path, wide()), 30) == 128).all()
    assert "cuts away more than a quarter of 1 of 1 images" in caplog.text
    assert "resize='pad'" in caplog.text


def test_padding_keeps_everything(tmp_path, caplog):
    read = read_images(saved(tmp_path, wide()), 30, resize="pad", background="lime")[0]
    assert (read[0, 15] == (0, 255, 0)).all()
    assert (read[15, 0] == (255, 0, 0)).all()
    assert (read[15, -1] == (0, 0, 255)).all()
    assert not caplog.records


def test_stretching_keeps_everything_too(tmp_path, caplog):
    read = read_images(saved(tmp_path, wide()), 30, resize="stretch")[0]
    assert (read[:, 0] == (255, 0, 0)).all()
    assert (read[:, -1] == (0, 0, 255)).all()
    assert not caplog.records


def test_a_few_images_of_other_proportions_are_no_reason_for_a_warning(tmp_path, caplog):
    paths = [saved(tmp_path, Image.new("RGB", (8, 8)), f"{n}.png") for n in range(19)]
    read_images([*paths, saved(tmp_path, wide(), "wide.png")], 8)
    assert not caplog.records


def test_a_list_gives_its_images_in_order(tmp_path):
    paths = [saved(tmp_path, Image.new("RGB", (4, 4), (n, n, n)), f"{n}.png") for n in (30, 10, 20)]
    assert read_images([str(path) for path in paths], 4)[:, 0, 0, 0].tolist() == [30, 10, 20]


def test_files_that_cannot_be_read_are_all_named(tmp_path, caplog):
    good = saved(tmp_path, Image.new("RGB", (4, 4)), "good.png")
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(b"")
    paths = [good, *(tmp_path / f"{number}.png" for number in range(9)), tmp_path / "absent.png"]
    with pytest.raises(InvalidInputError, match="10 of 11") as caught:
        read_images(paths, 4)
    for number in range(9):
        assert f"{number}.png" in str(caught.value)
    assert "absent.png (no such file)" in str(caught.value)
    assert read_images(paths, 4, on_error="skip").shape == (1, 4, 4, 3)
    assert "absent.png" in caplog.text


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"paths": []}, "at least one path"),
        ({"paths": 3}, "a path or a list of paths"),
        ({"paths": [3]}, "paths as text or pathlib.Path"),
        ({"image_size": 0}, "image_size must be"),
        ({"image_size": (4, 4, 3)}, "image_size must be"),
        ({"resize": "padd"}, "Did you mean 'pad'"),
        ({"background": "wite"}, "Did you mean 'white'"),
        ({"background": (0, 0, 256)}, "background must be"),
        ({"background": 7}, "background must be"),
        ({"on_error": "ignore"}, "'raise' or 'skip'"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, change, part):
    path = saved(tmp_path, Image.new("RGB", (4, 4)))
    with pytest.raises(InvalidInputError, match=part):
        read_images(**{"paths": path, "image_size": 4, **change})


@pytest.mark.parametrize(
    "ending", ["jfif", "jpe", "ppm", "tga", "pcx", "ico", "jp2", "dib", "PNG", "unknown", ""]
)
def test_every_format_that_pillow_opens_is_an_image_whatever_its_ending(tmp_path, ending):
    kinds = {"jfif": "JPEG", "jpe": "JPEG", "ico": "ICO", "jp2": "JPEG2000", "unknown": "PNG", "": "PNG"}
    path = tmp_path / f"a.{ending}".rstrip(".")
    kind = kinds.get(ending) or Image.registered_extensions()[f".{ending.lower()}"]
    Image.new("RGB", (32, 32), "red").save(path, kind)
    assert is_image(path)
    assert np.abs(read_images(path, 32)[0, 9, 9].astype(int) - (255, 0, 0)).max() < 6


@pytest.mark.parametrize(
    "name", ["notes.txt", "table.csv", "photo.heic", "drawing.svg", "figure.eps", "noise"]
)
def test_other_files_are_no_images(tmp_path, name):
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    assert not is_image(tmp_path / name)


def test_a_new_photo_is_read_as_training_read_it(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            image = Image.fromarray(rng.integers(0, 256, (50, 80, 3), dtype="uint8"))
            exif = image.getexif()
            exif[0x0112] = 6
            image.save(tmp_path / name / f"{number}.png", exif=exif)
    data = tz.from_directory(tmp_path, image_size=24)
    paths = sorted(tmp_path.rglob("*.png"))
    read = tz.read_images(paths, 24)
    found = {image.tobytes() for x, _ in data.splits.values() for image in x}
    assert {image.tobytes() for image in read} == found
