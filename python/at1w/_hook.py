"""The functions that replace those of safetensors while the hook is enabled."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, Callable

#: The functions of safetensors that were replaced, each with its replacement.
_replaced: list[tuple[Any, Any]] = []

#: The functions of huggingface_hub that were replaced, by name.
_of_hub: list[tuple[str, Any]] = []

_HUB = "huggingface_hub.file_download"


def enable() -> None:
    """Enables the hook in this process, now or as soon as safetensors and huggingface_hub are
    imported. Also replaces the functions in modules that have already imported them from
    safetensors."""
    _stop_waiting()
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])
        elif At1wHook not in sys.meta_path:
            sys.meta_path.insert(0, At1wHook)


def disable() -> None:
    """Undoes ``enable`` in this process."""
    _stop_waiting()
    _rebind([(ours, original) for original, ours in _replaced])
    _replaced.clear()
    for name, former in _of_hub:
        setattr(sys.modules[_HUB], name, former)
    _of_hub.clear()


def enabled() -> bool:
    """Returns whether the hook is enabled in this process."""
    return bool(_replaced) or bool(_waiting())


class At1wHook:
    """A finder that waits in ``sys.meta_path`` for the modules to be imported in which functions
    are replaced. At the start of Python, an installed hook puts a class of the same name there,
    which later hands over to this one (see ``at1w.hook``)."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _PATCHES:
            return None
        others = [f for f in sys.meta_path if f is not cls and hasattr(f, "find_spec")]
        spec = next(filter(None, (f.find_spec(name, path, target) for f in others)), None)
        if spec is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if cls in sys.meta_path:
                    _PATCHES[name](module)
                    if all(waited in sys.modules for waited in _PATCHES):
                        _stop_waiting()

            loader.exec_module = exec_module
        return spec


def _waiting() -> list[Any]:
    return [f for f in sys.meta_path if getattr(f, "__name__", None) == At1wHook.__name__]


def _stop_waiting() -> None:
    for finder in _waiting():
        sys.meta_path.remove(finder)


def _patch(safetensors: ModuleType) -> None:
    if _replaced:
        return
    for name, replacement in _REPLACEMENTS.items():
        # Older versions lack some of them.
        if hasattr(safetensors, name):
            original = getattr(safetensors, name)
            _replaced.append((original, replacement(original)))
    _rebind(_replaced)


def _patch_hub(module: ModuleType) -> None:
    from . import _hub

    if not _of_hub:
        _of_hub.extend(_hub.patch(module))


def _rebind(pairs: list[tuple[Any, Any]]) -> None:
    """Replaces objects in all modules that have imported them."""
    replacements = {id(old): new for old, new in pairs}
    for module in list(sys.modules.values()):
        # Reading __dict__ loads nothing of a lazy module.
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in replacements:
                setattr(module, name, replacements[id(value)])


def _opening(original: Any) -> Any:
    """Makes the replacement for a class of safetensors that opens files."""

    def ours() -> Any:
        import at1w

        return getattr(at1w, original.__name__)

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, (original, ours()))

    def new(cls: type, file: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(file, (str, os.PathLike)):
            packed = _is_packed(getattr(file, "name", None))
            return (ours() if packed else original)(file, *args, **kwargs)
        path = _packed(file)
        if path is not None:
            return ours()(path, *args, **kwargs)
        try:
            return original(file, *args, **kwargs)
        except Exception as error:
            raise _explained(error, file) from error

    return Meta(original.__name__, (), {"__new__": new, "__doc__": original.__doc__})


def _deserializing(original: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Makes the replacement for ``safetensors.deserialize``."""

    def deserialize(bytes: bytes) -> Any:
        from at1w import _at1w

        return (_at1w.deserialize if _at1w.begins_packed(bytes) else original)(bytes)

    return deserialize


def _packed(path: str | os.PathLike[str]) -> str | os.PathLike[str] | None:
    """Returns the packed file that a path means, or None. If there is no file ``X.safetensors``,
    its path means ``X.at1w``, the name that ``pack`` gives it."""
    stem, suffix = os.path.splitext(path)
    if suffix == ".safetensors" and not os.path.lexists(path):
        path = f"{os.fsdecode(stem)}.at1w"
    return path if _is_packed(path) else None


def _explained(error: Exception, path: str | os.PathLike[str]) -> Exception:
    """Adds to an error of safetensors what the file really is, such as a Git LFS pointer."""
    from at1w import SafetensorError, _at1w

    if type(error).__name__ != "SafetensorError":
        return error
    try:
        _at1w.File(path)
    except SafetensorError as ours:
        return type(error)(f"{error} ({ours})")
    return error


def _is_packed(path: Any) -> bool:
    from at1w import _at1w

    try:
        return _at1w.is_packed(path)
    except (OSError, TypeError):
        # Leaves it to safetensors to say what is wrong.
        return False


_REPLACEMENTS = {
    "safe_open": _opening,
    "_safe_open_handle": _opening,
    "deserialize": _deserializing,
}

#: The modules in which functions are replaced.
_PATCHES: dict[str, Callable[[ModuleType], None]] = {"safetensors": _patch, _HUB: _patch_hub}
