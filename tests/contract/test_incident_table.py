"""The incidents table against moto: who tells an event that several groups see, also when a group dies before it."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from tests.unit.paging_fakes import alert
from treeline.aws.detect.incidents import IncidentTable
from treeline.core.alert import Alert, AlertEvent, Clocks
from treeline.core.detection.policy import FLEET


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[IncidentTable]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName="incidents",
            KeySchema=[{"AttributeName": "incident_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "incident_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield IncidentTable(client, "incidents")


def history() -> list[int]:
    """How many events each row's history holds."""
    return [len(item["history"]["L"]) for item in boto3.client("dynamodb").scan(TableName="incidents")["Items"]]


def shared(event: AlertEvent, group: str, at: str = "2026-11-22T15:58:30.000Z") -> Alert:
    clocks = Clocks(first_anomalous_at=at, observed_at=at, received_at=at, scored_at=at, published_at=at)
    sequence = 2 if event is AlertEvent.RESOLVED else 1
    opened = "2026-11-22T15:00:00.000Z"
    return alert(event, sequence, server_id=FLEET, opened=opened, labels={"group": group}, clocks=clocks)


def test_an_alert_that_comes_again_is_kept_once_and_may_be_told_again(table: IncidentTable):
    assert [table.apply(alert()) for _ in range(2)] == [True, True]
    assert history() == [1]


def test_a_fleet_incident_is_told_by_the_first_group_and_resolved_by_the_last(table: IncidentTable):
    opened, resolved = AlertEvent.OPENED, AlertEvent.RESOLVED
    steps = [(opened, "1"), (opened, "2"), (resolved, "1"), (opened, "3"), (resolved, "2"), (resolved, "3")]

    assert [table.apply(shared(event, group)) for event, group in steps] == [True, False, False, False, False, True]
    assert history() == [2]


def test_a_group_that_died_before_telling_is_still_the_one_to_tell(table: IncidentTable):
    """Between its row and the topic it died; meanwhile another group saw the same and left it to the first."""
    opened, resolved = AlertEvent.OPENED, AlertEvent.RESOLVED
    first, second = shared(opened, "1"), shared(opened, "2")

    assert [table.apply(a) for a in (first, second, first, second)] == [True, False, True, False]

    one, two = shared(resolved, "1"), shared(resolved, "2")
    assert [table.apply(a) for a in (one, two, one, two)] == [False, True, False, True]
    assert history() == [2], "nothing is written twice"


def test_the_same_hour_can_see_a_second_excursion(table: IncidentTable):
    later = "2026-11-22T15:59:30.000Z"
    for event in (AlertEvent.OPENED, AlertEvent.RESOLVED):
        table.apply(shared(event, "1"))

    assert table.apply(shared(AlertEvent.OPENED, "2", later))


def test_groups_that_write_at_once_take_turns(table: IncidentTable):
    """The other group writes between our read and our write."""
    client = boto3.client("dynamodb")
    calls = {"left": 1}

    class Meanwhile:
        def update_item(self, **request):
            if "ConditionExpression" in request and calls["left"]:
                calls["left"] -= 1
                assert table.apply(shared(AlertEvent.OPENED, "2"))
            return client.update_item(**request)

    assert not IncidentTable(Meanwhile(), "incidents").apply(shared(AlertEvent.OPENED, "1"))
