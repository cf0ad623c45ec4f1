"""What a deploy does to a server when nothing is wrong with it."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from demo.fleet.plan import FleetPlan
from demo.fleet.roles import Role
from demo.fleet.scene import CPU, DISK, MEMORY, NETWORK, keep_limits


def restart(
    plan: FleetPlan, role: Role, steps: Iterable[int], metrics: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Restart a server at some steps, in place: away for minutes, an empty cache that refills, levels a little moved.

    Args:
        plan, role: Of the server.
        steps: When it restarts, in order of time.
        metrics: Its values (rows, metrics).
        rng: Random numbers of this server's deploys.
    """
    for step in steps:
        rows = metrics[step:]
        since = np.arange(len(rows)) * plan.step_s / 60  # minutes
        away = plan.minutes(float(rng.uniform(1.0, 3.0)))
        moved = 1.0 + rng.normal(0.0, 0.015, size=2)  # another version needs a little more, or less
        rows[:, [CPU, MEMORY]] *= moved
        rows[:, MEMORY] *= 1.0 - rng.uniform(0.1, 0.25) * np.exp(-since / rng.uniform(15.0, 40.0))
        rows[:, CPU] += rng.uniform(4.0, 9.0) * np.exp(-since / 5.0)  # compiling, filling caches
        rows[:, DISK] *= 1.0 + rng.uniform(0.3, 0.8) * np.exp(-since / 10.0)
        rows[:away, CPU] *= 0.25
        rows[:away, NETWORK] *= 0.1
        keep_limits(role, rows)
