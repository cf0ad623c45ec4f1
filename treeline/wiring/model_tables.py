"""What the functions around the models share: the stores and tables of one deployment."""

from treeline.aws.client_types import DynamoDBClient, S3Client
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.models import ModelStore
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.ingest.servers import server_count
from treeline.aws.learn.detection_history import DetectionHistory
from treeline.aws.learn.rollups import RollupTable
from treeline.aws.promote.canary_evidence import CanaryEvidence
from treeline.aws.promote.candidate_decisions import CandidateDecisions
from treeline.settings.promotion import ModelTablesSettings
from treeline.wiring.clients import now_ms


class ModelTables:
    """The stores and tables of one deployment."""

    def __init__(self, dynamodb: DynamoDBClient, s3: S3Client, settings: ModelTablesSettings) -> None:
        self._dynamodb = dynamodb
        self._settings = settings
        self.models = ModelStore(
            dynamodb,
            s3,
            controls_table=settings.controls_table,
            bucket=settings.models_bucket,
            metrics=settings.metric_names,
        )
        self.records = DetectorRecords(dynamodb, settings.state_table, clock_ms=now_ms)
        self.blocks = ScoreBlocks(dynamodb, settings.scores_table)
        self.rollups = RollupTable(dynamodb, table=settings.rollups_table, controls_table=settings.controls_table)

    def groups(self) -> int:
        """How many groups of servers there are."""
        return -(-server_count(self._dynamodb, self._settings.servers_table) // self._settings.group_size)

    def history(self) -> DetectionHistory:
        """What detection left behind."""
        return DetectionHistory(
            self._dynamodb,
            blocks=self.blocks.read,
            record=self.records.load,
            incidents_table=self._settings.incidents_table,
            mutes_table=self._settings.mutes_table or self._settings.controls_table,
            groups=self.groups,
        )

    def evidence(self) -> CanaryEvidence:
        """What a canary is judged by."""
        return CanaryEvidence(
            self._dynamodb,
            records=self.records,
            scores=self.blocks,
            decisions=CandidateDecisions(self._dynamodb, self._settings.rollups_table),
            incidents_table=self._settings.incidents_table,
            groups=self.groups,
            active_version=self._active_version,
        )

    def _active_version(self) -> str | None:
        pointer = self.models.pointer or self.models.read()
        return None if pointer is None else pointer.model_version
