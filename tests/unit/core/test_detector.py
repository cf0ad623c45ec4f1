"""Rounds and what follows from them: the batching of observations changes no bit of any result."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import START_MS, STEP_MS, STEP_S, Run, ready_state
from treeline.core.alert import AlertEvent
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.detector import Group, compare_late, mark_seen, rounds, split_late
from treeline.core.detection.policy import PolicySettings
from treeline.core.detection.watermark import decidable
from treeline.core.expectation.expectation import Basis
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import LATE_SLOTS, NEVER

SERVERS, STEPS = 11, 24


def cut(rows, at, step_ms=STEP_MS):
    rows, at = np.array(rows, np.intp), np.array(at, np.int64)
    values = np.arange(len(rows), dtype=np.float32)[:, None]
    return list(rounds(rows, at, values, step_ms=step_ms))


OBSERVATIONS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10 * STEP_MS)), max_size=40, unique=True)


@FEW
@given(OBSERVATIONS)
def test_rounds_hold_every_observation_once_and_a_server_at_most_once_in_time_order(observations):
    made = cut([row for row, _ in observations], [at for _, at in observations])
    positions = [int(i) for batch in made for i in batch.index]
    assert sorted(positions) == list(range(len(observations)))
    last = {}
    for batch in made:
        assert len(batch.rows) == len(set(batch.rows.tolist())) > 0
        assert set((batch.observed_at // STEP_MS).tolist()) == {batch.bucket}
        for i, row, at, value in zip(batch.index, batch.rows, batch.observed_at, batch.values, strict=True):
            assert (row, at) == observations[i]
            assert value.item() == i
            assert last.get(int(row), -1) < at
            last[int(row)] = int(at)
    assert [batch.bucket for batch in made] == sorted(batch.bucket for batch in made)


@FEW
@given(OBSERVATIONS, st.randoms(use_true_random=False))
def test_rounds_do_not_depend_on_the_order_within_the_batch(observations, random):
    shuffled = list(observations)
    random.shuffle(shuffled)

    def key(batches):
        return [(b.bucket, b.rows.tolist(), b.observed_at.tolist()) for b in batches]

    one = cut([r for r, _ in observations], [at for _, at in observations])
    other = cut([r for r, _ in shuffled], [at for _, at in shuffled])
    assert key(one) == key(other)


def test_no_observations_make_no_rounds():
    assert cut([], []) == []


def test_a_server_twice_in_a_bucket_makes_two_rounds_of_it():
    made = cut([0, 1, 0], [10, 20, 30])
    assert [(b.bucket, b.rows.tolist(), b.observed_at.tolist()) for b in made] == [
        (0, [0, 1], [10, 20]),
        (0, [0], [30]),
    ]


def history(seed=1):
    """Every (server, time, values) in time order; three servers go wrong, then the whole fleet."""
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 2, (STEPS, SERVERS, 4)).astype(np.float32)
    values[5:9, 2] += 40
    values[6:8, 7, :2] -= 30
    values[16:20] += 35
    return [(i, START_MS + t * STEP_MS, values[t, i]) for t in range(STEPS) for i in range(SERVERS)]


def feed(run, part):
    run.feed([x[0] for x in part], [x[1] for x in part], [x[2] for x in part])


def fleet_run():
    """With what the group shares taken off, so that servers depend on each other."""
    return Run(ready_state(SERVERS), policy=PolicySettings(fleet_min_servers=10))


def whole():
    run = fleet_run()
    feed(run, history())
    return run


REFERENCE = whole()


def in_order(changes):
    """Of one bucket in the order of the servers: they are independent of each other."""
    return sorted(changes, key=lambda c: (c.at // STEP_MS, c.row, c.sequence))


def assert_same(run):
    assert run.severities == REFERENCE.severities
    assert run.rows == REFERENCE.rows
    assert in_order(run.changes) == in_order(REFERENCE.changes)
    assert run.state.pack() == REFERENCE.state.pack()


def test_the_reference_has_something_to_compare():
    kinds = {(c.row, c.event) for c in REFERENCE.changes}
    assert {(2, AlertEvent.OPENED), (-1, AlertEvent.OPENED)} <= kinds


@settings(FEW, max_examples=12)
@given(st.sets(st.integers(1, STEPS * SERVERS - 1), max_size=30))
def test_any_split_of_a_batch_gives_the_same_bits(cuts):
    """Also in the middle of a bucket: the level of a bucket comes from the one before."""
    run = fleet_run()
    records = history()
    edges = [0, *sorted(cuts), len(records)]
    for start, end in itertools.pairwise(edges):
        feed(run, records[start:end])
        run.state = FleetState.unpack(run.state.pack())
    assert_same(run)


@settings(FEW, max_examples=12)
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_any_order_of_arrival_behind_the_watermark_gives_the_same_bits(random, chunk):
    """Servers arrive interleaved at random, as shards deliver them, each in its own order."""
    run = fleet_run()
    queues = {i: [x for x in history() if x[0] == i] for i in range(SERVERS)}
    arrival = []
    while queues:
        server = random.choice(sorted(queues))
        arrival.append(queues[server].pop(0))
        if not queues[server]:
            del queues[server]
    waiting = []
    for start in range(0, len(arrival), chunk):
        waiting += arrival[start : start + chunk]
        allowed = decidable(
            np.array([x[0] for x in waiting]),
            np.array([x[1] for x in waiting]),
            np.full(len(waiting), START_MS),
            run.state.last_at,
            step_ms=STEP_MS,
            now_ms=START_MS,
            wait_ms=1,
            last_received_at=run.state.last_received_at,
        )
        feed(run, [x for x, ok in zip(waiting, allowed, strict=True) if ok])
        waiting = [x for x, ok in zip(waiting, allowed, strict=True) if not ok]
    assert waiting == []
    assert_same(run)


def split(state, row, times):
    new, late = split_late(state, np.full(len(times), row), np.array(times, dtype=np.int64))
    return [times[i] for i in new], [times[i] for i in late]


def seen_state(times):
    run = Run(ready_state(1, 1))
    run.feed([0] * len(times), times, [[50.0]] * len(times))
    return run.state


def at(step):
    return START_MS + step * STEP_MS


def test_new_repeated_and_late_observations_are_told_apart():
    state = seen_state([at(0), at(1), at(3)])
    assert split(state, 0, [at(0), at(1), at(2), at(3), at(4)]) == ([at(4)], [at(2)])


def test_a_late_observation_that_was_decided_is_a_repeated_one():
    state = seen_state([at(0), at(1), at(3)])
    mark_seen(state, np.array([0]), np.array([at(2)]))
    assert split(state, 0, [at(2)]) == ([], [])
    assert state.last_at[0] == at(3), "a late observation does not move the server's clock"


def test_what_is_older_than_the_memory_is_neither():
    times = [at(2 * i) for i in range(LATE_SLOTS + 5)]
    state = seen_state(times)
    oldest = times[5]
    assert split(state, 0, [oldest - STEP_MS, oldest, oldest + STEP_MS]) == ([], [oldest + STEP_MS])


@FEW
@given(st.lists(st.integers(0, 60), min_size=1, max_size=60, unique=True), st.integers(1, 9))
def test_no_observation_is_decided_twice_however_often_it_comes(steps, chunk):
    state = ready_state(1, 1)
    decided = []
    for _ in range(2):
        for start in range(0, len(steps), chunk):
            times = np.array([at(s) for s in steps[start : start + chunk]])
            rows = np.zeros(len(times), np.intp)
            new, late = split_late(state, rows, times)
            decided += times[new].tolist() + times[late].tolist()
            mark_seen(state, rows[late], times[late])
            run = Run(state)
            run.feed(rows[new], times[new], np.full((len(new), 1), 50.0))
    assert len(decided) == len(set(decided))
    assert (np.diff(state.seen_at[0]) >= 0).all(), "the memory stays in time order"


def test_late_observations_are_compared_without_a_trace_also_several_of_one_server():
    state = seen_state([at(0), at(5)])
    state.add(["warming"])
    before = state.pack()
    ready, features = compare_late(
        state,
        np.array([0, 1, 0]),
        np.array([at(2), at(3), at(4)]),
        np.array([[50.0], [50.0], [90.0]], dtype=np.float32),
        step_s=STEP_S,
    )
    assert ready.tolist() == [0, 2]
    assert features.rows[1].max() > features.rows[0].max()
    assert state.pack() == before


def test_a_late_observation_counts_as_one_more_of_its_server():
    state = seen_state([at(0), at(5)])
    before = int(state.observations[0])
    mark_seen(state, np.array([0, 0]), np.array([at(2), at(3)]))
    assert int(state.observations[0]) == before + 2


def test_a_first_observation_is_taken_to_come_one_step_after_none():
    state = ready_state(2)
    state.last_at[:] = [NEVER, START_MS - 7 * STEP_MS]
    (batch,) = cut([0, 1], [START_MS] * 2)
    done = detector.prepare(state, replace(batch, values=np.full((2, 4), 50.0, np.float32)), step_s=STEP_S)
    assert done.elapsed_s.tolist() == [STEP_S, 7 * STEP_S]


def test_a_round_of_one_group_leaves_the_cycle_of_another_where_it_is():
    state = ready_state(6)
    groups = [Group.of(state, start, start + 2) for start in (0, 2, 4)]
    (batch,) = cut([2, 3], [START_MS] * 2)
    done = detector.prepare(state, replace(batch, values=np.full((2, 4), 50.0, np.float32)), step_s=STEP_S)
    detector.decide(state, done, np.array([1.0, 1.0]), Calibration(), PolicySettings(), step_ms=STEP_MS, groups=groups)
    assert [group.cycle.bucket for group in groups] == [NEVER, batch.bucket, NEVER]


def test_what_a_group_shares_is_taken_off_its_own_servers_and_no_others():
    state = ready_state(4)
    (batch,) = cut([0, 1, 2, 3], [START_MS] * 4)
    state.severity[:], state.severity_bucket[:] = [0.0, 0.0, 2.0, 2.0], batch.bucket - 1
    groups = [Group.of(state, start, start + 2) for start in (0, 2)]
    done = detector.prepare(state, replace(batch, values=np.full((4, 4), 90.0, np.float32)), step_s=STEP_S)
    policy = PolicySettings(fleet_min_servers=2)
    decided = detector.decide(state, done, np.ones(4), Calibration(), policy, step_ms=STEP_MS, groups=groups)
    shared = decided.calibrated.severity - decided.severity
    assert shared.tolist() == [0.0, 0.0, 2.0, 2.0]


def calm(steps, seed=3, metrics=4):
    return np.random.default_rng(seed).normal(50, 2, (steps, metrics))


def openings(values, *, step_ms=STEP_MS, **policy):
    """What one server's values open, by the position of the observation."""
    run = Run(ready_state(1), policy=PolicySettings(**policy))
    run.series(values, step_ms=step_ms)
    opened = [change for change in run.changes if change.event is AlertEvent.OPENED]
    return [(change.at - START_MS) // step_ms for change in opened]


def test_one_sample_however_far_out_opens_nothing():
    """At one minute a jump and the return from it used to be two of three: `cases/06`, 600 Mbit/s for one sample."""
    values = calm(90)
    values[60, 2] = 600.0
    assert openings(values) == []


def test_a_fault_that_lasts_opens_and_its_end_opens_nothing_more():
    values = calm(400)
    values[60:100] += 40.0
    (opened,) = openings(values, quiet_s=180.0)
    assert 61 <= opened <= 63
    (opened,) = openings(values, quiet_s=180.0, alone_severity=6.0)
    assert opened == 60, "all four metrics are far out at once"


def test_a_return_to_normal_opens_nothing():
    """From a level that has become usual back to the one of training: every metric jumps, none lies outside."""
    run = Run(ready_state(1))
    values = calm(1500)
    values[:-60] += 12.0
    run.state.day_mean[:], run.state.trailing_mean[:], run.state.recent[:] = 6.0, 6.0, 6.0
    run.state.mean10_mean[:] = 6.0
    run.state.basis[:] = Basis.MOVED_SEASON
    run.state.season_days[:], run.state.season_level[:], run.state.season_var[:] = 1000.0, 0.0, 1.0
    run.state.season_offset[:] = 6.0
    run.state.band_sd[:] = 8.0  # a metric of two levels: both are within what is shown as expected
    severities = run.series(values)
    assert severities[-60:].max() > 1.5, "the jump is severe in itself"
    assert [change for change in run.changes if change.event is AlertEvent.OPENED] == []


@pytest.mark.parametrize("is_open", [True, False])
def test_an_open_incident_is_not_learned(is_open):
    """The trailing day used to learn it, and called it resolved while memory was still at half.

    Nor do other expectations; channels are free to: an incident lasts as long as the metrics are out of place.
    """
    run = Run(ready_state(1), policy=PolicySettings(needed=32, of_last=32))
    if is_open:
        run.state.incident[:], run.state.opened_at[:], run.state.last_p2_at[:] = 2, START_MS, START_MS
    run.series(np.full((30, 4), 90.0))
    assert (run.state.incident != 0).all() == is_open
    for name in ("trailing_mean", "trend_mean", "season_offset", "slot_count"):
        assert (getattr(run.state, name) == 0.0).all() == is_open, name
    for name in ("day_mean", "mean10_mean"):
        assert (getattr(run.state, name) > 0.0).all(), name


def test_after_a_day_an_open_incident_is_learned():
    """It may be the new normal."""
    state = ready_state(1)
    run = Run(state)
    state.incident[:], state.opened_at[:], state.last_p2_at[:] = 2, START_MS, START_MS
    day = 24 * 60
    run.series(np.full((day, 4), 90.0))
    assert (run.state.incident != 0).all(), "still open: it is still far out"
    assert (run.state.trailing_mean == 0.0).all()
    run.series(np.full((60, 4), 90.0), start=START_MS + day * STEP_MS)
    assert (run.state.trailing_mean > 0.2).all()
