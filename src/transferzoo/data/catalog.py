"""The datasets that have a name: a table of records, and loading one by its name."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import logging
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.data.dataset import Dataset
from transferzoo.data.folder import from_directory
from transferzoo.data.splits import check_share
from transferzoo.data.table import from_table
from transferzoo.errors import (
    InvalidInputError,
    TransferZooError,
    UnknownNameError,
    invalid,
    printable,
    unknown_name,
    unknown_option,
)
from transferzoo.ground.arguments import check_seed
from transferzoo.ground.progress import Progress, check_progress
from transferzoo.ground.registry import Registry
from transferzoo.ground.storage.files import check_path

logger = logging.getLogger("transferzoo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """What is known of a dataset before it is loaded.

    Parameters
    ----------
    name : str
        Name to load it by.
    loader : str or callable
        ``"module:function"``, or the function: takes `validation` and `seed` as keywords, returns a Dataset.
    description : str
        One line.
    num_classes : int or None
        How many classes; None where only loading tells.
    image_shape : tuple of int or None
        Height, width and channels; None where only loading tells.
    source : str
        Who made it, and where it comes from.
    licence : str
        On what terms it may be used.
    """

    name: str
    loader: str | Callable[..., Dataset]
    description: str = ""
    num_classes: int | None = None
    image_shape: tuple[int, int, int] | None = None
    source: str = ""
    licence: str = ""


DATASETS: Registry[DatasetEntry] = Registry(
    "dataset",
    lambda record: isinstance(record, DatasetEntry),
    made_of=lambda name, found: DatasetEntry(name=name, loader=found) if callable(found) else found,
)

for _entry in (
    DatasetEntry(
        name="cifar10",
        loader="transferzoo.data.cifar:load_cifar10",
        description="60,000 photos of animals and vehicles, 50,000 for training and 10,000 for testing",
        num_classes=10,
        image_shape=(32, 32, 3),
        source="Krizhevsky (2009), https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by its author, who asks for the citation",
    ),
    DatasetEntry(
        name="cifar100",
        loader="transferzoo.data.cifar:load_cifar100",
        description="60,000 photos of a hundred kinds of things, 50,000 for training and 10,000 for testing",
        num_classes=100,
        image_shape=(32, 32, 3),
        source="Krizhevsky (2009), https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by its author, who asks for the citation",
    ),
    DatasetEntry(
        name="digits",
        loader="transferzoo.data.digits:load_digits",
        description="1,797 scans of handwritten digits, enlarged from 8×8; comes with scikit-learn",
        num_classes=10,
        image_shape=(32, 32, 3),
        source="Alpaydin and Kaynak (1998), UCI Machine Learning Repository, doi:10.24432/C50P49",
        licence="CC BY 4.0",
    ),
):
    DATASETS.register(_entry.name, _entry)


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of the datasets that can be loaded.

    Parameters
    ----------
    pattern : str
        Shell-style wildcard. Default ``"*"``, all.

    Returns
    -------
    list of str
        Sorted.

    Raises
    ------
    InvalidInputError
        If `pattern` is not a string.

    Examples
    --------
    >>> from transferzoo.data.catalog import list_datasets
    >>> list_datasets("cifar*")
    ['cifar10', 'cifar100']
    """
    return DATASETS.names(pattern)


def dataset_info(name: str) -> DatasetEntry:
    """What is known of a dataset, without loading it.

    Parameters
    ----------
    name : str
        A name that ``list_datasets`` gives.

    Returns
    -------
    DatasetEntry
        Its description, classes, image shape, source and licence.

    Raises
    ------
    UnknownNameError
        If there is no such dataset; with the nearest name.

    Examples
    --------
    >>> from transferzoo.data.catalog import dataset_info
    >>> dataset_info("digits").image_shape
    (32, 32, 3)
    """
    return DATASETS.get(name)


