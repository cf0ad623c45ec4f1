"""Retired servers: in the servers table who retired a server, when and why; in the controls table what detect goes by.

| attribute of a server | holds |
|---|---|
| `retired_at`, `retired_by`, `retired_reason` | the last retirement, by the wall clock |
| `back_at` | when something of that name was received again, written by ingest within a quarter of an hour |

The servers table's counter holds in `retired` how many are retired and not back. In the controls table a retirement has
the kind `retirement#<group>` and the server's id, so that detect reads those of one group by one query; a server stays
in its group, so there are never more than the group has servers.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from botocore.exceptions import ClientError

from treeline.app.detect.retirement import Retirement
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import item_of, items_of, values_of
from treeline.aws.ingest.servers import count_retired
from treeline.aws.retries import error_code
from treeline.core.errors import StateConflictError, UsageError
from treeline.core.times import iso, parse_iso

_UNCHANGED = "retired_at = :before AND attribute_not_exists(back_at)"
_IN_SERVICE = "attribute_not_exists(retired_at) OR attribute_exists(back_at)"


class GroupRetirements:
    """The retirements of one group's servers, as detect reads them."""

    def __init__(self, dynamodb: DynamoDBClient, controls_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = controls_table

    def of(self, group: int) -> Sequence[Retirement]:
        """The last one of each server that was ever retired."""
        items = items_of(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": _kind(group)}},
            ConsistentRead=True,
        )
        return [
            Retirement(
                server_id=item["id"],
                group=group,
                reason=item["reason"],
                by=item["by"],
                retired_ms=parse_iso(item["created_at"]),
            )
            for item in map(values_of, items)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """What the tables say of a server."""

    server_id: str
    number: int
    group: int
    received_ms: int  # of what came last of it
    counted: Retirement | None  # the retirement by which the table's counter counts it as retired
    is_retired: bool  # nothing was received after that retirement


@dataclass(frozen=True, slots=True)
class RetiredServers:
    """The servers table as retiring reads and writes it."""

    dynamodb: DynamoDBClient
    _: KW_ONLY
    servers_table: str
    controls_table: str
    observations_table: str

    def find(self, server_id: str) -> ServiceRecord:
        """A server's record; raises UsageError where the stage knows no server of that name."""
        found = self.dynamodb.get_item(TableName=self.servers_table, Key=_key(server_id), ConsistentRead=True)
        server = values_of(found.get("Item", {}))
        if "group" not in server:
            raise UsageError(f"the stage knows no server {server_id!r}")
        counted = None
        if "retired_at" in server and "back_at" not in server:
            counted = Retirement(
                server_id=server_id,
                group=server["group"],
                reason=server["retired_reason"],
                by=server["retired_by"],
                retired_ms=parse_iso(server["retired_at"]),
            )
        received_ms = max(parse_iso(server["last_received_at"]), self._last_received_ms(server_id))
        return ServiceRecord(
            server_id=server_id,
            number=server["number"],
            group=server["group"],
            received_ms=received_ms,
            counted=counted,
            is_retired=counted is not None and received_ms <= counted.retired_ms,
        )

    def put(self, retirement: Retirement, *, before: ServiceRecord) -> None:
        """Record a retirement, whole or not at all.

        Args:
            retirement: The new one.
            before: What `find` said.

        Raises:
            StateConflictError: The server's record has changed since, and nothing was written.
        """
        item = item_of(
            {
                "kind": _kind(retirement.group),
                "id": retirement.server_id,
                "reason": retirement.reason,
                "by": retirement.by,
                "created_at": iso(retirement.retired_ms),
            }
        )
        writes: list[Any] = [self._entry(retirement, before), {"Put": {"TableName": self.controls_table, "Item": item}}]
        if before.counted is None:
            writes.append({"Update": count_retired(self.servers_table, 1)})
        try:
            self.dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            if error_code(error) == "TransactionCanceledException":
                raise StateConflictError(
                    f"server {retirement.server_id} was retired by somebody else, or came back, meanwhile: look again"
                ) from error
            raise

    def _entry(self, retirement: Retirement, before: ServiceRecord) -> dict[str, Any]:
        values: dict[str, Any] = {
            ":at": {"S": iso(retirement.retired_ms)},
            ":by": {"S": retirement.by},
            ":reason": {"S": retirement.reason},
        }
        condition = _IN_SERVICE
        if before.counted is not None:
            condition, values[":before"] = _UNCHANGED, {"S": iso(before.counted.retired_ms)}
        return {
            "Update": {
                "TableName": self.servers_table,
                "Key": _key(retirement.server_id),
                "UpdateExpression": "SET retired_at = :at, retired_by = :by, retired_reason = :reason REMOVE back_at",
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
            }
        }

    def _last_received_ms(self, server_id: str) -> int:
        """Receipt of the newest stored observation, 0 where none is stored: the servers table may be minutes behind."""
        newest = self.dynamodb.query(
            TableName=self.observations_table,
            KeyConditionExpression="server_id = :server",
            ExpressionAttributeValues={":server": {"S": server_id}},
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=1,
        )["Items"]
        return parse_iso(newest[0]["received_at"]["S"]) if newest else 0


def _kind(group: int) -> str:
    return f"retirement#{group}"


def _key(server_id: str) -> dict[str, Any]:
    return {"server_id": {"S": server_id}}
