"""dispatch: the count of servers, and the queue of ticks."""

import os
from functools import cache, partial

import boto3

from treeline.app.detect.dispatch import DispatchService
from treeline.aws.detect.ticks import SqsTickQueue
from treeline.aws.ingest.servers import fleet_size
from treeline.aws.observability import EmfTelemetry
from treeline.settings.pipeline import DispatchSettings


@cache
def wired() -> tuple[DispatchService, EmfTelemetry]:
    """What sends heartbeats, by the environment's settings."""
    settings = DispatchSettings.from_env(os.environ)
    telemetry = EmfTelemetry("dispatch", settings.stage)
    service = DispatchService(
        servers=partial(fleet_size, boto3.client("dynamodb"), settings.servers_table),
        ticks=SqsTickQueue(
            boto3.client("sqs"),
            queue_url=settings.tick_queue_url,
            on_failure=lambda error: telemetry.logger.warning("tick not sent", error=error),
        ),
        group_size=settings.group_size,
        second_tick_delay_s=settings.second_tick_delay_s,
    )
    return service, telemetry
