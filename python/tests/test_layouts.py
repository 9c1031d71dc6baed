"""Whatever the memory of an array is like, its values are saved, or it is refused by name."""

import os

import ml_dtypes
import numpy as np
import pytest
import safetensors
from conftest import assert_all_same

import at1w
import at1w.numpy

DTYPES = [
    *(np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64),
    *(np.float16, np.float32, np.float64, np.complex64),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz),
    *(ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz, ml_dtypes.float8_e8m0fnu),
]


def spread(array):
    """Every third element of a larger one, in each dimension."""
    large = np.zeros([3 * size for size in array.shape], array.dtype)
    view = large[(slice(1, None, 3),) * array.ndim]
    view[...] = array
    return view


def reversed_(array):
    flip = (slice(None, None, -1),) * array.ndim
    return array[flip].copy()[flip]


def swapped(array):
    return array.byteswap().view(array.dtype.newbyteorder("S"))


def unaligned(array):
    data = bytearray(array.nbytes + 1)
    data[1:] = array.tobytes()
    return np.frombuffer(data, array.dtype, offset=1).reshape(array.shape)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


# Each makes an array of the same values with memory of another kind.
LAYOUTS = {
    "as it is": lambda array: array,
    "column-major": np.asfortranarray,
    "transposed": lambda array: array.T.copy().T,
    "rolled axes": lambda array: np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0),
    "spread": spread,
    "reversed": reversed_,
    "swapped": swapped,
    "swapped, column-major": lambda array: np.asfortranarray(swapped(array)),
    "swapped, spread": lambda array: spread(swapped(array)),
    "swapped, reversed": lambda array: reversed_(swapped(array)),
    "unaligned": unaligned,
    "read-only": read_only,
    "part of a larger one": lambda array: np.concatenate([array, array])[len(array) :],
    "a subclass": lambda array: array.view(type("Subclass", (np.ndarray,), {})),
}