def register_dataset(
    name: str, loader: Callable[..., Dataset], *, description: str = "", replace: bool = False
) -> None:
    """Give a dataset of your own a name, to load it by as any other.

    Parameters
    ----------
    name : str
        A word without spaces, slashes and wildcards.
    loader : callable
        Takes `validation` and `seed` as keywords, and options of its own if it likes; returns a Dataset. With
        an option named `path`, ``load_dataset(name, path=…)`` reaches it too.
    description : str
        One line. Default empty.
    replace : bool
        Whether to take the place of a dataset of that name. Default False.

    Raises
    ------
    NameTakenError
        If the name is taken and `replace` is False.
    InvalidInputError
        If the name or the loader is not as above.

    Examples
    --------
    >>> from transferzoo.data.catalog import DATASETS, load_dataset, register_dataset
    >>> def load_few_digits(*, validation=0.2, seed=0, images=100):
    ...     return load_dataset("digits", validation=validation, seed=seed).subset(train=images)
    >>> register_dataset("few-digits", load_few_digits, replace=True)
    >>> load_dataset("few-digits", images=50)
    <Dataset 'few-digits': 50 train, 288 validation, 359 test images of 32×32×3, 10 classes>
    """
    accepted = "a callable that takes the keywords validation and seed and returns a Dataset"
    if not callable(loader):
        raise invalid("loader", accepted, loader)
    named, open_ended = _options(loader)
    missing = [option for option in ("validation", "seed") if option not in named]
    if missing and not open_ended:
        raise invalid("loader", accepted, loader, remedy=f"It does not take {' and '.join(missing)}.")
    entry = DatasetEntry(name=name, loader=loader, description=description)
    DATASETS.register(name, entry, replace=replace)


