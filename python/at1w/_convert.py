"""Packing, unpacking and verifying files and repositories."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, NamedTuple, Union

from . import _at1w
from ._filesystem import folders
from ._open import Bases
from ._errors import IncompleteWarning, SafetensorError

#: True for a tqdm bar, or a function that is called with the bytes done and the bytes in total.
Progress = Union[bool, Callable[[int, int], object]]

_Path = Union[str, "os.PathLike[str]"]


class Packed(NamedTuple):
    """A file that was packed."""

    #: The path of the file; in a repository, relative to the repository.
    path: str
    #: The root of the file, 64 hexadecimal digits. Keep it to pin the file.
    root: str
    #: The size of the safetensors file in bytes.
    original_len: int
    #: The size of the packed file in bytes.
    packed_len: int


def pack(
    source: _Path,
    target: _Path | None = None,
    *,
    level: str = "default",
    keep_names: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    progress: Progress = False,
    base: Bases = None,
) -> list[Packed]:
    """Packs a safetensors file, or a directory of them. Carries over its other files.

    target: by default ``model.at1w`` for ``model.safetensors``, and ``model.at1w/`` for ``model/``.
    level: "fast", "default" or "max", from fast to small. keep_names: the packed files of a
    directory keep their names, so that loaders find them (see ``at1w.hook``). overwrite: replace
    an existing target. strict: refuse a directory that lacks shards, or holds files that are not
    what their names say, such as Git LFS pointers. Otherwise each such fault is an
    IncompleteWarning, and everything else is packed. progress: see ``Progress``. base: files (.at1w
    or .safetensors) of which the packed one keeps only the difference; they are needed to read it.

    Leaves nothing behind on failure. Raises SafetensorError if the source is not a valid file,
    FileExistsError, and other OSErrors.
    """
    source = Path(source)
    if keep_names and not source.is_dir():
        raise ValueError("keep_names is for directories: name the target of a file")
    if base is not None and source.is_dir():
        raise ValueError("base is for files one by one, not for directories")
    if target is None:
        stem = source.name.removesuffix(".safetensors") if source.is_file() else source.name
        target = source.with_name(stem + ".at1w")
    with _callback(progress, "packing") as callback:
        done, faults = _at1w.pack(
            source, target, level, keep_names, overwrite, strict, callback, folders(base)
        )
    _warn(faults)
    return [Packed(*entry) for entry in done]


def unpack(
    source: _Path,
    target: _Path | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = False,
    bases: Bases = None,
) -> None:
    """Restores a packed file, or a packed repository, byte for byte.

    target: by default the name without ``.at1w``; a file gets ``.safetensors`` in its place.
    bases: folders in which the bases of a file are looked for, as of ``safe_open``.

    Every byte is checked before the result gets its name. Raises IntegrityError if the source is
    damaged, FileExistsError, and other OSErrors.
    """
    source = Path(source)
    if target is None:
        if source.suffix != ".at1w":
            raise ValueError(f"{source} does not end in .at1w: name the target")
        target = source.with_suffix("" if source.is_dir() else ".safetensors")
    with _callback(progress, "unpacking") as callback:
        _at1w.unpack(source, target, overwrite, callback, folders(bases))


def verify(
    path: _Path,
    *,
    root: str | None = None,
    sha256: str | None = None,
    original: bool = False,
    strict: bool = False,
    progress: Progress = False,
    bases: Bases = None,
) -> dict[str, str | None]:
    """Checks every byte of a packed file, by path or URL, or of a packed repository against its
    manifest. Returns the root of each packed file by its path.

    root: the expected root of a file, 64 hexadecimal digits. sha256: the expected SHA-256 of the
    safetensors file, as hubs list it. original: also check the recorded SHA-256 of the safetensors
    file. strict: raise SafetensorError if a repository is intact but not a whole model. Otherwise
    each such fault is an IncompleteWarning. bases: folders in which the bases of a file are looked
    for, as of ``safe_open``.

    A safetensors file that is not packed is accepted too. Without sha256, only its header can be
    checked. Its root is None.

    Raises IntegrityError, naming tensor and chunk.
    """
    with _callback(progress, "verifying") as callback:
        folders_of = folders(bases)
        roots, faults = _at1w.verify(os.fspath(path), root, sha256, original, callback, folders_of)
    if strict and faults:
        raise SafetensorError(f"{path}: the repository is not whole: {'; '.join(faults)}")
    _warn(faults)
    return dict(roots)


def _warn(faults: list[str]) -> None:
    for fault in faults:
        # Level 3 is the line that called ``pack`` or ``verify``.
        warnings.warn(fault, IncompleteWarning, stacklevel=3)


def convert_safetensors(
    source: _Path,
    target: _Path,
    *,
    level: str = "default",
    overwrite: bool = False,
    progress: Progress = False,
) -> None:
    """Converts a file of weights to the format that the name of the target says: packs a
    safetensors file to ``.at1w``, or restores a packed file to any other name.

    Raises the same exceptions as ``pack`` and ``unpack``.
    """
    if Path(target).suffix == ".at1w":
        pack(source, target, level=level, overwrite=overwrite, progress=progress)
    else:
        unpack(source, target, overwrite=overwrite, progress=progress)


@contextmanager
def _callback(progress: Progress, what: str) -> Iterator[Callable[[int, int], object] | None]:
    if progress is not True:
        yield progress or None
        return
    from tqdm.auto import tqdm

    with tqdm(desc=what, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def callback(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield callback
