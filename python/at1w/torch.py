"""Saving and loading tensors of torch.

Tensors that share memory cannot be saved under two names. ``save_model`` and ``load_model`` handle
models that have such tensors.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from . import _open, _update
from ._at1w import TensorSpec, serialize, serialize_file
from ._errors import SafetensorError, naming
from ._filesystem import folders
from ._frameworks import framework
from ._load import stream
from ._save import Dense, described
from ._update import Receipt

__all__ = [
    *("load", "load_file", "load_model", "load_model_from", "load_tensor"),
    *("save", "save_file", "save_model", "update"),
]


def save(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Returns the bytes of a safetensors file with these tensors, all dense and contiguous.

    Raises ValueError for other tensors; RuntimeError for tensors that share memory; SafetensorError
    for a dtype that safetensors lacks, and for a tensor without all its memory. Each names the
    tensor.
    """
    specs, _alive = _specs(tensors)
    return serialize(specs, metadata)


def save_file(
    tensors: dict[str, torch.Tensor],
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    *,
    level: str = "default",
    base: _open.Bases = None,
) -> None:
    """Saves tensors as a file: packed if its name ends in ``.at1w``, else safetensors. The file
    appears whole or not at all. The tensors must be dense and contiguous. They must not change
    meanwhile.
    level: "fast", "default" or "max", from fast to small. base: files of which a packed one keeps
    only the difference. Neither has an effect on a safetensors file.

    Raises as ``save``, OSError, and ValueError for another level.
    """
    specs, _alive = _specs(tensors)
    serialize_file(specs, filename, metadata, level=level, base=folders(base))


def load(data: bytes) -> dict[str, torch.Tensor]:
    """Returns the tensors of a file of either format in memory, by name.

    Raises SafetensorError if it is not such a file; IntegrityError if it is damaged.
    """
    return _open.open_bytes(data, "pt").get_tensors()


