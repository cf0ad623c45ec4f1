"""Kinesis batch in, observations, quarantine and ticks out; a failed write is resumed by sequence number."""

from treeline.app.ingest.reporting import report
from treeline.aws.ingest.kinesis import KinesisEvent, decode_batch, partial_batch_response
from treeline.aws.sqs import PartialBatchResponse
from treeline.wiring.ingest import wired


def handler(event: KinesisEvent, context: object) -> PartialBatchResponse:
    """Ingest one batch of one shard."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        batch = decode_batch(event)
        outcome = service.ingest(batch)
        report(telemetry, outcome, batch_size=len(batch))
        return partial_batch_response(outcome.resume_from)
