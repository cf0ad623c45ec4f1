"""How fast a backtest is: a large fleet written to disk, then read, fitted, detected in and judged.

    python -m benchmarks.backtest --servers 500 --days 30 --step 60

Prints the wall time, the observations a second, the wall and processor time of each stage and the most memory that
all processes held together, and names the stage that takes longest. Each stage runs the code of `treeline backtest`.
Linux only, as it reads /proc.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.evaluate.backtest import backtest
from training.evaluate.experiment import Setup, groups_of, grow_forest, judge, split_grids
from training.evaluate.pages import Tier
from training.history.files import open_history
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from training.processes import workers_for
from treeline.core.times import iso

METRICS = ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")
START_MS = 1_790_000_040_000
FAULTS_PER_SERVER = 2
FAULT_STEPS = 40
LIMIT_S, LIMIT_GIB = 120.0, 4.0


def write_fleet(folder: Path, *, servers: int, days: float, step_s: int, seed: int) -> None:
    """A fleet with daily cycles and some faults in the second half, one server at a time."""
    rows = int(days * 86_400 / step_s)
    times = pa.array(START_MS + 1000 * step_s * np.arange(rows)).cast(pa.timestamp("ms", tz="UTC"))
    hours = 2 * np.pi * step_s * np.arange(rows) / 86_400
    data, labels = folder / "fleet.parquet", ["server_id,start,end"]
    schema = pa.schema(
        [("timestamp", times.type), ("server_id", pa.string()), *((name, pa.float32()) for name in METRICS)]
    )
    with pq.ParquetWriter(data, schema, compression="zstd", compression_level=1) as writer:
        for server in range(servers):
            rng = np.random.default_rng([seed, server])
            name = f"srv-{server:05d}"
            cycle = np.sin(hours + rng.uniform(0, 6))[:, None] * rng.uniform(2, 15, len(METRICS))
            values = rng.uniform(20, 60, len(METRICS)) + cycle + rng.normal(0, 1.5, (rows, len(METRICS)))
            # One fault a stretch of the second half, so that no two overlap.
            for stretch in np.array_split(np.arange(rows // 2 + 1, rows), FAULTS_PER_SERVER):
                first = int(rng.choice(stretch[: -2 * FAULT_STEPS]))
                values[first : first + FAULT_STEPS, rng.permutation(len(METRICS))[:2]] += rng.uniform(10, 40)
                begin, end = (START_MS + 1000 * step_s * at for at in (first, first + FAULT_STEPS - 1))
                labels.append(f"{name},{iso(begin)},{iso(end)}")
            columns = [pa.array(values[:, i].round(2).astype(np.float32)) for i in range(len(METRICS))]
            writer.write_table(pa.table([times, pa.array([name] * rows), *columns], schema=schema))
    (folder / "incidents.csv").write_text("\n".join(labels) + "\n")


class Stages:
    """Wall and processor time of each stage, told on stderr as it ends."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.memory.start()
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began, used = perf_counter(), cpu_s()
        yield
        self.seconds[name], self.cpu_seconds[name] = perf_counter() - began, cpu_s() - used
        figures = f"{self.seconds[name]:8.1f} s {self.cpu_seconds[name]:8.1f} cpu s"
        print(f"  {name:<24} {figures}   peak {self.memory.peak_gib():.2f} GiB", file=sys.stderr, flush=True)

    def progress(self, what: str, share: float) -> None:
        if sys.stderr.isatty():
            print(f"  {what:<24} {100 * share:5.1f} %", end="\r", file=sys.stderr, flush=True)


class Memory(Thread):
    """The most that this process and its children have held together, looked at every half second.

    Pages they share (a forked child shares its parent's until one of them writes) are counted once.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._most_kib = 0

    def run(self) -> None:
        """Look until the process ends."""
        while True:
            self.look()
            sleep(0.5)

    def look(self) -> None:
        """Look once."""
        pid = os.getpid()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._most_kib = max(self._most_kib, sum(_proportional_kib(each) for each in [str(pid), *children]))

    def peak_gib(self) -> float:
        """The most so far."""
        self.look()
        return self._most_kib / 2**20


def _proportional_kib(pid: str) -> int:
    """A process's resident memory, shared pages divided by how many share them; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def cpu_s() -> float:
    """Processor time so far, user and system, of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def run(data: Path, incidents: Path, observations: int) -> dict[str, object]:
    """Every stage of `treeline backtest`, timed."""
    stages, setup = Stages(), Setup()
    with stages.stage("open, scan the keys"):
        history = open_history(data, incidents)
    with stages.stage("read both parts"):
        past, present = split_grids(history)
    workers = workers_for(past.values.size)
    with stages.stage("features of the past"):
        prepared = prepare(past, seed=setup.seed, workers=workers, progress=stages.progress)
    with stages.stage("grow the forest"):
        forest = grow_forest(prepared.training_rows, setup)
    with stages.stage("calibrate"):
        package = calibrate_package(
            prepared,
            forest.score,
            model_version="benchmark",
            samples_per_tree=forest.num_samples_per_tree,
            workers=workers,
            progress=stages.progress,
        )
    trained = int(past.present().sum())
    del past, prepared
    with stages.stage("detect"):
        done = backtest(
            package,
            present,
            forest.score,
            setup.policy,
            groups=groups_of(present),
            workers=workers,
            progress=stages.progress,
        )
    with stages.stage("judge"):
        outcome = judge("Treeline", history, present, done)
    total, peak_gib = sum(stages.seconds.values()), stages.memory.peak_gib()
    slowest = max(stages.seconds, key=lambda name: stages.seconds[name])
    return {
        "servers": len(history.servers),
        "observations": observations,
        "trained_on": trained,
        "wall_s": round(total, 1),
        "observations_per_s": round(observations / total),
        "peak_gib": round(peak_gib, 2),
        "stages_s": {name: round(seconds, 1) for name, seconds in stages.seconds.items()},
        "cpu_s": {name: round(seconds, 1) for name, seconds in stages.cpu_seconds.items()},
        "processes": workers,
        "limit": f"{slowest}, {100 * stages.seconds[slowest] / total:.0f} % of the time",
        "within": {"seconds": total <= LIMIT_S, "memory": peak_gib <= LIMIT_GIB},
        "recall": outcome.evaluations[Tier.ALL].recall,
        "precision": outcome.evaluations[Tier.ALL].precision,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--step", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder to write the fleet to, or to take it from if it is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="treeline-benchmark-") as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        data, incidents = folder / "fleet.parquet", folder / "incidents.csv"
        observations = args.servers * int(args.days * 86_400 / args.step)
        if not incidents.exists():
            print(f"writing {observations:,} observations of {args.servers} servers", file=sys.stderr)
            write_fleet(folder, servers=args.servers, days=args.days, step_s=args.step, seed=args.seed)
        print(json.dumps(run(data, incidents, observations), indent=1))


if __name__ == "__main__":
    main()
