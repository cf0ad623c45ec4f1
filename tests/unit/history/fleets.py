"""A small fleet of CloudWatch servers, and a fetch of it in simulated time."""

import asyncio
import random

from benchmarks.cloudwatch_standin import CloudWatchStandIn, Fleet
from benchmarks.simulated_time import SimulatedTimeLoop
from training.history.cloudwatch.fetch import fetch
from training.history.cloudwatch.plan import make_plan
from training.history.cloudwatch.quotas import DAY_S, QUOTAS, FetchLimits
from training.history.cloudwatch.series import INSTANCE, Part, Query, Server
from training.history.cloudwatch.store import HistoryStore
from treeline.core.times import parse_iso

NOW_MS = parse_iso("2026-11-22T15:58:30Z")
METRICS = ("cpu_percent", "memory_percent")
NAMES = ("CPUUtilization", "mem_used_percent")


def server(number, *, step_s=60, columns=(0, 1)):
    return Server(
        server_id=f"i-{number:03d}",
        queries=tuple(
            Query(part=Part(namespace="AWS/EC2", name=NAMES[c]), dimensions=((INSTANCE, f"i-{number:03d}"),), column=c)
            for c in columns
        ),
        step_s=step_s,
        missing=tuple(METRICS[c] for c in (0, 1) if c not in columns),
    )


def plan_of(servers, *, days=20.0, now_ms=NOW_MS, quotas=QUOTAS):
    start_ms = now_ms - round(days * DAY_S * 1000)
    return make_plan(servers, METRICS, start_ms=start_ms, end_ms=now_ms, now_ms=now_ms, quotas=quotas)


def fetched(plan, files, *, limits=FetchLimits(), fleet=None, start_ms=NOW_MS, source=None, **standin):  # noqa: B008
    """Fetch in simulated time; returns (what the fetch says, the stand-in, simulated seconds)."""

    async def body():
        cloudwatch = CloudWatchStandIn(fleet or Fleet(), start_ms=start_ms, **standin)
        done = await fetch(
            plan,
            source(cloudwatch) if source else cloudwatch,
            HistoryStore(files),
            limits=limits,
            now_ms=cloudwatch.now_ms,
            rng=random.Random(2),
        )
        return done, cloudwatch, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
        return runner.run(body())
