"""Announces changes to the models: the topic, and PagerDuty's time line where it is used."""

import boto3
import urllib3

from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry
from treeline.aws.promote.changes import ModelChanges
from treeline.receivers.pagerduty.changes import PagerDutyChanges
from treeline.receivers.pagerduty.client import SecretsManagerRoutingKey
from treeline.settings.promotion import ChangeSettings
from treeline.wiring.clients import now_ms


def announcer(settings: ChangeSettings, *, stage: str, telemetry: Telemetry) -> ModelChanges:
    """Tells of changes to the models; what cannot be sent is logged and counted."""

    def failed(where: str, why: str) -> None:
        telemetry.logger.error("change not told", where=where, why=why)
        telemetry.add(OwnMetric.ChangesNotTold)

    pagerduty = None
    if settings.routing_key_secret_arn:
        pagerduty = PagerDutyChanges(
            urllib3.PoolManager(),
            changes_url=settings.changes_url,
            key_source=SecretsManagerRoutingKey(
                boto3.client("secretsmanager"), secret_arn=settings.routing_key_secret_arn
            ),
        )
    return ModelChanges(
        boto3.client("sns"),
        topic_arn=settings.changes_topic_arn,
        pagerduty=pagerduty,
        source=f"treeline-{stage}",
        clock_ms=now_ms,
        on_failure=failed,
    )
