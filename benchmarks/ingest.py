"""Records a second through Kinesis, ingest and DynamoDB on the embedded cloud, and which process limits it.

    python -m benchmarks.ingest [--records 30000] [--servers 500] [--metrics 4]

No model is active, so detect has nothing to do but look. The rate is wall time from the first PutRecords to the last
item in the table; processor seconds say what a busier or faster machine would make of it.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from demo import cloud as stage
from demo.producer import Observation, Sent, send
from emulator.launcher import EmbeddedCloud
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.settings import outputs

START_MS = 1_795_363_200_000
STEP_MS = 30_000
GOAL_PER_S = 1_000  # the issue's own


def _observations(records: int, servers: int, metrics: int) -> Iterator[Observation]:
    rng = np.random.default_rng(7)
    for i in range(records):
        tick, server = divmod(i, servers)
        yield START_MS + tick * STEP_MS, f"web-{server:04d}", rng.uniform(1, 99, metrics)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wait_stored(cloud: EmbeddedCloud, wanted: int, began: float) -> float:
    """Wall seconds until ingest has stored everything."""
    while True:
        status = cloud.status()
        if status["counters"].get("kinesis_delivered", 0) >= wanted:
            return time.monotonic() - began
        time.sleep(0.05)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=30_000)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--metrics", type=int, default=4)
    args = parser.parse_args()
    metrics = DEFAULT_METRICS if args.metrics == 4 else tuple(Metric(name=f"m{i:02d}") for i in range(args.metrics))
    with tempfile.TemporaryDirectory() as folder, EmbeddedCloud(directory=Path(folder) / "cloud") as cloud:
        deployment = stage.deploy(cloud, stage.build(Path(folder) / "out", metrics, cloud.pagerduty.url, {}))
        kinesis, stream = deployment.client("kinesis"), deployment.output(outputs.STREAM_NAME)
        names = tuple(metric.name for metric in metrics)
        warm = Sent()
        send(kinesis, stream, _observations(args.servers, args.servers, len(metrics)), names, speed=None, sent=warm)
        _wait_stored(cloud, warm.records, time.monotonic())
        server = psutil.Process(cloud.pid)
        sent, before = Sent(), {p.pid: _cpu_s(p) for p in [server, *server.children(recursive=True)]}
        batch = list(_observations(args.records + args.servers, args.servers, len(metrics)))[args.servers :]
        began = time.monotonic()
        send(kinesis, stream, batch, names, speed=None, sent=sent)
        put_s = time.monotonic() - began
        seconds = _wait_stored(cloud, warm.records + sent.records, began)
        table = Table(title=f"{args.records:,} records of {args.servers} servers x {len(metrics)} metrics")
        for heading in ("process", "CPU s", "CPU us/record"):
            table.add_column(heading, justify="right")
        for process in [server, *server.children(recursive=True)]:
            used = _cpu_s(process) - before.get(process.pid, 0.0)
            name = "emulator" if process.pid == server.pid else _function(process)
            table.add_row(name, f"{used:.1f}", f"{1e6 * used / args.records:.0f}")
        console = Console()
        console.print(table)
        rate = args.records / seconds
        console.print(
            f"put in {put_s:.1f} s, stored in {seconds:.1f} s: [bold]{rate:,.0f} records/s[/], "
            f"{rate / GOAL_PER_S:.2f} x the goal of {GOAL_PER_S:,}"
        )


def _function(process: psutil.Process) -> str:
    text = " ".join(process.cmdline())
    return next((part for part in text.split("-") if "Function" in part), text[-40:])


if __name__ == "__main__":
    main()
