"""How much a fleet makes of everything in a month: records, ticks, commits, bytes. Pure arithmetic.

What is assumed stands in `Load.assumptions` and is printed with the prices.
"""

import math
from dataclasses import dataclass

MONTH_S = 730 * 3600
ROW_BYTES = 71  # of a score block; tests hold it to the code
HEARTBEAT_S = 30
LATE_WINDOW_S = 600
ITEM_BYTES = 420  # an observation of 4 metrics with its keys, as stored
METRIC_BYTES = 25  # each further metric
SEEN_EVERY_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a stage's settings decides its load."""

    servers: int
    interval_s: int
    metrics: int = 4
    group_size: int = 50
    shards: int = 1
    batching_window_s: int = 0
    late_window_s: int = LATE_WINDOW_S
    heartbeat: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One month."""

    groups: int
    records: float
    ingest_batches: float
    ticks: float
    detect_runs: float
    commits: float
    rows_per_commit: float
    item_bytes: int
    state_bytes: int
    block_bytes: float
    query_bytes: float
    seen_writes: float


def month(shape: Shape, *, state_bytes: int) -> Load:
    """The load of a fleet whose servers report evenly spread over the interval.

    Args:
        shape: Fleet and settings.
        state_bytes: Size of one full group's state, as the code packs it.
    """
    groups = math.ceil(shape.servers / shape.group_size)
    records = shape.servers * MONTH_S / shape.interval_s
    # Lambda asks a shard once a second, or lets a batch fill for the batching window.
    batches = min(records, shape.shards * MONTH_S / max(1, shape.batching_window_s))
    per_batch = records / batches
    touched = groups * (1 - (1 - 1 / groups) ** per_batch)
    event_ticks = batches * touched
    heartbeats = groups * MONTH_S / HEARTBEAT_S if shape.heartbeat else 0.0
    commits = min(event_ticks, records)
    item_bytes = ITEM_BYTES + METRIC_BYTES * max(0, shape.metrics - 4)
    in_group = min(shape.servers, shape.group_size)
    return Load(
        groups=groups,
        records=records,
        ingest_batches=batches,
        ticks=event_ticks + heartbeats,
        detect_runs=event_ticks + heartbeats,
        commits=commits,
        rows_per_commit=records / commits,
        item_bytes=item_bytes,
        state_bytes=round(state_bytes * in_group / shape.group_size),
        block_bytes=600 + ROW_BYTES * records / commits,
        query_bytes=in_group * item_bytes * (shape.late_window_s + shape.interval_s) / shape.interval_s,
        seen_writes=shape.servers * MONTH_S / SEEN_EVERY_S,
    )


def units(size_bytes: float, unit_bytes: int) -> int:
    """DynamoDB's rounding: every started unit counts."""
    return max(1, math.ceil(size_bytes / unit_bytes))
