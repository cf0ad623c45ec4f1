"""A delta takes one state to the other, bit for bit, and is small."""

from itertools import pairwise

import numpy as np
import pytest

from tests.unit.detection_fakes import START_MS, STEP_MS, Store, fleet, service, trained
from treeline.app.detect.ports import Record
from treeline.app.detect.ticks import Tick
from treeline.core.errors import ModelMismatchError
from treeline.core.state import delta as state_delta
from treeline.core.state.codec import StoredState
from treeline.core.state.fleet import FleetState


class Recording(Store):
    """Keeps every committed state."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.states: list[bytes] = []

    def commit(self, record: Record, previous_version: int) -> None:
        super().commit(record, previous_version)
        self.states.append(record.state.pack())


def stored(state: FleetState) -> StoredState:
    return StoredState.from_bytes(state.pack())


def difference(before: FleetState, after: FleetState) -> bytes | None:
    return state_delta.pack(stored(before), stored(after))


@pytest.fixture(scope="module")
def states() -> list[FleetState]:
    """What ten servers' state was after each of many commits, some servers reporting in each."""
    grid = fleet(10, 400)
    store = Recording(trained(grid))
    for step in range(60):
        at = START_MS + STEP_MS * (400 + step)
        for row, server in enumerate(grid.servers):
            if (row + step) % 3 == 0:  # several observations of a server come in one commit now and then
                for back in range(step % 5 + 1):
                    store.add(server, at - back * STEP_MS, grid.values[step, row] + back, received=at)
        service(store, now_ms=at).run(Tick(0))
    return [FleetState.unpack(data) for data in store.states]


def test_applying_the_deltas_of_many_commits_gives_the_last_state_bit_for_bit(states: list[FleetState]):
    state = stored(states[0])
    for before, after in pairwise(states):
        delta = difference(before, after)
        assert delta is not None
        state_delta.verify(state, state_delta.apply(state, delta))

    assert len(states) > 40
    assert state.to_bytes() == states[-1].pack()


def test_a_delta_is_a_fraction_of_the_state(states: list[FleetState]):
    sized = 0
    for before, after in pairwise(states):
        if len(before.servers) == len(after.servers):
            delta = difference(before, after)
            decided = int((after.observations - before.observations).sum())
            assert delta is not None
            assert len(delta) < 600 + 330 * decided
            sized += 1

    assert sized > 30


def test_new_servers_come_with_it(states: list[FleetState]):
    after = states[-1].copy()
    after.add(["new-1", "new-2"])
    after.last_at[-1] = START_MS
    after.version += 1
    state = stored(states[-1])

    delta = difference(states[-1], after)

    assert delta is not None
    state_delta.apply(state, delta)
    assert state.to_bytes() == after.pack()


def test_any_bits_survive():
    """NaN with a payload, negative zero, the largest integers."""
    rng = np.random.default_rng(3)
    before, after = (FleetState(38, servers=[f"s{i}" for i in range(50)]) for _ in range(2))
    for state in (before, after):
        for array in state.arrays().values():
            raw = rng.integers(0, 256, array.nbytes, dtype=np.uint8).tobytes()
            array[...] = np.frombuffer(raw, array.dtype).reshape(array.shape)
    state = stored(before)

    delta = difference(before, after)

    assert delta is not None
    state_delta.verify(state, state_delta.apply(state, delta))
    assert state.to_bytes() == after.pack()


def test_nothing_changed_is_a_delta_of_nothing():
    state = stored(FleetState(4, servers=["a", "b"], version=7))
    delta = state_delta.pack(state, state.copy())

    assert delta is not None
    assert len(delta) < 300
    state_delta.verify(state, state_delta.apply(state, delta))


def test_states_of_other_servers_or_metrics_have_no_delta():
    assert difference(FleetState(4, servers=["a"]), FleetState(4, servers=["b"])) is None
    assert difference(FleetState(4, servers=["a"]), FleetState(4)) is None
    assert difference(FleetState(4, servers=["a"]), FleetState(5, servers=["a"])) is None


def test_a_delta_on_the_wrong_state_is_noticed(states: list[FleetState]):
    delta = difference(states[-2], states[-1])
    wrong = stored(states[0])

    assert delta is not None
    with pytest.raises(ModelMismatchError, match="does not add up"):
        state_delta.verify(wrong, state_delta.apply(wrong, delta))


def test_a_delta_that_adds_a_server_which_is_there_is_refused():
    before, after = FleetState(4, servers=["a"]), FleetState(4, servers=["a", "b"])
    delta = difference(before, after)

    assert delta is not None
    with pytest.raises(ModelMismatchError, match="already in the state"):
        state_delta.apply(stored(after), delta)


@pytest.mark.parametrize("damage", [b"", b"\0\0\0\0", b"\0\0\0\0not zlib"])
def test_a_damaged_delta_is_refused(damage: bytes):
    with pytest.raises(ModelMismatchError, match="not readable"):
        state_delta.apply(stored(FleetState(4)), damage)
