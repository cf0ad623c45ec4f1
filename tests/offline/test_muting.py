"""Mutes, maintenance windows and shadow stages: everything is decided and stored, and people hear what is theirs."""

from dataclasses import replace

import pytest

from tests.unit.detection_fakes import START_MS, STEP_MS, TICK, Store, service
from tests.unit.short_history import SERVERS, TRAIN, trained_package, whole_history
from treeline.app.alert.controls import Control, ControlKind, Scope
from treeline.app.alert.muting import Muting, Paging, SuppressedIncident
from treeline.app.page.ledger import PageEntry, Turn, followed_by, position_of
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError

TEST, FAULT_AT = 56, 5
O, R, S = AlertEvent.OPENED, AlertEvent.RESOLVED, AlertEvent.SUPPRESSED  # noqa: E741
POLICY = PolicySettings(quiet_s=1500)


@pytest.fixture(scope="module")
def whole():
    return whole_history()


@pytest.fixture(scope="module")
def package():
    return trained_package()


@pytest.fixture(scope="module")
def records(whole):
    """web-03 goes wrong for a quarter of an hour; its incident stays open for half an hour more."""
    values = whole.values[TRAIN:].copy()
    values[FAULT_AT : FAULT_AT + 12, 3, :2] += 45.0
    return [(s, int(whole.times_ms[TRAIN + t]), values[t, i]) for t in range(TEST) for i, s in enumerate(whole.servers)]


class Rows(Store):
    """A store that keeps what is written of incidents, told or not."""

    def __init__(self, package):
        super().__init__(package)
        self.rows = []

    def apply(self, alert):
        self.rows.append(alert)
        return super().apply(alert)


def at(step):
    return START_MS + (TRAIN + step) * STEP_MS


def mute(start, until, *, kind=ControlKind.MUTE, **scope):
    scope = scope or {"server": "web-03"}
    return Control(
        kind=kind, id="m1", scope=Scope(**scope), starts_ms=at(start), until_ms=at(until), reason="r", by="ann",
        created_ms=0,
    )  # fmt: skip


class Given:
    """Controls and labels from memory."""

    def __init__(self, *controls, labels=None):
        self.controls, self.labels = controls, labels or {}

    def in_force(self):
        return self.controls

    def of(self, server_id):
        return self.labels.get(server_id, {})


def replay(package, records, given, *, paging=Paging.PEOPLE, batch=10 * SERVERS, store=None):
    store = store or Rows(package)
    detect = replace(service(store, policy=POLICY), muting=Muting(paging=paging, controls=given, labels=given))
    for start in range(0, len(records), batch):
        for record in records[start : start + batch]:
            store.add(*record)
        detect.run(TICK)
    return store


def told(store):
    return [(a.event, a.sequence) for a in store.alerts]


def stored(store):
    return [a.event for a in store.rows]


@pytest.fixture(scope="module")
def unmuted(package, records):
    return replay(package, records, Given())


def assert_paged_in_order(alerts):
    """What is told never makes the pager wait for an event that does not come."""
    entry = PageEntry()
    for alert in alerts:
        turn = entry.turn(position_of(alert), follows=followed_by(alert), now_ms=0, is_overdue=False)
        assert turn is Turn.GO, (alert.event, alert.sequence, entry)
        entry = entry.done(position_of(alert), alert.event)
    assert not entry.is_open


def test_a_muted_incident_is_stored_suppressed_once_and_pages_nobody(package, records, unmuted):
    store = replay(package, records, Given(mute(0, TEST)))
    assert told(store) == [(S, 1)]
    assert store.alerts[0].muted_by == "m1"
    assert len(stored(store)) == len(stored(unmuted)), "every change is in the incident's history"
    assert store.scored() == unmuted.scored()
    assert all(a.suppressed == "muted" for a in store.rows if a.event is not S)


def test_what_is_open_when_the_mute_ends_is_told_then(package, records, unmuted):
    store = replay(package, records, Given(mute(0, FAULT_AT + 20)))
    assert [event for event, _ in told(store)][:2] == [S, O]
    assert told(store)[-1][0] is R
    assert [n for _, n in told(store)] == list(range(1, len(store.alerts) + 1)), "numbered without holes"
    assert store.alerts[1].priority is max(unmuted.rows, key=lambda a: a.severity).priority
    assert_paged_in_order(store.alerts)


def test_a_mute_is_over_by_event_time_whatever_the_batches(package, records):
    given = Given(mute(0, FAULT_AT + 20))
    assert told(replay(package, records, given, batch=SERVERS)) == told(
        replay(package, records, given, batch=12 * SERVERS)
    )


