"""What stands in for functions of safetensors while the hook is enabled. An installed hook imports
this module at every start of Python, so it imports nothing but what is there already."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

#: The functions of safetensors that were replaced, each with what stands in for it.
_replaced: list[tuple[Any, Any]] = []


def enable() -> None:
    """Enables the hook in this process, now or as soon as safetensors is imported. What other
    modules have imported from safetensors already is replaced there as well."""
    if "safetensors" in sys.modules:
        _patch(sys.modules["safetensors"])
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def disable() -> None:
    """Takes back what ``enable`` has done in this process."""
    if _Finder in sys.meta_path:
        sys.meta_path.remove(_Finder)
    _rebind([(ours, original) for original, ours in _replaced])
    _replaced.clear()


def enabled() -> bool:
    """Whether the hook is enabled in this process."""
    return bool(_replaced) or _Finder in sys.meta_path


class _Finder:
    """Waits in ``sys.meta_path`` for safetensors to be imported."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "safetensors":
            return None
        others = [f for f in sys.meta_path if f is not cls and hasattr(f, "find_spec")]
        spec = next(filter(None, (f.find_spec(name, path, target) for f in others)), None)
        if spec is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if cls in sys.meta_path:
                    sys.meta_path.remove(cls)
                    _patch(module)

            loader.exec_module = exec_module
        return spec


def _patch(safetensors: ModuleType) -> None:
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
        path = file if isinstance(file, (str, os.PathLike)) else getattr(file, "name", None)
        return (ours() if _is_packed(path) else original)(file, *args, **kwargs)

    return Meta(original.__name__, (), {"__new__": new, "__doc__": original.__doc__})


def _deserializing(original: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Stands in for ``safetensors.deserialize``."""

    def deserialize(bytes: bytes) -> Any:
        from at1w import _at1w

        return (_at1w.deserialize if _at1w.begins_packed(bytes) else original)(bytes)

    return deserialize


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
