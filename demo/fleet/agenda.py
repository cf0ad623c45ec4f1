"""What the additions bring, and when: drawn for the whole fleet at once, around the plain fleet's incidents.

All of it is drawn whenever any of it is wanted, in one order, and what is not wanted is left out afterwards. So an
addition finds the same room whatever else is switched on, and no two incidents of a server overlap in any mixture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from demo.fleet.incidents import APART_MINUTES, Incident
from demo.fleet.normal import Calendar
from demo.fleet.plan import ADDITION_OF, AddedKind, Addition, FleetPlan
from demo.fleet.roles import APP, WEB, role_of
from demo.fleet.services import ZONES, is_serving, members, service_count, service_of, zone_of

_ATTEMPTS = 400
_OFFICE_HOURS = (9.0, 17.0)
_BUSY_HOURS = (8.0, 19.0)  # when losing half the traffic shows
_DEPLOYS_A_WORKING_DAY = 0.5
_HARMFUL_SHARE = 0.2
# A server-week of the test part; each at least once, however small the fleet.
_DISK_LEAKS, _SILENCES, _REPLACEMENTS = 0.05, 0.08, 0.06
_SHARED_EVENTS_A_WEEK, _SHARED_EVENTS_A_SERVICE_WEEK = 2.0, 0.15
_FEWEST_SHARED = 3


class ChangeKind(StrEnum):
    """What people or automation did to a server; the value stands in the changes CSV."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    REPLACEMENT = "replacement"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChange:
    """One change of one server; those that belong together share their name."""

    name: str
    kind: ChangeKind
    server: int
    at: int  # step


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A server that another one takes the place of, from step `at` on, after `gap` steps without any."""

    at: int
    gap: int
    keeps_id: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What the chosen additions bring."""

    incidents: tuple[Incident, ...] = ()
    changes: tuple[ServerChange, ...] = ()  # by time
    replacements: Mapping[int, Replacement] = field(default_factory=dict)  # by server


@dataclass(slots=True, kw_only=True)
class _Diary:
    """Which spans of which server are taken."""

    plan: FleetPlan
    calendar: Calendar
    taken: dict[int, list[tuple[int, int]]]

    def is_free(self, server: int, first: int, last: int) -> bool:
        """Whether a span lies in the test part, and away from every incident of the server."""
        apart = self.plan.minutes(APART_MINUTES)
        begin = self.plan.train_rows + self.plan.minutes(60)
        end = self.plan.rows_per_server - self.plan.minutes(30)
        return (
            begin <= first and last < end and all(last + apart < a or b + apart < first for a, b in self.spans(server))
        )

    def take(self, incidents: Iterable[Incident]) -> None:
        """Mark their spans."""
        for incident in incidents:
            self.taken.setdefault(incident.server, []).append((incident.first, incident.last))

    def spans(self, server: int) -> Sequence[tuple[int, int]]:
        """The spans of one server."""
        return self.taken.get(server, ())

    def is_working_time(self, step: int, hours: tuple[float, float]) -> bool:
        """Whether a step lies on a working day, between two hours (UTC)."""
        return hours[0] <= self.calendar.hour[step] < hours[1] and not self.calendar.weekend[step]

    def any_step(self, rng: np.random.Generator) -> int:
        """A step of the test part."""
        return int(rng.integers(self.plan.train_rows, self.plan.rows_per_server))

    def count(self, a_server_week: float) -> int:
        """How many there are of something, at least one."""
        return max(1, round(self.plan.servers * self.plan.test_weeks * a_server_week))


def make_agenda(plan: FleetPlan, calendar: Calendar, incidents: Iterable[Incident]) -> Agenda:
    """Draw the additions of a plan.

    Args:
        plan: The plan; without an addition that needs a time and a place, nothing is drawn.
        calendar: Of the same plan.
        incidents: Those of the plain fleet, which stay as they are.
    """
    if not plan.additions - {Addition.OBJECTIVES, Addition.MONTH_ENDS, Addition.BIMODAL}:
        return Agenda()
    diary = _Diary(plan=plan, calendar=calendar, taken={})
    diary.take(incidents)
    drawn = _shared_events(diary, plan.rng(Addition.SHARED_EVENTS))
    deploys, harm = _deploys(diary, plan.rng(Addition.DEPLOYS))
    drawn += harm
    drawn += _disk_leaks(diary, plan.rng(Addition.DISK_LEAKS))
    drawn += _silences(diary, plan.rng(Addition.SILENT_AGENTS))
    replacements = _replacements(diary, plan.rng(Addition.REPLACED_SERVERS))
    changes = deploys if Addition.DEPLOYS in plan.additions else []
    if Addition.REPLACED_SERVERS not in plan.additions:
        replacements = {}
    for number, (server, each) in enumerate(replacements.items(), start=1):
        name = f"replacement-{number:03d}"
        changes.append(ServerChange(name=name, kind=ChangeKind.REPLACEMENT, server=server, at=each.at))
    return Agenda(
        incidents=tuple(i for i in drawn if ADDITION_OF[i.kind] in plan.additions),
        changes=tuple(sorted(changes, key=lambda change: (change.at, change.server))),
        replacements=replacements,
    )


