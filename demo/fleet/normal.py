"""What one server does when nothing is wrong: cycles, jobs, backups, busy days of the fleet, and noise."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from demo.fleet.noise import bursts, smooth, tailed, wander
from demo.fleet.plan import FleetPlan
from demo.fleet.roles import Role

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The plan's time grid and the load that the whole fleet shares; made once, used by every server."""

    seconds: NDArray[np.int64]  # since the epoch, UTC
    hour: Floats  # of the day, with its fraction
    weekend: NDArray[np.bool_]
    month_end: Floats  # 0..1: how much of the month-end load is on
    shared: Floats  # relative load that all user-facing servers feel together


def make_calendar(plan: FleetPlan) -> Calendar:
    """The grid of a plan; deterministic in its seed."""
    length = plan.rows_per_server
    seconds = int(plan.start.timestamp()) + plan.step_s * np.arange(length, dtype=np.int64)
    day = seconds // 86_400
    hour = (seconds % 86_400) / 3600.0
    weekday = (day + 3) % 7  # the epoch was a Thursday
    rng = np.random.default_rng([plan.seed, 0xF1EE7])
    shared = wander(rng, length, sd=0.05, steps=plan.minutes(180))
    days = int(day[-1] - day[0]) + 1
    # About every fifth evening a campaign brings a third more users for two hours: a load, not an incident.
    for number in np.flatnonzero(rng.random(days) < 0.2):
        start = rng.uniform(17.0, 20.0) + 24.0 * number
        hours = (day - day[0]) * 24.0 + hour
        shared += 0.33 * np.exp(-0.5 * ((hours - start - 1.0) / 0.55) ** 2)
    busy = np.array([_is_month_end(plan.start, int(d - day[0])) for d in range(int(day[0]), int(day[-1]) + 1)])
    office = np.clip(np.minimum(hour - 7.0, 20.0 - hour) / 2.0, 0.0, 1.0)
    return Calendar(
        seconds=seconds, hour=hour, weekend=weekday >= 5, month_end=office * busy[day - day[0]], shared=shared
    )


