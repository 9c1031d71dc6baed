"""Loading a whole model, or a part of it, from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, Union

from ._at1w import fetch, is_url
from ._errors import SafetensorError
from ._open import Bases, safe_open

_Path = Union[str, "os.PathLike[str]"]

#: The tensors to take: their names, or a function that says so of a name.
Names = Union[Iterable[str], Callable[[str], bool], None]

#: The parts to take: indices by name, or a function of name and shape that returns one, or None
#: for the whole tensor.
Slices = Union[Mapping[str, object], Callable[[str, "list[int]"], object], None]

#: The number of raw bytes of tensors that are read together; a larger one is read alone.
_BATCH = 32 << 20

#: The largest index of shards that is believed, in bytes.
_INDEX = 64 << 20

_INDEX_NAME = "model.safetensors.index.json"


def load(
    path: _Path,
    *,
    names: Names = None,
    slices: Slices = None,
    framework: str | None = None,
    device: Any = None,
    root: str | None = None,
    bases: Bases = None,
) -> dict[str, Any]:
    """Reads the tensors of a file or of a repository, by path or URL.

    path: a file of weights in either format, or a folder with ``model.safetensors.index.json`` and
    shards, or with a single ``model.safetensors`` or ``model.at1w``; ``hf://ns/name[@rev]`` is one
    of a hub. names: the tensors to take, or a function that says so of a name. slices: the parts to
    take of them, such as those of a rank: indices by name, or a function of name and shape that
    returns an index, or None for a whole tensor. framework: "np", "pt" or "flax"; by default "pt"
    where a device is named, else "np". root: the expected root, of a single packed file. bases: as
    of ``safe_open``.

    Raises as ``safe_open`` and ``get_slice``, and SafetensorError if there is no tensor of a name.
    """
    return dict(
        stream(
            path,
            names=names,
            slices=slices,
            framework=framework,
            device=device,
            root=root,
            bases=bases,
        )
    )


def stream(
    path: _Path,
    *,
    names: Names = None,
    slices: Slices = None,
    framework: str | None = None,
    device: Any = None,
    root: str | None = None,
    bases: Bases = None,
) -> Iterator[tuple[str, Any]]:
    """Like ``load``, but yields each name with its tensor as they arrive.

    Bytes of later tensors are on their way while earlier ones are decoded. Beyond the tensors that
    the caller keeps, it holds at most 256 MiB.
    """
    framework = framework or ("np" if device is None else "pt")
    if names is not None and not callable(names):
        names = list(names)
    waiting = list(_files(path, names).items())
    if root is not None and len(waiting) > 1:
        raise ValueError(f"{path}: root is for one file, and there are {len(waiting)}")

    def begin() -> tuple[safe_open, list[list[str]]]:
        file, wanted = waiting.pop(0)
        open_ = safe_open.whole if names is None and slices is None else safe_open
        device_ = "cpu" if device is None else device
        opened = open_(file, framework, device_, root=root, bases=bases)
        chosen = _chosen(opened.offset_keys(), names, wanted)
        if slices is None:
            opened.prefetch(chosen)
        return opened, _batches(opened, chosen)

    missing = set() if names is None or callable(names) else set(names)
    following = begin() if waiting else None
    while following is not None:
        (opened, batches), following = following, None
        with opened:
            for at, batch in enumerate(batches):
                if at + 1 == len(batches) and waiting:
                    # Its first bytes come while the last ones of this file are decoded.
                    following = begin()
                missing -= set(batch)
                yield from _read(opened, batch, slices)
        if following is None and waiting:
            following = begin()
    if missing:
        raise SafetensorError(f"{path}: there is no tensor {', '.join(sorted(missing))}")


def _chosen(keys: list[str], names: Names, wanted: list[str] | None) -> list[str]:
    """Returns the tensors of a file that are wanted, in the order of their data."""
    if wanted is not None:
        lacking = set(wanted) - set(keys)
        if lacking:
            raise SafetensorError(f"a shard lacks {', '.join(sorted(lacking))}: see its index")
        keep = set(wanted)
    elif names is None:
        return keys
    elif callable(names):
        return [key for key in keys if names(key)]
    else:
        keep = set(names)
    return [key for key in keys if key in keep]


def _batches(opened: safe_open, names: list[str]) -> list[list[str]]:
    """Groups tensors of one file into those that are read together."""
    batches: list[list[str]] = []
    size = 0
    for name in names:
        length = opened._file.tensor_len(name)
        if not batches or size + length > _BATCH:
            batches.append([])
            size = 0
        batches[-1].append(name)
        size += length
    return batches


def _read(opened: safe_open, batch: list[str], slices: Slices) -> Iterator[tuple[str, Any]]:
    if callable(slices):
        indices = {name: slices(name, opened.get_slice(name).get_shape()) for name in batch}
    else:
        indices = {name: (slices or {}).get(name) for name in batch}
    indices = {name: index for name, index in indices.items() if index is not None}
    read = opened.get_tensors([name for name in batch if name not in indices])
    if indices:
        read.update(opened.get_slices(indices))
    # A tensor that the caller drops is gone.
    while read:
        name = next(iter(read))
        yield name, read.pop(name)


def _files(path: _Path, names: Names) -> dict[str, list[str] | None]:
    """Returns the files of weights that are needed, each with the tensors to take of it; None where
    no index says which it has."""
    path = os.fspath(path)
    if not is_url(path):
        if not os.path.isdir(path):
            return {path: None}
        return _shards(path, _read_local(os.path.join(path, _INDEX_NAME)), names, os.path.exists)
    if path.endswith((".safetensors", ".at1w")) or not _is_folder(path):
        return {path: None}
    path = path.rstrip("/")
    try:
        index: bytes | None = fetch(f"{path}/{_INDEX_NAME}", _INDEX)
    except FileNotFoundError:
        index = None
    return _shards(path, index, names, _is_there)


def _is_folder(url: str) -> bool:
    """Whether a URL names a folder: it ends in a slash, or is ``hf://ns/name``."""
    return url.endswith("/") or (url.startswith("hf://") and url.rstrip("/").count("/") == 3)


