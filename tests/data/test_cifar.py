"""CIFAR-10 and CIFAR-100 from every place they may lie in, with small archives made here."""

import dataclasses
import gzip
import hashlib
import io
import pickle
import shutil
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from transferzoo.data import cifar
from transferzoo.data.catalog import load_dataset
from transferzoo.data.cifar import SOURCES, load_cifar10, load_cifar100
from transferzoo.errors import DownloadError, InvalidInputError

PER_BATCH = {10: 40, 100: 600}


def arrays(source):
    """Small arrays in the published layout's order: training batches one after the other."""
    rng = np.random.default_rng(0)
    classes = len(source.class_names)
    batch = PER_BATCH[len(source.class_names)]
    made = {}
    for split, batches in (("train", source.train), ("test", source.test)):
        n = batch * len(batches)
        made[f"x_{split}"] = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        made[f"y_{split}"] = np.arange(n) % classes
    return made


def batch_files(source, protocol=2):
    """The pickled batches by name, as Python 3 writes them."""
    made, files = arrays(source), {}
    for split, names in (("train", source.train), ("test", source.test)):
        x = np.split(made[f"x_{split}"], len(names))
        y = np.split(made[f"y_{split}"], len(names))
        for name, images, labels in zip(names, x, y, strict=True):
            rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
            content = {b"data": rows, source.label_key.encode(): labels.tolist(), b"batch_label": b"one"}
            files[name] = pickle.dumps(content, protocol=protocol)
    return files


