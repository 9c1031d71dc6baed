"""Files of fsspec: of a file system, of a file that it opened, or of a URL that only it knows."""

from __future__ import annotations

import os
from typing import Any

from ._at1w import File, is_url


def open_file(
    filename: Any, backend: str, root: str | None, filesystem: Any, keep: bool
) -> File:
    """Opens a file of weights by path, by URL, or by fsspec. keep: all of it will be read, and may
    be kept in the cache."""
    if filesystem is None:
        filesystem, filename = _found(filename)
    if filesystem is None:
        return File(filename, backend, root, keep)
    path = os.fspath(filename)

    def read(starts: list[int], ends: list[int]) -> list[bytes]:
        pieces = filesystem.cat_ranges([path] * len(starts), starts, ends, on_error="raise")
        return [bytes(piece) for piece in pieces]

    protocol = filesystem.protocol
    protocol = protocol if isinstance(protocol, str) else protocol[0]
    label = f"{protocol}://{path.lstrip('/')}"
    return File.from_ranges(label, filesystem.info(path)["size"], read, root)


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
