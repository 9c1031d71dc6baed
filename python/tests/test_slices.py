"""Slices: the parts that numpy takes, the messages of safetensors, and only the chunks needed."""

import random

import numpy as np
import pytest
import safetensors
from conftest import assert_same

import at1w
import at1w.numpy


def random_index(shape, rng):
    """An index that both numpy and safetensors take."""

    def item(size):
        if rng.random() < 0.3:
            return rng.randrange(-size, size)
        start = rng.randrange(size)
        stop = rng.randrange(start, size) + 1
        return slice(
            rng.choice([None, start]), rng.choice([None, stop]), rng.choice([None, 1, 2, 7])
        )

    items = [item(size) for size in shape[: rng.randrange(len(shape) + 1)]]
    if rng.random() < 0.3:
        items.insert(0 if len(items) == len(shape) else len(items), Ellipsis)
    return tuple(items)


def test_random_slices(path, tensors):
    rng = random.Random(7)
    with at1w.safe_open(path, "np") as f:
        for name in ("wide", "wide.bf16", "cube", "ids", "fp8"):
            part = f.get_slice(name)
            for _ in range(40):
                index = random_index(part.get_shape(), rng)
                assert_same(part[index], np.asarray(tensors[name][index]))


def test_shape_and_dtype(path):
    with at1w.safe_open(path, "np") as f:
        part = f.get_slice("wide.bf16")
        assert part.get_shape() == [3000, 700]
        assert part.get_dtype() == "BF16"
    # As with safetensors, a slice outlives the context that it comes from.
    assert part[0].shape == (700,)


def test_whole_of_empty_and_scalar(path):
    with at1w.safe_open(path, "np") as f:
        assert f.get_slice("empty")[...].shape == (3, 0)
        assert f.get_slice("scalar")[...] == 2.5
        assert f.get_slice("wide")[[]].shape == (0, 700)


BAD = [
    np.s_[:, 700],
    np.s_[3000:],
    np.s_[:3001],
    np.s_[2:, -701],
    np.s_[0, 0, 0],
    np.s_[::0],
    np.s_[:4:-1],
    np.s_[-1:],
    np.s_[..., ...],
    np.s_[1.5],
    np.s_["a"],
    [True, False],
    [0.5],
    [[0], [1]],
    None,
]


@pytest.mark.parametrize("index", BAD, ids=str)
def test_bad_slices_are_refused_as_by_safetensors(files, tmp_path, index):
    with safetensors.safe_open(files["safetensors"], "np") as f:
        with pytest.raises(Exception) as theirs:
            f.get_slice("wide")[index]
    for path in files.values():
        with at1w.safe_open(path, "np") as f, pytest.raises(theirs.type) as ours:
            f.get_slice("wide")[index]
        # Ours may go on to say what to do.
        assert str(ours.value).startswith(str(theirs.value))


@pytest.mark.parametrize("name", ["wide", "wide.bf16", "cube", "ids", "fp8"])
def test_lists_of_rows(path, tensors, name):
    rng = random.Random(7)
    with at1w.safe_open(path, "np") as f:
        part, expected = f.get_slice(name), tensors[name]
        size = len(expected)
        for count in (1, 2, 3 * size // 2, 7):
            rows = [rng.randrange(-size, size) for _ in range(count)]
            for index in (rows, sorted(rows), list(range(size)), np.array(rows), (rows, ...)):
                assert_same(part[index], np.asarray(expected[index]))
            rising = sorted({row % size for row in rows})
            assert_same(part[rising], expected[rising])
            assert_same(f.get_slices({name: rows})[name], expected[rows])
        assert at1w.load_tensor(path, name, slice=[1, 0]).tobytes() == expected[[1, 0]].tobytes()
        for row in (size, -size - 1):
            with pytest.raises(at1w.SafetensorError, match=f"{row} is out of range"):
                part[[0, row]]


def test_a_list_of_rows_reads_each_chunk_once(packed, tensors):
    with at1w.safe_open(packed, "np") as f:
        opened = f.bytes_read
        part = f.get_slice("wide")
        # Rows of two chunks, in turns.
        rows = [row for pair in zip(range(0, 100), range(2900, 3000)) for row in pair]
        assert_same(part[rows], tensors["wide"][rows])
        assert f.bytes_read - opened < tensors["wide"].nbytes / 6


def test_negative_steps_say_what_to_do(path):
    with at1w.safe_open(path, "np") as f:
        with pytest.raises(at1w.SafetensorError, match="got -2: .* reverse the result$"):
            f.get_slice("wide")[::-2]


def test_a_slice_touches_only_its_chunks(packed, tensors):
    def bytes_of(index):
        with at1w.safe_open(packed, "np") as f:
            opened = f.bytes_read
            assert_same(f.get_slice("wide")[index], tensors["wide"][index])
            return f.bytes_read - opened

    # 8.4 MB in 17 chunks of 512 KiB or less.
    whole = bytes_of(np.s_[:])
    assert whole > 0.7 * tensors["wide"].nbytes
    assert bytes_of(np.s_[1500:1501]) < whole / 12
    assert bytes_of(np.s_[::2999]) < whole / 7
    assert bytes_of(np.s_[:0]) == 0
