"""The exceptions of this package."""

from __future__ import annotations

try:
    from safetensors import SafetensorError as _Base
except ImportError:
    _Base = Exception  # type: ignore[assignment, misc]


class SafetensorError(_Base):
    """Something is wrong with a file or with what was asked of it.

    Where safetensors is installed, a subclass of its ``SafetensorError``.
    """


class IntegrityError(SafetensorError):
    """The content of a file is not what it should be: damaged, or not the one that was pinned."""


class IncompleteWarning(UserWarning):
    """A repository lacks files, or holds some that are not what their names say."""


for _exception in (SafetensorError, IntegrityError, IncompleteWarning):
    _exception.__module__ = "at1w"
