"""Blocks of the seasonal tables, in the detector-state table beside the records that name them.

| sort key | holds |
|---|---|
| `<model>/<number>/<name>` | one block, compressed; expires |
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import Item, items_of

# Nothing is deleted: a deletion costs what writing did, and expiry nothing. A block in use is replaced on each day of
# its kind, at the latest after a week, or stored again at half its time; only a group that sends nothing loses blocks.
BLOCK_TTL_S = 12 * 86_400
KEPT_BYTES = 16_000_000  # of blocks in memory

Key = tuple[int, str]  # group and sort key


class TableBlocks:
    """Blocks by group, model version, number and name; those used last stay in memory, as they never change.

    Args:
        clock_ms: Wall-clock milliseconds: items expire by it.
    """

    def __init__(self, dynamodb: DynamoDBClient, table: str, *, clock_ms: Callable[[], int]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._clock_ms = clock_ms
        self._kept: OrderedDict[Key, tuple[bytes, int]] = OrderedDict()  # and when the item expires
        self._kept_bytes = 0

    def read_block(self, group: int, model_version: str, number: int, name: str) -> bytes | None:
        """What was stored under that name, None where it is no more; one about to expire is stored again."""
        key = (group, _sort_key(model_version, number, name))
        block, expires_s = self._kept.get(key) or self._read(key)
        if block is None:
            return None
        if expires_s - self._clock_ms() // 1000 < BLOCK_TTL_S // 2:
            self._write(key, block)
        else:
            self._keep(key, block, expires_s)
        return block

    def stored_blocks(self, group: int, model_version: str, number: int) -> list[tuple[str, bytes]]:
        """Every name and block of this number that has not expired, the newest first.

        One that lasts was stored again at half its time, and then counts as new: no later one is stored of its number.
        """
        prefix = _sort_key(model_version, number, "")
        items = items_of(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="#group = :group AND begins_with(model_version, :prefix)",
            ExpressionAttributeNames={"#group": "group"},
            ExpressionAttributeValues={":group": {"N": str(group)}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        newest_first = sorted(items, key=lambda item: int(item["expires_at"]["N"]), reverse=True)
        return [(item["model_version"]["S"].removeprefix(prefix), _block_of(item)) for item in newest_first]

    def write_block(self, group: int, model_version: str, number: int, name: str, block: bytes) -> None:
        """Store it; storing it again changes nothing."""
        self._write((group, _sort_key(model_version, number, name)), block)

    def _read(self, key: Key) -> tuple[bytes | None, int]:
        item = self._dynamodb.get_item(TableName=self._table, Key=_item_key(key), ConsistentRead=True).get("Item")
        if item is None:
            return None, 0
        return _block_of(item), int(item["expires_at"]["N"])

    def _write(self, key: Key, block: bytes) -> None:
        expires_s = self._clock_ms() // 1000 + BLOCK_TTL_S
        item: dict[str, Any] = {
            **_item_key(key),
            "table_block": {"B": zlib.compress(block, 1)},
            "expires_at": {"N": str(expires_s)},
        }
        self._dynamodb.put_item(TableName=self._table, Item=item)
        self._keep(key, block, expires_s)

    def _keep(self, key: Key, block: bytes, expires_s: int) -> None:
        kept = self._kept.pop(key, None)
        self._kept_bytes += len(block) - (len(kept[0]) if kept else 0)
        self._kept[key] = block, expires_s
        while self._kept_bytes > KEPT_BYTES:
            _, (oldest, _) = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


def _block_of(item: Item) -> bytes:
    try:
        return zlib.decompress(bytes(item["table_block"]["B"]))
    except zlib.error:
        return b""  # has no block's name


def _sort_key(model_version: str, number: int, name: str) -> str:
    return f"{model_version}/{number:02d}/{name}"


def _item_key(key: Key) -> dict[str, Any]:
    return {"group": {"N": str(key[0])}, "model_version": {"S": key[1]}}
