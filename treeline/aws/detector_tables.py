"""The tables detect writes: its own versioned state, and the score blocks."""

import json
import zlib
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from treeline.app.detection_ports import Record
from treeline.app.muting import Untold
from treeline.app.scoreblock import ScoreBlock
from treeline.core.alert import Alert
from treeline.core.errors import StateConflictError
from treeline.core.state import FleetState
from treeline.core.times import iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LONGEST_BLOCK_MS = 86_400_000


class DetectorRecords:
    """The detector-state table: one item a group and model version, written only from the version that was read."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def load(self, group: int, model_version: str) -> Record | None:
        """The committed record, read consistently; None before the first commit."""
        item = self._dynamodb.get_item(
            TableName=self._table, Key=self._key(group, model_version), ConsistentRead=True
        ).get("Item")
        if item is None:
            return None
        return Record(
            group=group,
            model_version=model_version,
            state=FleetState.unpack(bytes(item["state"]["B"])),
            block=ScoreBlock.unpack(bytes(item["block"]["B"])) if "block" in item else None,
            outbox=[Alert.from_json(body) for body in json.loads(zlib.decompress(bytes(item["outbox"]["B"])))],
            committed_ms=int(item["committed_ms"]["N"]),
            untold=_untold(item),
        )

    def commit(self, record: Record, previous_version: int) -> None:
        """Write if the stored version is still `previous_version`; raises StateConflictError otherwise."""
        item: dict[str, Any] = {
            **self._key(record.group, record.model_version),
            "version": {"N": str(record.state.version)},
            "state": {"B": record.state.pack()},
            "outbox": {"B": _outbox(record)},
            "committed_ms": {"N": str(record.committed_ms)},
        }
        if record.block is not None:
            item["block"] = {"B": record.block.pack()}
        if record.untold:
            body = {server: entry.to_json() for server, entry in record.untold.items()}
            item["untold"] = {"B": zlib.compress(json.dumps(body).encode())}
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(#version) OR #version = :previous",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={":previous": {"N": str(previous_version)}},
            )
        except ClientError as error:
            _raise_conflict(error, record)

    def clear_outbox(self, record: Record) -> None:
        """Forget delivered alerts; if another worker has committed since, it carries the outbox on."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=self._key(record.group, record.model_version),
                UpdateExpression="SET outbox = :outbox",
                ConditionExpression="#version = :version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={
                    ":outbox": {"B": _outbox(record)},
                    ":version": {"N": str(record.state.version)},
                },
            )
        except ClientError as error:
            _raise_conflict(error, record)

    def _key(self, group: int, model_version: str) -> dict[str, Any]:
        return {"group": {"N": str(group)}, "model_version": {"S": model_version}}


def _outbox(record: Record) -> bytes:
    """Compressed: alerts repeat themselves, and a long outage must not push the item over DynamoDB's 400 KB."""
    return zlib.compress(json.dumps([alert.to_json() for alert in record.outbox]).encode())


def _untold(item: dict[str, Any]) -> dict[str, Untold]:
    if "untold" not in item:
        return {}
    body = json.loads(zlib.decompress(bytes(item["untold"]["B"])))
    return {server: Untold.from_json(entry) for server, entry in body.items()}


def _raise_conflict(error: ClientError, record: Record) -> None:
    if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
        raise StateConflictError(
            f"group {record.group} of model {record.model_version} moved on from version {record.state.version}"
        ) from error
    raise error


class ScoreTable:
    """The scores table: one item a commit, expiring."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, *, ttl_s: int) -> None:
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
