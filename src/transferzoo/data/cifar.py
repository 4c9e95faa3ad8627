"""CIFAR-10 and CIFAR-100 from a cache, a file, a folder or the network, always as the same arrays."""

from __future__ import annotations

import dataclasses
import io
import logging
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np

from transferzoo.data.arrays import from_arrays
from transferzoo.data.batchfile import SIDE, damaged, read_batch
from transferzoo.data.dataset import Dataset
from transferzoo.data.folder_listing import check_class_names, list_images
from transferzoo.data.photos import tally_sizes
from transferzoo.data.reading import read_images
from transferzoo.data.splits import check_share
from transferzoo.errors import InvalidInputError, invalid, listing
from transferzoo.ground.arguments import check_seed
from transferzoo.ground.progress import Progress
from transferzoo.ground.storage import files
from transferzoo.ground.storage.downloads import download
from transferzoo.ground.storage.files import check_path

KEYS = ("x_train", "y_train", "x_test", "y_test")
# The largest batch, CIFAR-100's training set, has 155 MB: more than this is something else.
LARGEST_MEMBER = 400 * 2**20
CHUNK = 1 << 20

logger = logging.getLogger("transferzoo")

CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
    lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal
    shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
    telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CifarSource:
    """Where one of the two sets is published, and how its archive is laid out."""

    name: str
    title: str
    url: str
    sha256: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_key: str
    class_names: tuple[str, ...]

    @property
    def archive(self) -> str:
        """Name of the published archive."""
        return self.url.rpartition("/")[2]


SOURCES = {
    "cifar10": CifarSource(
        name="cifar10",
        title="CIFAR-10",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test=("test_batch",),
        label_key="labels",
        class_names=tuple(CIFAR10_NAMES.split()),
    ),
    "cifar100": CifarSource(
        name="cifar100",
        title="CIFAR-100",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        folder="cifar-100-python",
        train=("train",),
        test=("test",),
        label_key="fine_labels",
        class_names=tuple(CIFAR100_NAMES.split()),
    ),
}


