import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from treeline.forest.recordio import decode, encode, encode_scores

PLAIN = "0a23d7ce200000000a1e0a0676616c756573121412120a100000c03f000000400000404000008040"
LABELLED = (
    "0a23d7ce340000000a1e0a0676616c756573121412120a100000c03f0000004000004040"
    "0000804012120a0676616c756573120812060a040000803f"
)


def message(field: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([field << 3 | 2, len(content)]) + content


def frame(payload: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)


def record(tensor_field: int, tensor: bytes, *, record_field: int = 1, key: bytes = b"values") -> bytes:
    return message(record_field, message(1, key) + message(2, message(tensor_field, tensor)))


def test_bytes_are_those_of_sagemakers_own_writer():
    """Vectors made with `write_numpy_to_dense_tensor` of the sagemaker SDK 2."""
    assert encode([[1.5, 2, 3, 4]]).hex() == PLAIN
    assert encode([[1.5, 2, 3, 4]], [1.0]).hex() == LABELLED


def slow_record(features: list[float], label: float | None) -> bytes:
    """The encoder of the facts sheet, verified against the SDK for 1 to 1000 columns."""

    def varint(n: int) -> bytes:
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    def delimited(field: int, content: bytes) -> bytes:
        return varint(field << 3 | 2) + varint(len(content)) + content

    def entry(field: int, values: list[float]) -> bytes:
        tensor = delimited(2, delimited(1, struct.pack(f"<{len(values)}f", *values)))
        return delimited(field, delimited(1, b"values") + delimited(2, tensor))

    body = entry(1, features) + (entry(2, [label]) if label is not None else b"")
    return struct.pack("<II", 0xCED7230A, len(body)) + body + b"\0" * (-len(body) % 4)


@pytest.mark.parametrize("width", [1, 2, 3, 26, 27, 28, 31, 32, 33, 38, 1000, 4100])
@pytest.mark.parametrize("labelled", [False, True])
def test_every_width_is_written_and_read(width, labelled):
    """Widths around those at which a length takes one more byte."""
    rows = np.random.default_rng(width).normal(size=(3, width)).astype(np.float32)
    labels = np.array([0.0, 1.0, 0.0]) if labelled else None
    encoded = encode(rows, labels)
    assert encoded == b"".join(
        slow_record(row.tolist(), float(labels[i]) if labels is not None else None) for i, row in enumerate(rows)
    )
    values, found = decode(encoded)
    np.testing.assert_array_equal(values, rows)
    np.testing.assert_array_equal(found, labels)


@settings(max_examples=50, deadline=None)
@given(rows=arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 40)), elements=st.floats(width=32)))
def test_any_float32_survives(rows):
    values, labels = decode(encode(rows))
    np.testing.assert_array_equal(values, rows)
    assert labels is None


def test_scores_are_records_with_nothing_but_a_label_called_score():
    """As "RCF response formats" shows them: `label = {"score": {values: [0.25]}}`."""
    expected = [frame(record(2, message(1, struct.pack("<f", s)), record_field=2, key=b"score")) for s in (0.5, 0.25)]
    assert encode_scores([0.5, 0.25]) == b"".join(expected)
    assert encode_scores([]) == b""


def test_batches_join_to_one_file():
    rows = np.arange(12.0).reshape(6, 2)
    assert b"".join(map(encode, [rows[:4], rows[4:]])) == encode(rows)


def test_nothing_is_an_empty_file_and_back():
    assert encode(np.empty((0, 3))) == b""
    values, labels = decode(b"")
    assert len(values) == 0
    assert labels is None


@pytest.mark.parametrize(
    "payload",
    [
        record(3, message(1, struct.pack("<2d", 1.5, -2))),  # float64, packed
        record(2, b"\x0d" + struct.pack("<f", 1.5) + b"\x0d" + struct.pack("<f", -2)),  # float32, not packed
        record(3, b"\x09" + struct.pack("<d", 1.5) + b"\x09" + struct.pack("<d", -2)),
        record(2, message(1, struct.pack("<f", 1.5)) + message(1, struct.pack("<f", -2))),  # packed in two pieces
        record(2, message(1, struct.pack("<2f", 1.5, -2)) + message(3, b"\x02")),  # with a shape
        record(2, message(1, b"\0\0\0\0"), key=b"other") + record(2, message(1, struct.pack("<2f", 1.5, -2))),
        message(3, b"an id") + record(2, message(1, struct.pack("<2f", 1.5, -2))) + message(4, b"{}"),
    ],
)
def test_other_valid_spellings_of_a_row_are_read(payload):
    values, labels = decode(frame(payload) * 2)
    assert values.tolist() == [[1.5, -2.0], [1.5, -2.0]]
    assert labels is None


GOOD = encode([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD + b"\x0a\x23", "record 1: the file ends inside the record's head"),
        (GOOD + GOOD[:-8], "record 1: claims 24 bytes, 16 are left"),
        (GOOD + b"\0" * 8, "record 1: starts with 0x00000000, not RecordIO's 0xCED7230A"),
        (GOOD + encode([[1.0, 2.0, 3.0]]), "record 1: 3 values, record 0 has 2"),
        (GOOD + encode([[1.0, 2.0]], [1.0]), "record 1: some records carry a label, others do not"),
        (encode([[1.0, 2.0]], [1.0]) + GOOD, "record 1: some records carry a label, others do not"),
        (GOOD + frame(b""), 'record 1: no features under the key "values"'),
        (frame(record(2, message(1, b"\0" * 6))), "record 0: 6 bytes .* no whole number of 4-byte floats"),
        (frame(record(2, message(2, b"\x01"))), "record 0: sparse tensors"),
        (frame(record(7, message(1, b"\x01"))), "record 0: only float32 and float64 tensors are read"),
        (frame(b"\x0a\x7f\x00"), "record 0: a field claims 127 bytes, 1 are left"),
        (frame(b"\x0a"), "record 0: the message ends inside a number"),
        (frame(b"\xff" * 12), "record 0: a number is longer than 10 bytes"),
        (frame(b"\x0b"), "record 0: not a protobuf message: wire type 3"),
        (
            frame(record(2, message(1, b"\0" * 4)) + record(2, message(1, b"\0" * 8), record_field=2)),
            "record 0: a label is one value, found 2",
        ),
        (b"1,2,3\n", "record 0: the file ends inside"),
        (b"1,2,3,4,5,6\n", "record 0: starts with 0x"),
    ],
)
def test_a_bad_record_is_named(content, reason):
    with pytest.raises(ValueError, match=reason):
        decode(content)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_read_but_never_crashes(data):
    content = bytearray(encode(np.ones((3, 5)), np.ones(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        rows, _ = decode(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except ValueError:
        return
    assert rows.ndim == 2


def test_a_signalling_nan_is_read_as_nan_without_a_warning():
    """As flipped bits make one; numpy warns of it, and a warning is an error in our tests."""
    content = encode([[2.0, 1.0]]).replace(np.float32(2).tobytes(), b"\x00\x00\xa0\x7f")
    rows, _ = decode(content)
    np.testing.assert_array_equal(rows, [[np.nan, 1.0]])


@pytest.mark.parametrize("rows", [[1.0, 2.0], np.empty((2, 0))])
def test_rows_of_another_shape_are_not_written(rows):
    with pytest.raises(ValueError, match="expected rows of shape"):
        encode(rows)


def test_labels_must_match_the_rows():
    with pytest.raises(ValueError, match="expected 2 labels"):
        encode([[1.0], [2.0]], [1.0])
