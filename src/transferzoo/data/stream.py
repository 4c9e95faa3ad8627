"""A dataset from batches: generators, PyDatasets, tf.data or torch loaders, gathered as uint8."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from transferzoo.data.checking import image_array, label_array
from transferzoo.data.dataset import Dataset, from_arrays
from transferzoo.errors import check_count, invalid

PAIRS = "batches of (images, labels)"
GROWTH = 1.5


def from_batches(
    train: Iterable[Any],
    *,
    test: Any = None,
    validation: int | float = 0.2,
    class_names: Iterable[str] | None = None,
    name: str = "batches",
    seed: int = 0,
    limit: int | None = None,
    mirror_safe: bool = True,
) -> Dataset:
    """Gather batches into a dataset of uint8 images; no more than a batch is ever held as anything else.

    Parameters
    ----------
    train : iterable of (images, labels)
        A generator, a `keras.utils.PyDataset`, a `tf.data.Dataset`, a torch `DataLoader`: anything whose
        parts `numpy.asarray` understands. Images have shape (n, height, width, channels) with 1 or 3
        channels, or (n, height, width), and pixels from 0 to 255; floats are rounded. Labels are whole
        numbers of shape (n,) or (n, 1), or one-hot, (n, classes).
    test : iterable of (images, labels), float or int, optional
        The test set; or what to split off for it, a fraction above 0 and below 1 or a whole number of images.
        Default: a fifth.
    validation : float or int
        What to split off the rest for validation, in the same form. Default 0.2.
    class_names : iterable of str, optional
        One name for each label, in label order. Default: those that `train` has, else ``"0"``, ``"1"``, ….
    name : str
        What to call the dataset. Default ``"batches"``.
    seed : int
        Governs the splits. Default 0.
    limit : int, optional
        Images to take at most, of `train` and of `test`. Needed where batches never end.
    mirror_safe : bool
        Whether a mirrored image keeps its label. Default True.

    Returns
    -------
    Dataset
        Images uint8, 0 to 255, in the order in which they came, split as `from_arrays` does.

    Raises
    ------
    InvalidInputError
        If batches, pixels or labels are not as above, there are none, or they never end and `limit` is not
        given.

    Examples
    --------
    >>> import numpy as np
    >>> from transferzoo.data.stream import from_batches
    >>> rng = np.random.default_rng(0)
    >>> batches = ((rng.integers(0, 256, (10, 8, 8, 3)), np.arange(10) % 2) for _ in range(10))
    >>> from_batches(batches, name="noise")
    <Dataset 'noise': 64 train, 16 validation, 20 test images of 8×8×3, 2 classes>
    """
    if limit is not None:
        check_count("limit", limit, 1)
    if class_names is None:
        class_names = getattr(train, "class_names", None)
    x_train, y_train = _gather("train", train, limit)
    given: dict[str, Any] = {}
    if isinstance(test, numbers.Real):
        given["test"] = test
    elif test is not None:
        given["x_test"], given["y_test"] = _gather("test", test, limit)
    return from_arrays(
        x_train,
        y_train,
        **given,
        validation=validation,
        class_names=class_names,
        seed=seed,
        name=name,
        source=f"batches of a {type(train).__name__}",
        mirror_safe=mirror_safe,
    )


def _gather(argument: str, batches: Any, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    images, labels, count = np.empty(0, "uint8"), [], 0
    highest, seen_float = 0.0, False
    for batch in _each_batch(argument, batches, limit):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
            raise invalid(argument, PAIRS, got)
        x = image_array(f"{argument} images", batch[0])
        y = _labels(argument, batch[1])
        if len(x) != len(y):
            raise invalid(argument, "batches with a label for each image", f"{len(x)} and {len(y)}")
        if count and x.shape[1:] != images.shape[1:]:
            raise invalid(
                argument,
                f"batches of images of one shape, {images.shape[1:]} as the first",
                x.shape[1:],
                remedy="Resize them, so that all are alike.",
            )
        seen_float = seen_float or x.dtype.kind == "f"
        highest = max(highest, _check_pixels(argument, x))
        x, y = x[: limit and limit - count], y[: limit and limit - count]
        if count + len(x) > len(images):
            # In place, so that there is at no time a second copy.
            room = (max(count + len(x), int(GROWTH * len(images))), *x.shape[1:])
            images.resize(room, refcheck=False)
        images[count : count + len(x)] = np.rint(x) if x.dtype.kind == "f" else x
        labels.append(y)
        count += len(x)
        if count == limit:
            break
    if not count:
        raise invalid(
            argument, f"{PAIRS}, at least one", "none", remedy="Is it a generator that has been used up?"
        )
    if seen_float and highest <= 1:
        raise _scaled(argument, 0, highest)
    images.resize((count, *images.shape[1:]), refcheck=False)
    return images, np.concatenate(labels)


def _each_batch(argument: str, batches: Any, limit: int | None) -> Iterator[Any]:
    endless = False
    # A PyDataset is read by number, as Keras does: some of Keras' own never end when looped over.
    if hasattr(batches, "num_batches") and hasattr(batches, "__getitem__"):
        try:
            total = batches.num_batches
        except NotImplementedError:
            total = None
        endless, numbered = total is None, batches
        batches = (numbered[index] for index in (itertools.count() if total is None else range(total)))
    elif callable(getattr(batches, "cardinality", None)):
        # what tf.data says of a repeated dataset
        endless = int(batches.cardinality()) == -1
    if endless and limit is None:
        raise invalid("limit", f"given where batches never end, as in {argument}", None)
    if isinstance(batches, str) or not isinstance(batches, Iterable):
        raise invalid(argument, f"an iterable of {PAIRS}", type(batches).__name__)
    return iter(batches)


def _check_pixels(argument: str, x: np.ndarray) -> float:
    """Return the highest pixel; raise where one is none from 0 to 255, or all were scaled."""
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise invalid(f"{argument} images", "free of NaN and infinite pixels", f"{low:g} to {high:g}")
    if x.dtype.kind == "f" and low >= -1 and high <= 1 and not (low >= 0 and (x == np.rint(x)).all()):
        raise _scaled(argument, low, high)
    if low < 0 or high > 255:
        remedy = "Pass the images as they were before any scaling or standardising."
        raise invalid(f"{argument} images", "pixels from 0 to 255", f"{low:g} to {high:g}", remedy=remedy)
    return high


def _scaled(argument: str, low: float, high: float) -> Exception:
    mend = "images * 255" if low >= 0 else "(images + 1) * 127.5"
    remedy = f"These look scaled already; yield {mend}, as scaling is the model's first step."
    return invalid(f"{argument} images", "pixels from 0 to 255", f"{low:g} to {high:g}", remedy=remedy)


def _labels(argument: str, value: Any) -> np.ndarray:
    y = np.asarray(value)
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind not in "iufb" or not ((y == 0) | (y == 1)).all() or not (y.sum(axis=1) == 1).all():
            raise invalid(
                f"{argument} labels", "whole numbers, or one-hot with a single 1 a row", y[0].tolist()
            )
        return y.argmax(axis=1)
    if y.dtype.kind == "f" and (y == np.rint(y)).all():
        y = y.astype("int64")
    return label_array(f"{argument} labels", y)
