"""The detector's memory as bytes: what comes back is what went in, and damage is told."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.core.arrays import together
from treeline.core.errors import ModelMismatchError
from treeline.core.state.fleet import FleetCycle, FleetState, Phase
from treeline.core.state.layout import NEVER, todays_layout

ITEM_LIMIT = 400 * 1024
NAMES = [spec.name for spec in todays_layout().arrays]


def filled(metrics, servers, seed=0):
    state = FleetState(metrics, servers=[f"s{i}" for i in range(servers)], version=3)
    rng = np.random.default_rng(seed)
    for name in NAMES:
        array = getattr(state, name)
        array[...] = rng.integers(0, 100, array.shape) if array.dtype.kind in "iu" else rng.normal(size=array.shape)
    state.cycle = FleetCycle(bucket=5, level=0.1 + 0.2, above=3, incident=1, sequence=2)
    return state


def rewritten(data, change):
    """The packed bytes with another head."""
    (size,) = struct.unpack_from("<I", data)
    head = change(json.loads(data[4 : 4 + size]))
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + data[4 + size :]


@FEW
@given(st.sampled_from([1, 2, 4, 38]), st.integers(0, 50), st.integers(0, 1000))
def test_pack_and_unpack_keep_every_bit(metrics, servers, seed):
    state = filled(metrics, servers, seed)
    back = FleetState.unpack(state.pack())
    assert (back.metrics, back.servers, back.version, back.cycle) == (
        state.metrics,
        state.servers,
        state.version,
        state.cycle,
    )
    for name in NAMES:
        one, other = getattr(state, name), getattr(back, name)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert back.pack() == state.pack()


def test_a_blank_row_is_warming_up_and_has_never_been_seen():
    state = FleetState(4, servers=["a"])
    assert state.phase[0] == Phase.WARMING_UP
    assert state.last_at[0] == state.last_received_at[0] == NEVER
    assert np.isnan(state.season_level[0]).all()


def test_unpacked_arrays_can_be_written_to():
    state = FleetState.unpack(filled(2, 3).pack())
    state.day_mean[1] = 7.0
    assert state.day_mean[1].tolist() == [7.0, 7.0]


def test_a_copy_is_independent():
    state = filled(2, 2)
    other = state.copy()
    other.severity[0] = 99.0
    other.cycle.level = 99.0
    other.add(["later"])
    assert state.severity[0] != 99.0
    assert state.cycle.level != 99.0
    assert state.servers == ["s0", "s1"]


def test_adding_servers_keeps_the_rows_there_are():
    state = filled(2, 2)
    before = state.row_values(1)
    state.add(["x", "y"])
    assert state.rows() == {"s0": 0, "s1": 1, "x": 2, "y": 3}
    for name, value in state.row_values(1).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_server_has_one_row():
    state = FleetState(1, servers=["a"])
    with pytest.raises(ValueError, match="a server has one row"):
        state.add(["b", "a"])


def test_a_row_moves_to_another_state_whole():
    source, target = filled(3, 2), FleetState(3, servers=["new"])
    target.set_row(0, source.row_values(1))
    for name in NAMES:
        np.testing.assert_array_equal(getattr(target, name)[0], getattr(source, name)[1])


def test_an_unknown_name_is_no_array():
    state = FleetState(1)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = state.nonsense
    state.add(["a"])
    with pytest.raises(KeyError):
        state.set_row(0, {"nonsense": 1})


@FEW
@given(st.data())
def test_a_cut_off_item_is_refused_wherever_it_was_cut(data):
    packed = filled(2, 2).pack()
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(ModelMismatchError):
        FleetState.unpack(packed[:end])


def test_bytes_too_many_are_refused():
    with pytest.raises(ModelMismatchError, match="1 bytes too many"):
        FleetState.unpack(filled(2, 2).pack() + b"x")


@pytest.mark.parametrize(
    "change",
    [
        lambda head: {**head, "format": 1},
        lambda head: {**head, "format": "3"},
        lambda head: {k: v for k, v in head.items() if k != "servers"},
        lambda head: {**head, "cycle": 7},
        lambda head: {**head, "metrics": 3},
        lambda head: {**head, "servers": ["a", "a"]},
        lambda head: {**head, "channels": 7},
        lambda head: {**head, "arrays": {}},
        lambda head: {**head, "arrays": {"phase": ["O", 0]}},
        lambda head: {**head, "arrays": {"phase": ["u1", 0, "moons"]}},
        lambda head: [1, 2],
        lambda head: 7,
    ],
)
def test_a_head_that_does_not_fit_is_refused(change):
    with pytest.raises(ModelMismatchError):
        FleetState.unpack(rewritten(filled(2, 2).pack(), change))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 40, b"\x02\x00\x00\x00\xff\xfe"])
def test_bytes_that_are_no_state_are_refused(data):
    with pytest.raises(ModelMismatchError):
        FleetState.unpack(data)


def test_fifty_servers_of_38_metrics_and_a_full_block_leave_room_in_one_item():
    """DynamoDB's limit is 400 KB: 120 KB must be left for names and undelivered alerts."""
    from treeline.app.detect.scoreblock import ScoreBlock
    from treeline.app.detect.service import MAX_OBSERVATIONS_PER_COMMIT

    state = FleetState(38, servers=[f"server-{i:04d}.example.internal" for i in range(50)])
    n = MAX_OBSERVATIONS_PER_COMMIT
    block = ScoreBlock.empty(state.servers, "m1", np.arange(n) % 50, np.arange(n))
    assert len(state.pack()) + len(block.pack()) < ITEM_LIMIT - 120 * 1024


@pytest.mark.parametrize("rows", [[0], [0, 1, 2], [2, 3], [], [2, 1], [0, 2, 1, 3], [0, 2, 3], [1, 1, 2], [0, 0, 2]])
def test_only_neighbours_in_order_are_taken_together(rows):
    state = FleetState(2, servers=list("abcd"))
    state.observations[:] = range(4)
    index = np.array(rows, np.intp)
    taken = state.observations[together(index)]
    assert taken.tolist() == rows
    assert np.shares_memory(taken, state.observations) == (len(rows) > 0 and rows == [*range(rows[0], rows[-1] + 1)])
