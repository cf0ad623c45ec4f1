"""What may be decided now: always a prefix, the same however the observations came in, and never for ever late."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.core.detection.watermark import decidable
from treeline.core.state.layout import NEVER

STEP, NOW, WAIT = 60_000, 1_000_000_000_000, 45_000


def may(observations, last=(), *, last_received=None, received=None, now=NOW):
    """Which of (row, bucket) pairs may be decided; all just received unless said."""
    rows = np.array([row for row, _ in observations], dtype=np.intp)
    at = np.array([bucket * STEP for _, bucket in observations], dtype=np.int64)
    got = np.full(len(rows), now, dtype=np.int64) if received is None else np.array(received, dtype=np.int64)
    last_at = np.array([NEVER if bucket is None else bucket * STEP for bucket in last], dtype=np.int64)
    told = None if last_received is None else np.array(last_received, dtype=np.int64)
    return decidable(rows, at, got, last_at, step_ms=STEP, now_ms=now, wait_ms=WAIT, last_received_at=told).tolist()


def test_in_steady_state_nothing_waits():
    assert may([(0, 5), (1, 5)], [4, 4]) == [True, True]
    assert may([(0, 5)], [4, 4]) == [True], "the other has shown the bucket before"


def test_an_observation_waits_for_a_server_that_has_not_shown_the_bucket_before():
    assert may([(0, 5), (0, 6), (0, 7)], [4, 4]) == [True, False, False]
    assert may([(0, 5), (0, 6), (1, 5)], [4, 4]) == [True, True, True]


def test_waiting_ends_by_receipt_for_the_whole_bucket():
    old, new = NOW - WAIT, NOW
    assert may([(0, 6), (0, 7), (2, 6)], [5, 4, 5, 5], received=[old, new, new]) == [True, False, True]


def test_a_silent_server_is_waited_for_once():
    """After the others have gone on without it, their next observations are decided at once."""
    silent, going = 4, 6
    assert may([(0, 7)], [going, silent], last_received=[NOW - WAIT, NOW - 3 * WAIT]) == [True]
    assert may([(0, 7)], [going, silent], last_received=[NOW, NOW - 3 * WAIT]) == [True], "6 was waited for"
    assert may([(0, 7)], [5, silent], last_received=[NOW, NOW - 3 * WAIT]) == [False], "5 needed no wait"


@pytest.mark.parametrize("step_s", [10, 30, 60])
def test_a_dead_server_costs_its_group_one_wait_whatever_the_step(step_s):
    """Else every page of its group is late for as long as it is dead: 15 s of each 30, with a wait of 45."""
    step, last, received, late = step_s * 1000, [0, 0], [0, 0], []
    waiting = []
    for now in range(0, 40 * step, 1000):
        if now and now % step == 0:
            waiting.append(now)  # of server 0; server 1 died after its first
        at = np.array(waiting, dtype=np.int64)
        allowed = decidable(
            np.zeros(len(at), dtype=np.intp),
            at,
            at,  # received as it was observed
            np.array(last),
            step_ms=step,
            now_ms=now,
            wait_ms=WAIT,
            last_received_at=np.array(received),
        )
        for observed in at[allowed].tolist():
            late.append(now - observed)
            last[0] = received[0] = observed
        waiting = at[~allowed].tolist()
    first_free = next(i for i, waited in enumerate(late) if i and waited == 0 and late[i - 1] > 0)
    assert max(late) == WAIT
    assert set(late[first_free:]) == {0}
    assert first_free <= WAIT // step + 2


def test_a_server_that_returns_from_silence_is_waited_for_again():
    assert may([(0, 8)], [7, 5], last_received=[NOW - WAIT, NOW - WAIT]) == [True]
    assert may([(0, 8)], [7, 6], last_received=[NOW - WAIT, NOW - WAIT]) == [False]


def test_seeds_that_were_never_received_release_nothing():
    assert may([(0, 7)], [5, 5], last_received=[NEVER, NEVER]) == [False]


def test_a_server_gone_for_long_holds_nobody_back():
    assert may([(0, 124)], [123, 4]) == [True]
    assert may([(0, 123)], [122, 4]) == [False]


def test_a_new_server_may_start():
    assert may([(0, 9)]) == [True]
    assert may([(0, 9)], [None, None]) == [True]
    assert may([]) == []
    assert may([], [3, 4]) == []


def test_a_new_server_far_behind_is_waited_for_while_others_are_ahead():
    assert may([(1, 3), (0, 8)], [7]) == [True, False]


FLEETS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 3 * WAIT)), max_size=25, unique_by=lambda x: x[:2]
)


@FEW
@given(FLEETS, st.lists(st.none() | st.integers(-3, 0), max_size=4), st.booleans())
def test_of_one_server_always_a_prefix_and_of_one_bucket_all_or_none(fleet, last, knows):
    received = [NOW - age for _, _, age in fleet]
    last_received = [NEVER if bucket is None else NOW - WAIT for bucket in last] if knows else None
    allowed = may([x[:2] for x in fleet], last, received=received, last_received=last_received)
    decided = [bucket for (_, bucket, _), ok in zip(fleet, allowed, strict=True) if ok]
    waiting = [bucket for (_, bucket, _), ok in zip(fleet, allowed, strict=True) if not ok]
    assert max(decided, default=-99) < min(waiting, default=99)


@FEW
@given(FLEETS, st.permutations(range(25)))
def test_the_order_within_the_batch_does_not_matter(fleet, order):
    order = [i for i in order if i < len(fleet)]
    received = [NOW - age for _, _, age in fleet]
    plain = may([x[:2] for x in fleet], received=received)
    mixed = may([fleet[i][:2] for i in order], received=[received[i] for i in order])
    assert mixed == [plain[i] for i in order]


@FEW
@given(FLEETS)
def test_everything_is_decided_in_the_end(fleet):
    received = [NOW - age for _, _, age in fleet]
    assert all(may([x[:2] for x in fleet], received=received, now=NOW + WAIT))


@FEW
@given(FLEETS)
def test_time_only_adds_to_what_may_be_decided(fleet):
    received = [NOW - age for _, _, age in fleet]
    before = may([x[:2] for x in fleet], received=received)
    later = may([x[:2] for x in fleet], received=received, now=NOW + WAIT // 2)
    assert all(b <= a for b, a in zip(before, later, strict=True))


@pytest.mark.parametrize("servers", [1, 50])
def test_a_bucket_that_all_have_shown_is_complete_without_waiting(servers):
    fleet = [(row, bucket) for bucket in range(3) for row in range(servers)]
    assert all(may(fleet))
