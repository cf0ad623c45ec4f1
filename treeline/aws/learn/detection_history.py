"""What detection left behind, for the hours to be summed up from."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass

from treeline.app.alert.controls import Control, ControlKind
from treeline.app.detect.ports import Record
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.alert.controls import ControlTable
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.incident_index import opened_between


@dataclass(frozen=True, slots=True)
class DetectionHistory:
    """See `treeline.app.learn.rollup.PastDecisions`."""

    dynamodb: DynamoDBClient
    _: KW_ONLY
    groups: Callable[[], int]
    blocks: Callable[[int, int, int], Iterable[ScoreBlock]]
    record: Callable[[int, str], Record | None]
    incidents_table: str
    mutes_table: str

    def opened(self, start_ms: int, end_ms: int) -> int:
        """Incidents opened in [start, end)."""
        return sum(1 for _ in opened_between(self.dynamodb, self.incidents_table, start_ms, end_ms))

    def maintenance(self) -> Sequence[Control]:
        """All maintenance windows there are."""
        return ControlTable(self.dynamodb, self.mutes_table).windows(ControlKind.MAINTENANCE)
