"""What the widgets of incidents and models read. Without numpy, so that their functions start fast."""

import json
from collections.abc import Mapping
from typing import Any

from treeline.aws import incident_index
from treeline.aws.client_types import DynamoDBClient


def open_incidents(dynamodb: DynamoDBClient, table: str, *, limit: int) -> list[dict[str, Any]]:
    """The last alert of each of the newest open incidents."""
    items = incident_index.open_incidents(dynamodb, table, limit=limit)
    return [json.loads(item["history"]["L"][-1]["S"]) for item in items if item.get("history", {}).get("L")]


def model_pointers(dynamodb: DynamoDBClient, table: str) -> dict[str, dict[str, str]]:
    """Items of kind `model` by id: plain text and numbers of each."""
    items = dynamodb.query(
        TableName=table, KeyConditionExpression="kind = :model", ExpressionAttributeValues={":model": {"S": "model"}}
    )["Items"]
    return {item["id"]["S"]: _plain(item) for item in items}


def _plain(item: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(next(iter(value.values())))
        for name, value in item.items()
        if name not in ("kind", "id") and next(iter(value)) in ("S", "N", "BOOL")
    }
