"""What `open_history` keeps of a long history's times."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.history import open_history
from training.history_file import ServerTimes, packed, unpacked


@pytest.mark.parametrize(
    ("times", "bytes_each"), [([0, 60_000, 120_000], 4), ([-1000, 0], 4), ([1, 60_000], 8), ([0, 2**31 * 1000], 8)]
)
def test_whole_seconds_take_half_the_room_and_nothing_is_lost(times, bytes_each):
    given = np.array(times, dtype=np.int64)
    kept = packed(given)
    assert kept.itemsize == bytes_each
    np.testing.assert_array_equal(unpacked(kept), given)
    server = ServerTimes(kept, None)
    assert (server.first, server.last, len(server)) == (times[0], times[-1], len(times))
    assert list(server.between(times[0], times[-1] - 1).times) == times[:-1]


@pytest.mark.parametrize("gaps", [[60] * 5, [60] * 3 + [300] * 2, [60, 300], [60, 60, 300, 300], [1, 2, 3, 4]])
def test_the_step_is_the_median_of_all_servers_gaps(tmp_path, gaps):
    times = np.cumsum([0, *gaps]) * 1000
    table = {
        "timestamp": pa.array(np.tile(times, 2)).cast(pa.timestamp("ms", tz="UTC")),
        "server_id": ["a"] * len(times) + ["b"] * len(times),
        "x": np.ones(2 * len(times)),
    }
    pq.write_table(pa.table(table), tmp_path / "fleet.parquet")
    assert open_history(tmp_path / "fleet.parquet").step_s == np.median(gaps * 2)
