import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from treeline.forest import content, recordio
from treeline.forest.content import UnparsableBodyError, UnsupportedContentTypeError

ROWS = [[1.5, -2.0], [0.25, 1e-7]]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"1.5,-2\n0.25,1e-7\n"),
        ("text/csv;label_size=0", b"1.5,-2\n0.25,1e-7"),
        ("Text/CSV; charset=utf-8; LABEL_SIZE=0", b" 1.5 , -2.0\r\n\r\n0.25,1E-7\r\n"),
        ("application/json", b'{"instances": [{"features": [1.5, -2]}, {"features": [0.25, 1e-7]}]}'),
        (
            "application/json; charset=utf-8",
            b'{"instances": [{"data": {"features": {"values": [1.5, -2]}}}, {"features": [0.25, 1e-7]}]}',
        ),
        (
            "application/x-recordio-protobuf",
            b"".join(recordio.encode(np.array([row], dtype=np.float32)) for row in ROWS),
        ),
    ],
)
def test_the_same_rows_in_every_spelling(content_type, body):
    rows, labels = content.decode(content_type, body)
    np.testing.assert_allclose(rows, ROWS, rtol=1e-7)
    assert labels is None


def test_a_csv_label_is_the_first_column():
    rows, labels = content.decode("text/csv;label_size=1", b"1,10,11\n0,20,21\n")
    assert rows.tolist() == [[10, 11], [20, 21]]
    assert labels is not None
    assert labels.tolist() == [1, 0]
    rows, labels = content.decode("text/csv", b"1,10,11\n", default_label_size=1)
    assert rows.tolist() == [[10, 11]]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b""),
        ("text/csv", b"\n\n"),
        ("text/csv;label_size=1", b""),
        ("application/json", b'{"instances": []}'),
        ("application/x-recordio-protobuf", b""),
    ],
)
def test_a_body_without_rows_has_no_rows(content_type, body):
    assert len(content.decode(content_type, body)[0]) == 0


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 6)), elements=st.floats(allow_nan=False)))
def test_csv_gives_back_every_float_exactly(rows):
    body = "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()
    np.testing.assert_array_equal(content.decode("text/csv", body)[0], rows)


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("text/csv", b"1,2\n3,x\n", "row 1, column 1: 'x' is not a number"),
        ("text/csv", b"cpu,memory\n1,2\n", "row 0, column 0: 'cpu' is not a number"),
        ("text/csv", b"1,2\n\n3,\n", "row 1, column 1: '' is not a number"),
        ("text/csv", b"1,2\n3,4,5\n", "row 1: 3 columns, row 0 has 2"),
        ("text/csv", b"1;2\n", "row 0, column 0: '1;2' is not a number"),
        ("text/csv", b"# 1,2\n", "row 0, column 0: '# 1' is not a number"),
        ("text/csv", b'"1","2"\n', "row 0, column 0"),
        ("text/csv", b"1,2\n1,\xff\n", "row 1: not UTF-8"),
        ("text/csv", b"\x00", "row 0, column 0"),
        ("text/csv", b"1_000,2\n", "row 0, column 0: '1_000' is not a number"),
        ("text/csv", "1,٣\n".encode(), "row 0, column 1"),
        ("application/json", b"{", "not JSON"),
        ("application/json", b"\xff", "not JSON"),
        ("application/json", b"[" * 100_000, "not JSON"),
        ("application/json", b"[]", "expected"),
        ("application/json", b'{"instances": 3}', "expected"),
        ("application/json", b'{"instances": [{"features": [1]}, 3]}', "row 1: no list of features"),
        ("application/json", b'{"instances": [{"data": {"features": {}}}]}', "row 0: no list of features"),
        ("application/json", b'{"instances": [{"features": [1, "2"]}]}', "row 0, column 1: '2' is not a number"),
        ("application/json", b'{"instances": [{"features": [true]}]}', "row 0, column 0: True is not a number"),
        ("application/json", b'{"instances": [{"features": [1]}, {"features": []}]}', "row 1: 0 columns"),
        ("application/json", b'{"instances": [{"features": [1' + b"0" * 400 + b"]}]}", "too large"),
        ("application/json", b'{"instances": [{"features": [1' + b"0" * 5000 + b"]}]}", "not JSON"),
        ("application/x-recordio-protobuf", b"1,2\n", "record 0"),
    ],
)
def test_what_is_wrong_is_said_and_where(content_type, body, reason):
    with pytest.raises(UnparsableBodyError) as caught:
        content.decode(content_type, body)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from([content.CSV, content.JSON, content.RECORDIO]), body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(kind, body):
    try:
        rows, _ = content.decode(kind, body)
    except UnparsableBodyError:
        return
    assert rows.ndim == 2


@settings(max_examples=300, deadline=None)
@given(body=st.text(alphabet="0123456789.,-+eEnainfx_ \t\r\n\x0b\x0c#\"'", max_size=30))
def test_any_csv_like_text_is_read_or_refused(body):
    try:
        rows, _ = content.decode(content.CSV, body.encode())
    except UnparsableBodyError:
        return
    assert rows.ndim == 2


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonlines", "text/csv;label_size=2"])
def test_other_content_types_are_refused(content_type):
    with pytest.raises(UnsupportedContentTypeError):
        content.decode(content_type, b"1,2\n")


SCORES = np.array([0.5, 1.25])


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html, application/json;q=0.9"])
def test_json_is_the_usual_answer(accept):
    kind, body = content.encode_scores(accept, SCORES)
    assert kind == "application/json"
    assert json.loads(body) == {"scores": [{"score": 0.5}, {"score": 1.25}]}


def test_json_lines_on_request():
    kind, body = content.encode_scores("application/jsonlines", SCORES)
    assert kind == "application/jsonlines"
    assert [json.loads(line) for line in body.splitlines()] == [{"score": 0.5}, {"score": 1.25}]


def test_recordio_on_request_has_a_float32_label_called_score_in_each_record():
    kind, body = content.encode_scores("application/x-recordio-protobuf", SCORES)
    assert kind == "application/x-recordio-protobuf"
    assert body == recordio.encode_scores(SCORES)


def test_an_answer_nobody_can_give_is_refused():
    with pytest.raises(UnsupportedContentTypeError, match="text/html"):
        content.encode_scores("text/html", SCORES)


def test_scores_are_written_so_that_they_read_back_exactly():
    scores = np.random.default_rng(0).random(500) * 3
    _, body = content.encode_scores("", scores)
    assert [item["score"] for item in json.loads(body)["scores"]] == scores.tolist()
