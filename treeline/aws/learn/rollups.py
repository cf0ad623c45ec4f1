"""The rollups table, and the tables its hours are summed up from."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from treeline.app.alert.controls import ControlKind
from treeline.app.detect.ports import Record, Records
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.learn.drift import Retraining
from treeline.app.learn.rollup import FLEET_SCOPE, Maintenance, Rollup
from treeline.app.learn.training_runs import TrainingPipeline, start_training
from treeline.aws.alert.controls import ControlTable
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.retries import error_code
from treeline.core.times import iso, parse_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CURSOR = {"kind": {"S": "rollup"}, "id": {"S": "cursor"}}
_RETRAINING = {"kind": {"S": "retraining"}, "id": {"S": "last"}}


class RollupTable:
    """One item a model and hour; how far the hours are done stands in the controls table."""

    def __init__(self, dynamodb: "DynamoDBClient", *, table: str, controls_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._controls_table = controls_table

    def put(self, rollup: Rollup) -> None:
        """Write one hour; writing it again replaces it, but for levels that only the first run could see."""
        key = {"scope": {"S": f"model#{rollup.model_version}"}, "hour": {"S": iso(rollup.hour)}}
        if not rollup.levels:
            found = self._dynamodb.get_item(TableName=self._table, Key=key).get("Item")
            if found is not None:
                rollup.levels.update(json.loads(found["rollup"]["S"])["levels"])
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                **key,
                "count": {"N": str(rollup.count)},
                "mean": {"N": f"{rollup.mean:.9g}"},
                "variance": {"N": f"{rollup.variance:.9g}"},
                "servers": {"N": str(rollup.servers)},
                "opened": {"N": str(rollup.opened)},
                "rollup": {"S": json.dumps(rollup.to_json())},
            },
        )

    def read(self, model_version: str, start_ms: int, end_ms: int) -> Sequence[Rollup]:
        """A model's hours in [start, end), in order."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope AND #hour BETWEEN :start AND :end",
            ExpressionAttributeNames={"#scope": "scope", "#hour": "hour"},
            ExpressionAttributeValues={
                ":scope": {"S": f"model#{model_version}"},
                ":start": {"S": iso(start_ms)},
                ":end": {"S": iso(end_ms - 1)},
            },
        )
        return [
            Rollup.from_json(model_version, parse_iso(item["hour"]["S"]), json.loads(item["rollup"]["S"]))
            for page in pages
            for item in page["Items"]
        ]

    def rolled_up_to(self) -> int | None:
        """End of the last hour done; None before the first run."""
        item = self._dynamodb.get_item(TableName=self._controls_table, Key=_CURSOR, ConsistentRead=True).get("Item")
        return None if item is None else parse_iso(item["until"]["S"])

    def set_rolled_up_to(self, end_ms: int) -> None:
        """Remember it."""
        self._dynamodb.put_item(TableName=self._controls_table, Item={**_CURSOR, "until": {"S": iso(end_ms)}})


class DetectionHistory:
    """See `treeline.app.learn.rollup.History`."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        *,
        blocks: ScoreBlocks,
        records: Records,
        incidents_table: str,
        controls_table: str,
        groups: Callable[[], int],
    ) -> None:
        self._dynamodb = dynamodb
        self._blocks = blocks
        self._records = records
        self._incidents_table = incidents_table
        self._controls_table = controls_table
        self._groups = groups

    def groups(self) -> int:
        """How many groups of servers there are."""
        return self._groups()

    def blocks(self, group: int, start_ms: int, end_ms: int) -> Iterable[ScoreBlock]:
        """Score blocks with observations in [start, end)."""
        return self._blocks.read(group, start_ms, end_ms)

    def record(self, group: int, model_version: str) -> Record | None:
        """The group's state now."""
        return self._records.load(group, model_version)

    def opened(self, start_ms: int, end_ms: int) -> int:
        """Incidents opened in [start, end)."""
        count = 0
        for state in ("open", "resolved"):
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._incidents_table,
                IndexName="by-state",
                KeyConditionExpression="#state = :state AND opened_at BETWEEN :start AND :end",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":state": {"S": state},
                    ":start": {"S": iso(start_ms)},
                    ":end": {"S": iso(end_ms - 1)},
                },
                Select="COUNT",
            )
            count += sum(page["Count"] for page in pages)
        return count

    def maintenance(self) -> Sequence[Maintenance]:
        """Maintenance windows of servers (by name or pattern) and of the fleet; those by labels are not known here."""
        windows = ControlTable(self._dynamodb, self._controls_table).windows(ControlKind.MAINTENANCE)
        return [
            Maintenance(
                server_id=FLEET_SCOPE if window.scope.fleet else window.scope.server,
                start=window.starts_ms,
                end=window.until_ms,
            )
            for window in windows
            if not window.scope.labels
        ]


class RetrainingTable:
    """The last retraining that drift asked for, in the controls table."""

    def __init__(self, dynamodb: "DynamoDBClient", *, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def last(self) -> Retraining | None:
        """The last one; None before the first."""
        item = self._dynamodb.get_item(TableName=self._table, Key=_RETRAINING, ConsistentRead=True).get("Item")
        return None if item is None else Retraining(at=int(item["at"]["N"]), run_id=item["run_id"]["S"])

    def claim(self, at: int, before: Retraining | None) -> bool:
        """Enter one at `at`, if the last still is `before`; whether that was so."""
        return self._put(Retraining(at=at), expected=before)

    def started(self, at: int, run_id: str) -> None:
        """Note which run it became."""
        self._put(Retraining(at=at, run_id=run_id), expected=Retraining(at=at))

    def withdraw(self, at: int, before: Retraining | None) -> None:
        """Take a claim back whose run could not be started."""
        if before is not None:
            self._put(before, expected=Retraining(at=at))
            return
        self._dynamodb.delete_item(TableName=self._table, Key=_RETRAINING)

    def _put(self, retraining: Retraining, *, expected: Retraining | None) -> bool:
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(kind)"}
        if expected is not None:
            condition = {
                "ConditionExpression": "#at = :before",
                "ExpressionAttributeNames": {"#at": "at"},
                "ExpressionAttributeValues": {":before": {"N": str(expected.at)}},
            }
        item = {**_RETRAINING, "at": {"N": str(retraining.at)}, "run_id": {"S": retraining.run_id}}
        try:
            self._dynamodb.put_item(TableName=self._table, Item=item, **condition)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True


class PipelineTraining:
    """The training pipeline as drift sees it."""

    def __init__(self, pipeline: TrainingPipeline) -> None:
        self._pipeline = pipeline

    def is_running(self) -> bool:
        """Whether a run is under way."""
        return bool(self._pipeline.active())

    def start(self, reason: str, at: int) -> str:
        """Start a run that may learn up to `at`; where one is under way, that is the one."""
        return start_training(self._pipeline, reason=reason, window_end_ms=at, request_id=f"drift-{iso(at)}").run_id
