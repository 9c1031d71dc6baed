"""The exceptions of this package, and where they happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


def printable(text: object) -> str:
    """Escapes what a terminal would act on."""
    text = str(text)
    return text if text.isprintable() else repr(text)[1:-1]


def located(error: BaseException, place: str) -> BaseException:
    """Puts a place in front of the message of an exception. It stays of its kind if it has nothing
    but a message; frameworks have kinds that callers catch, such as for a GPU without memory. An
    interruption stays as it is."""
    if not isinstance(error, Exception):
        return error
    message = f"{place}: {error}"
    if error.args == (str(error),):
        error.args = (message,)
        return error
    kind = MemoryError if isinstance(error, MemoryError) else SafetensorError
    replacement = kind(message)
    replacement.__cause__ = error
    return replacement


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Lets exceptions name a tensor."""
    try:
        yield
    except Exception as error:
        raise located(error, f'tensor "{printable(name)}"')
