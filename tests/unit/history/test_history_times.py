"""What `open_history` keeps of a long history's times."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.history.files import open_history
from training.history.parquet import ServerTimes, packed, unpacked


@pytest.mark.parametrize(
    ("times", "kinds"),
    [
        ([0, 60_000, 120_000], [range]),
        ([-1000, 0], [range]),
        ([1], [np.int64]),
        ([5_000], [np.int32]),
        ([0, 7_000, 9_000], [np.int32]),
        ([1, 60_000, 60_001], [np.int64]),
        ([0, 1000, 2**31 * 1000], [np.int64]),
        ([*range(0, 6_000_000, 60_000), *range(9_000_000, 15_000_000, 60_000)], [range] * 3),
        ([7_000, 7_000], [np.int32]),
        ([], []),
    ],
)
def test_even_times_take_no_room_whole_seconds_half_of_it_and_nothing_is_lost(times, kinds):
    given = np.array(times, dtype=np.int64)
    kept = packed(given)
    assert [range if isinstance(part, range) else part.dtype.type for part in kept] == kinds
    np.testing.assert_array_equal(unpacked(kept), given)
    np.testing.assert_array_equal(unpacked(packed(unpacked(kept))), given)
    server = ServerTimes(kept, None)
    assert list(server.times) == times
    assert len(server) == len(times)
    if times:
        assert (server.first, server.last) == (times[0], times[-1])
        assert list(server.between(times[0], times[-1] - 1).times) == [t for t in times if t < times[-1]]


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
