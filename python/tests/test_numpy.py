"""Saving and loading arrays, in both formats."""

import hashlib
import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from conftest import assert_all_same, assert_same

import at1w
import at1w.numpy


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_load_file(path, tensors, backend):
    assert_all_same(at1w.numpy.load_file(path, backend=backend), tensors)


def test_load(path, tensors):
    assert_all_same(at1w.numpy.load(path.read_bytes()), tensors)


def test_loaded_arrays_are_writable_and_their_own(path):
    first, second = at1w.numpy.load_file(path), at1w.numpy.load_file(path)
    first["wide"][:] = 0
    assert second["wide"].any()


def test_each_tensor(path, tensors):
    with at1w.safe_open(path, framework="np") as f:
        assert f.keys() == sorted(tensors)
        assert sorted(f.offset_keys()) == sorted(tensors)
        assert f.metadata() == {"format": "np"}
        for name in f.keys():
            assert_same(f.get_tensor(name), tensors[name])
            assert_same(at1w.load_tensor(path, name), tensors[name])
            assert_same(at1w.numpy.load_tensor(path, name), tensors[name])


def test_root_pins_a_packed_file(packed):
    with at1w.safe_open(packed, "np") as f:
        root = f.root
    with at1w.safe_open(packed, "np", root=root) as f:
        assert f.get_tensor("scalar") == 2.5


def test_sha256_pins_a_tensor(path, tensors):
    for name in ("wide.bf16", "scalar", "empty"):
        digest = hashlib.sha256(tensors[name].tobytes()).hexdigest()
        assert_same(at1w.load_tensor(path, name, sha256=digest), tensors[name])
    digest = hashlib.sha256(tensors["wide"].tobytes()).hexdigest()
    rows = at1w.load_tensor(path, "wide", slice=np.s_[7:9], sha256=digest)
    assert_same(rows, tensors["wide"][7:9])


def test_save_gives_the_bytes_of_safetensors(tensors, tmp_path):
    plain = {name: array for name, array in tensors.items() if array.dtype.name != "complex64"}
    for metadata in (None, {}, {"format": "pt"}):
        ours = at1w.numpy.save(plain, metadata)
        assert ours == safetensors.numpy.save(plain, metadata)
        at1w.numpy.save_file(plain, tmp_path / "model.safetensors", metadata)
        assert (tmp_path / "model.safetensors").read_bytes() == ours
        with at1w.safe_open(tmp_path / "model.safetensors", "np") as f:
            assert f.metadata() == metadata


def test_metadata_keeps_its_order(tmp_path):
    metadata = {str(i): "x" for i in reversed(range(20))}
    saved = at1w.numpy.save({}, metadata)
    assert list(json.loads(saved[8:])["__metadata__"]) == list(metadata)


def test_packed_files_unpack_to_what_safetensors_saves(tensors, packed, tmp_path):
    at1w.unpack(packed, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == at1w.numpy.save(tensors, {"format": "np"})


def test_big_endian_arrays_are_saved_as_little(tmp_path):
    array = np.arange(5, dtype=">i4")
    for name in ("model.at1w", "model.safetensors"):
        at1w.numpy.save_file({"a": array}, tmp_path / name)
        assert_same(at1w.numpy.load_file(tmp_path / name)["a"], array.astype("<i4"))


def test_deserialize(path, tensors):
    entries = dict(at1w.deserialize(path.read_bytes()))
    assert entries.keys() == tensors.keys()
    assert entries["wide"]["dtype"] == "F32"
    assert entries["wide"]["shape"] == [3000, 700]
    assert bytes(entries["wide"]["data"]) == tensors["wide"].tobytes()


def test_handle(path, tensors):
    with open(path, "rb") as file, at1w._safe_open_handle(file, framework="np") as f:
        assert_all_same(f.get_tensors(), tensors)


def test_safetensors_reads_what_is_saved(tensors, files):
    ours = {n: a for n, a in tensors.items() if not n.startswith(("fp8", "wide.bf16"))}
    with safetensors.safe_open(files["safetensors"], "np") as f:
        for name, array in ours.items():
            assert_same(f.get_tensor(name), array)
