"""What becomes of a batch of queue messages after an invocation: the rules of an SQS mapping. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.delivery.batch_response import reported_failures

_DEFAULT_CONCURRENCY = 5  # invocations at a time Lambda starts a queue with
_BATCH_WITHOUT_WINDOW = 10  # messages; a larger batch size needs a window


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """The settings of a queue's event source mapping."""

    batch_size: int = 10
    window_s: float = 0.0
    report_item_failures: bool = False
    max_concurrency: int = _DEFAULT_CONCURRENCY

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> "QueueRules":
        """From a mapping as CreateEventSourceMapping takes it; numbers may be strings, as in a template."""
        window_s = float(mapping.get("MaximumBatchingWindowInSeconds", 0))
        size = int(mapping.get("BatchSize", 10))
        limit = (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency")
        return cls(
            batch_size=size if window_s > 0 else min(size, _BATCH_WITHOUT_WINDOW),
            window_s=window_s,
            report_item_failures="ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ()),
            max_concurrency=int(limit) if limit else _DEFAULT_CONCURRENCY,
        )


def failed_messages(
    rules: QueueRules, message_ids: Sequence[str], body: object, function_error: str | None
) -> frozenset[str]:
    """Ids of the messages that stay in the queue after an invocation.

    All of them after a function error, an unreadable response, or an item identifier that is missing, empty or
    not in the batch; none after an empty or missing list.
    """
    everything = frozenset(message_ids)
    if function_error is not None:
        return everything
    if not rules.report_item_failures:
        return frozenset()
    failed = reported_failures(body)
    if failed is None or not everything.issuperset(failed):
        return everything
    return everything.intersection(failed)
