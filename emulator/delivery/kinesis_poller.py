"""Deliver Kinesis records to functions with the mapping's real semantics, one thread a shard.

Replaces ministack's own delivery, which retries a failing batch for ever. Reads the stream's record list in
process: new records are seen within `_IDLE_S`. Checkpoints are sequence numbers, kept per mapping and shard.
"""

import bisect
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ministack import app as ministack_app
from ministack.services import kinesis

from emulator.delivery.counters import Counters
from emulator.delivery.invocation import SourceMapping, mappings
from emulator.delivery.stream_batches import Condition, MappingRules, Piece, expire, next_step, read_outcome
from emulator.loopback.clients import ClientOf

_log = logging.getLogger("treeline.kinesis")
_IDLE_S = 0.02
_SCAN_S = 0.05
_PAYLOAD_LIMIT = 6_000_000  # bytes of an invocation, Lambda's own
_ENVELOPE_BYTES = 600  # of a record besides its data
KEPT_RECORDS = 2_000  # delivered records a shard keeps for other readers; AWS keeps 24 h

Record = dict[str, Any]
SendFailure = Callable[[str, dict[str, Any]], None]


def _sequence(record: Record) -> str:
    return str(record["SequenceNumber"])


class ShardReader(threading.Thread):
    """Delivers one shard to one mapping, in order, batch after batch."""

    def __init__(
        self,
        mapping: SourceMapping,
        stream: dict[str, Any],
        shard_id: str,
        counters: Counters,
        send_failure: SendFailure,
    ) -> None:
        super().__init__(daemon=True, name=f"kinesis-{shard_id}")
        self.mapping = mapping
        self.shard = stream["shards"][shard_id]
        self.stream = stream
        self.shard_id = shard_id
        self._counters = counters
        self._send_failure = send_failure
        self.ended = threading.Event()
        records = self.shard["records"]
        starts_at_end = mapping.settings.get("StartingPosition", "LATEST") == "LATEST" and records
        self.checkpoint = _sequence(records[-1]) if starts_at_end else ""

    def run(self) -> None:
        """Deliver until ended."""
        while not self.ended.is_set():
            rules = MappingRules.of(self.mapping.settings)
            batch = self._next_batch(rules) if self.mapping.is_enabled else []
            if not batch:
                self.ended.wait(_IDLE_S)
                continue
            try:
                self._deliver(rules, batch)
            except Exception:  # noqa: BLE001 -- logged; the thread has to live on
                _log.exception("shard %s: delivery failed, tried again", self.shard_id)
                self.ended.wait(1.0)

    def backlog(self) -> int:
        """Records not yet delivered."""
        records = self.shard["records"]
        return len(records) - bisect.bisect_right(records, self.checkpoint, key=_sequence)

    def _unread(self, limit: int) -> list[Record]:
        records: list[Record] = self.shard["records"]  # trimming puts a new list in its place, so this one stays whole
        start = bisect.bisect_right(records, self.checkpoint, key=_sequence)
        return records[start : start + limit]

    def _next_batch(self, rules: MappingRules) -> list[Record]:
        batch = self._unread(rules.batch_size)
        if batch and rules.window_s > 0:
            deadline = time.time() + rules.window_s
            while len(batch) < rules.batch_size and time.time() < deadline and not self.ended.is_set():
                self.ended.wait(_IDLE_S)
                batch = self._unread(rules.batch_size)
        size = 0
        for count, record in enumerate(batch):
            size += len(record["Data"]) + _ENVELOPE_BYTES
            if size > _PAYLOAD_LIMIT and count:
                return batch[:count]
        return batch

    def _deliver(self, rules: MappingRules, batch: Sequence[Record]) -> None:
        arrivals = [record["ApproximateArrivalTimestamp"] for record in batch]
        pending: tuple[Piece, ...] = (Piece(0, len(batch)),)
        while pending and not self.ended.is_set():
            piece, rest = pending[0], pending[1:]
            expired, remaining = expire(rules, piece, arrivals, time.time())
            if expired is not None:
                self._discard(batch, expired, "RecordAgeExceeded", None)
                self._advance(batch, expired.end)
            if remaining is None:
                pending = rest
                continue
            piece = remaining
            records = self.mapping.filtered([self._event_record(r) for r in batch[piece.start : piece.end]])
            if not records:
                pending = rest
                self._advance(batch, piece.end)
                continue
            age_ms = max(0.0, (time.time() - arrivals[piece.end - 1]) * 1000)
            self._counters.iterator_age(self.mapping, age_ms)
            result = self.mapping.invoke({"Records": records})
            if result.throttled:
                self.ended.wait(0.2)  # a throttle is no attempt; the poller comes again
                pending = (piece, *rest)
                continue
            numbers = [_sequence(r) for r in batch[piece.start : piece.end]]
            outcome = read_outcome(rules, numbers, result.body, result.function_error)
            step = next_step(rules, piece, rest, outcome)
            done = piece.end if outcome.failed_at is None else piece.start + outcome.failed_at
            self._counters.add("kinesis_delivered", done - piece.start)
            if outcome.failed_at is not None:
                self._counters.add("kinesis_failed_invocations", 1)
                reason = "PROBLEM: Function call failed"
                self.mapping.settings["LastProcessingResult"] = reason
            else:
                self.mapping.settings["LastProcessingResult"] = "OK"
            if step.discarded is not None and step.condition is not None:
                self._discard(batch, step.discarded, step.condition, result.function_error)
                done = piece.end
            self._advance(batch, done)
            pending = step.pending
            if step.delay_s:
                self.ended.wait(step.delay_s)

    def _advance(self, batch: Sequence[Record], count: int) -> None:
        if count > 0:
            self.checkpoint = max(self.checkpoint, _sequence(batch[count - 1]))

    def _event_record(self, record: Record) -> dict[str, Any]:
        number = _sequence(record)
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": number,
                "data": kinesis._ensure_base64(record["Data"]),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{self.shard_id}:{number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": f"arn:aws:iam::{self.mapping.account}:role/lambda-role",
            "awsRegion": self.mapping.region,
            "eventSourceARN": self.mapping.source_arn,
        }

    def _discard(self, batch: Sequence[Record], piece: Piece, condition: Condition, error: str | None) -> None:
        self._counters.add("kinesis_discarded", len(piece))
        destination = (self.mapping.settings.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
        if not destination:
            return
        records = batch[piece.start : piece.end]
        self._send_failure(destination, self._failure_message(records, piece, condition, error))

    def _failure_message(
        self, records: Sequence[Record], piece: Piece, condition: Condition, error: str | None
    ) -> dict[str, Any]:
        """The invocation record that Lambda sends to an on-failure destination for a Kinesis batch."""
        message: dict[str, Any] = {
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": self.mapping.settings["FunctionArn"],
                "condition": condition,
                "approximateInvokeCount": piece.invocations,
            },
            "version": "1.0",
            "timestamp": _iso(time.time()),
            "KinesisBatchInfo": {
                "shardId": self.shard_id,
                "startSequenceNumber": _sequence(records[0]),
                "endSequenceNumber": _sequence(records[-1]),
                "approximateArrivalOfFirstRecord": _iso(records[0]["ApproximateArrivalTimestamp"]),
                "approximateArrivalOfLastRecord": _iso(records[-1]["ApproximateArrivalTimestamp"]),
                "batchSize": len(records),
                "streamArn": self.mapping.source_arn,
            },
        }
        if piece.invocations:
            response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
            message["responseContext"] = response | ({"functionError": "Unhandled"} if error else {})
        return message


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class KinesisPoller(threading.Thread):
    """Keeps one reader per mapping and shard, and trims what every reader has behind it."""

    def __init__(self, counters: Counters, clients: ClientOf) -> None:
        super().__init__(daemon=True, name="kinesis-poller")
        self._counters = counters
        self._clients = clients
        self._readers: dict[tuple[str, str], ShardReader] = {}

    def run(self) -> None:
        """Follow the mappings and streams as they come and go."""
        rounds = 0
        while True:
            try:
                self._follow()
                rounds += 1
                if rounds % 20 == 0:
                    self._trim()
            except Exception:  # noqa: BLE001 -- logged; the thread has to live on
                _log.exception("kinesis poller")
            time.sleep(_SCAN_S)

    def backlog(self) -> int:
        """Records not yet delivered, over all readers."""
        return sum(reader.backlog() for reader in list(self._readers.values()))

    def kept(self) -> int:
        """Records in memory, over all shards that are read."""
        return sum(len(reader.shard["records"]) for reader in list(self._readers.values()))

    def _follow(self) -> None:
        wanted: dict[tuple[str, str], tuple[SourceMapping, dict[str, Any]]] = {}
        for mapping in mappings("kinesis"):
            account, name = mapping.source_arn.split(":")[4], mapping.source_arn.rsplit("/", 1)[-1]
            stream = kinesis._streams.get_scoped(account, mapping.region, name)
            if stream and stream["StreamStatus"] == "ACTIVE":
                wanted |= {(mapping.uuid, shard_id): (mapping, stream) for shard_id in list(stream["shards"])}
        for key, (mapping, stream) in wanted.items():
            reader = self._readers.get(key)
            if reader is None or reader.stream is not stream:
                self._readers[key] = ShardReader(mapping, stream, key[1], self._counters, self._send_failure)
                self._readers[key].start()
            else:
                reader.mapping = mapping
        for key in [k for k in self._readers if k not in wanted]:
            self._readers.pop(key).ended.set()

    def _trim(self) -> None:
        """Free the memory of delivered records; on the server's loop, where alone records are appended."""
        loop = ministack_app._MAIN_LOOP
        behind: dict[int, tuple[dict[str, Any], str, str]] = {}
        for reader in self._readers.values():
            previous = behind.get(id(reader.shard))
            checkpoint = min(previous[1], reader.checkpoint) if previous else reader.checkpoint
            behind[id(reader.shard)] = (reader.shard, checkpoint, reader.shard_id)
        for shard, checkpoint, shard_id in behind.values():
            if len(shard["records"]) > 2 * KEPT_RECORDS and loop is not None:
                loop.call_soon_threadsafe(trim_shard, shard, checkpoint, shard_id)

    def _send_failure(self, destination: str, message: dict[str, Any]) -> None:
        if destination.split(":")[2] != "sqs":
            raise ValueError(f"only a queue is an on-failure destination here, got {destination}")
        sqs = self._clients("sqs")
        url = sqs.get_queue_url(QueueName=destination.rsplit(":", 1)[-1])["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))


def trim_shard(shard: dict[str, Any], checkpoint: str, shard_id: str) -> None:
    """Drop the delivered records of a shard but the last `KEPT_RECORDS`; open iterators keep their place."""
    records = shard["records"]
    cut = bisect.bisect_right(records, checkpoint, key=_sequence) - KEPT_RECORDS
    if cut <= 0:
        return
    shard["records"] = records[cut:]
    for iterator in list(kinesis._shard_iterators._data.values()):
        if iterator["shard_id"] == shard_id:
            iterator["position"] = max(0, iterator["position"] - cut)