def load_cifar10(
    *,
    path: str | Path | None = None,
    validation: int | float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Load CIFAR-10: 60,000 photos of 32×32 pixels in ten classes.

    Without `path` the cache folder (``$KERAS_HOME/datasets``, else ``~/.keras/datasets``) is searched for
    ``cifar10.npz``, then for the published archive or its extracted folder, also as Keras leaves them.
    Failing these the archive, 170 MB, is downloaded and verified. What is found is kept as ``cifar10.npz``,
    so that the next call takes a second.

    The test set is the published one of 10,000 images; validation images are split off the 50,000 for
    training.

    Parameters
    ----------
    path : str or Path, optional
        Where the images are: an ``.npz`` with ``x_train``, ``y_train``, ``x_test`` and ``y_test``; the
        published ``cifar-10-python.tar.gz``; its extracted folder; or class folders in ``train`` and
        ``test``, named as the classes are. Nothing is written there.
    validation : float or int
        Share of the training images that is set aside: a fraction above 0 and below 1, or a whole number of
        images. Default 0.2.
    seed : int
        Governs the validation split. Default 0.
    progress : Progress, optional
        Shows the download. Default: a bar if standard error is a terminal.

    Returns
    -------
    Dataset
        Images uint8, shape (n, 32, 32, 3), 0 to 255, in the order of the source.

    Raises
    ------
    InvalidInputError
        If a file or folder is damaged, of another kind, or holds more than plain arrays.
    DownloadError
        If the archive cannot be fetched; the message says how to place it by hand.

    References
    ----------
    Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.

    Examples
    --------
    >>> from transferzoo.data.cifar import load_cifar10
    >>> data = load_cifar10(validation=5000)  # doctest: +SKIP
    >>> data  # doctest: +SKIP
    <Dataset 'cifar10': 45000 train, 5000 validation, 10000 test images of 32×32×3, 10 classes>
    """
    return _load(SOURCES["cifar10"], path, validation, seed, progress)


def load_cifar100(
    *,
    path: str | Path | None = None,
    validation: int | float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Load CIFAR-100: 60,000 photos of 32×32 pixels in a hundred classes, the fine labels.

    Found, downloaded and kept as :func:`load_cifar10` does it, under ``cifar100.npz``.

    Parameters
    ----------
    path : str or Path, optional
        Where the images are: an ``.npz``, the published ``cifar-100-python.tar.gz``, its extracted folder, or
        class folders in ``train`` and ``test``. Nothing is written there.
    validation : float or int
        Share of the training images that is set aside: a fraction above 0 and below 1, or a whole number of
        images, at least 100. Default 0.2.
    seed : int
        Governs the validation split. Default 0.
    progress : Progress, optional
        Shows the download. Default: a bar if standard error is a terminal.

    Returns
    -------
    Dataset
        Images uint8, shape (n, 32, 32, 3), 0 to 255, in the order of the source.

    Raises
    ------
    InvalidInputError
        If a file or folder is damaged, of another kind, or holds more than plain arrays.
    DownloadError
        If the archive cannot be fetched; the message says how to place it by hand.

    References
    ----------
    Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.

    Examples
    --------
    >>> from transferzoo.data.cifar import load_cifar100
    >>> load_cifar100().num_classes  # doctest: +SKIP
    100
    """
    return _load(SOURCES["cifar100"], path, validation, seed, progress)


def _load(
    source: CifarSource,
    path: str | Path | None,
    validation: int | float,
    seed: int,
    progress: Progress | None,
) -> Dataset:
    # Before a download that takes minutes.
    check_share("validation", validation)
    check_seed(seed)
    if path is None:
        arrays, origin = _from_cache(source, progress)
    else:
        place = check_path("path", path)
        arrays, origin = _from_path(source, place), str(place)
    return from_arrays(
        *(arrays[key] for key in KEYS),
        class_names=source.class_names,
        validation=validation,
        seed=seed,
        name=source.name,
        source=f"{source.title}, from {origin}",
    )


def _from_cache(source: CifarSource, progress: Progress | None) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays and where they were found; the kept npz is made if there is none."""
    folder = files.cache_folder() / "datasets"
    kept = folder / f"{source.name}.npz"
    if kept.is_file():
        _check_sidecar(kept)
        return _read_npz(source, kept), str(kept)
    found = _find_original(source, folder)
    if found is not None:
        arrays = _from_path(source, found)
        try:
            _keep(kept, arrays)
        except OSError as error:
            # A cache that cannot be written to is slower, not wrong.
            logger.info("could not keep %s: %s", kept, error)
        return arrays, str(found)
    archive = download(
        source.url,
        folder / source.archive,
        f"sha256:{source.sha256}",
        what=source.title,
        progress=progress,
    )
    try:
        arrays = _read_archive(source, archive)
    except FileNotFoundError:
        # Another process, downloading at the same time, was done first and has removed the archive.
        return _read_npz(source, kept), source.url
    _keep(kept, arrays)
    archive.unlink(missing_ok=True)
    return arrays, source.url


def _find_original(source: CifarSource, folder: Path) -> Path | None:
    """Return the published archive or its extracted folder, where a person or Keras may have put it."""
    # Keras 3 extracts to NAME-target, beside NAME-target_archive; Keras 2 kept NAME.tar.gz.
    target = "cifar-10-batches-py-target" if source.name == "cifar10" else "cifar-100-python-target"
    for candidate in (
        folder / source.archive,
        folder / f"{target}_archive",
        folder / f"{source.folder}.tar.gz",
    ):
        if candidate.is_file():
            return candidate
    for candidate in (folder / source.folder, folder / target / source.folder):
        if _holds_batches(source, candidate):
            return candidate
    return None


def _holds_batches(source: CifarSource, folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*source.train, *source.test))


def _from_path(source: CifarSource, path: Path) -> dict[str, np.ndarray]:
    accepted = (
        f"a {source.name}.npz, the archive {source.archive}, its extracted folder, "
        "or a folder with train/ and test/ class folders"
    )
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return _read_npz(source, path)
        if path.name.endswith((".tar.gz", ".tgz", ".tar", "_archive")) or tarfile.is_tarfile(path):
            return _read_archive(source, path)
        raise invalid("path", accepted, str(path))
    if not path.is_dir():
        raise invalid("path", accepted, str(path), remedy="It does not exist.")
    for folder in (path, path / source.folder):
        if _holds_batches(source, folder):
            return _read_batches(source, folder)
    for inner in (path / f"{source.name}.npz", path / source.archive):
        if inner.is_file():
            return _from_path(source, inner)
    if (path / "train").is_dir():
        return _read_class_folders(source, path)
    raise invalid("path", accepted, str(path), remedy="That folder holds none of them.")


def _keep(kept: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the npz, and its digest in the form that ``sha256sum --check`` reads."""
    with files.written_beside(kept) as part:
        np.savez(part, **arrays)  # type: ignore[arg-type]
        digest = files.file_hash(part)
    with files.written_beside(_sidecar(kept)) as part:
        part.write_text(f"{digest}  {kept.name}\n", encoding="ascii")


def _sidecar(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")


def _check_sidecar(kept: Path) -> None:
    sidecar = _sidecar(kept)
    if not sidecar.is_file():
        return
    noted = sidecar.read_text(encoding="utf-8", errors="replace").split()
    digest = files.file_hash(kept)
    if noted[:1] != [digest]:
        raise InvalidInputError(
            f"{kept} is not the file that was written there: its SHA-256 is {digest}, and {sidecar.name} "
            f"says {noted[0] if noted else 'nothing'}. Delete {kept} and {sidecar} to have it made again; "
            f"if you put another file there on purpose, delete {sidecar.name} alone.",
            argument="path",
            value=str(kept),
        )


def _check_arrays(
    source: CifarSource, arrays: dict[str, np.ndarray], path: Path | str
) -> dict[str, np.ndarray]:
    """Return arrays as uint8 images and int64 labels, or raise with the file that holds something else."""
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.shape[1:] != (SIDE, SIDE, 3) or not len(x):
            raise damaged(path, f"x_{split} is {x.dtype} of shape {x.shape}, not uint8 of (n, 32, 32, 3)")
        if y.dtype.kind not in "iu" or y.shape not in ((len(x),), (len(x), 1)):
            raise damaged(path, f"y_{split} is {y.dtype} of shape {y.shape}, not {len(x)} whole numbers")
        if y.min() < 0 or y.max() >= len(source.class_names):
            raise damaged(
                path,
                f"its labels go from {y.min()} to {y.max()}, and {source.title} has "
                f"{len(source.class_names)} classes",
            )
        arrays[f"y_{split}"] = y.reshape(-1).astype(np.int64, copy=False)
    return arrays


def _read_npz(source: CifarSource, path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            missing = [key for key in KEYS if key not in stored]
            arrays = {} if missing else {key: stored[key] for key in KEYS}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    if missing:
        raise damaged(path, f"it lacks {listing(missing)} of {listing(KEYS)}")
    return _check_arrays(source, arrays, path)


def _read_archive(source: CifarSource, path: Path) -> dict[str, np.ndarray]:
    """Read the batches inside a tar archive, in memory: nothing in it is written to disk."""
    if path.name == source.archive and (found := files.file_hash(path)) != source.sha256:
        logger.warning(
            "%s is not the published file: its SHA-256 is %s. What it holds is taken as it is", path, found
        )
    wanted = {(source.folder, name) for name in (*source.train, *source.test)}
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            # To the end, and not only to the last batch: a truncated archive shows itself there.
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if not member.isfile() or tuple(parts[-2:]) not in wanted:
                    continue
                if member.size > LARGEST_MEMBER:
                    raise damaged(path, f"its member {member.name} has {member.size:,} bytes")
                stream = archive.extractfile(member)
                assert stream is not None
                # Read whole first, so that an error of the archive is told from one of the pickle.
                content = io.BytesIO(stream.read())
                batches[parts[-1]] = read_batch(content, source.label_key, f"{path} ({member.name})")
            # gzip compares its checksum at the very end, behind what tar reads
            while archive.fileobj is not None and archive.fileobj.read(CHUNK):
                pass
    except (FileNotFoundError, InvalidInputError):
        raise
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    return _join(source, batches, path)


def _read_batches(source: CifarSource, folder: Path) -> dict[str, np.ndarray]:
    batches = {}
    for name in (*source.train, *source.test):
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                batches[name] = read_batch(stream, source.label_key, folder / name)
    return _join(source, batches, folder)


def _join(
    source: CifarSource, batches: dict[str, tuple[np.ndarray, np.ndarray]], path: Path
) -> dict[str, np.ndarray]:
    missing = [name for name in (*source.train, *source.test) if name not in batches]
    if missing:
        raise damaged(path, f"it lacks {listing(f'{source.folder}/{name}' for name in missing)}")
    arrays = {}
    for split, names in (("train", source.train), ("test", source.test)):
        arrays[f"x_{split}"] = np.concatenate([batches[name][0] for name in names])
        arrays[f"y_{split}"] = np.concatenate([batches[name][1] for name in names])
    return _check_arrays(source, arrays, path)


def _read_class_folders(source: CifarSource, path: Path) -> dict[str, np.ndarray]:
    listed = list_images(path, layout="splits").splits
    if "test" not in listed:
        raise invalid("path", "a folder with train/ and test/", str(path), remedy="It has no test/.")
    arrays = {}
    for split in ("train", "test"):
        check_class_names(list(listed[split]), source.class_names, "path", path / split)
        # The published order of classes, which happens to be alphabetical.
        by_class = [listed[split][name] for name in source.class_names]
        paths = [image for images in by_class for image in images]
        sizes = tally_sizes(paths)
        if set(sizes) != {(SIDE, SIDE)}:
            other = next((size for size in sizes if size not in (None, (SIDE, SIDE))), None)
            raise invalid(
                "path",
                f"a folder of {source.title}'s images, each of 32×32 pixels",
                f"{other[0]}×{other[1]}" if other else "larger images, or none that can be read",
                remedy=f"They are in {path / split}; load other images with from_directory.",
            )
        arrays[f"x_{split}"] = read_images(paths, (SIDE, SIDE))
        arrays[f"y_{split}"] = np.repeat(np.arange(len(by_class)), [len(images) for images in by_class])
    return _check_arrays(source, arrays, path)
