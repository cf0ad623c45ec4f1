"""What the users of a service feel of an incident on one of its servers: when, and how much."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.fleet.incidents import Incident
from demo.fleet.plan import AddedKind, Addition, FleetPlan, IncidentKind
from demo.fleet.scene import CPU, DISK_FILLED, MEMORY, Scene, scene_of
from demo.fleet.services import request_share

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """On the service's requests, from an incident's first step to its last."""

    slower_ms: Floats  # (steps,) added to the 95th percentile of the latency
    failing: Floats  # (steps,) share of all requests of the service


def impact_of(plan: FleetPlan, incident: Incident, metrics: Floats) -> Impact | None:
    """What an incident does to the service of its server, given the server's metrics (rows, metrics) with its effect.

    None when users feel nothing, whatever the incident does: of its kind, or on a batch server.
    """
    felt, share = _FELT.get(incident.kind), request_share(plan, incident.server)
    if felt is None or share == 0.0:
        return None
    rng = plan.rng(Addition.OBJECTIVES, incident.server, incident.first)
    slower_ms, failing = felt(scene_of(plan, incident, metrics, rng))
    return Impact(slower_ms=slower_ms, failing=share * failing)


def _saturated(scene: Scene) -> tuple[Floats, Floats]:
    over = np.clip((scene.rows[:, CPU] - 82.0) / 14.0, 0.0, 1.0)
    return scene.rng.uniform(350.0, 900.0) * over, scene.rng.uniform(0.0, 0.06) * over


def _short_of_memory(scene: Scene) -> tuple[Floats, Floats]:
    """Felt once memory is scarce, hours after it began to go; requests fail while the process starts again."""
    scarce = np.clip((scene.rows[:, MEMORY] - 84.0) / 12.0, 0.0, 1.0) ** 2
    failing = np.zeros(len(scarce))
    failing[-scene.plan.minutes(4) :] = 0.8
    return scene.rng.uniform(500.0, 1200.0) * scarce, failing


def _refusing(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=1, down_minutes=3)
    return scene.rng.uniform(0.0, 150.0) * on, scene.rng.uniform(0.4, 1.0) * on


def _flooded(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=float(scene.rng.uniform(3.0, 12.0)), down_minutes=4)
    return scene.rng.uniform(300.0, 800.0) * on, scene.rng.uniform(0.01, 0.15) * on


def _cold(scene: Scene) -> tuple[Floats, Floats]:
    """Slower without its cache, sometimes by too little to miss an objective."""
    on = scene.ramp(up_minutes=float(scene.rng.uniform(60.0, 120.0)), down_minutes=10)
    return scene.rng.uniform(20.0, 300.0) * on, np.zeros(len(on))


def _waiting_for_disk(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=float(scene.rng.uniform(4.0, 15.0)), down_minutes=3)
    return scene.rng.uniform(250.0, 700.0) * on, np.zeros(len(on))


def _away_and_back(scene: Scene) -> tuple[Floats, Floats]:
    is_away = np.where(scene.rows[:, CPU] < 30.0, 1.0, 0.0)
    return np.zeros(len(is_away)), scene.rng.uniform(0.3, 0.8) * is_away


def _bad_answers(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=2)
    return np.zeros(len(on)), scene.rng.uniform(0.3, 0.7) * on


def _slow_version(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=float(scene.rng.uniform(3.0, 30.0)))
    return scene.rng.uniform(250.0, 600.0) * on, np.zeros(len(on))


def _disk_full(scene: Scene) -> tuple[Floats, Floats]:
    """Felt when nothing can be written any more, hours or days after the leak began."""
    used = scene.rows[:, DISK_FILLED]
    return 150.0 * np.clip((used - 97.0) / 3.0, 0.0, 1.0), scene.rng.uniform(0.3, 0.9) * np.where(
        used >= 99.9, 1.0, 0.0
    )


def _lost_on_the_way(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=2, down_minutes=2)
    return scene.rng.uniform(250.0, 900.0) * on, scene.rng.uniform(0.02, 0.3) * on


def _waiting_for_others(scene: Scene) -> tuple[Floats, Floats]:
    on = scene.ramp(up_minutes=float(scene.rng.uniform(4.0, 12.0)), down_minutes=4)
    return scene.rng.uniform(250.0, 900.0) * on, np.zeros(len(on))


# Nobody feels the other kinds: data leave unseen, work at night disturbs no one, a silent agent's server still serves.
_FELT: dict[IncidentKind | AddedKind, Callable[[Scene], tuple[Floats, Floats]]] = {
    IncidentKind.CPU_SPIKE: _saturated,
    IncidentKind.MEMORY_LEAK: _short_of_memory,
    IncidentKind.SUDDEN_DROP: _refusing,
    IncidentKind.DDOS: _flooded,
    IncidentKind.BROKEN_CORRELATION: _cold,
    IncidentKind.DISK_STORM: _waiting_for_disk,
    IncidentKind.FLAPPING: _away_and_back,
    AddedKind.DEPLOY_ERRORS: _bad_answers,
    AddedKind.DEPLOY_SLOW: _slow_version,
    AddedKind.DEPLOY_LEAK: _short_of_memory,
    AddedKind.DISK_LEAK: _disk_full,
    AddedKind.NETWORK_LOSS: _lost_on_the_way,
    AddedKind.SLOW_DEPENDENCY: _waiting_for_others,
    AddedKind.ZONE_OUTAGE: _refusing,
}
