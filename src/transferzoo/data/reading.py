"""Image files to arrays: the one place where photos are decoded, turned upright and resized."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferzoo.errors import InvalidInputError, invalid, printable
from transferzoo.ground.arguments import check_choice, whole

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger("transferzoo")

# The side of the ImageNet photos that most pretrained backbones have seen.
LARGEST_SIDE = 224
RESIZES = ("crop", "pad", "stretch")
ON_ERROR = ("raise", "skip")
# EPS runs a program (ghostscript), the others have no decoder in Pillow itself or are no single images
REFUSED_FORMATS = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "FPX", "MIC", "MPEG", "PDF"})
# photos and drawings that Pillow alone does not open: worth a warning, as they are lost images
FOREIGN = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".svg", ".pdf", ".eps", ".ps", ".ai"}
    | {".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".srw"}
)
# not even looked into
NO_IMAGES = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".htm", ".log"}
    | {".db", ".ini", ".py", ".ipynb", ".zip", ".gz", ".tar", ".npz", ".npy", ".mat", ".pkl", ".h5"}
    | {".keras", ".mp4", ".mov", ".avi", ".lnk", ".url", ".part", ".crdownload"}
)
# a crop that takes away more than this is worth a word, if more than a tenth of the images lose so much
CROPPED = 0.25
MANY = 0.1


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How image files become pixels.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    resize : {"crop", "pad", "stretch"}, default "crop"
    background : (int, int, int), default white
        RGB, 0 to 255: what shows through transparent pixels, and what is added by ``"pad"``.
    """

    size: tuple[int, int]
    resize: str = "crop"
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))
        check_resize(self.resize)
        object.__setattr__(self, "background", check_background(self.background))

    def record(self) -> dict[str, Any]:
        """Return plain JSON types; `Reading(**record)` reads them back."""
        return {"size": list(self.size), "resize": self.resize, "background": list(self.background)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """What came of reading files: the images, and which of the files they are."""

    images: np.ndarray
    kept: np.ndarray
    broken: tuple[tuple[Path, str], ...]
    cropped: int = 0
    origins: tuple[str, ...] = ()


def read_images(
    paths: str | Path | Iterable[str | Path],
    image_size: int | tuple[int, int],
    *,
    resize: str = "crop",
    background: str | tuple[int, int, int] = "white",
    on_error: str = "raise",
) -> np.ndarray:
    """Read photos exactly as `from_directory` and `from_table` read them for training.

    Images are turned as their EXIF data says, laid on `background` where they are transparent, converted to
    RGB, and scaled from 16 to 8 bits where they have 16. Of an animation the first frame counts.

    Parameters
    ----------
    paths : path, or iterable of paths
        Image files of any format that Pillow opens. A single path gives one image.
    image_size : int or (int, int)
        Height and width in pixels, one number for both.
    resize : {"crop", "pad", "stretch"}, default "crop"
        ``"crop"`` scales until the image covers the size and cuts off what stands out, the same on both
        sides. ``"pad"`` scales until it fits in, and fills up with `background`. ``"stretch"`` changes the
        proportions.
    background : str or (int, int, int), default "white"
        A colour's name, ``"#rrggbb"``, or red, green and blue from 0 to 255.
    on_error : {"raise", "skip"}, default "raise"
        Whether files that cannot be read raise an error that names all of them, or are left out, with a
        warning that names all of them.

    Returns
    -------
    ndarray of uint8, shape (n, height, width, 3)
        0 to 255, in the order of `paths`.

    Raises
    ------
    InvalidInputError
        If an argument is not as above, or a file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from transferzoo.data.reading import read_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (40, 30), "green").save(Path(folder) / "leaf.png")
    ...     read_images(Path(folder) / "leaf.png", 16).shape
    (1, 16, 16, 3)
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise invalid("paths", "a path or a list of paths", paths)
    files = [_as_path(path) for path in paths]
    if not files:
        raise invalid("paths", "at least one path", [])
    reading = Reading(
        size=check_size(image_size), resize=check_resize(resize), background=check_background(background)
    )
    check_on_error(on_error)
    return read_files(files, reading, on_error=on_error, argument="paths").images


def read_files(files: Sequence[Path], reading: Reading, *, on_error: str, argument: str) -> Read:
    """Read files into one array; `argument` names what they came from in an error."""
    read = decode(files, reading)
    if read.broken:
        say_broken(read.broken, len(files), on_error, argument)
    if not len(read.kept):
        raise invalid(argument, "at least one image that can be read", f"{len(files)} that cannot")
    if read.cropped > MANY * len(read.kept):
        logger.warning(
            "cropping to %d×%d cuts away more than a quarter of %d of %d images; resize='pad' keeps all of "
            "each image, resize='stretch' too, in other proportions",
            *reading.size,
            read.cropped,
            len(read.kept),
        )
    return read


def decode(files: Sequence[Path], reading: Reading) -> Read:
    """Return the images of files, and which of the files cannot be read; nothing is said of these."""
    height, width = reading.size
    x = np.empty((len(files), height, width, 3), np.uint8)
    kept: list[int] = []
    broken: list[tuple[Path, str]] = []
    origins: list[str] = []
    cropped = 0
    with strict_pillow():
        for file in files:
            try:
                image, kind = _opened(file, reading.background)
            except Exception as error:
                broken.append((file, _reason(error)))
                continue
            origins.append(f"{kind} {image.width}×{image.height}")
            cropped += reading.resize == "crop" and _lost(image.size, (width, height)) > CROPPED
            x[len(kept)] = np.asarray(fit_image(image, reading))
            kept.append(len(kept) + len(broken))
    # every file read: no second copy
    images = x if len(kept) == len(files) else x[: len(kept)].copy()
    return Read(
        images=images,
        kept=np.array(kept, np.int64),
        broken=tuple(broken),
        cropped=cropped,
        origins=tuple(origins),
    )


def open_upright(path: Path, background: tuple[int, int, int]) -> Image.Image:
    """Return a decoded image as RGB with 8 bits per channel, upright, without transparency."""
    return _opened(path, background)[0]


def _opened(path: Path, background: tuple[int, int, int]) -> tuple[Image.Image, str]:
    """Return a decoded image and its format, such as ``"JPEG"``."""
    from PIL import Image

    with Image.open(path, formats=readable_formats()) as opened:
        kind = opened.format or "unknown"
        return flattened(opened, background), kind


def flattened(opened: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an image as RGB with 8 bits per channel, upright, without transparency."""
    from PIL import Image, ImageOps

    opened.load()
    image = ImageOps.exif_transpose(opened)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_to_8_bits(np.asarray(image), image.mode, opened.format)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*background, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Return the names of the formats that are read: Pillow's own, and those of its plugins."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.OPEN if name not in REFUSED_FORMATS)


@functools.cache
def readable_endings() -> frozenset[str]:
    """Return the endings of file names, in lower case and with a dot, that stand for such a format."""
    from PIL import Image

    formats = readable_formats()
    return (
        frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in formats)
        - NO_IMAGES
    )