def load_file(
    filename: str | os.PathLike[str],
    device: str | int = "cpu",
    *,
    backend: str = "pread",
    root: str | None = None,
    bases: _open.Bases = None,
    out: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Reads the tensors of a file of either format, by path or URL. out: a tensor for each, by
    name, on the cpu, to be filled and returned, as ``safe_open(...).get_tensors`` takes them.

    Raises as ``at1w.safe_open`` and ``get_tensors``.
    """
    whole = _open.safe_open.whole
    with whole(filename, "pt", device, backend=backend, root=root, bases=bases) as f:
        return f.get_tensors(None if out is None else [*f.offset_keys(), *out], out=out)


def load_tensor(
    path: str | os.PathLike[str],
    name: str,
    slice: Any = None,
    sha256: str | None = None,
    *,
    bases: _open.Bases = None,
) -> torch.Tensor:
    """Reads a tensor like ``at1w.load_tensor``, as a tensor of torch."""
    return _open.load_tensor(path, name, "pt", slice, sha256, bases=bases)


def update(
    tensors: dict[str, torch.Tensor],
    path: str | os.PathLike[str],
    *,
    root: str | None = None,
) -> Receipt:
    """Turns tensors in memory, which are the bases of those of a file, into those of the file, in
    place. path: a packed file, by path or URL, as ``save_file(new, path, base=old)`` makes one. Its
    bases are not looked for. root: the expected root of the file.

    Each tensor is proven by its SHA-256 before a byte of it changes: it is wholly the old or wholly
    the new one, whatever happens. Those that are new already stay, so that an update that failed
    can be repeated. Nothing else may read or write the tensors meanwhile.

    Raises IntegrityError if the file is damaged, has another root, or a tensor is neither the base
    nor that of the file; as ``at1w.safe_open`` otherwise. The attribute ``updated`` of the
    exception has the names that are new already.
    """

    def is_own(tensor: torch.Tensor, found: Dense) -> bool:
        return tensor.device.type == "cpu" and found.address == tensor.data_ptr()

    _check_memory(tensors)
    try:
        return _update.update(tensors, path, _dense, is_own, root)
    finally:
        framework("pt", "cpu").filled(tensors.values())


def save_model(
    model: torch.nn.Module,
    filename: str,
    metadata: dict[str, str] | None = None,
    force_contiguous: bool = True,
    *,
    level: str = "default",
) -> None:
    """Saves the state of a model. Of tensors that share memory, one is saved; the metadata maps
    each other name to the saved one. force_contiguous: save contiguous copies of tensors that are
    not contiguous.

    Raises as ``save_file``, and RuntimeError if tensors share memory and none covers all of it.
    """
    state = model.state_dict()
    _check_memory(state)
    state = _resolved_state(state)
    for kept, removed in _remove_duplicate_names(state).items():
        metadata = {**dict.fromkeys(removed, kept), **(metadata or {})}
        for name in removed:
            del state[name]
    if force_contiguous:
        state = {name: tensor.contiguous() for name, tensor in state.items()}
    try:
        save_file(state, filename, metadata, level=level)
    except ValueError as error:
        raise ValueError(f"{error} Or use save_model(..., force_contiguous=True).") from error


def load_model(
    model: torch.nn.Module,
    filename: str | os.PathLike[str],
    strict: bool = True,
    device: str | int = "cpu",
    *,
    backend: str = "pread",
) -> tuple[set[str], list[str]]:
    """Loads a file into a model. Returns the names that the file lacks, and the names that the
    model does not use.

    Tensors are decoded into the memory of the model where it has their dtype and is on the cpu. In
    a model that takes a state in a way of its own, they are loaded first and copied then. Where
    decoding into the model fails, some of its tensors are new, and some are old or zero.

    Raises as ``load_file``, RuntimeError for a tensor of another shape and, with ``strict``, if
    there are such names.
    """
    if str(device) == "cpu" and _is_plain(model):
        with _open.safe_open.whole(filename, "pt", backend=backend) as f:
            return _fill(model, f, strict)
    state = load_file(filename, device, backend=backend)
    missing, unexpected = model.load_state_dict(state, strict=False)
    return _unmatched(model, list(state), set(missing), list(unexpected), strict)


# The hooks of a module that see or change a state.
_HOOKS = (
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    *("_state_dict_pre_hooks", "_state_dict_hooks"),
)

# The methods of a module that do, and the classes whose methods do nothing but copy tensors.
_METHODS = ("load_state_dict", "_load_from_state_dict", "state_dict", "_save_to_state_dict")
_BATCH_NORM = torch.nn.modules.batchnorm._NormBase
_COPYING = (torch.nn.Module, _BATCH_NORM)


def _is_plain(model: torch.nn.Module) -> bool:
    """Returns whether loading a state into a model is nothing but copying tensors by name."""
    copying = {getattr(kind, method) for kind in _COPYING for method in _METHODS}
    for module in model.modules():
        methods = {getattr(type(module), method) for method in _METHODS}
        if not methods <= copying or not vars(module).keys().isdisjoint(_METHODS):
            return False
        if type(module).get_extra_state is not torch.nn.Module.get_extra_state:
            return False
        if any(getattr(module, hooks, None) for hooks in _HOOKS):
            return False
    return True


def _fill(
    model: torch.nn.Module, f: _open.safe_open, strict: bool
) -> tuple[set[str], list[str]]:
    """Loads a file into a model whose state is nothing but tensors by name. Checks all of them
    before the model changes."""
    own = model.state_dict(keep_vars=True)
    names = f.offset_keys()
    used = [name for name in names if name in own]
    # Torch takes these to be there: older files lack them.
    counters = {
        f"{name}.num_batches_tracked".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, _BATCH_NORM)
    }
    problems, in_place = [], {}
    for name in used:
        tensor, part = own[name], f.get_slice(name)
        shape = part.get_shape()
        if torch.nn.parameter.is_lazy(tensor) or (not tensor.dim() and len(shape) == 1):
            continue
        if part.get_dtype() != "F4" and list(tensor.shape) != shape:
            problems.append(
                f"size mismatch for {name}: copying a param with shape {torch.Size(shape)} from"
                f" checkpoint, the shape in current model is {tensor.shape}."
            )
        elif type(tensor) in (torch.Tensor, torch.nn.Parameter) and f.can_fill(name, tensor):
            in_place[name] = tensor
    if problems:
        kind = type(model).__name__
        raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {kind}:", *problems]))
    missing = own.keys() - set(used) - counters
    unexpected = [name for name in names if name not in own]
    unmatched = _unmatched(model, names, missing, unexpected, strict)
    # Of tensors that share memory the last wins, as torch has it.
    for group in _find_shared_tensors(in_place):
        for name in group if len(group) > 1 else ():
            del in_place[name]
    rest = f.get_tensors([name for name in used if name not in in_place])
    f.get_tensors(out=in_place)
    model.load_state_dict(rest, strict=False)
    return unmatched


def load_model_from(
    path: str | os.PathLike[str],
    model: torch.nn.Module,
    strict: bool = True,
    *,
    root: str | None = None,
) -> tuple[set[str], list[str]]:
    """Streams a file or a repository, by path or URL, into a model, wherever its memory is. Returns
    the names that the file lacks, and the names that the model does not use.

    Each tensor is copied as it arrives, and converted to the dtype of the model: beyond the model,
    this holds at most 256 MiB. A tensor of the model on the device ``meta`` gets memory on the
    processor, with the dtype of the file. Where it fails, some tensors of the model are new and
    some are old. root: the expected root, of a single packed file.

    Raises as ``at1w.load``, and RuntimeError for a tensor of another shape and, with ``strict``, if
    there are such names.
    """
    state = model.state_dict(keep_vars=True)
    loaded, unexpected = [], []
    with torch.no_grad():
        for name, tensor in stream(path, framework="pt", root=root):
            target = state.get(name)
            if target is None:
                unexpected.append(name)
            elif target.shape != tensor.shape:
                shapes = f"{list(tensor.shape)} in the file, {list(target.shape)} in the model"
                raise RuntimeError(f'"{name}" has another shape: {shapes}')
            elif target.is_meta:
                _materialize(model, [n for n, other in state.items() if other is target], tensor)
            else:
                target.copy_(tensor)
            loaded.append(name)
    missing = state.keys() - set(loaded)
    return _unmatched(model, loaded, missing, unexpected, strict)


def _materialize(model: torch.nn.Module, names: list[str], tensor: torch.Tensor) -> None:
    """Puts a tensor in the place of one without memory, under all its names."""
    replacement: torch.Tensor | None = None
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        old = getattr(module, leaf)
        if replacement is None:
            replacement = tensor
            if isinstance(old, torch.nn.Parameter):
                replacement = torch.nn.Parameter(tensor, requires_grad=old.requires_grad)
        setattr(module, leaf, replacement)


def _unmatched(
    model: torch.nn.Module,
    loaded: list[str],
    missing: set[str],
    unexpected: list[str],
    strict: bool,
) -> tuple[set[str], list[str]]:
    """Returns the names that a file lacks, and those that the model does not use. A name whose
    tensor shares memory with a loaded one is not lacking."""
    own = _resolved_state(model.state_dict())
    removed = _remove_duplicate_names(own, preferred_names=loaded)
    for name in (name for names in removed.values() for name in names):
        if name in missing:
            # The tensor shares memory with one that was loaded.
            missing.remove(name)
        else:
            unexpected.append(name)
    if strict and (missing or unexpected):
        lines = [f"Error(s) in loading state_dict for {type(model).__name__}:"]
        for kind, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                quoted = ", ".join(f'"{name}"' for name in sorted(names))
                lines.append(f"    {kind} key(s) in state_dict: {quoted}")
        raise RuntimeError("\n".join(lines))
    return missing, unexpected


def _resolved_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the tensors of a model. A tensor that conjugates or negates another becomes a tensor
    of its own, because the other could not be saved in its place."""
    return {name: _resolved(tensor) for name, tensor in state.items()}


# The names and results of the functions below are those of safetensors.torch, on which other
# packages build.


def storage_ptr(tensor: torch.Tensor) -> int:
    """Returns the address of the storage that a tensor is a view of; 0 if it has none."""
    try:
        return tensor.untyped_storage().data_ptr()
    except RuntimeError:
        # The tensor wraps others, or only pretends to be a tensor.
        return 0


def storage_size(tensor: torch.Tensor) -> int:
    """Returns the size of the storage of a tensor, in bytes."""
    return tensor.untyped_storage().nbytes()


def _end_ptr(tensor: torch.Tensor) -> int:
    """Returns the address at which the last element of a tensor ends."""
    return storage_ptr(tensor) + _reach(tensor)


def _reach(tensor: torch.Tensor) -> int:
    """Returns the offset in its storage at which the last element of a tensor ends, in bytes."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    elements = last + 1 if tensor.nelement() else 0
    return (tensor.storage_offset() + elements) * tensor.element_size()


def _is_complete(tensor: torch.Tensor) -> bool:
    """Returns whether a tensor covers all of the storage that it is a view of."""
    covered = tensor.nelement() * tensor.element_size()
    whole = (tensor.data_ptr(), covered) == (storage_ptr(tensor), storage_size(tensor))
    return whole and _is_distinct(tensor)


def _is_distinct(tensor: torch.Tensor) -> bool:
    """Returns whether the elements of a tensor lie in memory without overlaps and gaps."""
    count = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size != 1 and stride != count:
            return False
        count *= size
    return True


def _find_shared_tensors(state_dict: dict[str, torch.Tensor]) -> list[set[str]]:
    """Groups the names of the tensors: one group for all tensors whose memory overlaps."""
    by_storage = defaultdict(list)
    for name, tensor in state_dict.items():
        if tensor.device.type != "meta" and storage_ptr(tensor) and storage_size(tensor):
            storage = (tensor.device, storage_ptr(tensor), storage_size(tensor))
            by_storage[storage].append(name)
    groups: list[set[str]] = []
    for names in by_storage.values():
        spans = sorted((state_dict[n].data_ptr(), _end_ptr(state_dict[n]), n) for n in names)
        reached = 0
        for start, end, name in spans:
            if start < reached:
                groups[-1].add(name)
            else:
                groups.append({name})
            reached = max(reached, end)
    return groups


def _remove_duplicate_names(
    state_dict: dict[str, torch.Tensor],
    *,
    preferred_names: Iterable[str] = (),
    discard_names: Iterable[str] = (),
) -> dict[str, list[str]]:
    """Chooses one of each group of tensors that share memory. Maps its name to the other names.

    Prefers a preferred name, else a name that is not to be discarded, else any; the first of them.

    Raises RuntimeError if none covers all of the memory.
    """
    preferred, discarded = set(preferred_names or ()), set(discard_names or ())
    removed = {}
    for names in _find_shared_tensors(state_dict):
        complete = {name for name in names if _is_complete(state_dict[name])}
        if not complete:
            raise RuntimeError(
                f"Of the tensors {sorted(names)}, which share memory, none covers all of it: "
                "saving one would save memory that the model does not use. Save clones of them."
            )
        kept = min(complete & preferred or complete - discarded or complete)
        if len(names) > 1:
            removed[kept] = sorted(names - {kept})
    return removed


def _specs(
    tensors: dict[str, torch.Tensor],
) -> tuple[dict[str, TensorSpec], list[torch.Tensor]]:
    """Describes tensors. Also returns the tensors to keep alive while they are saved."""
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    _check_memory(tensors)
    shared = [names for names in _find_shared_tensors(tensors) if len(names) > 1]
    if shared:
        raise RuntimeError(
            f"Some tensors share memory, which would be saved twice: {shared}. "
            "Use save_model, or save clones of them."
        )
    return described(tensors, _dense)


# Devices whose tensors are not views of memory that torch knows.
_WITHOUT_STORAGE = {"lazy", "xla"}


def _check_memory(tensors: dict[str, Any]) -> None:
    """Checks that these are strided tensors within their storage, so that they can be read.

    Torch itself reads past the end of a storage that was resized.
    """
    # The first two messages are copied from safetensors, to the letter.
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}"
            )
    sparse = [name for name, tensor in tensors.items() if "sparse" in str(tensor.layout)]
    if sparse:
        raise ValueError(
            f"You are trying to save a sparse tensors: `{sparse}` which this library does not support."
            " You can make it a dense tensor before saving with `.to_dense()` but be aware this might"
            " make a much larger file than needed."
        )
    for name, tensor in tensors.items():
        with naming(name):
            if tensor.layout != torch.strided or tensor.is_nested:
                layout = "nested" if tensor.is_nested else tensor.layout
                raise ValueError(
                    f"the layout is {layout}, and only dense tensors can be saved: save what it is"
                    " made of, or a dense copy"
                )
            if tensor.device.type == "meta":
                raise RuntimeError("Cannot copy out of meta tensor, it has no data: load it first")
            if not tensor.nelement() or tensor.device.type in _WITHOUT_STORAGE:
                continue
            if not storage_ptr(tensor):
                raise SafetensorError(
                    f"this {type(tensor).__name__} has no memory: its storage was freed, or it only"
                    " wraps other tensors: gather it, or save those"
                )
            reach, size = _reach(tensor), storage_size(tensor)
            if reach > size:
                raise SafetensorError(
                    f"it reaches to byte {reach} of a storage of {size} bytes, which was resized:"
                    " save it before that, or gather it again"
                )


def _dense(tensor: torch.Tensor) -> Dense:
    """Returns a tensor ready to be saved, on the host. The tensor must be contiguous."""
    if not tensor.is_contiguous():
        raise ValueError(
            "You are trying to save a non contiguous tensor, which is not allowed: save its"
            " .contiguous(), or the whole tensor that it is a part of."
        )
    tensor = _resolved(tensor).to("cpu")
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Dense(tensor, dtype, tensor.data_ptr(), tensor.nelement() * tensor.element_size())


def _resolved(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the same values without the marks that make torch conjugate or negate them."""
    return tensor.resolve_conj().resolve_neg()
