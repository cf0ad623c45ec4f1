"""A replay's `report.html`: its figures, its incidents as marks, and the traces of its servers."""

from collections.abc import Mapping

from demo.results import ReplayResult
from report.backtest.entries import label_marks
from report.data import IncidentMark, ReportData, judged_incidents
from report.traces import never_judged, server_trace
from training.evaluate.backtest import Backtest
from training.evaluate.pages import Tier
from training.history.grid import Grid
from treeline.core.alert import Alert, AlertEvent
from treeline.core.profile import Metric
from treeline.core.times import parse_iso


def report_data(
    result: ReplayResult,
    grid: Grid,
    offline: Backtest,
    metrics: tuple[Metric, ...],
    *,
    title: str,
    subtitle: str,
    facts: Mapping[str, str],
) -> ReportData:
    """The figures of `result` with the traces behind them."""
    every = result.evaluations.get(Tier.ALL)
    judged = judged_incidents(every)
    return ReportData(
        title=title,
        subtitle=subtitle,
        start_ms=int(grid.times_ms[0]),
        end_ms=int(grid.times_ms[-1]),
        metrics=metrics,
        traces=tuple(server_trace(grid, offline.trace, column) for column in range(len(grid.servers))),
        never_judged=never_judged(grid, offline.trace),
        labels=label_marks(every, grid, offline),
        incidents=tuple(
            _incident_mark(incident_id, alerts).judged(judged.get(incident_id))
            for incident_id, alerts in sorted(result.incidents.items(), key=lambda entry: entry[0].rpartition("/")[2])
            if alerts
        ),
        evaluations=result.evaluations,
        accounting=result.accounting,
        clocks=result.clocks,
        facts=facts,
    )


def _incident_mark(incident_id: str, alerts: list[Alert]) -> IncidentMark:
    first = alerts[0]

    def when(event: AlertEvent) -> int | None:
        return next((parse_iso(a.clocks.observed_at) for a in alerts if a.event is event), None)

    return IncidentMark(
        incident_id=incident_id,
        server_id=first.server_id,
        priority=min(alert.priority for alert in alerts).value,
        opened_ms=parse_iso(first.clocks.observed_at),
        resolved_ms=when(AlertEvent.RESOLVED),
        escalated_ms=when(AlertEvent.ESCALATED),
        first_anomalous_ms=parse_iso(first.clocks.first_anomalous_at),
        severity=first.severity,
        score=first.score,
        threshold=first.threshold,
        evidence=tuple(first.metrics),
        pages=sum(alert.event is not AlertEvent.SUPPRESSED for alert in alerts),
    )
