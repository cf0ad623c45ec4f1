"""SageMaker's RecordIO-protobuf: rows of numbers, optionally labelled, written and read without a protobuf library.

A frame is `uint32 0xCED7230A, uint32 length, payload, zeros to a multiple of 4`, little-endian. The payload is
`aialgs.data.Record{map<string, Value> features = 1; map<string, Value> label = 2}`; a dense row is the entry "values"
with a `Value{Float32Tensor float32_tensor = 2; Float64Tensor float64_tensor = 3}`, and a tensor is
`{repeated values = 1; repeated uint64 keys = 2; repeated uint64 shape = 3}`.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAGIC = 0xCED7230A
_FRAME = struct.Struct("<II")
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FEATURES, _LABEL = 1, 2
_FLOAT32_TENSOR, _FLOAT64_TENSOR = 2, 3
_TENSOR_DTYPES = {_FLOAT32_TENSOR: "<f4", _FLOAT64_TENSOR: "<f8"}
_KEY, _SCORE_KEY = b"values", b"score"


def encode(rows: ArrayLike, labels: ArrayLike | None = None) -> bytes:
    """Rows of shape (n, features) as float32 records, byte for byte what SageMaker's own writer makes of them.

    Labels (n,) are written as float32, None writes none; raises ValueError where the shapes do not fit.
    """
    values = np.asarray(rows, dtype="<f4")
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"expected rows of shape (n, features), got shape {values.shape}")
    features = values.shape[1]
    before = _entry_head(_FEATURES, features)
    parts = [before, bytes(4 * features)]
    if labels is not None:
        marks = np.asarray(labels, dtype="<f4")
        if marks.shape != (len(values),):
            raise ValueError(f"expected {len(values)} labels, got shape {marks.shape}")
        parts += [_entry_head(_LABEL, 1), bytes(4)]
    payload = b"".join(parts)
    frame = _FRAME.pack(MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)
    # All records are the same but for their values: repeat one, then drop the values in.
    records = np.tile(np.frombuffer(frame, dtype=np.uint8), (len(values), 1))
    start = _FRAME.size + len(before)
    records[:, start : start + 4 * features] = np.ascontiguousarray(values).view(np.uint8)
    if labels is not None:
        end = _FRAME.size + len(payload)
        records[:, end - 4 : end] = np.ascontiguousarray(marks).view(np.uint8).reshape(-1, 4)
    return records.tobytes()


def encode_scores(scores: ArrayLike) -> bytes:
    """Scores (n,) as the built-in Random Cut Forest answers them: a record each, float32 under the label "score"."""
    head = _entry_head(_LABEL, 1, key=_SCORE_KEY)
    size = len(head) + 4
    before, after = _FRAME.pack(MAGIC, size) + head, bytes(-size % 4)
    return b"".join(before + score.tobytes() + after for score in np.asarray(scores, dtype="<f4"))


def _entry_head(field: int, count: int, *, key: bytes = _KEY) -> bytes:
    """Everything of a map entry up to its `count` float32 values."""
    size = 4 * count
    values = _tag(1) + _varint(size)
    tensor = _tag(_FLOAT32_TENSOR) + _varint(len(values) + size) + values
    value = _tag(2) + _varint(len(tensor) + size) + tensor
    name = _tag(1) + _varint(len(key)) + key
    return _tag(field) + _varint(len(name) + len(value) + size) + name + value


def _tag(field: int) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def decode(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Rows of shape (n, features), and labels of shape (n,) where the records carry them.

    Raises ValueError naming the record (from 0) and what is wrong with it.
    """
    uniform = _decode_uniform(content)
    if uniform is not None:
        return uniform
    rows: list[NDArray[np.float64]] = []
    labels: list[float] = []
    for number, payload in enumerate(_frames(content)):
        try:
            values, label = _read_record(payload)
        except ValueError as error:
            raise ValueError(f"record {number}: {error}") from error
        if rows and len(values) != len(rows[0]):
            raise ValueError(f"record {number}: {len(values)} values, record 0 has {len(rows[0])}")
        if bool(label) != bool(labels) and rows:
            raise ValueError(f"record {number}: some records carry a label, others do not")
        rows.append(values)
        labels += label
    table = np.stack(rows) if rows else np.empty((0, 0))
    return table, np.array(labels) if labels else None


