"""detect: the active model's use case, the canary beside it, and the batches of ticks that drive both."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.alert.muting import Muting, Paging
from treeline.app.alert.writer import AlertWriter
from treeline.app.detect.batch import TickBatch
from treeline.app.detect.handover import HandoverRecords
from treeline.app.detect.ports import Scorer
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.app.detect.service import DetectService
from treeline.app.detect.zones import ServerZones
from treeline.app.metrics import OwnMetric
from treeline.app.promote.canary import Canary
from treeline.app.promote.candidate_run import CandidateRun, MeasuredScorer, WatchedDetect
from treeline.app.telemetry import Telemetry
from treeline.aws.alert.controls import ControlTable, ServerLabelTable
from treeline.aws.alert.topic import AlertTopic
from treeline.aws.client_types import S3Client
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.embedded import EmbeddedScorer
from treeline.aws.detect.endpoint import Endpoint
from treeline.aws.detect.group_observations import GroupObservations
from treeline.aws.detect.incidents import IncidentTable
from treeline.aws.detect.models import ModelStore
from treeline.aws.detect.retirements import GroupRetirements
from treeline.aws.detect.score_table import ScoreTable
from treeline.aws.detect.table_blocks import TableBlocks
from treeline.aws.observability import EmfTelemetry
from treeline.aws.promote.candidate_decisions import CandidateDecisions
from treeline.aws.sqs import SqsMessageDelay
from treeline.core.errors import SettingsError
from treeline.settings.pipeline import DetectSettings
from treeline.wiring.clients import now_ms, patience
from treeline.wiring.forests import embedded_forests

# The scorer answers in milliseconds; a tick that hangs longer is better redone than waited for.
_RUNTIME = patience(read_s=5, attempts=2)
_TOPIC = patience(read_s=5, attempts=2)
_TABLE = patience(read_s=10, attempts=4)
_ADAPTER_ERRORS = (ClientError, BotoCoreError)


@cache
def wired() -> tuple[TickBatch, EmfTelemetry]:
    """What works through ticks, by the environment's settings."""
    settings = DetectSettings.from_env(os.environ)
    telemetry = EmfTelemetry("detect", settings.stage)

    def not_delayed(error: Exception) -> None:
        telemetry.logger.warning("tick not put off", error_type=type(error).__name__, error=str(error))

    batch = TickBatch(
        service=detect_service(settings, telemetry),
        queue=SqsMessageDelay(boto3.client("sqs"), queue_url=settings.tick_queue_url, on_failure=not_delayed),
        telemetry=telemetry,
        retry_s=settings.endpoint_retry_s,
        random=random.random,
        adapter_errors=_ADAPTER_ERRORS,
    )
    return batch, telemetry


# long: a list of what detect is made of
def detect_service(settings: DetectSettings, telemetry: Telemetry) -> WatchedDetect:
    """The active model's use case with the canary's after it."""
    dynamodb = boto3.client("dynamodb", config=_TABLE)
    s3 = boto3.client("s3")
    models = ModelStore(
        dynamodb,
        s3,
        controls_table=settings.controls_table,
        bucket=settings.models_bucket,
        metrics=settings.metric_names,
        reads_whole=False,
    )

    def no_zone(server_id: str, name: str) -> None:
        telemetry.logger.warning("a server's time zone is not known", host_id=server_id, timezone=name)

    records = DetectorRecords(dynamodb, settings.state_table, clock_ms=now_ms, writes=True)
    scores = ScoreTable(dynamodb, settings.scores_table, ttl_s=settings.score_ttl_s)
    scorers = _embedded_scorers(s3, models) if settings.is_embedded else _endpoint_scorers(settings, models)
    scorer = MeasuredScorer(scorers.champion)
    champion = DetectService(
        observations=GroupObservations(boto3.client("dynamodb", config=_TABLE), settings.observations_table),
        records=HandoverRecords(records=records, scores=scores, models=models, clock_ms=now_ms),
        tables=SeasonBlocks(TableBlocks(dynamodb, settings.state_table, clock_ms=now_ms)),
        scores=scores,
        incidents=IncidentTable(dynamodb, settings.incidents_table),
        publisher=AlertTopic(boto3.client("sns", config=_TOPIC), settings.alerts_topic_arn, stage=settings.stage),
        scorer=scorer,
        models=models,
        alerts=AlertWriter(
            identity=_identity(settings),
            declared={metric.name: metric for metric in settings.metrics},
            runbook_url=settings.runbook_url,
            dashboard_url=settings.dashboard_url,
        ),
        policy=settings.policy,
        clock_ms=now_ms,
        late_window_ms=settings.late_window_s * 1000,
        wait_ms=round(settings.watermark_wait_s * 1000),
        silent_after_ms=settings.silent_after_s * 1000,
        muting=Muting(
            paging=Paging(settings.paging),
            controls=ControlTable(dynamodb, settings.mutes_table or settings.controls_table),
            labels=ServerLabelTable(dynamodb, settings.servers_table),
        ),
        zones=ServerZones(
            default=settings.timezone,
            labels=ServerLabelTable(dynamodb, settings.servers_table),
            clock_ms=now_ms,
            on_unknown=no_zone,
        ),
        retirements=GroupRetirements(dynamodb, settings.controls_table).of,
        override=lambda: models.override,
    )

    def on_candidate_error(error: Exception) -> None:
        telemetry.logger.warning("candidate failed", error=str(error), error_type=type(error).__name__)
        telemetry.add(OwnMetric.CandidateFailures)

    canary = CandidateRun(
        champion=champion,
        models=models,
        records=records,
        scorer_of=scorers.candidate,
        champion_calls=scorer.take,
        decisions=CandidateDecisions(dynamodb, settings.rollups_table),
        on_error=on_candidate_error,
        adapter_errors=_ADAPTER_ERRORS,
    )
    return WatchedDetect(champion, canary)


@dataclass(frozen=True, slots=True)
class _Scorers:
    champion: Scorer
    candidate: Callable[[Canary], Scorer]


def _endpoint_scorers(settings: DetectSettings, models: ModelStore) -> _Scorers:
    runtime, name = boto3.client("sagemaker-runtime", config=_RUNTIME), settings.endpoint_name
    return _Scorers(
        Endpoint(runtime, name, variant=lambda: models.pointer.target_variant if models.pointer else None),
        lambda canary: Endpoint(runtime, name, variant=lambda: canary.target_variant),
    )


def _embedded_scorers(s3: S3Client, models: ModelStore) -> _Scorers:
    forests = embedded_forests(s3)
    return _Scorers(
        EmbeddedScorer(forests, lambda: models.pointer.model_data_url if models.pointer else ""),
        lambda canary: EmbeddedScorer(forests, lambda: canary.model_data_url),
    )


def _identity(settings: DetectSettings) -> str:
    """account/region/stage: what makes an incident's key unique across deployments."""
    parts = settings.alerts_topic_arn.split(":")
    if len(parts) < 6:
        raise SettingsError(f"ALERTS_TOPIC_ARN must be an SNS topic's ARN, got {settings.alerts_topic_arn!r}")
    _, _, _, region, account, _ = parts[:6]
    return f"{account}/{region}/{settings.stage}"
