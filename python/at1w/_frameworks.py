"""The frameworks: how each makes tensors to read into, and indexes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from . import _index
from ._errors import SafetensorError, printable

_NAMES = {
    "np": "numpy",
    "numpy": "numpy",
    "pt": "torch",
    "torch": "torch",
    "pytorch": "torch",
    "jax": "flax",
    "flax": "flax",
}

_NUMPY = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "C64": "complex64",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}

# Dtypes that numpy has only with the package ml_dtypes.
_ML_DTYPES = {
    "BF16": "bfloat16",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}

_TORCH = {**_NUMPY, **_ML_DTYPES, "F4": "float4_e2m1fn_x2"}

# Frameworks that safetensors reads to, and at1w does not.
_FOREIGN = {"tf", "tensorflow", "mlx", "paddle", "paddlepaddle"}

_DEVICES = {"cpu", "cuda", "mps", "npu", "xpu", "xla", "mlu", "musa", "hpu"}


def framework(name: str, device: Any) -> Numpy | Torch:
    """Imports the framework of this name. Returns it for tensors on this device."""
    if not isinstance(name, str):
        raise TypeError(f"framework must be a str, not {type(name).__name__}")
    kind = _NAMES.get(name)
    if kind is None:
        raise SafetensorError(f"framework {name} is invalid (expected one of: {', '.join(_NAMES)})")
    if kind == "torch":
        return Torch(device)
    if device not in ("cpu", None):
        raise SafetensorError(f"Device {device} is not supported for framework {kind}")
    return Flax() if kind == "flax" else Numpy()


def check_packed(name: object, path: Any) -> None:
    """Refuses to read a packed file to a framework that only safetensors supports.

    Raises SafetensorError.
    """
    if isinstance(name, str) and name in _FOREIGN:
        raise SafetensorError(
            f"{printable(os.fsdecode(path))} is packed, and packed files are not read to {name}: "
            "unpack it with at1w.unpack, or read it to numpy and convert the arrays"
        )


class Numpy:
    """Arrays of numpy."""

    #: Whether tensors stay in the memory that they were read to.
    on_host = True

    def __init__(self) -> None:
        import numpy

        self._numpy = numpy
        self._dtypes: dict[str, Any] = {}

    def empty(self, dtype: str, shape: Sequence[int]) -> tuple[Any, int]:
        """Allocates a tensor. The dtype is spelled as in a header. Returns also its address."""
        array = self._numpy.empty(shape, self._known(dtype))
        return array, array.__array_interface__["data"][0]

    def memory(self, array: Any, dtype: str, shape: Sequence[int]) -> tuple[int, int]:
        """Returns address and length of the memory of an array that is to be read into.

        Raises TypeError or ValueError where it has not exactly such a tensor.
        """
        numpy = self._numpy
        if not isinstance(array, numpy.ndarray) or isinstance(array, numpy.ma.MaskedArray):
            raise TypeError(f"an array of numpy is filled, not {_kind(array)}")
        _check_same(dtype, shape, array, self._known(dtype), list(shape))
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError("its array must be contiguous and writable to be filled")
        return array.__array_interface__["data"][0], array.nbytes

    def filled(self, arrays: Iterable[Any]) -> None:
        """Tells the framework that the memory of arrays has changed."""

    def finish(self, array: Any) -> Any:
        """Turns the memory that was read to into the tensor that a caller gets."""
        return array

    def rows(self, index: object, shape: Sequence[int]) -> list[int] | None:
        """Returns the rows that an index lists; None for an index that is no list of rows."""
        return _index.rows(index, len(shape))

    def resolve(self, index: object, shape: Sequence[int]) -> list[_index.Part] | None:
        """Returns what an index takes of each dimension; None if only the framework knows."""
        return _index.resolve(index, shape)

    def take(self, tensor: Any, index: object) -> Any:
        """Copies a part of a whole tensor into memory of its own."""
        rows = self.rows(index, tensor.shape)
        if rows is not None:
            return tensor[rows]
        parts = _index.resolve(index, tensor.shape)
        items = tuple(part if isinstance(part, int) else slice(*part) for part in parts)
        return self._numpy.array(tensor[items])

    def _known(self, name: str) -> Any:
        """Returns a dtype, which is looked up once."""
        dtype = self._dtypes.get(name)
        if dtype is None:
            dtype = self._dtypes[name] = self._dtype(name)
        return dtype

    def _dtype(self, name: str) -> Any:
        if name in _NUMPY:
            return self._numpy.dtype(_NUMPY[name])
        if name not in _ML_DTYPES:
            raise SafetensorError(f"Dtype not understood: numpy has no {name!r}")
        try:
            # This import teaches numpy the names.
            import ml_dtypes  # noqa: F401
        except ImportError:
            raise TypeError(
                f"data type {_ML_DTYPES[name]!r} not understood: install ml_dtypes to read {name!r} "
                "with numpy"
            ) from None
        return self._numpy.dtype(_ML_DTYPES[name])


class Flax(Numpy):
    """Arrays of jax, made from arrays of numpy."""

    def __init__(self) -> None:
        super().__init__()
        import jax.numpy

        self._jax = jax.numpy

    def memory(self, array: Any, dtype: str, shape: Sequence[int]) -> tuple[int, int]:
        raise TypeError("arrays of jax never change, and are not filled: load new ones")

    def finish(self, array: Any) -> Any:
        return self._jax.array(array)


class Torch:
    """Tensors of torch, on any device."""

    def __init__(self, device: Any) -> None:
        import torch

        self._torch = torch
        try:
            self._device = torch.device("cpu" if device is None else device)
        except (RuntimeError, TypeError):
            self._device = None
        if self._device is None or self._device.type not in _DEVICES:
            raise SafetensorError(f"device {device} is invalid")
        self.on_host = self._device.type == "cpu"
        # From pinned memory, copies to a GPU are fast. No GPU was at hand to test this.
        self._pinned = self._device.type == "cuda"
        self._dtypes: dict[str, Any] = {}

    def empty(self, dtype: str, shape: Sequence[int]) -> tuple[Any, int]:
        if dtype == "F4":
            shape = _halved(shape)
        known = self._dtypes.get(dtype) or self._dtype(dtype)
        tensor = self._torch.empty(shape, dtype=known, device="cpu", pin_memory=self._pinned)
        return tensor, tensor.data_ptr()

    def memory(self, tensor: Any, dtype: str, shape: Sequence[int]) -> tuple[int, int]:
        torch = self._torch
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"a tensor of torch is filled, not {_kind(tensor)}")
        expected = _halved(shape) if dtype == "F4" else list(shape)
        _check_same(dtype, shape, tensor, self._dtype(dtype), expected)
        if tensor.device.type != "cpu":
            raise ValueError(f"its tensor is on {tensor.device}: tensors on the cpu are filled")
        dense = tensor.layout == torch.strided and tensor.is_contiguous()
        if not dense or tensor.is_conj() or tensor.is_neg():
            raise ValueError("its tensor must be contiguous to be filled")
        address, size = tensor.data_ptr(), tensor.element_size()
        reach = (tensor.storage_offset() + tensor.nelement()) * size
        if tensor.nelement() and (not address or reach > tensor.untyped_storage().nbytes()):
            raise ValueError("its tensor has no memory of its own to be filled")
        return address, tensor.nelement() * size

    def filled(self, tensors: Iterable[Any]) -> None:
        # Autograd finds out that what it saved has changed.
        increment = getattr(self._torch.autograd.graph, "increment_version", None)
        for tensor in tensors if increment else ():
            if not tensor.is_inference():
                increment(tensor)

    def finish(self, tensor: Any) -> Any:
        return tensor if self.on_host else tensor.to(self._device)

    def rows(self, index: object, shape: Sequence[int]) -> list[int] | None:
        rows = _index.rows(index, len(shape))
        if rows and not -shape[0] <= min(rows) <= max(rows) < shape[0]:
            # Torch says what is wrong with them.
            return None
        return rows

    def resolve(self, index: object, shape: Sequence[int]) -> list[_index.Part] | None:
        items = _index.as_tuple(index)
        steps = [item.step for item in items if isinstance(item, slice)]
        if any(isinstance(step, int) and step < 1 for step in steps):
            raise ValueError(
                "step must be greater than zero: read with a positive one, and .flip() the result"
            )
        if not all(item is Ellipsis or isinstance(item, (int, slice)) for item in items):
            return None
        if any(isinstance(item, bool) for item in items):
            return None
        # Applies torch's own rules and raises its errors, without the data.
        self._torch.empty(shape, device="meta")[index]
        parts = zip(_index.expand(items, len(shape)), shape)
        return [p % n if isinstance(p, int) else _clamped(p, n) for p, n in parts]

    def take(self, tensor: Any, index: object) -> Any:
        return tensor[index].clone()

    def _dtype(self, name: str) -> Any:
        dtype = getattr(self._torch, _TORCH.get(name, ""), None)
        if dtype is None:
            raise SafetensorError(
                f"Dtype not understood: torch {self._torch.__version__} has no {name!r}"
            )
        self._dtypes[name] = dtype
        return dtype


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _check_same(
    dtype: str, shape: Sequence[int], found: Any, its_dtype: Any, its_shape: list[int]
) -> None:
    """Checks that memory has the dtype and the shape that a tensor of a file takes.

    Raises ValueError.
    """
    if found.dtype != its_dtype or list(found.shape) != its_shape:
        raise ValueError(
            f"the file has {dtype} of shape {list(shape)}, what is to be filled has {found.dtype}"
            f" of shape {list(found.shape)}"
        )


def _halved(shape: Sequence[int]) -> list[int]:
    """Returns the shape in bytes of a tensor that has two elements in a byte."""
    if not shape or shape[-1] % 2:
        raise SafetensorError(
            f"f4_x2 dtype requires that the last dim be divisible by 2 in torch: got {list(shape)}"
        )
    return [*shape[:-1], shape[-1] // 2]


def _clamped(part: slice, size: int) -> tuple[int, int, int]:
    start, stop, step = part.indices(size)
    return start, max(start, stop), step
