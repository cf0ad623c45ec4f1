"""Grids written as history files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.history.grid import Grid


def write_history(path: Path, grid: Grid, *, train: int) -> Path:
    """A grid in the history format, its first `train` times marked for training."""
    servers = len(grid.servers)
    split = np.where(np.arange(len(grid.times_ms)) < train, "train", "test")
    columns = {
        "timestamp": pa.array(np.tile(grid.times_ms, servers)).cast(pa.timestamp("ms", tz="UTC")),
        "server_id": pa.array(np.repeat(grid.servers, len(grid.times_ms))),
        "split": pa.array(np.tile(split, servers)),
    }
    for metric, name in enumerate(grid.metrics):
        columns[name] = pa.array(grid.values[:, :, metric].T.ravel())
    pq.write_table(pa.table(columns), path)
    return path
