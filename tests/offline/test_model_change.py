"""Changing the model under a running fleet: nobody is paged for it, nobody is forgotten, nothing is decided twice."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import TICK
from tests.unit.model_change_fakes import LIVE, SERVERS, TRAIN, PointedModels, World, history, packages
from treeline.app.promote.canary import Canary
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import StateConflictError
from treeline.core.model.canary import is_canary, reach_of
from treeline.core.model.handover import hand_over

CANARY = Canary(model_version="m2", package_key="m2", target_variant="m2", reach=0.0, number=1)


@pytest.fixture(scope="module")
def trained():
    grid = history()
    return grid, packages(grid)


def world_of(trained, policy: PolicySettings | None = None) -> World:
    grid, (first, second) = trained
    models = PointedModels({"m1": first, "m2": second})
    models.point_at("m1")
    return World(replace(grid, values=grid.values.copy()), models, policy=policy)


@pytest.fixture
def world(trained):
    return world_of(trained)


@pytest.fixture(params=[0.0, 6.0])
def sharing(trained, request):
    """A world where what a group does together is taken off each server's severity; off unless asked for.

    There it makes no difference from where on one observation could open.
    """
    return world_of(trained, PolicySettings(fleet_min_servers=10, alone_severity=request.param))


def with_incident(world: World, start: int, stop: int, server: int = 3) -> World:
    world.grid.values[TRAIN + start : TRAIN + stop, server] += 40.0
    np.clip(world.grid.values, 0.0, 100.0, out=world.grid.values)
    return world


def start_canary(world: World, share: float = 0.3) -> set[str]:
    reach = reach_of(world.grid.servers, share)
    world.models.canary = Canary(model_version="m2", package_key="m2", target_variant="m2", reach=reach, number=1)
    return {s for s in world.grid.servers if is_canary(s, reach)}


def test_a_calm_fleet_hears_nothing_of_the_change(world):
    world.stream(120)
    world.models.point_at("m2")
    world.stream(120)
    assert world.told() == []
    assert len(world.store.scored()) == LIVE * SERVERS
    versions = [block.model_version for block in world.store.blocks.values()]
    assert versions.index("m2") > 0
    decided = sum(len(block.observed_at) for block in world.store.blocks.values())
    assert decided == LIVE * SERVERS, "the new model reads nothing again"


def test_what_a_lagging_candidate_reads_again_does_not_count_as_read_by_the_champion(world):
    start_canary(world)
    world.stream(20)
    world.candidate.is_down = True
    world.stream(60)
    world.champion._read._spans.clear()
    world.candidate.is_down = False
    world.detect.run(TICK)
    behind, now = (int(world.grid.times_ms[TRAIN + t]) for t in (20, 79))
    assert world.champion.has_read(0, asked_ms=0, since_ms=now)
    assert not world.champion.has_read(0, asked_ms=0, since_ms=behind)


def test_an_incident_goes_on_under_the_new_model_and_is_resolved_by_it(world):
    with_incident(world, 20, 60).stream(40)
    opened = world.told()
    assert [event for _, event, _, _ in opened][:1] == ["opened"]
    world.models.point_at("m2")
    world.stream(120)
    told = world.told()
    assert {incident for incident, *_ in told} == {opened[0][0]}, "one incident, before and after"
    assert told[-1][1:3] == ("resolved", "m2")
    assert [sequence for *_, sequence in told] == list(range(1, len(told) + 1))


def test_the_change_brings_the_same_incidents_as_no_change(trained):
    def run(change_at):
        world = with_incident(world_of(trained), 130, 170)
        world.stream(change_at)
        if change_at < LIVE:
            world.models.point_at("m2")
            world.stream(LIVE - change_at)
        return [(incident.split("/")[0], event) for incident, event, *_ in world.told() if event == "opened"]

    assert run(100) == run(LIVE) == [("web-03", "opened")]


def test_the_model_before_comes_back_with_what_was_told_meanwhile(world):
    with_incident(world, 50, 110).stream(30)
    world.models.point_at("m2")
    world.stream(50)
    world.models.point_at("m1")
    world.stream(160)
    assert [e for _, e, _, _ in world.told() if e in ("opened", "resolved")] == ["opened", "resolved"]
    assert world.told()[-1][2] == "m1"


def test_a_worker_still_on_the_old_model_cannot_decide_any_more(world):
    world.stream(30)
    old = world.models.pointer
    world.models.point_at("m2")
    world.stream(10)
    world.models.pointer = old
    world.models.active = lambda: world.models.packages["m1"]
    with pytest.raises(StateConflictError, match="taken over"):
        world.detect.run(TICK)


def test_a_crash_between_closing_and_taking_over_is_finished_by_the_next_tick(world):
    with_incident(world, 10, 60).stream(30)
    opened = len(world.told())
    world.models.point_at("m2")
    world.store.die_after_commit = True
    with pytest.raises(SystemExit):
        world.stream(10)
    world.store.die_after_commit = False
    world.stream(150)
    assert opened == 1
    assert [e for _, e, _, _ in world.told() if e == "opened"] == ["opened"]
    assert world.told()[-1][1] == "resolved"


def test_alerts_not_yet_told_move_with_the_group(world):
    world.store.publisher_down = True
    with_incident(world, 10, 60).stream(30)
    assert world.told() == []
    world.models.point_at("m2")
    world.store.publisher_down = False
    world.stream(10)
    assert [e for _, e, _, _ in world.told()] == ["opened"]


def test_a_candidate_decides_beside_the_champion_on_its_servers_only(world):
    world.stream(30)
    chosen = start_canary(world)
    with_incident(world, 60, 90, server=world.grid.servers.index(min(chosen)))
    world.stream(130)
    assert {version for *_, version, _ in world.told()} == {"m1"}, "the champion alone tells people"
    assert {a.server_id for a in world.decisions.alerts} == {min(chosen)}
    assert world.decisions.alerts[0].model_version == "m2"
    shadow = [b for b in world.store.blocks.values() if b.model_version == "m2"]
    assert {s for b in shadow for s in b.servers} == chosen
    assert world.decisions.calls["candidate"].errors == 0
    assert world.decisions.calls["champion"].count > 0
    assert world.errors == []


def test_the_champion_decides_the_same_with_and_without_a_canary(trained):
    def run(canary):
        world = with_incident(world_of(trained), 60, 90)
        world.stream(30)
        if canary:
            start_canary(world)
        world.stream(100)
        return world.store.load(0, "m1").state.pack(), world.told()

    assert run(canary=True) == run(canary=False)


def test_a_candidate_takes_off_what_the_champion_found_that_all_servers_share(world, sharing):
    """On its few servers it could not know: without the champion's level a rise everywhere looks like theirs alone."""
    for each in (world, sharing):
        each.grid.values[TRAIN + 20 : TRAIN + 40] += 30.0
        chosen = start_canary(each)
        each.stream(60, every=1)

    def opened(alerts):
        return {alert.server_id: alert.severity for alert in alerts if alert.event is AlertEvent.OPENED}

    champion, candidate = (sharing.store.load(0, version).state for version in ("m1", "m2"))
    found, left = opened(world.decisions.alerts), opened(sharing.decisions.alerts)
    assert found.keys() == chosen, "no level, so each is told"
    assert "fleet" in opened(sharing.store.alerts), "the rise was shared"
    assert candidate.cycle == champion.cycle
    assert max(left.values(), default=0.0) < 0.5 * min(found.values()), "what a server stands out by beside the others"


