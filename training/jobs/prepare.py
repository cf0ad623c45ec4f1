"""The pipeline's Prepare step: `python -m training.jobs.prepare`. History in, training rows out.

Leaves `train/` (RecordIO shards for the training job), `fleet/` (for Evaluate) and `quality/` (the data-quality
baseline: statistics.json and constraints.json).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import boto3
import numpy as np

from training.evaluate.stage_servers import StageServers, registered_servers
from training.history.cloudwatch.store import Folder
from training.history.files import History, open_history
from training.history.grid import Grid, grid_of
from training.history.resolution import narrowed, open_resolutions
from training.history.windows import FileWindows
from training.jobs import entry as job
from training.prepare import data_quality
from training.prepare.disturbances import DisturbanceTables
from training.prepare.fleet_file import LEAD_IN_MS, FleetFile
from training.prepare.hygiene import Disturbances, apply
from training.prepare.preparation import GROUP_SIZE, prepare
from training.prepare.sampling import Rows, ServerSamples
from training.prepare.shards import write_shards
from treeline.app.alert.controls import ServerLabels
from treeline.app.detect.zones import ServerZones
from treeline.core.detection.features import feature_names
from treeline.core.errors import ModelMismatchError, UsageError
from treeline.core.model.data_quality import Constraint, FeatureStatistics
from treeline.core.profile import Metric, declared, to_json
from treeline.core.times import DEFAULT_ZONE, from_ms, iso, parse_iso
from treeline.settings.environment import decompressed
from treeline.settings.values import convert

LATEST = "latest"
DAY_MS = 86_400_000
_AWS = cast("Callable[[str], Any]", boto3.client)
MIN_TRAINING_TIMES, MIN_HOLDOUT_TIMES = 200, 20


def parser() -> argparse.ArgumentParser:
    """The step's arguments, as the pipeline's definition writes them."""
    options = argparse.ArgumentParser(prog="python -m training.jobs.prepare", description=__doc__)
    options.add_argument("--history", type=Path, required=True, help="folder of parquet files in the history format")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--metrics", nargs="+", required=True, help="the metric set in order, joined by commas")
    options.add_argument("--declared", nargs="+", default=[], help="what is declared of it, compressed and in parts")
    options.add_argument("--window-end", default=LATEST, help="event time, ISO 8601, or latest")
    options.add_argument("--window-days", type=float, required=True)
    options.add_argument("--holdout-days", type=float, required=True)
    options.add_argument("--feature-dim", type=int, required=True, help="columns that Train is told a row has")
    options.add_argument("--step-s", type=float, help="what senders send; default: as the history has it")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--group-size", type=int, default=GROUP_SIZE, help="servers that a stage decides together")
    options.add_argument("--timezone", default=DEFAULT_ZONE, help="of servers whose label names none")
    options.add_argument("--rolling-window-s", type=float, default=0.0, help="that all is expected by; 0: none")
    for name in ("controls-table", "incidents-table", "servers-table"):
        options.add_argument(f"--{name}", default="", help="where the deployment knows of bad hours; empty: nowhere")
    options.add_argument("--mutes-table", default="", help="maintenance windows; empty: in the controls table")
    return options


def work(arguments: Sequence[str], client: Callable[[str], Any] = _AWS) -> None:
    """Do the step.

    Raises:
        UsageError: The history cannot be trained on.
        ModelMismatchError: Its rows are not as wide as the training job is told.
    """
    asked = parser().parse_args(arguments)
    metrics = tuple(name for part in asked.metrics for name in part.split(",") if name)
    known = _declared(asked, metrics)
    opened = open_resolutions(asked.history, known)
    histories = {period: history.of_metrics(metrics) for period, history in opened.items()}
    require_step(histories[min(histories)].step_s, asked.step_s)
    cut = window(
        histories[min(histories)],
        end_ms=None if asked.window_end == LATEST else parse_iso(asked.window_end),
        window_ms=round(asked.window_days * DAY_MS),
        holdout_ms=round(asked.holdout_days * DAY_MS),
    )
    known_servers = _servers(asked, client)
    zones = ServerZones(default=asked.timezone, labels=known_servers).of(histories[min(histories)].servers)
    groups = known_servers.groups(histories[min(histories)].servers)
    recent = replace(cut.recent(histories[min(histories)]), zones=zones)
    training = narrowed(histories, cut.start_ms, cut.holdout_from_ms - 1)
    require_enough(training.get(min(histories)), recent, cut)
    finest = min(training)
    history = training.pop(finest)
    values = data_quality.sample_of(metrics, seed=asked.seed)
    prepared = prepare(
        FileWindows(history, float(finest), zones=zones),
        seed=asked.seed,
        hygiene=_known(asked, client, known_servers, history.servers),
        coarser=training,
        values=values,
        groups=groups,
        rolling_window_s=asked.rolling_window_s,
    )
    learned, rows = prepared.learned, prepared.training_rows
    require_width(rows.shape[1], asked.feature_dim)
    recent = apply(recent, learned.left_out)
    fleet = FleetFile(prepared=prepared, recent=recent, groups=groups, holdout_from_ms=cut.holdout_from_ms)
    out = Folder(asked.out)
    statistics, constraints = _write_baseline(out, metrics, values, rows, asked.seed)
    write_shards(out, rows)
    violations = data_quality.check_grid(fleet.holdout(), statistics, constraints)
    manifest = {
        "held_out_violations": [violation.to_json() for violation in violations],
        "window": [iso(learned.from_ms), iso(cut.last_ms)],
        "holdout_from": iso(cut.holdout_from_ms),
        "seed": asked.seed,
        "declared_metrics": json.loads(to_json(known)),
    }
    replace(fleet, manifest=manifest).write(asked.out / "fleet")
    print(
        f"{len(rows)} training rows of {learned.observations} observations and {len(history.servers)} servers, "
        f"held out from {iso(cut.holdout_from_ms)}"
    )


def _write_baseline(
    out: Folder, metrics: tuple[str, ...], values: ServerSamples, rows: Rows, seed: int
) -> tuple[tuple[FeatureStatistics, ...], tuple[Constraint, ...]]:
    """Write what is usual of the metrics, and of the features, which Model Monitor may be given."""
    statistics, constraints = data_quality.baseline(metrics, values.rows(), seed=seed, features=rows)
    data_quality.write(out, statistics, constraints, "quality")
    names = feature_names(metrics)
    of_features = ([s for s in statistics if s.name in names], [c for c in constraints if c.name in names])
    data_quality.write(out, *of_features, "quality/features")
    return statistics, constraints


def _declared(asked: argparse.Namespace, metrics: tuple[str, ...]) -> tuple[Metric, ...]:
    if not asked.declared:
        return declared(metrics)
    plain = json.loads(decompressed("".join(asked.declared)))
    found: tuple[Metric, ...] = convert(tuple[Metric, ...], plain, "--declared", "metrics")
    return found


def _servers(asked: argparse.Namespace, client: Callable[[str], Any]) -> StageServers:
    known = registered_servers(client("dynamodb"), asked.servers_table) if asked.servers_table else {}
    return StageServers(known, asked.group_size)


def _known(
    asked: argparse.Namespace, client: Callable[[str], Any], labels: ServerLabels, servers: Sequence[str]
) -> Disturbances:
    if not asked.controls_table:
        return Disturbances()
    tables = DisturbanceTables(
        client=client,
        controls_table=asked.controls_table,
        mutes_table=asked.mutes_table or asked.controls_table,
        incidents_table=asked.incidents_table,
        server_labels=labels,
    )
    return tables.read(servers)


def require_step(found_s: float, declared_s: float | None) -> None:
    """Refuse a history of another sampling step than the stage declares: its model would not fit what is sent."""
    if declared_s is not None and round(found_s) != round(declared_s):
        raise UsageError(
            f"the history has an observation of a server every {found_s:g} s, the stage says step_s: {declared_s:g}; "
            "correct the setting, or leave it out and train at the history's step"
        )


def require_width(found: int, declared: int) -> None:
    """Refuse rows of another width than the training job is told: it would fail only once its instance is paid for."""
    if found != declared:
        raise ModelMismatchError(
            f"the training rows have {found} columns, the pipeline's feature_dim is {declared}: the image is not of "
            "the version that is deployed; build it anew from that checkout"
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """A window of a history: training in [start, holdout_from), evaluation in [holdout_from, last]; milliseconds."""

    start_ms: int
    holdout_from_ms: int
    last_ms: int

    def recent(self, history: History) -> Grid:
        """The held-out part, and what the champion gets used to the present on."""
        start_ms = max(self.start_ms, self.holdout_from_ms - LEAD_IN_MS)
        end = from_ms(self.last_ms)
        part = open_history(history.path, start=from_ms(start_ms), end=end, declared=history.declared)
        return grid_of(part.of_metrics(history.metrics))


def window(history: History, *, end_ms: int | None, window_ms: int, holdout_ms: int) -> Cut:
    """What part of a history to train and evaluate on; raises UsageError where it begins after its end."""
    last = history.end_ms if end_ms is None else min(end_ms, history.end_ms)
    if last < history.start_ms:
        raise UsageError(f"the history begins at {iso(history.start_ms)}, after the window's end {iso(last)}")
    holdout_from_ms = last - holdout_ms + 1
    return Cut(holdout_from_ms - window_ms, holdout_from_ms, last)  # coarser histories begin before the finest


def require_enough(training: History | None, recent: Grid, cut: Cut) -> None:
    """Raises UsageError where either part holds too few times."""
    times = 0 if training is None else max(rows.rows for rows in training.rows.values())
    held_out = len(recent.times_ms) - int(np.searchsorted(recent.times_ms, cut.holdout_from_ms))
    if times < MIN_TRAINING_TIMES or held_out < MIN_HOLDOUT_TIMES:
        raise UsageError(
            f"the window up to {iso(cut.last_ms)} holds {times} times to train on and {held_out} held out; "
            f"at least {MIN_TRAINING_TIMES} and {MIN_HOLDOUT_TIMES} are needed"
        )


if __name__ == "__main__":
    sys.exit(job.run(work, sys.argv[1:]))
