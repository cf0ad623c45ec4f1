"""The incidents table: one row an incident, its history appended event by event."""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from treeline.core.alert import Alert, AlertEvent
from treeline.core.policy import FLEET

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class IncidentTable:
    """Folds alerts into incident rows; an alert that comes again changes nothing."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def apply(self, alert: Alert) -> bool:
        """Fold one alert in; False for a shared incident's event that people have been told already.

        A repeated alert answers True: it may be repeated because telling it failed.
        """
        if alert.server_id == FLEET:
            return self._apply_shared(alert)
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"incident_id": {"S": alert.incident_id}},
                UpdateExpression=_FOLD,
                ConditionExpression="attribute_not_exists(#sequence) OR #sequence < :sequence",
                ExpressionAttributeNames=_NAMES,
                ExpressionAttributeValues=_values(alert),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
        return True

    def _apply_shared(self, alert: Alert) -> bool:
        """An incident several groups see: told by the first to see it, resolved by the last to see it end."""
        resolved = alert.event is AlertEvent.RESOLVED
        group = alert.labels["group"]
        before = self._dynamodb.update_item(
            TableName=self._table,
            Key={"incident_id": {"S": alert.incident_id}},
            UpdateExpression=("DELETE" if resolved else "ADD") + " open_groups :group",
            ExpressionAttributeValues={":group": {"SS": [group]}},
            ReturnValues="ALL_OLD",
        ).get("Attributes", {})
        others = set(before.get("open_groups", {}).get("SS", [])) - {group}
        if others:
            return False
        self._dynamodb.update_item(
            TableName=self._table,
            Key={"incident_id": {"S": alert.incident_id}},
            UpdateExpression=_FOLD,
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues=_values(alert),
        )
        return True


_NAMES = {"#state": "state", "#sequence": "sequence"}
_FOLD = (
    "SET #state = :state, #sequence = :sequence, server_id = :server_id, opened_at = :opened_at, "
    "priority = :priority, severity = :severity, model_version = :model_version, updated_at = :observed_at, "
    "history = list_append(if_not_exists(history, :none), :event)"
)


def _values(alert: Alert) -> dict[str, Any]:
    return {
        ":state": {"S": "resolved" if alert.event is AlertEvent.RESOLVED else "open"},
        ":sequence": {"N": str(alert.sequence)},
        ":server_id": {"S": alert.server_id},
        ":opened_at": {"S": alert.incident_id.rpartition("/")[2]},
        ":priority": {"S": alert.priority.value},
        ":severity": {"N": f"{alert.severity:.6g}"},
        ":model_version": {"S": alert.model_version},
        ":observed_at": {"S": alert.clocks.observed_at},
        ":none": {"L": []},
        ":event": {"L": [{"S": json.dumps(alert.to_json())}]},
    }
