"""Peak memory of preparing training data: a whole fleet's months from parquet to RecordIO shards.

`python -m benchmarks.dataset` makes a history (as `treeline history fetch` leaves it, out of the stand-in: 1 minute
for 15 days, 5 minutes to 63, hours beyond) or, with `--step`, one of a single step throughout; then a process of its
own builds the training set, every row of it written to shards, and its peak memory is read from the kernel.
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
from training.cloudwatch.quotas import DAY_S
from training.cloudwatch.store import Folder
from training.dataset import Shards, build
from training.resolution import open_resolutions

MOST_MIB = 2048
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


def prepare(history: Path, out: Path) -> dict[str, float]:
    """Build the training set in this process."""
    began = time.process_time()
    shards = Shards(Folder(out))
    built = build(open_resolutions(history), seed=1, on_rows=shards.write)
    shards.close()
    return {
        "observations": built.observations,
        "rows": shards.rows,
        "shards": len(shards.names),
        "intervals_left_out": len(built.left_out),
        "cpu_s": round(time.process_time() - began, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the peak; exit code 1 above 2 GiB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset", description=__doc__)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--days", type=float, default=182.0)
    parser.add_argument("--step", type=int, help="seconds; one step throughout instead of CloudWatch's tiers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--prepare", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.prepare:
        print(json.dumps(prepare(*asked.prepare)))
        return 0
    with tempfile.TemporaryDirectory(prefix="treeline-dataset-") as scratch:
        history = Path(scratch, "history")
        print("making the history", file=sys.stderr)
        if asked.step:
            write_single_step(history, servers=asked.servers, days=asked.days, step_s=asked.step)
        else:
            run(fleet_plan(asked.servers, asked.days), history)
        size = sum(path.stat().st_size for path in history.rglob("*.parquet"))
        print("preparing", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.dataset", "--prepare", str(history), scratch]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- our own module
    figures = json.loads(answer.stdout.splitlines()[-1])
    good = figures["peak_mib"] <= MOST_MIB
    if asked.json:
        print(json.dumps({"servers": asked.servers, "days": asked.days, "step_s": asked.step, **figures}))
        return 0 if good else 1
    how = f"steps of {asked.step} s" if asked.step else "CloudWatch's resolutions"
    print(
        f"{asked.servers} servers x {len(METRICS)} metrics x {asked.days:g} days, {how}, "
        f"{size / 1e6:,.0f} MB of parquet"
    )
    print(
        f"{figures['observations']:,} observations -> {figures['rows']:,} rows in {figures['shards']} shards, "
        f"{figures['cpu_s']:.0f} s of CPU"
    )
    print(f"peak memory {figures['peak_mib']} MiB, limit {MOST_MIB} MiB: {'held' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
