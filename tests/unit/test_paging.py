import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.paging_fakes import ScriptedPager, SharedLedger, SilentQueue, alert, message, paging
from treeline.app.page.service import Delivery, PageFailure, PageResult, backoff_s
from treeline.core.alert import AlertEvent

BUSY = Delivery(failure=PageFailure.RATE_LIMITED, status=429)
REFUSED = Delivery(failure=PageFailure.REJECTED, status=400)


def test_a_batch_is_delivered_by_incident_and_sequence_whatever_order_it_came_in():
    pager = ScriptedPager()
    events = [
        alert(AlertEvent.RESOLVED, 3),
        alert(AlertEvent.OPENED, 1, opened="2026-11-22T18:00:00.000Z"),
        alert(AlertEvent.ESCALATED, 2),
        alert(AlertEvent.OPENED, 1),
    ]

    paging(pager).deliver([message(e) for e in events])

    assert [(a.incident_id[-13:-8], a.event.value) for a in pager.paged] == [
        ("15:58", "opened"),
        ("15:58", "escalated"),
        ("15:58", "resolved"),
        ("18:00", "opened"),
    ]


def test_a_page_that_cannot_be_taken_now_is_put_off_and_reported_as_failed():
    pager, queue = ScriptedPager(BUSY), SilentQueue()

    [outcome] = paging(pager, queue).deliver([message(alert(), receive_count=3)])

    assert (outcome.result, outcome.delay_s) == (PageResult.WAITING, 15)
    assert queue.delays == {"r-opened-1": 15}


def test_a_page_that_is_refused_is_recorded_and_never_tried_again():
    pager, queue = ScriptedPager(REFUSED), SilentQueue()

    [outcome] = paging(pager, queue).deliver([message(alert())])

    assert outcome.result is PageResult.REFUSED
    assert outcome.alert == alert()
    assert queue.delays == {}


def test_a_resolve_does_not_overtake_its_trigger():
    """Otherwise the trigger, tried again later, would page for an incident that is over, and stay open."""
    pager = ScriptedPager(BUSY)
    ledger = SharedLedger()

    outcomes = paging(pager, ledger=ledger).deliver([message(alert()), message(alert(AlertEvent.RESOLVED, 2))])

    assert [o.delivery.failure for o in outcomes] == [PageFailure.RATE_LIMITED, PageFailure.HELD_BACK]
    assert [a.event for a in pager.paged] == [AlertEvent.OPENED]

    # Nor in a batch of its own; once the trigger is through, it goes.
    service = paging(pager, ledger=ledger)
    service.deliver([message(alert(AlertEvent.RESOLVED, 2), receive_count=2)])
    service.deliver([message(alert(), receive_count=2)])
    service.deliver([message(alert(AlertEvent.RESOLVED, 2), receive_count=3)])

    assert [a.event.value for a in pager.paged] == ["opened", "opened", "resolved"]


def test_an_invocation_that_runs_out_of_time_leaves_the_rest_for_later():
    """Cut off in the middle it would page again what it had paged."""
    pager, time_left = ScriptedPager(), [21_001, 21_000]

    outcomes = paging(pager).deliver(
        [message(alert(server_id=s)) for s in "abc"], remaining_ms=lambda: time_left.pop(0)
    )

    assert [o.result for o in outcomes] == [PageResult.DELIVERED, PageResult.DELIVERED, PageResult.WAITING]
    assert [a.server_id for a in pager.paged] == ["a", "b"]


def test_another_server_is_not_held_back():
    pager = ScriptedPager(BUSY)

    outcomes = paging(pager).deliver([message(alert(server_id="a")), message(alert(server_id="b"))])

    assert [o.result for o in outcomes] == [PageResult.WAITING, PageResult.DELIVERED]


def test_a_refused_trigger_lets_its_resolve_through():
    pager = ScriptedPager(REFUSED)

    outcomes = paging(pager).deliver([message(alert()), message(alert(AlertEvent.RESOLVED, 2))])

    assert [o.result for o in outcomes] == [PageResult.REFUSED, PageResult.DELIVERED]


def test_a_resolve_is_not_held_for_ever():
    """Its trigger may be among the dead letters by now."""
    service, resolved = paging(ScriptedPager()), alert(AlertEvent.RESOLVED, 2)

    results = [service.deliver([message(resolved, receive_count=n)])[0].result for n in (1, 8, 9)]

    assert results == [PageResult.WAITING, PageResult.WAITING, PageResult.DELIVERED]


