"""Images that stand in two splits: the same to the last bit, or almost."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COARSE, FINE = 8, 16
# chosen by eye on CIFAR-10: from 0.65 on nearly all pairs are one photo, at 0.55 as many are two of a kind
COARSE_LIKENESS, FINE_LIKENESS = 0.9, 0.65
CANDIDATES = 8
SAMPLE, TENTH = 100, 10
MOST_PAIRS = 2_000_000_000
BLOCK = 2_000
AT_ONCE = 20_000_000


@dataclass(frozen=True, kw_only=True)
class NearCopies:
    """Images of one set that are almost the same as one of another.

    Parameters
    ----------
    pairs : ndarray of int64, shape (k, 2)
        Places in the first and in the second set, the most alike pair first.
    looked_at : int
        Images of the first set that were looked at.
    mirrored : int, default 0
        How many of the pairs are of mirror images; these come last.
    """

    pairs: np.ndarray
    looked_at: int
    mirrored: int = 0


def image_hashes(images: np.ndarray) -> np.ndarray:
    """Return a hash of each image's bytes.

    Examples
    --------
    >>> hashes = image_hashes(np.zeros((2, 4, 4, 3), "uint8"))
    >>> bool(hashes[0] == hashes[1])
    True
    """
    digests = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16) for image in images)
    return np.array([each.hexdigest() for each in digests])


def thumbnails(images: np.ndarray, side: int = COARSE) -> np.ndarray:
    """Return small gray copies of images.

    Parameters
    ----------
    images : ndarray of uint8 or float, shape (n, height, width, channels)
    side : int, default 8
        Of the copies; less where images are smaller.

    Returns
    -------
    ndarray of float32, shape (n, rows, columns)
        Means over patches and channels.

    Examples
    --------
    >>> thumbnails(np.full((1, 32, 32, 3), 7, "uint8"), 2)[0].round(3).tolist()
    [[7.0, 7.0], [7.0, 7.0]]
    """
    count, height, width, channels = images.shape
    rows, columns = min(side, height), min(side, width)
    down = _averaging(height, rows)
    across = np.repeat(_averaging(width, columns), channels, axis=1).T / channels
    small = np.empty((count, rows, columns), "float32")
    for start in range(0, count, BLOCK):
        block = images[start : start + BLOCK].astype("float32").reshape(-1, width * channels) @ across
        small[start : start + BLOCK] = down @ block.reshape(-1, height, columns)
    return small


def near_copies(
    images: np.ndarray, others: np.ndarray | Sequence[np.ndarray], *, mirrored: bool = False
) -> NearCopies:
    """Pair images with the most alike of another set, where the two are almost the same.

    Gray 8×8 thumbnails, their mean taken away and scaled to length 1, name up to 8 candidates an image.
    A pair counts where the directions of the gray gradients agree too, on 16×16: changed brightness,
    contrast, colour and compression leave those as they are, and another photo of a like thing does not.
    Turned or shifted copies are not found. Nor is any where all images are much alike, such as scans of
    digits: a pair must stand out from an image's tenth most alike.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, channels)
    others : ndarray or sequence of ndarray, shape (m, height, width, channels)
        The other set, or its parts; places are counted through them.
    mirrored : bool, default False
        Also pair images with the mirror images of others.

    Returns
    -------
    NearCopies
        Exact copies are among them. Past two thousand million pairs only a part of `images` is looked at,
        at even distances.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(50, 200, (3, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    >>> near_copies(images[1:2] + 20, images).pairs
    array([[0, 1]])
    """
    parts = [others] if isinstance(others, np.ndarray) else list(others)
    small = _unit(thumbnails(images))
    of_parts = np.concatenate([_unit(thumbnails(part)) for part in parts])
    least = max(FINE_LIKENESS, _out_of_the_common(images, small, parts, of_parts))
    chosen = np.arange(0, len(small), -(-len(small) * len(of_parts) // MOST_PAIRS))
    pairs = _pairs(images, small, parts, of_parts, chosen, least)
    if not mirrored:
        return NearCopies(pairs=pairs, looked_at=len(chosen))
    turned = images[:, :, ::-1]
    more = _pairs(turned, _unit(thumbnails(turned)), parts, of_parts, chosen, least)
    more = more[~np.isin(more[:, 0], pairs[:, 0])]
    return NearCopies(pairs=np.concatenate([pairs, more]), looked_at=len(chosen), mirrored=len(more))


def _pairs(
    images: np.ndarray,
    small: np.ndarray,
    parts: Sequence[np.ndarray],
    of_parts: np.ndarray,
    chosen: np.ndarray,
    least: float,
) -> np.ndarray:
    """Return each image's most alike other one, where they are alike enough; the most alike pair first."""
    candidates = [np.empty((0, 2), "int64")]
    rows = max(1, AT_ONCE // len(of_parts))
    for start in range(0, len(chosen) if least < 1 else 0, rows):
        block = chosen[start : start + rows]
        likeness = small[block] @ of_parts.T
        for row in np.flatnonzero(likeness.max(axis=1) > COARSE_LIKENESS):
            places = np.flatnonzero(likeness[row] > COARSE_LIKENESS)
            if len(places) > CANDIDATES:
                places = places[np.argpartition(-likeness[row][places], CANDIDATES)[:CANDIDATES]]
            candidates.append(np.stack([np.full_like(places, block[row]), places], axis=1))
    pairs = np.concatenate(candidates)
    if not len(pairs):
        return pairs
    likeness = _gradient_likeness(images, parts, pairs)
    order = np.argsort(-likeness, kind="stable")
    order = order[likeness[order] > least]
    _, first = np.unique(pairs[order, 0], return_index=True)
    return np.asarray(pairs[order[np.sort(first)]])


def _out_of_the_common(
    images: np.ndarray, small: np.ndarray, parts: Sequence[np.ndarray], of_parts: np.ndarray
) -> float:
    """Return how alike two images must be to be more than two of a kind, judged by tenth neighbours."""
    places = np.unique(np.linspace(0, len(small) - 1, SAMPLE).astype(int))
    rank = min(TENTH, len(of_parts)) - 1
    tenth = np.argpartition(-(small[places] @ of_parts.T), rank, axis=1)[:, rank]
    likeness = _gradient_likeness(images, parts, np.stack([places, tenth], axis=1))
    middle = np.median(likeness)
    deviation = 1.4826 * np.median(np.abs(likeness - middle))
    return float(middle + 4 * deviation) if len(of_parts) > TENTH else 0.0


def _averaging(length: int, cells: int) -> np.ndarray:
    cell = np.arange(length) * cells // length
    weights = (cell == np.arange(cells)[:, None]).astype("float32")
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _unit(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3))


def _gradient_likeness(images: np.ndarray, parts: Sequence[np.ndarray], pairs: np.ndarray) -> np.ndarray:
    a, back_a = _gradients_at([images], pairs[:, 0])
    b, back_b = _gradients_at(parts, pairs[:, 1])
    likeness = np.empty(len(pairs), "float32")
    for start in range(0, len(pairs), BLOCK):
        block = slice(start, start + BLOCK)
        likeness[block] = (a[back_a[block]] * b[back_b[block]]).sum(axis=1)
    return likeness


def _gradients_at(parts: Sequence[np.ndarray], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of the images at these places, each once, and where each place has its own."""
    needed, back = np.unique(places, return_inverse=True)
    found, first = [], 0
    for part in parts:
        inside = needed[(needed >= first) & (needed < first + len(part))] - first
        found.append(_gradients(thumbnails(part[inside], FINE)))
        first += len(part)
    return np.concatenate(found), back


def _gradients(small: np.ndarray) -> np.ndarray:
    """Return directions of gradients, weak ones counting less, as vectors of length 1."""
    along = small[:, :-1, 1:] - small[:, :-1, :-1]
    down = small[:, 1:, :-1] - small[:, :-1, :-1]
    strength = np.hypot(along, down)
    strength += strength.mean(axis=(1, 2), keepdims=True) / 2 + 1e-3
    field = np.stack([along / strength, down / strength], axis=1)
    field = field.reshape(len(small), math.prod(field.shape[1:]))
    return np.asarray(field / np.maximum(np.linalg.norm(field, axis=1, keepdims=True), 1e-6))
