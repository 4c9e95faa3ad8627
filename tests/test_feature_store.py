"""Features on disk: computed once, never half there, within a bound, and no reason for a training to fail."""

import datetime
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.features.store import FeatureStore, array_digest, features_folder, key_digest

SHAPE = (1000, 8)
KEY = {"extractor": "a", "images": "b"}
ENTRY_BYTES = 34_000
# A process that asks for an entry, notes each computation in a file, and prints the sum of what it got. Who
# computes goes on only when as many processes as it was told have come to ask.
ASK = """
import glob, os, sys, time
import numpy as np
from transferzoo.features.store import FeatureStore

folder, calls, started, pause, others = *sys.argv[1:4], float(sys.argv[4]), int(sys.argv[5])

def blocks():
    with open(calls, "a") as notes:
        notes.write(f"{os.getpid()}\\n")
    while len(glob.glob(started + "*")) < others:
        time.sleep(0.01)
    for start in range(0, 1000, 100):
        yield np.full((100, 8), start, "float32")
        time.sleep(pause)

open(started + str(os.getpid()), "w").close()
array = FeatureStore(folder).get_or_compute(
    {"extractor": "a", "images": "b"}, (1000, 8), "float32", blocks
)
print(float(array.sum()))
"""


class Counted:
    """Gives the blocks of `array`, and counts how often it was asked to."""

    def __init__(self, array, rows=100):
        self.array = array
        self.rows = rows
        self.calls = 0

    def __call__(self):
        self.calls += 1
        for start in range(0, len(self.array), self.rows):
            yield self.array[start : start + self.rows]


@pytest.fixture
def numbers():
    return np.arange(np.prod(SHAPE), dtype="float32").reshape(SHAPE)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


def keep(store, name, array, used=None):
    """Put an array under a key named `name`; say when it was used last."""
    store.get_or_compute({"name": name}, array.shape, array.dtype, Counted(array))
    folder = store.folder / key_digest({"name": name})[:32]
    if used is not None:
        os.utime(folder / "entry.json", (used, used))
    return folder


def names(store):
    return [entry.key["name"] for entry in store.entries()]


def ask(tmp_path, pause, others=1):
    arguments = [tmp_path / "features", tmp_path / "calls", tmp_path / "started-", pause, others]
    return subprocess.Popen(
        [sys.executable, "-c", ASK, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(condition, seconds=30):
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.01)


def test_what_is_asked_for_twice_is_computed_once(store, numbers):
    compute = Counted(numbers)
    first = store.get_or_compute(KEY, SHAPE, "float32", compute)
    second = store.get_or_compute(KEY, SHAPE, "float32", compute)
    assert compute.calls == 1
    np.testing.assert_array_equal(first, numbers)
    np.testing.assert_array_equal(second, numbers)


def test_another_store_on_the_same_folder_finds_it(store, numbers):
    store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers))
    compute = Counted(numbers)
    FeatureStore(store.folder).get_or_compute(KEY, SHAPE, "float32", compute)
    assert compute.calls == 0


def test_the_order_of_a_keys_parts_does_not_matter():
    assert key_digest({"a": 1, "b": 2}) == key_digest({"b": 2, "a": 1}) != key_digest({"a": 2, "b": 1})


def test_what_is_returned_is_mapped_from_disk_and_read_only(store, numbers):
    array = store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers))
    assert isinstance(array.base, np.memmap)
    assert type(array) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_an_entry_is_a_plain_npy_file_and_a_record(store, numbers):
    store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers), description={"backbone": "tiny"})
    (entry,) = store.entries()
    assert sorted(path.name for path in entry.folder.iterdir()) == ["entry.json", "features.npy"]
    np.testing.assert_array_equal(np.load(entry.folder / "features.npy", allow_pickle=False), numbers)
    assert (entry.shape, entry.dtype, entry.key) == (SHAPE, "float32", KEY)
    assert entry.description == {"backbone": "tiny"}
    assert entry.size_bytes == sum(path.stat().st_size for path in entry.folder.iterdir())
    assert datetime.datetime.now(datetime.UTC) - entry.made < datetime.timedelta(minutes=1)
    assert entry.versions["transferzoo"] == tz.__version__


def test_blocks_that_do_not_add_up_are_refused_and_leave_nothing(store, numbers):
    for blocks in (Counted(numbers[:-1]), Counted(np.vstack([numbers, numbers])), Counted(numbers[:, :4])):
        with pytest.raises(tz.TransferZooError, match="blocks must be"):
            store.get_or_compute(KEY, SHAPE, "float32", blocks)
    assert store.entries() == []
    assert list(store.folder.glob(".*-*")) == []


