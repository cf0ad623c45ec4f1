"""CloudWatch's alarms of servers, and when each of them rang: DescribeAlarms and DescribeAlarmHistory.

CloudWatch keeps an alarm's history for 30 days (AWS documentation, "Using Amazon CloudWatch alarms"; older pages say
two weeks), and that of a deleted alarm too, but not what the alarm was about.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from treeline.core.errors import TreelineError
from treeline.core.times import from_ms, iso, to_ms

HISTORY_DAYS = 30
# An alarm may have begun to ring before the days that are asked for: this much earlier its beginning is looked for.
LOOKBACK_MS = 86_400_000
_CHANGE = re.compile(r"updated from (\w+) to (\w+)", re.IGNORECASE)
_RINGS = "ALARM"


class AlarmHistoryError(TreelineError):
    """CloudWatch tells of an alarm in a form that is not known here."""


class Unmapped(StrEnum):
    """Why an alarm that rang is about no server."""

    NO_SERVER = "no dimension of it names a server that Treeline knows"
    MANY_SERVERS = "its dimensions name several servers"
    DELETED = "it was deleted, and its dimensions with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEpisode:
    """An alarm of a server from ALARM to the state after it."""

    alarm: str
    server_id: str
    # Wall clock. Of one that was in ALARM already where what was read begins: that beginning.
    start_ms: int
    end_ms: int  # of one that is still in ALARM: where what was read ends


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHistory:
    """What rang in a stretch of time."""

    episodes: tuple[AlarmEpisode, ...]  # those of alarms of one server each, in order of their beginning
    unmapped: Mapping[str, Unmapped]  # alarms that rang and are about no server, with the reason
    composite: tuple[str, ...]  # names of composite alarms, which are left out: what they combine is here by itself
    own: int  # how many of Treeline's own alarms were left out


def server_names(servers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What dimensions may call a server -> its server_id, from its labels: that itself, and its `instance_id`."""
    by_label = {labels["instance_id"]: server_id for server_id, labels in servers.items() if labels.get("instance_id")}
    return {**by_label, **{server_id: server_id for server_id in servers}}


def read_alarm_history(
    client: Any, names: Mapping[str, str], *, start_ms: int, end_ms: int, prefix: str, own_prefix: str
) -> AlarmHistory:
    """Read what alarms of servers did in [start - LOOKBACK_MS, end).

    Args:
        client: boto3's, for CloudWatch. Calls DescribeAlarms and DescribeAlarmHistory, all pages of each.
        names: What dimensions call servers; see `server_names`. Any dimension counts, whatever its name.
        start_ms, end_ms: The stretch.
        prefix: Only alarms whose names begin so.
        own_prefix: How Treeline's own alarms begin; they watch Treeline.

    Raises:
        AlarmHistoryError: CloudWatch says of a change something else than from which state to which.
    """
    first_ms = start_ms - LOOKBACK_MS
    metric_alarms, composite = _alarms(client, prefix)
    changes = _changes(client, first_ms, end_ms, prefix)
    episodes: list[AlarmEpisode] = []
    unmapped: dict[str, Unmapped] = {}
    for name in sorted({*metric_alarms, *changes}):
        if name.startswith(own_prefix):
            continue
        rings = list(_rings(changes.get(name, []), metric_alarms.get(name), first_ms, end_ms))
        if not rings:
            continue
        server = _server(metric_alarms.get(name), names)
        if isinstance(server, Unmapped):
            unmapped[name] = server
            continue
        episodes += [AlarmEpisode(alarm=name, server_id=server, start_ms=start, end_ms=end) for start, end in rings]
    return AlarmHistory(
        episodes=tuple(sorted(episodes, key=lambda episode: (episode.start_ms, episode.alarm))),
        unmapped=unmapped,
        composite=tuple(sorted(name for name in composite if not name.startswith(own_prefix))),
        own=sum(name.startswith(own_prefix) for name in (*metric_alarms, *composite)),
    )


def _alarms(client: Any, prefix: str) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Metric alarms by name, and the names of composite ones."""
    request: dict[str, Any] = {"AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
    if prefix:
        request["AlarmNamePrefix"] = prefix
    metric_alarms: dict[str, dict[str, Any]] = {}
    composite: set[str] = set()
    for page in client.get_paginator("describe_alarms").paginate(**request):
        metric_alarms |= {alarm["AlarmName"]: alarm for alarm in page.get("MetricAlarms", [])}
        composite |= {alarm["AlarmName"] for alarm in page.get("CompositeAlarms", [])}
    return metric_alarms, composite


def _changes(client: Any, first_ms: int, end_ms: int, prefix: str) -> dict[str, list[tuple[int, str, str]]]:
    """(time, state before, state after) by metric alarm, in order; the call has no prefix of names."""
    pages = client.get_paginator("describe_alarm_history").paginate(
        AlarmTypes=["MetricAlarm"],
        HistoryItemType="StateUpdate",
        StartDate=from_ms(first_ms),
        EndDate=from_ms(end_ms),
        ScanBy="TimestampAscending",
    )
    changes: dict[str, list[tuple[int, str, str]]] = {}
    for item in (item for page in pages for item in page["AlarmHistoryItems"]):
        name, at_ms = item["AlarmName"], to_ms(item["Timestamp"])
        # The data in JSON beside it may be longer than the call gives back.
        said = _CHANGE.search(item.get("HistorySummary", ""))
        if said is None:
            raise AlarmHistoryError(f"alarm {name} at {iso(at_ms)}: no state in {item.get('HistorySummary')!r}")
        if name.startswith(prefix):
            changes.setdefault(name, []).append((at_ms, said[1], said[2]))
    return changes


def _rings(
    changes: Collection[tuple[int, str, str]], alarm: Mapping[str, Any] | None, first_ms: int, end_ms: int
) -> Iterator[tuple[int, int]]:
    """When an alarm was in ALARM: (start, end)."""
    since_ms: int | None = None
    for position, (at_ms, before, after) in enumerate(changes):
        if since_ms is None and after == _RINGS:
            since_ms = at_ms
        elif before == _RINGS and after != _RINGS:
            if since_ms is not None or position == 0:
                yield (first_ms if since_ms is None else since_ms), at_ms
            since_ms = None
    if not changes and alarm is not None and alarm.get("StateValue") == _RINGS:
        changed: datetime | None = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
        if changed is not None and to_ms(changed) < end_ms:
            since_ms = max(to_ms(changed), first_ms)
    if since_ms is not None:
        yield since_ms, end_ms


def _server(alarm: Mapping[str, Any] | None, names: Mapping[str, str]) -> str | Unmapped:
    """The server that the dimensions of an alarm name; of an alarm on metric math those of all its metrics."""
    if alarm is None:
        return Unmapped.DELETED
    dimensions = [*alarm.get("Dimensions", [])]
    for query in alarm.get("Metrics", []):
        dimensions += query.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])
    found = {names[dimension["Value"]] for dimension in dimensions if dimension["Value"] in names}
    if len(found) > 1:
        return Unmapped.MANY_SERVERS
    return found.pop() if found else Unmapped.NO_SERVER
