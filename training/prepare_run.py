"""The pipeline's Prepare step: `python -m training.prepare_run`. History in, training rows out.

Leaves `train/` (RecordIO shards for the training job), `fleet/` (for Evaluate) and `quality/` (the data-quality
baseline: statistics.json and constraints.json).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import boto3
import numpy as np

from training import data_quality, job
from training.cloudwatch.store import Folder
from training.disturbances import Disturbances, DisturbanceTables
from training.fit import Grid, fingerprint, prepare
from training.fleet_file import FleetFile
from training.grid import grid_of
from training.history import History
from training.hygiene import apply, exclusions, to_manifest
from training.resolution import open_finest
from treeline.core.errors import UsageError
from treeline.core.features import FEATURE_NAMES
from treeline.core.times import iso, parse_iso
from treeline.forest import recordio

LATEST = "latest"
DAY_MS = 86_400_000
ROWS_PER_SHARD = 500_000  # one file an instance at least; a built-in algorithm reads them one after the other
_AWS = cast("Callable[[str], Any]", boto3.client)
MIN_TRAINING_TIMES, MIN_HOLDOUT_TIMES = 200, 20


def parser() -> argparse.ArgumentParser:
    """The step's arguments, as the pipeline's definition writes them."""
    options = argparse.ArgumentParser(prog="python -m training.prepare_run", description=__doc__)
    options.add_argument("--history", type=Path, required=True, help="folder of parquet files in the history format")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--metrics", nargs="+", required=True, help="the metric set in order, joined by commas")
    options.add_argument("--window-end", default=LATEST, help="event time, ISO 8601, or latest")
    options.add_argument("--window-days", type=float, required=True)
    options.add_argument("--holdout-days", type=float, required=True)
    options.add_argument("--seed", type=int, default=1)
    for name in ("controls-table", "incidents-table", "servers-table"):
        options.add_argument(f"--{name}", default="", help="where the deployment knows of bad hours; empty: nowhere")
    return options


def work(arguments: Sequence[str], client: Callable[[str], Any] = _AWS) -> None:
    """Do the step; raises UsageError when the history cannot be trained on."""
    asked = parser().parse_args(arguments)
    metrics = tuple(name for part in asked.metrics for name in part.split(",") if name)
    history = open_finest(asked.history)
    fleet, holdout_from_ms = window(
        history,
        metrics,
        end_ms=None if asked.window_end == LATEST else parse_iso(asked.window_end),
        window_ms=round(asked.window_days * DAY_MS),
        holdout_ms=round(asked.holdout_days * DAY_MS),
    )
    cut = int(np.searchsorted(fleet.times_ms, holdout_from_ms))
    training = replace(fleet, times_ms=fleet.times_ms[:cut], values=fleet.values[:cut])
    known = Disturbances()
    if asked.controls_table:
        tables = DisturbanceTables(
            client=client,
            controls_table=asked.controls_table,
            incidents_table=asked.incidents_table,
            servers_table=asked.servers_table,
        )
        known = tables.read(fleet.servers)
    left_out = exclusions(
        training, labels=known.labels, open_incidents=known.open_incidents, maintenance=known.maintenance
    )
    fleet = apply(fleet, left_out)
    training = replace(training, values=fleet.values[:cut])
    rows = prepare(training, seed=asked.seed).training_rows
    statistics, constraints = data_quality.baseline(training, seed=asked.seed, features=rows)
    data_quality.write(Folder(asked.out), statistics, constraints, "quality")
    of_features = (
        [s for s in statistics if s.name in FEATURE_NAMES],
        [c for c in constraints if c.name in FEATURE_NAMES],
    )
    data_quality.write(Folder(asked.out), *of_features, "quality/features")  # what Model Monitor may be given
    held_out = replace(fleet, times_ms=fleet.times_ms[cut:], values=fleet.values[cut:])
    violations = data_quality.check_grid(held_out, statistics, constraints)
    manifest = {
        "held_out_violations": [violation.to_json() for violation in violations],
        "left_out": to_manifest(left_out),
        "window": [iso(int(fleet.times_ms[0])), iso(int(fleet.times_ms[-1]))],
        "holdout_from": iso(holdout_from_ms),
        "seed": asked.seed,
    }
    train = asked.out / "train"
    train.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(rows), ROWS_PER_SHARD)):
        (train / f"rows-{number:05d}.pbr").write_bytes(recordio.encode(rows[start : start + ROWS_PER_SHARD]))
    FleetFile(grid=fleet, holdout_from_ms=holdout_from_ms, fingerprint=fingerprint(rows), manifest=manifest).write(
        asked.out / "fleet"
    )
    print(f"{len(rows)} training rows of {len(fleet.servers)} servers, held out from {iso(holdout_from_ms)}")


def window(
    history: History, metrics: tuple[str, ...], *, end_ms: int | None, window_ms: int, holdout_ms: int
) -> tuple[Grid, int]:
    """The part of a history to train and evaluate on, its metrics in the deployment's order.

    Returns:
        The grid, and the first held-out time (ms).

    Raises:
        UsageError: A metric is missing, or the window holds too little.
    """
    missing = [name for name in metrics if name not in history.metrics]
    if missing:
        raise UsageError(
            f"the history lacks {', '.join(missing)}, which this deployment watches; "
            f"it has {', '.join(history.metrics)}"
        )
    last = history.end_ms if end_ms is None else min(end_ms, history.end_ms)
    holdout_from_ms = last - holdout_ms + 1
    if last < history.start_ms:
        raise UsageError(f"the history begins at {iso(history.start_ms)}, after the window's end {iso(last)}")
    grid = grid_of(history, start_ms=holdout_from_ms - window_ms, end_ms=last)
    order = [history.metrics.index(name) for name in metrics]
    grid = replace(grid, metrics=metrics, values=np.ascontiguousarray(grid.values[:, :, order]))
    training_times = int(np.searchsorted(grid.times_ms, holdout_from_ms))
    held_out_times = len(grid.times_ms) - training_times
    if training_times < MIN_TRAINING_TIMES or held_out_times < MIN_HOLDOUT_TIMES:
        raise UsageError(
            f"the window up to {iso(last)} holds {training_times} times to train on and {held_out_times} held out; "
            f"at least {MIN_TRAINING_TIMES} and {MIN_HOLDOUT_TIMES} are needed"
        )
    return grid, holdout_from_ms


if __name__ == "__main__":
    sys.exit(job.run(work, sys.argv[1:]))
