"""The controls table against moto: what people write is what detect and training read."""

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from tests.unit.paging_fakes import alert
from treeline.app.alert.controls import Control, ControlKind, IncidentLabel, Scope
from treeline.app.alert.muting import SuppressedIncident
from treeline.aws.alert.controls import ControlTable, ServerLabelTable
from treeline.aws.detect.incidents import IncidentTable
from treeline.aws.explain.incident_tables import IncidentRows
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import FLEET


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        for table, keys in (("controls", ["kind", "id"]), ("servers", ["server_id"]), ("incidents", ["incident_id"])):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=False)],
                AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        yield client


def control(id_: str, kind: ControlKind, scope: Scope, start: int = 0) -> Control:
    return Control(
        kind=kind, id=id_, scope=scope, starts_ms=start, until_ms=start + 1000, reason="r", by="ann", created_ms=5
    )


def test_mutes_and_windows_come_back_as_they_were_written(dynamodb):
    table = ControlTable(dynamodb, "controls")
    written = [
        control("m2", ControlKind.MUTE, Scope(server="web-*"), start=50),
        control("m1", ControlKind.MUTE, Scope(labels={"tier": "web", "environment": "test"}), start=90),
        control("w1", ControlKind.MAINTENANCE, Scope(fleet=True)),
    ]
    for entry in written:
        table.put(entry)
    assert list(table.in_force()) == written
    assert table.remove(ControlKind.MUTE, "m2")
    assert not table.remove(ControlKind.MUTE, "m2")
    assert [c.id for c in table.in_force()] == ["m1", "w1"]


def test_a_label_comes_back_and_the_last_word_counts(dynamodb):
    table = ControlTable(dynamodb, "controls")
    label = IncidentLabel(
        incident_id="a/b", server_id="a", is_incident=True, start_ms=1, end_ms=2, by="ann", created_ms=3, note="full"
    )
    table.put(label)
    table.put(replace(label, is_incident=False))
    assert table.labels() == {"a/b": replace(label, is_incident=False)}


def test_labels_of_servers_are_read_and_an_unknown_server_has_none(dynamodb):
    dynamodb.put_item(TableName="servers", Item={"server_id": {"S": "a"}, "labels": {"M": {"tier": {"S": "web"}}}})
    table = ServerLabelTable(dynamodb, "servers")
    assert (table.of("a"), table.of("b")) == ({"tier": "web"}, {})


def test_a_muted_incident_s_row_keeps_every_change_once_and_says_who_was_told(dynamodb):
    rows = IncidentTable(dynamodb, "incidents")
    suppressed = replace(alert(AlertEvent.SUPPRESSED, 1), step=1, muted_by="m")
    quiet = replace(alert(AlertEvent.ESCALATED, 2), step=2, suppressed="muted")
    late = replace(alert(AlertEvent.OPENED, 2), step=3, muted_by="m")
    for entry in (suppressed, quiet, quiet, late, late):
        assert rows.apply(entry)
    found = IncidentRows(dynamodb, "incidents").find(suppressed.incident_id)
    assert found == [suppressed, quiet, late]
    [item] = dynamodb.scan(TableName="incidents")["Items"]
    assert item["paging"] == {"S": "people"}
    assert IncidentRows(dynamodb, "incidents").find("nobody/never") is None


def test_when_a_mute_of_the_fleet_ends_one_group_tells_of_the_shared_incident(dynamodb):
    rows = IncidentTable(dynamodb, "incidents")

    def shared(event: AlertEvent, group: str, step: int):
        return replace(alert(event, step, server_id=FLEET, labels={"group": group}), step=step)

    opened = [rows.apply(shared(AlertEvent.SUPPRESSED, group, 1)) for group in ("1", "2")]
    late = [rows.apply(shared(AlertEvent.OPENED, group, 2)) for group in ("1", "2", "1")]
    resolved = [rows.apply(shared(AlertEvent.RESOLVED, group, 3)) for group in ("1", "2")]
    assert (opened, late, resolved) == ([True, False], [True, False, True], [False, True])


def test_what_a_mute_keeps_from_people_is_plain_json():
    entry = SuppressedIncident("a/b", suppression_published=True, sequence_offset=-1, latest=alert())
    assert SuppressedIncident.from_json(entry.to_json()) == entry
    stored = {"incident_id": "a/b", "is_known": False, "is_said": True, "shift": -1, "is_over": False}
    assert entry.to_json() == {**stored, "latest": alert().to_json()}, "as every stored state spells it"
    assert replace(alert(), suppressed="muted").to_json()["quiet"] == "muted", "as the alert's contract spells it"
