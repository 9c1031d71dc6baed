"""Saving and loading arrays of numpy.

bfloat16 and the 8-bit floats need the package ml_dtypes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _open, _update
from ._at1w import TensorSpec, serialize, serialize_file
from ._filesystem import folders
from ._save import Dense, described
from ._update import Receipt

__all__ = ["load", "load_file", "load_tensor", "save", "save_file", "update"]


def save(tensor_dict: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """Returns the bytes of a safetensors file with these arrays, of any layout and byte order.

    Raises SafetensorError for a dtype that safetensors lacks; TypeError for an object that is not
    an array, and for a masked array. Each names the array.
    """
    specs, _alive = _specs(tensor_dict)
    return serialize(specs, metadata)


def save_file(
    tensor_dict: dict[str, np.ndarray],
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    *,
    level: str = "default",
    base: _open.Bases = None,
) -> None:
    """Saves arrays as a file: packed if its name ends in ``.at1w``, else safetensors. The file
    appears whole or not at all. level: "fast", "default" or "max", from fast to small. base: files
    of which a packed one keeps only the difference. Neither has an effect on a safetensors file.

    Raises as ``save``, OSError, and ValueError for another level.
    """
    specs, _alive = _specs(tensor_dict)
    serialize_file(specs, filename, metadata, level=level, base=folders(base))


def load(data: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of a file of either format in memory, by name.

    Raises SafetensorError if it is not such a file; IntegrityError if it is damaged.
    """
    return _open.open_bytes(data, "np").get_tensors()


def load_file(
    filename: str | os.PathLike[str],
    *,
    backend: str = "pread",
    root: str | None = None,
    bases: _open.Bases = None,
    out: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Reads the arrays of a file of either format, by path or URL. out: an array for each, by name,
    to be filled and returned, as ``safe_open(...).get_tensors`` takes them.

    Raises as ``at1w.safe_open`` and ``get_tensors``.
    """
    whole = _open.safe_open.whole
    with whole(filename, "np", backend=backend, root=root, bases=bases) as f:
        return f.get_tensors(None if out is None else [*f.offset_keys(), *out], out=out)


def load_tensor(
    path: str | os.PathLike[str],
    name: str,
    slice: Any = None,
    sha256: str | None = None,
    *,
    bases: _open.Bases = None,
) -> np.ndarray:
    """Reads a tensor like ``at1w.load_tensor``, as an array of numpy."""
    return _open.load_tensor(path, name, "np", slice, sha256, bases=bases)


def update(
    tensor_dict: dict[str, np.ndarray],
    path: str | os.PathLike[str],
    *,
    root: str | None = None,
) -> Receipt:
    """Turns arrays in memory, which are the bases of those of a file, into those of the file, in
    place. path: a packed file, by path or URL, as ``save_file(new, path, base=old)`` makes one. Its
    bases are not looked for. root: the expected root of the file.

    Each tensor is proven by its SHA-256 before a byte of it changes: it is wholly the old or wholly
    the new one, whatever happens. Those that are new already stay, so that an update that failed
    can be repeated. Nothing else may read or write the arrays meanwhile.

    Raises IntegrityError if the file is damaged, has another root, or an array is neither the base
    nor that of the file; as ``at1w.safe_open`` otherwise. The attribute ``updated`` of the
    exception has the names that are new already.
    """

    def is_own(array: np.ndarray, found: Dense) -> bool:
        return found.owner is array and array.flags.writeable

    return _update.update(tensor_dict, path, _dense, is_own, root)


def _specs(arrays: dict[str, np.ndarray]) -> tuple[dict[str, TensorSpec], list[np.ndarray]]:
    """Describes arrays. Also returns the arrays to keep alive while they are saved."""
    return described(arrays, _dense)


def _dense(array: np.ndarray) -> Dense:
    """Returns an array ready to be saved: itself if its memory is its elements, else a copy."""
    if not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"expected a numpy.ndarray, received {type(array)}")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "a masked array, whose mask no file keeps: save its .filled(), or data and mask apart"
        )
    if array.dtype.fields is not None:
        raise TypeError("an array of records, which safetensors has not: save its fields apart")
    dtype = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    array = np.asarray(array, dtype, order="C")
    return Dense(array, array.dtype.name, array.ctypes.data, array.nbytes)
