"""A fleet's history out of a CloudWatch stand-in with the real quotas, in simulated time; killed once, then resumed.

`python -m benchmarks.history` plans, fetches in a process that kills itself at half of the calls, resumes in another,
fetches all of it a second time without a kill, and compares: calls with the plan, time with the quota floor, the two
histories row by row. Simulated seconds do not depend on this machine; wall seconds do.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.cloudwatch_standin import CloudWatchStandIn, Fleet
from benchmarks.simulated_time import SimulatedTimeLoop
from training.history.cloudwatch.audit import audit
from training.history.cloudwatch.fetch import fetch
from training.history.cloudwatch.plan import FetchPlan, cost, make_plan
from training.history.cloudwatch.quotas import DAY_S, QUOTAS, FetchLimits
from training.history.cloudwatch.series import INSTANCE, Part, Query, Server
from training.history.cloudwatch.store import Folder, HistoryStore
from treeline.core.times import parse_iso

NOW_MS = parse_iso("2026-11-22T15:58:30Z")
METRICS = ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")
NAMES = ("CPUUtilization", "mem_used_percent", "NetworkIn", "EBSReadOps")
RATE_FLOOR = 1.2


def fleet_plan(servers: int, days: float) -> FetchPlan:
    """Servers with one CloudWatch series a metric."""
    fleet = [
        Server(
            server_id=f"i-{n:08d}",
            queries=tuple(
                Query(part=Part(namespace="AWS/EC2", name=name), dimensions=((INSTANCE, f"i-{n:08d}"),), column=column)
                for column, name in enumerate(NAMES)
            ),
        )
        for n in range(servers)
    ]
    return make_plan(fleet, METRICS, start_ms=NOW_MS - round(days * DAY_S * 1000), end_ms=NOW_MS, now_ms=NOW_MS)


def run(plan: FetchPlan, folder: Path, *, kill_at_call: int | None = None) -> dict[str, float]:
    """One fetch in simulated time; with `kill_at_call` this process dies by SIGKILL at that call."""

    def on_call(number: int) -> None:
        if number == kill_at_call:
            os.kill(os.getpid(), signal.SIGKILL)

    async def body() -> dict[str, float]:
        loop = asyncio.get_running_loop()
        cloudwatch = CloudWatchStandIn(Fleet(), start_ms=NOW_MS, on_call=on_call)
        done = await fetch(
            plan,
            cloudwatch,
            HistoryStore(Folder(folder)),
            limits=FetchLimits(),
            now_ms=cloudwatch.now_ms,
            rng=random.Random(2),
        )
        return {
            "simulated_s": loop.time(),
            "calls": cloudwatch.calls,
            "refused": cloudwatch.refused,
            "errors": cloudwatch.errors,
            "chunks": done.chunks,
            "points": done.points,
        }

    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
        began = time.monotonic()
        figures = runner.run(body())
    return {**figures, "wall_s": round(time.monotonic() - began, 1)}


def differences(one: Path, other: Path) -> tuple[int, int, int]:
    """Rows of both histories, rows lost and rows repeated in the first, file by file."""
    rows = lost = repeated = 0
    names = {p.relative_to(root) for root in (one, other) for p in root.glob("period_s=*/*/*.parquet")}
    for name in sorted(names):
        if not (one / name).exists() or not (other / name).exists():
            present = pq.read_metadata((one if (one / name).exists() else other) / name).num_rows
            lost, repeated = (lost, repeated + present) if (one / name).exists() else (lost + present, repeated)
            continue
        a, b = (pq.read_table(root / name) for root in (one, other))
        keys = [
            (t["timestamp"].cast("int64").to_numpy(), t["server_id"].to_pandas().cat.codes.to_numpy()) for t in (a, b)
        ]
        unique = len(np.unique(keys[0][0] * 1000 + keys[0][1]))
        rows += a.num_rows
        repeated += a.num_rows - unique
        lost += max(0, b.num_rows - unique)
        if a.num_rows == b.num_rows and not a.equals(b):
            raise AssertionError(f"{name}: the same rows with other values")
    return rows, lost, repeated


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit code 1 if one misses its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--days", type=float, default=182.0)
    parser.add_argument("--until-killed", nargs=2, metavar=("FOLDER", "CALL"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    plan = fleet_plan(asked.servers, asked.days)
    if asked.until_killed:
        folder, call = asked.until_killed
        run(plan, Path(folder), kill_at_call=int(call))
        return 0
    result, is_good = measured(plan, asked.servers, asked.days)
    print(json.dumps(result, indent=1))
    return 0 if is_good else 1


def measured(plan: FetchPlan, servers: int, days: float) -> tuple[dict[str, Any], bool]:
    """Fetch once with a kill in the middle and once without, compare; the figures, and whether they are in limits."""
    expected = cost(plan, plan.chunks, limits=FetchLimits(), quotas=QUOTAS)
    with tempfile.TemporaryDirectory(prefix="treeline-history-") as scratch:
        killed, whole = Path(scratch, "killed"), Path(scratch, "whole")
        command = [sys.executable, "-m", "benchmarks.history", "--servers", str(servers)]
        command += ["--days", str(days), "--until-killed", str(killed), str(expected.calls // 2)]
        print("fetching until killed", file=sys.stderr)
        code = subprocess.run(command, check=False).returncode  # noqa: S603 -- our own module
        print("resuming", file=sys.stderr)
        before = len(HistoryStore(Folder(killed)).finished(plan))
        resumed = run(plan, killed)
        print("fetching without a kill", file=sys.stderr)
        once = run(plan, whole)
        rows, lost, repeated = differences(killed, whole)
        found = audit(plan, HistoryStore(Folder(killed)).finished(plan))
    planned = {
        "calls": expected.calls,
        "queries": expected.queries,
        "points": expected.points,
        "dollars": round(expected.dollars, 2),
        "floor_s": round(expected.floor_s, 1),
        "expected_s": round(expected.expected_s, 1),
    }
    result: dict[str, Any] = {
        "servers": servers,
        "days": days,
        "plan": planned,
        "fetch": once,
        "calls_over_plan": round(once["calls"] / expected.calls, 4),
        "time_over_floor": round(once["simulated_s"] / expected.floor_s, 4),
        "killed": {"exit_code": code, "chunks_done": before, "chunks_resumed": resumed["chunks"]},
        "rows": rows,
        "rows_lost": lost,
        "rows_repeated": repeated,
        "completeness": found.completeness,
    }
    is_good = (
        abs(result["calls_over_plan"] - 1) <= 0.05
        and result["time_over_floor"] <= RATE_FLOOR
        and lost == repeated == 0
        and code == -signal.SIGKILL
        and before + resumed["chunks"] == len(plan.chunks)
    )
    return result, is_good


if __name__ == "__main__":
    sys.exit(main())
