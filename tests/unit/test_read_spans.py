"""A worker remembers what it has read, and does not read it again for a tick that asked before."""

import pytest

from treeline.app.detect.read_spans import MARGIN_MS, ReadSpans

LATER = MARGIN_MS + 1


@pytest.fixture
def spans():
    spans = ReadSpans()
    spans.add(3, read_ms=100_000, start_ms=500)
    return spans


def test_a_tick_that_asked_before_the_read_for_less_than_it_is_covered(spans):
    assert spans.cover(3, asked_ms=100_000 - LATER, since_ms=500)
    assert spans.cover(3, asked_ms=0, since_ms=9_999)


@pytest.mark.parametrize(
    ("group", "asked_ms", "since_ms"),
    [(3, 100_000 - LATER, 499), (3, 100_000 - MARGIN_MS + 1, 500), (3, 200_000, 500), (4, 0, 500)],
    ids=["from earlier on", "the index may not have shown it yet", "asked after", "another group"],
)
def test_nothing_else_is_covered(spans, group, asked_ms, since_ms):
    assert not spans.cover(group, asked_ms=asked_ms, since_ms=since_ms)


def test_a_longer_read_is_remembered_behind_the_short_ones_that_follow(spans):
    for i in range(100):
        spans.add(3, read_ms=200_000 + i, start_ms=1_000 + i)
    assert spans.cover(3, asked_ms=0, since_ms=500)
    assert not spans.cover(3, asked_ms=150_000, since_ms=500), "that one was read too early for it"
    assert spans.cover(3, asked_ms=150_000, since_ms=1_100)


def test_a_read_that_reaches_as_far_replaces_the_one_before(spans):
    spans.add(3, read_ms=300_000, start_ms=500)
    assert spans.cover(3, asked_ms=250_000, since_ms=500)
