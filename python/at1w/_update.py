"""Weights in memory that follow those of a model in training."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from . import _filesystem
from ._errors import SafetensorError, naming
from ._save import Dense, described


class Receipt(NamedTuple):
    """What is in memory after an update."""

    #: The root of the file, if all of its tensors are now in memory; else None.
    root: str | None
    #: The names of the tensors that are now those of the file.
    tensors: list[str]


def update(
    tensors: dict[str, Any],
    path: Any,
    dense: Callable[[Any], Dense],
    is_own: Callable[[Any, Dense], bool],
    root: str | None,
) -> Receipt:
    """Turns tensors in memory into those of a file. ``is_own`` says whether memory that ``dense``
    found is the tensor's own and may be written to."""

    def own(tensor: Any) -> Dense:
        found = dense(tensor)
        if not is_own(tensor, found):
            raise ValueError(
                "it cannot be updated in place: it must be dense, in row-major order, writable,"
                " and in the memory of the host"
            )
        return found

    specs, _alive = described(tensors, own)
    file = _filesystem.open_file(path, "pread", root, None, False)
    for name, spec in specs.items():
        with naming(name):
            dtype, shape = file.info(name)
            if (spec.dtype, list(spec.shape)) != (dtype, list(shape)):
                raise SafetensorError(
                    f"it is {spec.dtype} of shape {list(spec.shape)}, and {dtype} of shape"
                    f" {list(shape)} in the file"
                )
    names, receipt, error = file.update(list(specs.items()))
    if error is not None:
        error.updated = names
        raise error
    return Receipt(receipt, names)
