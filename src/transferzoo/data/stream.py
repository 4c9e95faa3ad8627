"""A dataset from batches: generators, PyDatasets, tf.data or torch loaders, gathered as uint8."""

from __future__ import annotations

import itertools
import logging
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from transferzoo.data.arrays import from_arrays
from transferzoo.data.checking import PixelCheck, class_order, image_array, label_array, text_labels
from transferzoo.data.dataset import Dataset
from transferzoo.errors import invalid, listing
from transferzoo.ground.arguments import check_count

PAIRS = "batches of (images, labels)"
GROWTH = 1.5
# past these, what does not say how long it is may never end
BOUND = 100_000
BOUND_BYTES = 8 * 10**9

logger = logging.getLogger("transferzoo")


def from_batches(
    train: Iterable[Any],
    *,
    test: Any = None,
    validation: int | float = 0.2,
    class_names: Iterable[str] | Mapping[Any, Any] | None = None,
    name: str = "batches",
    seed: int = 0,
    limit: int | None = None,
    flip_safe: bool = True,
) -> Dataset:
    """Gather batches into a dataset of uint8 images; no more than a batch is ever held as anything else.

    Parameters
    ----------
    train : iterable of (images, labels)
        A generator, a `keras.utils.PyDataset`, a `tf.data.Dataset`, a torch `DataLoader`: anything whose
        parts `numpy.asarray` understands. Images have shape (n, height, width, channels) with 1 or 3
        channels, or (n, height, width), and pixels from 0 to 255; floats are rounded. Labels are whole
        numbers or names of shape (n,) or (n, 1), or one-hot, (n, classes). Single images with their
        labels, unbatched, will do.
    test : iterable of (images, labels), float or int, optional
        The test set; or what to split off for it, a fraction above 0 and below 1 or a whole number of images.
        Default: a fifth.
    validation : float or int
        What to split off the rest for validation, in the same form. Default 0.2.
    class_names : list of str, or mapping, optional
        One name for each label, in label order, or ``{name: label}``. Default: those that `train` has
        (`class_indices`, `class_names`, `class_to_idx`, `classes`), else ``"0"``, ``"1"``, …. Where batches
        have names, labels are matched by name: `test` may lack a class, or count in another order.
    name : str
        What to call the dataset. Default ``"batches"``.
    seed : int
        Governs the splits. Default 0.
    limit : int, optional
        Images to take at most, of `train` and of `test`. Needed where batches never end, and for more than
        100,000 images or 8 GB from what does not say how many there are.
    flip_safe : bool
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
    own, wanted = _names_of(train), class_order(class_names)
    # other words for the same labels, or the same words in another order
    renamed = wanted is not None and own is not None and set(wanted) != set(own)
    names = own if wanted is None or renamed else wanted
    x_train, y_train = _gather("train", train, limit)
    y_train = _match("train", y_train, own, names)
    given: dict[str, Any] = {}
    if isinstance(test, numbers.Real):
        given["test"] = test
    elif test is not None:
        given["x_test"], y_test = _gather("test", test, limit)
        given["y_test"] = _match("test", y_test, _names_of(test), names)
    return from_arrays(
        x_train,
        y_train,
        **given,
        validation=validation,
        class_names=wanted if renamed else names,
        seed=seed,
        name=name,
        source=f"batches of a {type(train).__name__}",
        flip_safe=flip_safe,
    )


def _gather(argument: str, batches: Any, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    images, labels, count = np.empty(0, "uint8"), [], 0
    pixels = PixelCheck(f"{argument} images", code="images")
    bound = None if limit is not None or _has_length(batches) else BOUND
    for batch in _each_batch(argument, batches, limit):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
            raise invalid(argument, PAIRS, got)
        x, y = _as_batch(argument, *batch)
        if len(x) != len(y):
            raise invalid(argument, "batches with a label for each image", f"{len(x)} and {len(y)}")
        if count and x.shape[1:] != images.shape[1:]:
            raise invalid(
                argument,
                f"batches of images of one shape, {images.shape[1:]} as the first",
                x.shape[1:],
                remedy=f"Resize them as they come: keras.ops.image.resize(images, {images.shape[1:3]}).",
            )
        pixels.add(x)
        x, y = x[: limit and limit - count], y[: limit and limit - count]
        if count + len(x) > len(images):
            # In place, so that there is at no time a second copy.
            room = (max(count + len(x), int(GROWTH * len(images))), *x.shape[1:])
            images.resize(room, refcheck=False)
        images[count : count + len(x)] = np.rint(x).clip(0, 255) if x.dtype.kind == "f" else x
        labels.append(y)
        count += len(x)
        if count == limit:
            break
        if bound is not None and (count > bound or images.nbytes > BOUND_BYTES):
            raise invalid(
                "limit",
                f"given where more than {min(bound, count):,} images come and {argument} does not say "
                "how many there are",
                None,
                remedy="A generator with 'while True' never ends. Pass limit=, the number of images to "
                f"take; {count:,} had come ({images.nbytes / 1e9:.1f} GB).",
            )
    if not count:
        raise invalid(
            argument, f"{PAIRS}, at least one", "none", remedy="Is it a generator that has been used up?"
        )
    pixels.finish()
    images.resize((count, *images.shape[1:]), refcheck=False)
    return images, np.concatenate(labels)


def _as_batch(argument: str, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch; a single image with its label, as unbatched datasets give, is a batch of one."""
    name = f"{argument} images"
    if np.ndim(labels) == 0 and np.ndim(images) in (2, 3):
        images, labels = np.asarray(images)[None], np.asarray(labels)[None]
    return image_array(name, images), _labels(argument, labels)


