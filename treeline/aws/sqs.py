"""An SQS queue that a function works through: its batches as Lambda passes them, the answer, and putting off."""

from collections.abc import Callable, Sequence
from typing import NotRequired, Protocol, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.messages import QueueMessage
from treeline.aws.client_types import SQSClient


class SqsAttributes(TypedDict, total=False):
    """The attributes of a message that are read here; Lambda passes them, an invocation by hand may not."""

    ApproximateReceiveCount: str
    SentTimestamp: str  # milliseconds


class SqsEventRecord(TypedDict):
    """One message of the event; with raw delivery its body is what was published."""

    messageId: str
    receiptHandle: str
    body: str
    attributes: NotRequired[SqsAttributes]


class SqsEvent(TypedDict):
    """A batch of messages, in no promised order."""

    Records: list[SqsEventRecord]


class LambdaContext(Protocol):
    """The part of Lambda's context object that is read here."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""


class BatchItemFailure(TypedDict):
    """One item Lambda is to deliver again."""

    itemIdentifier: str


class PartialBatchResponse(TypedDict):
    """What is not done; for a stream the first entry is where to resume."""

    batchItemFailures: list[BatchItemFailure]


def messages_of(event: SqsEvent) -> list[QueueMessage]:
    """The event's messages; what is in them is judged later."""
    messages = []
    for record in event["Records"]:
        attributes = record.get("attributes", {})
        messages.append(
            QueueMessage(
                message_id=record["messageId"],
                receipt_handle=record["receiptHandle"],
                body=record["body"],
                receive_count=int(attributes.get("ApproximateReceiveCount", "1")),
                sent_at_ms=int(attributes["SentTimestamp"]) if "SentTimestamp" in attributes else None,
            )
        )
    return messages


def failed_items(identifiers: Sequence[str]) -> PartialBatchResponse:
    """Tell Lambda which messages to leave in the queue; it deletes the others."""
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


class SqsMessageDelay:
    """Hides messages until their next attempt; see `treeline.app.messages.MessageDelay`.

    `on_failure` is told the error where one could not be put off; it then comes back at the queue's own pace.
    """

    def __init__(self, client: SQSClient, *, queue_url: str, on_failure: Callable[[Exception], None]) -> None:
        self._client = client
        self._queue_url = queue_url
        self._on_failure = on_failure

    def delay(self, receipt_handle: str, delay_s: int) -> None:
        """See `MessageDelay`."""
        try:
            self._client.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=delay_s
            )
        except (ClientError, BotoCoreError) as error:
            self._on_failure(error)
