"""What people do to a deployed stage: mute, label, ask why; through the command line and the deployed templates."""

import time

import pytest

from tests.deployed.pipeline import PATIENCE_S, SERVERS, Pipeline, samples
from treeline.core.alert import AlertEvent
from treeline.core.errors import UsageError
from treeline.core.times import iso
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
ALL = 180 * SERVERS


def test_people_mute_are_told_when_it_ends_ask_why_and_label(pipeline: Pipeline, command):
    """web-03 is muted throughout; web-07 until some minutes after its incident opened."""
    first = int(pipeline.present.times_ms[0])
    common = ("--from", iso(first), "--by", "ann", "--reason", "disk swap")
    code, [mute] = command("mute", "add", "--server", "web-03", *common, "--for", "1d")
    assert (code, mute["server_id"]) == (0, "web-03")
    command("maintenance", "add", "--server", "web-07*", *common, "--until", iso(first + 112 * 60_000))
    assert [c["id"] for c in command("mute", "list", "--all")[1]] == [mute["id"]]

    for start in range(0, 180, 60):
        pipeline.send(samples(pipeline.present, start, start + 60))
        pipeline.wait_decided((start + 60) * SERVERS)

    offline = [(server, change.event) for server, change in pipeline.offline.changes]
    incidents = pipeline.books.incidents()
    muted = next(alerts for name, alerts in incidents.items() if name.startswith("web-03/"))
    held = next(alerts for name, alerts in incidents.items() if name.startswith("web-07/"))
    assert len(muted) == sum(server == "web-03" for server, _ in offline), "every change is stored"
    deadline = time.monotonic() + PATIENCE_S
    while not any(a.server_id == "web-07" and a.event is AlertEvent.OPENED for a in pipeline.told):
        pipeline.told += pipeline.feed.read()
        assert time.monotonic() < deadline, f"{pipeline.told}; {pipeline.trouble()}"
        time.sleep(0.3)
    assert [a.event for a in pipeline.told if a.server_id == "web-03"] == [AlertEvent.SUPPRESSED]
    assert [a.event for a in pipeline.told if a.server_id == "web-07"][:2] == [AlertEvent.SUPPRESSED, AlertEvent.OPENED]
    assert next(a.muted_by for a in muted) == mute["id"]
    while not pipeline.pages():
        assert time.monotonic() < deadline, "the page after the mute"
        time.sleep(0.3)
    assert {page["dedup_key"].rpartition("/")[2] for page in pipeline.pages()} == {"web-07"}

    incident_id = muted[0].incident_id
    code, why = command("explain", incident_id, "--reproduce")
    assert code == 0
    assert why["reproduction"]["equal"], why["reproduction"]
    assert any("model package" in part["from"] for part in why["reproduction"]["parts"]), why["reproduction"]
    assert why["counterfactuals"], why["notes"]
    assert all(c["verified"] for c in why["counterfactuals"])
    assert why["forest"].startswith("s3://")
    assert command("explain", held[0].incident_id, "--reproduce")[0] == 0
    when = muted[0].clocks.observed_at
    assert command("explain", "--server", "web-03", "--at", when)[1]["incident_id"] == incident_id
    code, quiet = command("explain", "--server", "web-05", "--at", when)
    assert (code, quiet["paged"], quiet["observed_at"], quiet["notes"]) == (0, False, when, [])
    assert quiet["why"][0].startswith("below P2 by")
    assert {channel["name"] for channel in quiet["channels"]} == set(why["calibration"]["measures"])
    assert quiet["would_have_paged"]

    _, label = command("incident", "label", incident_id, "true", "--by", "ann", "--note", "disk full")
    item = pipeline.deployment.client("dynamodb").get_item(
        TableName=pipeline.deployment.output(outputs.CONTROLS_TABLE),
        Key={"kind": {"S": "label"}, "id": {"S": incident_id}},
    )["Item"]
    assert item["is_incident"] == {"BOOL": True}
    assert (item["start"]["S"], item["server_id"]["S"]) == (label["start"], "web-03")
    end = iso(int(pipeline.present.times_ms[-1]))
    _, report = command("shadow", "report", "--days", "1", "--until", end, "--budget", "1 P1 and 1 P2 per fleet-day")
    assert report["servers"] == SERVERS
    assert report["labelled"]["true"] == 1
    assert {row["server_id"] for row in report["by_server"]} == {"web-03", "web-07"}
    assert command("mute", "remove", mute["id"])[1] == {"removed": mute["id"]}
    with pytest.raises(UsageError, match="web-03/"):
        command("explain", "web-03/2020-01-01T00:00:00.000Z")
