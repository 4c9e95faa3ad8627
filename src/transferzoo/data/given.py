"""New images as a person gives them, brought into the form that a trained model takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.data.checking import check_pixels, image_array
from transferzoo.data.reading import Reading, decode, fit_image, flattened, is_image
from transferzoo.errors import invalid, printable
from transferzoo.ground.storage.files import check_path

if TYPE_CHECKING:
    from PIL import Image

# photos that are in memory at a time
CHUNK = 512
IMAGES = (
    "photos: a path, a folder, a list of paths, a Pillow image or a list of these, or an array of images, "
    "shape (n, height, width, channels), 0 to 255"
)


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """What images a model takes: how photos are read for it, and their channels, 1 or 3."""

    reading: Reading
    channels: int = 3

    def gather(self, images: Any) -> tuple[list[Path], Any]:
        """Return files, or images in memory, each of one form; the other is empty."""
        if isinstance(images, str | Path):
            return self._files([images]), ()
        if _is_pillow(images):
            return [], [images]
        if isinstance(images, Mapping) or (
            not hasattr(images, "__array__") and not isinstance(images, Iterable)
        ):
            raise invalid("images", IMAGES, images)
        if not hasattr(images, "__array__"):
            # a list, or what gives one: an endless one would never end here
            images = images if isinstance(images, Sequence) else list(_at_most(images))
            if not len(images):
                raise invalid("images", IMAGES, "none")
            if all(isinstance(each, str | Path) for each in images):
                return self._files(images), ()
            if all(_is_pillow(each) for each in images):
                return [], list(images)
        return [], self._pixels(images)

    def _files(self, paths: Sequence[Any]) -> list[Path]:
        found: list[Path] = []
        for each in paths:
            path = check_path("images", each, IMAGES)
            if not path.is_dir():
                found.append(path)
                continue
            inside = [
                file
                for file in sorted(path.rglob("*"))
                if file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
                and is_image(file)
            ]
            if not inside:
                raise invalid("images", "a folder with photos", printable(path))
            found += inside
        return found

    def _pixels(self, images: Any) -> NDArray[Any]:
        array = np.asarray(images) if hasattr(images, "__array__") else images
        if isinstance(array, np.ndarray) and array.ndim == 3 and array.shape[-1] in (1, 3):
            array = array[None]
        x = image_array("images", array)
        if not len(x):
            raise invalid("images", IMAGES, "none")
        if x.dtype != np.uint8 and check_pixels("images", x):
            x = x.astype(np.uint8)
        if x.shape[-1] != self.channels:
            if self.channels == 1:
                raise invalid("images", "grey images, with 1 channel, as in training", x.shape)
            x = np.repeat(x, 3, axis=-1)
        if x.shape[1:3] != self.reading.size and x.dtype != np.uint8:
            raise invalid(
                "images",
                f"images of {self.reading.size[0]}×{self.reading.size[1]} pixels, as in training, or whole "
                "numbers, which are resized",
                x.shape,
            )
        return x if x.dtype == np.uint8 else x.astype(np.float32)

    def chunks(
        self, files: Sequence[Path], arrays: Any, broken: list[tuple[Path, str]]
    ) -> Iterator[tuple[list[Path | None], NDArray[Any]]]:
        """Yield some paths and their images at a time; files that cannot be read go to `broken`."""
        for start in range(0, len(files), CHUNK):
            chosen = files[start : start + CHUNK]
            read = decode(chosen, self.reading)
            broken += read.broken
            yield [chosen[place] for place in read.kept], self._coloured(read.images)
        for start in range(0, len(arrays), CHUNK):
            some = arrays[start : start + CHUNK]
            if not isinstance(some, np.ndarray):
                some = self._coloured(np.stack([self._fitted(each) for each in some]))
            elif some.shape[1:3] != self.reading.size:
                some = self._resized(some)
            yield [None] * len(some), some

    def _fitted(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(fit_image(flattened(image, self.reading.background), self.reading))

    def _resized(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from PIL import Image

        if self.channels == 3:
            return np.stack([self._fitted(Image.fromarray(each)) for each in images])
        return np.stack([self._fitted(Image.fromarray(each[..., 0])) for each in images])[..., :1]

    def _coloured(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return RGB images with the channels that the model takes."""
        from PIL import Image

        if self.channels == 3 or not len(images):
            return images
        return np.stack([np.asarray(Image.fromarray(each).convert("L"))[..., None] for each in images])


def _is_pillow(value: Any) -> bool:
    return type(value).__module__.startswith("PIL.") and hasattr(value, "convert")


def _at_most(images: Iterable[Any], count: int = 1_000_000) -> Iterator[Any]:
    for place, each in enumerate(images):
        if place == count:
            raise invalid("images", f"at most {count:,} images", "more")
        yield each
