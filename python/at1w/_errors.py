"""The exceptions of this package, and the places that their messages name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from safetensors import SafetensorError as _Base
except ImportError:
    _Base = Exception  # type: ignore[assignment, misc]


class SafetensorError(_Base):
    """An error in a file, or in a request to read or write it.

    Where safetensors is installed, this is a subclass of its ``SafetensorError``.
    """


class IntegrityError(SafetensorError):
    """An error about wrong content: the file is damaged, or is not the pinned one."""


class IncompleteWarning(UserWarning):
    """A warning that a repository lacks files, or holds files that are not what their names say."""


for _exception in (SafetensorError, IntegrityError, IncompleteWarning):
    _exception.__module__ = "at1w"


def printable(text: object) -> str:
    """Escapes characters that a terminal would act on."""
    text = str(text)
    return text if text.isprintable() else repr(text)[1:-1]


def located(error: BaseException, place: str) -> BaseException:
    """Puts a place in front of the message of an exception. An exception with nothing but a message
    keeps its type: callers catch types of frameworks, such as the one for a GPU without memory. An
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
def adding(note: str) -> Iterator[None]:
    """Adds a note to the message of a SafetensorError that is raised inside."""
    try:
        yield
    except SafetensorError as error:
        error.args = (f"{error}; {note}",)
        raise


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Makes exceptions that are raised inside name a tensor."""
    try:
        yield
    except Exception as error:
        raise located(error, f'tensor "{printable(name)}"')
