"""One server after the other: its normal life, what goes wrong with it, and what of it arrives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from demo.fleet import effects, gaps
from demo.fleet.agenda import Agenda, ChangeKind, make_agenda
from demo.fleet.demand import demand_of, month_end_factor
from demo.fleet.disk import disk_used
from demo.fleet.impact import Impact, impact_of
from demo.fleet.incidents import Incident, schedule
from demo.fleet.normal import Calendar, make_calendar, normal_metrics
from demo.fleet.plan import ADDITION_OF, METRICS, AddedKind, Addition, FleetPlan, IncidentKind
from demo.fleet.restarts import restart
from demo.fleet.roles import role_of, server_names
from demo.fleet.scene import DISK_FILLED

Floats = NDArray[np.float64]

_DECIMALS = (2, 2, 3, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSeries:
    """One server's generated rows."""

    server_id: str
    role: str
    times_ms: NDArray[np.int64]  # (n,)
    values: NDArray[np.float32]  # (n, metrics)
    is_test: NDArray[np.bool_]  # (n,)
    label: NDArray[np.int8]  # (n,) 1 where an incident changes the values
    incidents: tuple[Incident, ...]
    impacts: Mapping[Incident, Impact] = field(default_factory=dict)  # of the incidents that users feel


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFleet:
    """What a plan comes to, before any value of a server is made."""

    plan: FleetPlan
    names: tuple[str, ...]  # by index
    calendar: Calendar
    factor: Floats | float  # the month ends' on the load
    incidents: tuple[Incident, ...]  # by server and time
    agenda: Agenda

    def id_of(self, server: int, step: int) -> str:
        """The id under which a server reports at a step."""
        replaced = self.agenda.replacements.get(server)
        has_new_id = replaced is not None and not replaced.keeps_id and step >= replaced.at
        return f"{self.names[server]}-2" if has_new_id else self.names[server]

    def ids_of(self, server: int) -> tuple[str, ...]:
        """Every id it has: two when another server took its place under a new one."""
        return tuple(dict.fromkeys(self.id_of(server, step) for step in (0, self.plan.rows_per_server)))


def make_fleet(plan: FleetPlan) -> DrawnFleet:
    """Draw times and places of everything."""
    calendar = make_calendar(plan)
    usual = schedule(plan, calendar)
    agenda = make_agenda(plan, calendar, usual)
    return DrawnFleet(
        plan=plan,
        names=tuple(server_names(plan.servers)),
        calendar=calendar,
        factor=month_end_factor(plan, calendar),
        incidents=tuple(sorted((*usual, *agenda.incidents), key=lambda each: (each.server, each.first))),
        agenda=agenda,
    )


def server_series(fleet: DrawnFleet) -> Iterator[ServerSeries]:
    """The fleet, one server at a time by server_id; each server draws from its own stream of random numbers."""
    incidents: dict[int, list[Incident]] = {}
    for incident in fleet.incidents:
        incidents.setdefault(incident.server, []).append(incident)
    for index in sorted(range(fleet.plan.servers), key=fleet.names.__getitem__):
        yield from _series(fleet, index, tuple(incidents.get(index, ())))


def _series(fleet: DrawnFleet, index: int, incidents: Sequence[Incident]) -> Iterator[ServerSeries]:
    """One server; two where an id ends and another one begins."""
    plan = fleet.plan
    # Streams apart, so that with and without incidents a server's normal behaviour is the same.
    normal, wrong, lost = (np.random.default_rng([plan.seed, index, stream]) for stream in range(3))
    lives = [_normal(fleet, index, 0, normal)]
    replaced = fleet.agenda.replacements.get(index)
    if replaced is not None:
        lives.append(_normal(fleet, index, 1, plan.rng(Addition.REPLACED_SERVERS, index)))
    border = plan.rows_per_server if replaced is None else replaced.at
    impacts = {}
    for incident in incidents:
        impact = _suffer(plan, incident, lives[0] if incident.first < border else lives[-1], wrong)
        if impact is not None:
            impacts[incident] = impact
    metrics = lives[0]
    metrics[border:] = lives[-1][border:]
    here = _lose(plan, index, incidents, metrics, lost)
    if replaced is not None:
        here[border : border + replaced.gap] = False
    label = np.zeros(plan.rows_per_server, dtype=np.int8)
    for incident in incidents:
        # What a silent agent's server still sends is normal.
        label[incident.first : incident.last + 1] = incident.kind is not AddedKind.SILENT
    values = np.column_stack([metrics[:, i].round(_DECIMALS[i]) for i in range(metrics.shape[1])]).astype(np.float32)
    is_test = np.arange(plan.rows_per_server) >= plan.train_rows
    borders = (0, border, plan.rows_per_server) if len(fleet.ids_of(index)) > 1 else (0, plan.rows_per_server)
    for first, end in pairwise(borders):
        kept = first + np.flatnonzero(here[first:end])
        own = tuple(i for i in incidents if first <= i.first < end)
        yield ServerSeries(
            server_id=fleet.id_of(index, first),
            role=role_of(index).name,
            times_ms=fleet.calendar.seconds[kept] * 1000,
            values=values[kept],
            is_test=is_test[kept],
            label=label[kept],
            incidents=own,
            impacts={incident: impacts[incident] for incident in own if incident in impacts},
        )


def _normal(fleet: DrawnFleet, index: int, life: int, rng: np.random.Generator) -> Floats:
    """What a server does when nothing is wrong: its first one, or (life 1) the one in its place."""
    plan, role = fleet.plan, role_of(index)
    metrics = normal_metrics(plan, fleet.calendar, role, rng, demand_of(plan, fleet.calendar, index, fleet.factor))
    if Addition.DISK_LEAKS in plan.additions:
        metrics = np.column_stack([metrics, disk_used(fleet.calendar, plan.rng(Addition.DISK_LEAKS, index, life))])
    changes = (c for c in fleet.agenda.changes if c.server == index and c.kind is not ChangeKind.REPLACEMENT)
    restart(plan, role, [change.at for change in changes], metrics, plan.rng(Addition.DEPLOYS, index))
    return metrics


def _suffer(plan: FleetPlan, incident: Incident, metrics: Floats, wrong: np.random.Generator) -> Impact | None:
    """Let an incident change a server's metrics, in place; what the users of its service feel of it."""
    if incident.kind is AddedKind.SILENT:
        return None
    addition = ADDITION_OF.get(incident.kind)
    rng = wrong if addition is None else plan.rng(addition, incident.server, incident.first)
    effects.apply(plan, role_of(incident.server), incident, metrics, rng)
    return impact_of(plan, incident, metrics) if Addition.OBJECTIVES in plan.additions else None


def _lose(
    plan: FleetPlan, index: int, incidents: Sequence[Incident], metrics: Floats, lost: np.random.Generator
) -> NDArray[np.bool_]:
    """Set single values to NaN, in place; which rows arrive."""
    usual = [incident for incident in incidents if isinstance(incident.kind, IncidentKind)]
    gaps.remove_values(plan, metrics[:, : len(METRICS)], lost)
    here = gaps.arrived(plan, usual, lost)
    if Addition.DISK_LEAKS in plan.additions:
        missing = plan.rng(Addition.DISK_LEAKS, index).random(len(metrics)) < plan.missing_values
        metrics[missing, DISK_FILLED] = np.nan
    for incident in incidents:
        if incident.kind is AddedKind.SILENT:
            gaps.silence(incident, metrics, here, plan.rng(Addition.SILENT_AGENTS, index, incident.first))
    here &= np.isfinite(metrics).any(axis=1)
    return here