def archive(source, files=None):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in (files or batch_files(source)).items():
            member = tarfile.TarInfo(f"{source.folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def same(data, source):
    """Whether a loaded dataset holds the arrays above, the test set in its order."""
    made = arrays(source)
    train = {
        image.tobytes(): int(label) for image, label in zip(made["x_train"], made["y_train"], strict=True)
    }
    pairs = [*zip(data.x_train, data.y_train, strict=True)]
    pairs += [*zip(data.x_validation, data.y_validation, strict=True)]
    assert len(pairs) == len(train)
    assert all(train[image.tobytes()] == label for image, label in pairs)
    assert (data.x_test == made["x_test"]).all()
    assert (data.y_test == made["y_test"]).all()
    return True


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of its own for every test, and no way out to the network."""
    folder = tmp_path / "home"
    monkeypatch.setenv("KERAS_HOME", str(folder))
    for name, source in SOURCES.items():
        closed = f"http://127.0.0.1:9/{source.archive}"
        monkeypatch.setitem(SOURCES, name, dataclasses.replace(source, url=closed))
    return folder / "datasets"


@pytest.fixture
def served(monkeypatch):
    """Serve the small CIFAR-10 archive on loopback; returns what to change, and what was asked for."""
    state = {"content": archive(SOURCES["cifar10"]), "claimed": None, "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state["asked"].append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(state["claimed"] or len(state["content"])))
            self.end_headers()
            self.wfile.write(state["content"])

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    source = SOURCES["cifar10"]
    url = f"http://127.0.0.1:{server.server_port}/{source.archive}"
    digest = hashlib.sha256(state["content"]).hexdigest()
    monkeypatch.setitem(SOURCES, "cifar10", dataclasses.replace(source, url=url, sha256=digest))
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def refused(*parts, load=load_cifar10, **arguments):
    with pytest.raises(InvalidInputError) as caught:
        load(**arguments)
    for part in parts:
        assert str(part) in str(caught.value)
    return caught.value


def test_the_class_names_are_complete_and_in_the_published_order():
    assert len(SOURCES["cifar10"].class_names) == 10
    assert SOURCES["cifar10"].class_names[:3] == ("airplane", "automobile", "bird")
    fine = SOURCES["cifar100"].class_names
    assert len(set(fine)) == 100
    assert list(fine) == sorted(fine)
    assert (fine[0], fine[19], fine[49], fine[99]) == ("apple", "cattle", "mountain", "worm")


@pytest.mark.parametrize(("name", "load"), [("cifar10", load_cifar10), ("cifar100", load_cifar100)])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_the_archive_is_read_whatever_its_pickle_protocol(tmp_path, name, load, protocol):
    source = SOURCES[name]
    path = put(tmp_path / source.archive, archive(source, batch_files(source, protocol)))
    data = load(path=path)
    assert same(data, source)
    assert data.name == name
    assert data.class_names == source.class_names
    assert str(path) in data.source


def test_batches_spelled_as_numpy_1_and_python_2_wrote_them_are_read(tmp_path):
    source = SOURCES["cifar10"]
    old = {}
    for name, content in batch_files(source).items():
        assert b"numpy._core.multiarray" in content
        old[name] = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert same(load_cifar10(path=put(tmp_path / "old.tar.gz", archive(source, old))), source)


@pytest.mark.parametrize("inner", [".", "cifar-10-batches-py"])
def test_an_extracted_folder_is_read(tmp_path, inner):
    for name, content in batch_files(SOURCES["cifar10"]).items():
        put(tmp_path / "here" / inner / name, content)
    assert same(load_cifar10(path=str(tmp_path / "here")), SOURCES["cifar10"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_read_plain_and_compressed_with_column_labels_too(tmp_path, save):
    made = arrays(SOURCES["cifar10"])
    made["y_train"] = made["y_train"][:, None].astype(np.uint8)
    save(tmp_path / "some.npz", **made)
    assert same(load_cifar10(path=tmp_path / "some.npz"), SOURCES["cifar10"])


def test_a_folder_that_holds_the_npz_or_the_archive_is_enough(tmp_path):
    source = SOURCES["cifar10"]
    put(tmp_path / "one" / source.archive, archive(source))
    (tmp_path / "two").mkdir()
    np.savez(tmp_path / "two" / "cifar10.npz", **arrays(source))
    assert same(load_cifar10(path=tmp_path / "one"), source)
    assert same(load_cifar10(path=tmp_path / "two"), source)


def write_tree(folder, size=32, count=5):
    for split in ("train", "test"):
        for label, name in enumerate(SOURCES["cifar10"].class_names):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (size, size), (label, number, ord(split[1]))).save(
                    folder / split / name / f"{number}.png"
                )
    return folder


def test_class_folders_are_read_in_the_order_of_their_files(tmp_path):
    data = load_cifar10(path=write_tree(tmp_path / "tree"))
    assert [len(y) for _, y in data.splits.values()] == [40, 10, 50]
    assert (data.x_test[:, 0, 0, 0] == data.y_test).all()
    assert data.x_test[:, 0, 0, 1].tolist() == [0, 1, 2, 3, 4] * 10


def test_class_folders_of_other_names_are_refused_with_the_nearest(tmp_path):
    tree = write_tree(tmp_path / "tree")
    for split in ("train", "test"):
        (tree / split / "airplane").rename(tree / split / "airplanes")
    refused("Got 'airplanes'", "Did you mean 'airplane'?", "from_directory", path=tree)


def test_class_folders_that_are_incomplete_are_refused(tmp_path):
    tree = write_tree(tmp_path / "tree")
    shutil.rmtree(tree / "test" / "ship")
    refused("each of the 10 classes", "none for 'ship'", path=tree)
    shutil.rmtree(tree / "test")
    refused("It has no test/", path=tree)


def test_class_folders_of_larger_images_are_refused(tmp_path):
    refused("32×32", "Got '40×40'", "from_directory", path=write_tree(tmp_path / "tree", 40))


def test_the_cached_npz_comes_first_and_the_test_set_is_the_same_for_every_seed(home):
    home.mkdir(parents=True)
    np.savez(home / "cifar10.npz", **arrays(SOURCES["cifar10"]))
    one, two = load_cifar10(seed=0), load_cifar10(seed=1, validation=40)
    assert same(one, SOURCES["cifar10"])
    assert same(two, SOURCES["cifar10"])
    assert len(one.y_validation) == len(two.y_validation) == 40
    assert (one.x_validation != two.x_validation).any()
    assert one.content_hash() == load_cifar10(seed=0).content_hash()


@pytest.mark.parametrize(
    "place", ["cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz", "cifar-10-batches-py-target_archive"]
)
def test_an_archive_placed_by_hand_or_by_keras_is_found_converted_and_left(home, place):
    source = SOURCES["cifar10"]
    path = put(home / place, archive(source))
    assert str(path) in load_cifar10().source
    assert path.exists()
    assert "cifar10.npz" in load_cifar10().source
    assert same(load_cifar10(), source)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar10", "cifar-10-batches-py-target/cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("cifar100", "cifar-100-python-target/cifar-100-python"),
    ],
)
def test_an_extracted_folder_in_the_cache_is_found(home, name, place):
    for file, content in batch_files(SOURCES[name]).items():
        put(home / place / file, content)
    assert same(load_dataset(name), SOURCES[name])
    assert (home / f"{name}.npz").is_file()


def test_a_cache_that_cannot_be_written_to_still_serves(home, monkeypatch):
    def full(*_):
        raise OSError("read-only file system")

    put(home / SOURCES["cifar10"].archive, archive(SOURCES["cifar10"]))
    monkeypatch.setattr(cifar, "_keep", full)
    assert same(load_cifar10(), SOURCES["cifar10"])


def test_a_download_is_kept_as_npz_with_its_digest_and_made_once(home, served):
    data = load_cifar10()
    assert same(data, SOURCES["cifar10"])
    assert sorted(path.name for path in home.iterdir()) == ["cifar10.npz", "cifar10.npz.sha256"]
    digest = hashlib.sha256((home / "cifar10.npz").read_bytes()).hexdigest()
    assert (home / "cifar10.npz.sha256").read_text() == f"{digest}  cifar10.npz\n"
    assert load_cifar10().content_hash() == data.content_hash()
    assert served["asked"] == ["/cifar-10-python.tar.gz"]


def test_a_download_with_another_hash_is_refused_and_leaves_nothing(home, served):
    served["content"] += b"x"
    with pytest.raises(DownloadError) as caught:
        load_cifar10()
    for part in ("CIFAR-10", "cifar-10-python.tar.gz", "127.0.0.1", SOURCES["cifar10"].sha256, str(home)):
        assert part in str(caught.value)
    assert list(home.iterdir()) == []


def test_a_download_cut_short_is_refused_and_leaves_nothing(home, served):
    served["claimed"] = len(served["content"])
    served["content"] = served["content"][:1000]
    with pytest.raises(DownloadError, match="To place it by hand"):
        load_cifar10()
    assert list(home.iterdir()) == []


def test_without_a_network_the_message_says_how_to_place_the_file(home):
    with pytest.raises(DownloadError) as caught:
        load_cifar100()
    for part in ("CIFAR-100", "cifar-100-python.tar.gz", SOURCES["cifar100"].sha256, str(home)):
        assert part in str(caught.value)


def test_a_kept_npz_that_changed_is_refused_with_the_files_to_delete(home, served):
    load_cifar10()
    kept = home / "cifar10.npz"
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    refused(kept, "SHA-256", f"Delete {kept} and {kept}.sha256")
    (home / "cifar10.npz.sha256").write_text("")
    refused("says nothing")


def test_shares_and_seeds_are_refused_before_a_download(served):
    refused("validation must be", validation=0)
    refused("seed must be", seed=-1)
    assert served["asked"] == []


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.99])
def test_a_truncated_archive_is_refused_by_name(tmp_path, keep):
    content = archive(SOURCES["cifar10"])
    cut = content[: int(keep * len(content)) if isinstance(keep, float) else keep]
    path = put(tmp_path / "cifar-10-python.tar.gz", cut)
    refused(path, "cannot be read as CIFAR data", path=path)


def test_an_archive_without_a_batch_is_refused(tmp_path):
    files = batch_files(SOURCES["cifar10"])
    del files["data_batch_3"]
    path = put(tmp_path / "c.tar.gz", archive(SOURCES["cifar10"], files))
    refused(path, "lacks 'cifar-10-batches-py/data_batch_3'", path=path)


def test_the_archive_of_the_other_set_is_refused(tmp_path):
    path = put(tmp_path / "c.tar.gz", archive(SOURCES["cifar100"]))
    refused(path, "lacks", "test_batch", path=path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_npz_is_refused_by_name(tmp_path, keep):
    np.savez(tmp_path / "whole.npz", **arrays(SOURCES["cifar10"]))
    content = (tmp_path / "whole.npz").read_bytes()
    path = put(tmp_path / "cut.npz", content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    refused(path, "cannot be read as CIFAR data", path=path)


def test_an_npz_of_other_arrays_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    good = arrays(SOURCES["cifar10"])
    for change, part in (
        ({"x_train": good["x_train"].transpose(0, 3, 1, 2)}, "(200, 3, 32, 32)"),
        ({"x_test": good["x_test"] / 255}, "float64"),
        ({"y_test": good["y_test"][:-1]}, "not 40 whole numbers"),
        ({"y_train": good["y_train"] + 1}, "from 1 to 10"),
        ({"y_train": good["y_train"].astype(object)}, "allow_pickle=False"),
    ):
        np.savez(path, **(good | change))
        refused(path, part, path=path)
    np.savez(path, x_train=good["x_train"])
    refused(path, "lacks 'y_train', 'x_test', 'y_test'", path=path)
    with path.open("wb") as stream:
        np.save(stream, good["x_train"])
    refused(path, path=path)


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text"])
def test_a_path_to_nothing_of_the_kind_is_refused_with_all_that_is(tmp_path, kind):
    path = tmp_path / "thing"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello")
    refused("cifar10.npz", "cifar-10-python.tar.gz", "extracted folder", "class folders", path, path=path)


class Touch:
    """Unpickled by the ordinary unpickler, this creates a file."""

    def __init__(self, path, call):
        self.path, self.call = path, call

    def __reduce__(self):
        return self.call, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_batch_is_refused_and_not_run(tmp_path, protocol):
    proof = tmp_path / "proof"
    evil = pickle.dumps({b"data": Touch(proof, open), b"labels": [0]}, protocol=protocol)
    pickle.loads(evil)[b"data"].close()
    assert proof.exists()
    proof.unlink()
    files = batch_files(SOURCES["cifar10"]) | {"data_batch_2": evil}
    path = put(tmp_path / "evil.tar.gz", archive(SOURCES["cifar10"], files))
    refused(path, "data_batch_2", "io.open" if protocol > 2 else ".open", "nothing was run", path=path)
    for name, content in files.items():
        put(tmp_path / "folder" / name, content)
    refused("data_batch_2", "nothing was run", path=tmp_path / "folder")
    assert not proof.exists()


def test_links_and_paths_in_an_archive_reach_nothing_outside(tmp_path):
    source = SOURCES["cifar10"]
    files = batch_files(source)
    secret = put(tmp_path / "secret", files.pop("test_batch"))
    stream = io.BytesIO(archive(source, files))
    raw = io.BytesIO(gzip.decompress(stream.getvalue()))
    with tarfile.open(fileobj=raw, mode="a") as tar:
        link = tarfile.TarInfo(f"{source.folder}/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
        stray = tarfile.TarInfo("../stray")
        tar.addfile(stray)
    path = put(tmp_path / "inner" / "linked.tar", raw.getvalue())
    refused("lacks 'cifar-10-batches-py/test_batch'", path=path)
    assert not (tmp_path / "stray").exists()


@pytest.mark.slow
def test_the_real_images_load_in_their_published_numbers(shared_home):
    data = load_cifar10(path=shared_home / "datasets" / "cifar10.npz", validation=5000)
    assert data.x_train.shape == (45_000, 32, 32, 3)
    assert {split: set(count.tolist()) for split, count in data.class_counts.items()} == {
        "train": {4500},
        "validation": {500},
        "test": {1000},
    }


def test_a_flipped_bit_in_an_archive_is_found(tmp_path):
    content = archive(SOURCES["cifar10"])
    rng = np.random.default_rng(0)
    for number in range(40):
        damaged = bytearray(content)
        # gzip's header has a time and a system, which nothing depends on
        place = int(rng.integers(10, len(content)))
        damaged[place] ^= 1 << int(rng.integers(8))
        path = put(tmp_path / f"{number}.tar.gz", bytes(damaged))
        with pytest.raises(InvalidInputError):
            load_cifar10(path=path)


def test_a_file_under_the_published_name_that_is_another_is_said(tmp_path, caplog):
    load_cifar10(path=put(tmp_path / SOURCES["cifar10"].archive, archive(SOURCES["cifar10"])))
    assert "is not the published file" in caplog.text
