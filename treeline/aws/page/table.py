"""The pages table: one entry a dedup key, written only from the version that was read."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.errors import StoreUnavailableError
from treeline.app.page.ledger import PageEntry, Position
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import write_conditionally

# An entry expires when no event of its incident can come any more; every event renews it.
_TTL_S = 90 * 86_400


class PageTable:
    """The ledger of pages that all workers share; see `PageLedger`."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, *, clock_ms: Callable[[], int]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._clock_ms = clock_ms

    def load(self, key: str) -> PageEntry:
        """The entry of a dedup key; blank where there is none."""
        try:
            item = self._dynamodb.get_item(
                TableName=self._table, Key={"dedup_key": {"S": key}}, ConsistentRead=True
            ).get("Item")
        except (ClientError, BotoCoreError) as error:
            raise StoreUnavailableError(f"pages table: {error}") from error
        if item is None:
            return PageEntry()
        return PageEntry(
            version=int(item["version"]["N"]),
            through=_position(item, "through"),
            is_open=item["is_open"]["BOOL"],
            claimed=_position(item, "claimed"),
            claimed_until_ms=int(item["claimed_until_ms"]["N"]),
            waiting=_position(item, "waiting"),
            waiting_until_ms=int(item["waiting_until_ms"]["N"]),
        )

    def save(self, key: str, entry: PageEntry) -> bool:
        """Write an entry over the version before it; False: another worker was first."""
        item: dict[str, Any] = {
            "dedup_key": {"S": key},
            "version": {"N": str(entry.version)},
            "is_open": {"BOOL": entry.is_open},
            "claimed_until_ms": {"N": str(entry.claimed_until_ms)},
            "waiting_until_ms": {"N": str(entry.waiting_until_ms)},
            "expires_at": {"N": str(self._clock_ms() // 1000 + _TTL_S)},
        }
        for name in ("through", "claimed", "waiting"):
            position: Position | None = getattr(entry, name)
            if position is not None:
                item[name] = {"L": [{"S": position[0]}, {"N": str(position[1])}]}
        try:
            return write_conditionally(
                self._dynamodb.put_item,
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(#version) OR #version = :previous",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={":previous": {"N": str(entry.version - 1)}},
            )
        except (ClientError, BotoCoreError) as error:
            raise StoreUnavailableError(f"pages table: {error}") from error


def _position(item: dict[str, Any], name: str) -> Position | None:
    if name not in item:
        return None
    opened, sequence = item[name]["L"]
    return opened["S"], int(sequence["N"])
