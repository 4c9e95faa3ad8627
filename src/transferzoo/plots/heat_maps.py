"""Images under a map of where a model looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array, check_count, check_sequence, finite
from transferzoo.plots.pictures import captioned, displayable, empty_grid, image_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# readable with every kind of colour vision, and in print
COLOURS = "viridis"


def blended(images: NDArray[np.uint8], maps: NDArray[Any], opacity: float) -> NDArray[np.uint8]:
    """Return images with their maps over them, uint8 ``(n, height, width, 3)``: what `heat_maps` draws."""
    from matplotlib import colormaps

    grey = images[..., :3].astype("float64").mean(axis=-1, keepdims=True)
    colours = 255 * colormaps[COLOURS](maps)[..., :3]
    share = opacity * maps[..., np.newaxis]
    return np.round((1 - share) * grey + share * colours).astype(np.uint8)


def heat_maps(
    images: Any,
    maps: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
    opacity: float = 0.7,
    ax: Axes | None = None,
) -> Axes:
    """Images in grey under their maps, as `grad_cam` gives them: the brighter, the more speaks for the class.

    Parameters
    ----------
    images : array, shape (n, height, width, channels) or (n, height, width)
        uint8 or float, 0 to 255.
    maps : array of float, shape (n, height, width)
        0 to 1.
    titles : sequence of str, optional
        What stands above each image.
    columns : int, default 6
        Images in a row.
    opacity : float, default 0.7
        Of the map where it is 1; 0 to 1.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> ax = heat_maps(np.zeros((2, 8, 8, 3), "uint8"), np.ones((2, 8, 8)), ["cat", "dog"])
    >>> len(ax.images)
    2
    """
    pixels, accepted = image_array(images)
    shape = pixels.shape[:3]
    heat = check_array("maps", maps, "numbers from 0 to 1, shape (n, height, width)")
    if heat.shape != shape or heat.dtype.kind != "f" or not ((heat >= 0) & (heat <= 1)).all():
        raise invalid("maps", f"numbers from 0 to 1, shape {shape}", heat.shape)
    columns = check_count("columns", columns, 1)
    share = finite(opacity)
    if share is None or not 0 <= share <= 1:
        raise invalid("opacity", "a number from 0 to 1", opacity)
    words = [""] * len(pixels) if titles is None else check_sequence("titles", "text for each image", titles)
    if len(words) != len(pixels):
        raise invalid("titles", f"one for each of the {len(pixels)} images", len(words))
    drawn = blended(displayable(pixels, accepted), heat, share)
    ax, columns = empty_grid(ax, len(drawn), columns, shape[1] / shape[2])
    # the third line of a caption stands right above its image
    above = [("", "black"), ("", "black")]
    captioned(ax, drawn, [[*above, (str(each), "black")] for each in words], columns)
    return ax