def _has_length(batches: Any) -> bool:
    """Tell whether batches say how many they are, so that they end."""
    for count in (len, lambda each: each.num_batches):
        try:
            if count(batches) is not None:
                return True
        except (AttributeError, TypeError, NotImplementedError):
            continue
    return False


def _names_of(batches: Any) -> tuple[str, ...] | None:
    """Return the class names that a generator or dataset carries, in label order; None where it has none."""
    for holder in (batches, getattr(batches, "dataset", None)):
        for attribute in ("class_indices", "class_to_idx", "class_names", "classes"):
            found = getattr(holder, attribute, None)
            # Keras' generators have `classes` too: each image's label
            if isinstance(found, Mapping) or (
                isinstance(found, list | tuple) and found and all(isinstance(each, str) for each in found)
            ):
                return class_order(found)
    return None


def _match(
    argument: str, labels: np.ndarray, own: tuple[str, ...] | None, names: tuple[str, ...] | None
) -> np.ndarray:
    """Return labels that count in `own` as labels that count in `names`, by name."""
    if own is None or names is None or own == names or labels.dtype.kind not in "iu":
        return labels
    present = np.unique(labels)
    if present.max() >= len(own):
        raise invalid(
            f"{argument} labels", f"from 0 to {len(own) - 1}, as its class names", int(present.max())
        )
    unknown = [own[label] for label in present if own[label] not in names]
    if unknown:
        raise invalid(argument, f"batches of the classes {listing(names)}", unknown[0], candidates=names)
    logger.info("%s counts its classes in another order; its labels are matched by name", argument)
    order = np.array([names.index(name) if name in names else -1 for name in own])
    return np.asarray(order[labels])


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


def _labels(argument: str, value: Any) -> np.ndarray:
    y = np.asarray(value)
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind not in "iufb" or not ((y == 0) | (y == 1)).all() or not (y.sum(axis=1) == 1).all():
            raise invalid(
                f"{argument} labels", "whole numbers, or one-hot with a single 1 per row", y[0].tolist()
            )
        return y.argmax(axis=1)
    if y.dtype.kind in "USO":
        return np.array(text_labels(f"{argument} labels", y.reshape(-1)))
    if y.dtype.kind == "f" and (y == np.rint(y)).all():
        y = y.astype("int64")
    return label_array(f"{argument} labels", y)
