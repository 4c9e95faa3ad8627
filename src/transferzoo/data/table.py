"""Photos listed in a table: a CSV file, a DataFrame, or records, with a path and a label in each row."""

from __future__ import annotations

import csv
import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferzoo.data.checking import class_order, normal_name
from transferzoo.data.dataset import Dataset
from transferzoo.data.folder_listing import SPLIT_FOLDERS
from transferzoo.data.photos import PhotoOptions, dataset_from_files
from transferzoo.errors import InvalidInputError, invalid, listing, printable
from transferzoo.ground.storage.files import check_path

logger = logging.getLogger("transferzoo")

TABLE = "a CSV file, a DataFrame, a list of records, or a mapping of columns"
SHOWN = 5


def from_table(
    table: Any,
    *,
    image: str = "image",
    label: str = "label",
    split: str | None = None,
    root: str | Path | None = None,
    validation: int | float = 0.2,
    test: int | float = 0.2,
    groups: str | None = None,
    seed: int = 0,
    image_size: int | tuple[int, int] | None = None,
    resize: str = "crop",
    background: str | tuple[int, int, int] = "white",
    class_names: Iterable[str] | Mapping[Any, Any] | None = None,
    on_error: str = "raise",
    name: str | None = None,
    flip_safe: bool = True,
) -> Dataset:
    """Read photos whose paths and labels are columns of a table.

    Parameters
    ----------
    table : path, DataFrame, list of mappings, or mapping of columns
        A CSV or TSV file with a header (commas, semicolons or tabs; UTF-8), a pandas or polars DataFrame,
        records such as ``[{"image": "1.jpg", "label": "cat"}, …]``, or ``{"image": […], "label": […]}``.
    image, label : str
        Names of the columns with the files' paths, and with the labels: names, or whole numbers, which are
        names too. Default ``"image"`` and ``"label"``.
    split : str, optional
        Name of a column that says ``train``, ``validation`` (or ``val``, ``valid``) or ``test``. What it does
        not give is split off. Default: all rows are split.
    root : str or Path, optional
        Folder that relative paths begin at. Default: the folder of the CSV file, else the current one.
    groups : str, optional
        Name of a column that says what each image belongs to: a patient, a video, a place. No group is
        divided between splits. Default: every image is by itself.
    validation, test, seed, image_size, resize, background, on_error, flip_safe
        As `from_directory` takes them.
    class_names : list of str, or mapping, optional
        The labels, in label order; rows with other labels are left out, and counted. Labels that are numbers
        from 0 on are named by it instead: ``["cat", "dog"]``, or ``{0: "cat", 1: "dog"}``. Default: all
        labels, sorted by number if all are numbers, else by code points.
    name : str, optional
        What to call the dataset. Default: the file's name, or ``"table"``.

    Returns
    -------
    Dataset
        Images uint8, shape (n, height, width, 3), 0 to 255, in the order of the rows.

    Raises
    ------
    InvalidInputError
        If the table, a column, a label or a split is not as above, one file has two labels, or a file cannot
        be read; then all of these are named.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from transferzoo.data.table import from_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = []
    ...     for number in range(10):
    ...         colour = ("green", "red")[number % 2]
    ...         Image.new("RGB", (40, 30), colour).save(Path(folder) / f"{number}.png")
    ...         rows.append({"file": f"{number}.png", "colour": colour})
    ...     data = from_table(rows, image="file", label="colour", root=folder, image_size=16)
    >>> data
    <Dataset 'table': 6 train, 2 validation, 2 test images of 16×16×3, 2 classes>
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
    file = check_path("table", table) if isinstance(table, str | Path) else None
    columns = _columns(table if file is None else file)
    images = _column(columns, "image", image)
    labels = _texts(_column(columns, "label", label), "label", label)
    splits = ["train"] * len(images) if split is None else _splits(_column(columns, "split", split), split)
    belongs = [""] * len(images) if groups is None else _column(columns, "groups", groups)
    base = file.parent if file is not None else Path()
    if root is not None:
        base = check_path("root", root, "a folder, as text or a Path")
    if root is not None and not base.is_dir():
        raise invalid("root", "an existing folder", printable(base))
    files = [base / str(path) for path in _texts(images, "image", image)]
    names, renamed = _names(class_names, labels)
    labels = [renamed.get(each, each) for each in labels]
    _refuse_two_labels(files, labels)
    number = {each: place for place, each in enumerate(names)}
    chosen: dict[str, list[Path]] = {each: [] for each in ("train", "validation", "test") if each in splits}
    numbers: dict[str, list[int]] = {each: [] for each in chosen}
    shown: dict[str, list[str]] = {each: [] for each in chosen}
    grouped: dict[str, list[Any]] = {each: [] for each in chosen}
    left_out = 0
    for path, text, part, image_name, group in zip(files, labels, splits, images, belongs, strict=True):
        if text not in number:
            left_out += 1
            continue
        chosen[part].append(path)
        numbers[part].append(number[text])
        shown[part].append(str(image_name).strip())
        grouped[part].append(group)
    if not chosen.get("train"):
        raise invalid(split or "table", "a table with training images", "none of its rows")
    data = dataset_from_files(
        chosen,
        {part: np.array(each, np.int64) for part, each in numbers.items()},
        names,
        options,
        shown=shown,
        groups=None if groups is None else grouped,
        name=name or (printable(file.stem) if file is not None else "table"),
        source=f"a table, {printable(file)}" if file is not None else f"a table, a {type(table).__name__}",
        left_out={"rows of labels that class_names leaves out": left_out} if left_out else {},
        argument="table",
        noun="a table",
    )
    if file is None:
        return data
    call = {
        "table": printable(file.absolute()),
        "image": image,
        "label": label,
        "split": split,
        **({} if groups is None else {"groups": groups}),
        "root": printable(base.absolute()),
        **options.record(),
        "image_size": list(data.input_shape[:2]),
        "class_names": list(names),
        "name": data.name,
    }
    if renamed:
        del call["class_names"]
        call["class_names"] = {each: renamed[each] for each in renamed}
    return dataclasses.replace(data, calls=({"from_table": call},))


def _columns(table: Any) -> dict[str, list[Any]]:
    """Return column -> values, whatever form the table has."""
    if isinstance(table, Path):
        return _read_csv(table)
    if hasattr(table, "to_dicts"):  # polars
        table = table.to_dicts()
    elif hasattr(table, "to_dict") and hasattr(table, "columns"):  # pandas
        names = [str(column) for column in table.columns]
        return {each: table.iloc[:, place].tolist() for place, each in enumerate(names)}
    if isinstance(table, Mapping):
        columns = {str(key): list(values) for key, values in table.items()}
        if len({len(values) for values in columns.values()}) != 1:
            lengths = {key: len(values) for key, values in columns.items()}
            raise invalid("table", "columns of one length", lengths)
        return columns
    if isinstance(table, str | bytes) or not isinstance(table, Iterable):
        raise invalid("table", TABLE, type(table).__name__)
    rows = list(table)
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        got = "no rows" if not rows else f"a row that is a {type(rows[0]).__name__}"
        remedy = "Pass {'image': paths, 'label': labels}." if rows else ""
        raise invalid("table", TABLE, got, remedy=remedy)
    keys = list(dict.fromkeys(str(key) for row in rows for key in row))
    return {key: [row.get(key) for row in rows] for key in keys}


def _read_csv(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        what = "a folder; tz.from_directory reads class folders" if path.is_dir() else "no such file"
        raise invalid("table", TABLE, printable(path), remedy=f"That is {what}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(
            "table", "a CSV file in UTF-8", printable(path), remedy=f"Save it as UTF-8 ({error.reason})."
        ) from error
    if "\0" in text:
        raise invalid(
            "table", "a CSV file of text", printable(path), remedy="Save a spreadsheet as CSV first."
        )
    lines = text.splitlines()
    if len(lines) < 2:
        raise invalid(
            "table", "a CSV file with a header and rows", f"{len(lines)} lines in {printable(path)}"
        )
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    header, rows = [each.strip() for each in rows[0]], [row for row in rows[1:] if row]
    for place, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise invalid(
                "table",
                f"rows of {len(header)} cells, as the header",
                f"{len(row)} in row {place} of {printable(path)}",
                remedy="Put quotes around cells that hold commas." if len(row) > len(header) else "",
            )
    return {key: [row[place] for row in rows] for place, key in enumerate(header)}


def _column(columns: Mapping[str, list[Any]], argument: str, name: str) -> list[Any]:
    if name not in columns:
        raise invalid(
            argument,
            f"one of the table's columns, {listing(columns)}",
            name,
            candidates=columns,
            remedy=f"Name it with {argument}=.",
        )
    return columns[name]


def _texts(values: Sequence[Any], argument: str, column: str) -> list[str]:
    """Return cells as text; whole numbers lose a '.0' that a table program gave them."""
    found, empty = [], []
    for place, value in enumerate(values):
        if isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value):
            value = int(value)
        text = "" if value is None or value != value else str(value).strip()
        if not text or text in ("nan", "<NA>"):
            empty.append(place)
        found.append(text if argument == "image" else normal_name(text))
    if empty:
        raise invalid(
            argument,
            "a column without empty cells",
            f"{len(empty)} empty in '{column}', the first in row {empty[0] + 1}",
            remedy="Fill them, or leave these rows out.",
        )
    return found


def _splits(values: Sequence[Any], column: str) -> list[str]:
    found = []
    for place, text in enumerate(_texts(values, "split", column)):
        if text.lower() not in SPLIT_FOLDERS:
            raise invalid(
                "split",
                "a column of 'train', 'validation' and 'test'",
                text,
                candidates=SPLIT_FOLDERS,
                remedy=f"That is row {place + 1} of '{column}'.",
            )
        found.append(SPLIT_FOLDERS[text.lower()])
    return found


def _names(class_names: Any, labels: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the classes in label order, and label -> class where a mapping renames labels."""
    present = set(labels)
    if len(present) < 2:
        raise invalid("label", "a column with two labels or more", next(iter(present)))
    order = class_order(class_names)
    if order is None:
        numbers = all(each.lstrip("-").isdecimal() for each in present)
        return tuple(sorted(present, key=int) if numbers else sorted(present)), {}
    renamed: dict[str, str] = {}
    if not set(order) & present and all(each.isdecimal() for each in present):
        # {0: "cat"}, or a list in label order: the table's labels are numbers from 0 on
        renamed = {str(place): each for place, each in enumerate(order)}
        unknown = sorted(present - set(renamed))
        if unknown:
            raise invalid("label", f"labels among {listing(renamed)}, as in class_names", unknown[0])
        return order, renamed
    missing = [each for each in order if each not in present]
    if missing:
        raise invalid(
            "class_names",
            "names that are labels of the table",
            missing[0],
            candidates=present,
            remedy=f"Its labels are {listing(sorted(present))}.",
        )
    return order, {}


def _refuse_two_labels(files: Sequence[Path], labels: Sequence[str]) -> None:
    """Raise for a file with two labels; warn about one that is listed twice."""
    seen: dict[Path, str] = {}
    twice = 0
    for path, label in zip(files, labels, strict=True):
        if seen.setdefault(path, label) != label:
            raise InvalidInputError(
                f"table must give each image one label. Got '{seen[path]}' and '{label}' for "
                f"{printable(path)}. Correct one of them.",
                argument="table",
                value=printable(path),
            )
        twice += 1
    twice -= len(seen)
    if twice:
        logger.warning(
            "%d rows name an image that another row names too; the same image may then be in two splits",
            twice,
        )
