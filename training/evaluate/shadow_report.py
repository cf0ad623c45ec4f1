"""The page rate of stored incidents, by server and metric, and what is left of it under a page budget.

A shadow stage publishes nothing, so these are the pages that people would have got; on other stages they got them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from training.evaluate.budget import Budget
from training.evaluate.pages import Opening, Tier, page_count, paging
from training.evaluate.stored_incidents import openings
from treeline.app.alert.controls import IncidentLabel
from treeline.core.alert import P1_SEVERITY, P2_SEVERITY, Alert, AlertEvent, Priority
from treeline.core.detection.policy import FLEET
from treeline.core.times import parse_iso

DAY_MS = 86_400_000
MONTH_DAYS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedIncident:
    """One incident with its highest priority and severity."""

    incident_id: str
    server_id: str
    priority: Priority
    severity: float
    metric: str  # the farthest from its expectation when it opened; empty for the fleet's
    suppressed: str  # why it was not published; empty: it was
    is_incident: bool | None  # what people say it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a budget makes of a tier: the lowest severity from which on the pages keep to it, and how many those are."""

    tier: Tier
    allowed: float
    pages: int
    severity_at_least: float
    kept: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "tier": self.tier.value, "allowed": round(self.allowed, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """Incidents of a stretch of time, and the pages they make: an event of many servers is one page."""

    start_ms: int
    end_ms: int
    servers: int
    incidents: Sequence[ReportedIncident]
    pages: Mapping[Tier, int]
    fits: Sequence[Fit] = ()

    @property
    def server_months(self) -> float:
        """How much was watched."""
        return _server_days(self.servers, self.start_ms, self.end_ms) / MONTH_DAYS

    def by_server(self) -> list[tuple[str, int, int]]:
        """(server, incidents at P1, at P2), most first."""
        return self._by(lambda incident: incident.server_id)

    def by_metric(self) -> list[tuple[str, int, int]]:
        """(metric, incidents at P1, at P2), most first."""
        return self._by(lambda incident: incident.metric or FLEET)

    def _by(self, name: Callable[[ReportedIncident], str]) -> list[tuple[str, int, int]]:
        p1 = Counter(name(incident) for incident in self.incidents if incident.priority is Priority.P1)
        p2 = Counter(name(incident) for incident in self.incidents if incident.priority is Priority.P2)
        rows = [(key, p1[key], p2[key]) for key in {*p1, *p2}]
        return sorted(rows, key=lambda row: (-row[1] - row[2], -row[1], row[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        labelled = Counter(incident.is_incident for incident in self.incidents)
        months = self.server_months
        return {
            "days": (self.end_ms - self.start_ms) / DAY_MS,
            "servers": self.servers,
            "pages": {tier.value: count for tier, count in self.pages.items()},
            "pages_per_server_month": {
                tier.value: count / months if months else None for tier, count in self.pages.items()
            },
            "told": sum(not incident.suppressed for incident in self.incidents),
            "labelled": {"true": labelled[True], "false": labelled[False], "none": labelled[None]},
            "by_server": [{"server_id": s, "P1": p1, "P2": p2} for s, p1, p2 in self.by_server()],
            "by_metric": [{"metric": m, "P1": p1, "P2": p2} for m, p1, p2 in self.by_metric()],
            "budget": [fit.to_json() for fit in self.fits],
            "incidents": [
                {
                    "incident_id": incident.incident_id,
                    "priority": incident.priority.value,
                    "severity": incident.severity,
                    "metric": incident.metric,
                    "quiet": incident.suppressed,
                    "is_incident": incident.is_incident,
                }
                for incident in self.incidents
            ],
        }


def opened_within(incidents: Mapping[str, Sequence[Alert]], start_ms: int, end_ms: int) -> dict[str, Sequence[Alert]]:
    """Those whose first change is of an observation in [start, end)."""
    return {
        name: alerts
        for name, alerts in incidents.items()
        if alerts and start_ms <= parse_iso(alerts[0].clocks.observed_at) < end_ms
    }


def shadow_report(
    incidents: Mapping[str, Sequence[Alert]],
    labels: Mapping[str, IncidentLabel],
    *,
    start_ms: int,
    end_ms: int,
    servers: int,
    step_ms: int,
    by_wall_clock: bool,
    budget: Budget | None = None,
) -> ShadowReport:
    """Count what would have paged.

    Args:
        incidents: Changes by incident; those opened in [start, end) count.
        labels: What people say incidents were.
        start_ms, end_ms: The stretch, in event time.
        servers: How many were watched.
        step_ms: The sampling step.
        by_wall_clock: See `stored_incidents.openings`.
        budget: What shall be allowed.
    """
    within = opened_within(incidents, start_ms, end_ms)
    opened = openings(within, by_wall_clock=by_wall_clock)
    reported = [_reported(name, alerts, labels.get(name)) for name, alerts in within.items()]
    count = partial(page_count, servers=servers, step_ms=step_ms)
    fits: list[Fit] = []
    if budget is not None:
        severity = {incident.incident_id: incident.severity for incident in reported}
        days = _server_days(servers, start_ms, end_ms)
        # As `treeline calibrate` reads a budget: what opens at all may be as much as both tiers' shares.
        for tier, a_day in ((Tier.P1, budget.p1), (Tier.ALL, budget.p1 + budget.p2)):
            fits.append(_fit(tier, a_day * days, paging(opened, tier), severity, count))
    return ShadowReport(
        start_ms=start_ms,
        end_ms=end_ms,
        servers=servers,
        incidents=reported,
        pages={tier: count(opened, tier) for tier in Tier},
        fits=fits,
    )


def _server_days(servers: int, start_ms: int, end_ms: int) -> float:
    return servers * (end_ms - start_ms) / DAY_MS


def _reported(incident_id: str, alerts: Sequence[Alert], label: IncidentLabel | None) -> ReportedIncident:
    first = alerts[0]
    active = [alert for alert in alerts if alert.event is not AlertEvent.RESOLVED]
    return ReportedIncident(
        incident_id=incident_id,
        server_id=first.server_id,
        priority=min(alert.priority for alert in active or alerts),
        severity=max(alert.severity for alert in alerts),
        metric=first.metrics[0].name if first.metrics else "",
        suppressed=first.suppressed or (first.event.value if first.event is AlertEvent.SUPPRESSED else ""),
        is_incident=None if label is None else label.is_incident,
    )


def _fit(
    tier: Tier,
    allowed: float,
    opened: Sequence[Opening],
    severity: Mapping[str, float],
    count: Callable[[Sequence[Opening], Tier], int],
) -> Fit:
    """The lowest severity that leaves few enough pages; incidents of equal severity stand or fall together.

    Each severity is tried: without its weakest servers an event falls apart into single pages, so that a higher
    severity may leave more pages than a lower one.
    """
    every = count(opened, tier)
    floor = P1_SEVERITY if tier is Tier.P1 else P2_SEVERITY
    for least in (floor, *sorted({severity[o.incident_id] for o in opened})):
        kept = count([o for o in opened if severity[o.incident_id] >= least], tier)
        if kept <= allowed:
            return Fit(
                tier=tier, allowed=allowed, pages=every, severity_at_least=max(floor, round(least, 4)), kept=kept
            )
    above = 1.01 * max(severity[o.incident_id] for o in opened)  # just above the highest: none is allowed
    return Fit(tier=tier, allowed=allowed, pages=every, severity_at_least=round(above, 4), kept=0)
