"""What our tables need of DynamoDB beside its client: all of a query, and writes that hold only under a condition."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from treeline.aws.client_types import DynamoDBClient
from treeline.aws.retries import error_code


def items_of(dynamodb: DynamoDBClient, **query: Any) -> Iterator[dict[str, Any]]:
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
