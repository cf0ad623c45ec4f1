"""When something goes wrong with which server: drawn for the whole fleet at once, in the test part only."""

from dataclasses import dataclass

import numpy as np

from demo.fleet.normal import Calendar
from demo.fleet.plan import AddedKind, FleetPlan, IncidentKind
from demo.fleet.roles import APP, BATCH, CACHE, DATABASE, STORAGE, WEB, Role, role_of

_SERVING = (WEB, APP, CACHE)
_OFFICE = (APP, DATABASE, STORAGE)
_DAY = (9.0, 17.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an incident of one kind usually goes."""

    minutes: tuple[float, float]  # how long it lasts
    roles: tuple[Role, ...]  # where it happens
    hours: tuple[float, float] = (0.0, 24.0)  # of the day (UTC) in which it begins
    working_days_only: bool = False


COURSES = {
    IncidentKind.CPU_SPIKE: Course(minutes=(15, 75), roles=(WEB, APP, DATABASE, CACHE, STORAGE)),
    IncidentKind.MEMORY_LEAK: Course(minutes=(180, 480), roles=(WEB, APP, BATCH)),
    # At night nobody, a human included, could tell an idle server from a dead one.
    IncidentKind.SUDDEN_DROP: Course(
        minutes=(20, 90), roles=(WEB, APP, DATABASE, CACHE), hours=_DAY, working_days_only=True
    ),
    IncidentKind.EXFILTRATION: Course(minutes=(40, 150), roles=(WEB, APP, DATABASE, STORAGE)),
    IncidentKind.DDOS: Course(minutes=(12, 60), roles=(WEB, CACHE, APP)),
    IncidentKind.BROKEN_CORRELATION: Course(
        minutes=(120, 300), roles=(WEB, APP), hours=(9.0, 14.0), working_days_only=True
    ),
    IncidentKind.DISK_STORM: Course(minutes=(20, 90), roles=(WEB, APP, DATABASE, STORAGE)),
    # After every backup is over, before the first people arrive.
    IncidentKind.OFF_HOURS: Course(minutes=(50, 110), roles=_OFFICE, hours=(3.6, 4.2)),
    IncidentKind.FLAPPING: Course(minutes=(50, 150), roles=_SERVING, hours=(7.0, 20.0)),
}

APART_MINUTES = 240  # between two incidents of one server: more than the 60 that would merge them


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident to be: steps `first` to `last` of one server, both inclusive."""

    server: int  # index in the fleet
    kind: IncidentKind | AddedKind
    first: int
    last: int
    event: str = ""  # the same on every server that one cause hits


def schedule(plan: FleetPlan, calendar: Calendar) -> list[Incident]:
    """The fleet's incidents, by server and time; each kind as often as the others, as far as there is room."""
    rng = np.random.default_rng([plan.seed, 0x1C1DE])
    wanted = round(plan.servers * plan.test_weeks * plan.incidents_per_server_week)
    kinds = [plan.kinds[i % len(plan.kinds)] for i in range(wanted)]
    taken: dict[int, list[tuple[int, int]]] = {}
    incidents = []
    for kind in kinds:
        incident = _place(plan, calendar, kind, taken, rng)
        if incident is not None:
            taken.setdefault(incident.server, []).append((incident.first, incident.last))
            incidents.append(incident)
    return sorted(incidents, key=lambda i: (i.server, i.first))


def _place(
    plan: FleetPlan,
    calendar: Calendar,
    kind: IncidentKind,
    taken: dict[int, list[tuple[int, int]]],
    rng: np.random.Generator,
) -> Incident | None:
    """Find a server and a time; None when there is no room left for this kind."""
    course = COURSES[kind]
    able = [i for i in range(plan.servers) if role_of(i) in course.roles]
    begin = plan.train_rows + plan.minutes(60)
    if not able:
        return None
    fewest = min(len(taken.get(i, [])) for i in able)
    rested = [i for i in able if len(taken.get(i, [])) == fewest]
    for attempt in range(400):
        server = int(rng.choice(rested if attempt < 40 else able))
        length = plan.minutes(float(np.exp(rng.uniform(*np.log(course.minutes)))))
        end = plan.rows_per_server - length - plan.minutes(30)
        if end <= begin:
            return None
        first = int(rng.integers(begin, end))
        low, high = course.hours
        if not low <= calendar.hour[first] < high or (course.working_days_only and calendar.weekend[first]):
            continue
        last, apart = first + length - 1, plan.minutes(APART_MINUTES)
        if all(last + apart < a or b + apart < first for a, b in taken.get(server, [])):
            return Incident(server=server, kind=kind, first=first, last=last)
    return None
