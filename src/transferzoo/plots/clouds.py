"""Features of images as points on a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_array, check_choice, check_seed
from transferzoo.judging.prediction_checks import check_class_names, check_labels, count_of_names
from transferzoo.plots.axes import check_axes, fitted, new_axes, plain_legend
from transferzoo.plots.lines import MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = ("pca", "tsne")
MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class CloudData:
    """What `feature_cloud` draws.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 2)
    labels : ndarray of int64, shape (n,)
    class_names : tuple of str
    explained : tuple of 2 floats, or None
        Shares of the variance along both axes; None for t-SNE, whose axes mean nothing.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    explained: tuple[float, float] | None


def cloud_data(
    features: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    method: str = "pca",
    seed: int = 0,
) -> CloudData:
    """Return what `feature_cloud` draws, checked."""
    check_choice("method", method, METHODS)
    seed = check_seed(seed)
    accepted = "features, float, shape (n, channels) with 3 or more images and 2 or more channels"
    given = check_array("features", features, accepted)
    if given.ndim > 2:
        given = given.reshape(len(given), -1, given.shape[-1]).mean(axis=1)
    if given.ndim != 2 or min(given.shape) < 2 or len(given) < 3 or given.dtype.kind not in "fiu":
        raise invalid("features", accepted, given.shape)
    if not np.isfinite(given).all():
        raise invalid("features", "finite", "NaN or infinite values")
    asked = check_array("labels", labels, f"class numbers, shape ({len(given)},)")
    if asked.ndim != 1 or not len(asked) or asked.dtype.kind not in "iu" or int(asked.max()) > 10**6:
        raise invalid("labels", f"class numbers, shape ({len(given)},)", asked.shape)
    k = count_of_names(class_names) or max(int(asked.max()) + 1, 2)
    truth = check_labels("labels", asked, num_classes=k, length=len(given))
    names = check_class_names(class_names, k)
    from sklearn.decomposition import PCA

    values = given.astype(np.float64)
    deviation = values.std(axis=0)
    # a channel that hardly moves would be noise blown up
    values = (values - values.mean(axis=0)) / np.maximum(deviation, np.median(deviation) + 1e-12)
    explained = None
    if method == "pca":
        reduced = PCA(2, svd_solver="full" if min(values.shape) < 500 else "randomized", random_state=seed)
        points = reduced.fit_transform(values)
        explained = (float(reduced.explained_variance_ratio_[0]), float(reduced.explained_variance_ratio_[1]))
    else:
        from sklearn.manifold import TSNE

        least = min(50, *values.shape)
        points = TSNE(perplexity=min(30, (len(values) - 1) / 3), init="pca", random_state=seed).fit_transform(
            PCA(least, random_state=seed).fit_transform(values)
        )
    return CloudData(
        points=np.asarray(points, np.float64), labels=truth, class_names=tuple(names), explained=explained
    )


def feature_cloud(
    features: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    method: str = "pca",
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Features of images as points, by class, to see whether images of one class lie together.

    Parameters
    ----------
    features : array of float, shape (n, channels) or (n, height, width, channels)
        Such as `extract_features` gives; maps are averaged, and channels standardised.
    labels : array of int, shape (n,)
        True classes.
    class_names : sequence of str, optional
        The names; by default the class numbers.
    method : {"pca", "tsne"}, default "pca"
        Principal components keep large distances, and the axes say how much of the variance they show. t-SNE
        (van der Maaten and Hinton 2008, JMLR 9) keeps neighbours; the sizes of clusters and the distances
        between them mean nothing in it.
    seed : int, default 0
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        Up to 20 classes have a colour and a mark of their own, and a legend; more have their number at the
        middle of their points.

    Raises
    ------
    InvalidInputError
        If the arrays do not belong together, or hold fewer than 3 images or 2 channels.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(20, 8))
    >>> ax = feature_cloud(features, np.arange(20) % 2, ["cat", "dog"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['cat', 'dog']
    """
    import matplotlib

    found = cloud_data(features, labels, class_names, method=method, seed=seed)
    check_axes(ax)
    if ax is None:
        ax = new_axes(7, 5.5)
    k = len(found.class_names)
    colours = matplotlib.colormaps["tab10" if k <= 10 else "tab20"]
    size = float(np.clip(3000 / len(found.points), 6, 30))
    for place, name in enumerate(found.class_names):
        here = found.points[found.labels == place]
        if not len(here):
            continue
        ax.scatter(
            here[:, 0],
            here[:, 1],
            s=size,
            color=colours(place % colours.N),
            marker=MARKERS[place % len(MARKERS)],
            alpha=0.7,
            linewidth=0,
            label=fitted(name, 110, 9),
        )
        if k > MOST_NAMED:
            middle = np.median(here, axis=0)
            ax.annotate(str(place), middle, ha="center", va="center", fontsize=7, fontweight="bold")
    if k <= MOST_NAMED:
        plain_legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    if found.explained is None:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("t-SNE")
    else:
        ax.set_xlabel(f"First principal component ({found.explained[0]:.0%} of the variance)")
        ax.set_ylabel(f"Second ({found.explained[1]:.0%})")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
