"""The pages table: one entry a dedup key, written only from the version that was read."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.page.ledger import PageEntry
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import item_of, values_of, write_conditionally
from treeline.core.errors import StoreUnavailableError
from treeline.core.formats import require_format

FORMAT = 1  # of an entry; one that names none has this one
_POSITIONS = ("through", "claimed", "waiting")
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
        stored = values_of(item)
        require_format("an entry of the ledger of pages", stored.get("format", 1), newest=FORMAT)
        known: dict[str, Any] = {
            field.name: tuple(stored[field.name]) if field.name in _POSITIONS else stored[field.name]
            for field in fields(PageEntry)
            if field.name in stored
        }
        return PageEntry(**known)

    def save(self, key: str, entry: PageEntry) -> bool:
        """Write an entry over the version before it; False: another worker was first."""
        expires_at = self._clock_ms() // 1000 + _TTL_S
        item = item_of({"dedup_key": key, "format": FORMAT, **asdict(entry), "expires_at": expires_at})
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
