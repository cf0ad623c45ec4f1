"""From severities to incidents: persistence, fleet cycle, and the incident state machine, all by event time.

An incident opens when `needed` of a server's last `of_last` observations reach P2's severity, as P1 when so many exceed
P1's; an open P2 escalates likewise. One observation is enough at `alone_severity` where several metrics agree.
A P1 becomes P2 when nothing has exceeded P1's severity for `quiet_s`. An incident
is resolved when nothing has reached P2's for `quiet_s` and for `of_last` observations.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treeline.core.alert import FLEET as FLEET
from treeline.core.alert import AlertEvent, Priority
from treeline.core.arrays import together
from treeline.core.channels.score_rule import ScoreRule
from treeline.core.detection.features import Index
from treeline.core.detection.policy_settings import PolicySettings as PolicySettings
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.state.fleet import FleetCycle, FleetState
from treeline.core.state.layout import NEVER
from treeline.core.statistics import FloatArray

NONE, OPEN_P2, OPEN_P1 = 0, 1, 2
FLEET_ROW = -1
FEWEST_TO_SHARE_SCORES = 10  # servers; the median of fewer is moved by one or two that are ill


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of an incident's life."""

    row: int  # the server's row in the state, FLEET_ROW for the fleet
    event: AlertEvent
    priority: Priority
    at: int  # event time of the deciding observation, milliseconds
    opened_at: int
    first_anomalous_at: int
    sequence: int  # 1 for opened, then counting within the incident
    severity: float
    follows_opened_at: int = NEVER  # for opened, when the server's incident before was opened; NEVER without one


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring rows of a state that holds several groups (a backtest's), with a fleet cycle of their own."""

    start: int  # the rows are those of a slice
    stop: int
    severity: FloatArray  # a view of the state's array, as the next
    severity_bucket: npt.NDArray[np.int64]
    score_excess: FloatArray  # likewise
    cycle: FleetCycle

    @classmethod
    def of(cls, state: FleetState, start: int, stop: int) -> "Group":
        """The rows [start, stop) of a state that gets no further servers."""
        own = slice(start, stop)
        arrays = (state.severity[own], state.severity_bucket[own], state.score_excess[own])
        return cls(start, stop, *arrays, FleetCycle())


def shared_level(median: float) -> float:
    """What is taken off each server's severity: nothing up to a median of 1.2, all of the median from P2's 1.5 on.

    Servers that have nothing in common have a median above 0 too; taking that off would only hide their own incidents.
    """
    return max(0.0, min(median, 5.0 * (median - 0.8 * P2_SEVERITY)))


def _median(values: FloatArray) -> float:
    """Bit for bit numpy's, which takes ten times as long on a group of 50."""
    ordered, middle = np.sort(values), len(values) // 2
    return float((ordered[-1 - middle] + ordered[middle]) / 2)


def _shared_excess(excess: FloatArray, settings: PolicySettings) -> float:
    """By how much the scores of a group lie above their averages, as far as that can be told and is asked for."""
    is_told = settings.score.rule is ScoreRule.EMA and len(excess) >= FEWEST_TO_SHARE_SCORES
    return max(_median(excess), 0.0) if is_told else 0.0


# long: half of it is its docstring
def apply_fleet_cycle(
    state: FleetState | Group, bucket: int, at: int, settings: PolicySettings
) -> tuple[float, list[Change]]:
    """The severity that the servers of a group share, and the fleet incident that follows from it.

    Called before each bucket is decided. The level is made from the median severity of the bucket before (for a server
    without an observation in it, of the one before that); see `shared_level`. A load that rises everywhere, as at a
    month's end, raises it; taken off each server's severity it leaves what is that server's own.

    Args:
        state: Its cycle is changed in place.
        bucket: The bucket about to be decided.
        at: Event time the bucket starts at, milliseconds.
        settings: The policy.

    Returns:
        The level, 0.0 for fewer than `fleet_min_servers`, and at most one change; for the last bucket again, its level.
    """
    cycle = state.cycle
    if bucket <= cycle.bucket:  # another round of the same bucket, or a server that catches up
        return cycle.level, []
    cycle.bucket = bucket
    median = cycle.score_excess = 0.0
    if settings.fleet_min_servers or settings.score.rule is ScoreRule.EMA:
        current = (state.severity_bucket >= bucket - 2) & (state.severity_bucket < bucket)
        if 0 < settings.fleet_min_servers <= np.count_nonzero(current):
            median = _median(state.severity[current])
        cycle.score_excess = _shared_excess(state.score_excess[current], settings)
    cycle.level = shared_level(median)
    above = median >= P2_SEVERITY
    before = (cycle.above << 1) & ((1 << settings.of_last) - 1)
    if above and before == 0 and cycle.incident == NONE:
        cycle.first_above_at = at
    cycle.above = before | above
    if above:
        cycle.last_above_at, cycle.quiet = at, 0
    else:
        cycle.quiet += 1
    event = None
    if cycle.incident == NONE and above and cycle.above.bit_count() >= settings.needed:
        cycle.incident, cycle.opened_at, cycle.sequence = OPEN_P2, at, 0
        event = AlertEvent.OPENED
    elif (
        cycle.incident != NONE
        and at - cycle.last_above_at >= settings.quiet_s * 1000
        and cycle.quiet >= settings.of_last
    ):
        cycle.incident = NONE
        event = AlertEvent.RESOLVED
    if event is None:
        return cycle.level, []
    cycle.sequence += 1
    change = Change(
        row=FLEET_ROW,
        event=event,
        priority=Priority.P2,
        at=at,
        opened_at=cycle.opened_at,
        first_anomalous_at=cycle.first_above_at,
        sequence=cycle.sequence,
        severity=median,
    )
    return cycle.level, [change]


# long: one state machine over arrays; what opens, rises, falls and ends is read off the same masks
def decide(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    severity: FloatArray,
    settings: PolicySettings,
    *,
    evident: npt.NDArray[np.bool_] | None = None,
    agreeing: npt.NDArray[np.bool_] | None = None,
) -> list[Change]:
    """Advance the incident state machine of some servers by one observation each.

    Args:
        state: Changed in place.
        rows: Distinct rows of the servers, shape (n,).
        observed_at: Milliseconds, shape (n,).
        severity: On the fixed scale, the fleet's level already taken off.
        settings: The policy.
        evident: Shape (n,), whether a metric lies outside what people are shown as expected. Only such an observation
            counts towards opening or escalating an incident; None: all count.
        agreeing: Shape (n,), whether three metrics or more lie far outside it (`Features.agreeing`). Such an
            observation opens P1 by itself from `alone_severity` on; None: none does.

    Returns:
        The changes, in order of the rows.
    """
    here = together(rows)
    mask = np.uint32((1 << settings.of_last) - 1)
    at_p2 = severity >= P2_SEVERITY
    at_p1 = severity > P1_SEVERITY
    counts_p2, counts_p1 = (at_p2, at_p1) if evident is None else (at_p2 & evident, at_p1 & evident)
    before = (state.above_p2[here] << np.uint32(1)) & mask  # what is still among the last N
    above_p2 = before | counts_p2
    above_p1 = ((state.above_p1[here] << np.uint32(1)) | counts_p1) & mask
    state.above_p2[here], state.above_p1[here] = above_p2, above_p1
    incident = state.incident[here]
    first = np.where((incident == NONE) & counts_p2 & (before == 0), observed_at, state.first_above_at[here])
    last_p2 = np.where(at_p2, observed_at, state.last_p2_at[here])
    last_p1 = np.where(at_p1, observed_at, state.last_p1_at[here])
    quiet = np.where(at_p2, 0, state.quiet[here] + 1)
    state.first_above_at[here], state.last_p2_at[here] = first, last_p2
    state.last_p1_at[here], state.quiet[here] = last_p1, quiet

    # What a group shares is known one step later; where it is taken off, nothing opens before.
    alone = np.zeros_like(counts_p1)
    if agreeing is not None and settings.alone_severity > 0 and not settings.fleet_min_servers:
        alone = counts_p1 & agreeing & (severity >= settings.alone_severity)
    enough_p2 = counts_p2 & (np.bitwise_count(above_p2) >= settings.needed) | alone
    enough_p1 = counts_p1 & (np.bitwise_count(above_p1) >= settings.needed) | alone
    resolved_at = state.resolved_at[here]
    cooling = (resolved_at != NEVER) & (observed_at - resolved_at < settings.cooldown_s * 1000)
    opening = (incident == NONE) & enough_p2 & ~cooling
    escalating = (incident == OPEN_P2) & enough_p1
    quiet_ms = settings.quiet_s * 1000
    over = (incident != NONE) & (observed_at - last_p2 >= quiet_ms) & (quiet >= settings.of_last)
    calmer = (incident == OPEN_P1) & ~over & ~at_p1 & (observed_at - last_p1 >= quiet_ms)

    changes = []
    for i in np.flatnonzero(opening | escalating | over | calmer):
        row, at = int(rows[i]), int(observed_at[i])
        follows = int(state.opened_at[row]) if opening[i] else NEVER
        if opening[i]:
            new, event = (OPEN_P1 if enough_p1[i] else OPEN_P2), AlertEvent.OPENED
            state.opened_at[row], state.sequence[row] = at, 0
        elif escalating[i]:
            new, event = OPEN_P1, AlertEvent.ESCALATED
        elif over[i]:
            new, event = NONE, AlertEvent.RESOLVED
            state.resolved_at[row] = at
        else:
            new, event = OPEN_P2, AlertEvent.DEESCALATED
        was = int(incident[i])
        state.incident[row] = new
        state.sequence[row] += 1
        changes.append(
            Change(
                row=row,
                event=event,
                priority=Priority.P1 if max(new, was if new == NONE else new) == OPEN_P1 else Priority.P2,
                at=at,
                opened_at=int(state.opened_at[row]),
                first_anomalous_at=int(first[i]),
                sequence=int(state.sequence[row]),
                # What opens as P2 may have one observation beyond: two have reached what is told.
                severity=min(float(severity[i]), P1_SEVERITY) if new == OPEN_P2 else float(severity[i]),
                follows_opened_at=follows,
            )
        )
    return changes
