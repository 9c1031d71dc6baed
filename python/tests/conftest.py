import ml_dtypes
import numpy as np
import pytest

import at1w.numpy


@pytest.fixture(autouse=True)
def without_copies(monkeypatch):
    """No copies of remote files in the folder of the user."""
    monkeypatch.setenv("AT1W_CACHE", "off")


@pytest.fixture(scope="session")
def tensors():
    """A few tensors of every kind: large, small, empty and scalar ones."""
    random = np.random.default_rng(7)
    wide = random.normal(0, 0.02, (3000, 700)).astype(np.float32)
    return {
        "wide": wide,
        "wide.bf16": wide.astype(ml_dtypes.bfloat16),
        "wide.f16": wide[:1000].astype(np.float16),
        "cube": random.normal(size=(5, 7, 11)),
        "fp8": wide[:9].astype(ml_dtypes.float8_e4m3fn),
        "fp8.e5m2": wide[:9].astype(ml_dtypes.float8_e5m2),
        "ids": np.arange(1000, dtype=np.int64),
        "bytes": random.integers(0, 255, (64, 64), dtype=np.uint8),
        "mask": np.tri(40, dtype=bool),
        "complex": (wide[0] + 1j * wide[1]).astype(np.complex64),
        "scalar": np.array(2.5, dtype=np.float32),
        "empty": np.empty((3, 0), dtype=np.float16),
    }


@pytest.fixture(scope="session")
def files(tensors, tmp_path_factory):
    """The same tensors in a file of each format."""
    folder = tmp_path_factory.mktemp("files")
    paths = {suffix: folder / f"model.{suffix}" for suffix in ("safetensors", "at1w")}
    for path in paths.values():
        at1w.numpy.save_file(tensors, path, {"format": "np"})
    return paths


@pytest.fixture(params=["safetensors", "at1w"])
def path(request, files):
    """A file of these tensors, in turn of each format."""
    return files[request.param]


@pytest.fixture
def packed(files):
    return files["at1w"]


def assert_same(ours, theirs):
    """Arrays of the same dtype, shape and bytes."""
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert ours.tobytes() == theirs.tobytes()


def assert_all_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert_same(array, theirs[name])
