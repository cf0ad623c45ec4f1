"""Kinesis batch in, observations, quarantine and ticks out; a failed write is resumed by sequence number."""

import os
import random
import time
from dataclasses import dataclass
from functools import cache

import boto3
from botocore.config import Config

from treeline.app.ingest.service import IngestOutcome, IngestService
from treeline.aws.detect.ticks import SqsTickQueue
from treeline.aws.ingest import kinesis
from treeline.aws.ingest.observations import DynamoObservationStore
from treeline.aws.ingest.quarantine import S3Quarantine
from treeline.aws.ingest.servers import DynamoServerRegistry
from treeline.aws.observability import Telemetry
from treeline.settings.pipeline import IngestSettings
from treeline.sources.treeline_json import ObservationDecoder

_THREADS = 4
# Parameters are not validated again: the items are made by our own code, and checking 19,000 attributes of a batch
# takes longer than writing them.
_DYNAMODB = Config(
    max_pool_connections=2 * _THREADS,
    parameter_validation=False,
    connect_timeout=2,
    read_timeout=4,  # DynamoDB answers in milliseconds; an answer that is lost should not cost the whole minute
    retries={"mode": "standard", "total_max_attempts": 2},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: IngestService
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = IngestSettings.from_env(os.environ)
    telemetry = Telemetry("ingest", settings.stage)
    log = telemetry.logger
    dynamodb = boto3.client("dynamodb", config=_DYNAMODB)

    def unseen(error: Exception) -> None:
        log.warning("last_seen not written", error_type=type(error).__name__, error=str(error))

    service = IngestService(
        decoder=ObservationDecoder(
            settings.metrics,
            max_future_ms=None if settings.max_future_s is None else settings.max_future_s * 1000,
            max_age_ms=None if settings.max_age_s is None else settings.max_age_s * 1000,
        ),
        registry=DynamoServerRegistry(
            dynamodb,
            table=settings.servers_table,
            group_size=settings.group_size,
            threads=_THREADS,
            sleep=time.sleep,
            random=random.random,
            on_unseen=unseen,
        ),
        store=DynamoObservationStore(
            dynamodb,
            table=settings.observations_table,
            ttl_s=settings.observation_ttl_s,
            threads=_THREADS,
            sleep=time.sleep,
            random=random.random,
        ),
        quarantine=S3Quarantine(boto3.client("s3"), bucket=settings.quarantine_bucket),
        ticks=SqsTickQueue(
            boto3.client("sqs"),
            queue_url=settings.tick_queue_url,
            on_failure=lambda error: log.warning("tick not sent", error=error),
        ),
        group_size=settings.group_size,
    )
    return _App(service=service, telemetry=telemetry)


def _report(telemetry: Telemetry, outcome: IngestOutcome, batch_size: int) -> None:
    telemetry.count("RecordsReceived", outcome.records)
    telemetry.count("ObservationsReceived", outcome.received)
    telemetry.count("ObservationsStored", outcome.stored)
    telemetry.count("ObservationsRepeated", outcome.duplicates)
    telemetry.count("RecordsQuarantined", outcome.quarantined.total())
    telemetry.count_by("RecordsQuarantined", "reason", {r.value: n for r, n in outcome.quarantined.items()})
    telemetry.count("RecordsToRetry", batch_size - outcome.records)
    telemetry.count("ServersRegistered", outcome.new_servers)
    telemetry.count("TicksSent", outcome.ticks_sent)
    telemetry.count("TicksFailed", outcome.ticks_failed)
    telemetry.logger.info(
        "batch ingested",
        batch_size=batch_size,
        received=outcome.received,
        stored=outcome.stored,
        repeated=outcome.duplicates,
        quarantined={r.value: n for r, n in outcome.quarantined.items()},
        new_servers=outcome.new_servers,
        resume_from=outcome.resume_from,
    )


def handler(event: kinesis.KinesisEvent, context: object) -> kinesis.PartialBatchResponse:
    """Ingest one batch of one shard."""
    app = _app()
    with app.telemetry.invocation(context):
        batch = kinesis.decode_batch(event)
        outcome = app.service.ingest(batch)
        _report(app.telemetry, outcome, len(batch))
        return kinesis.partial_batch_response(outcome.resume_from)