def test_a_computation_that_fails_says_so_and_leaves_nothing(store):
    def blocks():
        yield np.zeros((10, 8), "float32")
        raise OSError("the images are on a disk that went away")

    with pytest.raises(OSError, match="went away"):
        store.get_or_compute(KEY, SHAPE, "float32", blocks)
    assert [path.name for path in store.folder.iterdir()] == [".locks"]


@pytest.mark.medium
def test_two_processes_that_ask_at_once_compute_once(tmp_path):
    processes = [ask(tmp_path, pause=0.05, others=2) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert len(list(tmp_path.glob("started-*"))) == 2
    assert len((tmp_path / "calls").read_text().split()) == 1
    assert [float(out) for out, _ in answers] == [sum(range(0, 1000, 100)) * 100 * 8] * 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise here")
def test_a_process_killed_while_it_computes_leaves_nothing_that_is_taken_for_whole(tmp_path, store, numbers):
    process = ask(tmp_path, pause=0.5)
    wait_for(lambda: list(store.folder.glob(".*-*/features.npy")))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert store.entries() == []
    assert list(store.folder.glob(".*-*"))

    compute = Counted(numbers)
    np.testing.assert_array_equal(store.get_or_compute(KEY, SHAPE, "float32", compute), numbers)
    assert compute.calls == 1
    assert list(store.folder.glob(".*-*")) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise here")
def test_clearing_sweeps_what_a_killed_process_left_but_not_what_a_live_one_works_at(tmp_path, store):
    process = ask(tmp_path, pause=0.5)
    wait_for(lambda: list(store.folder.glob(".*-*/features.npy")))
    store.clear()
    assert len(list(store.folder.glob(".*-*"))) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert store.clear() >= 0
    assert list(store.folder.glob(".*-*")) == []


def test_the_entry_unused_for_longest_gives_way(tmp_path, numbers):
    store = FeatureStore(tmp_path, max_bytes=3 * ENTRY_BYTES)
    now = time.time()
    for number, name in enumerate("abc"):
        keep(store, name, numbers, used=now - 100 + number)
    keep(store, "a", numbers)  # read, and so used last
    keep(store, "d", numbers)
    assert sorted(names(store)) == ["a", "c", "d"]
    assert sum(entry.size_bytes for entry in store.entries()) <= store.max_bytes


def test_entries_come_in_the_order_of_their_last_use(store, numbers):
    for name, used in (("a", 200), ("b", 300), ("c", 100)):
        keep(store, name, numbers, used=used)
    assert names(store) == ["b", "a", "c"]


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is in use")
def test_an_array_in_use_outlives_its_entry(store, numbers):
    array = store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers))
    assert store.clear() > array.nbytes
    assert store.entries() == []
    np.testing.assert_array_equal(array, numbers)


def test_an_entry_above_the_bound_is_computed_and_not_kept(tmp_path, numbers, caplog):
    store = FeatureStore(tmp_path, max_bytes=ENTRY_BYTES)
    keep(store, "small", numbers[:100])
    double = np.vstack([numbers, numbers])
    with caplog.at_level(logging.INFO, "transferzoo"):
        array = store.get_or_compute(KEY, double.shape, "float32", Counted(double))
    np.testing.assert_array_equal(array, double)
    assert isinstance(array.base, np.memmap)
    assert names(store) == ["small"]
    assert [record.message for record in caplog.records if "not kept" in record.message]


def test_a_bound_of_nothing_keeps_nothing(tmp_path, numbers):
    store = FeatureStore(tmp_path, max_bytes=0)
    np.testing.assert_array_equal(store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers)), numbers)
    assert store.entries() == []


@pytest.mark.parametrize("max_bytes", [-1, 1.5, "4 GiB", True])
def test_a_bound_that_is_no_number_of_bytes_is_refused(max_bytes):
    with pytest.raises(tz.TransferZooError, match="max_bytes must be a whole number of 0 or more"):
        FeatureStore(max_bytes=max_bytes)


def damage_header(folder):
    with (folder / "features.npy").open("r+b") as stream:
        stream.write(b"nonsense")


def cut_short(folder):
    os.truncate(folder / "features.npy", 20_000)


def lengthen(folder):
    with (folder / "features.npy").open("ab") as stream:
        stream.write(b"more")


def empty_numbers(folder):
    os.truncate(folder / "features.npy", 0)


