"""A fleet whose level shifts for good: a release that makes every server work harder."""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from demo.fleet.generate import generate
from demo.fleet.plan import FleetPlan
from training.history.files import open_history
from training.history.grid import Grid, grid_of
from treeline.core.times import to_ms

DAY_MS = 86_400_000
START = datetime(2026, 9, 1, tzinfo=UTC)  # no month end in the days that follow
SHIFTED = ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")
SHIFT_SD = 4.0  # of each server's own metric: an hour counts three sds of it at most


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnPlan:
    """What to play."""

    servers: int = 12  # size of the fleet; ten at least, or it has no common mode
    past_days: int = 7  # history the first model is trained on
    live_days: int = 20  # days that stream
    calm_days: int = 3  # how many of them come before the shift
    step_s: int = 600  # sampling step
    seed: int = 7  # of everything random
    bias_sd: float = 0.0  # bias of the second model's scores in its own standard deviations; 0 for none
    output: Path = Path("runs/learn")
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the stage's settings, over the story's own


@dataclass(frozen=True, slots=True)
class DriftingFleet:
    """`past` is there before anything runs; `live` streams afterwards, shifted when its calm days are over."""

    past: Grid
    live: Grid


def drifting_fleet(plan: LearnPlan) -> DriftingFleet:
    """Generate the fleet."""
    of_fleet = FleetPlan(
        servers=plan.servers,
        days=float(plan.past_days + plan.live_days),
        step_s=plan.step_s,
        seed=plan.seed,
        start=START,
        incidents_per_server_week=0.0,
        missing_rows=0.0,
        missing_values=0.0,
    )
    with tempfile.TemporaryDirectory(prefix="treeline-learn-") as folder:
        whole = grid_of(open_history(generate(of_fleet, Path(folder)).data_path))
    begin = to_ms(START)
    live_from = begin + plan.past_days * DAY_MS
    shift_ms = live_from + plan.calm_days * DAY_MS
    values = whole.values.copy()
    after = whole.times_ms >= shift_ms
    spread = np.nanstd(whole.values[whole.times_ms < live_from], axis=0)
    for name in SHIFTED:
        column = whole.metrics.index(name)
        values[after, :, column] += SHIFT_SD * spread[:, column]
        if name.endswith("_percent"):
            np.clip(values[:, :, column], 0.0, 100.0, out=values[:, :, column])
    shifted = replace(whole, values=values)
    return DriftingFleet(between(shifted, begin, live_from), between(shifted, live_from, 2**62))


def between(grid: Grid, start_ms: int, end_ms: int) -> Grid:
    """The times in [start_ms, end_ms)."""
    first, last = (int(np.searchsorted(grid.times_ms, t)) for t in (start_ms, end_ms))
    return replace(grid, times_ms=grid.times_ms[first:last], values=grid.values[first:last])


def last_report(grid: Grid, servers: Collection[str], before_ms: int) -> int:
    """When any of some servers last reported before a time, milliseconds; 0 where none of them did."""
    columns = [column for column, server in enumerate(grid.servers) if server in servers]
    seen = ~np.isnan(grid.values[:, columns]).all(axis=(1, 2))
    return int(grid.times_ms[seen & (grid.times_ms < before_ms)].max(initial=0))
