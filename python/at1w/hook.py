"""Lets unmodified programs load packed files that lie under the names of safetensors files.

While the hook is enabled, ``safetensors.safe_open``, and with it ``load_file`` and all that build
on them, opens packed files with at1w, and ``X.at1w`` where ``X.safetensors`` is asked for and
missing. Every other file is left to safetensors as before. ``huggingface_hub`` downloads files of
weights in their packed form to its cache, where a server of at1w announces it.

``python -m at1w.hook install`` enables it in every program that this environment starts from then
on, worker processes too; ``uninstall`` ends that, and ``status`` tells. In code, ``enable()`` does
so for this process and those that are forked from it.
"""

from __future__ import annotations

import argparse
import sysconfig
from pathlib import Path

from . import _hub
from ._hook import disable, enable, enabled

__all__ = ["disable", "enable", "enabled", "install", "installed", "uninstall"]

# Python runs this at every start, so it imports nothing: to import even a small module, it would
# have to list the folders of its path. It must not fail after at1w is removed. The line that older
# versions installed calls ``at1w._hook.enable``, so that function must stay.
_START = """
class At1wHook:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in ("safetensors", "huggingface_hub.file_download"):
            return None
        import sys
        sys.meta_path.remove(cls)
        try:
            from at1w import _hook
        except ImportError:
            return None
        _hook.enable()
        return _hook.At1wHook.find_spec(name, path, target)
sys.meta_path.insert(0, At1wHook)
"""


def install() -> Path:
    """Enables the hook in every program that this environment starts from now on. Returns the path
    of the file that enables it. Raises OSError."""
    path = _path()
    # The site module runs a line only if it begins with "import".
    path.write_text(f"import sys; exec({_START!r})\n")
    return path


def uninstall() -> None:
    """Undoes ``install``. Raises OSError."""
    _path().unlink(missing_ok=True)


def installed() -> bool:
    """Returns whether the hook is installed in this environment."""
    return _path().exists()


def _path() -> Path:
    return Path(sysconfig.get_path("purelib"), "at1w-hook.pth")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command ``python -m at1w.hook``."""
    parser = argparse.ArgumentParser(prog="python -m at1w.hook", description=__doc__)
    parser.add_argument("command", choices=("install", "uninstall", "status"))
    command = parser.parse_args(arguments).command
    try:
        if command == "install":
            install()
        elif command == "uninstall":
            uninstall()
    except OSError as error:
        parser.exit(1, f"{error}\n")
    print(f"{'installed' if installed() else 'not installed'}: {_path()}")
    if command == "status":
        folder = _hub.cache_folder()
        packed = list(_hub.packed_files(folder))
        size, original = sum(file.size for file in packed), sum(file.original for file in packed)
        print(f"{folder}: {len(packed)} packed files, {size} bytes in place of {original}")


if __name__ == "__main__":
    main()
