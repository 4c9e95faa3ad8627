"""Pickled batches, read whoever wrote them and refused where they hold anything but plain arrays."""

import io
import pickle

import numpy as np
import pytest

from transferzoo.data.batchfile import read_batch
from transferzoo.errors import InvalidInputError


def python_2_batch(rows, labels):
    """A batch as Python 2's pickle wrote the published ones: protocol 2, byte strings for all text."""

    def text(value):
        return b"T" + len(value).to_bytes(4, "little") + value

    numpy_dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN"
    numpy_dtype += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + rows.shape[0].to_bytes(2, "little") + b"M" + rows.shape[1].to_bytes(2, "little") + b"\x86"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + shape + numpy_dtype + b"\x89" + text(rows.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def test_the_python_2_form_of_the_published_batches_is_read():
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(40) % 10
    content = python_2_batch(images.transpose(0, 3, 1, 2).reshape(len(images), -1), labels)
    theirs = pickle.loads(content.replace(b"numpy.core", b"numpy._core"), encoding="bytes")
    assert theirs[b"data"].shape == (40, 3072)
    x, y = read_batch(io.BytesIO(content), "labels", "test_batch")
    assert (x == images).all()
    assert (y == labels).all()


def call(module, name, arguments):
    """A pickle that calls what it names with a tuple of arguments."""
    return b"c" + module + b"\n" + name + b"\n" + pickle.dumps(arguments, 2)[2:-1] + b"R."


@pytest.mark.parametrize(
    "evil",
    [
        # numpy's own constructor would read memory through this buffer, and crash.
        call(b"numpy", b"ndarray", ((1,), "O", b"12345678")),
        call(b"numpy", b"dtype", ("O", False, True)),
        call(b"numpy.core.multiarray", b"_reconstruct", (1, (0,), b"b")),
        call(b"numpy.core.numeric", b"_frombuffer", (b"12345678", "O", (1,), "C")),
        call(b"_codecs", b"encode", ("x", "rot13")),
        call(b"numpy.core.multiarray", b"scalar", (1,)),
        b"cnumpy\nload\n.",
        b"cbuiltins\neval\n.",
        b"I1\n.",
        b"",
        b"\x80",
        pickle.dumps({b"data": [1, 2], b"labels": [0]}),
        pickle.dumps({b"labels": [0]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["a"]}),
        pickle.dumps({b"data": np.zeros((1, 3071), np.uint8), b"labels": [0]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.float32), b"labels": [0]}),
    ],
)
def test_a_batch_of_anything_but_plain_arrays_is_refused(evil):
    with pytest.raises(InvalidInputError, match=r"^test_batch cannot be read as CIFAR data"):
        read_batch(io.BytesIO(evil), "labels", "test_batch")