def test_a_candidate_ahead_of_the_champion_opens_nothing_for_the_fleet(sharing):
    """What all servers share is the champion's to find, however many of them the canary covers."""
    sharing.grid.values[TRAIN + 20 : TRAIN + 60] += 30.0
    start_canary(sharing, share=1.0)
    sharing.stream(20, every=1)
    for step in range(TRAIN + 20, TRAIN + 40):
        for row, server in enumerate(sharing.grid.servers):
            sharing.store.add(server, int(sharing.grid.times_ms[step]), sharing.grid.values[step, row])
        sharing.detect.canary.run(TICK)

    assert sharing.store.load(0, "m2").state.last_at.max() > sharing.store.load(0, "m1").state.last_at.max()
    assert sharing.decisions.alerts, "it does see the rise"
    assert "fleet" not in {alert.server_id for alert in sharing.decisions.alerts}


def test_a_candidate_that_fails_costs_the_champion_nothing(world):
    world.stream(30)
    start_canary(world)
    world.candidate.is_down = True
    with_incident(world, 60, 90).stream(100)
    assert [e for _, e, _, _ in world.told()][:1] == ["opened"]
    assert world.decisions.calls["candidate"].errors > 0
    assert world.decisions.calls["champion"].errors == 0


def test_cut_over_after_a_canary_keeps_the_candidates_own_windows(world):
    world.stream(30)
    chosen = start_canary(world)
    world.stream(100)
    own = world.store.load(0, "m2").state
    world.models.canary = None
    world.models.point_at("m2")
    world.detect.run(TICK)
    taken = world.store.load(0, "m2").state
    assert set(own.servers) == chosen
    assert len(taken.servers) == SERVERS
    server = min(chosen)
    mine, theirs = own.rows()[server], taken.rows()[server]
    for name in ("score_mean", "peak", "peak_hours", "season_offset", "relation_recent"):
        np.testing.assert_array_equal(own.arrays()[name][mine], taken.arrays()[name][theirs], err_msg=name)
    world.stream(60)
    assert world.told() == []


def test_a_second_canary_of_the_same_model_starts_afresh(world):
    world.stream(30)
    start_canary(world)
    world.stream(30)
    world.models.canary = None
    world.stream(30)
    reach = reach_of(world.grid.servers, 0.3)
    world.models.canary = Canary(model_version="m2", package_key="m2", target_variant="m2", reach=reach, number=2)
    world.stream(30)
    assert world.store.load(0, "m2").state.activation == -2
    assert world.errors == []


def test_windows_are_converted_to_the_new_baselines(trained, world):
    """The same server, described by either model, expects the same value of every metric."""
    _, (first, second) = trained
    world.stream(60)
    old = world.store.load(0, "m1").state
    new = hand_over(second, old, calibration=first.calibration)
    for name in ("web-00", "web-07"):
        a, b = old.rows()[name], new.rows()[name]
        expected = old.base_mean[a] + old.base_spread[a] * old.day_mean[a]
        assert np.allclose(new.base_mean[b] + new.base_spread[b] * new.day_mean[b], expected, atol=0.01)
        assert new.last_at[b] == old.last_at[a]
        assert np.array_equal(new.seen_at[b], old.seen_at[a])


def test_a_server_the_new_model_never_met_goes_on_with_what_it_learned(trained, world):
    _, (first, second) = trained
    world.stream(60)
    old = world.store.load(0, "m1").state
    known = second.seeds.servers
    second.seeds.servers = ["gone-" + s if s == "web-05" else s for s in known]
    new = hand_over(second, old, calibration=first.calibration)
    second.seeds.servers = known
    row = new.rows()["web-05"]
    assert new.phase[row] == 1
    assert np.array_equal(new.base_mean[row], old.base_mean[old.rows()["web-05"]])
    assert new.score_mean[row] == np.float32(second.typical["score_mean"])
