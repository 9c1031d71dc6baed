"""Saving and loading arrays of numpy.

bfloat16 and the 8-bit floats need the package ml_dtypes.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from . import _open
from ._at1w import TensorSpec, serialize, serialize_file

__all__ = ["load", "load_file", "load_tensor", "save", "save_file"]


def save(tensor_dict: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file with these arrays, which must be contiguous.

    Raises SafetensorError for a dtype that safetensors has not.
    """
    specs, _alive = _specs(tensor_dict)
    return serialize(specs, metadata)


def save_file(
    tensor_dict: dict[str, np.ndarray],
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
) -> None:
    """Saves arrays, which must be contiguous, as a file that appears whole or not at all: packed if
    its name ends in ``.at1w``, else safetensors.

    Raises as ``save``, and OSError.
    """
    specs, _alive = _specs(tensor_dict)
    serialize_file(specs, filename, metadata)


def load(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file of either format that is in memory, by their names.

    Raises SafetensorError if it is none; IntegrityError if it is damaged.
    """
    return _open.open_bytes(data, "np").get_tensors()


def load_file(filename: str | os.PathLike[str], *, backend: str = "pread") -> dict[str, np.ndarray]:
    """The arrays of a file of either format, by their names. Raises as ``at1w.safe_open``."""
    with _open.safe_open(filename, "np", backend=backend) as f:
        return f.get_tensors()


def load_tensor(
    path: str | os.PathLike[str], name: str, slice: Any = None, sha256: str | None = None
) -> np.ndarray:
    """``at1w.load_tensor`` for numpy."""
    return _open.load_tensor(path, name, "np", slice, sha256)


def _specs(arrays: dict[str, np.ndarray]) -> tuple[dict[str, TensorSpec], list[np.ndarray]]:
    """Descriptions of arrays, and what must be kept alive for them."""
    alive, specs = [], {}
    for name, array in arrays.items():
        if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
            array = array.byteswap()
        alive.append(array)
        specs[name] = TensorSpec(
            dtype=array.dtype.name,
            shape=array.shape,
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
    return specs, alive
