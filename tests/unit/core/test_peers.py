"""What a server's peers have in common is taken off its residual: by hand, and whatever the order of deciding."""

import numpy as np
import pytest

from tests.unit.core.fleets import START_MS, STEP_MS, STEP_S, Run, ready_state
from treeline.core.detection import detector
from treeline.core.detection.detector import Round
from treeline.core.expectation import peers
from treeline.core.expectation.peers import FEWEST, NOBODY, PEERS, STALE_STEPS

BUCKET = START_MS // STEP_MS
FIRST = slice(0, 1)


def group(servers=8, slope=0.5, metrics=1):
    """Servers of which the first follows all others, whose residuals of the step before are 0, 1, 2 and so on."""
    state = ready_state(servers, metrics)
    state.peer_rows[0, :, : servers - 1] = np.arange(1, servers)
    state.peer_slope[0] = slope
    state.shared[:], state.shared_bucket[:] = np.arange(-1, servers - 1)[:, None], BUCKET - 1
    return state


def common(state, bucket=BUCKET):
    return float(peers.common(state, FIRST, bucket)[0, 0])


def test_half_of_the_median_of_the_peers_is_taken_off_by_hand():
    assert common(group(8)) == 0.5 * 3.0, "0 to 6"
    assert common(group(7)) == 0.5 * 2.5, "0 to 5: between the two in the middle"


@pytest.mark.parametrize(("there", "taken_off"), [(FEWEST, 0.5 * 2.0), (FEWEST - 1, 0.0)])
def test_fewer_than_five_peers_have_nothing_in_common(there, taken_off):
    state = group(8)
    state.peer_rows[0, :, there:] = NOBODY
    assert common(state) == taken_off


def test_a_peer_that_has_been_silent_for_ten_steps_no_longer_counts():
    state = group(8)
    state.shared_bucket[7] = BUCKET - STALE_STEPS
    assert common(state) == 0.5 * 3.0
    state.shared_bucket[7] = BUCKET - STALE_STEPS - 1
    assert common(state) == 0.5 * 2.5


def test_what_a_peer_did_in_the_same_step_does_not_count():
    """It may have been decided already or not: that must not matter."""
    state = group(8)
    before = common(state)
    every = slice(1, 8)
    peers.remember(state, every, BUCKET, np.full((7, 1), 8.0, np.float32), STEP_S)
    assert common(state) == before
    assert common(state, BUCKET + 1) > before


def test_a_slope_is_the_regression_on_the_median_of_the_peers():
    rng = np.random.default_rng(1)
    load = rng.normal(size=400)
    means = np.tile(load[None, :, None], (8, 1, 1))
    means[0] *= 0.7
    means[7, :, 0] = rng.normal(size=400)
    rows, slopes = peers.choose(means, 0)
    assert sorted(rows[0, :6].tolist()) == [1, 2, 3, 4, 5, 6]
    assert (rows[0, 6:] == NOBODY).all()
    assert slopes[:2].tolist() == pytest.approx([0.7, 1.0])
    assert (rows[7] == NOBODY).all(), "one that goes its own way has no peers"
    assert slopes[7] == 0.0


def loaded(steps=30, servers=12):
    """A load that comes on all at once, over noise."""
    rng = np.random.default_rng(2)
    values = rng.normal(50, 2, (steps, servers, 4)).astype(np.float32)
    values[10:] += 15
    return values


def following(servers=12):
    state = ready_state(servers)
    rows = np.array([[i for i in range(servers) if i != own][:PEERS] for own in range(servers)])
    state.peer_rows[:] = rows[:, None]
    state.peer_slope[:] = 1.0
    return state


def fed(order, values):
    run = Run(following())
    for t in range(len(values)):
        for part in order:
            run.feed(part, [START_MS + t * STEP_MS] * len(part), values[t, part])
    return run


def test_the_order_of_deciding_within_a_step_changes_no_bit():
    values = loaded()
    together = fed([list(range(12))], values)
    apart = fed([[i] for i in (3, 1, 11, 0, 2, 4, 10, 9, 5, 8, 7, 6)], values)
    assert together.rows == apart.rows
    assert together.state.pack() == apart.state.pack()


def test_a_load_on_all_of_them_is_hardly_unusual_for_one():
    values = loaded()
    alone = Run(ready_state(12))
    for t in range(len(values)):
        alone.feed(list(range(12)), [START_MS + t * STEP_MS] * 12, values[t])
    key = (0, START_MS + 29 * STEP_MS)
    level = np.abs(np.frombuffer(fed([list(range(12))], values).rows[key], np.float32)[4:])
    without = np.abs(np.frombuffer(alone.rows[key], np.float32)[4:])
    assert level.mean() < 0.5 * without.mean()


def test_one_server_decided_again_with_what_was_stored_gives_the_same_bits():
    values, state, alone = loaded(), following(), ready_state(1)
    for t in range(len(values)):
        at = np.full(12, START_MS + t * STEP_MS)
        every, one = np.arange(12), np.array([0])
        group_round = Round(BUCKET + t, every, every, at, values[t])
        done = detector.prepare(state, group_round, step_s=STEP_S)
        stored = done.features.compared.common[:1].astype(np.float16)
        own_round = Round(BUCKET + t, one, one, at[:1], values[t, :1])
        again = detector.prepare(alone, own_round, step_s=STEP_S, common=stored.astype(np.float32))
        assert again.features.rows.tobytes() == done.features.rows[:1].tobytes()
        detector.learn(state, done)
        detector.learn(alone, again)
    assert np.abs(stored).max() > 1.0, "there was something in common"
