"""notify_pagerduty: the queue of pages, the ledger, and PagerDuty."""

import os
import random
from functools import cache

import boto3
import urllib3

from treeline.app.page.service import PagingService
from treeline.aws.observability import EmfTelemetry
from treeline.aws.page.table import PageTable
from treeline.aws.sqs import SqsMessageDelay
from treeline.receivers.pagerduty.client import PagerDutyClient, SecretsManagerRoutingKey
from treeline.settings.pipeline import NotifyPagerDutySettings
from treeline.wiring.clients import now_ms, patience

# The ledger answers in milliseconds; a page must not wait for one that hangs.
_TABLE = patience(connect_s=1, read_s=2, attempts=2)


@cache
def wired() -> tuple[PagingService, EmfTelemetry]:
    """What delivers pages, by the environment's settings."""
    settings = NotifyPagerDutySettings.from_env(os.environ)
    telemetry = EmfTelemetry("notify_pagerduty", settings.stage)

    def not_put_off(error: Exception) -> None:
        telemetry.logger.warning("message not put off", error_type=type(error).__name__, error=str(error))

    def not_entered(error: Exception) -> None:
        telemetry.logger.error("page told but not entered, it may be repeated", error=str(error))

    service = PagingService(
        pager=PagerDutyClient(
            urllib3.PoolManager(),
            events_url=settings.events_url,
            key_source=SecretsManagerRoutingKey(
                boto3.client("secretsmanager"), secret_arn=settings.routing_key_secret_arn
            ),
            timeout_s=settings.timeout_s,
        ),
        queue=SqsMessageDelay(boto3.client("sqs"), queue_url=settings.page_queue_url, on_failure=not_put_off),
        ledger=PageTable(boto3.client("dynamodb", config=_TABLE), settings.pages_table, clock_ms=now_ms),
        retry_base_s=settings.retry_base_s,
        # Twice, as a rotated key means a second request, and a second for what comes after.
        claim_s=2 * settings.timeout_s + 1,
        random=random.random,
        clock_ms=now_ms,
        on_unwritten=not_entered,
    )
    return service, telemetry