def load_dataset(
    name: str,
    *,
    validation: int | float = 0.2,
    seed: int = 0,
    path: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Dataset:
    """Load a dataset by its name.

    Parameters
    ----------
    name : str
        A name that ``list_datasets`` gives.
    validation : float or int
        Share of the training images that is set aside: a fraction above 0 and below 1, or a whole number of
        images. Default 0.2.
    seed : int
        Governs the validation split; the test set is the same for every seed. Default 0.
    path : str or Path, optional
        A file or folder to read it from, for the datasets that take one. Default: the cache, else a download.
    progress : Progress, optional
        Shows a download. Default: a bar if standard error is a terminal.
    **options
        What else the dataset's own loader takes.

    Returns
    -------
    Dataset
        Images and labels in three splits, under the name that was asked for.

    Raises
    ------
    UnknownNameError
        If there is no such dataset; with the nearest name.
    UnknownOptionError
        If the dataset's loader takes no such option.
    InvalidInputError
        If a value is not as above, or a folder, or the loader does not return a Dataset.
    DownloadError
        If the dataset has to be fetched and cannot be.

    Examples
    --------
    >>> from transferzoo.data.catalog import load_dataset
    >>> load_dataset("digits", validation=0.1, seed=1)
    <Dataset 'digits': 1294 train, 144 validation, 359 test images of 32×32×3, 10 classes>
    """
    if isinstance(name, str | Path) and name not in DATASETS and Path(name).is_dir():
        raise invalid("name", "a dataset's name", name, remedy=f"tz.from_directory({str(name)!r}) reads it.")
    entry = DATASETS.get(name)
    check_share("validation", validation)
    seed = check_seed(seed)
    loader = _resolve(entry.loader)
    named, open_ended = _options(loader)
    if path is not None:
        if "path" not in named and not open_ended:
            raise invalid("path", f"left out for '{name}', which is not read from a file", str(path))
        options["path"] = path
    for option in options:
        if option not in named and not open_ended:
            raise unknown_option(
                f"load_dataset('{name}')", option, [each for each in named if each != "progress"]
            )
    check_progress(progress)
    shown = {"progress": progress} if "progress" in named else {}
    try:
        data = loader(validation=validation, seed=seed, **shown, **options)
    except (TransferZooError, MemoryError):
        raise
    except Exception as error:
        # a stranger's loader may raise anything
        raise InvalidInputError(
            f"The loader of dataset '{name}' failed: {type(error).__name__}: {printable(error)}",
            argument="name",
            value=name,
        ) from error
    if not isinstance(data, Dataset):
        raise invalid(
            f"The loader of '{name}'",
            "a function that returns a Dataset",
            data,
            remedy="Build one with from_arrays.",
        )
    call = {"name": name, "validation": validation, "seed": seed, **options}
    if path is not None:
        call["path"] = str(check_path("path", path).absolute())
    return dataclasses.replace(data, name=name, calls=({"load_dataset": call},))


def resolve_data(data: Any, *, seed: int, progress: Progress | None = None) -> Dataset:
    """Return the dataset that an argument `data` stands for.

    Parameters
    ----------
    data : str, Path or Dataset
        A dataset's name, else a folder of photos, or a dataset. A name goes before a folder of that name, and
        a warning says so; ``"./name"`` is the folder.
    seed : int
        Of the split that is made.
    progress : Progress, optional
        Shows a download.

    Raises
    ------
    UnknownNameError
        If there is neither such a dataset nor such a folder.
    InvalidInputError
        If `data` is none of these.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str) and data in DATASETS:
        if Path(data).is_dir():
            logger.warning(
                "'%s' is taken as the dataset of that name, not as the folder '%s' here; "
                "write './%s' for the folder",
                *(data, data, data),
            )
        return load_dataset(data, seed=seed, progress=progress)
    if isinstance(data, str | Path):
        folder = check_path("data", data)
        if folder.is_dir():
            logger.info("reading the folder '%s'", printable(folder))
            return from_directory(folder, seed=seed)
        if isinstance(data, Path) or "/" in data or "\\" in data:
            raise invalid("data", "a dataset's name, an existing folder, or a Dataset", str(data))
        error = unknown_name("dataset", data, DATASETS.names(), "tz.list_datasets()")
        raise UnknownNameError(
            f"{error} Nor is there a folder of that name here.",
            argument="data",
            value=data,
            accepted=error.accepted,
            suggestion=error.suggestion,
        )
    raise invalid(
        "data",
        "a dataset's name, a folder of photos, or what tz.load_dataset or tz.from_arrays returned",
        data if isinstance(data, int | float) else type(data).__name__,
        remedy="tz.from_arrays(x, y) makes a dataset from arrays."
        if isinstance(data, tuple | list | np.ndarray)
        else "",
    )


def repeat_calls(calls: Iterable[Mapping[str, Any]]) -> Dataset:
    """Load a dataset again by the calls on its record (`Dataset.calls`).

    Raises
    ------
    InvalidInputError
        If there are none, or one that is not known.
    TransferZooError
        As the calls themselves raise: a folder may have moved.
    """
    data = None
    for call in calls:
        for function, arguments in call.items():
            if function == "load_dataset":
                data = load_dataset(**arguments)
            elif function == "from_directory":
                data = from_directory(**arguments)
            elif function == "from_table":
                data = from_table(**arguments)
            elif function == "subset" and data is not None:
                data = data.subset(**arguments)
            elif function == "folds" and data is not None:
                data = _fold(data, **arguments)
            else:
                raise invalid(
                    "calls", "made of load_dataset, from_directory, from_table, subset and folds", function
                )
    if data is None:
        raise invalid("calls", "one or more calls", [], remedy="Datasets from arrays have none.")
    return data


def _fold(data: Dataset, *, folds: int, fold: int, validation: int | float, seed: int) -> Dataset:
    """Return one of a dataset's folds."""
    return next(itertools.islice(data.folds(folds, validation=validation, seed=seed), fold, None))


def _resolve(loader: str | Callable[..., Dataset]) -> Callable[..., Dataset]:
    if callable(loader):
        return loader
    resolved: Callable[..., Dataset] = pkgutil.resolve_name(loader)
    return resolved


def _options(loader: Callable[..., Dataset]) -> tuple[list[str], bool]:
    """Return the keywords that a loader names, and whether it takes any other."""
    parameters = inspect.signature(loader).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)