def _decode_uniform(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
    """All records at once, if they are what `encode` (and SageMaker's own writer) makes; None otherwise."""
    if len(content) < _FRAME.size:
        return None
    length = _FRAME.unpack_from(content)[1]
    stride = _FRAME.size + length + -length % 4
    if len(content) < stride or len(content) % stride:
        return None
    try:
        values, label = _read_record(content[_FRAME.size : _FRAME.size + length])
    except ValueError:
        return None  # the careful reader will say what is wrong, and where
    blank = np.frombuffer(
        encode(np.zeros((1, len(values))), np.zeros(1) if label else None) if len(values) else b"", dtype=np.uint8
    )
    if len(blank) != stride:
        return None
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, stride)
    start = _FRAME.size + len(_entry_head(_FEATURES, len(values)))
    fixed = np.ones(stride, dtype=bool)
    fixed[start : start + 4 * len(values)] = False
    end = _FRAME.size + length
    if label:
        fixed[end - 4 : end] = False
    if not (records[:, fixed] == blank[fixed]).all():
        return None
    rows = np.ascontiguousarray(records[:, start : start + 4 * len(values)]).view("<f4")
    if not label:
        return _doubles(rows), None
    return _doubles(rows), _doubles(np.ascontiguousarray(records[:, end - 4 : end]).view("<f4").ravel())


def _doubles(values: NDArray[Any]) -> NDArray[np.float64]:
    """As float64. A damaged body may hold NaN of the signalling kind, of which numpy would warn; all NaN pass."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _frames(content: bytes) -> Iterator[bytes]:
    position = number = 0
    while position < len(content):
        if len(content) - position < _FRAME.size:
            raise ValueError(f"record {number}: the file ends inside the record's head")
        magic, length = _FRAME.unpack_from(content, position)
        if magic != MAGIC:
            raise ValueError(f"record {number}: starts with 0x{magic:08X}, not RecordIO's 0x{MAGIC:08X}")
        start = position + _FRAME.size
        if start + length > len(content):
            raise ValueError(f"record {number}: claims {length} bytes, {len(content) - start} are left")
        yield content[start : start + length]
        position = start + length + -length % 4
        number += 1


def _read_record(payload: bytes) -> tuple[NDArray[np.float64], list[float]]:
    """The features and the label (empty if there is none) of one Record."""
    features: NDArray[np.float64] | None = None
    label: list[float] = []
    for field, _, content in _fields(payload):
        if field not in (_FEATURES, _LABEL):
            continue
        key, values = _read_entry(content)
        if key != _KEY:
            continue
        if field == _FEATURES:
            features = values
        elif len(values) != 1:
            raise ValueError(f"a label is one value, found {len(values)}")
        else:
            label = [float(values[0])]
    if features is None:
        raise ValueError('no features under the key "values"')
    return features, label


def _read_entry(content: bytes) -> tuple[bytes, NDArray[np.float64]]:
    key, values = b"", np.empty(0)
    for field, _, part in _fields(content):
        if field == 1:
            key = part
        elif field == 2:
            for kind, _, tensor in _fields(part):
                if kind not in _TENSOR_DTYPES:
                    raise ValueError(f"only float32 and float64 tensors are read, found Value field {kind}")
                values = _read_tensor(tensor, _TENSOR_DTYPES[kind])
    return key, values


def _read_tensor(content: bytes, dtype: str) -> NDArray[np.float64]:
    chunks: list[bytes] = []
    for field, wire_type, part in _fields(content):
        if field == 2:
            raise ValueError("sparse tensors (with keys) are not read")
        if field != 1:
            continue
        item_bytes = np.dtype(dtype).itemsize
        if wire_type == _VARINT or len(part) % item_bytes:
            raise ValueError(f"{len(part)} bytes of tensor values are no whole number of {item_bytes}-byte floats")
        chunks.append(part)  # packed: many values; not packed: one at a time
    return _doubles(np.frombuffer(b"".join(chunks), dtype=dtype))


def _fields(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(field number, wire type, bytes) of each field of a protobuf message; a varint's bytes are empty."""
    position = 0
    while position < len(content):
        tag, position = _read_varint(content, position)
        field, wire_type = tag >> 3, tag & 7
        size = 0
        if wire_type == _VARINT:
            _, position = _read_varint(content, position)
        elif wire_type == _LENGTH_DELIMITED:
            size, position = _read_varint(content, position)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"not a protobuf message: wire type {wire_type}")
        if position + size > len(content):
            raise ValueError(f"a field claims {size} bytes, {len(content) - position} are left")
        yield field, wire_type, content[position : position + size]
        position += size


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            raise ValueError("the message ends inside a number")
        byte = content[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError("a number is longer than 10 bytes")
