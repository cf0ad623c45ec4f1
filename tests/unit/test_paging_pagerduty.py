import json
import logging
import socket

import pytest
import urllib3

from emulator.pagerduty.contract import event_errors
from tests.unit.paging_fakes import Receiver, alert, metric
from treeline.app.page.service import PageFailure
from treeline.core.alert import AlertEvent, Priority
from treeline.receivers.pagerduty.client import PagerDutyClient, RoutingKey, failure_of
from treeline.receivers.pagerduty.event import (
    MAX_DEDUP_KEY_CHARACTERS,
    MAX_EVENT_BYTES,
    MAX_SUMMARY_CHARACTERS,
    EventAction,
    build_event,
    dedup_key_of,
)

KEY = "R0UTINGKEY0123456789abcdef012345"


class Keys:
    """Gives its keys one after the other, the last one for ever."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys) or [KEY]
        self.fetched = 0

    def fetch(self) -> RoutingKey:
        self.fetched += 1
        key = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        if not key:
            raise LookupError("the routing key's secret cannot be read")
        return RoutingKey(key)


def client(url: str, keys: Keys | None = None, timeout_s: float = 2.0) -> PagerDutyClient:
    return PagerDutyClient(urllib3.PoolManager(), events_url=url, key_source=keys or Keys(), timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("event", "priority", "action", "severity"),
    [
        (AlertEvent.OPENED, Priority.P1, "trigger", "critical"),
        (AlertEvent.OPENED, Priority.P2, "trigger", "warning"),
        (AlertEvent.ESCALATED, Priority.P1, "trigger", "critical"),
        (AlertEvent.DEESCALATED, Priority.P2, "trigger", "warning"),
        (AlertEvent.RESOLVED, Priority.P1, "resolve", None),
    ],
)
def test_an_incident_event_becomes_an_action_on_the_same_dedup_key(event, priority, action, severity):
    with Receiver().listening() as receiver:
        delivery = client(receiver.url).page(alert(event, priority=priority))

    [body] = receiver.bodies
    assert delivery.failure is None
    assert (body["routing_key"], body["event_action"], body["dedup_key"]) == (KEY, action, alert().dedup_key)
    assert body.get("payload", {}).get("severity") == severity


def test_a_suppressed_event_is_not_sent():
    with Receiver().listening() as receiver:
        assert client(receiver.url).page(alert(AlertEvent.SUPPRESSED)) is None

    assert receiver.bodies == []


def test_an_incident_can_be_acknowledged():
    with Receiver().listening() as receiver:
        client(receiver.url).acknowledge("a/b/c/web-042")

    assert receiver.bodies == [{"routing_key": KEY, "event_action": "acknowledge", "dedup_key": "a/b/c/web-042"}]


def test_a_page_says_which_metrics_moved_and_where_to_look():
    body = build_event(alert(), EventAction.TRIGGER).body

    payload = body["payload"]
    assert payload["summary"] == "P1 web-042: cpu 97.3 %, expected 41 (22 to 60) at this time of day (severity 3.4)"
    assert payload["timestamp"] == "2026-11-22T15:58:30.000Z"
    assert payload["custom_details"]["metrics"] == [
        {"name": "cpu_percent", "unit": "%", "measured": 97.3, "expected": 41.0, "band": [22.0, 60.0],
         "deviation_sd": 8.9, "expected_by": "time_of_day", "implied": None, "implied_band": None, "implied_by": [],
         "outside": True}
    ]  # fmt: skip
    assert [link["href"] for link in body["links"]] == [alert().runbook_url, alert().dashboard_url]


def test_a_missing_metric_and_an_open_band_are_said_in_valid_json():
    body = build_event(alert(metrics=[metric(measured=None, high=float("inf"))]), EventAction.TRIGGER).body

    json.dumps(body, allow_nan=False)
    assert "cpu missing, expected 41 (" in body["payload"]["summary"]


def test_the_limits_of_pagerduty_are_kept_and_what_was_cut_is_said():
    huge = alert(server_id="s" * 2000, metrics=[metric(name="m" * 300) for _ in range(5000)])

    event = build_event(huge, EventAction.TRIGGER)

    assert len(event.body["payload"]["summary"]) == MAX_SUMMARY_CHARACTERS
    assert len(event.body["dedup_key"]) <= MAX_DEDUP_KEY_CHARACTERS
    assert len(json.dumps({**event.body, "routing_key": KEY})) <= MAX_EVENT_BYTES
    assert event.body["payload"]["custom_details"]["metrics"]
    assert event.cut == ("dedup_key", "summary", "metrics")


@pytest.mark.parametrize("action", EventAction)
@pytest.mark.parametrize(
    "told",
    [
        alert(),
        alert(metrics=[], labels={}, runbook_url="", dashboard_url=""),
        alert(server_id="s" * 2000, metrics=[metric(name="é" * 300) for _ in range(5000)]),
        alert(labels={str(i): "🖥" * 9000 for i in range(20)}),
    ],
    ids=["usual", "bare", "many metrics", "large labels"],
)
def test_every_event_is_one_our_own_reading_of_the_contract_accepts(told, action):
    """The local receiver was written apart from the client: two readings of one document."""
    body = json.dumps({"routing_key": KEY, **build_event(told, action).body}).encode()

    assert event_errors(body)[1] == []


def test_nothing_is_cut_at_the_limit_of_the_dedup_key():
    key = "k" * MAX_DEDUP_KEY_CHARACTERS

    assert dedup_key_of(key) == key
    assert dedup_key_of(key + "1") == dedup_key_of(key + "1") != dedup_key_of(key + "2")
    assert len(dedup_key_of(key + "1")) <= MAX_DEDUP_KEY_CHARACTERS


def test_an_alert_with_fields_of_a_wrong_type_is_malformed_and_no_crash():
    with Receiver().listening() as receiver:
        delivery = client(receiver.url).page(alert(severity="high"))

    assert (delivery.failure, receiver.bodies) == (PageFailure.MALFORMED_ALERT, [])


STATUS = {
    200: None,
    202: None,
    301: PageFailure.REJECTED,
    400: PageFailure.REJECTED,
    401: PageFailure.UNAUTHORIZED,
    403: PageFailure.UNAUTHORIZED,
    404: PageFailure.REJECTED,
    413: PageFailure.REJECTED,
    429: PageFailure.RATE_LIMITED,
    500: PageFailure.SERVER_ERROR,
    503: PageFailure.SERVER_ERROR,
}


@pytest.mark.parametrize(("status", "failure"), STATUS.items())
def test_the_status_alone_says_whether_to_try_again(status, failure):
    assert failure_of(status) is failure


def test_each_call_is_one_request_whatever_the_answer():
    """Trying again is the queue's business, with its own waiting times."""
    with Receiver((503, "", {}), (429, "", {"Retry-After": "17"}), (400, "no", {})).listening() as receiver:
        pager = client(receiver.url)
        answers = [pager.page(alert()) for _ in range(3)]

    assert [a.failure for a in answers] == [PageFailure.SERVER_ERROR, PageFailure.RATE_LIMITED, PageFailure.REJECTED]
    assert answers[1].retry_after_s == 17.0
    assert len(receiver.bodies) == 3


