"""Saving and loading arrays of jax, as flax has them. By way of numpy: see ``at1w.numpy``."""

from __future__ import annotations

import os
from typing import Any, Union

import numpy as np
from jax import Array

from . import _open, numpy
from ._errors import naming

__all__ = ["load", "load_file", "load_tensor", "save", "save_file"]


def save(
    tensors: dict[str, Union[Array, np.ndarray]], metadata: dict[str, str] | None = None
) -> bytes:
    """Returns the bytes of a safetensors file with these arrays. Raises as ``at1w.numpy.save``."""
    return numpy.save(_to_numpy(tensors), metadata)


def save_file(
    tensors: dict[str, Union[Array, np.ndarray]],
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    *,
    level: str = "default",
    base: _open.Bases = None,
) -> None:
    """Saves arrays as a file. Behaves and raises as ``at1w.numpy.save_file``."""
    numpy.save_file(_to_numpy(tensors), filename, metadata, level=level, base=base)


def load(data: bytes) -> dict[str, Array]:
    """Returns the arrays of a file in memory. Raises as ``at1w.numpy.load``."""
    return _open.open_bytes(data, "flax").get_tensors()


def load_file(
    filename: str | os.PathLike[str],
    *,
    backend: str = "pread",
    root: str | None = None,
    bases: _open.Bases = None,
) -> dict[str, Array]:
    """Reads the arrays of a file. Raises as ``at1w.safe_open``."""
    whole = _open.safe_open.whole
    with whole(filename, "flax", backend=backend, root=root, bases=bases) as f:
        return f.get_tensors()


def load_tensor(
    path: str | os.PathLike[str],
    name: str,
    slice: Any = None,
    sha256: str | None = None,
    *,
    bases: _open.Bases = None,
) -> Array:
    """Reads a tensor like ``at1w.load_tensor``, as an array of jax."""
    return _open.load_tensor(path, name, "flax", slice, sha256, bases=bases)


def _to_numpy(arrays: dict[str, Any]) -> dict[str, Any]:
    """Converts arrays of jax to arrays of numpy. Leaves anything else to ``at1w.numpy``, which
    accepts arrays of numpy and refuses the rest."""
    converted = {}
    for name, array in arrays.items():
        with naming(name):
            converted[name] = np.asarray(array) if isinstance(array, Array) else array
    return converted
