"""The scores table as detect writes it: one item a commit, expiring."""

from typing import Any

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.client_types import DynamoDBClient
from treeline.core.times import iso

_LONGEST_BLOCK_MS = 86_400_000


class ScoreTable:
    """The scores table: one item a commit, expiring."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, *, ttl_s: int) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._ttl_s = ttl_s

    def put(self, group: int, block: ScoreBlock, now_ms: int) -> None:
        """Write the block; its key is unique to its commit, so writing it again changes nothing."""
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                "group": {"N": str(group)},
                "tick": {"S": block.tick},
                "model_version": {"S": block.model_version},
                "rows": {"N": str(len(block.observed_at))},
                "last_observed_at": {"S": iso(int(block.observed_at.max()))},
                "block": {"B": block.pack()},
                "expires_at": {"N": str(now_ms // 1000 + self._ttl_s)},
            },
        )

    def entries(self, group: int, first_ms: int, last_ms: int) -> set[tuple[str, int]]:
        """(server, observed_at) of what is scored from `first_ms` to `last_ms`.

        Looks at blocks that begin up to a day earlier: a longer one comes from a group of one or two servers only.
        """
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "#group = :group AND tick BETWEEN :first AND :last",
            "FilterExpression": "last_observed_at >= :from",
            "ProjectionExpression": "#block",
            "ExpressionAttributeNames": {"#group": "group", "#block": "block"},
            "ExpressionAttributeValues": {
                ":group": {"N": str(group)},
                ":first": {"S": iso(max(first_ms - _LONGEST_BLOCK_MS, 0))},
                ":last": {"S": iso(last_ms) + "~"},  # behind every key that begins with that time
                ":from": {"S": iso(first_ms)},
            },
        }
        found: set[tuple[str, int]] = set()
        while True:
            page = self._dynamodb.query(**query)
            for item in page["Items"]:
                found.update(ScoreBlock.unpack(bytes(item["block"]["B"])).entries())
            if "LastEvaluatedKey" not in page:
                return {key for key in found if first_ms <= key[1] <= last_ms}
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
