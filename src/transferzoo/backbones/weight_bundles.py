"""One file with the weights of several backbones, for a machine without a network."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferzoo.backbones.backbone import Backbone
from transferzoo.backbones.catalog import BACKBONES
from transferzoo.backbones.weight_files import (
    imported_name,
    is_imported,
    is_published,
    models_folder,
    remember,
    remember_import,
)
from transferzoo.errors import OutputExistsError, WeightsError
from transferzoo.ground.storage.files import file_hash, written_beside

MANIFEST = "transferzoo-weights.json"


def pack(chosen: Sequence[tuple[Backbone, str, Path]], path: Path) -> None:
    """Write a bundle of weights files: of each its backbone, the name of the weights, and the file."""
    listed = [
        {
            "backbone": record.name,
            "weights": weights,
            "file": file.name,
            "sha256": file_hash(file),
            "imported": is_imported(record, weights),
        }
        for record, weights, file in chosen
    ]
    with written_beside(path) as part, tarfile.open(part, "w") as packed:
        manifest = part.with_suffix(".json")
        try:
            manifest.write_text(json.dumps({"version": 1, "files": listed}, indent=1), encoding="utf-8")
            packed.add(manifest, MANIFEST)
            for _, _, file in chosen:
                # a link is packed as what it leads to
                packed.add(file.resolve(), file.name)
        finally:
            manifest.unlink(missing_ok=True)


def unpack(source: Path) -> list[tuple[str, str]]:
    """Take weights files out of a bundle into the folder of weights; return their backbones and names."""
    try:
        with tarfile.open(source, "r:") as packed:
            listed = _manifest(packed, source)
            for each in listed:
                _take_out(packed, each, source)
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise _damaged(source, str(error).strip("'\"")) from error
    return [(each["backbone"], each["weights"]) for each in listed]


def _manifest(packed: tarfile.TarFile, source: Path) -> list[dict[str, Any]]:
    try:
        stream = packed.extractfile(MANIFEST)
        assert stream is not None
        listed = json.loads(stream.read(1 << 20))["files"]
        fields = {"backbone": str, "weights": str, "file": str, "sha256": str, "imported": bool}
        for each in listed:
            for field, kind in fields.items():
                if not isinstance(each[field], kind):
                    raise ValueError(f"{field} is {each[field]!r}")
            if Path(each["file"]).name != each["file"] or each["file"].startswith("."):
                raise ValueError(f"{each['file']!r} is no plain file name")
    except (KeyError, ValueError, TypeError, AssertionError, RecursionError) as error:
        raise _damaged(source, f"it holds no list of weights ({error})") from error
    for each in listed:
        BACKBONES.get(each["backbone"])
    return list(listed)


def _take_out(packed: tarfile.TarFile, each: dict[str, Any], source: Path) -> None:
    """Write one file of a bundle to the folder of weights, unless it is there."""
    record = BACKBONES.get(each["backbone"])
    target = models_folder() / each["file"]
    published = record.published_weights(each["weights"])
    if not each["imported"] and (published is None or published.file != each["file"]):
        raise _damaged(source, f"'{each['file']}' is no file of '{record.name}'")
    # an imported file may not take the name of one that another backbone's publisher answers for
    if each["imported"] and not each["file"].startswith(imported_name(record, each["weights"])):
        raise _damaged(source, f"'{each['file']}' is no name of an imported file of '{record.name}'")
    hash_known = published.hash if published is not None and not each["imported"] else None
    if target.exists() and file_hash(target) != each["sha256"]:
        raise OutputExistsError(
            f"'{target}' is another file than that of the bundle; nothing was touched. Move it away first.",
            argument="path",
            value=str(target),
        )
    if not target.exists():
        member = packed.getmember(each["file"])
        stream = packed.extractfile(member) if member.isfile() else None
        if stream is None:
            raise _damaged(source, f"'{each['file']}' is no file in it")
        with written_beside(target) as part:
            with part.open("wb") as written:
                shutil.copyfileobj(stream, written)
            if file_hash(part) != each["sha256"]:
                raise _damaged(source, f"'{each['file']}' has another sha256 than it says")
            # what a bundle says of itself proves nothing
            if hash_known and not is_published(part, each["sha256"], hash_known):
                raise _damaged(source, f"'{each['file']}' is not the published file")
    how = "import" if each["imported"] else ("published hash" if hash_known else "first use")
    remember(target, each["sha256"], how)
    if each["imported"]:
        remember_import(record, each["weights"], target)


def _damaged(source: Path, why: str) -> WeightsError:
    return WeightsError(f"The bundle '{source}' cannot be used: {why}.", argument="path", value=str(source))