def _is_there(url: str) -> bool:
    try:
        safe_open(url, "np")
    except FileNotFoundError:
        return False
    return True


def _read_local(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _shards(
    folder: str, index: bytes | None, names: Names, exists: Callable[[str], bool]
) -> dict[str, list[str] | None]:
    def found(name: str) -> str:
        """Returns the path of a file, which may be packed under a name of its own."""
        path = f"{folder}/{name}"
        stem, suffix = os.path.splitext(path)
        packed = f"{stem}.at1w"
        return packed if suffix == ".safetensors" and not exists(path) and exists(packed) else path

    if index is None:
        return {found("model.safetensors"): None}
    try:
        weight_map = json.loads(index)["weight_map"]
        mapped = {str(name): str(file) for name, file in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SafetensorError(f"{folder}/{_INDEX_NAME}: is no index of shards: {error}") from None
    if names is not None:
        keep = names if callable(names) else set(names).__contains__
        unknown = [] if callable(names) else sorted(set(names) - mapped.keys())
        if unknown:
            raise SafetensorError(f"{folder}: there is no tensor {', '.join(unknown)}")
        mapped = {name: file for name, file in mapped.items() if keep(name)}
    shards: dict[str, list[str] | None] = {}
    for name, file in mapped.items():
        if os.path.isabs(file) or ".." in file.replace("\\", "/").split("/"):
            raise SafetensorError(f"{folder}/{_INDEX_NAME}: maps {name} out of the folder: {file}")
    for file in dict.fromkeys(mapped.values()):
        shards[found(file)] = [name for name, other in mapped.items() if other == file]
    return shards