def lose_numbers(folder):
    (folder / "features.npy").unlink()


def lose_record(folder):
    (folder / "entry.json").unlink()


def garble_record(folder):
    (folder / "entry.json").write_text('{"key": ')


def other_array(folder):
    np.save(folder / "features.npy", np.zeros((10, 8), "float32"))


@pytest.mark.parametrize(
    "harm",
    [
        damage_header,
        cut_short,
        lengthen,
        empty_numbers,
        lose_numbers,
        lose_record,
        garble_record,
        other_array,
    ],
)
def test_a_damaged_entry_is_computed_anew_and_said_to_be(store, numbers, caplog, harm):
    harm(keep(store, "a", numbers))
    compute = Counted(numbers)
    with caplog.at_level(logging.WARNING, "transferzoo"):
        array = store.get_or_compute({"name": "a"}, SHAPE, "float32", compute)
    np.testing.assert_array_equal(array, numbers)
    assert compute.calls == 1
    assert [record.message for record in caplog.records if "damaged" in record.message]
    store.get_or_compute({"name": "a"}, SHAPE, "float32", compute)
    assert compute.calls == 1


def test_an_entry_of_another_key_in_the_same_place_is_not_taken(store, numbers):
    folder = keep(store, "a", numbers)
    record = json.loads((folder / "entry.json").read_text())
    (folder / "entry.json").write_text(json.dumps({**record, "key": {"name": "z"}}))
    compute = Counted(numbers + 1)
    np.testing.assert_array_equal(store.get_or_compute({"name": "a"}, SHAPE, "float32", compute), numbers + 1)


def test_a_folder_that_cannot_be_written_costs_a_warning_and_no_more(tmp_path, numbers, caplog):
    (tmp_path / "features").write_text("a file where the folder should be")
    store = FeatureStore(tmp_path / "features")
    with caplog.at_level(logging.WARNING, "transferzoo"):
        array = store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers))
    np.testing.assert_array_equal(array, numbers)
    assert [record.message for record in caplog.records if "not kept" in record.message]
    assert store.entries() == []
    assert store.clear() == 0


def test_one_bit_that_is_turned_over_is_found_and_the_features_computed_again(store, numbers, caplog):
    store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers))
    (entry,) = store.entries()
    path = entry.folder / "features.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    compute = Counted(numbers)
    with caplog.at_level(logging.WARNING, "transferzoo"):
        array = store.get_or_compute(KEY, SHAPE, "float32", compute)
    np.testing.assert_array_equal(array, numbers)
    assert compute.calls == 1
    assert "its bytes are not those that were written" in caplog.text


