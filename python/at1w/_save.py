"""Describing tensors to the native part, which takes them by their addresses."""

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
    #: How many bytes there are.
    length: int


def described(
    tensors: dict[str, Any], dense: Callable[[Any], Dense]
) -> tuple[dict[str, TensorSpec], list[Any]]:
    """Descriptions of tensors by their names, and what must be kept alive for them.

    ``dense`` makes a tensor so that its memory can be saved as it is, or raises. Only there are
    addresses taken. Whatever is raised names the tensor.
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
