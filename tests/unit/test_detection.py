"""The detect use case over in-memory ports: same results at any batching, nothing lost or doubled by any fault."""

import numpy as np
import pytest

from tests.unit.detection_fakes import START_MS, STEP_MS, TICK, USUAL, Store, fleet, service, trained
from treeline.app.detect import service as detection
from treeline.app.detect.scoreblock import Status
from treeline.app.detect.ticks import Tick, TickCause
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import ScorerUnavailableError, StateConflictError
from treeline.core.times import iso

TRAIN, TEST, SERVERS = 2880, 180, 12
FAULT_AT, FAULT_STEPS = 60, 30


@pytest.fixture(scope="module")
def whole():
    return fleet(SERVERS, TRAIN + TEST)


@pytest.fixture(scope="module")
def package(whole):
    from dataclasses import replace

    return trained(replace(whole, times_ms=whole.times_ms[:TRAIN], values=whole.values[:TRAIN]))


@pytest.fixture
def records(whole):
    """(server, time, values) of the test part in event-time order; web-03 goes wrong for half an hour."""
    values = whole.values[TRAIN:].copy()
    values[FAULT_AT : FAULT_AT + FAULT_STEPS, 3, :2] += 45.0
    return [
        (server, int(whole.times_ms[TRAIN + t]), values[t, i])
        for t in range(TEST)
        for i, server in enumerate(whole.servers)
    ]


def replay(package, records, batch, policy=None):
    store = Store(package)
    detect = service(store, policy=policy)
    for start in range(0, len(records), batch):
        for server, at, values in records[start : start + batch]:
            store.add(server, at, values)
        detect.run(TICK)
    return store


def told(store):
    return [(a.incident_id, a.sequence, a.event, a.priority, a.severity, a.clocks.observed_at) for a in store.alerts]


def test_a_fault_opens_one_incident_that_names_the_moved_metrics_and_resolves(package, records):
    store = replay(package, records, 120)
    assert {a.server_id for a in store.alerts} == {"web-03"}
    assert store.alerts[0].event is AlertEvent.OPENED
    assert store.alerts[-1].event is AlertEvent.RESOLVED
    assert {m.name for m in store.alerts[0].metrics[:2]} == {"cpu_percent", "memory_percent"}
    evidence = store.alerts[0].metrics[0]
    assert evidence.measured > evidence.high > evidence.expected > evidence.low
    onset = START_MS + (TRAIN + FAULT_AT) * STEP_MS
    assert store.alerts[0].clocks.first_anomalous_at == iso(onset)
    assert store.alerts[0].clocks.observed_at == iso(onset + STEP_MS), "2 of 3: the second exceedance decides"


def test_any_batching_gives_the_same_alerts_and_the_same_bits(package, records):
    one, many, odd = replay(package, records, len(records)), replay(package, records, 12), replay(package, records, 37)
    assert told(one) == told(many) == told(odd)
    assert one.scored() == many.scored() == odd.scored()


def test_a_backlog_beyond_a_ticks_time_is_left_to_the_next_ticks(package, records):
    """Else the function is killed over and over, and its messages die although their own part was long done."""
    store = Store(package)
    for server, at, values in records:
        store.add(server, at, values)
    ticks = 0
    while len(store.scored()) < len(records):
        detect, ticks = service(store), ticks + 1
        outcome = detect.run(TICK, until_ms=START_MS)
        assert outcome.commits == 1
        assert ticks < 10
    assert ticks == 3
    assert told(store) == told(replay(package, records, len(records)))


def test_a_backlog_is_read_on_not_from_its_beginning_for_each_commit(package, records):
    class Noting(Store):
        def read(self, group, start_ms, *args, **kwargs):
            starts.append(start_ms)
            return super().read(group, start_ms, *args, **kwargs)

    starts, store = [], Noting(package)
    for server, at, values in records:
        store.add(server, at, values)

    outcome = service(store).run(Tick(0, records[0][1], TickCause.OBSERVATIONS))

    assert outcome.commits == 3
    assert len(store.scored()) == len(records)
    _, second, third = starts
    assert records[0][1] < second < third


def test_a_tick_ends_early_only_where_the_next_one_would_read_on_from_there(package, records, monkeypatch):
    """A server that was silent for hours is read for the sake of the tick that named its oldest observation."""
    monkeypatch.setattr(detection, "MAX_OBSERVATIONS_PER_COMMIT", 50)
    silent = [r for r in records if r[0] == "web-05"][TEST - 130 :]
    store = replay(package, [r for r in records if r[0] != "web-05" or r[1] < silent[0][1]], 600)
    for server, at, values in silent:
        store.add(server, at, values)

    outcome = service(store).run(Tick(0, silent[0][1]), until_ms=START_MS)

    assert outcome.commits == 2, (
        "50 observations on, the server is still more than an hour behind; 100 on, any tick sees it"
    )
    service(store).run(TICK)
    assert len(store.scored()) == len(records)


