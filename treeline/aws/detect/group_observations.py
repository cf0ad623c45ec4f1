"""Reads a group's observations from the append-only table, in event-time order, with one index range."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from treeline.app.detect.ports import Pending
from treeline.aws.client_types import DynamoDBClient
from treeline.core.times import iso, parse_iso

INDEX = "by-group"
_LARGEST = float(np.finfo(np.float32).max)


def _leave_items_as_they_came(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    """Take a Query's items from its JSON as they are: botocore's walk over every value takes five times as long.

    For botocore's event `before-parse`. Binary values would stay base64, but an observation has none. A botocore that
    lacks the event parses by itself, to the same items.
    """
    if response_dict["status_code"] == 200:
        body = json.loads(response_dict["body"])
        customized_response_dict["Items"] = body.pop("Items", [])
        response_dict["body"] = json.dumps(body).encode()


class GroupObservations:
    """The observations table by group; `dynamodb` serves these reads only, as its parsing of queries is changed."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        dynamodb.meta.events.register("before-parse.dynamodb.Query", _leave_items_as_they_came)
        self._dynamodb = dynamodb
        self._table = table

    def read(
        self,
        group: int,
        start_ms: int,
        metrics: Sequence[str],
        *,
        skip: Callable[[str, int, str], bool],
        limit: int,
        until_ms: int | None = None,
    ) -> Pending:
        """At most `limit` observations from `start_ms` on for which `skip` is false; see `Observations`."""
        servers: list[str] = []
        observed: list[int] = []
        received: list[int] = []
        values: list[list[float]] = []
        between = "BETWEEN :start AND :end"  # no key is the end itself: a server's name follows the time
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": INDEX,
            "KeyConditionExpression": f"#group = :group AND group_sort {'>= :start' if until_ms is None else between}",
            "ExpressionAttributeNames": {"#group": "group"},
            "ExpressionAttributeValues": {
                ":group": {"N": str(group)},
                ":start": {"S": iso(max(start_ms, 0))},
                **({} if until_ms is None else {":end": {"S": iso(until_ms)}}),
            },
            "Limit": 2 * limit,
        }
        missing = float("nan")
        while True:
            page = self._dynamodb.query(**query)
            for item in page["Items"]:
                server, at = item["server_id"]["S"], parse_iso(item["observed_at"]["S"])
                received_at = item["received_at"]["S"]
                if skip(server, at, received_at):
                    continue
                row = item["metrics"]["M"]
                servers.append(server)
                observed.append(at)
                received.append(parse_iso(received_at))
                values.append([float(row[name]["N"]) if name in row else missing for name in metrics])
                if len(servers) >= limit:
                    break
            if len(servers) >= limit or "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return Pending(
            servers,
            np.array(observed, dtype=np.int64),
            np.array(received, dtype=np.int64),
            # A value beyond float32 becomes its largest number, not infinity: JSON has no infinity.
            np.clip(np.array(values), -_LARGEST, _LARGEST).astype(np.float32).reshape(len(servers), len(metrics)),
        )
