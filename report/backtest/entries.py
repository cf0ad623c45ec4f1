"""Every page and every missed incident of a backtest, one by one: for a terminal, for JSON and for the report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from report.backtest.evidence import PageCause, evidence_at, farthest, page_cause
from report.data import LabelMark
from training.evaluate.backtest import Backtest
from training.evaluate.experiment import ExperimentOutcome
from training.evaluate.judge import JudgedLabel, JudgedPage, Place, TierQuality, Verdict
from training.evaluate.pages import Opening, Tier, pages, paging
from training.history.files import History
from training.history.grid import Grid
from treeline.core.alert import AlertEvent, MetricEvidence
from treeline.core.severity import P2_SEVERITY
from treeline.core.times import iso
from treeline.core.wording import moved


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestPage:
    """One page, P1 and P2 together."""

    at_ms: int  # event time of the deciding observation
    servers: tuple[str, ...]  # more than one: an event
    incidents: tuple[str, ...]  # the ids of what it told
    priority: str  # the highest that any of its incidents reached
    verdict: Verdict | None  # None: nothing was labelled
    place: Place | None  # of the first server that fell on a label
    kind: str  # of that label
    delay_s: float | None  # of the label that it hit
    cause: PageCause  # of its first server

    @property
    def where(self) -> str:
        """Whom it is about."""
        others = len(self.servers) - 1
        return f"{self.servers[0]} and {others} more" if others else self.servers[0]

    @property
    def worth(self) -> str:
        """Verdict and place, as people read it."""
        if self.verdict is None:
            return ""
        return self.verdict.value if self.place is None else f"{self.verdict.value}, {self.place.value}"

    @property
    def why(self) -> str:
        """Why it opened; and that it became P1 only later, where its threshold is P2's."""
        channel = self.cause.channel
        rose = len(self.servers) == 1 and channel is not None and channel.priority != self.priority
        return f"{self.cause}; P1 later" if rose else str(self.cause)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "at": iso(self.at_ms),
            "servers": list(self.servers),
            "incidents": list(self.incidents),
            "priority": self.priority,
            "verdict": self.verdict,
            "place": self.place,
            "kind": self.kind,
            "delay_s": self.delay_s,
            **self.cause.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedLabel:
    """A labelled incident that no page hit, and what the detector saw of it."""

    label: JudgedLabel
    severity: float | None  # the highest inside the label; None: nothing was scored
    severity_at_ms: int | None
    evidence: MetricEvidence | None  # the metric that went farthest from its expected value
    evidence_at_ms: int | None
    why: str

    def __str__(self) -> str:
        """What was seen, in a line."""
        parts = []
        if self.severity is not None and self.severity_at_ms is not None:
            parts.append(f"severity at most {self.severity:.2f}, {clock(self.severity_at_ms)}")
        if self.evidence is not None:
            parts.append(moved(self.evidence))
        return "; ".join([*parts, self.why])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        label = self.label.label
        return {
            "server_id": label.server_id,
            "start": iso(label.start_ms),
            "end": iso(label.end_ms),
            "kind": label.kind,
            "highest_severity": self.severity,
            "highest_severity_at": None if self.severity_at_ms is None else iso(self.severity_at_ms),
            "metric": None if self.evidence is None else asdict(self.evidence),
            "metric_at": None if self.evidence_at_ms is None else iso(self.evidence_at_ms),
            "why": self.why,
        }


def clock(ms: int) -> str:
    """A time to the minute, as ids begin."""
    return f"{iso(ms)[:16]}Z"


def page_entries(history: History, outcome: ExperimentOutcome) -> list[BacktestPage]:
    """Every page in order of time, judged where there are labels."""
    grid, every = outcome.grid, outcome.evaluations.get(Tier.ALL)
    priorities = _highest(outcome.openings)
    if every is not None:
        delays = {j.opening.incident_id: j.delay_s for j in every.judged_labels if j.opening is not None}
        return [_judged_entry(page, outcome, priorities, delays) for page in every.judged_pages]
    sent = pages(
        paging(outcome.openings, Tier.ALL),
        servers=len(grid.servers),
        step_ms=round(grid.step_s * 1000),
        protocol=history.protocol,
    )
    return [
        _entry(page.openings, outcome, priorities) for page in sorted(sent, key=lambda page: page.openings[0].at_ms)
    ]


def miss_entries(every: TierQuality | None, grid: Grid, detected: Backtest) -> list[MissedLabel]:
    """Every label that was not hit, in order of time.

    Args:
        every: The judgement of P1 and P2 together; None where nothing was labelled.
        grid: What was measured.
        detected: What detection made of it.
    """
    if every is None:
        return []
    missed = [judged for judged in every.judged_labels if judged.opening is None]
    recoveries = {
        each.label: each.opening
        for each in every.judged_openings
        if each.label is not None and each.place is Place.RECOVERY
    }
    return [
        _miss(judged, grid, detected, recoveries.get(judged.label))
        for judged in sorted(missed, key=lambda judged: (judged.label.start_ms, judged.label.server_id))
    ]


