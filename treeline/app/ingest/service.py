"""Ingest: every record of a batch is stored, or quarantined with its reason, or tried again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from treeline.app.detect.ticks import DelayedTick, Tick, TickCause, TickQueue
from treeline.app.ingest.ports import (
    NumberedReceipt,
    ObservationStore,
    Quarantine,
    QuarantinedRecord,
    Receipt,
    RecordDecoder,
    ServerRegistry,
    StreamRecord,
)
from treeline.core.errors import StoreUnavailableError
from treeline.core.observation import Observation
from treeline.core.rejection import Rejection, RejectionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOutcome:
    """What became of a batch.

    The counts are of the records before `resume_from`. The others come again and are counted then, so that in the end
    received = stored + duplicates + quarantined. A value that is set aside beside good ones counts apart, in
    `values_set_aside`: its observation is stored.
    """

    resume_from: str | None = None  # sequence number of the first record to try again; None: all is done
    records: int = 0  # stream records
    received: int = 0  # observations, good or bad: a stream record may hold several lines
    stored: int = 0
    duplicates: int = 0  # the same observation once more in the batch
    quarantined: Counter[RejectionReason] = field(default_factory=Counter)
    values_set_aside: Counter[RejectionReason] = field(default_factory=Counter)
    new_servers: int = 0
    ticks_sent: int = 0
    ticks_failed: int = 0


@dataclass(slots=True, kw_only=True)
class _Sorted:
    """A batch after judging; each entry begins with the position of its stream record."""

    good: list[tuple[int, bytes, Receipt]]
    bad: list[tuple[int, Rejection]]
    duplicates: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestService:
    """Takes stream batches to the observations table, and asks for the groups they touch to be scored."""

    decoder: RecordDecoder
    registry: ServerRegistry
    store: ObservationStore
    quarantine: Quarantine
    ticks: TickQueue
    group_size: int

    def ingest(self, batch: Sequence[StreamRecord]) -> IngestOutcome:
        """Store what is good of a shard's records, set aside what is bad, ask for ticks; says where to resume.

        Any part of a batch may come again: observations are keyed by server and time, the quarantine object by the
        batch's first record, so nothing is kept twice. An observation that a later batch holds with other values
        overwrites the first. To notice would take a read for every record, for what a correct agent never sends.
        """
        if not batch:
            return IngestOutcome()
        judged = self._judge(batch)
        registration = self.registry.register([receipt for _, _, receipt in judged.good])
        numbers = registration.numbers
        resume = len(batch)
        rows: list[NumberedReceipt] = []
        origins: list[tuple[int, bytes]] = []
        for position, raw, receipt in judged.good:
            number = numbers.get(receipt.observation.server_id)
            if number is None:
                resume = min(resume, position)
            else:
                rows.append(NumberedReceipt(receipt=receipt, group=number // self.group_size))
                origins.append((position, raw))

        result = self.store.append(rows)
        resume = min([resume, *(origins[i][0] for i in result.failed)])
        for i, detail in result.refused.items():
            position, raw = origins[i]
            refused = Rejection(reason=RejectionReason.REFUSED_BY_STORE, detail=detail, raw=raw)
            judged.bad.append((position, refused))
        resume = self._set_aside(batch, judged.bad, resume)

        unwritten = {*result.failed, *result.refused}
        stored = [i for i in range(len(rows)) if i not in unwritten]
        sent, failed = self._ask_for_ticks([rows[i] for i in stored])
        done = [rejection for position, rejection in judged.bad if position < resume]
        quarantined = Counter(rejection.reason for rejection in done if rejection.metric is None)
        stored_done = sum(1 for i in stored if origins[i][0] < resume)
        duplicates = sum(1 for position in judged.duplicates if position < resume)
        return IngestOutcome(
            resume_from=batch[resume].sequence_number if resume < len(batch) else None,
            records=resume,
            received=stored_done + duplicates + quarantined.total(),
            stored=stored_done,
            duplicates=duplicates,
            quarantined=quarantined,
            values_set_aside=Counter(rejection.reason for rejection in done if rejection.metric is not None),
            new_servers=registration.new_servers,
            ticks_sent=sent,
            ticks_failed=failed,
        )

    def _judge(self, batch: Sequence[StreamRecord]) -> _Sorted:
        judged = _Sorted(good=[], bad=[], duplicates=[])
        # A batch write refuses a key that comes twice, so a repetition has to be found before.
        first: dict[tuple[str, int], Observation] = {}
        for position, record in enumerate(batch):
            for raw, verdict in self.decoder.judge(record.data, record.received_at_ms):
                if isinstance(verdict, Rejection):
                    judged.bad.append((position, verdict))
                    continue
                known = first.setdefault((verdict.server_id, verdict.observed_at_ms), verdict)
                if known is verdict:
                    receipt = Receipt(observation=verdict, received_at_ms=record.received_at_ms)
                    judged.good.append((position, raw, receipt))
                elif known == verdict:
                    judged.duplicates.append(position)
                else:
                    judged.bad.append((position, _conflict(known, verdict, raw)))
        return judged

    def _set_aside(self, batch: Sequence[StreamRecord], bad: list[tuple[int, Rejection]], resume: int) -> int:
        """Quarantine what lies before `resume`; returns the new position to resume from."""
        done = sorted((entry for entry in bad if entry[0] < resume), key=lambda entry: entry[0])
        if not done:
            return resume
        entries = [QuarantinedRecord(record=batch[position], rejection=r) for position, r in done]
        try:
            self.quarantine.put(batch[0], entries)
        except StoreUnavailableError:
            return done[0][0]
        return resume

    def _ask_for_ticks(self, stored: Sequence[NumberedReceipt]) -> tuple[int, int]:
        """One tick per touched group; one that cannot be sent is left to the heartbeat."""
        since: dict[int, int] = {}
        for row in stored:
            observed_at_ms = row.receipt.observation.observed_at_ms
            since[row.group] = min(since.get(row.group, observed_at_ms), observed_at_ms)
        ticks = [
            DelayedTick(tick=Tick(group=group, since_ms=since_ms, cause=TickCause.OBSERVATIONS))
            for group, since_ms in sorted(since.items())
        ]
        failed = len(self.ticks.send(ticks)) if ticks else 0
        return len(ticks) - failed, failed


def _conflict(known: Observation, verdict: Observation, raw: bytes) -> Rejection:
    names = sorted(known.metrics.keys() | verdict.metrics.keys())
    differing = [n for n in names if known.metrics.get(n) != verdict.metrics.get(n)]
    name = differing[0] if differing else "labels"
    before, after = (o.metrics.get(name) if differing else o.labels for o in (known, verdict))
    detail = f"{name}: expected {before!r} as in the first record of this server and time, got {after!r}"
    return Rejection(reason=RejectionReason.CONFLICTING_DUPLICATE, detail=detail[:400], raw=raw)
