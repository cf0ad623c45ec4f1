"""How much a fleet makes of everything in a month: records, ticks, commits, bytes. Pure arithmetic.

What is assumed of the code is held to the code by tests/unit/test_cost.py; what is assumed of a fleet is printed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

MONTH_S = 730 * 3600
# Constant part and one row, bytes; tests hold them to the code. Within a window each row is another server, by name.
BLOCK_BYTES = (119, 81)  # of a score block, at 4 metrics
BLOCK_METRIC_BYTES = 10  # and a further metric
DELTA_BYTES = (330, 210)
OWN_BYTES = 170  # keys, times and so on of the item that holds them
HEARTBEAT_S = 30
ITEM_BYTES = 325  # an observation of 4 metrics with its keys and two labels, by DynamoDB's rules
METRIC_BYTES = 25  # each further metric
SEEN_EVERY_S = 900
SNAPSHOT_EVERY = 96
KEPT_GROUPS = 400
COMPRESSED = 0.66  # of a packed state at zlib level 1: 0.57 at 4 metrics, 0.77 at 38; 0.52 and 0.63 with a window
TABLE_COMPRESSED = 0.76  # of a block of the seasonal table: 0.69 at 4 metrics, 0.76 at 38
SLOT_S = 900  # of the seasonal table
TABLE_BLOCKS_READ = 3  # where a slot is over: its own, and those of both kinds of day where the next one begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a stage's settings decides its load."""

    servers: int
    interval_s: int
    metrics: int = 4
    group_size: int = 50
    shards: int = 1
    batch_size: int = 10_000
    batching_window_s: int = 0
    late_window_s: int
    heartbeat: bool = True
    has_table: bool = True  # whether a seasonal table is learned; by a rolling window nothing is expected by it


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One month; units are DynamoDB's of one item or query."""

    groups: int
    records: float
    ingest_batches: float
    event_ticks: float
    heartbeats: float
    commits: float
    item_bytes: int
    entry_bytes: float
    entry_units: float
    block_bytes: float
    block_units: float
    head_bytes: float
    heads: float
    event_query_bytes: float
    sweep_query_bytes: float
    table_bytes: float  # of a block of the seasonal table
    table_writes: float  # of such blocks: one a commit, of those in which servers' slots are over
    cold_runs: float  # share of runs by a worker that knows nothing of the group
    seen_writes: float

    @property
    def ticks(self) -> float:
        """Messages to detect, each one run."""
        return self.event_ticks + self.heartbeats


def month(shape: Shape, *, state_bytes: int) -> Load:
    """The load of a fleet whose servers report evenly spread over the interval.

    Args:
        shape: Fleet and settings.
        state_bytes: Size of one full group's state, as the code packs it.
    """
    groups = math.ceil(shape.servers / shape.group_size)
    records = shape.servers * MONTH_S / shape.interval_s
    # Lambda asks a shard once a second, or lets a batch fill for the batching window; a full batch goes at once.
    batches = shape.shards * MONTH_S / max(1, shape.batching_window_s)
    batches = min(records, max(batches, records / shape.batch_size))
    mean_rows = records / batches / groups  # of a group in a batch, those it is not in counted too
    commits = min(batches * groups * (1 - math.exp(-mean_rows)), records)
    entry_bytes, block_bytes = _entry_bytes(shape.metrics), _block_bytes(shape.metrics)
    rows = records / commits
    item_bytes = ITEM_BYTES + METRIC_BYTES * max(0, shape.metrics - 4)
    in_group = min(shape.servers, shape.group_size)
    each_s = in_group * item_bytes / shape.interval_s
    window_s = max(1, shape.batching_window_s)
    return Load(
        groups=groups,
        records=records,
        ingest_batches=batches,
        event_ticks=commits,
        heartbeats=groups * MONTH_S / HEARTBEAT_S if shape.heartbeat else 0.0,
        commits=commits,
        item_bytes=item_bytes,
        entry_bytes=entry_bytes(rows),
        entry_units=expected_units(entry_bytes, mean_rows, 1024),
        block_bytes=block_bytes(rows),
        block_units=expected_units(block_bytes, mean_rows, 1024),
        head_bytes=state_bytes * COMPRESSED * in_group / shape.group_size,
        heads=commits / SNAPSHOT_EVERY,
        # From a step before the slowest server to now; a sweep reads the late window more.
        event_query_bytes=each_s * (2 * shape.interval_s + window_s),
        sweep_query_bytes=each_s * (shape.late_window_s + shape.interval_s + window_s),
        table_bytes=OWN_BYTES + in_group * _table_row_bytes(shape.metrics) * TABLE_COMPRESSED,
        table_writes=_table_writes(shape, groups, commits),
        cold_runs=max(0.0, 1 - KEPT_GROUPS / groups),
        seen_writes=shape.servers * MONTH_S / SEEN_EVERY_S,
    )


def _table_writes(shape: Shape, groups: int, commits: float) -> float:
    """Blocks of the seasonal table that are written in a month."""
    if not shape.has_table:
        return 0.0
    in_group = min(shape.servers, shape.group_size)
    # Servers that report evenly over the interval are through with a slot after as many commits as it has.
    return groups * MONTH_S / SLOT_S * max(1.0, min(commits / groups / MONTH_S * shape.interval_s, in_group))


def _entry_bytes(metrics: int) -> Callable[[float], float]:
    """Of a log entry, by rows; what changes of a row grows with the metrics, as its state does."""

    block = _block_bytes(metrics)

    def size(rows: float) -> float:
        return block(rows) + DELTA_BYTES[0] + DELTA_BYTES[1] * rows * (0.27 + 0.73 * metrics / 4)

    return size


def _block_bytes(metrics: int) -> Callable[[float], float]:
    """Of an item of the scores table, by rows."""
    row = BLOCK_BYTES[1] + BLOCK_METRIC_BYTES * (metrics - 4)

    def size(rows: float) -> float:
        return OWN_BYTES + BLOCK_BYTES[0] + row * rows

    return size


def _table_row_bytes(metrics: int) -> int:
    """A server's part of a block of the seasonal table: level, variance and days, of four quarter hours."""
    return 4 * 2 * (2 * metrics + 1)


def expected_units(size: Callable[[float], float], mean_rows: float, unit_bytes: int) -> float:
    """Mean of the started units of items with at least one row, where rows come independently (Poisson)."""
    if mean_rows > 100:
        return size(mean_rows) / unit_bytes + 0.5
    chance, total, weighted = math.exp(-mean_rows), 0.0, 0.0
    for rows in range(1, 300):
        chance *= mean_rows / rows
        total += chance
        weighted += chance * units(size(rows), unit_bytes)
    return weighted / total


def units(size_bytes: float, unit_bytes: int) -> int:
    """DynamoDB's rounding: every started unit counts."""
    return max(1, math.ceil(size_bytes / unit_bytes))
