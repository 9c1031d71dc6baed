"""Waits for safetensors to be imported, and then puts the hook of at1w in place.

Where the hook is installed, every start of Python imports this module: it imports nothing but sys.
"""

import sys


class Waiting:
    """Waits in ``sys.meta_path`` for safetensors to be imported."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "safetensors":
            return None
        others = [f for f in sys.meta_path if f is not cls and hasattr(f, "find_spec")]
        spec = next(filter(None, (f.find_spec(name, path, target) for f in others)), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                if cls in sys.meta_path:
                    stop()
                    from at1w._hook import patch

                    patch(module)

            spec.loader.exec_module = exec_module
        return spec


def start():
    """Waits from now on."""
    if Waiting not in sys.meta_path:
        sys.meta_path.insert(0, Waiting)


def stop():
    """Waits no longer."""
    if Waiting in sys.meta_path:
        sys.meta_path.remove(Waiting)
