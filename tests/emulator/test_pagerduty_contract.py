import json

import pytest

from emulator.pagerduty.contract import event_errors


def _event(**changes):
    payload = {"summary": "cpu", "source": "web-1", "severity": "critical", "custom_details": {"cpu": 97}}
    event = {"routing_key": "k" * 32, "event_action": "trigger", "dedup_key": "web-1", "payload": payload}
    return {**event, **changes}


def _errors(event) -> list[str]:
    return event_errors(json.dumps(event).encode())[1]


def test_a_full_trigger_is_accepted():
    assert _errors(_event()) == []


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_acknowledge_and_resolve_need_a_dedup_key_and_no_payload(action):
    event = {"routing_key": "k" * 32, "event_action": action, "dedup_key": "web-1"}
    assert _errors(event) == []
    del event["dedup_key"]
    assert "dedup_key" in _errors(event)[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"routing_key": "short"}, "routing_key"),
        ({"event_action": "open"}, "event_action"),
        ({"dedup_key": "d" * 256}, "dedup_key"),
        ({"payload": None}, "payload"),
        ({"payload": {"summary": "s" * 1025, "source": "a", "severity": "info"}}, "summary"),
        ({"payload": {"summary": "s", "severity": "info"}}, "source"),
        ({"payload": {"summary": "s", "source": "a", "severity": "P1"}}, "severity"),
        ({"payload": {"summary": "s", "source": "a", "severity": "info", "custom_details": []}}, "custom_details"),
    ],
)
def test_a_breach_of_the_contract_is_named(changes, named):
    (error,) = _errors(_event(**changes))
    assert named in error


def test_an_event_over_512_kb_or_without_json_is_refused():
    assert "bytes" in event_errors(b'{"a": "' + b"x" * 512 * 1024 + b'"}')[1][0]
    assert "JSON" in event_errors(b"no")[1][0]
