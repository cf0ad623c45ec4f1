"""The page rate of stored incidents, by server and metric, and what is left of it under a page budget.

A shadow stage publishes nothing, so these are the pages that people would have got; on other stages they got them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from treeline.app.alert.controls import IncidentLabel
from treeline.core.alert import Alert, AlertEvent, Priority
from treeline.core.detection.policy import FLEET
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.times import parse_iso

DAY_MS = 86_400_000
MONTH_DAYS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldBePage:
    """One incident with its highest priority and severity."""

    incident_id: str
    server_id: str
    priority: Priority
    severity: float
    at_ms: int
    metric: str  # the farthest from its expectation when it opened; empty for the fleet's
    suppressed: str  # why it was not published; empty: it was
    is_incident: bool | None  # what people say it was


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyBudget:
    """At most so many pages per server-month, by tier; None: no limit."""

    p1: float | None = None
    p2: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a budget makes of a tier: the severity that is just rare enough, and how many pages that leaves."""

    tier: Priority
    allowed: float
    pages: int
    severity_at_least: float
    kept: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "tier": self.tier.value,
            "allowed": round(self.allowed, 3),
            "pages": self.pages,
            "severity_at_least": self.severity_at_least,
            "kept": self.kept,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """Pages of a stretch of time."""

    start_ms: int
    end_ms: int
    servers: int
    pages: Sequence[WouldBePage]
    fits: Sequence[Fit] = ()

    @property
    def server_months(self) -> float:
        """How much was watched."""
        return self.servers * (self.end_ms - self.start_ms) / DAY_MS / MONTH_DAYS

    def count(self, priority: Priority | None = None) -> int:
        """Pages of a tier, or all."""
        return sum(priority in (None, page.priority) for page in self.pages)

    def by_server(self) -> list[tuple[str, int, int]]:
        """(server, P1, P2), most first."""
        return self._by(lambda page: page.server_id)

    def by_metric(self) -> list[tuple[str, int, int]]:
        """(metric, P1, P2), most first."""
        return self._by(lambda page: page.metric or FLEET)

    def _by(self, name: Any) -> list[tuple[str, int, int]]:
        p1 = Counter(name(page) for page in self.pages if page.priority is Priority.P1)
        p2 = Counter(name(page) for page in self.pages if page.priority is Priority.P2)
        rows = [(key, p1[key], p2[key]) for key in {*p1, *p2}]
        return sorted(rows, key=lambda row: (-row[1] - row[2], -row[1], row[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        labelled = Counter(page.is_incident for page in self.pages)
        months = self.server_months
        return {
            "days": (self.end_ms - self.start_ms) / DAY_MS,
            "servers": self.servers,
            "pages": {"P1": self.count(Priority.P1), "P2": self.count(Priority.P2)},
            "pages_per_server_month": {
                tier.value: self.count(tier) / months if months else None for tier in (Priority.P1, Priority.P2)
            },
            "told": sum(not page.suppressed for page in self.pages),
            "labelled": {"true": labelled[True], "false": labelled[False], "none": labelled[None]},
            "by_server": [{"server_id": s, "P1": p1, "P2": p2} for s, p1, p2 in self.by_server()],
            "by_metric": [{"metric": m, "P1": p1, "P2": p2} for m, p1, p2 in self.by_metric()],
            "budget": [fit.to_json() for fit in self.fits],
            "incidents": [
                {
                    "incident_id": page.incident_id,
                    "priority": page.priority.value,
                    "severity": page.severity,
                    "metric": page.metric,
                    "quiet": page.suppressed,
                    "is_incident": page.is_incident,
                }
                for page in self.pages
            ],
        }


def shadow_report(
    incidents: Mapping[str, Sequence[Alert]],
    labels: Mapping[str, IncidentLabel],
    *,
    start_ms: int,
    end_ms: int,
    servers: int,
    budget: MonthlyBudget | None = None,
) -> ShadowReport:
    """Count what would have paged.

    Args:
        incidents: Changes by incident.
        labels: What people say incidents were.
        start_ms, end_ms: The stretch; incidents opened in [start, end) count.
        servers: How many were watched.
        budget: What shall be allowed.
    """
    pages = [_page(name, alerts, labels.get(name)) for name, alerts in incidents.items() if alerts]
    pages = [page for page in pages if start_ms <= page.at_ms < end_ms]
    report = ShadowReport(start_ms=start_ms, end_ms=end_ms, servers=servers, pages=pages)
    if budget is None:
        return report
    fits = [
        _fit(tier, limit * report.server_months, pages)
        for tier, limit in ((Priority.P1, budget.p1), (Priority.P2, budget.p2))
        if limit is not None
    ]
    return ShadowReport(start_ms=start_ms, end_ms=end_ms, servers=servers, pages=pages, fits=fits)


def _page(incident_id: str, alerts: Sequence[Alert], label: IncidentLabel | None) -> WouldBePage:
    first = alerts[0]
    active = [alert for alert in alerts if alert.event is not AlertEvent.RESOLVED]
    return WouldBePage(
        incident_id=incident_id,
        server_id=first.server_id,
        priority=min(alert.priority for alert in active or alerts),
        severity=max(alert.severity for alert in alerts),
        at_ms=parse_iso(first.clocks.observed_at),
        metric=first.metrics[0].name if first.metrics else "",
        suppressed=first.suppressed or (first.event.value if first.event is AlertEvent.SUPPRESSED else ""),
        is_incident=None if label is None else label.is_incident,
    )


def _fit(tier: Priority, allowed: float, pages: Sequence[WouldBePage]) -> Fit:
    """Keep the most severe pages of a tier, as many as the budget allows; ties are left out together."""
    floor = P1_SEVERITY if tier is Priority.P1 else P2_SEVERITY
    own = sorted((page.severity for page in pages if page.priority is tier), reverse=True)
    keep = min(int(allowed), len(own))
    if keep == len(own):
        return Fit(tier=tier, allowed=allowed, pages=len(own), severity_at_least=floor, kept=len(own))
    while keep and own[keep - 1] == own[keep]:
        keep -= 1
    threshold = own[keep - 1] if keep else own[0] * 1.01  # just above the highest: none is allowed
    return Fit(tier=tier, allowed=allowed, pages=len(own), severity_at_least=max(floor, round(threshold, 4)), kept=keep)
