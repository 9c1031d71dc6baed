"""Many processes that save one file at once, as the ranks of a training do."""

import multiprocessing
import os
import stat
import sys

import numpy as np
import pytest

import at1w.numpy

SHAPE = (500, 400)


def save(path, rank, barrier):
    tensors = {"rank": np.full(SHAPE, rank, dtype=np.float32)}
    barrier.wait()
    for _ in range(5):
        at1w.numpy.save_file(tensors, path)


@pytest.mark.parametrize("name", ["model.at1w", "model.safetensors"])
def test_no_writer_fails(tmp_path, name):
    path = tmp_path / name
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8, timeout=300)
    ranks = [context.Process(target=save, args=(path, rank, barrier)) for rank in range(8)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0] * 8
    saved = at1w.numpy.load_file(path)["rank"]
    assert saved.shape == SHAPE and saved.min() == saved.max()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
@pytest.mark.parametrize("name", ["model.at1w", "model.safetensors"])
@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_replaced_files_keep_their_mode(tmp_path, name, mode):
    path = tmp_path / name
    path.write_bytes(b"what was there before")
    path.chmod(mode)
    at1w.numpy.save_file({"a": np.zeros(4)}, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
