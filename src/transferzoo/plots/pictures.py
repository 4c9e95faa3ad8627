"""What pictures of images share: the images as they are shown, and a grid with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array
from transferzoo.judging.prediction_checks import Found
from transferzoo.plots.axes import CHARACTER, check_axes, fitted, new_axes, size_in_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# height of the captions, and the gap between two images, where an image's width is 1
BAND, GAP = 0.42, 0.12


def image_array(images: Any, otherwise: str = "") -> tuple[NDArray[Any], str]:
    """Return images with a channel axis, and what would be accepted; `otherwise` is accepted too."""
    accepted = "images of 0 to 255, shape (n, height, width, channels)" + (otherwise and "," + otherwise)
    array = check_array("images", images, accepted)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3, 4):
        raise invalid("images", accepted, Found(f"shape {array.shape}") if array.ndim else images)
    return array, accepted


def displayable(sample: NDArray[Any], accepted: str) -> NDArray[np.uint8]:
    """Return images as uint8, 0 to 255, or raise saying what would be accepted."""
    if sample.dtype == np.uint8:
        return sample
    if not (np.issubdtype(sample.dtype, np.floating) or np.issubdtype(sample.dtype, np.integer)):
        raise invalid("images", accepted, Found(f"dtype {sample.dtype}"))
    low, high = float(sample.min()), float(sample.max())
    if not (low >= 0 and high <= 255):
        remedy = "Pass the images as they were before preprocessing."
        raise invalid("images", accepted, Found(f"values from {low:.4g} to {high:.4g}"), remedy=remedy)
    scale = 255 if np.issubdtype(sample.dtype, np.floating) and high <= 1 else 1
    return np.round(sample.astype(np.float64) * scale).astype(np.uint8)


def empty_grid(ax: Axes | None, count: int, columns: int, ratio: float) -> tuple[Axes, int]:
    """Return Axes with room for so many captioned images, and how many of them stand in a row."""
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    check_axes(ax)
    if ax is None:
        ax = new_axes(1.7 * columns, 1.52 * rows * (ratio + BAND + GAP) + 0.4)
    assert ax is not None
    ax.set_xlim(-GAP / 2, columns * (1 + GAP) - GAP / 2)
    ax.set_ylim(-rows * (ratio + BAND + GAP) + GAP / 2, GAP / 2)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax, columns


def captioned(
    ax: Axes, sample: NDArray[np.uint8], captions: Sequence[Sequence[tuple[str, str]]], columns: int
) -> None:
    """Draw images with lines of text above each, the first line in bold; a line is (text, colour)."""
    ax.apply_aspect()
    width, _ = size_in_points(ax)
    room = width / (columns * (1 + GAP))
    ratio = sample.shape[1] / sample.shape[2]
    longest = max(1, *(len(line) for lines in captions for line, _ in lines))
    size = max(min(8.0, 0.27 * room * BAND, room / (CHARACTER * longest)), 6.0)
    for place, (lines, image) in enumerate(zip(captions, sample, strict=True)):
        left = place % columns * (1 + GAP)
        top = -(place // columns) * (ratio + BAND + GAP) - BAND
        picture = image[..., 0] if image.shape[-1] == 1 else image
        ax.imshow(picture, extent=(left, left + 1, top - ratio, top), cmap="gray", vmin=0, vmax=255)
        for number, (line, colour) in enumerate(lines):
            ax.text(
                left,
                top + BAND * (0.96 - 0.31 * number),
                fitted(line, room, size),
                fontsize=size,
                fontweight="bold" if number == 0 else "normal",
                color=colour,
                ha="left",
                va="top",
                parse_math=False,
            )
