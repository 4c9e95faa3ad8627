"""Batches for Keras, made from arrays one at a time: shuffled, augmented and repeatable on every backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from transferzoo.data.augmentation import Augmentation


class Batches(keras.utils.PyDataset):
    """Images or features and one-hot labels, a batch at a time; nothing is copied as a whole.

    Parameters
    ----------
    x : ndarray, shape (n, …)
        Images, or features.
    y : ndarray of int, shape (n,), optional
        Labels; without them a batch holds `x` alone.
    batch_size : int
    num_classes : int
        Length of a one-hot label.
    shuffle : bool, default False
        A new order each epoch.
    augmentation : Augmentation, optional
        Applied to each batch anew.
    seed : sequence of int, default (0,)
        Order and augmentation follow from it, the epoch and the batch's number.
    steps : int, optional
        Batches an epoch; past the end of the data it begins again.
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
        self.epoch = 0
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return self.steps

    def order(self) -> np.ndarray:
        """Return this epoch's order of the samples."""
        if self._order is None or self._order[0] != self.epoch:
            rng = np.random.default_rng([*self.seed, self.epoch])
            count = len(self.x)
            self._order = (self.epoch, rng.permutation(count) if self.shuffle else np.arange(count))
        return self._order[1]

    def __getitem__(self, index: int) -> Any:
        start, stop = index * self.batch_size, (index + 1) * self.batch_size
        order = self.order()
        chosen = np.take(order, range(start, stop), mode="wrap") if self.wraps else order[start:stop]
        x = self.x[chosen]
        if self.augmentation is not None:
            x = self.augmentation(x, np.random.default_rng([*self.seed, self.epoch, index]))
        if self.y is None:
            return (x,)
        return x, np.eye(self.num_classes, dtype="float32")[self.y[chosen]]

    def on_epoch_end(self) -> None:
        """Move to the next epoch's order."""
        self.epoch += 1
