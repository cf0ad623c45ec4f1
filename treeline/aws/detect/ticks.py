"""The SQS queues of ticks: sending in batches of ten, and taking back what died."""

from collections.abc import Callable, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.detect.ticks import DelayedTick
from treeline.app.messages import QueueMessage
from treeline.aws.client_types import SQSClient
from treeline.aws.retries import is_transient

_BATCH_MESSAGES = 10  # the limit of SendMessageBatch, ReceiveMessage and DeleteMessageBatch


class SqsTickQueue:
    """Sends ticks; what SQS does not take is returned, not raised, and `on_failure` is told why."""

    def __init__(self, client: SQSClient, *, queue_url: str, on_failure: Callable[[str], None]) -> None:
        self._client = client
        self._queue_url = queue_url
        self._on_failure = on_failure

    def send(self, ticks: Sequence[DelayedTick]) -> list[int]:
        """Send them all; see `TickQueue`."""
        failed: list[int] = []
        for start in range(0, len(ticks), _BATCH_MESSAGES):
            failed.extend(self._send_batch(start, ticks[start : start + _BATCH_MESSAGES]))
        return failed

    def _send_batch(self, start: int, ticks: Sequence[DelayedTick]) -> list[int]:
        try:
            response = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(i), "MessageBody": t.tick.to_body(), "DelaySeconds": t.delay_s}
                    for i, t in enumerate(ticks, start)
                ],
            )
        except (ClientError, BotoCoreError) as error:
            self._on_failure(str(error))
            return list(range(start, start + len(ticks)))
        failed = response.get("Failed", [])
        for entry in failed:
            self._on_failure(f"{entry['Code']}: {entry.get('Message', '')}")
        return [int(entry["Id"]) for entry in failed]


class SqsDeadTicks:
    """The dead-letter queue of ticks.

    Args:
        hold_s: How long a received message stays hidden: longer than a redrive takes, but not until the next redrive.
        wait_s: How long to wait for a first message. With 0 SQS asks only some of its servers, and a queue with
            few messages may look empty.
    """

    def __init__(self, client: SQSClient, *, queue_url: str, hold_s: int, wait_s: int) -> None:
        self._client = client
        self._queue_url = queue_url
        self._hold_s = hold_s
        self._wait_s = wait_s

    def receive(self, limit: int) -> list[QueueMessage]:
        """Take up to `limit` messages, hiding them for a while; fewer when the queue has no more."""
        messages: dict[str, QueueMessage] = {}
        while len(messages) < limit:
            response = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=min(_BATCH_MESSAGES, limit - len(messages)),
                VisibilityTimeout=self._hold_s,
                WaitTimeSeconds=self._wait_s,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
            received = response.get("Messages", [])
            if not received:
                break
            for message in received:
                messages[message["MessageId"]] = QueueMessage(
                    message_id=message["MessageId"],
                    receipt_handle=message["ReceiptHandle"],
                    body=message["Body"],
                    sent_at_ms=int(message.get("Attributes", {}).get("SentTimestamp", "0")),
                )
        return list(messages.values())

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Delete them; returns how many stayed, which come again and do no harm, as ticks may repeat."""
        left = 0
        for start in range(0, len(messages), _BATCH_MESSAGES):
            batch = messages[start : start + _BATCH_MESSAGES]
            try:
                response = self._client.delete_message_batch(
                    QueueUrl=self._queue_url,
                    Entries=[{"Id": str(i), "ReceiptHandle": m.receipt_handle} for i, m in enumerate(batch)],
                )
            except (ClientError, BotoCoreError) as error:
                if not is_transient(error):
                    raise
                left += len(batch)
                continue
            left += len(response.get("Failed", []))
        return left

    def release(self, messages: Sequence[QueueMessage]) -> None:
        """Show them again at once, for the next redrive."""
        for start in range(0, len(messages), _BATCH_MESSAGES):
            batch = messages[start : start + _BATCH_MESSAGES]
            self._client.change_message_visibility_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": m.receipt_handle, "VisibilityTimeout": 0}
                    for i, m in enumerate(batch)
                ],
            )