def test_a_resolve_waits_while_its_trigger_is_being_put_off():
    """However long PagerDuty is down: the trigger comes first, or is known to be among the dead letters."""
    ledger, resolved = SharedLedger(), message(alert(AlertEvent.RESOLVED, 2), receive_count=15)
    paging(ScriptedPager(BUSY), ledger=ledger).deliver([message(alert(), receive_count=14)])

    [soon] = paging(ScriptedPager(), ledger=ledger, now_ms=1_600_000).deliver([resolved])
    [later] = paging(ScriptedPager(), ledger=ledger, now_ms=2_700_000).deliver([resolved])

    assert (soon.result, later.result) == (PageResult.WAITING, PageResult.DELIVERED)


def test_an_event_held_for_one_that_is_on_its_way_is_looked_at_again_soon():
    queue = SilentQueue()
    service = paging(ScriptedPager(), queue)

    delays = []
    for count in (1, 2, 5, 6):
        service.deliver([message(alert(AlertEvent.RESOLVED, 2), receive_count=count)])
        delays.append(queue.delays["r-resolved-2"])

    assert delays == [1, 2, 16, 30]


@pytest.mark.parametrize("other_worker", [False, True])
def test_the_same_alert_twice_pages_once_whichever_worker_gets_it(other_worker):
    """A worker of detect that died while telling leaves its alerts to be told again."""
    pager, ledger = ScriptedPager(), SharedLedger()
    first = paging(pager, ledger=ledger)
    second = paging(pager, ledger=ledger) if other_worker else first

    results = [o.result for service in (first, second) for o in service.deliver([message(alert())])]

    assert results == [PageResult.DELIVERED, PageResult.SUPERSEDED]
    assert len(pager.paged) == 1


def test_two_workers_with_the_same_alert_at_once_page_once():
    ledger, outcomes = SharedLedger(), []

    class Meanwhile(ScriptedPager):
        def page(self, told):
            outcomes.extend(paging(ScriptedPager(), ledger=ledger).deliver([message(alert())]))
            return super().page(told)

    pager = Meanwhile()
    outcomes.extend(paging(pager, ledger=ledger).deliver([message(alert())]))

    assert [o.result for o in outcomes] == [PageResult.WAITING, PageResult.DELIVERED]
    assert len(pager.paged) == 1


def test_a_worker_that_dies_between_the_page_and_the_ledger_repeats_the_page_under_the_same_dedup_key():
    """The one way to a repetition: PagerDuty takes the same dedup key as the same page."""
    pager, ledger = ScriptedPager(), SharedLedger()
    ledger.writes = 1  # the claim; what became of it is never written
    paging(pager, ledger=ledger).deliver([message(alert())])
    ledger.writes = 99

    [claimed] = paging(pager, ledger=ledger).deliver([message(alert())])
    [again] = paging(pager, ledger=ledger, now_ms=1_021_000).deliver([message(alert())])
    [third] = paging(pager, ledger=ledger, now_ms=1_021_000).deliver([message(alert())])

    assert [o.result for o in (claimed, again, third)] == [
        PageResult.WAITING,
        PageResult.DELIVERED,
        PageResult.SUPERSEDED,
    ]
    assert [a.dedup_key for a in pager.paged] == [alert().dedup_key] * 2


def test_without_the_ledger_a_page_waits_a_little_and_then_goes_rather_than_never():
    pager, ledger = ScriptedPager(), SharedLedger()
    ledger.down = True

    outcomes = [paging(pager, ledger=ledger).deliver([message(alert(), receive_count=n)])[0] for n in (1, 3, 4)]

    assert [o.result for o in outcomes] == [PageResult.WAITING, PageResult.WAITING, PageResult.DELIVERED]
    assert outcomes[0].delivery.failure is PageFailure.LEDGER_UNAVAILABLE


def test_events_that_come_in_the_wrong_order_are_told_in_the_right_one():
    """A standard queue promises no order, and two workers keep none."""
    pager, ledger = ScriptedPager(), SharedLedger()
    later = "2026-11-23T01:00:00.000Z"
    events = [
        alert(AlertEvent.OPENED, 1, opened=later, follows=alert().incident_id),
        alert(AlertEvent.RESOLVED, 3),
        alert(AlertEvent.ESCALATED, 2),
        alert(AlertEvent.OPENED, 1),
    ]

    for _ in range(4):
        for event in events:
            paging(pager, ledger=ledger).deliver([message(event)])

    assert [(a.sequence, a.event.value) for a in pager.paged] == [
        (1, "opened"),
        (2, "escalated"),
        (3, "resolved"),
        (1, "opened"),
    ]


