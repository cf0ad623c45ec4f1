"""The detector's memory as bytes: what comes back is what went in, and damage is told."""

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.core.arrays import Home, together
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation import season
from treeline.core.state import table
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


@pytest.mark.parametrize("metrics", [4, 38])
def test_fifty_servers_and_a_full_score_block_leave_room_in_one_item(metrics):
    """DynamoDB's limit is 400 KB. The noise here compresses less than any fleet's state."""
    from treeline.app.detect.origin import MAX_ORIGIN_BYTES
    from treeline.app.detect.scoreblock import ScoreBlock
    from treeline.app.detect.service import most_observations

    state, n = filled(metrics, 50), most_observations(metrics)
    block = ScoreBlock.empty(
        state.servers, "m1", np.arange(n) % 50, np.arange(n), features=2 * metrics, metrics=metrics
    )
    block.features[:] = np.random.default_rng(1).normal(size=block.features.shape)
    assert n >= 2 * 50, "two rounds of a full group in one commit"
    whole = zlib.compress(state.pack(Home.STATE), 1)
    assert len(whole) + len(block.pack()) + MAX_ORIGIN_BYTES < ITEM_LIMIT


@pytest.mark.parametrize("metrics", [1, 4, 38])
def test_a_block_of_the_seasonal_table_is_far_from_an_items_limit(metrics):
    state = filled(metrics, 50)
    sizes = [len(table.cut(state, number)) for number in range(season.BLOCKS)]
    assert max(sizes) < 820 * metrics + 1100
    assert max(sizes) < 32_000


def test_a_block_is_taken_back_value_for_value_and_only_by_its_name():
    state, other = filled(4, 3), FleetState(4, servers=["s0", "s1", "s2", "later"])
    other.season_level[3] = 5.0
    for number in (0, 23, 24, 47):
        block = table.cut(state, number)
        table.fill(other, number, table.name_of(block), block)
        for name, part in table.parts(other, number).items():
            np.testing.assert_array_equal(part[:3], table.parts(state, number)[name])
        assert (table.parts(other, number)["season_level"][3] == 5.0).all(), "came after the block was stored"
        with pytest.raises(ModelMismatchError, match="does not add up"):
            table.fill(other, number, table.name_of(block), block[:-1] + b"x")
    assert np.isnan(table.parts(other, 1)["season_level"][:3]).all(), "other hours stay as they were"


def test_a_block_of_more_servers_or_another_width_is_refused():
    block = table.cut(filled(4, 3), 0)
    for state in (FleetState(4, servers=["s0"]), FleetState(5, servers=["s0", "s1", "s2"])):
        with pytest.raises(ModelMismatchError):
            table.fill(state, 0, table.name_of(block), block)


def test_a_part_of_the_table_is_kept_alone():
    state = filled(2, 1)
    before = table.cut(state, 5)
    table.keep_only(state, {5})
    assert table.cut(state, 5) == before
    assert np.isnan(state.season_level).sum() == state.season_level.size * 47 // 48
    assert (state.season_days == 0).sum() >= state.season_days.size * 47 // 48


@pytest.mark.parametrize("rows", [[0], [0, 1, 2], [2, 3], [], [2, 1], [0, 2, 1, 3], [0, 2, 3], [1, 1, 2], [0, 0, 2]])
def test_only_neighbours_in_order_are_taken_together(rows):
    state = FleetState(2, servers=list("abcd"))
    state.observations[:] = range(4)
    index = np.array(rows, np.intp)
    taken = state.observations[together(index)]
    assert taken.tolist() == rows
    assert np.shares_memory(taken, state.observations) == (len(rows) > 0 and rows == [*range(rows[0], rows[-1] + 1)])
