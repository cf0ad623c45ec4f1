"""SQS batch of alerts in, PagerDuty events out; what PagerDuty cannot take now stays in the queue for later."""

from treeline.app.page.reporting import report
from treeline.app.page.service import PageResult
from treeline.aws.sqs import LambdaContext, PartialBatchResponse, SqsEvent, failed_items, messages_of
from treeline.wiring.notify_pagerduty import wired


def handler(event: SqsEvent, context: LambdaContext) -> PartialBatchResponse:
    """Deliver one batch of alerts."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        outcomes = service.deliver(messages_of(event), remaining_ms=context.get_remaining_time_in_millis)
        report(telemetry, outcomes)
        return failed_items([o.message.message_id for o in outcomes if o.result is PageResult.WAITING])
