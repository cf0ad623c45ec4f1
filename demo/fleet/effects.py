"""What an incident does to a server's metrics, from its first step to its last."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from demo.fleet.incidents import Incident
from demo.fleet.plan import AddedKind, FleetPlan, IncidentKind
from demo.fleet.roles import Role
from demo.fleet.scene import CPU, DISK, DISK_FILLED, MEMORY, NETWORK, Scene, keep_limits, scene_of

Floats = NDArray[np.float64]


def apply(plan: FleetPlan, role: Role, incident: Incident, metrics: Floats, rng: np.random.Generator) -> None:
    """Change one server's metrics (rows, metrics) where the incident lies, within the physical limits."""
    scene = scene_of(plan, incident, metrics, rng)
    _EFFECTS[incident.kind](scene)
    keep_limits(role, scene.rows)


def _towards(values: Floats, target: Floats, weight: Floats) -> Floats:
    return values + weight * (target - values)


def _cpu_spike(scene: Scene) -> None:
    on = scene.ramp(up_minutes=3, down_minutes=2)
    rows = scene.rows
    rows[:, CPU] = _towards(rows[:, CPU], np.minimum(97.5 + scene.noise(1.0), 99.8), on)
    rows[:, MEMORY] += 4.0 * on * scene.ramp(up_minutes=20)
    rows[:, NETWORK] *= 1.0 - 0.25 * on  # busy, but serving less


def _memory_leak(scene: Scene) -> None:
    rows = scene.rows
    progress = np.arange(1, len(rows) + 1) / len(rows)
    top = scene.rng.uniform(93.0, 98.5)
    growth = (top - rows[0, MEMORY]) * progress**1.15
    rows[:, MEMORY] = np.maximum(rows[:, MEMORY], rows[0, MEMORY]) + growth
    late = np.clip((progress - 0.8) / 0.2, 0.0, 1.0)
    rows[:, CPU] += 18.0 * late  # collecting garbage
    rows[:, DISK] *= 1.0 + 1.2 * late  # swapping
    restart = slice(-scene.plan.minutes(4), None)  # the process is killed, and starts again
    if len(rows) > 3 * scene.plan.minutes(4):
        rows[restart, MEMORY] = 0.6 * scene.median[MEMORY] + scene.noise(0.6)[restart]
        rows[restart, CPU] *= 0.3


def _sudden_drop(scene: Scene) -> None:
    on = scene.ramp(up_minutes=1, down_minutes=3)
    left = scene.rng.uniform(0.02, 0.08)
    for metric in (NETWORK, DISK):
        scene.rows[:, metric] *= 1.0 - (1.0 - left) * on
    scene.rows[:, CPU] = _towards(scene.rows[:, CPU], 1.8 + np.abs(scene.noise(0.4)), on)
    scene.rows[:, MEMORY] -= on * scene.rng.uniform(3.0, 9.0)


def _exfiltration(scene: Scene) -> None:
    on = scene.ramp(up_minutes=6, down_minutes=3)
    extra = scene.rng.uniform(1.0, 2.0) * scene.peak[NETWORK]
    scene.rows[:, NETWORK] += on * extra * (1.0 + scene.noise(0.06))  # a steady stream, whatever the users do
    scene.rows[:, DISK] += on * scene.rng.uniform(0.3, 0.7) * scene.peak[DISK]
    scene.rows[:, CPU] += on * (6.0 + scene.noise(1.0))


def _ddos(scene: Scene) -> None:
    on = scene.ramp(up_minutes=2, down_minutes=4)
    flood = scene.rng.uniform(2.5, 5.0) * scene.peak[NETWORK]
    scene.rows[:, NETWORK] += on * flood * np.exp(scene.noise(0.18, 3.0))
    scene.rows[:, CPU] += on * (scene.rng.uniform(22.0, 38.0) + scene.noise(3.0))
    scene.rows[:, MEMORY] += on * scene.rng.uniform(3.0, 7.0)


def _broken_correlation(scene: Scene) -> None:
    """CPU goes on as on any day; memory is let go while the load rises, and comes back at the end."""
    on = scene.ramp(up_minutes=25, down_minutes=10)
    fallen = scene.median[MEMORY] - scene.rng.uniform(13.0, 19.0) + scene.noise(1.2, 20.0)
    mirrored = -0.4 * (scene.rows[:, CPU] - scene.rows[:, CPU].mean())
    scene.rows[:, MEMORY] = _towards(scene.rows[:, MEMORY], fallen + mirrored, on)


def _disk_storm(scene: Scene) -> None:
    on = scene.ramp(up_minutes=3, down_minutes=3)
    storm = scene.rng.uniform(2.5, 4.5) * scene.peak[DISK]
    scene.rows[:, DISK] += on * storm * np.exp(scene.noise(0.2, 3.0))
    scene.rows[:, CPU] += on * (scene.rng.uniform(8.0, 16.0) + scene.noise(1.5))  # waiting for the disk
    scene.rows[:, NETWORK] *= 1.0 - 0.3 * on


