"""Files of fsspec: of a file system, of a file that it opened, or of a URL that only it knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._at1w import File, is_url

#: Lists that want to know of each file that is opened.
_watchers: list[list[tuple[str, File]]] = []


@contextmanager
def watched() -> Iterator[list[tuple[str, File]]]:
    """Collects the files that are opened meanwhile, each with its path."""
    files: list[tuple[str, File]] = []
    _watchers.append(files)
    try:
        yield files
    finally:
        # By identity: two lists may be equal.
        _watchers[:] = [watcher for watcher in _watchers if watcher is not files]


def open_file(
    filename: Any,
    backend: str,
    root: str | None,
    filesystem: Any,
    keep: bool,
    bases: Any = None,
) -> File:
    """Opens a file of weights by path, by URL, or by fsspec. keep: all of it will be read, and may
    be kept in the cache. bases: folders in which bases are looked for."""
    if filesystem is None:
        filesystem, filename = _found(filename)
    if filesystem is None:
        file = File(filename, backend, root, keep, folders(bases))
    else:
        file = _from(filesystem, filename, root)
    for watcher in list(_watchers):
        watcher.append((os.fspath(filename), file))
    return file


def _from(filesystem: Any, filename: Any, root: str | None) -> File:
    path = os.fspath(filename)

    def read(starts: list[int], ends: list[int]) -> list[bytes]:
        pieces = filesystem.cat_ranges([path] * len(starts), starts, ends, on_error="raise")
        return [bytes(piece) for piece in pieces]

    protocol = filesystem.protocol
    protocol = protocol if isinstance(protocol, str) else protocol[0]
    label = f"{protocol}://{path.lstrip('/')}"
    return File.from_ranges(label, filesystem.info(path)["size"], read, root)


def folders(paths: Any) -> list[Any]:
    """Returns a list of paths that a caller may give as one, as several, or not at all."""
    if paths is None:
        return []
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)


def _found(file: Any) -> tuple[Any, Any]:
    """Returns the file system and the path in it, where fsspec is what opens a file."""
    if hasattr(file, "fs") and hasattr(file, "path"):
        return file.fs, file.path
    text = file if isinstance(file, str) else ""
    # Chains of protocols, such as simplecache::s3://, are of fsspec too.
    if "://" in text and (not is_url(text) or "::" in text):
        try:
            import fsspec
        except ImportError:
            raise ValueError(
                f"{text}: this protocol needs the package fsspec, and one for the protocol"
            ) from None
        return fsspec.core.url_to_fs(text)
    return None, file