def test_no_answer_and_no_connection_are_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        silent = client(url, timeout_s=0.05).page(alert())
    gone = client(url).page(alert())

    assert (silent.failure, gone.failure) == (PageFailure.TIMEOUT, PageFailure.UNREACHABLE)


def test_the_key_is_read_once():
    keys = Keys()
    with Receiver().listening() as receiver:
        pager = client(receiver.url, keys)
        for _ in range(3):
            pager.page(alert())

    assert keys.fetched == 1


UNKNOWN_KEY = '{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing_key"]}'


@pytest.mark.parametrize(("status", "text"), [(401, ""), (403, ""), (400, UNKNOWN_KEY)])
def test_a_rotated_key_is_fetched_and_the_page_goes_out(status, text):
    keys = Keys("old-key", "new-key")
    with Receiver((status, text, {})).listening() as receiver:
        delivery = client(receiver.url, keys).page(alert())

    assert delivery.failure is None
    assert [body["routing_key"] for body in receiver.bodies] == ["old-key", "new-key"]


def test_a_key_that_is_still_the_same_is_not_sent_again():
    keys = Keys(KEY)
    with Receiver((401, "", {}), (401, "", {})).listening() as receiver:
        delivery = client(receiver.url, keys).page(alert())

    assert (delivery.failure, len(receiver.bodies), keys.fetched) == (PageFailure.UNAUTHORIZED, 1, 2)


def test_a_secret_that_cannot_be_read_is_no_reason_to_lose_the_page():
    delivery = client("http://127.0.0.1:9/", Keys("")).page(alert())

    assert delivery.failure is PageFailure.KEY_UNAVAILABLE


def test_the_routing_key_never_shows(caplog):
    """Not in what a server repeats, not in errors, not in reprs, not in urllib3's debug log."""
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"message": f"bad event {KEY}"})
    with Receiver((400, echo, {}), (401, KEY, {})).listening() as receiver:
        pager = client(receiver.url)
        answers = [pager.page(alert()), pager.page(alert())]
    answers.append(client("http://127.0.0.1:9/").page(alert()))

    shown = [repr(answers), repr(pager), repr(vars(pager)), str(RoutingKey(KEY)), caplog.text]
    assert [text for text in shown if KEY in text] == []
    assert "[routing key]" in answers[0].detail
