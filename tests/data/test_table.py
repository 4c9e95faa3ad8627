"""Photos and labels from the columns of a table."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import transferzoo as tz
from transferzoo.data.catalog import repeat_calls
from transferzoo.errors import InvalidInputError

COLOURS = {"cat": (200, 10, 10), "dog": (10, 200, 10), "fox": (10, 10, 200)}


@pytest.fixture
def rows(tmp_path):
    """Ten photos of each of two classes, with paths from the folder on."""
    (tmp_path / "photos").mkdir()
    found = []
    for number in range(20):
        name = ("dog", "cat")[number % 2]
        Image.new("RGB", (12, 10), COLOURS[name]).save(tmp_path / "photos" / f"{number:02}.png")
        part = ("train", "train", "train", "val", "test")[number // 4]
        found.append({"file": f"photos/{number:02}.png", "animal": name, "part": part})
    return found


def write(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


COLUMNS = {"image": "file", "label": "animal"}


def true_to_colour(data):
    for x, y in data.splits.values():
        for label, name in enumerate(data.class_names):
            assert (x[y == label][:, 0, 0] == COLOURS[name]).all()
    return True


def test_records_are_read(rows, tmp_path):
    data = tz.from_table(rows, **COLUMNS, root=tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (10, 12, 3)
    assert true_to_colour(data)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_is_read_and_its_paths_begin_at_its_folder(rows, tmp_path, delimiter):
    path = write(tmp_path / "labels.csv", rows, delimiter)
    data = tz.from_table(path, **COLUMNS, split="part")
    assert (data.name, true_to_colour(data)) == ("labels", True)
    assert [len(y) for _, y in data.splits.values()] == [12, 4, 4]
    again = repeat_calls(json.loads(json.dumps(data.calls)))
    assert again.content_hash() == data.content_hash()


def test_columns_and_data_frames_are_read(rows, tmp_path):
    pandas = pytest.importorskip("pandas")
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    expected = tz.from_table(rows, **COLUMNS, root=tmp_path).content_hash()
    for table in (columns, pandas.DataFrame(rows)):
        assert tz.from_table(table, **COLUMNS, root=tmp_path).content_hash() == expected


def test_image_and_label_are_the_columns_names_by_default(rows, tmp_path):
    table = {"image": [tmp_path / row["file"] for row in rows], "label": [row["animal"] for row in rows]}
    assert true_to_colour(tz.from_table(table))


def test_numbered_labels_are_sorted_by_number_and_may_be_named(rows, tmp_path):
    numbers = {"cat": 2, "dog": 10}
    table = [{**row, "animal": numbers[row["animal"]]} for row in rows]
    assert tz.from_table(table, **COLUMNS, root=tmp_path).class_names == ("2", "10")
    table = [{**row, "animal": float({"cat": 0, "dog": 1}[row["animal"]])} for row in rows]
    for names in ({0: "cat", 1: "dog"}, {"cat": 0, "dog": 1}, ["cat", "dog"]):
        data = tz.from_table(table, **COLUMNS, root=tmp_path, class_names=names)
        assert true_to_colour(data)


def test_names_do_not_fit_numbers_that_are_not_counted_from_0(rows, tmp_path):
    table = [{**row, "animal": {"cat": 1, "dog": 2}[row["animal"]]} for row in rows]
    with pytest.raises(InvalidInputError, match="labels among '0', '1'"):
        tz.from_table(table, **COLUMNS, root=tmp_path, class_names=["cat", "dog"])


def test_class_names_choose_order_and_subset(rows, tmp_path):
    for number in range(5):
        Image.new("RGB", (12, 10), COLOURS["fox"]).save(tmp_path / f"{number}.png")
        rows.append({"file": f"{number}.png", "animal": "fox", "part": "train"})
    data = tz.from_table(rows, **COLUMNS, root=tmp_path, class_names=["fox", "cat"])
    assert data.class_names == ("fox", "cat")
    assert data.left_out == {"rows of labels that class_names leaves out": 10}
    assert true_to_colour(data)


def test_missing_files_are_all_named_or_skipped(rows, tmp_path, caplog):
    for number in (3, 8):
        (tmp_path / "photos" / f"{number:02}.png").unlink()
    with pytest.raises(InvalidInputError, match="2 of 20") as caught:
        tz.from_table(rows, **COLUMNS, root=tmp_path)
    assert "03.png (no such file)" in str(caught.value)
    assert "08.png (no such file)" in str(caught.value)
    data = tz.from_table(rows, **COLUMNS, root=tmp_path, on_error="skip")
    assert data.left_out == {"unreadable": 2}
    assert true_to_colour(data)


def with_cell(row, column, value):
    return lambda rows: [{**each, column: value} if place == row else each for place, each in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "options", "part"),
    [
        (list, {"image": "fil"}, "Did you mean 'file'"),
        (list, {"label": "animals"}, "Did you mean 'animal'"),
        (list, {"split": "parts"}, "Did you mean 'part'"),
        (with_cell(3, "part", "tets"), {"split": "part"}, "Did you mean 'test'"),
        (with_cell(4, "animal", None), {}, "1 empty in 'animal', the first in row 5"),
        (with_cell(4, "animal", float("nan")), {}, "1 empty in 'animal', the first in row 5"),
        (with_cell(0, "file", "photos/01.png"), {}, "Got 'dog' and 'cat' for"),
        (list, {"class_names": ["cat", "dogs"]}, "Did you mean 'dog'"),
        (list, {"root": "/nowhere"}, "root must be an existing folder"),
        (lambda rows: [], {}, "no rows"),
        (lambda rows: [["a", "b"]], {}, "a row that is a list"),
        (lambda rows: 7, {}, "table must be a CSV file"),
        (lambda rows: "absent.csv", {}, "no such file"),
        (lambda rows: {"file": ["a"], "animal": []}, {}, "columns of one length"),
        (lambda rows: rows[:1] * 4, {}, "two labels or more"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_a_way_out(rows, tmp_path, change, options, part):
    with pytest.raises(InvalidInputError, match=part):
        tz.from_table(change(rows), **{**COLUMNS, "root": tmp_path, **options})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("file,animal\n", "a header and rows"),
        ("file,animal\na.png,cat,wild\n", "rows of 2 cells"),
        ("file,animal\n\0\n", "as CSV first"),
        (b"file,animal\n\xff.png,cat\n", "UTF-8"),
    ],
)
def test_a_csv_file_that_is_none_is_refused(tmp_path, text, part):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInputError, match=part):
        tz.from_table(path, **COLUMNS)


def test_an_image_that_is_listed_twice_is_said(rows, tmp_path, caplog):
    tz.from_table([*rows, rows[0]], **COLUMNS, root=tmp_path)
    assert "1 rows name an image that another row names too" in caplog.text


def test_one_label_for_all_is_refused(rows, tmp_path):
    with pytest.raises(InvalidInputError, match="two labels or more"):
        tz.from_table([{**row, "animal": "cat"} for row in rows], **COLUMNS, root=tmp_path)


def test_the_order_is_that_of_the_rows(rows, tmp_path):
    rng = np.random.default_rng(0)
    order = rng.permutation(20)
    table = [rows[place] for place in order]
    data = tz.from_table(table, **COLUMNS, split="part", root=tmp_path)
    assert data.y_test.tolist() == [
        ("cat", "dog").index(row["animal"]) for row in table if row["part"] == "test"
    ]
