"""The detect use case where others get in its way, over the in-memory ports and a small ready fleet."""

import numpy as np
import pytest

from tests.unit.core.fleets import START_MS, STEP_MS, ready_state
from tests.unit.detection_fakes import METRICS, TICK, Store, service
from treeline.app.detect.service import most_observations
from treeline.app.detect.ticks import Tick
from treeline.core.alert import AlertEvent
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import PublishError, StateConflictError
from treeline.core.model.package import ModelPackage
from treeline.core.severity import Thresholds

SERVERS, STEPS = 4, 20
FAST = PolicySettings(quiet_s=180.0)


@pytest.fixture
def store():
    return Store(
        ModelPackage(
            model_version="m1",
            metrics=METRICS,
            features=feature_names(METRICS),
            step_s=60.0,
            calibration=Calibration(thresholds={"score": Thresholds(3.0, 5.0)}),
            seeds=ready_state(SERVERS),
            typical={},
            fingerprint="f",
        )
    )


def fill(store, *, servers=range(SERVERS), steps=range(STEPS), bad=(), received=START_MS):
    """Calm observations; those of `bad` servers are far off at steps 5 to 8."""
    for t in steps:
        rng = np.random.default_rng(t)
        values = rng.normal(50, 2, (SERVERS, len(METRICS)))
        for i in servers:
            off = 45.0 if i in bad and 5 <= t < 9 else 0.0
            store.add(f"s{i:02d}", START_MS + t * STEP_MS, values[i] + off, received)


def told(store):
    return [(alert.server_id, alert.event) for alert in store.alerts]


def test_a_resolution_does_not_overtake_the_opening_that_was_refused(store):
    """PagerDuty would open an incident that nothing closes any more."""
    fill(store, bad=(1, 2))
    publish, refused = store.publish, []

    def refuse_first(alert):
        if alert.server_id == "s01" and not refused:
            refused.append(alert)
            raise PublishError("throttled")
        publish(alert)

    store.publish = refuse_first
    assert service(store, policy=FAST).run(TICK).unpublished >= 2
    assert "s01" not in {alert.server_id for alert in store.alerts}
    assert ("s02", AlertEvent.RESOLVED) in told(store), "other servers need not wait"
    service(store, policy=FAST).run(TICK)
    events = [event for server, event in told(store) if server == "s01"]
    assert (events[0], events[-1]) == (AlertEvent.OPENED, AlertEvent.RESOLVED)
    assert len(events) == len(set(events))


def test_losing_the_race_for_the_outbox_is_tried_again(store):
    fill(store, bad=(1,))
    clear, lost = store.clear_outbox, []

    def lose_first(record):
        if not lost:
            lost.append(record)
            raise StateConflictError("moved on")
        clear(record)

    store.clear_outbox = lose_first
    outcome = service(store, policy=FAST).run(TICK)
    assert (outcome.conflicts, outcome.scored, outcome.unpublished) == (1, SERVERS * STEPS, 0)
    sequences = [alert.sequence for alert in store.alerts]
    assert sequences == sorted(sequences[: len(sequences) // 2]) * 2, "told twice, with the sequence to tell it by"


def test_a_lost_commit_counts_nothing_twice(store):
    fill(store)
    for key, (received, values) in store.items.items():
        store.items[key] = (received, np.where(np.arange(4) == 2, np.nan, values))
    store.steal_next_commit = 2
    outcome = service(store).run(TICK)
    assert (outcome.imputed, outcome.scored, outcome.commits) == (SERVERS * STEPS, SERVERS * STEPS, 1)


def test_observations_the_model_learned_from_do_not_stand_in_the_way_of_new_ones(store):
    """More of them than a commit takes used to be read for ever, and nothing else."""
    for t in range(-300, 3):
        for i in range(SERVERS):
            store.add(f"s{i:02d}", START_MS + t * STEP_MS, np.full(4, 50.0))
    store.package.seeds.seen_at[:] = START_MS - STEP_MS * np.arange(32, 0, -1)
    assert service(store).run(TICK).scored == 3 * SERVERS


def test_a_silent_server_delays_the_others_once(store):
    """Every observation used to wait for it, two hours long."""
    wait = 45_000
    waited = []
    for t in range(6):
        now = START_MS + t * STEP_MS
        fill(store, servers=range(SERVERS if t < 2 else SERVERS - 1), steps=[t], received=now)
        waited.append(service(store, now_ms=now).run(TICK).waiting)
        service(store, now_ms=now + wait).run(TICK)
    assert waited == [0, 0, 0, SERVERS - 1, 0, 0]
    assert len(store.scored()) == 2 * SERVERS + 4 * (SERVERS - 1)


def test_a_server_that_comes_back_with_its_backlog_is_scored_for_all_of_it(store):
    now = START_MS + 200 * STEP_MS
    fill(store, servers=range(3), steps=range(150))
    service(store, now_ms=now).run(TICK)
    fill(store, servers=[3], steps=range(150), received=now)
    outcome = service(store, now_ms=now).run(Tick(0, START_MS))
    assert (outcome.scored, outcome.waiting) == (150, 0)


def test_silent_and_warming_servers_are_named(store):
    fill(store, servers=[0, 1], steps=[0], received=START_MS)
    fill(store, servers=[0], steps=[8], received=START_MS + 8 * STEP_MS)
    store.add("stranger", START_MS + 8 * STEP_MS, np.full(4, 50.0), START_MS + 8 * STEP_MS)
    outcome = service(store, now_ms=START_MS + 9 * STEP_MS).run(TICK)
    assert outcome.silent_servers == ["s01"]
    assert (outcome.servers, outcome.warming_servers) == (3, 1)


@pytest.mark.parametrize(("more", "commits"), [(-1, 1), (0, 1), (1, 2)])
def test_a_tick_takes_all_there_is_in_as_many_commits_as_it_needs(store, more, commits):
    per_server = most_observations(len(METRICS)) // SERVERS + more
    fill(store, steps=range(per_server))
    outcome = service(store).run(TICK)
    assert outcome.scored == per_server * SERVERS
    assert outcome.commits == commits
    assert len(store.blocks) == outcome.commits


def test_nothing_to_do_commits_nothing(store):
    assert service(store).run(TICK).commits == 0
    assert store.committed == {}
