"""detect: score and decide everything a group of servers has waiting."""

from treeline.aws.sqs import LambdaContext, PartialBatchResponse, SqsEvent, failed_items, messages_of
from treeline.wiring.clients import now_ms
from treeline.wiring.detect import wired


def handler(event: SqsEvent, context: LambdaContext) -> PartialBatchResponse:
    """SQS batch of ticks in, partial batch response out."""
    batch, telemetry = wired()
    with telemetry.invocation(context):
        # A third of the function's time: a group with hours of backlog is left to its next ticks, and the messages
        # of the others do not come back for work that is done.
        until_ms = now_ms() + context.get_remaining_time_in_millis() // 3
        return failed_items(batch.run(messages_of(event), until_ms=until_ms))
