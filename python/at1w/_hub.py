"""Downloads of huggingface_hub that arrive packed, while the hook is enabled.

A server of at1w announces the packed form of a file of weights in its answer about the plain one.
Such a file is downloaded to the cache of the hub in that form, under the name that loaders expect.
Files of other servers, other files, and downloads to other folders stay as they are.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Callable, NamedTuple
from urllib.parse import urljoin, urlsplit

_TYPE = "application/vnd.at1w"

#: The number of announcements that are remembered: each is used soon after.
_REMEMBERED = 1000

_NOTE = "at1w.txt"

_TEXT = """\
Files of weights in this folder are packed by at1w. This restores them, byte for byte:

    at1w unpack --in-place {folder}

The command comes with the package at1w.
"""


class Packed(NamedTuple):
    """A packed file in the cache of the hub."""

    path: str
    #: Its size in bytes, and that of the file that it stands for.
    size: int
    original: int


class _Announced(NamedTuple):
    url: str
    #: The SHA-256 of the original file, where the server states one.
    sha256: str


def patch(module: ModuleType) -> list[tuple[str, Any]]:
    """Replaces the functions of ``huggingface_hub.file_download``. Returns the former ones by name;
    none if this version of it has not got them."""
    names = ("http_get", "hf_raise_for_status")
    if not all(callable(getattr(module, name, None)) for name in names):
        return []
    former = [(name, getattr(module, name)) for name in names]
    announced: dict[str, _Announced] = {}
    lock = threading.Lock()
    get, check = (function for _, function in former)

    def hf_raise_for_status(response: Any, *args: Any, **kwargs: Any) -> Any:
        result = check(response, *args, **kwargs)
        found = _announcement(response)
        if found is not None:
            with lock:
                while len(announced) >= _REMEMBERED:
                    announced.pop(next(iter(announced)))
                announced[str(response.request.url)] = found
        return result

    def http_get(url: str, temp_file: Any, **kwargs: Any) -> Any:
        with lock:
            found = announced.get(url)
        if found is None or not _in_cache(temp_file):
            return get(url, temp_file, **kwargs)
        return _get(get, url, temp_file, found, kwargs)

    module.http_get = http_get  # type: ignore[attr-defined]
    module.hf_raise_for_status = hf_raise_for_status  # type: ignore[attr-defined]
    return former


def _announcement(response: Any) -> _Announced | None:
    """Returns the packed form that an answer about a file announces, on the same server."""
    if response.request.method != "HEAD":
        return None
    url = str(response.request.url)
    for link in response.headers.get("Link", "").split(","):
        match = re.fullmatch(r'\s*<([^>]*)>\s*;\s*rel="?alternate"?\s*;\s*type="?([^"]*)"?\s*', link)
        if match is None or match[2] != _TYPE:
            continue
        packed = urljoin(url, match[1])
        if urlsplit(packed)[:2] == urlsplit(url)[:2]:
            etag = response.headers.get("X-Linked-ETag") or response.headers.get("ETag") or ""
            return _Announced(packed, etag.strip('"'))
    return None


def _in_cache(file: Any) -> bool:
    """Whether a file becomes a blob of the cache of the hub."""
    return os.path.basename(os.path.dirname(os.path.abspath(file.name))) == "blobs"


def _get(
    get: Callable[..., Any], url: str, file: Any, found: _Announced, kwargs: dict[str, Any]
) -> Any:
    """Downloads the packed form of a file; the plain one if that is not what was announced."""
    from . import _at1w
    from ._errors import SafetensorError

    resumed = kwargs.get("resume_size", 0) > 0
    file.flush()
    if resumed and not _at1w.is_packed(file.name):
        return get(url, file, **kwargs)
    separator = "&" if urlsplit(found.url).query else "?"
    packed = f"{found.url}{separator}features={_at1w.FEATURES:x}"
    start = file.tell() - kwargs.get("resume_size", 0)
    answer = _head(packed, kwargs.get("headers"))
    # A few bytes are no smaller packed.
    if answer is not None and answer[1] < (kwargs.get("expected_size") or answer[1] + 1):
        etag, size = answer
        headers = {**(kwargs.get("headers") or {}), "If-Range": etag}
        get(packed, file, **{**kwargs, "headers": headers, "expected_size": size})
        file.flush()
        try:
            _check(file.name, found.sha256, resumed)
        except SafetensorError:
            pass
        else:
            _note(os.path.dirname(os.path.dirname(os.path.abspath(file.name))))
            return None
    file.seek(start)
    file.truncate()
    return get(url, file, **{**kwargs, "resume_size": 0})


def _head(url: str, headers: dict[str, str] | None) -> tuple[str, int] | None:
    """Returns the mark and the size of the packed form; None if it is not there, or its server
    does not answer."""
    from huggingface_hub.utils import get_session

    try:
        answer = get_session().head(url, headers=headers, timeout=10)
    except Exception:
        # Whose class it is differs by version of huggingface_hub. The plain download will tell.
        return None
    size, etag = answer.headers.get("Content-Length", ""), answer.headers.get("ETag", "")
    kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
    if answer.status_code != 200 or kind != _TYPE or not size.isdigit() or not etag:
        return None
    return etag, int(size)


def _check(path: str, sha256: str, resumed: bool) -> None:
    """Checks that a file is the packed form of the file with this SHA-256. The bytes of tensors are
    checked whenever they are read; those of a file that comes from two downloads are now, too.

    Raises SafetensorError.
    """
    from . import _at1w
    from ._errors import IntegrityError

    file = _at1w.File(path)
    if file.original_sha256 is None or file.original_sha256 != sha256.lower():
        raise IntegrityError(f"{path}: is not the packed form of {sha256}")
    if resumed:
        _at1w.verify(path, None, None, False, None, [])


def _note(folder: str) -> None:
    """Leaves word how to restore the packed files of a folder of the cache."""
    path = os.path.join(folder, _NOTE)
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(_TEXT.format(folder=folder))


def cache_folder() -> str:
    """Returns the folder of the cache of the hub, by the rules of its client."""
    found = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if found:
        return os.path.expanduser(found)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(caches, "huggingface")
    return os.path.join(os.path.expanduser(home), "hub")


def packed_files(folder: str) -> Iterator[Packed]:
    """Finds the packed files in a cache of the hub."""
    from . import _at1w
    from ._errors import SafetensorError

    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in ("snapshots", ".locks"))
        for name in sorted(names) if os.path.basename(parent) == "blobs" else ():
            path = os.path.join(parent, name)
            try:
                if not _at1w.is_packed(path):
                    continue
                yield Packed(path, os.path.getsize(path), _at1w.File(path).original_len)
            except (OSError, SafetensorError):
                # One that is still written, or is damaged: loading it says so.
                continue
