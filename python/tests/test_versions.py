"""Versions: files that keep only what differs from others, and memory that follows them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import at1w
import at1w.numpy

EXAMPLE = Path(__file__).parents[1] / "examples" / "follow.py"


def model(step):
    random = np.random.default_rng(3)
    start = random.standard_normal((600, 400)).astype(np.float32) / 30
    moved = start + np.float32(1e-5) * step * np.random.default_rng(4).standard_normal((600, 400))
    return {
        "w": moved.astype(np.float32),
        "frozen": random.standard_normal(5000).astype(np.float32),
        "ids": np.arange(700) * (1 + step),
        "empty": np.zeros((0, 3), np.float16),
    }


def save(folder, steps=3):
    """Saves a chain of versions, each on the one before."""
    paths = [folder / f"step{step}.at1w" for step in range(steps)]
    for step, path in enumerate(paths):
        at1w.numpy.save_file(model(step), path, base=paths[step - 1] if step else None)
    return paths


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_versions_are_small_and_load(tmp_path):
    paths = save(tmp_path)
    sizes = [path.stat().st_size for path in paths]
    assert max(sizes[1:]) < sizes[0] * 0.7
    for step, path in enumerate(paths):
        assert equal(at1w.numpy.load_file(path), model(step))
        assert np.array_equal(at1w.load_tensor(path, "w", slice=np.s_[5:9]), model(step)["w"][5:9])
        at1w.verify(path)
    at1w.unpack(paths[2])
    assert equal(at1w.numpy.load_file(tmp_path / "step2.safetensors"), model(2))


def test_bases_are_named(tmp_path):
    paths = save(tmp_path, 2)
    away = tmp_path / "away"
    away.mkdir()
    new = shutil.move(paths[1], away / "new.at1w")
    with pytest.raises(FileNotFoundError, match="step0.at1w.*bases="):
        at1w.numpy.load_file(new)
    for bases in [tmp_path, [str(tmp_path)]]:
        assert equal(at1w.numpy.load_file(new, bases=bases), model(1))
        assert np.array_equal(at1w.load_tensor(new, "frozen", bases=bases), model(1)["frozen"])
        with at1w.safe_open(new, "np", bases=bases) as file:
            assert np.array_equal(file.get_slice("w")[1:3], model(1)["w"][1:3])
        assert equal(at1w.load(new, bases=bases), model(1))
        part = dict(at1w.stream(new, names=["w"], slices={"w": np.s_[2:4]}, bases=bases))
        assert np.array_equal(part["w"], model(1)["w"][2:4])
        at1w.verify(new, bases=bases)
    with pytest.raises(FileNotFoundError, match="step0.at1w.*bases="):
        at1w.load(new)
    at1w.unpack(new, away / "new.safetensors", bases=tmp_path)


def test_pack_takes_bases(tmp_path):
    for step in range(2):
        at1w.numpy.save_file(model(step), tmp_path / f"{step}.safetensors")
    at1w.pack(tmp_path / "1.safetensors", base=tmp_path / "0.safetensors")
    assert equal(at1w.numpy.load_file(tmp_path / "1.at1w"), model(1))
    with pytest.raises(ValueError, match="base"):
        at1w.pack(tmp_path, tmp_path / "all", base=tmp_path / "0.safetensors")


def test_memory_follows(tmp_path):
    paths = save(tmp_path)
    arrays = model(0)
    kept = arrays["w"]
    for step in (1, 2):
        receipt = at1w.numpy.update(arrays, paths[step])
        assert receipt.root == at1w.safe_open(paths[step], "np").root
        assert equal(arrays, model(step)) and arrays["w"] is kept
        # What is there already stays.
        assert at1w.numpy.update(arrays, paths[step], root=receipt.root) == receipt
    assert at1w.numpy.update({"w": kept}, paths[2]).root is None


def test_memory_is_the_old_or_the_new(tmp_path):
    paths = save(tmp_path, 2)
    intact = paths[1].read_bytes()
    failed = 0
    for place in range(100, len(intact) - 2000, len(intact) // 30):
        damaged = bytearray(intact)
        damaged[place] ^= 8
        paths[1].write_bytes(damaged)
        arrays = model(0)
        try:
            at1w.numpy.update(arrays, paths[1])
            continue
        except at1w.IntegrityError as error:
            done = error.updated
        failed += 1
        for name, array in arrays.items():
            assert np.array_equal(array, model(int(name in done))[name])
    assert failed > 10
    paths[1].write_bytes(intact)
    arrays = model(0)
    arrays["w"][3, 3] += 1
    with pytest.raises(at1w.IntegrityError, match="neither"):
        at1w.numpy.update(arrays, paths[1])


def test_memory_that_cannot_be_updated_is_refused(tmp_path):
    paths = save(tmp_path, 2)
    arrays = model(0)
    with pytest.raises(ValueError, match="in place"):
        at1w.numpy.update({"w": np.asfortranarray(arrays["w"])}, paths[1])
    arrays["w"].flags.writeable = False
    with pytest.raises(ValueError, match="in place"):
        at1w.numpy.update({"w": arrays["w"]}, paths[1])
    with pytest.raises(at1w.SafetensorError, match="F64"):
        at1w.numpy.update({"w": arrays["w"].astype(np.float64)}, paths[1])
    with pytest.raises(at1w.SafetensorError, match="no such|does not contain"):
        at1w.numpy.update({"x": arrays["ids"]}, paths[1])
    with pytest.raises(at1w.IntegrityError):
        at1w.numpy.update({"ids": arrays["ids"]}, paths[1], root="0" * 64)


def test_workers_follow_a_trainer(tmp_path):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, EXAMPLE, tmp_path, "--steps", "4", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("follows step 4") == 2
