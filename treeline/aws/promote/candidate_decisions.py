"""What a candidate decided and how its calls went, in the rollups table: for the judge, never published."""

import json
import math
from collections import Counter
from typing import Any

from treeline.app.promote.canary import Side
from treeline.app.promote.candidate_run import Calls
from treeline.app.promote.ports import CallTotals
from treeline.aws.client_types import DynamoDBClient
from treeline.core.alert import Alert, AlertEvent

_BIN_WIDTH = 1.1  # of the latency histogram: within 5 % of the true quantile
_TOTALS = "totals"


class CandidateDecisions:
    """Incident changes and call counts of candidates; scopes `shadow#<model version>` and `canary#<model version>`."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def record(self, model_version: str, alert: Alert) -> None:
        """Keep one incident change; its key makes a repetition the same item."""
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                "scope": {"S": f"shadow#{model_version}"},
                "hour": {"S": f"{alert.clocks.observed_at}#{alert.incident_id}#{alert.sequence:04d}"},
                "event": {"S": alert.event.value},
                "server_id": {"S": alert.server_id},
                "alert": {"S": json.dumps(alert.to_json())},
            },
        )

    def pages(self, model_version: str, start: str, end: str) -> int:
        """Incidents the candidate opened with the deciding observation in [start, end), ISO times."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope AND #hour BETWEEN :start AND :end",
            FilterExpression="#event = :opened",
            ExpressionAttributeNames={"#scope": "scope", "#hour": "hour", "#event": "event"},
            ExpressionAttributeValues={
                ":scope": {"S": f"shadow#{model_version}"},
                ":start": {"S": start},
                ":end": {"S": end},
                ":opened": {"S": AlertEvent.OPENED.value},
            },
            Select="COUNT",
        )
        return sum(page["Count"] for page in pages)

    def add_calls(self, model_version: str, role: Side, calls: Calls) -> None:
        """Add to the totals; a repeated tick adds again, as its calls were made again."""
        if not calls.count:
            return
        added = Counter({f"{role}_errors": calls.errors, f"{role}_calls": calls.count})
        for duration_ms in calls.durations_ms:
            added[f"{role}_ms_{_bin(duration_ms)}"] += 1
        names = {f"#n{i}": name for i, name in enumerate(sorted(added))}
        self._dynamodb.update_item(
            TableName=self._table,
            Key={"scope": {"S": f"canary#{model_version}"}, "hour": {"S": _TOTALS}},
            UpdateExpression="ADD " + ", ".join(f"{n} :{n[1:]}" for n in names),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={f":{n[1:]}": {"N": str(added[name])} for n, name in names.items()},
        )

    def totals(self, model_version: str, role: Side) -> CallTotals:
        """All calls so far."""
        item: dict[str, Any] = self._dynamodb.get_item(
            TableName=self._table,
            Key={"scope": {"S": f"canary#{model_version}"}, "hour": {"S": _TOTALS}},
            ConsistentRead=True,
        ).get("Item", {})
        prefix = f"{role}_ms_"
        return CallTotals(
            calls=_number(item, f"{role}_calls"),
            errors=_number(item, f"{role}_errors"),
            durations={
                _BIN_WIDTH ** int(name.removeprefix(prefix)): int(value["N"])
                for name, value in item.items()
                if name.startswith(prefix)
            },
        )


def _bin(duration_ms: float) -> int:
    return max(0, math.ceil(math.log(max(duration_ms, 1.0)) / math.log(_BIN_WIDTH)))


def _number(item: dict[str, Any], name: str) -> int:
    return int(item[name]["N"]) if name in item else 0
