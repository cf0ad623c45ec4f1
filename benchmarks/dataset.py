"""Peak memory of the pipeline's Prepare step: a whole fleet's months from parquet to what Train and Evaluate are given.

`python -m benchmarks.dataset` makes a history (as `treeline history fetch` leaves it, out of the stand-in: 1 minute
for 15 days, 5 minutes to 63, hours beyond) or, with `--step`, one of a single step throughout; then
`training.jobs.prepare`, as the pipeline runs it, in a process of its own whose peak memory is read from the kernel.
`--days` may name several lengths: memory must not grow with them.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.history import METRICS, NOW_MS, fleet_plan, run
from training.history.cloudwatch.quotas import DAY_S
from training.jobs import prepare as prepare_run
from training.prepare.fleet_file import FACTS
from treeline.core.detection.scorer_row import feature_dim

MOST_MIB = 2048
HOLDOUT_DAYS = 2.0
_TOGETHER = 50  # servers of one file; what a block of a lake's files may hold


def write_single_step(folder: Path, *, servers: int, days: float, step_s: int) -> None:
    """A history of one step: levels, a daily wave, noise; files of a week and 50 servers, one row group a server."""
    rng = np.random.default_rng(1)
    steps = round(days * DAY_S / step_s)
    start_ms = NOW_MS // 60_000 * 60_000 - steps * step_s * 1000
    a_week = 7 * DAY_S // step_s
    for first in range(0, servers, _TOGETHER):
        for begin in range(0, steps, a_week):
            at = np.arange(begin, min(begin + a_week, steps))
            path = folder / f"block={first:05d}" / f"{begin:07d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            times = pa.array(start_ms + at * step_s * 1000).cast(pa.timestamp("ms", tz="UTC"))
            wave = np.sin(at * step_s / DAY_S * 2 * np.pi)
            writer = None
            for server in range(first, min(first + _TOGETHER, servers)):
                columns = [
                    pa.array((40 + 15 * wave + 3 * rng.standard_normal(len(at))).astype(np.float32)) for _ in METRICS
                ]
                table = pa.table(
                    [times, pa.array([f"i-{server:08d}"] * len(at)), *columns],
                    names=["timestamp", "server_id", *METRICS],
                )
                writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
                writer.write_table(table)
            if writer is not None:
                writer.close()


def prepare(history: Path, out: Path, days: float) -> dict[str, float]:
    """Run the step in this process."""
    began, cpu = time.monotonic(), time.process_time()
    options = {"history": history, "out": out, "metrics": ",".join(METRICS), "window-days": days}
    options |= {"holdout-days": min(HOLDOUT_DAYS, days / 4), "feature-dim": feature_dim(len(METRICS))}
    prepare_run.work([part for name, value in options.items() for part in (f"--{name}", str(value))])
    handed = json.loads((out / "fleet" / FACTS).read_text(encoding="utf-8"))["manifest"]
    return {
        "observations": handed["observations"],
        "shards": len(list((out / "train").iterdir())),
        "wall_s": round(time.monotonic() - began, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def measure(servers: int, days: float, step_s: int | None) -> dict[str, float]:
    """Make a history and prepare it."""
    with tempfile.TemporaryDirectory(prefix="treeline-dataset-") as scratch:
        history = Path(scratch, "history")
        print(f"making {days:g} days", file=sys.stderr)
        if step_s:
            write_single_step(history, servers=servers, days=days, step_s=step_s)
        else:
            run(fleet_plan(servers, days), history)
        size = sum(path.stat().st_size for path in history.rglob("*.parquet"))
        print("preparing", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.dataset", "--prepare", str(history), scratch, str(days)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- our own module
    return {"days": days, "parquet_mb": round(size / 1e6), **json.loads(answer.stdout.splitlines()[-1])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures of each length; exit code 1 above 2 GiB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset", description=__doc__)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--days", type=float, nargs="+", default=[182.0])
    parser.add_argument("--step", type=int, help="seconds; one step throughout instead of CloudWatch's tiers")
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.prepare:
        history, out, days = asked.prepare
        print(json.dumps(prepare(Path(history), Path(out), float(days))))
        return 0
    measured = [measure(asked.servers, days, asked.step) for days in asked.days]
    peak = max(figures["peak_mib"] for figures in measured)
    print(json.dumps({"servers": asked.servers, "step_s": asked.step, "lengths": measured}, indent=1))
    return 0 if peak <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
