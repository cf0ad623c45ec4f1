"""The incidents table: one row an incident, to whose history each event is appended.

Several groups see an incident that their servers share. Each of its events is published by one group only: the first
one to see the incident opens it, the last one to see its end resolves it.
"""

import json
from dataclasses import dataclass
from typing import Any

from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import write_conditionally
from treeline.core.alert import Alert, AlertEvent
from treeline.core.detection.policy import FLEET
from treeline.core.errors import PublishError

_SHARED_ATTEMPTS = 10  # of a write that other groups got ahead of


class IncidentTable:
    """Enters alerts in incident rows; an alert that comes again changes nothing."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def apply(self, alert: Alert) -> bool:
        """Enter one alert. Returns whether this group is to publish it.

        True for a repeated alert too: it may come again because publishing it failed.
        """
        if alert.server_id == FLEET:
            return self._apply_shared(alert)
        write_conditionally(
            self._dynamodb.update_item,
            TableName=self._table,
            Key={"incident_id": {"S": alert.incident_id}},
            UpdateExpression=_FOLD,
            ConditionExpression="attribute_not_exists(#sequence) OR #sequence < :sequence",
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues=_values(alert),
        )
        return True

    def _apply_shared(self, alert: Alert) -> bool:
        """Enter one group's event of a shared incident, where it is that group's to publish.

        The write that enters an event also names its group as the one that publishes (`tellers`). So if a worker dies
        before publishing, its group still publishes the event, and no other does.
        """
        group = alert.labels["group"]
        event = f"{group}/{alert.event.value}/{alert.clocks.observed_at}"
        # Published late, because a mute ended.
        is_late = alert.step > 1 and alert.event is AlertEvent.OPENED and not alert.suppressed
        if is_late:
            event = f"{group}/late"
        for _ in range(_SHARED_ATTEMPTS):
            row = self._read(alert.incident_id)
            if event in row.tellers:
                return True
            if is_late:
                tells, open_groups = not any(t.endswith("/late") for t in row.tellers), row.open_groups
            elif alert.event is AlertEvent.RESOLVED:
                if group not in row.open_groups:
                    return False
                tells, open_groups = row.open_groups == {group}, row.open_groups - {group}
            else:
                if group in row.open_groups:
                    return False
                tells, open_groups = not row.open_groups, row.open_groups | {group}
            if self._write(alert, row, open_groups, event if tells else None):
                return tells
        raise PublishError(f"incident {alert.incident_id}: other groups kept writing to it")

    def _read(self, incident_id: str) -> "_SharedRow":
        """Read the row consistently. An update that adds 0 returns it, so detect needs no permission to read."""
        row = self._dynamodb.update_item(
            TableName=self._table,
            Key={"incident_id": {"S": incident_id}},
            UpdateExpression="ADD revision :nothing",
            ExpressionAttributeValues={":nothing": {"N": "0"}},
            ReturnValues="ALL_NEW",
        )["Attributes"]
        return _SharedRow(
            revision=int(row["revision"]["N"]),
            open_groups=frozenset(row.get("open_groups", {}).get("SS", [])),
            tellers=frozenset(row.get("tellers", {}).get("SS", [])),
        )

    def _write(self, alert: Alert, row: "_SharedRow", open_groups: frozenset[str], teller: str | None) -> bool:
        """Write which groups see the incident, and the event if published; False if another group wrote meanwhile."""
        sets, removes, names = ["revision = :next"], "", {}
        values: dict[str, Any] = {":revision": {"N": str(row.revision)}, ":next": {"N": str(row.revision + 1)}}
        if open_groups:
            sets.append("open_groups = :groups")
            values[":groups"] = {"SS": sorted(open_groups)}
        else:
            removes = " REMOVE open_groups"
        if teller is not None:
            sets += [_FOLD.removeprefix("SET "), "tellers = :tellers"]
            names = _NAMES
            values |= {**_values(alert), ":tellers": {"SS": sorted(row.tellers | {teller})}}
        return write_conditionally(
            self._dynamodb.update_item,
            TableName=self._table,
            Key={"incident_id": {"S": alert.incident_id}},
            UpdateExpression=f"SET {', '.join(sets)}{removes}",
            ConditionExpression="revision = :revision",
            ExpressionAttributeValues=values,
            **({"ExpressionAttributeNames": names} if names else {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharedRow:
    """What decides who publishes: the groups that see the incident, and the group chosen for each event."""

    revision: int
    open_groups: frozenset[str]
    tellers: frozenset[str]


_NAMES = {"#state": "state", "#sequence": "sequence"}
_FOLD = (
    "SET #state = :state, #sequence = :sequence, server_id = :server_id, opened_at = :opened_at, "
    "priority = :priority, severity = :severity, model_version = :model_version, updated_at = :observed_at, "
    "paging = :paging, "
    "history = list_append(if_not_exists(history, :none), :event)"
)


def _values(alert: Alert) -> dict[str, Any]:
    return {
        ":state": {"S": "resolved" if alert.event is AlertEvent.RESOLVED else "open"},
        ":sequence": {"N": str(alert.step or alert.sequence)},
        ":paging": {"S": "muted" if alert.event is AlertEvent.SUPPRESSED else alert.suppressed or "people"},
        ":server_id": {"S": alert.server_id},
        ":opened_at": {"S": alert.incident_id.rpartition("/")[2]},
        ":priority": {"S": alert.priority.value},
        ":severity": {"N": f"{alert.severity:.6g}"},
        ":model_version": {"S": alert.model_version},
        ":observed_at": {"S": alert.clocks.observed_at},
        ":none": {"L": []},
        ":event": {"L": [{"S": json.dumps(alert.to_json())}]},
    }
