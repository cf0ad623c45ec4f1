"""A server is retired in the middle of its incident: through the command line and the deployed templates."""

import time

import pytest

from tests.deployed.pipeline import PATIENCE_S, SERVERS, Pipeline, samples
from treeline.core.alert import Alert, AlertEvent
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
OPEN_AT = 80  # web-03 is wrong from step 60 to 90
GONE = "web-03"


def until(pipeline: Pipeline, what: str, found) -> None:
    """Wait, with heartbeats as their schedule would send them."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, f"{what}; {pipeline.told}; {pipeline.trouble()}"
        pipeline.invoke(outputs.DISPATCH_FUNCTION)
        pipeline.told += pipeline.feed.read()
        time.sleep(0.3)


def told_of_it(pipeline: Pipeline, event: AlertEvent) -> list[Alert]:
    return [alert for alert in pipeline.told if alert.server_id == GONE and alert.event is event]


def detect_said(pipeline: Pipeline, message: str) -> bool:
    """Whether detect wrote this line about the server."""
    lines = pipeline.deployment.cloud.logs(pipeline.function(outputs.DETECT_FUNCTION))
    return any(message in line and GONE in line for line in lines)


def test_a_retired_servers_incident_is_closed_and_its_name_begins_anew(pipeline: Pipeline, command):
    pipeline.send(samples(pipeline.present, 0, OPEN_AT))
    until(pipeline, "the incident opens", lambda: told_of_it(pipeline, AlertEvent.OPENED))
    incident_id = told_of_it(pipeline, AlertEvent.OPENED)[0].incident_id
    words = ("server", "retire", GONE, "--reason", "disk replaced", "--by", "ann")

    assert command(*words)[0] == 1, "nobody said yes"
    code, said = command(*words, "--yes")
    assert (code, said["changed"], said["open_incident"]) == (0, True, incident_id)
    until(pipeline, "the incident ends", lambda: told_of_it(pipeline, AlertEvent.RESOLVED))
    [ended] = told_of_it(pipeline, AlertEvent.RESOLVED)
    assert (ended.incident_id, ended.ended_by) == (incident_id, "retired: disk replaced")
    until(
        pipeline, "PagerDuty closes it", lambda: pipeline.page_sequences().get(GONE, [("", "", "")])[-1][0] == "resolve"
    )
    assert command(*words, "--yes")[1] == {**said, "changed": False, "open_incident": None}
    [row] = [row for row in command("incident", "list", "--days", "9000")[1] if row["incident_id"] == incident_id]
    assert (row["state"], row["ended_by"]) == ("resolved", "retired: disk replaced")

    rest = samples(pipeline.present, OPEN_AT, OPEN_AT + 20)
    pipeline.send(sample for sample in rest if sample[1] != GONE)
    pipeline.wait_decided((SERVERS - 1) * (OPEN_AT + 20), heartbeat=True)
    assert detect_said(pipeline, "servers are retired")
    assert not detect_said(pipeline, "retired servers are back")

    pipeline.send(samples(pipeline.present, OPEN_AT + 20, OPEN_AT + 40))
    until(pipeline, "it is back", lambda: detect_said(pipeline, "retired servers are back as new ones"))
    pipeline.wait_decided((SERVERS - 1) * (OPEN_AT + 40) + 20, heartbeat=True)
    assert len(told_of_it(pipeline, AlertEvent.OPENED)) == 1, "a new server warms up"