def values(dtype, shape, random):
    """Any bits there are, those of NaNs among them."""
    if dtype is np.bool_:
        return random.integers(0, 2, shape, dtype=np.uint8).view(np.bool_)
    itemsize = np.dtype(dtype).itemsize
    bits = random.integers(0, 256, (*shape, itemsize), dtype=np.uint8)
    return bits.view(dtype).reshape(shape)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Arrays as they are given to the writers, and the same in plain memory."""
    random = np.random.default_rng(7)
    given, plain = {}, {}

    def add(name, array, expected):
        given[name], plain[name] = array, expected

    for dtype in DTYPES:
        for shape in ((4, 5), (2, 3, 4), (7,), (1, 6), (3, 0)):
            array = values(dtype, shape, random)
            for layout, arrange in LAYOUTS.items():
                add(f"{np.dtype(dtype).name} {shape} {layout}", arrange(array), array)
        row = values(dtype, (5,), random)
        name = np.dtype(dtype).name
        add(f"{name} broadcast", np.broadcast_to(row, (4, 5)), np.tile(row, (4, 1)))
        add(
            f"{name} broadcast column",
            np.broadcast_to(row[:, None], (5, 3)),
            np.repeat(row, 3).reshape(5, 3),
        )
        add(f"{name} of no dimension", swapped(row[0].reshape(())), row[0].reshape(()))
        add(f"{name} scalar", row[1], np.asarray(row[1]))
        add(f"{name} matrix", spread(row[None, :]).view(np.matrix), row[None, :])
        mapped = np.memmap(tmp_path_factory.mktemp("mapped") / "a", dtype, "w+", shape=(5,))
        mapped[:] = row
        add(f"{name} mapped", mapped[::-1], row[::-1].copy())
    return given, plain


def save(arrays, path):
    path.write_bytes(at1w.numpy.save(arrays))


def serialize(arrays, path):
    specs, _alive = at1w.numpy._specs(arrays)
    path.write_bytes(at1w.serialize(specs))


def serialize_file(arrays, path):
    specs, _alive = at1w.numpy._specs(arrays)
    at1w.serialize_file(specs, path)


WRITERS = [
    *((save, "safetensors"), (serialize, "safetensors"), (serialize_file, "safetensors")),
    *(
        (at1w.numpy.save_file, "safetensors"),
        (at1w.numpy.save_file, "at1w"),
        (serialize_file, "at1w"),
    ),
]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_values_are_saved(arrays, tmp_path, write, suffix):
    given, plain = arrays
    before = {name: array.tobytes() for name, array in given.items()}
    path = tmp_path / f"model.{suffix}"
    write(given, path)
    assert_all_same(at1w.numpy.load_file(path), plain)
    if suffix == "at1w":
        at1w.unpack(path)
        path = path.with_suffix(".safetensors")
    # By a reader that is not ours.
    read = dict(safetensors.deserialize(path.read_bytes()))
    assert {name: bytes(entry["data"]) for name, entry in read.items()} == {
        name: array.tobytes() for name, array in plain.items()
    }
    assert {name: array.tobytes() for name, array in given.items()} == before


@pytest.mark.parametrize("level", ["fast", "default", "max"])
def test_levels(tensors, tmp_path, level):
    for name in ("model.at1w", "model.safetensors"):
        at1w.numpy.save_file(tensors, tmp_path / name, level=level)
        assert_all_same(at1w.numpy.load_file(tmp_path / name), tensors)
    at1w.pack(tmp_path / "model.safetensors", tmp_path / "packed.at1w", level=level)
    assert (tmp_path / "packed.at1w").read_bytes() == (tmp_path / "model.at1w").read_bytes()


def test_unknown_levels_are_refused(tmp_path):
    for name in ("model.at1w", "model.safetensors"):
        with pytest.raises(ValueError, match='level "best" is none of "fast"'):
            at1w.numpy.save_file({}, tmp_path / name, level="best")
    assert os.listdir(tmp_path) == []


REFUSED = {
    "masked": np.ma.masked_array(np.zeros(3), [0, 1, 0]),
    "masked constant": np.ma.masked,
    "structured": np.zeros(3, [("a", "f4"), ("b", "f4")]),
    "record": np.rec.array(np.zeros(3, [("a", "f4")])),
    "object": np.array([None, 1]),
    "datetime": np.zeros(3, "M8[s]"),
    "duration": np.zeros(3, "m8[s]"),
    "text": np.array(["text"]),
    "text of any length": np.array(["text"], np.dtypes.StringDType()),
    "bytes": np.array([b"bytes"]),
    "void": np.zeros(3, "V4"),
    "long double": np.zeros(3, np.longdouble),
    "complex double": np.zeros(3, np.complex128),
    "complex long double": np.zeros(3, np.clongdouble),
    "int4": np.zeros(3, ml_dtypes.int4),
    "float4": np.zeros(3, ml_dtypes.float4_e2m1fn),
    "float8 of IEEE": np.zeros(3, ml_dtypes.float8_e4m3),
    "list": [1.0, 2.0],
    "number": 1.0,
    "nothing": None,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_file_can_keep_is_refused_by_name(tmp_path, kind):
    arrays = {"good": np.zeros(3), "layers.0.bad": REFUSED[kind]}
    for suffix in ("at1w", "safetensors"):
        with pytest.raises((TypeError, at1w.SafetensorError), match='^tensor "layers.0.bad": '):
            at1w.numpy.save_file(arrays, tmp_path / f"model.{suffix}")
    with pytest.raises((TypeError, at1w.SafetensorError), match='^tensor "layers.0.bad": '):
        at1w.numpy.save(arrays)
    assert os.listdir(tmp_path) == []


def test_arrays_of_records_are_refused(tmp_path):
    for kind in (np.dtype((">f4", [("a", "u2"), ("b", "u2")])), np.dtype([("a", "u2")])):
        with pytest.raises((TypeError, at1w.SafetensorError), match='"records"'):
            at1w.numpy.save({"records": np.zeros(2, kind)})
