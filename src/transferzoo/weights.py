"""Weights files: what is here, and how to bring them to a machine without a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.hub import PREFIX
from transferzoo.backbones.weight_bundles import pack, unpack
from transferzoo.backbones.weight_files import (
    checked_sha256,
    file_at_hand,
    imported_files,
    imported_name,
    is_imported,
    is_published,
    known_file,
    models_folder,
    remember,
    remember_import,
)
from transferzoo.errors import OutputExistsError, TransferZooError, WeightsError, invalid
from transferzoo.ground.arguments import check_flag, check_sequence
from transferzoo.ground.progress import Progress, check_progress
from transferzoo.ground.storage.files import check_path, file_hash, written_beside

SHIPPED = "shipped"


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """One backbone's weights of one name, and whether their file is on this machine.

    Parameters
    ----------
    backbone, weights : str
        As `build` takes them.
    file : str
        The file's name, in ``$KERAS_HOME/models`` or in the library.
    here : bool
        Whether it is there.
    imported : bool
        Whether it came from `import_file`, and not from its publisher.
    size : int or None
        Bytes; None where it is not here.
    checked_by : str or None
        ``"published hash"``, ``"first use"`` (no hash is published), ``"import"``, or ``"shipped"`` for a
        file that is part of the library; None before that.
    licence : str
        Its terms.
    """

    backbone: str
    weights: str
    file: str
    here: bool
    imported: bool
    size: int | None
    checked_by: str | None
    licence: str


@dataclass(frozen=True, kw_only=True)
class WeightsCheck:
    """What `verify` found of one file.

    Parameters
    ----------
    backbone, weights : str
        As `build` takes them.
    ok : bool
        Whether the file is what it should be, and the network computes what it did.
    checked_by : str
        What the file was held against: ``"published hash"``, ``"first use"``, ``"import"`` or ``"shipped"``.
    difference : float or None
        Largest difference from the recorded features, as a share of the largest; None where they were not
        compared.
    problem : str
        What is wrong; empty where nothing is.
    """

    backbone: str
    weights: str
    ok: bool
    checked_by: str
    difference: float | None
    problem: str


def status(pattern: str = "*") -> list[WeightsFile]:
    """Weights that backbones have, and which are on this machine; needs no Keras.

    Parameters
    ----------
    pattern : str, default "*"
        Backbones, with shell-style wildcards.

    Returns
    -------
    list of WeightsFile
        By backbone.

    Examples
    --------
    >>> [each.file for each in status("vgg16")]
    ['vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5']
    """
    found = []
    for name in BACKBONES.names(pattern):
        record = BACKBONES.get(name)
        named = [*(each.name for each in record.weights), *imported_files().get(name, {})]
        for weights in dict.fromkeys(named):
            found.append(_describe(record, weights))
    return found


def _describe(record: Backbone, weights: str) -> WeightsFile:
    published = record.published_weights(weights)
    path = file_at_hand(record, weights)
    known = known_file(path) if path is not None else None
    imported = is_imported(record, weights)
    shipped = published is not None and published.shipped and not imported
    return WeightsFile(
        backbone=record.name,
        weights=weights,
        file=path.name if path is not None else (published.file if published else ""),
        here=path is not None,
        imported=imported,
        size=path.stat().st_size if path is not None else None,
        checked_by=SHIPPED if shipped else (known.checked_by if known is not None else None),
        licence=published.licence if published is not None and not imported else "unknown",
    )


def fetch(
    names: str | Iterable[str], *, weights: str = "imagenet", progress: Progress | None = None
) -> list[Path]:
    """Download published weights, unless they are here, and check them.

    Parameters
    ----------
    names : str or iterable of str
        Backbones.
    weights : str, default "imagenet"
        Which of their weights.
    progress : Progress, optional
        Shows the downloads.

    Returns
    -------
    list of Path
        The files, in ``$KERAS_HOME/models``.

    Raises
    ------
    DownloadError
        If a file cannot be had; the message says how to place it by hand.
    WeightsError
        If a backbone has no such weights, or a file is not the published one.

    Examples
    --------
    >>> fetch([])
    []
    """
    from transferzoo.backbones.weights import locate_weights

    check_progress(progress)
    records = [_with_weights(name, weights) for name in _names(names)]
    paths = (locate_weights(record, weights, progress=progress) for record in records)
    return [path for path in paths if path is not None]


def verify(names: str | Iterable[str] | None = None, *, activations: bool = True) -> list[WeightsCheck]:
    """Check weights files again, and that their networks compute what is on record.

    Each file is hashed, and held against its published hash, or against what it was at its first use. Then
    the features of one fixed image are held against those that were recorded, with the library or the first
    time that this was called here. They may differ by a thousandth of the largest: from one backend to
    another they do so by less than a hundredth of that.

    Parameters
    ----------
    names : str or iterable of str, optional
        Backbones; by default all whose weights are here.
    activations : bool, default True
        Whether to compute features; it loads Keras, and takes a second or more for each.

    Returns
    -------
    list of WeightsCheck

    Raises
    ------
    WeightsError
        If the weights of a backbone that is named are not here.

    Examples
    --------
    >>> verify([])
    []
    """
    check_flag("activations", activations)
    if names is None:
        chosen = [each for each in status() if each.here]
    else:
        asked = _names(names)
        chosen = [each for name in asked for each in status(BACKBONES.get(name).name) if each.here]
        for name in asked:
            if name not in {each.backbone for each in chosen}:
                raise WeightsError(
                    f"No weights of '{name}' are in '{models_folder()}'. "
                    f"tz.weights.fetch('{name}') gets them.",
                    argument="names",
                    value=name,
                )
    return [_verified(each, activations) for each in chosen]


def _verified(each: WeightsFile, activations: bool) -> WeightsCheck:
    record = BACKBONES.get(each.backbone)
    path = file_at_hand(record, each.weights) or models_folder() / each.file
    difference, problem = None, ""
    try:
        sha256 = checked_sha256(path, record.published_weights(each.weights), again=True)
        if activations:
            from transferzoo.models.activations import check_activations

            check = check_activations(record, each.weights, path, sha256)
            difference = check.difference
            if not check.ok:
                problem = (
                    f"its features differ by {check.difference:.2g} from those recorded {check.recorded}"
                )
    except TransferZooError as error:
        problem = str(error)
    known = known_file(path)
    return WeightsCheck(
        backbone=each.backbone,
        weights=each.weights,
        ok=not problem,
        checked_by=SHIPPED if each.checked_by == SHIPPED else (known.checked_by if known else "nothing"),
        difference=difference,
        problem=problem,
    )


def bundle(
    names: str | Iterable[str],
    out: str | Path,
    *,
    weights: str = "imagenet",
    progress: Progress | None = None,
) -> Path:
    """Pack weights files into one, for a machine without a network; those that are not here are fetched.

    Parameters
    ----------
    names : str or iterable of str
        Backbones.
    out : str or Path
        The file to write, a ``.tar``. Nothing is overwritten.
    weights : str, default "imagenet"
        Which of their weights.
    progress : Progress, optional
        Shows the downloads.

    Returns
    -------
    Path
        `out`. ``transferzoo weights import FILE`` unpacks it.

    Raises
    ------
    OutputExistsError
        If `out` exists.
    DownloadError, WeightsError
        As from `fetch`.
    """
    path = check_path("out", out)
    if path.suffix != ".tar":
        raise invalid("out", "a file that ends in .tar", str(out))
    if path.exists():
        raise OutputExistsError(
            f"'{path}' exists; nothing in it was touched. Choose another name.",
            argument="out",
            value=str(path),
        )
    asked = _names(names)
    if not asked:
        raise invalid("names", "one or more backbones' names", asked)
    files = fetch(asked, weights=weights, progress=progress)
    pack([(BACKBONES.get(name), weights, file) for name, file in zip(asked, files, strict=True)], path)
    return path


def import_file(path: str | Path, name: str | None = None, *, weights: str = "imagenet") -> list[WeightsFile]:
    """Take in a weights file under a backbone's name, or a bundle.

    A weights file is loaded into the backbone's network first. It is then copied to ``$KERAS_HOME/models``
    with its hash on record, and ``build(name, weights="imagenet")`` uses it from then on; runs record that
    hash.

    Parameters
    ----------
    path : str or Path
        A weights file as `build` takes it, or a ``.tar`` from `bundle`.
    name : str, optional
        The backbone; left out for a bundle, which names its own.
    weights : str, default "imagenet"
        What `build` shall call them.

    Returns
    -------
    list of WeightsFile
        What is here now.

    Raises
    ------
    WeightsError
        If the file is damaged, or of another network; or a file in the bundle is not what it says.
    """
    source = check_path("path", path)
    if not isinstance(weights, str) or not re.fullmatch(r"[\w.-]+", weights):
        raise invalid("weights", "a name of letters, digits, '_', '-' and '.', such as 'imagenet'", weights)
    if not source.is_file():
        raise WeightsError(f"'{source}' is no file.", argument="path", value=str(source))
    if source.suffix == ".tar":
        if name is not None:
            raise invalid("name", "left out for a bundle, which names its backbones", name)
        return [_describe(BACKBONES.get(name), weights) for name, weights in unpack(source)]
    if name is None:
        raise invalid("name", "the backbone that the file is of", name)
    record = BACKBONES.get(name)
    if record.name.startswith(PREFIX):
        raise invalid("name", "one of the backbones listed; KerasHub keeps its own files", name)
    _check_loads(record, source)
    sha256 = file_hash(source)
    published = record.published_weights(weights)
    ending = ".weights.h5" if source.name.endswith(".weights.h5") else source.suffix
    if published is not None and published.hash is not None and is_published(source, sha256, published.hash):
        target, how = models_folder() / published.file, "published hash"
    else:
        target, how = (
            models_folder() / f"{imported_name(record, weights)}{ending.removeprefix('.')}",
            "import",
        )
    with written_beside(target) as part:
        shutil.copyfile(source, part)
    remember(target, sha256, how)
    if how == "import":
        remember_import(record, weights, target)
    return [_describe(record, weights)]


def _check_loads(record: Backbone, path: Path) -> None:
    from transferzoo.backbones.weight_formats import load_weights
    from transferzoo.backbones.weights import check_weights
    from transferzoo.models.plan import build_network

    check_weights(record, path)
    side = max(record.minimum_size, record.default_size)
    load_weights(build_network(record, (side, side)), path, record)


def _names(names: Any) -> list[str]:
    if isinstance(names, str):
        names = [names]
    given = check_sequence("names", "backbones' names", names)
    return [BACKBONES.get(name).name for name in given]


def _with_weights(name: str, weights: Any) -> Backbone:
    record = BACKBONES.get(name)
    known = [*(each.name for each in record.weights), *imported_files().get(name, {})]
    if weights not in known:
        raise WeightsError(
            f"weights must be {' or '.join(map(repr, known)) or 'nothing'} for '{name}'. Got {weights!r}."
            + ("" if known else " It has no published weights."),
            argument="weights",
            value=str(weights),
        )
    return record