def _shared_events(diary: _Diary, rng: np.random.Generator) -> list[Incident]:
    """One cause on several servers: each kind as often as the others, as far as there is room."""
    plan = diary.plan
    rate = _SHARED_EVENTS_A_WEEK + _SHARED_EVENTS_A_SERVICE_WEEK * service_count(plan)
    kinds = (AddedKind.ZONE_OUTAGE, AddedKind.NETWORK_LOSS, AddedKind.SLOW_DEPENDENCY)
    events = []
    for number in range(max(len(kinds), round(rate * plan.test_weeks))):
        kind = kinds[number % len(kinds)]
        event = _place_shared(diary, kind, f"shared-{number + 1:03d}", rng)
        diary.take(event)
        events += event
    return events


def _place_shared(diary: _Diary, kind: AddedKind, name: str, rng: np.random.Generator) -> list[Incident]:
    """The incidents of one event, which begin and end within some minutes; none when there is no room."""
    plan = diary.plan
    minutes = (30, 150) if kind is AddedKind.SLOW_DEPENDENCY else (15, 75)
    for _ in range(_ATTEMPTS):
        length, first = plan.minutes(float(rng.uniform(*minutes))), diary.any_step(rng)
        if kind is AddedKind.ZONE_OUTAGE:
            zone = rng.choice(ZONES)
            able = [i for i in range(plan.servers) if is_serving(i) and zone_of(i) == zone]
        else:
            able = [i for i in members(plan, int(rng.integers(service_count(plan)))) if is_serving(i)]
            if kind is AddedKind.SLOW_DEPENDENCY:
                able = [i for i in able if role_of(i) in (WEB, APP)]  # those that wait for it
        free = [i for i in able if diary.is_free(i, first, first + length + plan.minutes(3))]
        if len(free) < _FEWEST_SHARED or not diary.is_working_time(first, _BUSY_HOURS):
            continue
        most = max(_FEWEST_SHARED, len(free) // (2 if kind is AddedKind.ZONE_OUTAGE else 1))
        hit = rng.choice(free, size=int(rng.integers(_FEWEST_SHARED, most + 1)), replace=False)
        late = rng.integers(0, plan.minutes(3) + 1, size=(2, len(hit)))
        return [
            Incident(server=int(i), kind=kind, first=first + int(a), last=first + length - 1 + int(b), event=name)
            for i, a, b in zip(hit, *late, strict=True)
        ]
    return []


def _deploys(diary: _Diary, rng: np.random.Generator) -> tuple[list[ServerChange], list[Incident]]:
    """Rolling deploys of services on working days, and what the harmful ones of the test part do."""
    plan, seconds = diary.plan, diary.calendar.seconds
    midnights = range(int(seconds[0] - seconds[0] % 86_400), int(seconds[-1]), 86_400)
    deploys: list[list[ServerChange]] = []
    for service in range(service_count(plan)):
        for midnight in midnights:
            is_wanted, hour = rng.random() < _DEPLOYS_A_WORKING_DAY, rng.uniform(*_OFFICE_HOURS)
            first = int(np.searchsorted(seconds, midnight + 3600 * hour))
            if is_wanted and first < len(seconds) and diary.is_working_time(first, _OFFICE_HOURS):
                name = f"deploy-{len(deploys) + 1:03d}"
                deploys.append(_rolling(plan, name, ChangeKind.DEPLOY, service, first, rng))
    tested = [deploy for deploy in deploys if deploy and deploy[0].at >= plan.train_rows]
    harm: list[Incident] = []
    rollbacks: list[ServerChange] = []
    wanted = max(1, round(_HARMFUL_SHARE * len(tested)))
    for number in rng.permutation(len(tested)).tolist():
        incidents, rollback = _harm(diary, tested[number], rng)
        if wanted and incidents:
            diary.take(incidents)
            harm += incidents
            rollbacks += rollback
            wanted -= 1
    return [change for deploy in deploys for change in deploy] + rollbacks, harm


def _rolling(
    plan: FleetPlan, name: str, kind: ChangeKind, service: int, first: int, rng: np.random.Generator
) -> list[ServerChange]:
    """One server of the service after the other, some minutes apart; a deploy that the end cuts off is left out."""
    at, changes = first, []
    for server in rng.permutation(members(plan, service)).tolist():
        changes.append(ServerChange(name=name, kind=kind, server=server, at=at))
        at += plan.minutes(float(rng.uniform(2.0, 6.0)))
    return changes if at < plan.rows_per_server else []


def _harm(
    diary: _Diary, deploy: Sequence[ServerChange], rng: np.random.Generator
) -> tuple[list[Incident], list[ServerChange]]:
    """What a deploy does when its version is bad: the servers of one role suffer until it is rolled back."""
    plan, name = diary.plan, deploy[0].name
    kind = AddedKind(rng.choice([AddedKind.DEPLOY_ERRORS, AddedKind.DEPLOY_SLOW, AddedKind.DEPLOY_LEAK]))
    role = (WEB, APP)[int(rng.integers(2))]
    minutes = rng.uniform(180.0, 360.0) if kind is AddedKind.DEPLOY_LEAK else rng.uniform(40.0, 120.0)
    back = deploy[-1].at + plan.minutes(float(minutes))
    rollback = _rolling(plan, name, ChangeKind.ROLLBACK, service_of(deploy[0].server), back, rng)
    ends = {change.server: change.at for change in rollback}
    hurt = [change for change in deploy if role_of(change.server) is role and ends]
    incidents = [
        Incident(server=each.server, kind=kind, first=each.at, last=ends[each.server] - 1, event=name) for each in hurt
    ]
    if not all(diary.is_free(i.server, i.first, i.last) for i in incidents):
        return [], []
    return incidents, rollback


def _disk_leaks(diary: _Diary, rng: np.random.Generator) -> list[Incident]:
    """Hours to days on any server."""
    most = 0.6 * (diary.plan.rows_per_server - diary.plan.train_rows) * diary.plan.step_s / 60
    minutes = (min(12 * 60.0, most / 2), min(4 * 1440.0, most))
    return _alone(diary, AddedKind.DISK_LEAK, diary.count(_DISK_LEAKS), minutes, rng)


def _silences(diary: _Diary, rng: np.random.Generator) -> list[Incident]:
    """Longer than the half hour that an agent of any fleet may be away."""
    return _alone(diary, AddedKind.SILENT, diary.count(_SILENCES), (60.0, 480.0), rng)


def _alone(
    diary: _Diary, kind: AddedKind, count: int, minutes: tuple[float, float], rng: np.random.Generator
) -> list[Incident]:
    """Incidents of one server each, at any time of the test part."""
    incidents: list[Incident] = []
    for _ in range(count):
        for _ in range(_ATTEMPTS):
            server, first = int(rng.integers(diary.plan.servers)), diary.any_step(rng)
            last = first + diary.plan.minutes(float(np.exp(rng.uniform(*np.log(minutes))))) - 1
            if diary.is_free(server, first, last):
                incident = Incident(server=server, kind=kind, first=first, last=last)
                diary.take([incident])
                incidents.append(incident)
                break
    return incidents


def _replacements(diary: _Diary, rng: np.random.Generator) -> dict[int, Replacement]:
    """Servers that begin anew in the test part; every second one under the id of the old one.

    An id ends only after its last incident, so that every label keeps the id it has without replacements.
    """
    plan, replaced = diary.plan, dict[int, Replacement]()
    for number in range(diary.count(_REPLACEMENTS)):
        keeps_id = number % 2 == 1
        for _ in range(_ATTEMPTS):
            server, at = int(rng.integers(plan.servers)), diary.any_step(rng)
            gap = plan.minutes(float(rng.uniform(5.0, 20.0)))
            is_last = all(last < at for _, last in diary.spans(server))
            if server not in replaced and (keeps_id or is_last) and diary.is_free(server, at, at + gap):
                replaced[server] = Replacement(at=at, gap=gap, keeps_id=keeps_id)
                break
    return replaced
