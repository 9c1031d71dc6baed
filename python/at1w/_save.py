"""Describing tensors to the native part, which reads them at their addresses."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from ._at1w import TensorSpec
from ._errors import naming


class Dense(NamedTuple):
    """A tensor whose memory is its elements: dense, in row-major order, of native byte order."""

    #: The tensor that the memory belongs to.
    owner: Any
    #: Its dtype, as ``TensorSpec`` takes it.
    dtype: str
    address: int
    #: The number of bytes.
    length: int


def described(
    tensors: dict[str, Any], dense: Callable[[Any], Dense]
) -> tuple[dict[str, TensorSpec], list[Any]]:
    """Describes tensors by name. Also returns the objects to keep alive while they are saved.

    ``dense`` makes a tensor whose memory can be saved as it is, or raises. No other code takes
    addresses. Any exception names the tensor.
    """
    specs, alive = {}, []
    for name, tensor in tensors.items():
        with naming(name):
            owner, dtype, address, length = dense(tensor)
            specs[name] = TensorSpec(
                dtype=dtype, shape=owner.shape, data_ptr=address, data_len=length
            )
            alive.append(owner)
    return specs, alive
