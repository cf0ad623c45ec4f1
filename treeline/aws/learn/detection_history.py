"""What detection left behind, for the hours to be summed up from."""

from collections.abc import Callable, Iterable, Sequence

from treeline.app.alert.controls import Control, ControlKind
from treeline.app.detect.ports import Record, Records
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.alert.controls import ControlTable
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.incident_index import opened_between


class DetectionHistory:
    """See `treeline.app.learn.rollup.History`."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
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
        return sum(1 for _ in opened_between(self._dynamodb, self._incidents_table, start_ms, end_ms))

    def maintenance(self) -> Sequence[Control]:
        """All maintenance windows there are."""
        return ControlTable(self._dynamodb, self._controls_table).windows(ControlKind.MAINTENANCE)
