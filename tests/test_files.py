import hashlib
import stat

import pytest

from transferzoo.errors import OutputExistsError
from transferzoo.ground.storage.files import (
    cache_folder,
    file_hash,
    folder_written_beside,
    refuse_full_folder,
    written_beside,
)

BODY = bytes(range(256)) * 20


def test_the_cache_is_where_keras_home_says(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert cache_folder() == tmp_path


def test_the_cache_is_keras_own_without_keras_home(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".keras"


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_hash_is_that_of_the_whole_file(tmp_path, algorithm):
    body = b"x" * ((1 << 20) + 1)
    (tmp_path / "file").write_bytes(body)
    assert file_hash(tmp_path / "file", algorithm) == hashlib.new(algorithm, body).hexdigest()


def test_a_file_written_beside_takes_its_name_when_all_went_well(tmp_path):
    with written_beside(tmp_path / "new" / "a.txt") as part:
        part.write_text("whole")
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"


def test_a_file_written_beside_keeps_its_suffix_meanwhile(tmp_path):
    with written_beside(tmp_path / "a.npz") as part:
        assert part.suffix == ".npz"


def test_a_file_written_beside_is_readable_by_all(tmp_path):
    with written_beside(tmp_path / "a.txt"):
        pass
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def stop_while_writing_a_file(path):
    with written_beside(path) as part:
        part.write_text("half")
        raise RuntimeError("stopped")


def stop_while_filling_a_folder(path):
    with folder_written_beside(path) as part:
        (part / "a.txt").write_text("half")
        raise RuntimeError("stopped")


@pytest.mark.parametrize("stop", [stop_while_writing_a_file, stop_while_filling_a_folder])
def test_nothing_is_left_when_writing_stops(tmp_path, stop):
    with pytest.raises(RuntimeError, match="stopped"):
        stop(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stood_there_stays_when_writing_stops(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError, match="stopped"):
        stop_while_writing_a_file(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_written_beside_takes_the_place_of_an_empty_one(tmp_path):
    (tmp_path / "run").mkdir()
    with folder_written_beside(tmp_path / "run") as part:
        (part / "a.txt").write_text("whole")
    assert (tmp_path / "run" / "a.txt").read_text() == "whole"


def test_a_folder_that_fills_meanwhile_is_refused_and_untouched(tmp_path):
    def fill():
        with folder_written_beside(tmp_path / "run"):
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "mine.txt").write_text("mine")

    with pytest.raises(OutputExistsError, match="not empty"):
        fill()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "mine.txt"]


@pytest.mark.parametrize("prepare", [lambda path: None, lambda path: path.mkdir()])
def test_an_absent_or_empty_folder_is_accepted(tmp_path, prepare):
    prepare(tmp_path / "out")
    there = (tmp_path / "out").exists()
    refuse_full_folder(tmp_path / "out")
    assert (tmp_path / "out").exists() == there


def test_a_full_folder_is_refused_by_name(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=f"'{tmp_path}' is a folder that is not empty"):
        refuse_full_folder(tmp_path)


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputExistsError, match="is a file"):
        refuse_full_folder(tmp_path / "out")
