"""The scorer's wire format at its limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.core.examples import FEW
from treeline.core.errors import ScorerContractError
from treeline.core.payload import csv_body, decode_scores, score_rows

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def parsed(body):
    return np.array([[float(x) for x in line.split(",")] for line in body.decode().split("\n")], dtype=np.float32)


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, []), (1, [1]), (49, [49]), (50, [50]), (51, [50, 1]), (100, [50, 50]), (101, [50, 50, 1])]
)
def test_a_scorer_is_asked_for_at_most_fifty_rows_at_once(rows, sizes):
    asked = []

    def score(part):
        asked.append(len(part))
        return part[:, 0]

    given_rows = np.arange(rows * 12, dtype=np.float32).reshape(rows, 12)
    np.testing.assert_array_equal(score_rows(score, given_rows), given_rows[:, 0])
    assert asked == sizes


@FEW
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=FLOAT32))
def test_the_text_carries_every_float32_bit(rows):
    np.testing.assert_array_equal(parsed(csv_body(rows)), rows)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_never_sent_and_is_named(bad):
    rows = np.zeros((60, 12), np.float32)
    rows[55, 7] = bad
    with pytest.raises(ValueError, match="row 55, feature 7"):
        score_rows(lambda part: part[:, 0], rows)


def test_scores_come_in_order():
    assert decode_scores(b'{"scores":[{"score":1.5},{"score":-2},{"score":3e1}]}', 3).tolist() == [1.5, -2.0, 30.0]
    assert decode_scores(b'{"scores":[]}', 0).tolist() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff",
        b"[]",
        b"null",
        b'{"scores": null}',
        b'{"scores": "abc"}',
        b'{"scores": [1.0]}',
        b'{"scores": [{"Score": 1.0}]}',
        b'{"scores": [{"score": "high"}]}',
        b'{"scores": [{"score": null}]}',
        b'{"scores": [{"score": NaN}]}',
        b'{"scores": [{"score": Infinity}]}',
        b'{"scores": [{"score": 1' + b"0" * 400 + b"}]}",
        b'{"scores": []}',
        b'{"scores": [{"score": 1}, {"score": 2}]}',
    ],
)
def test_anything_but_one_finite_score_a_row_breaks_the_contract(body):
    with pytest.raises(ScorerContractError):
        decode_scores(body, 1)
