"""Photos in class folders, as a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.data.checking import class_order
from transferzoo.data.dataset import Dataset
from transferzoo.data.folder_listing import list_images
from transferzoo.data.groups import groups_by_pattern
from transferzoo.data.photos import PhotoOptions, dataset_from_files
from transferzoo.errors import printable
from transferzoo.ground.storage.files import check_path


def from_directory(
    path: str | Path,
    *,
    validation: int | float = 0.2,
    test: int | float = 0.2,
    groups: str | None = None,
    seed: int = 0,
    image_size: int | tuple[int, int] | None = None,
    resize: str = "crop",
    background: str | tuple[int, int, int] = "white",
    class_names: Iterable[str] | Mapping[Any, Any] | None = None,
    layout: str = "auto",
    on_error: str = "raise",
    name: str | None = None,
    flip_safe: bool = True,
) -> Dataset:
    r"""Read a folder of class folders.

    Either of these layouts:

        photos/cat/1.jpg            photos/train/cat/1.jpg
        photos/cat/2.jpg     or     photos/test/cat/7.jpg
        photos/dog/1.jpg            photos/validation/cat/9.jpg   (or val/; optional, as test/ is)

    Classes are the folders' names, sorted by code points, on every operating system; images are read in the
    sorted order of their files. Every format that Pillow opens is read, also under another ending. What is
    left out is counted by reason, in ``data.left_out``, in ``data.summary()`` and in the log: hidden files
    and folders (their names start with a dot), files that are no images, and images of formats that Pillow
    does not open (HEIC, raw photos, SVG). How files become pixels: see `read_images`.

    Parameters
    ----------
    path : str or Path
        The folder.
    validation : float or int
        Share of the images left for training once the test set is taken: a fraction above 0 and below 1, or
        a whole number of images. Ignored where there is a ``validation`` or ``val`` folder. Default 0.2.
    test : float or int
        Share of all images, in the same form. Ignored where there is a ``test`` folder. 0 makes no test
        set: `fit` needs none. Default 0.2.
    groups : str, optional
        A regular expression that finds in a file's name what the image belongs to: a patient, a video, a
        place. It is searched in the path from `path` on, such as ``cat/patient7-a.jpg``; what its first
        parentheses hold is the group, as in ``r"(patient\d+)"``. No group is divided between splits.
        Default: every image is by itself.
    seed : int
        Governs the splits that are made here. Default 0.
    image_size : int, (int, int) or None
        Height and width in pixels, one number for both. None takes the size that four fifths of the images
        or more have, where that is at most 224 on a side, and 224×224 otherwise. Default None.
    resize : {"crop", "pad", "stretch"}
        How an image of other proportions is brought to that size: its edges are cut off, it is filled up
        with `background`, or its proportions change. A warning tells when cropping cuts away more than a
        quarter of many images. Default ``"crop"``.
    background : str or (int, int, int)
        Colour behind transparent pixels, and around padded images. Default ``"white"``.
    class_names : list of str, or mapping, optional
        Which class folders are read, in label order. Other class folders are left out, and counted.
        Default: all of them, sorted.
    layout : {"auto", "classes", "splits"}
        Whether the folders in `path` are classes or splits. ``"auto"``: splits, if there is a ``train``
        folder that holds folders. Default ``"auto"``.
    on_error : {"raise", "skip"}
        Whether files that cannot be read raise an error that names all of them, or are left out, with a
        warning that names all of them. Default ``"raise"``.
    name : str, optional
        What to call the dataset. Default: the folder's name.
    flip_safe : bool
        Whether a mirrored image keeps its label. Default True.

    Returns
    -------
    Dataset
        Images uint8, shape (n, height, width, 3), 0 to 255.

    Raises
    ------
    InvalidInputError
        If the folder is missing or laid out otherwise, a class is empty, too small for the splits or not
        among the training classes, or an image cannot be read; then all of these are named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from transferzoo.data.folder import from_directory
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for colour in ("green", "red"):
    ...         (Path(folder) / colour).mkdir()
    ...         for number in range(5):
    ...             Image.new("RGB", (40, 30), colour).save(Path(folder) / colour / f"{number}.png")
    ...     data = from_directory(folder, image_size=16, name="colours")
    >>> data
    <Dataset 'colours': 6 train, 2 validation, 2 test images of 16×16×3, 2 classes>
    >>> data.class_names
    ('green', 'red')
    """
    options = PhotoOptions(
        validation=validation,
        test=test,
        seed=seed,
        image_size=image_size,
        resize=resize,
        background=background,
        on_error=on_error,
        flip_safe=flip_safe,
    )
    wanted = class_order(class_names)
    folder = check_path("path", path, "a folder, as text or a Path")
    found = list_images(folder, layout=layout, class_names=wanted)
    names = tuple(found.splits["train"]) if wanted is None else wanted
    files = {
        split: [p for of_class in by_class.values() for p in of_class]
        for split, by_class in found.splits.items()
    }
    shown = {split: [p.relative_to(folder).as_posix() for p in paths] for split, paths in files.items()}
    data = dataset_from_files(
        files,
        {split: _labels(by_class, names) for split, by_class in found.splits.items()},
        names,
        options,
        shown=shown,
        groups=None
        if groups is None
        else {split: groups_by_pattern(groups, texts) for split, texts in shown.items()},
        name=printable(folder.resolve().name) if name is None else name,
        source=f"class folders in {printable(folder)}",
        left_out=found.left_out,
        argument="path",
        noun="a folder",
    )
    call = {
        "path": printable(folder.absolute()),
        **options.record(),
        "image_size": list(data.input_shape[:2]),
        "class_names": None if wanted is None else list(wanted),
        "layout": layout,
        **({} if groups is None else {"groups": groups}),
        "name": data.name,
    }
    return dataclasses.replace(data, calls=({"from_directory": call},))


def _labels(by_class: Mapping[str, Sequence[Path]], class_names: tuple[str, ...]) -> np.ndarray:
    order = [class_names.index(class_name) for class_name in by_class]
    return np.repeat(np.array(order, np.int64), [len(files) for files in by_class.values()])
