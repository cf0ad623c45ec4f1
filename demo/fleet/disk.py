"""How full a server's disk is when nothing leaks."""

import numpy as np
from numpy.typing import NDArray

from demo.fleet.noise import tailed
from demo.fleet.normal import Calendar


def disk_used(calendar: Calendar, rng: np.random.Generator) -> NDArray[np.float64]:
    """Percent used (rows,): data grow over weeks, logs through the day until they are rotated at night."""
    days = (calendar.seconds - calendar.seconds[0]) / 86_400.0
    rotated_at, logs = rng.uniform(1.0, 5.0), rng.uniform(0.5, 3.0)
    since_rotation = (calendar.hour - rotated_at) % 24.0 / 24.0
    used = rng.uniform(22.0, 58.0) + rng.uniform(0.02, 0.3) * days + logs * since_rotation
    used += 0.03 * tailed(rng, len(used))
    percent: NDArray[np.float64] = np.clip(used, 0.5, 85.0)
    return percent
