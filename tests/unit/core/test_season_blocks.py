"""The seasonal table in blocks: a tick touches those its observations turn, and no crash leaves half a table."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.test_state import filled
from tests.unit.detection_fakes import START_MS, STEP_MS, TICK, Store, fleet, service, trained
from treeline.app.detect import lost_blocks
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.app.detect.zones import ServerZones
from treeline.core.arrays import NEVER, Home
from treeline.core.expectation import season
from treeline.core.state import table

TRAIN, LIVE, SERVERS = 1500, 150, 3
WEEK = 7 * season.SLOTS


@FEW
@given(
    st.lists(st.integers(0, 2 * WEEK), min_size=3, max_size=3),
    st.lists(st.integers(0, 2 * WEEK), min_size=3, max_size=3),
)
def test_a_turn_needs_and_changes_no_other_block(before, now):
    whole, rows = filled(2, 3), np.arange(3)
    for name in ("season_level", "season_var", "season_days", "season_square"):
        whole.arrays()[name][:] = np.abs(whole.arrays()[name])
    whole.slot[:] = before
    slots = np.array(now)
    blocks = season.blocks_turned(whole, rows, slots)
    lean = whole.copy()
    table.keep_only(lean, blocks)
    original = {number: contents(whole, number) for number in range(season.BLOCKS)}

    for state in (whole, lean):
        season.turn(state, rows, slots, step_s=60.0)

    for name in ("slot", "slot_level", "slot_sd"):
        np.testing.assert_array_equal(lean.arrays()[name], whole.arrays()[name], err_msg=name)
    for number in range(season.BLOCKS):
        if number in blocks:
            assert table.cut(lean, number) == table.cut(whole, number)
        else:
            assert contents(whole, number) == original[number]


def contents(state, number):
    return {name: part.tobytes() for name, part in table.parts(state, number).items()}


def test_an_observation_in_the_slot_that_lasts_needs_no_block_and_the_first_of_all_needs_its_own():
    state, rows = filled(2, 2), np.arange(2)
    state.slot[:] = [100, NEVER]
    assert season.blocks_turned(state, rows[:1], np.array([100])) == set()
    assert season.blocks_turned(state, rows[1:], np.array([100])) == {0, 1, 24, 25}  # 01:00 and 00:45


class CountingStore(Store):
    """Counts reads and writes of blocks, and can lose them."""

    def __init__(self, *args):
        super().__init__(*args)
        self.reads, self.writes = [], []
        self.die_before_commit = False

    def read_block(self, group, model_version, number, name):
        self.reads.append(number)
        return super().read_block(group, model_version, number, name)

    def write_block(self, group, model_version, number, name, block):
        self.writes.append(number)
        super().write_block(group, model_version, number, name, block)

    def commit(self, record, previous_version):
        if self.die_before_commit:
            raise SystemExit("killed")
        super().commit(record, previous_version)


@pytest.fixture(scope="module")
def grid():
    return fleet(SERVERS, TRAIN + LIVE)


@pytest.fixture(scope="module")
def package(grid):
    from tests.unit.model_change_fakes import part

    return trained(part(grid, 0, TRAIN))


def send(store, grid, first, last, zone="UTC"):
    """One tick a step; what was said of lost blocks."""
    told = []
    for step in range(first, last):
        for row, server in enumerate(grid.servers):
            store.add(server, int(grid.times_ms[TRAIN + step]), grid.values[TRAIN + step, row])
        detect = service(store, now_ms=int(grid.times_ms[TRAIN + step]))
        told += replace(detect, zones=ServerZones(default=zone)).run(TICK).lost_blocks
    return told


def table_of(store):
    """What is stored of the table, by block, and the record's own part."""
    record = store.load(0, "m1")
    named = {n: store.table_blocks[0, "m1", n, name] for n, name in enumerate(record.state.table) if name}
    return named, record.state.slot_level.tolist(), record.state.last_at.tolist()


@pytest.fixture(scope="module")
def undisturbed(package, grid):
    store = CountingStore(package)
    send(store, grid, 0, LIVE)
    return store


def test_a_tick_that_turns_no_slot_reads_and_writes_no_block(package, grid):
    store, quiet = CountingStore(package), 0
    for step in range(60):
        touched = len(store.reads), len(store.writes)
        send(store, grid, step, step + 1)
        is_turn = (START_MS + (TRAIN + step) * STEP_MS) % season.SLOT_MS == 0
        assert ((len(store.reads), len(store.writes)) == touched) == (not is_turn), step
        quiet += not is_turn
    assert quiet == 56


