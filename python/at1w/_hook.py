"""What stands in for functions of safetensors while the hook is enabled."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, Callable

import _at1w_hook

#: The functions of safetensors that were replaced, each with what stands in for it.
_replaced: list[tuple[Any, Any]] = []


def enable() -> None:
    """Enables the hook in this process, now or as soon as safetensors is imported. What other
    modules have imported from safetensors already is replaced there as well."""
    if "safetensors" in sys.modules:
        patch(sys.modules["safetensors"])
    else:
        _at1w_hook.start()


def disable() -> None:
    """Takes back what ``enable`` has done in this process."""
    _at1w_hook.stop()
    _rebind([(ours, original) for original, ours in _replaced])
    _replaced.clear()


def enabled() -> bool:
    """Whether the hook is enabled in this process."""
    return bool(_replaced) or _at1w_hook.Waiting in sys.meta_path


def patch(safetensors: ModuleType) -> None:
    """Replaces the functions of safetensors, now that it is imported."""
    if _replaced:
        return
    for name, replacement in _REPLACEMENTS.items():
        # Older versions have not all of them.
        if hasattr(safetensors, name):
            original = getattr(safetensors, name)
            _replaced.append((original, replacement(original)))
    _rebind(_replaced)


def _rebind(pairs: list[tuple[Any, Any]]) -> None:
    """Replaces objects in all modules that have imported them."""
    replacements = {id(old): new for old, new in pairs}
    for module in list(sys.modules.values()):
        # Of lazy modules, only what is loaded.
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in replacements:
                setattr(module, name, replacements[id(value)])


def _opening(original: Any) -> Any:
    """Stands in for a class of safetensors that opens files."""

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
        return original(file, *args, **kwargs) if path is None else ours()(path, *args, **kwargs)

    return Meta(original.__name__, (), {"__new__": new, "__doc__": original.__doc__})


def _deserializing(original: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Stands in for ``safetensors.deserialize``."""

    def deserialize(bytes: bytes) -> Any:
        from at1w import _at1w

        return (_at1w.deserialize if _at1w.begins_packed(bytes) else original)(bytes)

    return deserialize


def _packed(path: str | os.PathLike[str]) -> str | os.PathLike[str] | None:
    """The packed file that is meant by a path: the one there, or, where there is none, the one that
    ``pack`` makes of ``X.safetensors`` and calls ``X.at1w``."""
    stem, suffix = os.path.splitext(path)
    if suffix == ".safetensors" and not os.path.lexists(path):
        path = f"{os.fsdecode(stem)}.at1w"
    return path if _is_packed(path) else None


def _is_packed(path: Any) -> bool:
    from at1w import _at1w

    try:
        return _at1w.is_packed(path)
    except (OSError, TypeError):
        # For safetensors to say what is wrong.
        return False


_REPLACEMENTS = {
    "safe_open": _opening,
    "_safe_open_handle": _opening,
    "deserialize": _deserializing,
}