def test_what_a_worker_has_read_it_knows(package, records):
    store, now_ms = Store(package), START_MS + 60_000
    for server, at, values in records[:600]:
        store.add(server, at, values)
    detect = service(store, now_ms=now_ms)
    detect.run(TICK)
    assert detect.has_read(0, asked_ms=START_MS, since_ms=records[0][1])
    assert not detect.has_read(0, asked_ms=now_ms, since_ms=records[0][1])
    assert not service(store).has_read(0, asked_ms=START_MS, since_ms=records[0][1]), "another worker does not"


def test_every_observation_is_in_exactly_one_score_block(package, records):
    store = replay(package, records, 100)
    rows = sum(len(block.observed_at) for block in store.blocks.values())
    assert rows == len(records) == len(store.scored())
    assert {status for status, _, _ in store.scored().values()} == {Status.SCORED}


def test_repeated_ticks_and_repeated_records_change_nothing(package, records):
    store = replay(package, records, 60)
    before = (told(store), store.scored())
    for server, at, values in records[-500:]:
        store.add(server, at, values)
    for _ in range(3):
        service(store).run(Tick(0, records[0][1]))
    assert (told(store), store.scored()) == before


def test_late_observations_are_scored_without_changing_what_was_decided(package, records):
    late = [r for r in records if r[0] == "web-05" and (r[1] // STEP_MS) % 10 == 7]
    on_time = [r for r in records if r not in late]
    store = replay(package, on_time, 60)
    before = store.scored()
    recent = [r for r in late if r[1] > records[-1][1] - 10 * STEP_MS]
    assert recent
    for server, at, values in recent:
        store.add(server, at, values)
    service(store).run(Tick(0, recent[0][1]))
    after = store.scored()
    assert {k: v for k, v in after.items() if k in before} == before
    assert [after[(s, at)][0] for s, at, _ in recent] == [Status.LATE] * len(recent)


def test_a_scorer_that_is_down_keeps_everything_waiting_until_it_is_back(package, records):
    reference = replay(package, records, 60)
    store = Store(package)
    detect = service(store)
    for i, start in enumerate(range(0, len(records), 60)):
        for server, at, values in records[start : start + 60]:
            store.add(server, at, values)
        store.scorer_down = 10 <= i < 20
        if store.scorer_down:
            with pytest.raises(ScorerUnavailableError):
                detect.run(TICK)
        else:
            detect.run(TICK)
    assert told(store) == told(reference)
    assert store.scored() == reference.scored()


def test_a_refused_alert_waits_in_the_outbox_and_is_told_once(package, records):
    reference = replay(package, records, 60)
    store = Store(package)
    store.publisher_down = True
    for server, at, values in records:
        store.add(server, at, values)
    assert service(store).run(TICK).unpublished > 0
    assert store.alerts == []
    store.publisher_down = False
    service(store).run(TICK)
    service(store).run(TICK)
    assert told(store) == told(reference)


def test_a_worker_killed_after_its_commit_leaves_its_alerts_to_the_next(package, records):
    reference = replay(package, records, 60)
    store = Store(package)
    for start in range(0, len(records), 60):
        for server, at, values in records[start : start + 60]:
            store.add(server, at, values)
        store.die_after_commit = True
        with pytest.raises(SystemExit):
            service(store).run(TICK)
        store.die_after_commit = False
        service(store).run(TICK)
    assert told(store) == told(reference)
    assert store.scored() == reference.scored()


def test_a_lost_race_is_run_again_and_a_hopeless_one_is_given_back(package, records):
    store = Store(package)
    for server, at, values in records[:240]:
        store.add(server, at, values)
    store.steal_next_commit = 2
    assert service(store).run(TICK).conflicts == 2
    store = Store(package)
    for server, at, values in records[:240]:
        store.add(server, at, values)
    store.steal_next_commit = 99
    with pytest.raises(StateConflictError):
        service(store).run(TICK)


def test_the_first_tick_of_a_group_takes_everything_even_if_a_later_batch_asked_for_it(package, records):
    store = Store(package)
    for server, at, values in records:
        store.add(server, at, values)
    assert service(store).run(Tick(0, records[1000][1])).scored == len(records)


def test_without_a_model_observations_wait(records):
    store = Store(None)
    store.add(*records[0])
    assert not service(store).run(TICK).has_model
    assert store.committed == {}


def test_a_new_server_warms_up_and_then_joins(package, records):
    store = Store(package)
    rng = np.random.default_rng(5)
    steps = 1440 + 30
    for t in range(steps):
        store.add("new-01", START_MS + (TRAIN + t) * STEP_MS, rng.normal(50, 2, 4))
    outcome = service(store).run(TICK)
    assert (outcome.warming_up, outcome.scored) == (1440, 30)
    assert store.alerts == []


def test_a_load_on_the_whole_fleet_is_one_fleet_incident_where_the_setting_says_so(package, whole):
    values = whole.values[TRAIN:].copy()
    values[60:120] += 45.0
    store = replay(
        package,
        [
            (server, int(whole.times_ms[TRAIN + t]), values[t, i])
            for t in range(TEST)
            for i, server in enumerate(whole.servers)
        ],
        60,
        policy=PolicySettings(fleet_min_servers=10),
    )
    opened = [a for a in store.alerts if a.event is AlertEvent.OPENED]
    assert [a.server_id for a in opened].count("fleet") == 1


def test_missing_metrics_are_imputed_and_counted(package, records):
    store = Store(package)
    for server, at, values in records[:600]:
        gap = values.copy()
        gap[2] = np.nan
        store.add(server, at, gap)
    outcome = service(store).run(TICK)
    assert outcome.imputed == 600
    assert all(np.isfinite(score) for _, score, _ in store.scored().values())


def test_in_a_backlog_a_server_that_came_back_is_seen_beyond_what_one_commit_takes(package, records):
    silent = [r for r in records if not (r[0] == "web-01" and records[0][1] < r[1] < records[0][1] + 115 * STEP_MS)]
    store = Store(package)
    for server, at, values in silent:
        store.add(server, at, values)
    outcome = service(store).run(TICK)
    assert sum(1 for server, at, _ in silent if server != "web-01" and at < records[0][1] + 115 * STEP_MS) > 1000
    assert (outcome.scored, outcome.waiting) == (len(silent), 0)


def test_what_comes_when_its_server_is_far_ahead_is_counted_once_as_too_late(package, records):
    """Beyond what the state remembers it cannot be told from what was decided, but for when it was received."""
    held_back = [r for r in records if r[0] == "web-05"][3:6]
    store = Store(package)
    for i, (server, at, values) in enumerate(records):
        if not any(server == s and at == t for s, t, _ in held_back):
            store.add(server, at, values, START_MS + i)
    detect = service(store)
    before = detect.run(TICK)
    for i, (server, at, values) in enumerate(held_back):
        store.add(server, at, values, START_MS + len(records) + i)

    outcome = detect.run(Tick(0, records[0][1]))
    again = [service(store).run(Tick(0, records[0][1])).too_late for _ in range(2)]

    assert before.too_late == []
    assert outcome.too_late == [(server, at) for server, at, _ in held_back]
    assert again == [[], []], "another worker finds them in their block"
    rows = [status for status, _, _ in store.scored().values()]
    assert (rows.count(Status.TOO_LATE), rows.count(Status.SCORED)) == (3, len(records) - 3)
    assert len(rows) == len(records), "stored = scored + too late"


def test_what_was_received_out_of_order_and_decided_is_not_too_late_when_it_is_read_again(package, records):
    """Swapped on the way, decided in order all the same, and long forgotten when an old tick comes again."""
    store = Store(package)
    for i, (server, at, values) in enumerate(records):
        swapped = i + 24 if (i // 12) % 7 == 0 else i
        store.add(server, at, values, START_MS + swapped)
    service(store).run(TICK)

    outcome = service(store).run(Tick(0, records[0][1]))

    assert outcome.too_late == []
    assert len(store.scored()) == len(records)


def test_a_late_observation_counts_towards_its_own_fate_only(package, records):
    """Late, then forgotten: still one of those that were scored."""
    late = next(r for r in records if r[0] == "web-05" and r[1] == records[1200][1])
    store = Store(package)
    for i, (server, at, values) in enumerate(records[:1320]):
        if (server, at) != late[:2]:
            store.add(server, at, values, START_MS + i)
    detect = service(store)
    detect.run(TICK)
    store.add(*late, START_MS + 1400)
    assert detect.run(Tick(0, late[1])).late == 1
    for i, (server, at, values) in enumerate(records[1320:], 1500):
        store.add(server, at, values, START_MS + i)
    detect.run(TICK)

    assert service(store).run(Tick(0, records[0][1])).too_late == []


@pytest.mark.parametrize("moment", ["while its batch is being written", "when its tick is lost"])
def test_a_heartbeat_leaves_a_server_it_reads_in_part_to_the_tick_of_its_batch(package, records, moment):
    """Writes are throttled, the fleet goes on, and a heartbeat meets a new server in the middle of its backlog.

    It starts reading where the others stand. Had it decided what it finds there, what lies before would be older
    than all that the state remembers of the server: taken for decided, and lost.
    """
    delayed = [r for r in records if r[0] == "web-05"]
    half = records[len(records) // 2][1]
    store = Store(package)
    for server, at, values in records:
        if server != "web-05" and at < half:
            store.add(server, at, values)
    detect = service(store)
    detect.run(TICK)
    for sample in delayed:
        store.add(*sample)
    if moment == "when its tick is lost":
        waited = service(store, now_ms=START_MS + round(1000 * USUAL.watermark_wait_s))
        assert waited.run(TICK).scored > 0, "it does not wait for ever"
        return
    detect.run(TICK)
    for server, at, values in records:
        store.add(server, at, values)
    detect.run(TICK)

    assert not any(server == "web-05" for server, _ in store.scored())
    detect.run(Tick(0, records[0][1], TickCause.OBSERVATIONS))
    statuses = [status for status, _, _ in store.scored().values()]
    assert (len(statuses), set(statuses)) == (len(records), {Status.SCORED})
