"""A server that is retired: its incident ends with a word, nobody waits for it, and its name begins anew."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.core.fleets import START_MS, STEP_MS
from tests.unit.core.test_detect_service import FAST, fill
from tests.unit.core.test_detect_service import store as store
from tests.unit.detection_fakes import TICK, Store, service
from treeline.app.alert.controls import Control, ControlKind, Scope
from treeline.app.alert.muting import Muting
from treeline.app.alert.text import mail
from treeline.app.detect.retirement import Retirement
from treeline.app.detect.ticks import Tick, TickCause
from treeline.core.alert import Alert, AlertEvent, Priority
from treeline.core.arrays import Home
from treeline.core.detection.policy import NONE
from treeline.core.model.handover import hand_over
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.times import iso

AT = START_MS + 60_000  # by the wall clock, when s01 is retired


def detect(tables, *retirements, now_ms=AT + 120_000, muting=None):
    found = service(tables, now_ms=now_ms, policy=FAST)
    return replace(found, retirements=lambda group: retirements, muting=muting or Muting())


def retirement(server="s01", at=AT):
    return Retirement(server_id=server, group=0, reason="disk replaced", by="ann", retired_ms=at)


def state_of(tables: Store) -> FleetState:
    record = tables.load(0, "m1")
    assert record is not None
    return record.state


@pytest.fixture
def in_trouble(store):
    """s01 has an open incident, and everything of the first seven steps is decided."""
    fill(store, steps=range(8), bad=(1,))
    detect(store).run(TICK)
    assert [a.event for a in store.alerts] == [AlertEvent.OPENED]
    return store


def test_its_open_incident_is_resolved_once_and_says_why(in_trouble):
    opened = in_trouble.alerts[0]
    for _ in range(3):
        detect(in_trouble, retirement()).run(TICK)

    [_, ended] = in_trouble.alerts
    assert (ended.event, ended.ended_by) == (AlertEvent.RESOLVED, "retired: disk replaced")
    assert (ended.incident_id, ended.dedup_key) == (opened.incident_id, opened.dedup_key)
    assert (ended.sequence, ended.priority) == (2, opened.priority) == (2, Priority.P1)
    assert mail(ended, stage="prod").startswith("s01 was retired: disk replaced.\n")
    assert Alert.from_json(json.loads(json.dumps(ended.to_json()))) == ended


def test_it_is_neither_silent_nor_expected_nor_warming_up(in_trouble):
    later = AT + 3_600_000
    before = detect(in_trouble, now_ms=later).run(TICK)
    after = detect(in_trouble, retirement(), now_ms=later).run(TICK)

    assert "s01" in before.silent_servers
    assert (before.servers, after.servers) == (4, 3)
    assert "s01" not in after.silent_servers
    assert (after.retired, after.warming_servers) == (["s01"], 0)


def test_a_tick_of_observations_does_not_ask_for_retirements(in_trouble):
    """Ingest sends one for every batch; the heartbeat comes twice a minute and is soon enough."""
    detect(in_trouble, retirement()).run(Tick(0, START_MS, TickCause.OBSERVATIONS))
    assert len(in_trouble.alerts) == 1


def test_what_was_received_before_does_not_bring_it_back(in_trouble):
    """Also where it was not decided yet, because the tick was late."""
    fill(in_trouble, servers=[1], steps=range(8, 12), received=AT)
    for _ in range(2):
        outcome = detect(in_trouble, retirement()).run(TICK)

    assert state_of(in_trouble).is_retired.tolist() == [False, True, False, False]
    assert outcome.returned == []


def test_what_is_received_afterwards_is_of_a_new_server_of_its_name(in_trouble):
    detect(in_trouble, retirement()).run(TICK)
    fill(in_trouble, steps=range(8, 12), received=AT + 1)
    outcomes = [detect(in_trouble, retirement()).run(TICK) for _ in range(2)]

    state = state_of(in_trouble)
    assert [outcome.returned for outcome in outcomes] == [["s01"], []]
    assert state.phase.tolist() == [Phase.READY, Phase.WARMING_UP, Phase.READY, Phase.READY]
    assert (state.observations[1], outcomes[1].servers, outcomes[1].warming_servers) == (4, 4, 1)
    assert len(in_trouble.alerts) == 2, "a retirement counts once"


def test_it_can_be_retired_again_once_it_is_back(in_trouble):
    detect(in_trouble, retirement()).run(TICK)
    fill(in_trouble, steps=range(8, 12), received=AT + 1)
    detect(in_trouble, retirement()).run(TICK)
    outcome = detect(in_trouble, retirement(at=AT + 2)).run(TICK)

    assert outcome.retired == ["s01"]
    assert state_of(in_trouble).is_retired[1]


def test_what_it_sent_until_the_heartbeat_is_the_retired_servers(in_trouble):
    """The agent went on for some seconds: that is decided already, and must not be decided as a new server's too."""
    fill(in_trouble, servers=[1], steps=range(8, 10), received=AT + 5)
    detect(in_trouble).run(TICK)
    scored = len(in_trouble.scored())
    for _ in range(2):
        detect(in_trouble, retirement()).run(TICK)

    assert state_of(in_trouble).is_retired[1]
    assert len(in_trouble.scored()) == scored