def test_too_little_disk_costs_a_warning_and_computes_once(store, numbers, caplog, monkeypatch):
    usage = type("Usage", (), {"free": 20_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    compute = Counted(numbers)
    with caplog.at_level(logging.WARNING, "transferzoo"):
        array = store.get_or_compute(KEY, SHAPE, "float32", compute)
    np.testing.assert_array_equal(array, numbers)
    assert compute.calls == 1
    assert [record.message for record in caplog.records if "20000 are free" in record.message]


@pytest.mark.skipif(os.name == "nt", reason="no limit on a file's size there")
def test_a_disk_that_refuses_underway_costs_a_warning_and_leaves_nothing(tmp_path):
    # a limit on a file's size fails a write just as a full disk does, and needs no disk to be filled
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    arguments = [tmp_path / "features", tmp_path / "calls", tmp_path / "started-", 0, 1]
    done = subprocess.run(
        [sys.executable, "-c", limit + ASK, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == sum(range(0, 1000, 100)) * 100 * 8
    assert "not kept" in done.stderr
    assert [path.name for path in (tmp_path / "features").iterdir()] == [".locks"]


def test_memory_stays_flat_while_an_entry_is_written(store):
    import tracemalloc

    rows, total = 500, 100_000

    def blocks():
        for _ in range(0, total, rows):
            yield np.ones((rows, 64), "float32")

    tracemalloc.start()
    try:
        array = store.get_or_compute(KEY, (total, 64), "float32", blocks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert array.nbytes == 25_600_000
    assert peak < 2_000_000


def test_clearing_says_how_much_it_freed(store, numbers):
    keep(store, "a", numbers)
    keep(store, "b", numbers)
    taken = sum(entry.size_bytes for entry in store.entries())
    assert store.clear() == taken > 2 * numbers.nbytes
    assert store.entries() == []
    assert store.clear() == 0


def test_clearing_can_spare_what_was_used_lately(store, numbers):
    keep(store, "old", numbers, used=time.time() - 40 * 86_400)
    keep(store, "new", numbers)
    store.clear(older_than_days=30)
    assert names(store) == ["new"]
    with pytest.raises(tz.TransferZooError, match="older_than_days must be"):
        store.clear(older_than_days=-1)


def test_clearing_touches_nothing_but_entries(store, numbers):
    keep(store, "a", numbers)
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "sub").mkdir()
    store.clear()
    assert sorted(path.name for path in store.folder.iterdir()) == [".locks", "notes.txt", "sub"]


def test_an_arrays_digest_follows_its_bytes_shape_and_dtype(numbers):
    others = [
        numbers + 1,
        numbers.reshape(-1),
        numbers.astype("float64"),
        numbers[::-1],
        numbers.view("int32"),
    ]
    digests = {array_digest(array) for array in (numbers, *others)}
    assert len(digests) == 6
    assert array_digest(np.asfortranarray(numbers)) == array_digest(numbers.copy()) == array_digest(numbers)


def test_the_folder_is_beside_the_other_caches_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("TRANSFERZOO_CACHE")
    assert features_folder() == tmp_path / "keras" / "transferzoo" / "features"
    monkeypatch.setenv("TRANSFERZOO_CACHE", str(tmp_path / "cache"))
    assert features_folder() == FeatureStore().folder == tmp_path / "cache" / "features"


def command(*arguments, cache):
    """The command line in a process of its own, with a cache of its own."""
    return subprocess.run(
        [sys.executable, "-m", "transferzoo.cli", "cache", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TRANSFERZOO_CACHE": str(cache), "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
    )


@pytest.fixture
def filled(tmp_path, numbers):
    """A cache folder of two entries, one of them old."""
    store = FeatureStore(tmp_path / "features")
    about = {"backbone": "mobilenet", "image_size": [96, 96], "layer": "features, averaged"}
    store.get_or_compute(KEY, SHAPE, "float32", Counted(numbers), description=about)
    keep(store, "old", numbers, used=time.time() - 40 * 86_400)
    return tmp_path


def test_the_command_line_lists_what_is_kept(filled):
    done = command("list", cache=filled)
    assert (done.returncode, done.stderr) == (0, "")
    _, first, second, total = done.stdout.splitlines()
    assert first.split()[:5] == ["mobilenet,", "at", "96×96,", "features,", "averaged"]
    assert first.split()[5:7] == ["1,000", "8"]
    assert re.search(r" 32\.\d kB +\d{4}-\d\d-\d\d \d\d:\d\d$", first.rstrip())
    assert second.split()[0] == "?"
    assert re.sub(r"64\.\d", "64", total) == f"2 kept, 65.1 kB of at most 4 GB, in {filled / 'features'}"


def test_the_command_line_lists_an_empty_cache(tmp_path):
    done = command("list", cache=tmp_path)
    assert done.stdout == f"0 kept, 0 B of at most 4 GB, in {tmp_path / 'features'}\n"


def test_the_command_line_clears_what_is_old(filled):
    done = command("clear", "--older-than", "30", cache=filled)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.sub(r"32\.\d", "32", done.stdout) == f"Freed 32 kB; 1 kept, in {filled / 'features'}\n"


def test_the_command_line_clears_everything_without_asking_where_nobody_can_answer(filled):
    done = command("clear", cache=filled)
    assert done.returncode == 0
    assert re.match(r"Freed 65\.\d kB; 0 kept, in ", done.stdout)
    assert FeatureStore(filled / "features").entries() == []


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals there")
@pytest.mark.parametrize(("answer", "kept"), [("n", 2), ("y", 0)])
def test_the_command_line_asks_before_it_clears_at_a_terminal(filled, answer, kept):
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    environment = {**os.environ, "TRANSFERZOO_CACHE": str(filled)}
    call = [sys.executable, "-m", "transferzoo.cli", "cache", "clear"]
    done = subprocess.run(call, stdin=theirs, capture_output=True, text=True, env=environment)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert f"Delete the features in {filled / 'features'}?" in done.stdout + done.stderr
    assert len(FeatureStore(filled / "features").entries()) == kept


def test_a_number_of_days_below_nothing_is_a_wrong_call(filled):
    done = command("clear", "--older-than", "-1", cache=filled)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("transferzoo: --older-than must be")


def test_listing_the_cache_loads_no_keras(tmp_path):
    code = (
        "import sys; from transferzoo import cli; cli.run(['cache', 'list']); print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
