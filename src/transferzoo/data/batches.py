"""Batches for Keras, made from arrays one at a time: shuffled, augmented and repeatable on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from transferzoo.data.augmentation import Augmentation
from transferzoo.data.mixing import Partners, draw_partners
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_count


@dataclass(frozen=True, kw_only=True)
class _Epoch:
    """All that chance decides in an epoch, for each sample, so that no batch depends on another."""

    number: int
    order: np.ndarray
    picks: np.ndarray | None
    draws: np.ndarray | None
    partners: Partners | None


class Batches(keras.utils.PyDataset):
    """Images or features and one-hot labels, a batch at a time; nothing is copied as a whole.

    What happens to a sample follows from the seed, the epoch and the sample's place in `x` alone: another
    batch size, another first batch or threads that ask at once get the same images.

    Parameters
    ----------
    x : ndarray, shape (n, …)
        Images, or features; a `numpy.memmap` is read a batch at a time.
    y : ndarray of int, shape (n,), optional
        Labels; without them a batch holds `x` alone, and nothing is mixed.
    batch_size : int
    num_classes : int
        Length of a one-hot label.
    shuffle : bool, default False
        A new order each epoch.
    augmentation : Augmentation, optional
        Applied to each sample again in each epoch. Mixup and CutMix take the other sample as it is augmented
        in that epoch, and mix the labels too.
    seed : sequence of int, default (0,)
        Order and augmentation follow from it, the epoch and the sample.
    steps : int, optional
        Batches per epoch; past the end of the data it begins again.
    first_epoch : int, default 0
        Number of the epoch to begin with.
    first_batch : int, default 0
        Where that epoch begins, to continue in its middle; those after it are whole. Keras' ``fit`` fixes the
        number of batches when it starts, so give it this epoch alone and the others in a second call.

    as_float : bool, default False
        Whether uint8 images are handed out as float32.
    class_weight : sequence of float, shape (num_classes,), optional
        What each class weighs in the loss. A batch then has a third part, the weight of each sample; a
        mixed sample has the mean of its two classes' weights, by their shares.
    balanced : bool, default False
        Show all classes equally often: an epoch is as long as ever, with images of small classes several
        times, each time augmented differently.

    Attributes
    ----------
    epoch : int
        The epoch whose batches are handed out; may be set. It moves on by itself when Keras ends an epoch
        whose last batch was handed out.

    Raises
    ------
    InvalidInputError
        If `first_batch` is not one of an epoch's batches.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray | None = None,
        *,
        batch_size: int,
        num_classes: int,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        seed: tuple[int, ...] = (0,),
        steps: int | None = None,
        first_epoch: int = 0,
        first_batch: int = 0,
        as_float: bool = False,
        class_weight: Sequence[float] | None = None,
        balanced: bool = False,
    ) -> None:
        super().__init__()
        self.x = x
        self.y = y
        self.batch_size = min(batch_size, len(x))
        self.num_classes = num_classes
        self.shuffle = shuffle
        self.augmentation = augmentation
        self.seed = seed
        self.steps = steps or -(-len(x) // self.batch_size)
        self.wraps = steps is not None
        self.first_epoch = check_count("first_epoch", first_epoch, 0)
        self.first_batch = check_count("first_batch", first_batch, 0)
        if self.first_batch >= self.steps:
            raise invalid("first_batch", f"below {self.steps}, the batches of an epoch", first_batch)
        self.epoch = self.first_epoch
        self.as_float = as_float
        self.balanced = balanced and y is not None
        self._weights = None if class_weight is None else np.asarray(class_weight, "float32")
        self._one_hot = np.eye(num_classes, dtype="float32")
        self._begun = self._finished = False
        self._drawn: _Epoch | None = None

    @property
    def skipped(self) -> int:
        """Batches that are left out of the current epoch."""
        return self.first_batch if self.epoch == self.first_epoch else 0

    @property
    def num_batches(self) -> int:
        """Batches of the current epoch."""
        return self.steps - self.skipped

    def order(self) -> np.ndarray:
        """Return this epoch's order of the samples."""
        return self._draw().order

    def _draw(self) -> _Epoch:
        # A local name: another thread may put another epoch's in its place.
        drawn = self._drawn
        if drawn is None or drawn.number != self.epoch:
            count, number = len(self.x), self.epoch
            entropy = [*self.seed, number]
            order = np.random.default_rng(entropy).permutation(count) if self.shuffle else np.arange(count)
            draws = partners = picks = None
            if self.balanced:
                assert self.y is not None
                # the third of the children, so that the other two are as they were without it
                picks = _balanced_picks(
                    self.y, np.random.default_rng(np.random.SeedSequence(entropy).spawn(3)[2])
                )
            if (change := self.augmentation) is not None:
                of_images, of_partners = (
                    np.random.default_rng(child) for child in np.random.SeedSequence(entropy).spawn(2)
                )
                draws = change.draw(count, of_images)
                if self.y is not None and (change.mixup or change.cutmix):
                    partners = draw_partners(count, change.mixup, change.cutmix, of_partners)
            drawn = self._drawn = _Epoch(
                number=number, order=order, picks=picks, draws=draws, partners=partners
            )
        return drawn

    def __getitem__(self, index: int) -> Any:
        drawn = self._draw()
        position = index + self.skipped
        self._finished = self._finished or position == self.steps - 1
        start, stop = position * self.batch_size, (position + 1) * self.batch_size
        chosen = (
            np.take(drawn.order, range(start, stop), mode="wrap") if self.wraps else drawn.order[start:stop]
        )
        x = self._samples(chosen, drawn)
        if self.y is None:
            return (x,)
        y = self._labels(self.y, chosen, drawn)
        if drawn.partners is not None:
            partners = drawn.partners.of(chosen)
            other_y = self._labels(self.y, partners.index, drawn)
            x, y = partners.mix(x, y, self._samples(partners.index, drawn), other_y)
        return (x, y) if self._weights is None else (x, y, y @ self._weights)

    def _labels(self, labels: np.ndarray, chosen: np.ndarray, drawn: _Epoch) -> np.ndarray:
        return np.asarray(self._one_hot[labels[chosen if drawn.picks is None else drawn.picks[chosen]]])

    def _samples(self, chosen: np.ndarray, drawn: _Epoch) -> np.ndarray:
        x = np.asarray(self.x[chosen if drawn.picks is None else drawn.picks[chosen]])
        if self.as_float:
            x = x.astype("float32", copy=False)
        if self.augmentation is None or drawn.draws is None:
            return x
        return self.augmentation.apply(x, drawn.draws[chosen])

    def on_epoch_begin(self) -> None:
        """Note that what ends next is an epoch."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Move to the next epoch, if this one was gone through.

        Keras also ends an epoch before it trains: having looked at the first for its shape, or at none.
        """
        if self._begun and self._finished:
            self.epoch += 1
        self._begun = self._finished = False


def _balanced_picks(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many places in `y` as it has, with all classes as often as each other, but for rounding.

    The images of a large class change from draw to draw. Those of a small one are all taken before one is
    taken again.
    """
    labels, label = np.unique(y, return_inverse=True)
    quota = np.full(len(labels), len(y) // len(labels))
    quota[rng.permutation(len(labels))[: len(y) % len(labels)]] += 1
    picks = []
    for number, count in enumerate(quota):
        members = np.flatnonzero(label == number)
        rounds = [rng.permutation(members) for _ in range(-(-int(count) // len(members)))]
        picks.append(np.concatenate(rounds)[:count] if rounds else members[:0])
    return np.concatenate(picks)
