"""What an incident's effect, and its effect on the service's users, may look at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.fleet.incidents import Incident
from demo.fleet.noise import tailed, wander
from demo.fleet.plan import FleetPlan
from demo.fleet.roles import Role

Floats = NDArray[np.float64]
CPU, MEMORY, NETWORK, DISK, DISK_FILLED = range(5)  # columns; the last in fleets whose disks can fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an effect may look at: the incident's own rows (to be changed in place) and the server's usual levels."""

    rows: Floats  # (steps, metrics)
    peak: Floats  # (metrics,) a busy hour of this server: the 95th percentile
    median: Floats  # (metrics,)
    plan: FleetPlan
    rng: np.random.Generator

    def ramp(self, *, up_minutes: float, down_minutes: float = 1.0) -> Floats:
        """0..1: how far the incident is on, step by step; on from its very first step."""
        length, up, down = len(self.rows), self.plan.minutes(up_minutes), self.plan.minutes(down_minutes)
        steps = np.arange(length)
        return np.clip(np.minimum((steps + 1) / up, (length - steps) / down), 0.0, 1.0)

    def noise(self, sd: float, minutes: float = 4.0) -> Floats:
        """Noise with a memory, and some without."""
        length = len(self.rows)
        return wander(self.rng, length, sd=sd, steps=self.plan.minutes(minutes)) + 0.4 * sd * tailed(self.rng, length)


def scene_of(plan: FleetPlan, incident: Incident, metrics: Floats, rng: np.random.Generator) -> Scene:
    """The scene of an incident in one server's metrics (rows, metrics)."""
    before = metrics[: plan.train_rows]
    rows = metrics[incident.first : incident.last + 1]
    return Scene(
        rows=rows, peak=np.quantile(before, 0.95, axis=0), median=np.median(before, axis=0), plan=plan, rng=rng
    )


def keep_limits(role: Role, rows: Floats) -> None:
    """Put values back within what is physically possible, in place."""
    rows[:, CPU] = np.clip(rows[:, CPU], 0.3, 100.0)
    rows[:, MEMORY] = np.clip(rows[:, MEMORY], 2.0, 99.2)
    rows[:, NETWORK] = np.clip(rows[:, NETWORK], 0.01, role.nic_mbps)
    rows[:, DISK] = np.maximum(rows[:, DISK], 0.1)
