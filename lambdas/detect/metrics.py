"""What the dashboards draw of a tick, beyond what an alarm needs."""

from collections import Counter
from collections.abc import Sequence

from treeline.app.detect.service import TickOutcome
from treeline.aws.observability import Telemetry
from treeline.core.alert import Alert, AlertEvent
from treeline.core.times import parse_iso

SHOWN_SEVERITIES = 90  # CloudWatch takes 100 values of one metric in a log line


def report(telemetry: Telemetry, outcome: TickOutcome) -> None:
    """Write the distribution of severities, the fleet's own level, and what became of incidents."""
    for severity in _evenly(sorted(outcome.severities), SHOWN_SEVERITIES):
        telemetry.gauge("Severity", round(severity, 3))  # a log line is paid by the byte
    if outcome.scored:
        telemetry.gauge("FleetCycleLevel", outcome.cycle_level)
    telemetry.count("AlertsQuiet", len(outcome.quiet))
    telemetry.count_by("AlertsQuiet", "reason", Counter(a.quiet for a in outcome.quiet))
    _report_incidents(telemetry, [*outcome.published, *outcome.quiet])


def _report_incidents(telemetry: Telemetry, alerts: Sequence[Alert]) -> None:
    opened = Counter(a.priority.value for a in alerts if a.event is AlertEvent.OPENED)
    telemetry.count("IncidentsOpened", opened.total())
    telemetry.count_by("IncidentsOpened", "priority", opened)
    telemetry.count("IncidentsResolved", sum(a.event is AlertEvent.RESOLVED for a in alerts))
    for alert in alerts:
        if alert.quiet or alert.muted_by:  # not told, or late on purpose
            continue
        clocks = alert.clocks
        observed, received, scored, published = (
            parse_iso(at) for at in (clocks.observed_at, clocks.received_at, clocks.scored_at, clocks.published_at)
        )
        telemetry.milliseconds("ObservedToReceived", received - observed)
        telemetry.milliseconds("ReceivedToScored", scored - received)
        telemetry.milliseconds("ScoredToPublished", published - scored)


def _evenly(values: Sequence[float], limit: int) -> Sequence[float]:
    """At most `limit` of the sorted values, the first and the last among them, evenly spaced between."""
    if len(values) <= limit:
        return values
    step = (len(values) - 1) / (limit - 1)
    return [values[round(i * step)] for i in range(limit)]
