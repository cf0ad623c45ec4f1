"""What our tables need of DynamoDB beside its client: items as plain values, whole queries, conditional writes."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from treeline.aws.client_types import DynamoDBClient
from treeline.aws.retries import error_code

Item = dict[str, Any]


def item_of(values: Mapping[str, Any]) -> Item:
    """Plain values as an item: text, truth, whole numbers, bytes, lists and maps; None leaves an attribute out."""
    return {name: _attribute(value) for name, value in values.items() if value is not None}


def _attribute(value: Any) -> Item:
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case Mapping():
            return {"M": item_of(value)}
    return {"L": [_attribute(entry) for entry in value]}


def values_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """What `item_of` was given."""
    return {name: _value(*next(iter(attribute.items()))) for name, attribute in item.items()}


def _value(kind: str, value: Any) -> Any:
    match kind:
        case "N":
            return json.loads(value)
        case "M":
            return values_of(value)
        case "L":
            return [_value(*next(iter(entry.items()))) for entry in value]
    return value


def items_of(dynamodb: DynamoDBClient, **query: Any) -> Iterator[Item]:
    """The items that a query finds, of all its pages."""
    for page in dynamodb.get_paginator("query").paginate(**query):
        yield from page["Items"]


def write_conditionally(write: Callable[..., Any], **request: Any) -> bool:
    """Make a conditional write; False where its condition does not hold, and nothing was written."""
    try:
        write(**request)
    except ClientError as error:
        if error_code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True