def label_marks(every: TierQuality | None, grid: Grid, detected: Backtest) -> tuple[LabelMark, ...]:
    """The labels as a report draws them; a missed one says what was seen of it."""
    seen = {
        (miss.label.label.server_id, miss.label.label.start_ms): miss for miss in miss_entries(every, grid, detected)
    }
    return tuple(
        mark if mark.found_by else replace(mark, seen=str(seen[mark.server_id, mark.start_ms]))
        for mark in LabelMark.of(every)
    )


def label_entries(outcome: ExperimentOutcome) -> list[dict[str, Any]]:
    """Every (merged) label with what it came to at each tier, as plain JSON values."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for tier, quality in outcome.evaluations.items():
        for judged in quality.judged_labels:
            label = judged.label
            entry = found.setdefault(
                (label.server_id, label.start_ms),
                {
                    "server_id": label.server_id,
                    "start": iso(label.start_ms),
                    "end": iso(label.end_ms),
                    "kind": label.kind,
                },
            )
            entry[tier.value] = {
                "hit_by": None if judged.opening is None else judged.opening.incident_id,
                "place": judged.place,
                "delay_s": judged.delay_s,
                "lead_s": judged.lead_s,
            }
    return list(found.values())


def _judged_entry(
    page: JudgedPage, outcome: ExperimentOutcome, priorities: Mapping[str, str], delays: Mapping[str, float | None]
) -> BacktestPage:
    labelled = [each for each in page.servers if each.label is not None]
    labelled.sort(key=lambda each: each.verdict is not Verdict.HIT)
    told = labelled[0] if labelled else None
    return _entry(
        page.page.openings,
        outcome,
        priorities,
        verdict=page.verdict,
        place=None if told is None else told.place,
        kind="" if told is None or told.label is None else told.label.kind,
        delay_s=None if told is None or told.verdict is not Verdict.HIT else delays.get(told.opening.incident_id),
    )


def _entry(
    openings: Sequence[Opening],
    outcome: ExperimentOutcome,
    priorities: Mapping[str, str],
    *,
    verdict: Verdict | None = None,
    place: Place | None = None,
    kind: str = "",
    delay_s: float | None = None,
) -> BacktestPage:
    first = openings[0]
    return BacktestPage(
        at_ms=first.at_ms,
        servers=tuple(opening.server_id for opening in openings),
        incidents=tuple(opening.incident_id for opening in openings),
        priority=min(priorities[opening.incident_id] for opening in openings),
        verdict=verdict,
        place=place,
        kind=kind,
        delay_s=delay_s,
        cause=page_cause(outcome.grid, outcome.backtest, first.server_id, first.at_ms, first.priority),
    )


def _highest(openings: Iterable[Opening]) -> dict[str, str]:
    """By incident, the highest priority it reached."""
    found: dict[str, str] = {}
    for opening in openings:
        found[opening.incident_id] = min(opening.priority, found.get(opening.incident_id, opening.priority))
    return found


def _miss(judged: JudgedLabel, grid: Grid, detected: Backtest, recovery: Opening | None) -> MissedLabel:
    label, trace = judged.label, detected.trace
    column = grid.servers.index(label.server_id)
    first, stop = np.searchsorted(grid.times_ms, [label.start_ms, label.end_ms + 1])
    times, severity = grid.times_ms[first:stop], trace.severity[first:stop, column]
    highest = None if np.isnan(severity).all() else int(np.nanargmax(severity))
    place = farthest(grid, trace, column, slice(int(first), int(stop)))
    evidence = () if place is None else evidence_at(grid, trace, column, int(first) + place)
    return MissedLabel(
        label=judged,
        severity=None if highest is None else float(severity[highest]),
        severity_at_ms=None if highest is None else int(times[highest]),
        evidence=evidence[0] if evidence else None,
        evidence_at_ms=None if place is None else int(times[place]),
        why=_why(severity, open_incident(detected, label.server_id, label.start_ms), recovery),
    )


def open_incident(detected: Backtest, server_id: str, at_ms: int) -> int | None:
    """When the incident was opened that a server had open at a time; None where it had none."""
    opened = [c for server, c in detected.changes if server == server_id and c.at <= at_ms]
    if not opened or opened[-1].event is AlertEvent.RESOLVED:
        return None
    return opened[-1].opened_at


def _why(severity: npt.NDArray[np.float32], opened_at: int | None, recovery: Opening | None) -> str:
    if np.isnan(severity).all():
        return "nothing was scored: absent, or warming up"
    if recovery is not None:
        return f"paged as it ended, {clock(recovery.at_ms)}"
    if opened_at is not None:
        return f"its incident of {clock(opened_at)} was still open"
    highest = float(np.nanmax(severity))
    if highest < P2_SEVERITY:
        return f"below P2 by {P2_SEVERITY - highest:.2f}"
    count = int((severity >= P2_SEVERITY).sum())
    return f"{count} observation{'s' * (count > 1)} above P2, too few or too far apart"
