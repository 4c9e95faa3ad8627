"""Scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

import numpy as np

from transferzoo.data.arrays import from_arrays
from transferzoo.data.dataset import Dataset
from transferzoo.data.splits import check_share, stratified_indices

SIDE = 32
TEST_FRACTION = 0.2
# Of the test set only, which is the same for every seed: runs of different seeds stay paired, image by image.
TEST_SEED = 0


def load_digits(*, validation: int | float = 0.2, seed: int = 0) -> Dataset:
    """Load 1,797 handwritten digits as images of 32×32 pixels.

    The scans are 8×8 with values 0 to 16; they are scaled to 0 to 255, enlarged bilinearly and repeated to
    three channels. The test set, 359 images, is the same whatever the seed.

    Parameters
    ----------
    validation : float or int
        Share of the 1,438 training images that is set aside: a fraction above 0 and below 1, or a whole
        number of images. Default 0.2.
    seed : int
        Governs the validation split. Default 0.

    Returns
    -------
    Dataset
        Images uint8, shape (n, 32, 32, 3), 0 to 255; ten classes ``"0"`` to ``"9"``; not `flip_safe`.

    Raises
    ------
    InvalidInputError
        If `validation` or `seed` is not as above.

    References
    ----------
    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.

    Examples
    --------
    >>> from transferzoo.data.digits import load_digits
    >>> data = load_digits(validation=200)
    >>> data
    <Dataset 'digits': 1238 train, 200 validation, 359 test images of 32×32×3, 10 classes>
    >>> data.flip_safe
    False
    """
    check_share("validation", validation)
    from PIL import Image
    from sklearn.datasets import load_digits as load_scans

    scans, labels = load_scans(return_X_y=True)
    small = np.rint(scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    enlarged = [Image.fromarray(scan).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for scan in small]
    x = np.repeat(np.stack([np.asarray(image) for image in enlarged])[..., None], 3, axis=-1)
    y = labels.astype(np.int64)
    test = stratified_indices(y, round(TEST_FRACTION * len(y)), TEST_SEED, spare=2)
    rest = np.delete(np.arange(len(y)), test)
    return from_arrays(
        x[rest],
        y[rest],
        x[test],
        y[test],
        validation=validation,
        seed=seed,
        name="digits",
        source="scikit-learn's load_digits, 8×8 scans enlarged to 32×32",
        flip_safe=False,
    )
