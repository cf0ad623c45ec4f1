"""Every minute: two ticks for every group."""

import os
from dataclasses import dataclass
from functools import cache

import boto3

from treeline.app.detect.dispatch import DispatchService
from treeline.aws.detect.ticks import SqsTickQueue
from treeline.aws.ingest.servers import DynamoServerCount
from treeline.aws.observability import Telemetry
from treeline.settings.pipeline import DispatchSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: DispatchService
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = DispatchSettings.from_env(os.environ)
    telemetry = Telemetry("dispatch", settings.stage)
    service = DispatchService(
        servers=DynamoServerCount(boto3.client("dynamodb"), table=settings.servers_table),
        ticks=SqsTickQueue(
            boto3.client("sqs"),
            queue_url=settings.tick_queue_url,
            on_failure=lambda error: telemetry.logger.warning("tick not sent", error=error),
        ),
        group_size=settings.group_size,
        second_tick_delay_s=settings.second_tick_delay_s,
    )
    return _App(service=service, telemetry=telemetry)


def handler(event: object, context: object) -> None:
    """Send one heartbeat; the event says only that it is time."""
    app = _app()
    with app.telemetry.invocation(context):
        outcome = app.service.dispatch()
        app.telemetry.gauge("ServersExpected", outcome.servers)
        app.telemetry.count("Groups", outcome.groups)
        app.telemetry.count("TicksSent", outcome.ticks_sent)
        app.telemetry.count("TicksFailed", outcome.ticks_failed)
        app.telemetry.logger.info(
            "heartbeat sent",
            groups=outcome.groups,
            ticks_sent=outcome.ticks_sent,
            ticks_failed=outcome.ticks_failed,
        )
