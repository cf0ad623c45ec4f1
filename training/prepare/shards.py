"""Training rows on their way to a training job: RecordIO files of a bounded size."""

from training.history.cloudwatch.store import Files
from training.prepare.sampling import Rows
from treeline.forest import recordio

ROWS_PER_SHARD = 500_000


def write_shards(files: Files, rows: Rows, *, rows_per_shard: int = ROWS_PER_SHARD) -> list[str]:
    """Write rows (n, features) below `train/`; returns the files' names."""
    names = []
    for number, start in enumerate(range(0, len(rows), rows_per_shard)):
        names.append(f"train/rows-{number:05d}.pbr")
        files.write(names[-1], recordio.encode(rows[start : start + rows_per_shard]))
    return names
