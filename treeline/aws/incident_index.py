"""The incidents table by state and time of opening: the query of everything that counts or lists incidents."""

from collections.abc import Iterator
from typing import Any

from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import items_of
from treeline.core.times import iso

INDEX = "by-state"


def opened_between(dynamodb: DynamoDBClient, table: str, start_ms: int, end_ms: int) -> Iterator[dict[str, Any]]:
    """Items of incidents opened in [start, end), the open ones first; each state's in order of opening."""
    for state in ("open", "resolved"):
        yield from items_of(
            dynamodb,
            TableName=table,
            IndexName=INDEX,
            KeyConditionExpression="#state = :state AND opened_at BETWEEN :start AND :end",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={
                ":state": {"S": state},
                ":start": {"S": iso(max(start_ms, 0))},
                ":end": {"S": iso(end_ms - 1)},
            },
        )


def open_incidents(dynamodb: DynamoDBClient, table: str, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Items of open incidents, the newest first; the newest `limit` of them where a limit is given."""
    found = items_of(
        dynamodb,
        TableName=table,
        IndexName=INDEX,
        KeyConditionExpression="#state = :open",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":open": {"S": "open"}},
        ScanIndexForward=False,
        PaginationConfig={} if limit is None else {"MaxItems": limit, "PageSize": limit},
    )
    return list(found)
