"""Puts together what the functions around the models share: stores, tables, announcements, the event's clock."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import urllib3

from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.models import ModelStore
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.ingest.servers import DynamoServerCount
from treeline.aws.learn.rollups import DetectionHistory, RollupTable
from treeline.aws.observability import Telemetry
from treeline.aws.promote.canary_evidence import CanaryEvidence
from treeline.aws.promote.candidate_decisions import CandidateDecisions
from treeline.aws.promote.changes import ModelChanges
from treeline.core.times import parse_iso
from treeline.receivers.pagerduty.changes import PagerDutyChanges
from treeline.receivers.pagerduty.client import SecretsManagerRoutingKey
from treeline.settings.promotion import ChangeSettings, ModelTablesSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient


def now_of(event: Mapping[str, object]) -> int:
    """The moment an invocation is about, milliseconds: `now` or EventBridge's `time`, else this moment."""
    moment = event.get("now") or event.get("time")
    return parse_iso(str(moment)) if moment else _wall_clock_ms()


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class ModelTables:
    """The stores and tables of one deployment."""

    def __init__(self, dynamodb: "DynamoDBClient", s3: "S3Client", settings: ModelTablesSettings) -> None:
        self._dynamodb = dynamodb
        self._settings = settings
        self.models = ModelStore(
            dynamodb,
            s3,
            controls_table=settings.controls_table,
            bucket=settings.models_bucket,
            metrics=settings.metric_names,
        )
        self.records = DetectorRecords(dynamodb, settings.state_table, clock_ms=_wall_clock_ms)
        self.blocks = ScoreBlocks(dynamodb, settings.scores_table)
        self.rollups = RollupTable(dynamodb, table=settings.rollups_table, controls_table=settings.controls_table)
        self._servers = DynamoServerCount(dynamodb, table=settings.servers_table)

    def groups(self) -> int:
        """How many groups of servers there are."""
        return -(-self._servers.server_count() // self._settings.group_size)

    def history(self) -> DetectionHistory:
        """What detection left behind."""
        return DetectionHistory(
            self._dynamodb,
            blocks=self.blocks,
            records=self.records,
            incidents_table=self._settings.incidents_table,
            controls_table=self._settings.controls_table,
            groups=self.groups,
        )

    def evidence(self) -> CanaryEvidence:
        """What a canary is judged by."""
        return CanaryEvidence(
            self._dynamodb,
            records=self.records,
            blocks=self.blocks,
            decisions=CandidateDecisions(self._dynamodb, self._settings.rollups_table),
            incidents_table=self._settings.incidents_table,
            groups=self.groups,
            active_version=self._active_version,
        )

    def _active_version(self) -> str | None:
        pointer = self.models.pointer or self.models.read()
        return None if pointer is None else pointer.model_version


def announcer(
    settings: ChangeSettings,
    *,
    sns: "SNSClient",
    secrets: "SecretsManagerClient",
    stage: str,
    clock_ms: Callable[[], int],
    telemetry: Telemetry,
) -> ModelChanges:
    """Tells of changes to the models; what cannot be sent is logged and counted."""

    def failed(where: str, why: str) -> None:
        telemetry.logger.error("change not told", where=where, why=why)
        telemetry.count("ChangesNotTold")

    pagerduty = None
    if settings.routing_key_secret_arn:
        pagerduty = PagerDutyChanges(
            urllib3.PoolManager(),
            changes_url=settings.changes_url,
            key_source=SecretsManagerRoutingKey(secrets, secret_arn=settings.routing_key_secret_arn),
        )
    return ModelChanges(
        sns,
        topic_arn=settings.changes_topic_arn,
        pagerduty=pagerduty,
        source=f"treeline-{stage}",
        clock_ms=clock_ms,
        on_failure=failed,
    )
