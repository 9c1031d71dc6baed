"""Model weights, compressed and still randomly addressable, behind the interface of safetensors.

Everything reads both formats and tells them apart by their first bytes. The name of a file decides
the format it is written in: ``.at1w`` is packed, anything else is safetensors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._at1w import TensorSpec, __version__, deserialize, serialize, serialize_file
    from ._convert import convert_safetensors, pack, unpack, verify
    from ._errors import IncompleteWarning, IntegrityError, SafetensorError
    from ._load import load, stream
    from ._open import _safe_open_handle as _safe_open_handle
    from ._open import load_tensor, safe_open
    from ._proof import check_proof, make_proof, receipts
    from ._store import Store

# The module that defines each name. It is imported when the name is first asked for, because the
# hook imports this package with safetensors, whether or not it will be used.
_HOMES = {
    "__version__": "_at1w",
    "TensorSpec": "_at1w",
    "deserialize": "_at1w",
    "serialize": "_at1w",
    "serialize_file": "_at1w",
    "convert_safetensors": "_convert",
    "pack": "_convert",
    "unpack": "_convert",
    "verify": "_convert",
    "IncompleteWarning": "_errors",
    "IntegrityError": "_errors",
    "SafetensorError": "_errors",
    "load": "_load",
    "stream": "_load",
    "_safe_open_handle": "_open",
    "load_tensor": "_open",
    "safe_open": "_open",
    "check_proof": "_proof",
    "make_proof": "_proof",
    "receipts": "_proof",
    "Store": "_store",
}

__all__ = [
    "IncompleteWarning",
    "IntegrityError",
    "SafetensorError",
    "Store",
    "TensorSpec",
    "__version__",
    "check_proof",
    "convert_safetensors",
    "deserialize",
    "load",
    "load_tensor",
    "make_proof",
    "pack",
    "receipts",
    "safe_open",
    "serialize",
    "serialize_file",
    "stream",
    "unpack",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # Lists a module of the interface only once it is imported.
    modules = {"flax", "hook", "numpy", "torch"} & globals().keys()
    return sorted({*__all__, *modules})
