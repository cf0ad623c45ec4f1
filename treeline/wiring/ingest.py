"""ingest: from the stream to the tables, the quarantine and the queue of ticks."""

import os
import random
import time
from functools import cache

import boto3
from botocore.config import Config

from treeline.app.ingest.service import IngestService
from treeline.aws.detect.ticks import SqsTickQueue
from treeline.aws.ingest.observations import DynamoObservationStore
from treeline.aws.ingest.quarantine import S3Quarantine
from treeline.aws.ingest.servers import DynamoServerRegistry
from treeline.aws.observability import EmfTelemetry
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


@cache
def wired() -> tuple[IngestService, EmfTelemetry]:
    """What takes in batches of the stream, by the environment's settings."""
    settings = IngestSettings.from_env(os.environ)
    telemetry = EmfTelemetry("ingest", settings.stage)
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
    return service, telemetry