def is_image(path: Path) -> bool:
    """Tell whether a file is taken for an image: by its ending, else by how it begins."""
    ending = path.suffix.lower()
    if ending in readable_endings():
        return True
    if ending in FOREIGN or ending in NO_IMAGES:
        return False
    from PIL import Image

    try:
        with strict_pillow(), Image.open(path, formats=readable_formats()):
            return True
    except Exception:
        return False


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Make a decompression bomb an error, and Pillow's remarks on odd metadata nothing."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def check_size(image_size: Any) -> tuple[int, int]:
    """Return height and width of an argument `image_size`, or raise."""
    sides = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    accepted = "a number of pixels of 1 or more, or two of them (height, width)"
    if len(sides) != 2:
        raise invalid("image_size", accepted, image_size)
    for side in sides:
        if (whole(side) or 0) < 1:
            raise invalid("image_size", accepted, image_size)
        if side > LARGEST_SIDE:
            raise invalid("image_size", f"at most {LARGEST_SIDE:,} pixels", image_size)
    return int(sides[0]), int(sides[1])


def check_resize(resize: Any) -> str:
    """Return an argument `resize`, or raise."""
    check_choice("resize", resize, RESIZES)
    return str(resize)


def check_on_error(on_error: Any) -> str:
    """Return an argument `on_error`, or raise."""
    if on_error not in ON_ERROR:
        raise invalid("on_error", "'raise' or 'skip'", on_error, candidates=ON_ERROR)
    return str(on_error)


