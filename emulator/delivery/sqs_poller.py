"""Deliver SQS messages to functions with the mapping's real semantics and several invocations at a time.

Replaces ministack's own delivery, which ignores the batching window and batches over ten. A failed message stays
invisible until its visibility timeout ends and goes to the dead-letter queue after maxReceiveCount, as on AWS.
"""

import logging
import threading
import time
from typing import Any

from ministack.services import lambda_svc, sqs

from emulator.delivery.counters import Counters
from emulator.delivery.invocation import SourceMapping, mappings
from emulator.delivery.sqs_batches import QueueRules, failed_messages

_log = logging.getLogger("treeline.sqs")
_IDLE_S = 0.02
_SCAN_S = 0.1
_RECEIVE_LIMIT = 10  # messages a ReceiveMessage call, SQS's own
_THROTTLE_PAUSE_S = 0.5

Message = dict[str, Any]


class QueueReader(threading.Thread):
    """Delivers one queue to one mapping."""

    def __init__(self, mapping: SourceMapping, counters: Counters) -> None:
        super().__init__(daemon=True, name=f"sqs-{mapping.function_name}")
        self.mapping = mapping
        self._counters = counters
        self.ended = threading.Event()
        self._in_flight = 0
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._paused_until = 0.0

    def run(self) -> None:
        """Deliver until ended."""
        while not self.ended.is_set():
            try:
                if not self._deliver_once():
                    self.ended.wait(_IDLE_S)
            except Exception:  # noqa: BLE001 -- logged; the thread has to live on
                _log.exception("queue of %s", self.mapping.function_name)
                self.ended.wait(1.0)

    def _queue(self) -> tuple[str, dict[str, Any]] | None:
        url = sqs._queue_url(self.mapping.source_arn.rsplit(":", 1)[-1])
        queue = sqs._queues.get(url)
        if not queue or queue["attributes"].get("QueueArn") != self.mapping.source_arn:
            return None
        return url, queue

    def _deliver_once(self) -> bool:
        rules = QueueRules.of(self.mapping.settings)
        if not self.mapping.is_enabled or time.time() < self._paused_until:
            return False
        with self.mapping.scope():
            found = self._queue()
            if found is None or not found[1]["messages"]:
                return False
            if self._in_flight >= self._limit(rules, found[1]):
                self._finished.wait(_IDLE_S)
                self._finished.clear()
                return True
            batch = self._receive(rules, found[0])
        if not batch:
            return False
        with self._lock:
            self._in_flight += 1
        threading.Thread(target=self._run_batch, args=(rules, found[0], batch), daemon=True, name="sqs-batch").start()
        return True

    def _limit(self, rules: QueueRules, queue: dict[str, Any]) -> int:
        if queue.get("is_fifo"):
            return 1  # order within a group holds over batches
        record, config = lambda_svc._get_func_record_for_qualifier(
            self.mapping.function_name, self.mapping.settings.get("Qualifier")
        )
        reserved = lambda_svc._reserved_concurrency(record, config) if record else None
        return rules.max_concurrency if reserved is None else min(rules.max_concurrency, reserved)

    def _receive(self, rules: QueueRules, url: str) -> list[Message]:
        batch: list[Message] = []
        deadline = 0.0
        while len(batch) < rules.batch_size and not self.ended.is_set():
            wanted = min(_RECEIVE_LIMIT, rules.batch_size - len(batch))
            received = sqs._receive_messages_for_esm(url, wanted)
            batch += [dict(message) for message in received]
            if received and not deadline:
                deadline = time.time() + rules.window_s
            if len(received) < wanted:
                if not batch or time.time() >= deadline:
                    break
                self.ended.wait(_IDLE_S)
        return batch

    def _run_batch(self, rules: QueueRules, url: str, batch: list[Message]) -> None:
        try:
            with self.mapping.scope():
                records = self.mapping.filtered([self._event_record(m) for m in batch])
            failed: frozenset[str] = frozenset()
            if records:
                result = self.mapping.invoke({"Records": records})
                if result.throttled:
                    self._paused_until = time.time() + _THROTTLE_PAUSE_S
                identifiers = [r["messageId"] for r in records]
                failed = failed_messages(rules, identifiers, result.body, result.function_error)
            done = {m["receipt_handle"] for m in batch if m["id"] not in failed}
            with self.mapping.scope():
                sqs._delete_messages_for_esm(url, done)
            self._counters.add("sqs_delivered", len(done))
            self._counters.add("sqs_failed", len(batch) - len(done))
            self.mapping.settings["LastProcessingResult"] = "PROBLEM: Function call failed" if failed else "OK"
        except Exception:  # noqa: BLE001 -- logged; the thread has to live on
            _log.exception("batch of %s; its messages come again", self.mapping.function_name)
        finally:
            with self._lock:
                self._in_flight -= 1
            self._finished.set()

    def _event_record(self, message: Message) -> dict[str, Any]:
        first_received = message.get("first_receive_at") or time.time()
        attributes = {
            "ApproximateReceiveCount": str(message.get("receive_count", 1)),
            "SentTimestamp": str(int(message["sent_at"] * 1000)),
            "SenderId": self.mapping.account,
            "ApproximateFirstReceiveTimestamp": str(int(first_received * 1000)),
        }
        system = message.get("sys") or {}
        optional = {
            "AWSTraceHeader": system.get("AWSTraceHeader"),
            "DeadLetterQueueSourceArn": system.get("DeadLetterQueueSourceArn"),
            "MessageGroupId": message.get("group_id"),
            "MessageDeduplicationId": message.get("dedup_id"),
            "SequenceNumber": message.get("seq"),
        }
        attributes |= {k: str(v) for k, v in optional.items() if v is not None}
        return {
            "messageId": message["id"],
            "receiptHandle": message["receipt_handle"],
            "body": message["body"],
            "attributes": attributes,
            "messageAttributes": lambda_svc._sqs_message_attributes_to_camel_case(
                message.get("message_attributes", {})
            ),
            "md5OfBody": message.get("md5_body") or "",
            "eventSource": "aws:sqs",
            "eventSourceARN": self.mapping.source_arn,
            "awsRegion": self.mapping.region,
        }


class SqsPoller(threading.Thread):
    """Keeps one reader per mapping."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(daemon=True, name="sqs-poller")
        self._counters = counters
        self._readers: dict[str, QueueReader] = {}

    def run(self) -> None:
        """Follow the mappings as they come and go."""
        while True:
            try:
                self._follow()
            except Exception:  # noqa: BLE001 -- logged; the thread has to live on
                _log.exception("sqs poller")
            time.sleep(_SCAN_S)

    def _follow(self) -> None:
        wanted = {mapping.uuid: mapping for mapping in mappings("sqs")}
        for uuid, mapping in wanted.items():
            if uuid in self._readers:
                self._readers[uuid].mapping = mapping
            else:
                self._readers[uuid] = QueueReader(mapping, self._counters)
                self._readers[uuid].start()
        for uuid in [u for u in self._readers if u not in wanted]:
            self._readers.pop(uuid).ended.set()
