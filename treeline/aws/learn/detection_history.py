"""What detection left behind, for the hours to be summed up from."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from treeline.app.alert.controls import ControlKind
from treeline.app.detect.ports import Record, Records
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.learn.rollup import FLEET_SCOPE, Maintenance
from treeline.aws.alert.controls import ControlTable
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.core.times import iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


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
