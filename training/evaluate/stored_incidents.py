"""Incidents as a stage or a run has stored them: when each began to page, and until when it was open."""

from collections.abc import Mapping, Sequence

from training.evaluate.pages import Opening
from treeline.core.alert import Alert, AlertEvent, Priority
from treeline.core.times import parse_iso


def openings(incidents: Mapping[str, Sequence[Alert]], *, by_wall_clock: bool) -> list[Opening]:
    """When incidents began to page, and when they rose to P1; whether people were told makes no difference.

    Args:
        incidents: Changes in order, by incident.
        by_wall_clock: Whether when an opening was decided says which openings waited for each other. It does in a stage
            that gets observations as they are made; in a replay, which goes as fast as it can, it says nothing.
    """
    found = []
    for incident_id, alerts in incidents.items():
        for alert in paging_alerts(alerts):
            decided_ms = parse_iso(alert.clocks.scored_at) if by_wall_clock else None
            found.append(
                Opening(
                    server_id=alert.server_id,
                    at_ms=parse_iso(alert.clocks.observed_at),
                    priority=alert.priority.value,
                    incident_id=incident_id,
                    decided_ms=decided_ms,
                )
            )
    return found


def paging_alerts(alerts: Sequence[Alert]) -> list[Alert]:
    """An incident's first change, and the first one at P1 where that is a later one.

    Not by their events: a muted incident's opening is stored as `suppressed`, and it opens again when the mute ends.
    """
    active = [alert for alert in alerts if alert.event is not AlertEvent.RESOLVED]
    risen = next((alert for alert in active if alert.priority is Priority.P1), None)
    return [*active[:1], *([risen] if risen is not None and risen is not active[0] else [])]
