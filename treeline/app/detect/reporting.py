"""What is counted and logged of one group's tick."""

from collections import Counter
from collections.abc import Sequence

from treeline.app.detect.service import TickOutcome
from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry
from treeline.core.alert import Alert, AlertEvent
from treeline.core.times import parse_iso

SHOWN_SEVERITIES = 90  # CloudWatch takes 100 values of one metric in a log line


def report(telemetry: Telemetry, group: int, outcome: TickOutcome, *, duration_ms: float) -> None:
    """Write what the tick did: metrics, a log line for each published alert, and warnings."""
    for metric, value in (
        (OwnMetric.ObservationsScored, outcome.scored),
        (OwnMetric.ObservationsWarmingUp, outcome.warming_up),
        (OwnMetric.ObservationsLate, outcome.late),
        (OwnMetric.ObservationsTooLate, len(outcome.too_late)),
        (OwnMetric.ValuesImputed, outcome.imputed),
        (OwnMetric.ObservationsHeldBack, outcome.held_back),
        (OwnMetric.StateConflicts, outcome.conflicts),
        (OwnMetric.AlertsPublished, len(outcome.published)),
        (OwnMetric.PublishFailures, outcome.unpublished),
        (OwnMetric.ServersSilent, len(outcome.silent_servers)),
        (OwnMetric.ServersWarmingUp, outcome.warming_servers),
        (OwnMetric.ServersKnown, outcome.servers),
        (OwnMetric.TableBlocksLost, len(outcome.lost_blocks)),
        (OwnMetric.NoModel, 0 if outcome.has_model else 1),
        (OwnMetric.DetectDuration, duration_ms),
    ):
        telemetry.add(metric, value)
    if outcome.scored:
        telemetry.add(OwnMetric.MaxSeverity, outcome.max_severity)
        telemetry.add(OwnMetric.FleetCycleLevel, outcome.cycle_level)
    for severity in _evenly(sorted(outcome.severities), SHOWN_SEVERITIES):
        telemetry.add(OwnMetric.Severity, round(severity, 3))  # a log line is paid by the byte
    _report_incidents(telemetry, outcome)
    _log_alerts(telemetry, outcome.published)
    _log_problems(telemetry, group, outcome)
    telemetry.logger.debug("tick done", group=group, scored=outcome.scored, duration_ms=duration_ms)


def _report_incidents(telemetry: Telemetry, outcome: TickOutcome) -> None:
    telemetry.add(OwnMetric.AlertsQuiet, len(outcome.suppressed))
    telemetry.add_by(OwnMetric.AlertsQuiet, Counter(a.suppressed for a in outcome.suppressed))
    alerts = [*outcome.published, *outcome.suppressed]
    opened = Counter(a.priority.value for a in alerts if a.event is AlertEvent.OPENED)
    telemetry.add(OwnMetric.IncidentsOpened, opened.total())
    telemetry.add_by(OwnMetric.IncidentsOpened, opened)
    telemetry.add(OwnMetric.IncidentsResolved, sum(a.event is AlertEvent.RESOLVED for a in alerts))
    for alert in alerts:
        # Not published, published late on purpose, or of no observation.
        if alert.suppressed or alert.muted_by or alert.ended_by:
            continue
        clocks = alert.clocks
        observed, received, scored, published = (
            parse_iso(at) for at in (clocks.observed_at, clocks.received_at, clocks.scored_at, clocks.published_at)
        )
        telemetry.add(OwnMetric.ObservedToReceived, received - observed)
        telemetry.add(OwnMetric.ReceivedToScored, scored - received)
        telemetry.add(OwnMetric.ScoredToPublished, published - scored)
        telemetry.add(OwnMetric.ReceivedToPublished, published - received)


def _log_alerts(telemetry: Telemetry, published: Sequence[Alert]) -> None:
    for alert in published:
        telemetry.logger.info(
            "alert published",
            incident_id=alert.incident_id,
            alert_event=alert.event.value,
            priority=alert.priority.value,
            severity=alert.severity,
            anomaly_score=alert.score,
            dedup_key=alert.dedup_key,
            model_version=alert.model_version,
            latency_ms=parse_iso(alert.clocks.published_at) - parse_iso(alert.clocks.received_at),
        )


def _log_problems(telemetry: Telemetry, group: int, outcome: TickOutcome) -> None:
    log = telemetry.logger
    if outcome.unpublished:
        log.error("alerts wait in the outbox", group=group, alerts=outcome.unpublished)
    if outcome.too_late:
        log.warning(
            "observations came too late to be scored",
            group=group,
            observations=len(outcome.too_late),
            server_ids=sorted({server for server, _ in outcome.too_late})[:50],
        )
    if outcome.silent_servers:
        log.warning("servers are silent", group=group, server_ids=outcome.silent_servers[:50])
    if outcome.retired:
        log.info("servers are retired", group=group, server_ids=outcome.retired)
    if outcome.returned:
        log.warning("retired servers are back as new ones", group=group, server_ids=outcome.returned)
    if outcome.lost_blocks:
        log.error("blocks of the seasonal table were lost", group=group, errors=outcome.lost_blocks)
    if not outcome.has_model:
        log.warning("no active model, observations wait", group=group)


def _evenly(values: Sequence[float], limit: int) -> Sequence[float]:
    """At most `limit` of the sorted values, the first and the last among them, evenly spaced between."""
    if len(values) <= limit:
        return values
    step = (len(values) - 1) / (limit - 1)
    return [values[round(i * step)] for i in range(limit)]