def test_a_mute_that_ended_before_or_starts_later_mutes_nothing(package, records, unmuted):
    assert told(replay(package, records, Given(mute(0, FAULT_AT)))) == told(unmuted)
    assert told(replay(package, records, Given(mute(TEST, TEST + 9)))) == told(unmuted)


def test_whoever_was_told_of_an_incident_hears_its_end_though_it_is_muted_by_then(package, records, unmuted):
    opened = next(a for a in unmuted.rows if a.event is O)
    start = (opened_step(opened)) + 1
    store = replay(package, records, Given(mute(start, TEST)))
    assert told(store)[0] == (O, 1)
    assert told(store)[-1][0] is R
    assert [event for event, _ in told(store)].count(S) <= 1
    assert_paged_in_order(store.alerts)


def opened_step(alert):
    from treeline.core.times import parse_iso

    return (parse_iso(alert.clocks.observed_at) - at(0)) // STEP_MS


@pytest.mark.parametrize(
    ("scope", "muted"),
    [
        ({"server": "web-*"}, True),
        ({"server": "web-04"}, False),
        ({"fleet": True}, True),
        ({"labels": {"tier": "web"}}, True),
        ({"labels": {"tier": "db"}}, False),
        ({"labels": {"tier": "web", "environment": "test"}}, False),
    ],
)
def test_a_mute_covers_a_server_a_pattern_labels_or_the_fleet(package, records, scope, muted):
    given = Given(mute(0, TEST, **scope), labels={"web-03": {"tier": "web"}})
    store = replay(package, records, given, batch=SERVERS * TEST)
    assert (told(store) == [(S, 1)]) is muted
    assert store.alerts[0].labels == {"tier": "web"}, "labels are on every alert"


def test_a_maintenance_window_mutes_as_well(package, records):
    assert told(replay(package, records, Given(mute(0, TEST, kind=ControlKind.MAINTENANCE)), batch=SERVERS * TEST)) == [
        (S, 1)
    ]


def test_a_shadow_stage_stores_everything_and_tells_nobody(package, records, unmuted):
    store = replay(package, records, Given(), paging=Paging.SHADOW)
    assert store.alerts == []
    assert stored(store) == stored(unmuted)
    assert {a.suppressed for a in store.rows} == {"shadow"}
    assert store.scored() == unmuted.scored()


def test_when_paging_is_switched_on_what_is_open_is_told_and_later_incidents_page_at_once(package, records):
    cut = SERVERS * (FAULT_AT + 20)
    store = replay(package, records[:cut], Given(), paging=Paging.SHADOW)
    replay(package, records[cut:], Given(), store=store)
    events = [event for event, _ in told(store)]
    assert (events[0], events[-1]) == (O, R)
    assert (events.count(O), events.count(R)) == (1, 1)
    assert_paged_in_order(store.alerts)
    store = replay(package, records, Given(), paging=Paging.SHADOW)
    after = [(s, t + TEST * STEP_MS, v) for s, t, v in records]
    replay(package, after, Given(), store=store)
    assert told(store)[0] == (O, 1)
    assert_paged_in_order(store.alerts)


def test_a_worker_killed_after_its_commit_neither_loses_nor_repeats_what_a_mute_held_back(package, records):
    reference = replay(package, records, Given(mute(0, FAULT_AT + 20)))
    store = Rows(package)
    for start in range(0, len(records), 10 * SERVERS):
        for record in records[start : start + 10 * SERVERS]:
            store.add(*record)
        detect = replace(service(store, policy=POLICY), muting=Muting(controls=Given(mute(0, FAULT_AT + 20))))
        store.die_after_commit = True
        with pytest.raises(SystemExit):
            detect.run(TICK)
        store.die_after_commit = False
        detect.run(TICK)
    assert told(store) == told(reference)


def test_what_is_kept_from_people_survives_its_storage(package, records):
    store = replay(package, records[: SERVERS * (FAULT_AT + 20)], Given(mute(0, TEST)))
    [entry] = store.load(0, "m1").suppressed.values()
    assert SuppressedIncident.from_json(entry.to_json()) == entry
    assert entry.latest is not None


@pytest.mark.parametrize("scope", [{}, {"server": "a", "fleet": True}, {"server": "a", "labels": {"tier": "b"}}])
def test_a_control_means_one_thing(scope):
    with pytest.raises(UsageError):
        Scope(**scope)


def test_a_control_that_ends_before_it_starts_is_refused():
    with pytest.raises(UsageError, match="before it starts"):
        mute(10, 5)