def test_a_server_of_which_nothing_was_decided_can_be_retired(store):
    """Its observations still wait: they must not make it a server afterwards."""
    fill(store, servers=[0, 2, 3], steps=range(4))
    detect(store).run(TICK)
    fill(store, servers=[1], steps=range(4), received=AT)
    detect(store, retirement()).run(TICK)
    detect(store, retirement()).run(TICK)

    state = state_of(store)
    assert state.is_retired[state.rows()["s01"]]
    assert not any(server == "s01" for server, _ in store.scored())


def test_a_group_whose_servers_are_all_retired_is_not_read_from_its_beginning(in_trouble, monkeypatch):
    """Each heartbeat would read two days of what nobody wants."""
    every = [retirement(f"s0{i}") for i in range(4)]
    detect(in_trouble, *every).run(TICK)
    starts, read = [], in_trouble.read
    monkeypatch.setattr(in_trouble, "read", lambda *a, **k: starts.append(a[1]) or read(*a, **k))
    detect(in_trouble, *every).run(TICK)
    fill(in_trouble, steps=range(8, 9), received=AT + 1)
    detect(in_trouble, *every).run(Tick(0, START_MS + 8 * STEP_MS, TickCause.OBSERVATIONS))

    assert min(starts) > 0
    assert not state_of(in_trouble).is_retired.any(), "what comes again has a tick that names it"


def test_a_commit_of_another_worker_in_between_changes_nothing(in_trouble):
    in_trouble.steal_next_commit = 1
    outcome = detect(in_trouble, retirement()).run(TICK)

    assert outcome.conflicts == 1
    assert [a.ended_by for a in in_trouble.alerts] == ["", "retired: disk replaced"]


def test_a_worker_that_dies_after_the_commit_leaves_the_end_to_the_next_tick(in_trouble):
    in_trouble.die_after_commit = True
    with pytest.raises(SystemExit):
        detect(in_trouble, retirement()).run(TICK)
    assert len(in_trouble.alerts) == 1
    in_trouble.die_after_commit = False
    detect(in_trouble, retirement()).run(TICK)

    assert [a.ended_by for a in in_trouble.alerts] == ["", "retired: disk replaced"]


def test_the_end_of_an_incident_that_nobody_heard_of_is_not_told(store):
    mute = Control(
        kind=ControlKind.MUTE,
        id="m",
        scope=Scope(server="s01"),
        starts_ms=0,
        until_ms=START_MS + 10**9,
        reason="r",
        by="b",
        created_ms=0,
    )

    class Mutes:
        def in_force(self):
            return [mute]

    muting = Muting(controls=Mutes())
    fill(store, steps=range(8), bad=(1,))
    detect(store, muting=muting).run(TICK)
    outcome = detect(store, retirement(), muting=muting).run(TICK)

    assert [a.event for a in store.alerts] == [AlertEvent.SUPPRESSED]
    assert [a.ended_by for a in outcome.suppressed] == ["retired: disk replaced"]


def test_its_next_incident_will_name_the_one_that_ended(in_trouble):
    """Receivers put the pages of one name in order by it (`follows`)."""
    ended = in_trouble.alerts[0].incident_id
    detect(in_trouble, retirement()).run(TICK)

    state = state_of(in_trouble)
    assert f"s01/{iso(int(state.opened_at[1]))}" == ended
    assert state.incident[1] == NONE


def test_a_new_model_leaves_it_retired_and_knows_it_once_it_is_back(in_trouble):
    detect(in_trouble, retirement()).run(TICK)
    package = in_trouble.package
    gone = hand_over(package, state_of(in_trouble), calibration=package.calibration)
    fill(in_trouble, steps=range(8, 12), received=AT + 1)
    detect(in_trouble, retirement()).run(TICK)
    back = hand_over(package, state_of(in_trouble), calibration=package.calibration)

    assert gone.is_retired.tolist() == [False, True, False, False]
    assert (gone.retired_at[1], back.retired_at[1]) == (AT, AT)
    assert (gone.phase[1], back.phase[1]) == (Phase.WARMING_UP, Phase.READY)


def test_what_training_measured_of_the_retired_server_is_not_given_to_the_new_one(in_trouble):
    package = in_trouble.package
    package.seeds.peer_slope[:] = 0.5
    detect(in_trouble, retirement()).run(TICK)
    state = state_of(in_trouble)
    package.attach(state, Home.PACKAGE)

    np.testing.assert_array_equal(state.peer_slope[:, 0] != 0, [True, False, True, True])
