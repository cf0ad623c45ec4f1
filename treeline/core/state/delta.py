"""What one commit changed of a group's state, in a few hundred bytes a server instead of the whole state.

A delta holds the bytes that differ, so whatever code applies it gets the very state of the code that wrote it; a check
sum proves it. For each row that changed it has one bit an element, set where the element changed, and the changed
elements XORed with what they replace. Floats that move slowly then have zeros in their upper bytes and compress well,
sorted by byte. Arrays that shift by one with each observation are shifted before they are compared.

A delta belongs to the format and layout in which it was made: it is applied to the stored state before that is
migrated. Between states of different formats or layouts there is no delta, and a whole state is stored instead.
"""

import json
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.errors import ModelMismatchError
from treeline.core.formats import require_format
from treeline.core.state.codec import StoredState

FORMAT = 1
# Along their second axis, the newest last; a layout that lacks one has no steps of it.
_MOVING = ("seen_at", "recent", "relation_recent")
_MOST_STEPS = 4  # rows that got more observations in one commit are compared unshifted
_OF_HEAD = ("version", "activation", "cycle")  # what changes of a state's head beside its servers and its table
_UNSIGNED = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}

Bits = npt.NDArray[Any]


def pack(before: StoredState, after: StoredState) -> bytes | None:
    """The delta from one state to the other; None where a whole state is to be stored instead.

    That is where they differ in format, layout or number of metrics, or other servers stand in a row.
    """
    servers, added = before.head["servers"], after.head["servers"][len(before.head["servers"]) :]
    alike = all(before.head[name] == after.head[name] for name in ("format", "metrics"))
    if not alike or before.layout != after.layout or after.head["servers"][: len(servers)] != servers:
        return None
    base = before.copy()
    base.add(added)
    old, new = ({name: _bits(array) for name, array in state.arrays.items()} for state in (base, after))
    rows = np.flatnonzero(np.any([(new[name] != old[name]).any(axis=1) for name in new], axis=0))
    steps = {name: _steps(base.arrays[name][rows], after.arrays[name][rows]) for name in _moving(after)}
    masks, values = list[bytes](), list[bytes]()
    for name in new:
        now = new[name][rows]
        was = _moved(base.arrays[name][rows], steps[name]) if name in steps else old[name][rows]
        changed = now != was
        masks.append(np.packbits(changed).tobytes())
        values.append(_by_byte((now ^ was)[changed]))
    head = {"format": FORMAT, **{name: after.head[name] for name in _OF_HEAD}, "added": added}
    if before.head.get("table") != after.head.get("table"):  # once a quarter hour
        head["table"] = after.head["table"]
    text = json.dumps(head, separators=(",", ":")).encode()
    body = b"".join(
        [
            struct.pack("<IH", len(text), len(rows)),
            text,
            rows.astype("<u2").tobytes(),
            *(each.tobytes() for each in steps.values()),
            *masks,
            *values,
        ]
    )
    return struct.pack("<I", zlib.crc32(after.to_bytes())) + zlib.compress(body, 1)


def apply(state: StoredState, delta: bytes) -> int:
    """Take a state, in place, to what `pack` was given as `after`; its check sum, for `verify`.

    Raises ModelMismatchError for another format, or one that is not readable.
    """
    try:
        (crc,) = struct.unpack_from("<I", delta)
        reader = _Reader(zlib.decompress(delta[4:]))
        size, count = reader.unpack("<IH")
        head = json.loads(reader.take(size))
    except (struct.error, zlib.error, ValueError) as error:
        raise ModelMismatchError(f"state delta is not readable: {error}") from error
    require_format("state delta", head.get("format"), newest=FORMAT)
    try:
        state.add(head["added"])
    except ValueError as error:
        raise ModelMismatchError(f"state delta does not fit the state: {error}") from error
    rows = np.frombuffer(reader.take(2 * count), "<u2").astype(np.intp)
    if rows.max(initial=0) >= max(len(state.head["servers"]), 1):
        raise ModelMismatchError(
            f"detector state of {len(state.head['servers'])} servers does not add up: row {rows.max()}"
        )
    steps = {name: np.frombuffer(reader.take(count), "u1") for name in _moving(state)}
    arrays = state.arrays
    masks = {}
    for name, array in arrays.items():
        width = int(np.prod(array.shape[1:]))
        masks[name] = _unpacked(reader.take(-(-count * width // 8)), count, width)
    for name, array in arrays.items():
        was = _moved(array[rows], steps[name]) if name in steps else _bits(array[rows]).copy()
        mask = masks[name]
        was[mask] ^= _from_bytes(reader.take(int(mask.sum()) * array.dtype.itemsize), array.dtype.itemsize)
        array[rows] = was.view(array.dtype).reshape(count, *array.shape[1:])
    state.head.update({name: head[name] for name in (*_OF_HEAD, "table") if name in head})
    return int(crc)


def verify(state: StoredState, crc: int) -> None:
    """Raise ModelMismatchError where a state is not the one whose check sum this is."""
    if zlib.crc32(state.to_bytes()) != crc:
        raise ModelMismatchError(f"detector state does not add up at version {state.version}: a delta is damaged")


def _moving(state: StoredState) -> list[str]:
    return [name for name in _MOVING if name in state.arrays]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise ModelMismatchError("state delta ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))


def _bits(array: npt.NDArray[Any]) -> Bits:
    """An array as unsigned integers of its elements' width, one row each."""
    flat = np.ascontiguousarray(array.reshape(len(array), int(np.prod(array.shape[1:]))))
    return flat.view(_UNSIGNED[array.dtype.itemsize])


def _steps(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """By how many places each row moved up; 0 where it did not, or in another way."""
    steps = np.zeros(len(old), dtype=np.uint8)
    undecided = np.ones(len(old), dtype=bool)
    for step in range(_MOST_STEPS + 1):
        kept = old.shape[1] - step
        equal = (_bits(old[:, step:]) == _bits(new[:, :kept])).all(axis=1)
        steps[undecided & equal] = step
        undecided &= ~equal
    return steps


def _moved(array: npt.NDArray[Any], steps: npt.NDArray[np.uint8]) -> Bits:
    """The rows moved up, as bits; what is moved out at the front stands at the end, to be overwritten."""
    moved = array.copy()
    for step in np.unique(steps[steps > 0]).tolist():
        moved[steps == step] = np.roll(array[steps == step], -step, axis=1)
    return _bits(moved)


def _by_byte(values: Bits) -> bytes:
    """All lowest bytes, then all second bytes, and so on."""
    return np.ascontiguousarray(values.view("u1").reshape(len(values), values.itemsize).T).tobytes()


def _from_bytes(data: bytes, width: int) -> Bits:
    planes = np.frombuffer(data, "u1").reshape(width, -1)
    return np.ascontiguousarray(planes.T).view(_UNSIGNED[width]).reshape(-1)


def _unpacked(data: bytes, count: int, width: int) -> npt.NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(data, "u1"), count=count * width)
    return bits.astype(bool).reshape(count, width)
