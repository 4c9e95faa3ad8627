"""A scikit-learn classifier around a backbone, its head and a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from transferzoo.data.arrays import from_arrays
from transferzoo.data.reading import read_images
from transferzoo.errors import InvalidInputError, invalid
from transferzoo.ground.arguments import check_mapping


class TransferClassifier(ClassifierMixin, BaseEstimator):
    """Images to classes, as a scikit-learn estimator: for `cross_val_score`, `GridSearchCV` and `Pipeline`.

    Parameters
    ----------
    model : str, default "mobilenet"
        A backbone's name.
    recipe : str or Recipe, default "linear_probe"
        How to train. For a grid of several fits take a fast one: features of a frozen backbone are kept on
        disk, so that of all fits on the same images only the first computes them.
    head : str or Head, default "linear"
    weights : str, Path or None, default "imagenet"
        As `build` takes them.
    image_size : int, (int, int) or None, default None
        Height and width that files are read at, and the size inside the model. None: files are read at
        224×224, and the model takes its own size.
    validation : float or int, default 0.2
        Share of the images that `fit` holds out to choose penalties and epochs.
    flip_safe : bool, default True
        Whether a mirrored image keeps its label.
    seed : int, default 0
        Of the split, of random weights, order and augmentation.
    options : mapping, optional
        Further options of `fit`: ``{"epochs": 5, "minutes": …}``.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        The labels, sorted.
    model_ : keras.Model
        Trained: from images, 0 to 255, to probabilities.
    fitted_ : Fitted
        What `fit` returned: history, validation accuracy and settings.

    Notes
    -----
    Of scikit-learn's ``check_estimator`` those checks cannot pass that give tables of numbers: images have
    three axes, or are files.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=150, test=50)
    >>> classifier = TransferClassifier("mobilenet_025", weights=None, flip_safe=False)
    >>> classifier.fit(data.x_train, data.y_train).predict(data.x_test).shape
    (50,)
    """

    def __init__(
        self,
        model: str = "mobilenet",
        *,
        recipe: Any = "linear_probe",
        head: Any = "linear",
        weights: Any = "imagenet",
        image_size: Any = None,
        validation: int | float = 0.2,
        flip_safe: bool = True,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.head = head
        self.weights = weights
        self.image_size = image_size
        self.validation = validation
        self.flip_safe = flip_safe
        self.seed = seed
        self.options = options

    def fit(self, X: Any, y: Any) -> TransferClassifier:
        """Train on images and labels.

        Parameters
        ----------
        X : array, shape (n, height, width, channels) or (n, height, width), or sequence of paths, length n
            Images, 0 to 255, with 1 or 3 channels; or files.
        y : array of str or int, shape (n,)
            Labels, of two classes or more.

        Returns
        -------
        TransferClassifier
            Itself.

        Raises
        ------
        InvalidInputError
            If images or labels are not as above.
        """
        from transferzoo.fitting import fit

        images = self._images(X)
        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(images):
            raise invalid("y", f"one label for each of {len(images)} images", labels.shape)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        data = from_arrays(
            images,
            numbers.astype(np.int64),
            class_names=[str(name) for name in self.classes_],
            test=0,
            validation=self.validation,
            seed=self.seed,
            flip_safe=self.flip_safe,
        )
        given: dict[str, Any] = {"head": self.head, "weights": self.weights, "lint": False, "verbose": False}
        if self.image_size is not None:
            given["image_size"] = self.image_size
        if self.options is not None:
            check_mapping("options", self.options, "a mapping of options of tz.fit")
            given |= self.options
        self.fitted_ = fit(self.model, data, recipe=self.recipe, seed=self.seed, **given)
        self.model_ = self.fitted_.model
        self.shape_ = data.input_shape
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (n, k), in the order of `classes_`."""
        from transferzoo.models.prediction import predict_probabilities

        check_is_fitted(self, "model_")
        images = self._images(X)
        if images.ndim == 3:
            images = images[..., None]
        if images.shape[1:] != self.shape_:
            raise InvalidInputError(
                f"X must be images of shape {self.shape_}, as in fit. Got {images.shape[1:]}.",
                argument="X",
                value=images.shape,
            )
        probabilities = predict_probabilities(self.model_, images).astype(np.float64)
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each image, shape (n,)."""
        places = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def _images(self, X: Any) -> NDArray[Any]:
        """Return images as an array; files are read."""
        array = X if isinstance(X, np.ndarray) else None
        if array is None or array.dtype.kind in "OU":
            entries = list(X)
            if entries and all(isinstance(entry, str | Path) for entry in entries):
                return read_images(entries, 224 if self.image_size is None else self.image_size)
            array = np.asarray(X)
        if array.ndim not in (3, 4) or array.dtype.kind not in "uif":
            raise invalid(
                "X", "images (n, height, width, channels), 0 to 255, or paths of files", array.shape
            )
        return array

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.no_validation = True
        return tags
