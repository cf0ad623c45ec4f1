"""A message of a work queue, as every function gets it that works through one."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """One message, its body not read yet."""

    message_id: str
    receipt_handle: str  # what SQS asks for to delete it, or to hide it for longer
    body: str
    receive_count: int = 1  # deliveries so far; 1 at the first
    sent_at_ms: int | None = None  # when it was first sent; None where nobody says


class MessageDelay(Protocol):
    """Puts messages off, in the queue that they came from."""

    def delay(self, receipt_handle: str, delay_s: int) -> None:
        """Hide a message for `delay_s` more seconds; when that fails it comes back at the queue's own pace."""
