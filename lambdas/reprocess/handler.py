"""Every minute: dead ticks go back to work, if the model endpoint serves."""

import os
import random
from dataclasses import dataclass
from functools import cache

import boto3

from treeline.app.detect.reprocess import ReprocessService
from treeline.aws.detect.endpoint_status import SageMakerEndpointStatus
from treeline.aws.detect.ticks import SqsDeadTicks, SqsTickQueue
from treeline.aws.observability import Telemetry
from treeline.settings.pipeline import ReprocessSettings

_WAIT_S = 1
_HOLD_S = 55  # longer than a run may take, shorter than the minute between two


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: ReprocessService
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = ReprocessSettings.from_env(os.environ)
    telemetry = Telemetry("reprocess", settings.stage)
    sqs = boto3.client("sqs")
    service = ReprocessService(
        endpoint=SageMakerEndpointStatus(boto3.client("sagemaker"), endpoint_name=settings.endpoint_name),
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
    return _App(service=service, telemetry=telemetry)


def handler(event: object, context: object) -> None:
    """Redrive once; the event says only that it is time."""
    app = _app()
    with app.telemetry.invocation(context):
        outcome = app.service.reprocess()
        for message, problem in outcome.malformed:
            app.telemetry.logger.error(
                "dead message is no tick; it stays in the queue",
                message_id=message.message_id,
                body=message.body,
                problem=problem,
            )
        app.telemetry.count("DeadTicksReceived", outcome.received)
        app.telemetry.count("TicksRedriven", outcome.ticks_redriven)
        app.telemetry.count("DeadTicksLeft", outcome.messages_left)
        app.telemetry.count("DeadTicksMalformed", len(outcome.malformed))
        app.telemetry.logger.info(
            "dead ticks redriven" if outcome.ticks_redriven else "nothing redriven",
            endpoint_status=outcome.endpoint_status,
            received=outcome.received,
            ticks_redriven=outcome.ticks_redriven,
            messages_deleted=outcome.messages_deleted,
            messages_left=outcome.messages_left,
        )
