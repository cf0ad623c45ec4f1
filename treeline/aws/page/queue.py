"""The SQS queue of pages: the event as Lambda passes it in, the answer it takes back, and putting off."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.page.service import PageMessage
from treeline.aws.ingest.kinesis import PartialBatchResponse

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsAttributes(TypedDict):
    """The attributes of a message that are read here."""

    ApproximateReceiveCount: str


class SqsEventRecord(TypedDict):
    """One message of the event; with raw delivery its body is what was published."""

    messageId: str
    receiptHandle: str
    body: str
    attributes: SqsAttributes


class SqsEvent(TypedDict):
    """A batch of messages, in no promised order."""

    Records: list[SqsEventRecord]


class LambdaContext(Protocol):
    """The part of Lambda's context object that is read here."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ...


def decode_messages(event: SqsEvent) -> list[PageMessage]:
    """The event's messages; what is in them is judged later."""
    return [
        PageMessage(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            receive_count=int(record["attributes"]["ApproximateReceiveCount"]),
            body=record["body"],
        )
        for record in event["Records"]
    ]


def failed_items(message_ids: Sequence[str]) -> PartialBatchResponse:
    """Tell Lambda which messages to leave in the queue; it deletes the others."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}


class SqsPageQueue:
    """Hides page messages until their next attempt.

    Args:
        client: SQS.
        queue_url: The queue of pages.
        on_failure: Told the error when a message could not be put off; it then comes back at the queue's pace.
    """

    def __init__(self, client: "SQSClient", *, queue_url: str, on_failure: Callable[[Exception], None]) -> None:
        self._client = client
        self._queue_url = queue_url
        self._on_failure = on_failure

    def delay(self, receipt_handle: str, delay_s: int) -> None:
        """Hide a message for `delay_s` more seconds; see `PageQueue`."""
        try:
            self._client.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=delay_s
            )
        except (ClientError, BotoCoreError) as error:
            self._on_failure(error)
