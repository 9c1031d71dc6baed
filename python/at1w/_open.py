"""Opening files, and reading tensors from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Union

from . import _filesystem
from ._at1w import File
from ._errors import SafetensorError, adding, located
from ._frameworks import Numpy, Torch, check_packed
from ._frameworks import framework as framework_of


#: A folder, or several.
Bases = Union[str, "os.PathLike[str]", Iterable[Union[str, "os.PathLike[str]"]], None]


class _Open:
    """A file of weights and the framework that its tensors are for."""

    def __init__(self, file: File, framework: Numpy | Torch) -> None:
        self._handle: File | None = file
        self._framework = framework

    @property
    def _file(self) -> File:
        if self._handle is None:
            raise SafetensorError("File is closed")
        return self._handle

    def keys(self) -> list[str]:
        """Returns the names of the tensors, sorted."""
        return sorted(self._file.names())

    def offset_keys(self) -> list[str]:
        """Returns the names of the tensors, in the order of their data in the file."""
        return self._file.names()

    def metadata(self) -> dict[str, str] | None:
        """Returns the ``__metadata__`` of the header; None if it has none."""
        return self._file.metadata()

    @property
    def root(self) -> str | None:
        """The root, 64 hexadecimal digits, which pins all content of a packed file."""
        return self._file.root

    @property
    def bytes_read(self) -> int:
        """The number of bytes read of the file since it was opened, its index included."""
        return self._file.bytes_read

    def receipt(self) -> dict[str, Any]:
        """Returns what was read of the file since it was opened: ``root``, whether the caller
        ``pinned`` it, the ``tensors`` that were read whole with their SHA-256, the names of the
        ``parts`` that were not, and whether it is ``complete``: all tensors whole."""
        return json.loads(self._file.receipt())

    def get_tensor(self, name: str) -> Any:
        """Reads the whole tensor of this name.

        Raises SafetensorError if there is none, or if the framework lacks its dtype;
        IntegrityError, which names tensor and chunk, if it is damaged.
        """
        (tensor,) = self._file.read([name], self._framework.empty)
        return _finished(self._file, self._framework, name, tensor)

    def get_tensors(
        self, names: Iterable[str] | None = None, *, out: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Reads several tensors together, by name: those named, or all in the order of their data.

        Of a remote file, neighbours are read by one request, and decoding begins while others are
        on their way. out: arrays of numpy, or tensors of torch on the cpu, by name, to be filled
        and returned; by default all of them. Each must have dtype and shape of its tensor, be
        contiguous, and share no memory with another, which is checked before the first is changed.
        Where reading fails, what was not proven is zero or as it was before.

        Raises as ``get_tensor``; TypeError or ValueError for what cannot be filled.
        """
        file, framework = self._file, self._framework
        if out is not None:
            return self._fill(list(out if names is None else dict.fromkeys(names)), out)
        names = file.names() if names is None else list(dict.fromkeys(names))
        if not framework.on_host:
            # Reads one at a time, so that the host never holds a copy of all of them.
            file.prefetch(names)
            return {name: self.get_tensor(name) for name in names}
        tensors = zip(names, file.read(names, framework.empty))
        return {name: _finished(file, framework, name, tensor) for name, tensor in tensors}

    def can_fill(self, name: str, memory: Any) -> bool:
        """Returns whether ``get_tensors`` can fill an array or tensor with the one of this name."""
        try:
            self._framework.memory(memory, *self._file.info(name))
        except (TypeError, ValueError, SafetensorError):
            return False
        return True

    def _fill(self, names: list[str], out: Mapping[str, Any]) -> dict[str, Any]:
        file, framework = self._file, self._framework
        wanted = []
        for name in names:
            dtype, shape = file.info(name)
            try:
                if name not in out:
                    raise ValueError("there is nothing to be filled with it")
                address, length = framework.memory(out[name], dtype, shape)
            except Exception as error:
                raise located(error, file.place(name))
            wanted.append((name, out[name], address, length))
        try:
            with adding("some of what was to be filled is new, and some is old or zero"):
                file.read_into(wanted)
        finally:
            framework.filled(out[name] for name in names)
        return {name: out[name] for name in names}

    def prefetch(self, names: Iterable[str]) -> None:
        """Says that these tensors will be read soon. Of a remote file their bytes are sent ahead,
        at most 128 MiB at a time; of a local one nothing happens.

        Raises SafetensorError if there is no tensor of a name.
        """
        self._file.prefetch(list(names))

    def get_slices(self, slices: Mapping[str, object]) -> dict[str, Any]:
        """Reads a part of each of several tensors together: indices by name, as ``get_slice`` takes
        them. Of a remote file, all parts are on their way at once. Raises as ``get_slice``."""
        file, framework = self._file, self._framework
        resolved = {}
        for name, index in slices.items():
            shape = file.info(name)[1]
            listed = framework.rows(index, shape) is not None
            resolved[name] = None if listed else framework.resolve(index, shape)
        wanted = [(name, parts) for name, parts in resolved.items() if parts is not None]
        read = dict(zip((name for name, _ in wanted), file.read_slices(wanted, framework.empty)))
        return {
            name: _finished(file, framework, name, read[name])
            if name in read
            else self.get_slice(name)[index]
            for name, index in slices.items()
        }

    def get_slice(self, name: str) -> Slice:
        """Returns the tensor of this name as a ``Slice``. Nothing is read until it is indexed.

        Raises SafetensorError if there is none.
        """
        return Slice(self._file, self._framework, name)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._handle = None