def check_background(background: Any) -> tuple[int, int, int]:
    """Return red, green and blue of an argument `background`, or raise."""
    accepted = "a colour such as 'white', '#00ff00' or (0, 255, 0)"
    if isinstance(background, str):
        from PIL import ImageColor

        try:
            colour = ImageColor.getrgb(background)
        except ValueError:
            raise invalid("background", accepted, background, candidates=ImageColor.colormap) from None
        return colour[0], colour[1], colour[2]
    if not isinstance(background, tuple | list) or len(background) != 3:
        raise invalid("background", accepted, background)
    for part in background:
        number = whole(part)
        if number is None or not 0 <= number <= 255:
            raise invalid("background", accepted, background)
    red, green, blue = (int(part) for part in background)
    return red, green, blue


def _as_path(path: Any) -> Path:
    if not isinstance(path, str | Path):
        raise invalid("paths", "paths as text or pathlib.Path", path)
    return Path(path).expanduser()


def _to_8_bits(pixels: np.ndarray, mode: str, kind: str | None) -> np.ndarray:
    """Scale whole numbers of 16 bits, or floats, to 0-255; raise where the scale cannot be told."""
    low, high = float(pixels.min()), float(pixels.max())
    if mode == "F" and low >= 0 and high <= 1:
        scaled = pixels * 255.0
    elif mode.startswith("I;16") or (mode == "I" and kind == "PNG") or (mode == "I" and 255 < high <= 65_535):
        scaled = pixels / 257.0
    else:
        scaled = pixels
    if not (np.isfinite(low) and np.isfinite(high)) or scaled.min() < 0 or scaled.max() > 255:
        raise ValueError(f"pixels from {low:g} to {high:g}, of no known scale: convert it to 8 or 16 bits")
    return np.rint(scaled).astype("uint8")


def fit_image(image: Image.Image, reading: Reading) -> Image.Image:
    """Return an image brought to the size of `reading`, in its way."""
    from PIL import Image, ImageOps

    height, width = reading.size
    bilinear = Image.Resampling.BILINEAR
    if reading.resize == "pad":
        return ImageOps.pad(image, (width, height), bilinear, color=reading.background)
    if reading.resize == "stretch":
        return image.resize((width, height), bilinear)
    return ImageOps.fit(image, (width, height), bilinear)


def _lost(given: tuple[int, int], wanted: tuple[int, int]) -> float:
    """Return the share of an image that a crop to other proportions takes away."""
    ratio = (given[0] / given[1]) / (wanted[0] / wanted[1])
    return 1 - min(ratio, 1 / ratio)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return printable(" ".join(str(error).split())[:120]) or type(error).__name__


def say_broken(broken: Sequence[tuple[Path, str]], total: int, on_error: str, argument: str) -> None:
    """Raise for files that cannot be read, or warn, naming all of them."""
    lines = "".join(f"\n  {printable(path)} ({reason})" for path, reason in broken)
    if on_error == "skip":
        logger.warning("%d of %d images cannot be read and are left out:%s", len(broken), total, lines)
        return
    accepted = "files that can all be read as images"
    raise InvalidInputError(
        f"{argument} must lead to {accepted}. Got {len(broken)} of {total} that cannot be read. "
        f"Repair or remove them, or pass on_error='skip' (--skip-unreadable) to leave them out:{lines}",
        argument=argument,
        value=[printable(path) for path, _ in broken],
        accepted=accepted,
    )