def test_what_a_slot_taught_is_there_when_its_time_comes_again(undisturbed):
    """The stored blocks are the hours that passed, and differ from what training left."""
    stored, *_ = table_of(undisturbed)
    hours = {(START_MS + (TRAIN + step) * STEP_MS) // 3_600_000 % 24 for step in range(-1, LIVE - 15)}
    assert {number % 24 for number in stored} == hours
    fresh = undisturbed.package.new_state()
    undisturbed.package.admit(fresh, sorted(undisturbed.package.seeds.servers))
    assert all(table.cut(fresh, number) != block for number, block in stored.items())


@pytest.mark.parametrize("fault", ["steal_next_commit", "die_before_commit", "die_after_commit"])
def test_a_lost_race_or_a_crash_around_the_commit_leaves_the_same_table(package, grid, undisturbed, fault):
    store = CountingStore(package)
    for step in range(LIVE):
        setattr(store, fault, 1 if step % 5 == 0 else 0)
        try:
            send(store, grid, step, step + 1)
        except SystemExit:
            setattr(store, fault, 0)
            service(store, now_ms=int(grid.times_ms[TRAIN + step])).run(TICK)
    assert len(store.writes) > 9
    assert table_of(store) == table_of(undisturbed)


@pytest.mark.parametrize("damage", [None, b"", b"other bytes"])
def test_a_lost_block_begins_anew_from_training_is_told_and_is_stored_again(package, grid, damage):
    store = CountingStore(package)
    send(store, grid, 0, 55)
    (number,) = {n for n, name in enumerate(store.load(0, "m1").state.table) if name and n % 24 == 1}
    for key in [key for key in store.table_blocks if key[2] == number]:
        store.table_blocks.pop(key)
        if damage is not None:
            store.table_blocks[key] = damage
    at = next(s for s in range(55, LIVE) if (START_MS + (TRAIN + s) * STEP_MS) % season.SLOT_MS == 0)
    send(store, grid, 55, at)
    for row, server in enumerate(grid.servers):
        store.add(server, int(grid.times_ms[TRAIN + at]), grid.values[TRAIN + at, row])

    outcome = service(store, now_ms=int(grid.times_ms[TRAIN + at])).run(TICK)

    assert [f"block {number}" in text for text in outcome.lost_blocks] == [True]
    assert store.load(0, "m1").state.last_at.tolist() == [grid.times_ms[TRAIN + at]] * SERVERS, "detection goes on"
    name = store.load(0, "m1").state.table[number]
    assert table.name_of(store.table_blocks[0, "m1", number, name]) == name, "and the next tick finds it"


@pytest.mark.parametrize("is_expired", [False, True], ids=["observations there", "observations expired"])
@pytest.mark.parametrize("damage", [None, b"", b"other bytes"])
def test_of_a_block_that_is_lost_at_most_the_last_quarter_hour_is(package, grid, undisturbed, damage, is_expired):
    """The one before it is still stored, and lacks one slot: that is learned again where its observations are kept."""
    store, lost_slot = CountingStore(package), 2
    send(store, grid, 0, 55)  # from 01:00 on: the block of this hour was stored after each of three quarters
    (number,) = {n for n, name in enumerate(store.load(0, "m1").state.table) if name and n % 24 == 1}
    key = (0, "m1", number, store.load(0, "m1").state.table[number])
    assert len(store.stored_blocks(0, "m1", number)) == 3
    store.table_blocks.pop(key)
    if damage is not None:
        store.table_blocks[key] = damage
    if is_expired:
        store.items.clear()
    send(store, grid, 55, LIVE)

    ours, theirs = store.load(0, "m1").state, undisturbed.load(0, "m1").state
    assert {n for n in range(season.BLOCKS) if ours.table[n] != theirs.table[n]} == {number}
    for name, array in ours.arrays().items():
        np.testing.assert_array_equal(array, theirs.arrays()[name], err_msg=name)
    for name, part in parts(store, ours, number).items():
        expected = parts(undisturbed, theirs, number)[name]
        kept = np.arange(season.BLOCK_SLOTS) != lost_slot
        np.testing.assert_array_equal(part[:, kept], expected[:, kept], err_msg=name)
        assert is_learned(part[:, lost_slot], expected[:, lost_slot]) is not is_expired, name


def is_learned(found, expected, rtol=0.01):
    """As it was learned before: a spread is held against the trailing mean of then, which is not known any more."""
    return np.allclose(found, expected, rtol=rtol, atol=0.0, equal_nan=True)


def lose(store, *numbers):
    for key in [key for key in store.table_blocks if key[2] in numbers]:
        store.table_blocks.pop(key)


@pytest.mark.parametrize(
    ("zone", "hour", "count", "is_wrong"),
    [("UTC", 1, 9, False), ("UTC", 1, 9, True), ("Asia/Kolkata", 7, 3, False)],
    ids=["all well", "an incident in the hour", "half an hour off"],
)
def test_where_no_block_is_left_the_hour_is_learned_again_on_top_of_training(
    package, grid, zone, hour, count, is_wrong
):
    """And without the incident, which was not learned when it was there, but for what came before it opened."""
    values = grid.values.copy()
    values[TRAIN + 20 : TRAIN + 40, 1] += 60.0 * is_wrong
    grid, whole, store = replace(grid, values=values), CountingStore(package), CountingStore(package)
    for each in (whole, store):
        send(each, grid, 0, 55, zone)
    assert store.load(0, "m1").state.incident.any() == is_wrong
    lose(store, hour)
    assert send(whole, grid, 55, 61, zone) == []

    (told,) = send(store, grid, 55, 61, zone)

    assert told.endswith(f"; {count} quarter hours of servers were learned again from observations"), told
    ours, theirs = store.load(0, "m1").state, whole.load(0, "m1").state
    assert ours.table[hour]
    for name, part in parts(store, ours, hour).items():
        assert is_learned(part, parts(whole, theirs, hour)[name], rtol=0.15 if is_wrong else 0.01), name
    assert ours.last_at.tolist() == theirs.last_at.tolist()


def test_of_several_lost_blocks_one_is_learned_again(package, undisturbed):
    """Detection waits for it: the others begin as the last block before them, or as training left them."""
    store, asked = CountingStore(package), []
    store.table_blocks, store.committed = dict(undisturbed.table_blocks), undisturbed.committed
    lose(store, 1, 2)
    state = store.load(0, "m1").state
    package.attach(state, Home.TABLE)

    def learn_again(number, learned):
        asked.append((number, learned))
        return "learned again"

    told = SeasonBlocks(store).fill(0, "m1", state, [1, 2], learn_again=learn_again)
    assert asked == [(1, None)]
    assert [words.endswith("learned again") for words in told] == [True, False]


def test_a_lost_hour_is_read_for_three_days_and_up_to_so_many_observations(package, grid, monkeypatch):
    spans = []

    class Noting(CountingStore):
        def read(self, group, start_ms, *args, until_ms=None, **more):
            found = super().read(group, start_ms, *args, until_ms=until_ms, **more)
            if until_ms is not None:
                spans.append((until_ms - start_ms, len(found.servers)))
            return found

    store = Noting(package)
    send(store, grid, 0, 55)
    lose(store, 1)
    send(store, grid, 55, 61)
    assert spans == [(4 * season.SLOT_MS, 0), (4 * season.SLOT_MS, 0), (4 * season.SLOT_MS, 60 * SERVERS)]

    store = Noting(package)
    send(store, grid, 0, 55)
    lose(store, 1)
    monkeypatch.setattr(lost_blocks, "MOST_OBSERVATIONS", 10)
    spans.clear()
    (told,) = send(store, grid, 55, 61)
    assert told.endswith("nothing more was learned again: too many observations for one commit")
    assert sum(n for _, n in spans) == 10


def test_a_block_that_does_not_say_what_it_has_learned_is_gone_on_with_as_it_is(undisturbed):
    """As versions before stored them: what it lacks is not known, and a day counted twice is worse than none."""
    state, asked = undisturbed.load(0, "m1").state, []
    block = undisturbed.table_blocks[0, "m1", 1, state.table[1]]
    size = int.from_bytes(block[:4], "little")
    head = {name: part for name, part in json.loads(block[4 : 4 + size]).items() if name != "slots"}
    text = json.dumps(head).encode()
    older = len(text).to_bytes(4, "little") + text + block[4 + size :]
    store = Store(None)
    store.table_blocks = dict(undisturbed.table_blocks)
    lose(store, 1)
    store.write_block(0, "m1", 1, table.name_of(older), older)
    lost = SeasonBlocks(store).fill(0, "m1", state, [1], learn_again=lambda *given: asked.append(given) or "asked")
    assert len(lost) == 1
    ((number, learned),) = asked
    assert (number, learned.tolist()) == (1, season.newest_in(1, state.slot).tolist())


@FEW
@given(st.integers(0, season.BLOCKS - 1), st.integers(0, 3 * WEEK))
def test_the_newest_slot_of_a_block_is_found_over_weekends_too(number, before):
    found = int(season.newest_in(number, np.array([before + WEEK]))[0])
    every = np.arange(before, before + WEEK)
    assert found == every[season.block_of(every) == number].max()
    assert season.newest_in(number, np.array([NEVER])).tolist() == [NEVER]


def parts(store, state, number):
    """What is stored of a block, by array."""
    state = state.copy()
    store.package.attach(state, Home.TABLE)
    assert SeasonBlocks(store).fill(0, "m1", state, [number]) == []
    return table.parts(state, number)


def test_a_lost_block_that_is_only_read_is_stored_again_and_one_that_was_never_stored_is_not():
    """Else every quarter hour of that time of day would tell of the loss again."""
    store, state = Store(None), filled(2, 2)
    state.table[5] = "gone"
    blocks = SeasonBlocks(store)
    assert len(blocks.fill(0, "m1", state, [5, 6])) == 1
    blocks.write(0, "m1", state)
    assert [key[2] for key in store.table_blocks] == [5]
    state.filled.clear()
    assert blocks.fill(0, "m1", state, [5, 6]) == []
