"""The rollups table: hours of scores, summed up."""

import json
from collections.abc import Sequence

from treeline.app.learn.rollup import Rollup
from treeline.aws.client_types import DynamoDBClient
from treeline.core.times import iso, parse_iso

_CURSOR = {"kind": {"S": "rollup"}, "id": {"S": "cursor"}}


class RollupTable:
    """One item a model and hour; how far the hours are done stands in the controls table."""

    def __init__(self, dynamodb: DynamoDBClient, *, table: str, controls_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._controls_table = controls_table

    def put(self, rollup: Rollup) -> None:
        """Write one hour; writing it again replaces it, but for levels that only the first run could see."""
        key = {"scope": {"S": f"model#{rollup.model_version}"}, "hour": {"S": iso(rollup.hour)}}
        if not rollup.levels:
            found = self._dynamodb.get_item(TableName=self._table, Key=key).get("Item")
            if found is not None:
                rollup.levels.update(json.loads(found["rollup"]["S"])["levels"])
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                **key,
                "count": {"N": str(rollup.count)},
                "mean": {"N": f"{rollup.mean:.9g}"},
                "variance": {"N": f"{rollup.variance:.9g}"},
                "servers": {"N": str(rollup.servers)},
                "opened": {"N": str(rollup.opened)},
                "rollup": {"S": json.dumps(rollup.to_json())},
            },
        )

    def read(self, model_version: str, start_ms: int, end_ms: int) -> Sequence[Rollup]:
        """A model's hours in [start, end), in order."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope AND #hour BETWEEN :start AND :end",
            ExpressionAttributeNames={"#scope": "scope", "#hour": "hour"},
            ExpressionAttributeValues={
                ":scope": {"S": f"model#{model_version}"},
                ":start": {"S": iso(start_ms)},
                ":end": {"S": iso(end_ms - 1)},
            },
        )
        return [
            Rollup.from_json(model_version, parse_iso(item["hour"]["S"]), json.loads(item["rollup"]["S"]))
            for page in pages
            for item in page["Items"]
        ]

    def rolled_up_to(self) -> int | None:
        """End of the last hour done; None before the first run."""
        item = self._dynamodb.get_item(TableName=self._controls_table, Key=_CURSOR, ConsistentRead=True).get("Item")
        return None if item is None else parse_iso(item["until"]["S"])

    def set_rolled_up_to(self, end_ms: int) -> None:
        """Remember it."""
        self._dynamodb.put_item(TableName=self._controls_table, Item={**_CURSOR, "until": {"S": iso(end_ms)}})
