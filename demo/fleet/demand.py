"""Load beyond the usual day and week that is no incident: month ends, and services with two modes of traffic."""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from demo.fleet.normal import Calendar, Demand
from demo.fleet.plan import Addition, FleetPlan
from demo.fleet.roles import APP, BATCH, DATABASE, WEB, Role, role_of
from demo.fleet.services import service_of

Floats = NDArray[np.float64]

_MONTH_END_DAYS = 3
_BATCH_ROLES, _OFFICE_ROLES = (APP, DATABASE, BATCH), (WEB, APP)


def month_end_factor(plan: FleetPlan, calendar: Calendar) -> Floats | float:
    """What the fleet's load is multiplied with: 1, rising to 1.5 and up to 2 over the last three days of a month."""
    if Addition.MONTH_ENDS not in plan.additions:
        return 1.0
    rng = plan.rng(Addition.MONTH_ENDS)
    day = (calendar.seconds - calendar.seconds[0] + int(plan.start.timestamp()) % 86_400) // 86_400
    factors = []
    peak = 1.0
    for offset in range(-1, int(day[-1]) + 1):
        date = plan.start.date() + timedelta(days=offset)
        days_left = ((date.replace(day=1) + timedelta(days=32)).replace(day=1) - date).days - 1
        if days_left == _MONTH_END_DAYS - 1 or peak == 1.0:
            peak = float(rng.uniform(1.75, 2.0))  # no two months are alike
        progress = (_MONTH_END_DAYS - 1 - days_left) / (_MONTH_END_DAYS - 1)
        factors.append(1.0 if days_left >= _MONTH_END_DAYS else 1.5 + (peak - 1.5) * progress)
    before, now = np.array(factors[:-1])[day], np.array(factors[1:])[day]
    factor: Floats = before + (now - before) * np.clip(calendar.hour / 3.0, 0.0, 1.0)  # no step at midnight
    return factor


def demand_of(plan: FleetPlan, calendar: Calendar, server: int, factor: Floats | float) -> Demand:
    """The demand on one server.

    Args:
        plan, calendar: Of the fleet.
        server: Its index.
        factor: What `month_end_factor` gave, once for all servers.
    """
    return Demand(factor=factor, busy=_busy(plan, calendar, service_of(server), role_of(server)))


def _busy(plan: FleetPlan, calendar: Calendar, service: int, role: Role) -> Floats | None:
    """Every second service has two modes: a nightly or daily batch of hours, or working days against the rest."""
    if Addition.BIMODAL not in plan.additions or service % 2:
        return None
    rng = plan.rng(Addition.BIMODAL, service)  # one stream a service: its servers are busy together
    if service % 4:
        return _working_days(calendar, rng) if role in _OFFICE_ROLES else None
    return _batch(calendar, rng) if role in _BATCH_ROLES else None


def _batch(calendar: Calendar, rng: np.random.Generator) -> Floats:
    """On for some hours of each day, at the service's own time, a few minutes early or late."""
    usual_start, usual_hours = rng.uniform(0.0, 24.0), rng.uniform(3.0, 6.0)
    hours = (calendar.seconds - calendar.seconds[0]) / 3600.0 + calendar.hour[0]
    on = np.zeros(len(hours))
    for day in range(-1, int(hours[-1] // 24) + 1):
        start = 24.0 * day + usual_start + rng.normal(0.0, 0.08)
        end = start + usual_hours * np.exp(rng.normal(0.0, 0.04))
        on = np.maximum(on, _between(hours, start, end, ramp=0.15))
    return on


def _working_days(calendar: Calendar, rng: np.random.Generator) -> Floats:
    """On through the office hours of working days."""
    start, end = rng.uniform(7.0, 9.0), rng.uniform(17.0, 19.0)
    return _between(calendar.hour, start, end, ramp=1.0) * ~calendar.weekend


def _between(hours: Floats, start: float, end: float, *, ramp: float) -> Floats:
    within: Floats = np.clip(np.minimum(hours - start, end - hours) / ramp, 0.0, 1.0)
    return within