def _off_hours(scene: Scene) -> None:
    """A busy working hour, in the middle of the night."""
    on = scene.ramp(up_minutes=8, down_minutes=8)
    strength = scene.rng.uniform(0.85, 1.1)
    for metric, wobble in ((CPU, 0.07), (NETWORK, 0.12), (DISK, 0.15)):
        busy = strength * scene.peak[metric] * (1.0 + scene.noise(wobble))
        scene.rows[:, metric] = _towards(scene.rows[:, metric], busy, on)
    follows = scene.ramp(up_minutes=45, down_minutes=8)
    filled = scene.peak[MEMORY] + scene.noise(0.5, 20.0)
    scene.rows[:, MEMORY] = _towards(scene.rows[:, MEMORY], filled, follows)


def _flapping(scene: Scene) -> None:
    """Up and down every few minutes: a restart loop behind a load balancer."""
    rows, length = scene.rows, len(scene.rows)
    high = np.empty(length, dtype=bool)
    at, up = 0, False
    while at < length:
        steps = scene.plan.minutes(float(scene.rng.uniform(3.0, 9.0)))
        high[at : at + steps] = up
        at, up = at + steps, not up
    rows[:, CPU] = np.where(high, np.clip(86.0 + scene.noise(4.0), 60.0, 98.0), 3.0 + np.abs(scene.noise(0.8)))
    rows[:, NETWORK] *= np.where(high, 1.35, 0.06)
    rows[:, DISK] *= np.where(high, 1.6, 0.3)
    rows[:, MEMORY] += np.where(high, 2.0, -5.0)


def _deploy_errors(scene: Scene) -> None:
    """The new version answers most requests with an error: less work, and a log line for each."""
    on = scene.ramp(up_minutes=2)
    scene.rows[:, CPU] *= 1.0 - scene.rng.uniform(0.45, 0.65) * on
    scene.rows[:, NETWORK] *= 1.0 - scene.rng.uniform(0.5, 0.75) * on
    scene.rows[:, DISK] *= 1.0 + scene.rng.uniform(0.8, 1.6) * on


def _deploy_slow(scene: Scene) -> None:
    on = scene.ramp(up_minutes=3)
    scene.rows[:, CPU] += on * (scene.rng.uniform(24.0, 38.0) + scene.noise(3.0))
    scene.rows[:, MEMORY] += on * scene.rng.uniform(2.0, 6.0)


def _disk_leak(scene: Scene) -> None:
    """The disk fills steadily, is full for a while, and is cleared at the end; nothing else shows until it is full."""
    used = scene.rows[:, DISK_FILLED]
    length = len(used)
    full = min(length // 4, scene.plan.minutes(float(scene.rng.uniform(30.0, 90.0))))
    progress = np.minimum(np.arange(1, length + 1) / max(1, length - full), 1.0)
    used[:] = np.maximum(used, used[0] + (100.0 - used[0]) * progress)
    is_full = progress >= 1.0  # nothing can be written any more
    scene.rows[is_full, DISK] *= 0.15
    scene.rows[is_full, NETWORK] *= 0.5


def _network_loss(scene: Scene) -> None:
    """Packets are lost on the way: the servers are well, and less reaches them."""
    on = scene.ramp(up_minutes=1, down_minutes=2)
    lost = scene.rng.uniform(0.6, 0.9)
    scene.rows[:, NETWORK] *= 1.0 - lost * on * np.clip(1.0 + scene.noise(0.08), 0.0, 1.1)
    scene.rows[:, CPU] *= 1.0 - 0.6 * lost * on
    scene.rows[:, DISK] *= 1.0 - 0.5 * lost * on


def _slow_dependency(scene: Scene) -> None:
    """Requests wait for another service: they pile up in memory, and fewer are finished."""
    on = scene.ramp(up_minutes=6, down_minutes=4)
    scene.rows[:, MEMORY] += scene.rng.uniform(10.0, 18.0) * scene.ramp(up_minutes=20, down_minutes=8)
    scene.rows[:, CPU] *= 1.0 - scene.rng.uniform(0.35, 0.55) * on
    scene.rows[:, NETWORK] *= 1.0 - scene.rng.uniform(0.4, 0.6) * on


_EFFECTS: dict[IncidentKind | AddedKind, Callable[[Scene], None]] = {
    IncidentKind.CPU_SPIKE: _cpu_spike,
    IncidentKind.MEMORY_LEAK: _memory_leak,
    IncidentKind.SUDDEN_DROP: _sudden_drop,
    IncidentKind.EXFILTRATION: _exfiltration,
    IncidentKind.DDOS: _ddos,
    IncidentKind.BROKEN_CORRELATION: _broken_correlation,
    IncidentKind.DISK_STORM: _disk_storm,
    IncidentKind.OFF_HOURS: _off_hours,
    IncidentKind.FLAPPING: _flapping,
    AddedKind.DEPLOY_ERRORS: _deploy_errors,
    AddedKind.DEPLOY_SLOW: _deploy_slow,
    AddedKind.DEPLOY_LEAK: _memory_leak,  # which ends with a restart, as a rollback does
    AddedKind.DISK_LEAK: _disk_leak,
    AddedKind.NETWORK_LOSS: _network_loss,
    AddedKind.SLOW_DEPENDENCY: _slow_dependency,
    AddedKind.ZONE_OUTAGE: _sudden_drop,  # on many servers
}
