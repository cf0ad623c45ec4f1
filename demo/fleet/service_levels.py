"""What the users of a service get, step by step: latency and errors, from its load and from what goes wrong."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.fleet.impact import Impact
from demo.fleet.incidents import Incident
from demo.fleet.noise import tailed, wander
from demo.fleet.normal import Calendar
from demo.fleet.plan import Addition, FleetPlan
from demo.fleet.roles import WEB
from training.history.objectives import Objective

Floats = NDArray[np.float64]

OBJECTIVE = Objective(latency_p95_ms_below=300.0, error_ratio_below=0.01)
# Load alone never breaches an objective, so that each breach has an incident behind it.
_WORST_USUAL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLevel:
    """The service level indicators of one service, as they are written."""

    latency_p95_ms: NDArray[np.float32]  # (rows,)
    error_ratio: NDArray[np.float32]  # (rows,)

    def is_breached(self) -> NDArray[np.bool_]:
        """Where the objective is missed (rows,)."""
        return OBJECTIVE.is_missed(self.latency_p95_ms, self.error_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualLevel:
    """One service's level on its load alone."""

    latency_ms: Floats
    errors: Floats

    def with_impacts(self, impacts: Iterable[tuple[Incident, Impact]]) -> ServiceLevel:
        """The level that users got: slow as the worst of what slows it, and all failures together."""
        slower, failing = np.zeros_like(self.latency_ms), np.zeros_like(self.errors)
        for incident, impact in impacts:
            span = slice(incident.first, incident.last + 1)
            slower[span] = np.maximum(slower[span], impact.slower_ms)
            failing[span] += impact.failing
        return ServiceLevel(
            latency_p95_ms=(self.latency_ms + slower).round(1).astype(np.float32),
            error_ratio=np.minimum(self.errors + failing, 1.0).round(5).astype(np.float32),
        )


def usual_level(plan: FleetPlan, calendar: Calendar, service: int, factor: Floats | float) -> UsualLevel:
    """A service's level on its load alone; `factor` is the month ends', as for the servers."""
    rng, length = plan.rng(Addition.OBJECTIVES, service), plan.rows_per_server
    hours = np.arange(-1, 26)
    load = np.interp(calendar.hour, hours, WEB.day_shape()[hours % 24]) * (1.0 + calendar.shared) * factor
    wobble = wander(rng, length, sd=0.06, steps=plan.minutes(10)) + 0.03 * tailed(rng, length)
    latency = rng.uniform(85.0, 110.0) * (1.0 + 0.3 * load + 0.15 * load**2) * np.exp(wobble)
    errors = rng.uniform(0.0004, 0.0012) * np.exp(wander(rng, length, sd=0.3, steps=plan.minutes(20)))
    return UsualLevel(
        latency_ms=np.minimum(latency, _WORST_USUAL * OBJECTIVE.latency_p95_ms_below),
        errors=np.minimum(errors, _WORST_USUAL * OBJECTIVE.error_ratio_below),
    )


def first_breach(usual: UsualLevel, incident: Incident, impact: Impact) -> int | None:
    """The first step at which an incident, by itself, breaches its service's objective; None if it never does."""
    breached = np.flatnonzero(usual.with_impacts([(incident, impact)]).is_breached())
    return int(breached[0]) if len(breached) else None
