"""The Kinesis event as Lambda passes it in, and the partial batch response it takes back."""

import base64
from typing import TypedDict

from treeline.app.ingest.ports import StreamRecord
from treeline.aws.sqs import PartialBatchResponse, failed_items


class KinesisData(TypedDict):
    """The stream's part of a record."""

    sequenceNumber: str
    approximateArrivalTimestamp: float  # seconds since the epoch
    data: str  # base64


class KinesisEventRecord(TypedDict):
    """One record of the event."""

    eventID: str  # "<shard id>:<sequence number>"
    kinesis: KinesisData


class KinesisEvent(TypedDict):
    """A batch of one shard, in stream order."""

    Records: list[KinesisEventRecord]


def decode_batch(event: KinesisEvent) -> list[StreamRecord]:
    """The event's records; what is in them is judged later."""
    return [
        StreamRecord(
            shard_id=record["eventID"].partition(":")[0],
            sequence_number=record["kinesis"]["sequenceNumber"],
            received_at_ms=round(record["kinesis"]["approximateArrivalTimestamp"] * 1000),
            data=base64.b64decode(record["kinesis"]["data"]),
        )
        for record in event["Records"]
    ]


def partial_batch_response(resume_from: str | None) -> PartialBatchResponse:
    """Tell Lambda to deliver again from `resume_from` on; None: the batch is done."""
    return failed_items([] if resume_from is None else [resume_from])