def _is_month_end(start: datetime, offset: int) -> bool:
    """Whether a day is among the last two working days of its month."""
    day = start.date() + timedelta(days=offset)
    if day.weekday() >= 5:
        return False
    working_days_left = 0
    after = day + timedelta(days=1)
    while after.month == day.month:
        working_days_left += after.weekday() < 5
        after += timedelta(days=1)
    return working_days_left < 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What additions do to a server's load; draws no random number of the server's own."""

    factor: Floats | float = 1.0  # (rows,) times the usual load
    busy: Floats | None = None  # (rows,) 0..1, how far the second mode is on; None: there is none


_USUAL = Demand()
_BUSY_CPU = 90.0  # percent, in the busy mode of a server that has two
_IDLE_SHARE = 0.5  # of the usual load, in the other


def normal_metrics(
    plan: FleetPlan, calendar: Calendar, role: Role, rng: np.random.Generator, demand: Demand = _USUAL
) -> Floats:
    """One server's four metrics (rows, 4) in the order of `METRICS`, within their physical limits."""
    length = plan.rows_per_server
    size = float(np.exp(rng.normal(0.0, 0.18)))  # this server's share of the role's load
    load = _load(plan, calendar, role, rng) * size * demand.factor
    if demand.busy is not None:
        full = (_BUSY_CPU - role.idle_cpu) / role.peak_cpu
        load = _IDLE_SHARE * load * (1.0 - demand.busy) + full * demand.busy
    backup = _backup(plan, calendar, rng) if role.backup else np.zeros(length)
    jobs = _jobs(plan, calendar, role, rng)

    spread = 0.5 + 0.035 * role.peak_cpu * load  # a busy server is a noisier one
    cpu = role.idle_cpu * np.exp(rng.normal(0, 0.2)) + role.peak_cpu * load + 13.0 * backup + 34.0 * jobs
    cpu += spread * (0.8 * tailed(rng, length) + wander(rng, length, sd=0.9, steps=plan.minutes(6)))
    cpu += bursts(rng, length, chance=9 * plan.step_s / 86_400, size=6.0, steps=plan.minutes(1.5))
    cpu = np.clip(cpu, 0.3, 93.0 + 1.5 * rng.random(length))

    memory = role.base_memory * np.exp(rng.normal(0, 0.1))
    memory += role.memory_per_cpu * smooth(cpu, steps=plan.minutes(role.memory_lag_minutes))
    memory += wander(rng, length, sd=0.8, steps=plan.minutes(600)) + 0.18 * tailed(rng, length)

    level = role.network_mbps * np.exp(rng.normal(0, 0.25))
    wobble = np.exp(wander(rng, length, sd=0.1, steps=plan.minutes(8)) + 0.07 * tailed(rng, length))
    network = level * ((0.03 + load + 0.25 * jobs) * wobble + 0.45 * backup)
    network += level * bursts(rng, length, chance=6 * plan.step_s / 86_400, size=0.15, steps=plan.minutes(2))

    level = role.disk_iops * np.exp(rng.normal(0, 0.25))
    wobble = np.exp(wander(rng, length, sd=0.14, steps=plan.minutes(5)) + 0.12 * tailed(rng, length))
    hourly = 0.22 * (calendar.seconds // 60 % 60 < 2)  # log rotation at the full hour
    disk = level * (0.06 + 0.9 * load + hourly + 1.2 * backup + 0.7 * jobs) * wobble
    disk += level * bursts(rng, length, chance=12 * plan.step_s / 86_400, size=0.25, steps=plan.minutes(1.5))

    return np.column_stack(
        [cpu, np.clip(memory, 2.0, 97.0), np.clip(network, 0.01, role.nic_mbps), np.maximum(disk, 0.1)]
    )


def _load(plan: FleetPlan, calendar: Calendar, role: Role, rng: np.random.Generator) -> Floats:
    """Relative load, about 1.0 at a weekday's peak."""
    length = plan.rows_per_server
    hours = np.arange(-1, 26)
    shape = role.day_shape()[hours % 24]
    shifted = (calendar.hour - rng.normal(0.0, 0.35)) % 24.0
    load = np.interp(shifted, hours, shape)
    days = int(plan.days) + 2
    own_day = np.exp(rng.normal(0.0, 0.05, days))  # no two days are alike
    load *= own_day[(calendar.seconds - calendar.seconds[0]) // 86_400]
    load *= np.where(calendar.weekend, role.weekend, 1.0)
    load *= 1.0 + calendar.shared * (0.4 if role.job_every_hours else 1.0) + role.month_end * calendar.month_end
    drift = wander(rng, length, sd=0.05, steps=plan.minutes(150)) + wander(rng, length, sd=0.05, steps=plan.minutes(15))
    return np.maximum(load * (1.0 + drift), 0.01)


def _backup(plan: FleetPlan, calendar: Calendar, rng: np.random.Generator) -> Floats:
    """0..1: the nightly backup, at this server's own time, some minutes early or late, longer on Sundays."""
    on = np.zeros(plan.rows_per_server)
    usual_start, usual_minutes = rng.uniform(0.4, 2.2), rng.uniform(18.0, 40.0)
    day = (calendar.seconds - calendar.seconds[0]) // 86_400
    for number in range(int(day[-1]) + 2):
        late, longer = rng.normal(0.0, 4.0), np.exp(rng.normal(0.0, 0.1))
        begin = int(np.searchsorted(calendar.seconds, _midnight(plan, number) + int(usual_start * 3600 + late * 60)))
        end = min(begin + plan.minutes(usual_minutes * longer), len(on))
        on[begin:end] = rng.uniform(0.85, 1.1)
    return on


def _jobs(plan: FleetPlan, calendar: Calendar, role: Role, rng: np.random.Generator) -> Floats:
    """0..1: scheduled jobs of a batch server, each of its own length."""
    on = np.zeros(plan.rows_per_server)
    if not role.job_every_hours:
        return on
    minute, usual_minutes = rng.uniform(2.0, 20.0), rng.uniform(22.0, 40.0)
    period = role.job_every_hours * 3600
    for start in range(_midnight(plan, 0), int(calendar.seconds[-1]), period):
        length, strength = usual_minutes * np.exp(rng.normal(0.0, 0.12)), rng.uniform(0.85, 1.1)
        begin = int(np.searchsorted(calendar.seconds, start + int(minute * 60)))
        on[begin : begin + plan.minutes(length)] = strength
    return on


def _midnight(plan: FleetPlan, day: int) -> int:
    first = int(plan.start.timestamp())
    return first - first % 86_400 + 86_400 * day
