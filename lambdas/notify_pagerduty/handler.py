"""SQS batch of alerts in, PagerDuty events out; what PagerDuty cannot take now stays in the queue for later."""

import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import boto3
import urllib3
from botocore.config import Config

from treeline.app.page.service import PageFailure, PageOutcome, PageResult, PagingService
from treeline.aws.ingest.kinesis import PartialBatchResponse
from treeline.aws.observability import Telemetry
from treeline.aws.page import queue as pages
from treeline.aws.page.table import PageTable
from treeline.receivers.pagerduty.client import PagerDutyClient, SecretsManagerRoutingKey
from treeline.settings.pipeline import NotifyPagerDutySettings

# The ledger answers in milliseconds; a page must not wait for one that hangs.
_TABLE_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "max_attempts": 2})
# What no waiting mends: somebody has to put the right key into the secret. The pages wait for it.
_OWNERS_MATTER = frozenset({PageFailure.KEY_UNAVAILABLE, PageFailure.UNAUTHORIZED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: PagingService
    telemetry: Telemetry
    page_time_ms: float  # the longest a page may take


@cache
def _app() -> _App:
    settings = NotifyPagerDutySettings.from_env(os.environ)
    telemetry = Telemetry("notify_pagerduty", settings.stage)

    def not_put_off(error: Exception) -> None:
        telemetry.logger.warning("message not put off", error_type=type(error).__name__, error=str(error))

    def not_entered(error: Exception) -> None:
        telemetry.logger.error("page told but not entered, it may be repeated", error=str(error))

    now = lambda: time.time_ns() // 1_000_000  # noqa: E731 - the one clock, passed on
    # Twice, as a rotated key means a second request, and a second for what comes after.
    page_time_s = 2 * settings.timeout_s + 1
    service = PagingService(
        pager=PagerDutyClient(
            urllib3.PoolManager(),
            events_url=settings.events_url,
            key_source=SecretsManagerRoutingKey(
                boto3.client("secretsmanager"), secret_arn=settings.routing_key_secret_arn
            ),
            timeout_s=settings.timeout_s,
        ),
        queue=pages.SqsPageQueue(boto3.client("sqs"), queue_url=settings.page_queue_url, on_failure=not_put_off),
        ledger=PageTable(boto3.client("dynamodb", config=_TABLE_CONFIG), settings.pages_table, clock_ms=now),
        retry_base_s=settings.retry_base_s,
        claim_s=page_time_s,
        random=random.random,
        clock_ms=now,
        on_unwritten=not_entered,
    )
    return _App(service=service, telemetry=telemetry, page_time_ms=1000 * page_time_s)


def _report(telemetry: Telemetry, outcomes: Sequence[PageOutcome]) -> None:
    results = Counter(o.result for o in outcomes)
    telemetry.count("AlertsReceived", len(outcomes))
    telemetry.count("PagesDelivered", results[PageResult.DELIVERED])
    telemetry.count("PagesRefused", results[PageResult.REFUSED])
    telemetry.count("PagesWaiting", results[PageResult.WAITING])
    telemetry.count("PagesIgnored", results[PageResult.IGNORED])
    telemetry.count("PagesSuperseded", results[PageResult.SUPERSEDED])
    failures = [o.delivery.failure for o in outcomes if o.delivery is not None and o.delivery.failure]
    telemetry.count("PagesFailed", len(failures))
    telemetry.count_by("PagesFailed", "reason", Counter(f.value for f in failures))
    for outcome in outcomes:
        _log(telemetry, outcome)


def _log(telemetry: Telemetry, outcome: PageOutcome) -> None:
    alert, delivery = outcome.alert, outcome.delivery
    fields: dict[str, object] = {"message_id": outcome.message.message_id, "page_result": outcome.result.value}
    if alert is not None:
        fields |= {"incident_id": alert.incident_id, "event": alert.event.value, "dedup_key": alert.dedup_key}
    if delivery is not None:
        fields |= {
            "failure": delivery.failure,
            "status": delivery.status,
            "detail": delivery.detail,
            "cut": list(delivery.cut),
        }
    if outcome.result is PageResult.REFUSED and alert is not None:
        # Not retried, so this line is where the page is to be found: all of it.
        telemetry.logger.error("page refused for good", extra={**fields, "alert": alert.to_json()})
    elif outcome.result is PageResult.WAITING:
        fields |= {"delay_s": outcome.delay_s, "receive_count": outcome.message.receive_count}
        if alert is None:
            fields["body"] = outcome.message.body
        needs_somebody = delivery is not None and delivery.failure in _OWNERS_MATTER
        log = telemetry.logger.error if needs_somebody else telemetry.logger.warning
        log("page put off", extra=fields)
    else:
        telemetry.logger.info("page handled", extra=fields)


def handler(event: pages.SqsEvent, context: pages.LambdaContext) -> PartialBatchResponse:
    """Deliver one batch of alerts."""
    app = _app()
    with app.telemetry.invocation(context):
        outcomes = app.service.deliver(
            pages.decode_messages(event),
            has_time=lambda: context.get_remaining_time_in_millis() > app.page_time_ms,
        )
        _report(app.telemetry, outcomes)
        waiting = [o.message.message_id for o in outcomes if o.result is PageResult.WAITING]
        return pages.failed_items(waiting)
