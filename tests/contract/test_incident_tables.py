"""What explanations read of the deployed tables, against moto: a server's incidents and the model that scored it."""

from collections.abc import Iterator
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.detect.overrides import OverrideTable
from treeline.aws.detect.score_table import ScoreTable
from treeline.aws.explain.incident_tables import IncidentRows, IncidentTables
from treeline.core.times import iso

AT_MS, MINUTE_MS = 1_700_006_400_000, 60_000


def create(client: Any, name: str, keys: list[tuple[str, str]], index: list[tuple[str, str]] | None = None) -> None:
    def schema(names: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"AttributeName": k, "KeyType": t} for (k, _), t in zip(names, ("HASH", "RANGE"), strict=False)]

    indexes = [] if index is None else [
        {"IndexName": "by-server", "KeySchema": schema(index), "Projection": {"ProjectionType": "ALL"}}
    ]  # fmt: skip
    client.create_table(
        TableName=name,
        KeySchema=schema(keys),
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": t} for k, t in (*keys, *(index or ()))],
        BillingMode="PAY_PER_REQUEST",
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[IncidentTables]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        create(client, "incidents", [("incident_id", "S")], [("server_id", "S"), ("opened_at", "S")])
        create(client, "servers", [("server_id", "S")])
        create(client, "scores", [("group", "N"), ("tick", "S")])
        client.put_item(TableName="servers", Item={"server_id": {"S": "web-1"}, "group": {"N": "0"}})
        yield IncidentTables(
            client,
            boto3.client("s3"),
            rows=IncidentRows(client, "incidents"),
            blocks=ScoreTable(client, "scores", ttl_s=60),
            observations_table="observations",
            servers_table="servers",
            overrides=OverrideTable(client, "controls"),
            models_bucket="models",
            scorer=lambda version: (lambda rows: rows, version),
        )


def opened(tables: IncidentTables, server_id: str, at_ms: int) -> str:
    incident_id = f"{server_id}/{iso(at_ms)}"
    tables.dynamodb.put_item(
        TableName="incidents",
        Item={"incident_id": {"S": incident_id}, "server_id": {"S": server_id}, "opened_at": {"S": iso(at_ms)}},
    )
    return incident_id


def test_a_server_s_incidents_of_a_stretch_come_in_order_of_their_opening(tables):
    ids = [opened(tables, "web-1", AT_MS + n * MINUTE_MS) for n in (9, 0, 5)]
    opened(tables, "web-2", AT_MS)
    assert tables.incidents_of("web-1", 0, AT_MS + 99 * MINUTE_MS) == [ids[1], ids[2], ids[0]]
    assert tables.incidents_of("web-1", AT_MS, AT_MS + 5 * MINUTE_MS) == [ids[1], ids[2]]
    assert tables.incidents_of("web-1", AT_MS + 1, AT_MS + 5 * MINUTE_MS - 1) == []


def scored(tables: IncidentTables, model_version: str, minutes: range, server: str = "web-1") -> None:
    times = AT_MS + MINUTE_MS * np.array(minutes)
    block = ScoreBlock.empty([server], model_version, np.zeros(len(times), np.intp), times)
    ScoreTable(tables.dynamodb, "scores", ttl_s=60).put(0, block, AT_MS)


def test_the_model_of_a_time_is_the_one_that_scored_most_of_the_server_before_it(tables):
    scored(tables, "old", range(30))
    scored(tables, "canary", range(4))
    scored(tables, "canary", range(1, 100), server="web-2")  # a block's key begins with its first time
    scored(tables, "new", range(500, 530))
    assert tables.model_at("web-1", AT_MS + 40 * MINUTE_MS) == "old"
    assert tables.model_at("web-1", AT_MS + 540 * MINUTE_MS) == "new"
    assert tables.model_at("web-1", AT_MS - 1) is None
    assert tables.model_at("web-9", AT_MS) is None


def test_a_block_that_began_a_day_before_is_found_by_what_it_reaches(tables):
    """A commit of a small fleet that caught up on a backlog of a coarse step."""
    scored(tables, "m1", range(100))
    scored(tables, "m1", range(100, 2000))
    scored(tables, "m1", range(2000, 2100))
    start, end = AT_MS + 1900 * MINUTE_MS, AT_MS + 2050 * MINUTE_MS
    path = tables.scored("web-1", start, end, model_version="m1")
    assert path.observed_at.tolist() == list(range(start, end + 1, MINUTE_MS))
    assert not len(tables.scored("web-1", start, end, model_version="m2").observed_at)
    assert tables.model_at("web-1", start) == "m1"
