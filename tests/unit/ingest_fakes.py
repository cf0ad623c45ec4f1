"""Fakes of what ingest, dispatch and reprocess talk to: plain lists, with faults to switch on."""

import json
from collections.abc import Sequence

from treeline.app.detect.ticks import DelayedTick
from treeline.app.ingest.ports import (
    AppendResult,
    NumberedReceipt,
    QuarantinedRecord,
    Receipt,
    Registration,
    StreamRecord,
)
from treeline.app.ingest.service import IngestService
from treeline.core.errors import StoreUnavailableError
from treeline.core.profile import DEFAULT_METRICS
from treeline.core.times import parse_iso
from treeline.sources.treeline_json import ObservationDecoder

RECEIVED = parse_iso("2026-11-22T15:58:31Z")


class MemoryRegistry:
    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.unavailable: set[str] = set()

    def register(self, receipts: Sequence[Receipt]) -> Registration:
        before = len(self.numbers)
        ids = [r.observation.server_id for r in receipts if r.observation.server_id not in self.unavailable]
        for server_id in ids:
            self.numbers.setdefault(server_id, len(self.numbers))
        return Registration(numbers={s: self.numbers[s] for s in ids}, new_servers=len(self.numbers) - before)


class MemoryStore:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], NumberedReceipt] = {}
        self.failing: set[str] = set()
        self.refusing: set[str] = set()
        self.appended = 0

    def append(self, rows: Sequence[NumberedReceipt]) -> AppendResult:
        failed, refused = [], {}
        for i, row in enumerate(rows):
            server_id = row.receipt.observation.server_id
            if server_id in self.failing:
                failed.append(i)
            elif server_id in self.refusing:
                refused[i] = "item: too strange"
            else:
                self.rows[server_id, row.receipt.observation.observed_at_ms] = row
                self.appended += 1
        return AppendResult(failed=failed, refused=refused)


class MemoryQuarantine:
    def __init__(self) -> None:
        self.objects: dict[str, list[QuarantinedRecord]] = {}
        self.is_down = False

    def put(self, first: StreamRecord, rejected: Sequence[QuarantinedRecord]) -> None:
        if self.is_down:
            raise StoreUnavailableError("down")
        self.objects[f"{first.shard_id}-{first.sequence_number}"] = list(rejected)

    @property
    def reasons(self) -> list[str]:
        return [entry.rejection.reason.value for entries in self.objects.values() for entry in entries]


class MemoryTicks:
    def __init__(self) -> None:
        self.sent: list[DelayedTick] = []
        self.failing_groups: set[int] = set()

    def send(self, ticks: Sequence[DelayedTick]) -> list[int]:
        failed = [i for i, t in enumerate(ticks) if t.tick.group in self.failing_groups]
        self.sent.extend(t for i, t in enumerate(ticks) if i not in failed)
        return failed


class Pipeline:
    """An ingest service over memory."""

    def __init__(self, group_size: int = 2) -> None:
        self.registry = MemoryRegistry()
        self.store = MemoryStore()
        self.quarantine = MemoryQuarantine()
        self.ticks = MemoryTicks()
        self.service = IngestService(
            decoder=ObservationDecoder(DEFAULT_METRICS, max_future_ms=300_000, max_age_ms=172_800_000),
            registry=self.registry,
            store=self.store,
            quarantine=self.quarantine,
            ticks=self.ticks,
            group_size=group_size,
        )


def observation(server_id: str, second: int = 30, cpu: float = 41.5) -> bytes:
    time = f"2026-11-22T15:58:{second:02d}Z"
    body = {"server_id": server_id, "observed_at": time, "metrics": {"cpu_percent": cpu}}
    return json.dumps(body).encode()


def batch(*data: bytes, first: int = 0) -> list[StreamRecord]:
    return [
        StreamRecord(shard_id="shard-1", sequence_number=str(i), received_at_ms=RECEIVED, data=d)
        for i, d in enumerate(data, first)
    ]
