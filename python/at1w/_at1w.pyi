"""The native part: what the modules of this package build on."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

FEATURES: int
__version__: str

class TensorSpec:
    """Describes a tensor for ``serialize`` and ``serialize_file``.

    ``dtype`` is a name such as "float32". ``shape`` is that of the framework: for
    "float4_e2m1fn_x2" the last dimension is doubled. The ``data_len`` bytes at ``data_ptr`` are the
    elements, dense, in row-major order and little-endian. They must stay alive and unchanged until
    the tensor is saved.
    """

    def __init__(self, *, dtype: str, shape: Sequence[int], data_ptr: int, data_len: int) -> None: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def data_ptr(self) -> int: ...
    @property
    def data_len(self) -> int: ...

def serialize(
    tensor_dict: dict[str, TensorSpec], metadata: Optional[dict[str, str]] = None
) -> bytes: ...
def serialize_file(
    tensor_dict: dict[str, TensorSpec],
    filename: Union[str, os.PathLike[str]],
    metadata: Optional[dict[str, str]] = None,
    *,
    level: str = "default",
    base: Sequence[Union[str, os.PathLike[str]]] = ...,
) -> None: ...
def deserialize(bytes: bytes) -> list[tuple[str, dict[str, Any]]]: ...

Empty = Callable[[str, Sequence[int]], tuple[Any, int]]

def check_proof(
    proof: bytes, root: Optional[str], empty: Empty
) -> tuple[str, str, str, Any]: ...

class File:
    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        backend: str = "pread",
        root: Optional[str] = None,
        keep: bool = False,
        bases: Sequence[Union[str, os.PathLike[str]]] = ...,
    ) -> None: ...
    @staticmethod
    def from_bytes(data: bytes) -> File: ...
    @staticmethod
    def from_ranges(
        label: str,
        len: int,
        read: Callable[[list[int], list[int]], list[bytes]],
        root: Optional[str],
    ) -> File: ...
    def names(self) -> list[str]: ...
    def info(self, name: str) -> tuple[str, list[int]]: ...
    def tensor_len(self, name: str) -> int: ...
    def place(self, name: str) -> str: ...
    def prove(self, name: str, slice: str) -> bytes: ...
    def receipt(self) -> str: ...
    def metadata(self) -> Optional[dict[str, str]]: ...
    @property
    def root(self) -> Optional[str]: ...
    @property
    def original_sha256(self) -> Optional[str]: ...
    @property
    def original_len(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def is_remote(self) -> bool: ...
    def update(
        self, tensors: Sequence[tuple[str, TensorSpec]]
    ) -> tuple[list[str], Optional[str], Optional[BaseException]]: ...
    def prefetch(self, names: Sequence[str]) -> None: ...
    def read(self, names: Sequence[str], empty: Empty) -> list[Any]: ...
    def read_into(self, wanted: Sequence[tuple[str, Any, int, int]]) -> None: ...
    def read_pinned(self, name: str, sha256: str, empty: Empty) -> Any: ...
    def read_rows(self, name: str, rows: Sequence[int], empty: Empty) -> Any: ...
    def read_slice(
        self, name: str, parts: Sequence[Union[int, tuple[int, int, int]]], empty: Empty
    ) -> Any: ...
    def read_slices(
        self, wanted: Sequence[tuple[str, Sequence[Union[int, tuple[int, int, int]]]]], empty: Empty
    ) -> list[Any]: ...

def fetch(address: str, limit: int) -> bytes: ...
def is_url(text: str) -> bool: ...
def begins_packed(bytes: bytes) -> bool: ...
def is_packed(path: Union[str, os.PathLike[str]]) -> bool: ...

Progress = Optional[Callable[[int, int], object]]

def pack(
    source: Union[str, os.PathLike[str]],
    target: Union[str, os.PathLike[str]],
    level: str,
    keep_names: bool,
    overwrite: bool,
    strict: bool,
    progress: Progress,
    bases: Sequence[Union[str, os.PathLike[str]]],
) -> tuple[list[tuple[str, str, int, int]], list[str]]: ...
def unpack(
    source: Union[str, os.PathLike[str]],
    target: Union[str, os.PathLike[str]],
    overwrite: bool,
    progress: Progress,
    bases: Sequence[Union[str, os.PathLike[str]]],
) -> None: ...
def verify(
    path: Union[str, os.PathLike[str]],
    root: Optional[str],
    sha256: Optional[str],
    original: bool,
    progress: Progress,
    bases: Sequence[Union[str, os.PathLike[str]]],
) -> tuple[list[tuple[str, Optional[str]]], list[str]]: ...

class Store:
    def __init__(self, url: str) -> None: ...
    @property
    def url(self) -> str: ...
    def push(
        self,
        source: Union[str, os.PathLike[str]],
        repo: str,
        branch: str,
        message: str,
        parent: Optional[str],
        delete: bool,
        level: str,
        bases: bool,
        callback: Optional[Callable[[int, int], object]],
    ) -> dict[str, Any]: ...
    def pull(
        self,
        repo: str,
        target: Union[str, os.PathLike[str]],
        revision_: Optional[str],
        packed: bool,
        root: Optional[str],
        callback: Optional[Callable[[int, int], object]],
    ) -> str: ...
    def file(self, repo: str, path: str, revision_: Optional[str]) -> File: ...
    def repos(self, namespace: Optional[str]) -> list[tuple[str, str, int, int]]: ...
    def log(self, repo: str, revision_: Optional[str]) -> list[dict[str, Any]]: ...
    def tensors(
        self, repo: str, revision_: Optional[str]
    ) -> list[tuple[str, tuple[str, list[int], str]]]: ...
    def scrub(
        self, repo: Optional[str], callback: Optional[Callable[[int, int], object]]
    ) -> tuple[int, list[tuple[str, list[str]]]]: ...
    def repack(
        self,
        repo: str,
        level: str,
        bases: bool,
        callback: Optional[Callable[[int, int], object]],
    ) -> tuple[int, int]: ...
