"""Proofs of tensors, and receipts of what was read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from . import _filesystem
from ._at1w import check_proof as _check
from ._frameworks import framework as framework_of


class Proved(NamedTuple):
    """What a proof proves: that this is the tensor of this name, or the slice of it, of the model
    with the root."""

    root: str
    name: str
    #: As the command line writes it; "" for the whole tensor.
    slice: str
    tensor: Any


def make_proof(
    path: str | os.PathLike[str], name: str, slice: str = "", *, root: str | None = None
) -> bytes:
    """Makes a proof of a tensor of a packed file, by path or URL, or of a slice of it.

    slice: the part, as the command line writes it, such as ``"0:16, :"``. root: the expected root.
    Only the chunks that the slice touches are read.

    Raises as ``safe_open``, and SafetensorError if there is no such tensor or slice, or if the file
    is not packed.
    """
    file = _filesystem.open_file(path, "pread", root, None, False)
    return file.prove(name, slice)


def check_proof(
    proof: bytes | str | os.PathLike[str], *, root: str | None = None, framework: str = "np"
) -> Proved:
    """Checks a proof, its bytes or a file of them, and returns what it proves.

    root: the root that the model must have. Without it nothing vouches for the one in the proof.

    Raises IntegrityError if it is no proof, is damaged, or is of another model.
    """
    if not isinstance(proof, (bytes, bytearray)):
        with open(proof, "rb") as f:
            proof = f.read()
    made = framework_of(framework, "cpu")
    found, name, slice, tensor = _check(bytes(proof), root, made.empty)
    return Proved(found, name, slice, made.finish(tensor))


@contextmanager
def receipts() -> Iterator[list[dict[str, Any]]]:
    """Collects a receipt of each file of weights that is opened meanwhile, by any thread and by
    whatever library. The list is filled when the block ends.

    A receipt has the ``path``, the ``root``, whether the caller ``pinned`` it, the ``tensors`` that
    were read whole with their SHA-256, the ``parts`` (names of tensors of which parts were read),
    and whether it is ``complete``: all tensors whole. Of a safetensors file root and SHA-256 are
    None: nothing was verified.
    """
    found: list[dict[str, Any]] = []
    with _filesystem.watched() as files:
        yield found
    for path, file in files:
        receipt = {"path": path, **json.loads(file.receipt())}
        if receipt["tensors"] or receipt["parts"]:
            found.append(receipt)
