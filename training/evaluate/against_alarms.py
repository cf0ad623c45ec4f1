"""The incidents of a stage beside the CloudWatch alarms of the same servers and days: both, only ours, only theirs.

An incident and an alarm's episode (ALARM to OK) are of the same trouble when their times overlap, or when they begin
within ten minutes of each other. One incident may have many alarms (CPU and load ring together), and one long alarm
many incidents: each is in `both` where it has at least one on the other side, so incidents and alarms are counted
each for themselves. An alarm that rings for weeks has every incident of its server in that time.

Who was first: the incident, when it would have been told, against the *earliest* of its alarms. An incident counts by
its observation's time and what deciding took from the receipt on, so that a replay of these days counts as they did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from training.evaluate.pages import Opening, Tier, paging
from training.evaluate.stored_incidents import paging_alerts
from training.history.cloudwatch.alarm_history import AlarmEpisode, AlarmHistory
from treeline.core.alert import FLEET, Alert, AlertEvent
from treeline.core.times import iso, parse_iso

NEAR_MS = 10 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEpisode:
    """One of our incidents from when it began to page (or rose to P1) to its resolution, event time."""

    opening: Opening
    told_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTrouble:
    """An incident and the alarms that rang for the same trouble, in order of their beginning."""

    incident: IncidentEpisode
    alarms: tuple[AlarmEpisode, ...]

    @property
    def lead_s(self) -> float:
        """From us to the first of the alarms; negative where the alarm came first."""
        return (self.alarms[0].start_ms - self.incident.told_ms) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TierComparison:
    """One tier's incidents beside the alarms.

    Attributes:
        both: Incidents that had an alarm.
        alarms_in_both: Alarm episodes that had an incident of this tier.
        only_ours, only_theirs: Without the other.
    """

    both: tuple[SharedTrouble, ...]
    alarms_in_both: tuple[AlarmEpisode, ...]
    only_ours: tuple[IncidentEpisode, ...]
    only_theirs: tuple[AlarmEpisode, ...]

    @property
    def ours_first(self) -> int:
        """Incidents told before the first of their alarms."""
        return sum(shared.lead_s > 0 for shared in self.both)

    @property
    def theirs_first(self) -> int:
        """Incidents told after it."""
        return sum(shared.lead_s < 0 for shared in self.both)

    @property
    def lead_p50_s(self) -> float | None:
        """The median lead; None without a trouble in common."""
        return median(shared.lead_s for shared in self.both) if self.both else None

    def by_server(self) -> list[tuple[str, int, int, int]]:
        """(server, incidents in both, only ours, only theirs), most first."""
        counts: dict[str, list[int]] = {}
        for column, names in enumerate(
            (
                [shared.incident.opening.server_id for shared in self.both],
                [incident.opening.server_id for incident in self.only_ours],
                [alarm.server_id for alarm in self.only_theirs],
            )
        ):
            for name in names:
                counts.setdefault(name, [0, 0, 0])[column] += 1
        rows = [(name, both, ours, theirs) for name, (both, ours, theirs) in counts.items()]
        return sorted(rows, key=lambda row: (-sum(row[1:]), row[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "incidents": len(self.both) + len(self.only_ours),
            "alarms": len(self.alarms_in_both) + len(self.only_theirs),
            "ours_first": self.ours_first,
            "theirs_first": self.theirs_first,
            "lead_p50_s": self.lead_p50_s,
            "both": [
                {
                    "incident_id": shared.incident.opening.incident_id,
                    "lead_s": shared.lead_s,
                    "alarms": [_alarm_json(alarm) for alarm in shared.alarms],
                }
                for shared in self.both
            ],
            "only_ours": [incident.opening.incident_id for incident in self.only_ours],
            "only_theirs": [_alarm_json(alarm) for alarm in self.only_theirs],
            "by_server": [
                {"server_id": name, "both": both, "only_ours": ours, "only_theirs": theirs}
                for name, both, ours, theirs in self.by_server()
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmComparison:
    """Both tiers, and what was left out."""

    tiers: Mapping[Tier, TierComparison]
    history: AlarmHistory
    fleet_incidents: int  # name no server, so that no alarm is theirs

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "tiers": {tier.value: comparison.to_json() for tier, comparison in self.tiers.items()},
            "unmapped_alarms": {name: reason.value for name, reason in self.history.unmapped.items()},
            "composite_alarms": list(self.history.composite),
            "own_alarms": self.history.own,
            "fleet_incidents": self.fleet_incidents,
        }


def against_alarms(
    incidents: Mapping[str, Sequence[Alert]], history: AlarmHistory, *, start_ms: int, end_ms: int
) -> AlarmComparison:
    """Set incidents beside alarms.

    Args:
        incidents: Changes by incident, those that opened before the stretch and reach into it too.
        history: Of the same stretch, read from some time before it.
        start_ms, end_ms: Incidents and alarms that begin in [start, end) count; earlier ones are only what others are
            matched with.
    """
    ours = [episode for name, alerts in incidents.items() if alerts for episode in _episodes(name, alerts, end_ms)]
    named = [episode for episode in ours if episode.opening.server_id != FLEET]
    return AlarmComparison(
        tiers={tier: _compared(_of_tier(named, tier), history.episodes, start_ms, end_ms) for tier in Tier},
        history=history,
        fleet_incidents=sum(
            episode.opening.server_id == FLEET and start_ms <= episode.opening.at_ms < end_ms
            for episode in _of_tier(ours, Tier.ALL)
        ),
    )


def _episodes(incident_id: str, alerts: Sequence[Alert], end_ms: int) -> list[IncidentEpisode]:
    last = alerts[-1]
    is_over = last.event is AlertEvent.RESOLVED
    found = []
    for alert in paging_alerts(alerts):
        at_ms = parse_iso(alert.clocks.observed_at)
        opening = Opening(
            server_id=alert.server_id, at_ms=at_ms, priority=alert.priority.value, incident_id=incident_id
        )
        took_ms = max(parse_iso(alert.clocks.scored_at) - parse_iso(alert.clocks.received_at), 0)
        found.append(
            IncidentEpisode(
                opening=opening,
                told_ms=at_ms + took_ms,
                end_ms=parse_iso(last.clocks.observed_at) if is_over else end_ms,
            )
        )
    return found


def _of_tier(episodes: Sequence[IncidentEpisode], tier: Tier) -> list[IncidentEpisode]:
    by_opening = {episode.opening: episode for episode in episodes}
    return [by_opening[opening] for opening in paging(by_opening, tier)]


def _compared(
    ours: Sequence[IncidentEpisode], theirs: Sequence[AlarmEpisode], start_ms: int, end_ms: int
) -> TierComparison:
    alarms_of: dict[str, list[AlarmEpisode]] = {}
    for alarm in theirs:
        alarms_of.setdefault(alarm.server_id, []).append(alarm)
    found: set[AlarmEpisode] = set()
    both, only_ours = [], []
    for incident in ours:
        alarms = [alarm for alarm in alarms_of.get(incident.opening.server_id, []) if _is_same(incident, alarm)]
        found.update(alarms)
        if not start_ms <= incident.opening.at_ms < end_ms:
            continue
        if alarms:
            both.append(SharedTrouble(incident=incident, alarms=tuple(alarms)))
        else:
            only_ours.append(incident)
    within = [alarm for alarm in theirs if start_ms <= alarm.start_ms < end_ms]
    return TierComparison(
        both=tuple(both),
        alarms_in_both=tuple(alarm for alarm in within if alarm in found),
        only_ours=tuple(only_ours),
        only_theirs=tuple(alarm for alarm in within if alarm not in found),
    )


def _is_same(incident: IncidentEpisode, alarm: AlarmEpisode) -> bool:
    at_ms = incident.opening.at_ms
    overlap = at_ms <= alarm.end_ms and alarm.start_ms <= incident.end_ms
    return overlap or abs(at_ms - alarm.start_ms) <= NEAR_MS


def _alarm_json(alarm: AlarmEpisode) -> dict[str, Any]:
    return {"alarm": alarm.alarm, "server_id": alarm.server_id, "start": iso(alarm.start_ms), "end": iso(alarm.end_ms)}