class safe_open(_Open):
    """An open file of weights, of either format.

    filename: its path, or its URL: ``https://``, ``s3://``, ``gs://``, ``az://``,
    ``hf://ns/name[@rev]/path``, or any that fsspec knows, or a file that fsspec opens. Of a remote
    file only what is asked for is read. filesystem: the file system of fsspec that the path is of.
    framework: "pt", "np" or "flax", or one of their longer names. device: the
    device for tensors of torch. backend: "pread" or "mmap", for callers of safetensors; at1w maps
    the file with neither, so that a file that shrinks meanwhile raises an error and does not end
    the process. root: the expected root of a packed file, 64 hexadecimal digits; it pins all
    content of the file. bases: a folder or several in which the bases of a version are looked for,
    before the folder of the file and those that ``AT1W_BASES`` lists.

    Raises FileNotFoundError and other OSErrors, for URLs also PermissionError and TimeoutError;
    SafetensorError if it is not a file of weights;
    IntegrityError if it is damaged or has another root.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        framework: str,
        device: Any = "cpu",
        *,
        backend: str = "pread",
        root: str | None = None,
        filesystem: Any = None,
        bases: Bases = None,
    ) -> None:
        self._open(filename, framework, device, backend, root, filesystem, bases=bases)

    def _open(
        self,
        filename: Any,
        framework: str,
        device: Any,
        backend: str,
        root: str | None,
        filesystem: Any = None,
        keep: bool = False,
        bases: Bases = None,
    ) -> None:
        file = _filesystem.open_file(filename, backend, root, filesystem, keep, bases)
        if file.root is not None:
            check_packed(framework, filename)
        super().__init__(file, framework_of(framework, device))

    @classmethod
    def whole(
        cls,
        filename: Any,
        framework: str,
        device: Any = "cpu",
        *,
        backend: str = "pread",
        root: str | None = None,
        bases: Bases = None,
    ) -> safe_open:
        """Opens a file of which all will be read: a remote one is kept in the cache."""
        self = cls.__new__(cls)
        self._open(filename, framework, device, backend, root, keep=True, bases=bases)
        return self


class _safe_open_handle(safe_open):
    """A ``safe_open`` for a file object. It uses only the name of the object."""

    def __init__(
        self,
        f: Any,
        framework: str,
        device: Any = "cpu",
        *,
        backend: str = "pread",
        root: str | None = None,
    ) -> None:
        super().__init__(f.name, framework, device, backend=backend, root=root)


class Slice:
    """A tensor of an open file. Indexing it like an array reads that part. Of a packed file, this
    reads only the chunks that the part touches.

    Indices are integers, ranges with positive steps, and one ellipsis; or a list of rows, or an
    array of them, in any order and any number of times, of which each chunk is read once. For torch
    they follow the rules of torch; any other index of torch works too, and reads the whole tensor.
    For the other frameworks, positions in ranges must lie within the tensor and count from its
    start.
    """

    def __init__(self, file: File, framework: Numpy | Torch, name: str) -> None:
        self._dtype, self._shape = file.info(name)
        self._file, self._framework, self._name = file, framework, name

    def get_shape(self) -> list[int]:
        """Returns the shape of the whole tensor, in elements."""
        return list(self._shape)

    def get_dtype(self) -> str:
        """Returns the dtype as the header spells it, such as "BF16"."""
        return self._dtype

    def __getitem__(self, index: object) -> Any:
        return _finished(self._file, self._framework, self._name, self._read(index))

    def _read(self, index: object) -> Any:
        file, framework, shape = self._file, self._framework, self._shape
        if type(index) is int and shape and -shape[0] <= index < shape[0]:
            # A row, of which a caller may read very many.
            return file.read_slice(self._name, [index], framework.empty)
        rows = framework.rows(index, shape)
        if rows is not None:
            return file.read_rows(self._name, rows, framework.empty)
        parts = framework.resolve(index, shape)
        if parts is not None:
            return file.read_slice(self._name, parts, framework.empty)
        (tensor,) = file.read([self._name], framework.empty)
        return framework.take(tensor, index)


def _finished(file: File, framework: Numpy | Torch, name: str, tensor: Any) -> Any:
    """Turns the memory that was read to into the tensor that a caller gets."""
    try:
        return framework.finish(tensor)
    except Exception as error:
        raise located(error, file.place(name))


def open_bytes(data: bytes, framework: str) -> _Open:
    """Opens a file of either format that is in memory."""
    return _Open(File.from_bytes(data), framework_of(framework, "cpu"))


def load_tensor(
    path: str | os.PathLike[str],
    name: str,
    framework: str = "np",
    slice: Any = None,
    sha256: str | None = None,
    *,
    root: str | None = None,
    bases: Bases = None,
) -> Any:
    """Reads one tensor of a file of either format, or a part of it, by path or URL.

    slice: an index as ``safe_open(...).get_slice`` takes it, such as ``numpy.s_[0:16, :]``. sha256:
    the expected SHA-256 of the raw bytes of the tensor, in hexadecimal digits. The whole tensor is
    read to check it, even for a part. root: the expected root of a packed file; a part is checked
    against it as well. bases: as of ``safe_open``.

    Raises as ``safe_open``, ``get_tensor`` and ``get_slice``; IntegrityError if the tensor has
    another SHA-256.
    """
    with safe_open(path, framework, root=root, bases=bases) as f:
        if sha256 is None:
            return f.get_tensor(name) if slice is None else f.get_slice(name)[slice]
        tensor = f._file.read_pinned(name, sha256, f._framework.empty)
        if slice is not None:
            tensor = f._framework.take(tensor, slice)
        return _finished(f._file, f._framework, name, tensor)
