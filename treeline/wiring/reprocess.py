"""reprocess: the endpoint's health, the dead-letter queue of ticks, and the queue they go back to."""

import os
import random
from functools import cache

import boto3

from treeline.app.detect.reprocess import EmbeddedStatus, ReprocessService
from treeline.aws.detect.endpoint_status import SageMakerEndpointStatus
from treeline.aws.detect.ticks import SqsDeadTicks, SqsTickQueue
from treeline.aws.observability import EmfTelemetry
from treeline.settings.pipeline import ReprocessSettings

_WAIT_S = 1
_HOLD_S = 55  # longer than a run may take, shorter than the minute between two


@cache
def wired() -> tuple[ReprocessService, EmfTelemetry]:
    """What redrives dead ticks, by the environment's settings."""
    settings = ReprocessSettings.from_env(os.environ)
    telemetry = EmfTelemetry("reprocess", settings.stage)
    sqs = boto3.client("sqs")
    endpoint = (
        EmbeddedStatus()
        if settings.is_embedded
        else SageMakerEndpointStatus(boto3.client("sagemaker"), endpoint_name=settings.endpoint_name)
    )
    service = ReprocessService(
        endpoint=endpoint,
        dead=SqsDeadTicks(sqs, queue_url=settings.dead_letter_queue_url, hold_s=_HOLD_S, wait_s=_WAIT_S),
        ticks=SqsTickQueue(
            sqs,
            queue_url=settings.tick_queue_url,
            on_failure=lambda error: telemetry.logger.warning("tick not sent", error=error),
        ),
        max_messages=settings.max_messages,
        max_delay_s=settings.redrive_max_delay_s,
        random=random.random,
    )
    return service, telemetry
