"""The controls table as people use it: mutes, maintenance windows and labels; and servers' labels.

Item of a mute or window: kind `mute` or `maintenance`, id; `scope` (server, labels, fleet), `server_id`, `labels`,
`starts_at`, `until` (ISO event times), `reason`, `by`, `created_at`.
Item of a label: kind `label`, id the incident's; `server_id`, `is_incident` (BOOL), `start`, `end` (ISO event times,
inclusive), `by`, `note`, `created_at`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from treeline.app.alert.controls import Control, ControlKind, IncidentLabel, Scope
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import item_of, items_of, values_of
from treeline.core.times import parse_iso

WINDOWS = (ControlKind.MUTE, ControlKind.MAINTENANCE)


class ControlTable:
    """Mutes, maintenance windows and labels."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def in_force(self) -> Sequence[Control]:
        """Every mute and maintenance window, over or not."""
        return [control for kind in WINDOWS for control in self.windows(kind)]

    def windows(self, kind: ControlKind) -> list[Control]:
        """All of one kind, in order of their start."""
        found = [_control(kind, values_of(item)) for item in self._items(kind)]
        return sorted(found, key=lambda control: (control.starts_ms, control.id))

    def labels(self) -> dict[str, IncidentLabel]:
        """Incident -> what people say it was."""
        found = (_label(values_of(item)) for item in self._items(ControlKind.LABEL))
        return {label.incident_id: label for label in found}

    def put(self, entry: Control | IncidentLabel) -> None:
        """Store one; the same id again replaces it."""
        self._dynamodb.put_item(TableName=self._table, Item=item_of(entry.to_json()))

    def remove(self, kind: ControlKind, id_: str) -> bool:
        """Take one away; False where there was none."""
        gone = self._dynamodb.delete_item(
            TableName=self._table, Key={"kind": {"S": kind.value}, "id": {"S": id_}}, ReturnValues="ALL_OLD"
        )
        return bool(gone.get("Attributes"))

    def _items(self, kind: ControlKind) -> Iterator[dict[str, Any]]:
        return items_of(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": kind.value}},
            ConsistentRead=True,
        )


class ServerLabelTable:
    """Labels of servers, from the servers table."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def of(self, server_id: str) -> Mapping[str, str]:
        """A server's labels; empty where it has none or is not known."""
        item = self._dynamodb.get_item(TableName=self._table, Key={"server_id": {"S": server_id}}).get("Item", {})
        labels: Mapping[str, str] = values_of(item).get("labels", {})
        return labels


def _control(kind: ControlKind, item: Mapping[str, Any]) -> Control:
    return Control(
        kind=kind,
        id=item["id"],
        scope=Scope(server=item["server_id"], labels=item["labels"], fleet=item["scope"] == "fleet"),
        starts_ms=parse_iso(item["starts_at"]),
        until_ms=parse_iso(item["until"]),
        reason=item["reason"],
        by=item["by"],
        created_ms=parse_iso(item["created_at"]),
    )


def _label(item: Mapping[str, Any]) -> IncidentLabel:
    return IncidentLabel(
        incident_id=item["id"],
        server_id=item["server_id"],
        is_incident=item["is_incident"],
        start_ms=parse_iso(item["start"]),
        end_ms=parse_iso(item["end"]),
        by=item["by"],
        created_ms=parse_iso(item["created_at"]),
        note=item["note"],
    )
