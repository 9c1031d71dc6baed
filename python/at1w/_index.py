"""Indices of a slice, resolved against a shape by the rules of safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_int
from typing import Any, Tuple, Union

from ._errors import SafetensorError

#: The part to take of a dimension: one position, or start, stop and step, all within it.
Part = Union[int, Tuple[int, int, int]]


def as_tuple(index: object) -> tuple:
    """Returns an index as a tuple of its entries."""
    return index if isinstance(index, tuple) else (index,)


def expand(items: tuple, dimensions: int) -> tuple:
    """Replaces an ellipsis by one entry for each dimension that it stands for."""
    ellipses = [at for at, item in enumerate(items) if item is Ellipsis]
    if not ellipses:
        return items
    if len(ellipses) > 1:
        raise SafetensorError("Only one ellipsis (...) is allowed in slice index")
    at = ellipses[0]
    whole = (slice(None),) * (dimensions - len(items) + 1)
    return items[:at] + whole + items[at + 1 :]


#: The dtypes of arrays that list rows, by the names that all frameworks share. To torch, uint8 is a
#: mask.
_LISTING = {"int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"}


def rows(index: object, dimensions: int) -> list[int] | None:
    """Returns the rows of an index that lists them: a list of integers, or an array of them of one
    dimension, perhaps with whole dimensions behind it. None for any other index."""
    kind = type(index)
    if kind is int or kind is slice:
        return None
    first, rest = (index[0], index[1:]) if kind is tuple and index else (index, ())
    if type(first) is list:
        listed = first
    elif getattr(first, "ndim", 0) == 1 and str(first.dtype).split(".")[-1] in _LISTING:
        listed = first.tolist()
    else:
        return None
    named = [item for item in rest if item is not Ellipsis]
    whole = all(isinstance(item, slice) and item == slice(None) for item in named)
    if not whole or len(named) >= dimensions or len(rest) > len(named) + 1:
        return None
    if set(map(type, listed)) <= {int}:
        return listed
    try:
        return None if bool in map(type, listed) else [as_int(row) for row in listed]
    except TypeError:
        return None


def resolve(index: object, shape: Sequence[int]) -> list[Part]:
    """Returns the part that an index takes of each dimension, from the first. Follows the strict
    rules that safetensors has for all frameworks but torch: positions in a range count from the
    start, and none may be out of bounds.

    Raises SafetensorError, or OverflowError for negative positions in ranges. The messages are
    those of safetensors.
    """
    if isinstance(index, list):
        if index:
            raise SafetensorError("Non empty lists are not implemented")
        index = slice(0, 0)
    expanded = expand(as_tuple(index), len(shape))
    items = [_checked(item, position, shape) for position, item in enumerate(expanded)]

    def fail(problem: str) -> SafetensorError:
        shown = ", ".join(map(_shown, items))
        return SafetensorError(
            f"Error during slicing [{shown}] with shape {list(shape)}: {problem}"
        )

    if len(items) > len(shape):
        raise fail("more slicing indexes than dimensions in tensor")
    parts: list[Part] = []
    for dimension, (item, size) in enumerate(zip(items, shape)):
        if isinstance(item, int):
            start, stop = item, item + 1
        else:
            start, stop = item.start or 0, size if item.stop is None else item.stop
        if (start >= size or stop > size) and (start, stop) != (0, size):
            asked = start if start >= size else stop - 1
            raise fail(
                f"index {asked} out of bounds for tensor dimension #{dimension} of size {size}"
            )
        parts.append(item if isinstance(item, int) else (start, max(start, stop), item.step))
    return parts


def _checked(item: Any, position: int, shape: Sequence[int]) -> int | slice:
    """Returns an entry as a position from the start, or as a range of such with a step."""
    if isinstance(item, slice):
        step = 1 if item.step is None else as_int(item.step)
        if step < 1:
            advice = ": read with a positive one, and reverse the result" if step else ""
            raise SafetensorError(f"Slice step must be a positive integer, got {step}{advice}")
        return slice(_unsigned(item.start), _unsigned(item.stop), step)
    try:
        at = as_int(item)
    except TypeError:
        raise SafetensorError(
            f"Unsupported slice index at position {position}: expected slice, int, or ellipsis"
        ) from None
    size = shape[position] if position < len(shape) else 0
    if at + size < 0:
        raise SafetensorError(f"Invalid index {at} for dimension {position} of size {size}")
    return at + size if at < 0 else at


def _unsigned(position: Any) -> int | None:
    if position is None:
        return None
    position = as_int(position)
    if position < 0:
        raise OverflowError("can't convert negative int to unsigned")
    return position


def _shown(item: int | slice) -> str:
    if isinstance(item, int):
        return str(item)
    start, stop = ("" if bound is None else bound for bound in (item.start, item.stop))
    return f"{start}:{stop}" if item.step == 1 else f"{start}:{stop}:{item.step}"
