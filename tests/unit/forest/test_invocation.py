import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.forest.invocation import MAX_BODY_BYTES, respond

ROWS = np.random.default_rng(1).normal(size=(500, 2))
FOREST = RandomCutForest.fit(ROWS, num_trees=10, num_samples_per_tree=32, seed=1, kernel="numpy")


def scores(body: bytes) -> list[float]:
    return [item["score"] for item in json.loads(body)["scores"]]


def test_scores_come_in_the_order_of_the_rows():
    status, kind, body = respond(FOREST, "text/csv", "application/json", b"0,0\n9,9\n0.1,0\n")
    assert (status, kind) == (200, "application/json")
    assert scores(body) == FOREST.score([[0, 0], [9, 9], [0.1, 0]]).tolist()


def test_a_body_without_content_type_is_csv():
    assert respond(FOREST, "", "", b"0,0\n")[0] == 200


def test_every_content_type_gives_the_same_scores():
    rows = np.array([[0.5, 0.25], [4, -4]])
    instances = json.dumps({"instances": [{"features": row} for row in rows.tolist()]}).encode()
    answers = [
        respond(FOREST, "text/csv", "", b"0.5,0.25\n4,-4"),
        respond(FOREST, "application/json", "", instances),
        respond(FOREST, "application/x-recordio-protobuf", "", recordio.encode(rows)),
    ]
    assert all(answer == answers[0] for answer in answers)


def test_no_rows_no_scores():
    assert respond(FOREST, "text/csv", "", b"") == (200, "application/json", b'{"scores":[]}')


@pytest.mark.parametrize(
    ("content_type", "accept", "body", "status", "reason"),
    [
        ("text/csv", "", b"1,2\n1,2,3\n", 400, "row 1: 3 columns"),
        ("text/csv", "", b"1,2,3\n", 400, "expected 2 columns, got 3"),
        ("text/csv", "", b"1,2\n1,x\n", 400, "row 1, column 1: 'x' is not a number"),
        ("text/csv", "", b"1,2\nnan,2\n", 400, "row 1, column 0: nan is not a finite number"),
        ("text/csv", "", b"1,2\n1,-inf\n", 400, "row 1, column 1: -inf is not a finite number"),
        ("text/csv", "", b"1,1e39\n", 400, "row 0, column 1: 1e+39 is not a finite number"),
        ("application/json", "", b'{"instances": [{"features": [NaN, 1]}]}', 400, "row 0, column 0: nan"),
        ("application/json", "", b"[]", 400, "expected"),
        ("application/x-recordio-protobuf", "", recordio.encode([[1.0]]), 400, "expected 2 columns, got 1"),
        ("text/csv", "", b"0" * (MAX_BODY_BYTES + 1), 413, "6291456 bytes"),
        ("text/plain", "", b"1,2\n", 415, "'text/plain'"),
        ("text/csv", "image/png", b"1,2\n", 406, "'image/png'"),
    ],
)
def test_bad_input_is_answered_with_a_status_and_one_line_that_says_why(content_type, accept, body, status, reason):
    answered, kind, answer = respond(FOREST, content_type, accept, body)
    assert (answered, kind) == (status, "application/json")
    assert answer.count(b"\n") == 1
    assert reason in json.loads(answer)["error"]


@settings(max_examples=200, deadline=None)
@given(
    content_type=st.sampled_from(
        ["text/csv", "text/csv;label_size=1", "application/json", "application/x-recordio-protobuf"]
    ),
    body=st.binary(max_size=80) | st.text(alphabet="0123456789,.-\nnaife", max_size=60).map(str.encode),
)
def test_no_body_is_ever_the_servers_fault(content_type, body):
    assert respond(FOREST, content_type, "", body)[0] in (200, 400)
