"""What a report is made of; whoever ran the replay fills this in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from training.evaluate.judge import JudgedOpening, Place, TierQuality, Verdict
from training.evaluate.pages import Tier
from treeline.core.alert import MetricEvidence
from treeline.core.profile import Metric

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTrace:
    """One server over the replayed time. All arrays share the first axis n, in time order."""

    server_id: str
    times_ms: NDArray[np.int64]  # (n,)
    values: Floats  # (n, m) in the metrics' units; NaN: missing
    severity: Floats  # (n,) calibrated; NaN: warming up or not scored
    score: Floats | None = None  # (n,) the forest's score
    threshold: Floats | float | None = None  # the score that would mean P2, on the scale of `score`
    expected: Floats | None = None  # (n, m) what is normal for the server
    low: Floats | None = None  # (n, m) the band a normal value stays in
    high: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMark:
    """A labelled incident (merged, as the evaluation counts it); `found_by` is the incident that hit it."""

    server_id: str
    start_ms: int
    end_ms: int  # inclusive
    kind: str = ""
    found_by: str = ""  # incident_id; empty: missed
    delay_s: float | None = None
    seen: str = ""  # of a missed one: what the detector saw, and why it did not page

    @classmethod
    def of(cls, judged: TierQuality | None) -> "tuple[LabelMark, ...]":
        """The labels of an evaluation; none where nothing was labelled."""
        return tuple(
            cls(
                server_id=j.label.server_id,
                start_ms=j.label.start_ms,
                end_ms=j.label.end_ms,
                kind=j.label.kind,
                found_by=j.opening.incident_id if j.opening else "",
                delay_s=j.delay_s,
            )
            for j in (judged.judged_labels if judged else ())
        )


def judged_incidents(judged: TierQuality | None) -> dict[str, JudgedOpening]:
    """What each incident was worth, by its id; empty where nothing was labelled."""
    return {each.opening.incident_id: each for each in judged.judged_openings} if judged else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMark:
    """An incident as it was delivered."""

    incident_id: str
    server_id: str
    priority: str  # the highest it reached: "P1" or "P2"
    opened_ms: int  # event time of the deciding observation
    verdict: Verdict | None = None  # None: the data carries no labels
    place: Place | None = None  # where in a label it opened; None: on none
    label_start_ms: int | None = None  # which label of its server that is
    resolved_ms: int | None = None  # None: still open at the end
    escalated_ms: int | None = None  # when it rose to P1, if it opened as P2
    first_anomalous_ms: int | None = None
    severity: float | None = None  # of the opening
    score: float | None = None
    threshold: float | None = None
    decided_by: str = ""  # the channel that gave the severity, with its measure and threshold
    evidence: tuple[MetricEvidence, ...] = ()  # strongest first
    evidence_ms: int | None = None  # event time of the observation that it is of; None: the deciding one
    pages: int = 0  # messages that the on-call person's tool received

    @property
    def is_recovery(self) -> bool:
        """Whether it is false because it opened as the trouble ended."""
        return self.verdict is Verdict.FALSE and self.place is Place.RECOVERY

    def judged(self, judged: JudgedOpening | None) -> "IncidentMark":
        """With what it was worth."""
        if judged is None:
            return self
        start_ms = None if judged.label is None else judged.label.start_ms
        return replace(self, verdict=judged.verdict, place=judged.place, label_start_ms=start_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Where every record went: sent = stored + quarantined + duplicates, stored = scored + warming_up + too_late."""

    sent: int
    stored: int
    quarantined: int
    scored: int
    warming_up: int
    lost: int
    duplicates: int = 0
    too_late: int = 0  # came when their server was too far ahead: stored, counted, never scored
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)
    values_set_aside: Mapping[str, int] = field(default_factory=dict)  # by reason; of records stored without them
    alerts_published: int = 0
    pages_delivered: int = 0
    pages_refused: int = 0

    @property
    def seen(self) -> int:
        """What detect has accounted for; all of what is stored, unless records were lost."""
        return self.scored + self.warming_up + self.too_late


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One latency, measured on the wall clock (s)."""

    name: str  # such as "received to published"
    p50_s: float
    p95_s: float
    max_s: float
    count: int
    budget_s: float | None = None  # what p50 has to stay below


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMark:
    """A fault that was injected, and what became of it."""

    name: str
    start_ms: int  # event time
    end_ms: int
    outcome: str
    passed: bool | None = None  # None: nothing was checked


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything the page shows. `traces` decide which servers have a row; marks of others are left out."""

    title: str
    subtitle: str  # one sentence: what was replayed, how
    start_ms: int
    end_ms: int
    metrics: tuple[Metric, ...]  # in the order of the value columns
    traces: tuple[ServerTrace, ...]
    never_judged: tuple[str, ...] = ()  # observed servers of which nothing was scored
    labels: tuple[LabelMark, ...] = ()
    incidents: tuple[IncidentMark, ...] = ()
    evaluations: Mapping[Tier, TierQuality] = field(default_factory=dict)  # empty: no labels
    accounting: Accounting | None = None
    clocks: tuple[Clock, ...] = ()
    faults: tuple[FaultMark, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # how to repeat the run: command, seed, model
    comparison: str = ""  # HTML section: other detectors on the same data