def test_a_later_incident_whose_predecessor_was_never_resolved_pages_after_half_a_minute():
    """A new model may have taken the resolution with it."""
    pager, ledger = ScriptedPager(), SharedLedger()
    paging(pager, ledger=ledger).deliver([message(alert())])
    again = alert(opened="2026-11-23T01:00:00.000Z")

    results = [paging(pager, ledger=ledger).deliver([message(again, receive_count=n)])[0].result for n in (1, 5, 6)]

    assert results == [PageResult.WAITING, PageResult.WAITING, PageResult.DELIVERED]


def test_a_trigger_that_comes_after_its_resolve_does_not_page():
    pager = ScriptedPager()
    service = paging(pager)

    service.deliver([message(alert(AlertEvent.RESOLVED, 2), receive_count=9)])
    [outcome] = service.deliver([message(alert())])

    assert outcome.result is PageResult.SUPERSEDED


def test_a_later_incident_of_the_same_server_pages_again():
    service = paging(ScriptedPager())

    service.deliver([message(alert()), message(alert(AlertEvent.RESOLVED, 2))])
    [outcome] = service.deliver([message(alert(opened="2026-11-23T01:00:00.000Z"))])

    assert outcome.result is PageResult.DELIVERED


def test_a_routing_key_that_is_not_taken_makes_pages_wait_for_a_better_one():
    refused = Delivery(failure=PageFailure.UNAUTHORIZED, status=400)

    [outcome] = paging(ScriptedPager(refused)).deliver([message(alert())])

    assert outcome.result is PageResult.WAITING


def test_what_follows_a_suppressed_event_is_not_held_back():
    pager = ScriptedPager(None)
    service = paging(pager)

    service.deliver([message(alert(AlertEvent.SUPPRESSED, 1))])
    later = alert(opened="2026-11-23T01:00:00.000Z")
    outcomes = service.deliver([message(alert(AlertEvent.RESOLVED, 2)), message(later)])

    assert [o.result for o in outcomes] == [PageResult.DELIVERED, PageResult.DELIVERED]


def test_a_suppressed_event_pages_nobody():
    [outcome] = paging(ScriptedPager(None)).deliver([message(alert(AlertEvent.SUPPRESSED, 1))])

    assert outcome.result is PageResult.IGNORED


def _body(**changes: object) -> str:
    return json.dumps({**alert().to_json(), **changes})


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", "null", _body(schema_version=2), _body(event="exploded"), _body(dedup_key=7),
     _body(sequence="1"), _body(metrics=None), _body(clocks={}), _body(extra=1)],
)  # fmt: skip
def test_a_message_that_is_no_alert_stays_in_the_queue_and_stops_nobody(body):
    bad = dataclasses.replace(message(alert(server_id="z")), message_id="bad", body=body)

    outcomes = paging(ScriptedPager()).deliver([bad, message(alert())])

    assert {o.message.message_id: o.result for o in outcomes} == {
        "bad": PageResult.WAITING,
        "m-opened-1": PageResult.DELIVERED,
    }
    assert outcomes[0].delivery.failure is PageFailure.MALFORMED_ALERT


@pytest.mark.parametrize(
    ("count", "random", "expected"), [(1, 0.0, 2), (1, 0.999, 5), (2, 0.5, 8), (4, 0.0, 20), (99, 0.999, 900)]
)
def test_the_wait_doubles_with_each_attempt_up_to_a_quarter_of_an_hour(count, random, expected):
    assert backoff_s(count, base_s=5, random=random) == expected


@given(st.integers(0, 10_000), st.integers(1, 600), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_always_one_sqs_takes(count, base_s, random):
    assert 1 <= backoff_s(count, base_s=base_s, random=random) <= 900


def test_a_wait_the_service_asks_for_is_kept():
    assert backoff_s(1, base_s=5, random=0.0, retry_after_s=60.0) == 60
    assert backoff_s(1, base_s=5, random=0.0, retry_after_s=1e9) == 900
