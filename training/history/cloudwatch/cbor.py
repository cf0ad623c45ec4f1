"""A fast reader of GetMetricData's CBOR answers.

botocore makes a `datetime` of each time, by way of a Python call per byte read: on this project's machine three
seconds for a full answer of 100,800 points, ten times what CloudWatch's quota allows. Here an array of numbers or
times becomes one numpy array, without a step per item where all items have one width.
"""

import struct
from typing import Any

import numpy as np

from treeline.core.errors import TreelineError

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE, _BREAK = 31, 0xFF
_EPOCH_TAG = 1
_FLOATS = {25: (struct.Struct(">e"), 2), 26: (struct.Struct(">f"), 4), 27: (struct.Struct(">d"), 8)}
# First bytes of an item -> its numpy type: big-endian numbers, and times (tag 1) around them.
_FIXED_WIDTH = {
    b"\xfb": ">f8",
    b"\xfa": ">f4",
    b"\xc1\xfb": ">f8",
    b"\xc1\x1a": ">u4",
    b"\xc1\x1b": ">u8",
}


class CborError(TreelineError):
    """The bytes are not CBOR as Smithy's RPC protocol writes it."""


def decode(body: bytes) -> Any:
    """The value of a CBOR document: dicts, lists, str, bytes, numbers; times as epoch seconds.

    An array of nothing but numbers or times comes as a float64 array. Raises CborError.
    """
    try:
        value, end = _item(body, 0)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CborError(f"the answer is not readable CBOR: {error}") from error
    if end != len(body):
        raise CborError(f"{len(body) - end} bytes follow the answer's end")
    return value


def _item(body: bytes, at: int) -> tuple[Any, int]:
    initial = body[at]
    major, info = initial >> 5, initial & 31
    if major == _SIMPLE:
        return _simple(body, at + 1, info)
    if info == _INDEFINITE:
        return _indefinite(body, at + 1, major)
    number, at = _number(body, at + 1, info)
    if major == _UNSIGNED:
        return number, at
    if major == _NEGATIVE:
        return -1 - number, at
    if major in (_BYTES, _TEXT):
        end = at + number
        if end > len(body):
            raise CborError(f"a string claims {number} bytes, {len(body) - at} are left")
        return (body[at:end] if major == _BYTES else body[at:end].decode()), end
    if major == _ARRAY:
        return _array(body, at, number)
    if major == _MAP:
        found: dict[Any, Any] = {}
        for _ in range(number):
            key, at = _item(body, at)
            if not isinstance(key, (str, int)):
                raise CborError(f"a map's key is {type(key).__name__}, expected text")
            found[key], at = _item(body, at)
        return found, at
    if number != _EPOCH_TAG:
        raise CborError(f"tag {number} is not expected in an answer")
    return _item(body, at)


def _number(body: bytes, at: int, info: int) -> tuple[int, int]:
    if info < 24:
        return info, at
    width = {24: 1, 25: 2, 26: 4, 27: 8}.get(info)
    if width is None or at + width > len(body):
        raise CborError(f"a number of kind {info} at byte {at} cannot be read")
    return int.from_bytes(body[at : at + width], "big"), at + width


def _simple(body: bytes, at: int, info: int) -> tuple[Any, int]:
    if info in (20, 21):
        return info == 21, at
    if info in (22, 23):
        return None, at
    if info not in _FLOATS:
        raise CborError(f"a simple value of kind {info} at byte {at} is not expected")
    reader, width = _FLOATS[info]
    return reader.unpack_from(body, at)[0], at + width


def _indefinite(body: bytes, at: int, major: int) -> tuple[Any, int]:
    items: list[Any] = []
    while body[at] != _BREAK:
        value, at = _item(body, at)
        items.append(value)
    at += 1
    if major == _MAP:
        return dict(zip(items[::2], items[1::2], strict=True)), at
    if major == _ARRAY:
        return _numbers_or_list(items), at
    if major == _TEXT:
        return "".join(items), at
    if major == _BYTES:
        return b"".join(items), at
    raise CborError(f"major type {major} has no indefinite length")


def _array(body: bytes, at: int, count: int) -> tuple[Any, int]:
    if count > len(body) - at:
        raise CborError(f"an array claims {count} items, {len(body) - at} bytes are left")
    for head in (body[at : at + 1], body[at : at + 2]):
        kind = _FIXED_WIDTH.get(head)
        if kind is None:
            continue
        width = len(head) + np.dtype(kind).itemsize
        end = at + count * width
        if end > len(body):
            break  # not all of one width
        table = np.frombuffer(body, dtype=np.uint8, count=count * width, offset=at).reshape(count, width)
        if not (table[:, : len(head)] == np.frombuffer(head, dtype=np.uint8)).all():
            break
        return np.ascontiguousarray(table[:, len(head) :]).view(kind).ravel().astype(np.float64), end
    items = []
    for _ in range(count):
        value, at = _item(body, at)
        items.append(value)
    return _numbers_or_list(items), at


def _numbers_or_list(items: list[Any]) -> Any:
    if items and all(type(item) in (int, float) for item in items):
        return np.array(items, dtype=np.float64)
    return items
