import asyncio
import random

import numpy as np
import pyarrow.dataset as ds
import pytest

from benchmarks.cloudwatch_standin import CloudWatchStandIn, Fleet
from benchmarks.simulated_time import SimulatedTimeLoop
from tests.unit.history.fleets import METRICS, NOW_MS, fetched, plan_of, server
from training.history.cloudwatch.fetch import HistoryError, Page, Points, ThrottledError
from training.history.cloudwatch.pace import full_jitter_s
from training.history.cloudwatch.plan import cost
from training.history.cloudwatch.quotas import DAY_S, FetchLimits, Quotas
from training.history.cloudwatch.series import Part, Query, Server
from training.history.cloudwatch.store import Folder, HistoryStore
from training.history.files import open_history

# A tenth of the quotas, so that a small fleet already runs into them.
SMALL = Quotas(calls_per_s=5.0, points_per_s=20_000.0, recent_points_per_s=9_000.0, points_per_call=5_000)
BELOW_SMALL = FetchLimits(calls_per_s=4.0, points_per_s=19_000.0, recent_points_per_s=8_500.0, parallel_calls=8)


def rows(root):
    """Every row by resolution, in order of server and time."""
    found = {}
    for path in sorted(root.glob("period_s=*")):
        table = ds.dataset(path, format="parquet").to_table()
        table = table.set_column(1, "server_id", table["server_id"].cast("string"))
        found[path.name] = table.sort_by([("server_id", "ascending"), ("timestamp", "ascending")]).combine_chunks()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One undisturbed fetch, for comparison."""
    root = tmp_path_factory.mktemp("whole")
    plan = plan_of([server(n) for n in range(2)], days=15.3, quotas=SMALL)
    done, cloudwatch, took_s = fetched(
        plan, Folder(root), limits=BELOW_SMALL, quotas=SMALL, failing=0.0, latency_s=(0.05, 0.3)
    )
    return plan, root, done, cloudwatch, took_s


def test_the_plan_is_what_is_asked_and_the_time_is_near_the_quota_floor(whole):
    plan, _, done, cloudwatch, took_s = whole
    taking = cost(plan, plan.chunks, limits=BELOW_SMALL, quotas=SMALL)
    assert abs(cloudwatch.calls - taking.calls) <= 0.05 * taking.calls
    assert took_s <= 1.2 * taking.floor_s
    assert done.chunks == len(plan.chunks)


def test_each_resolution_is_a_history_of_its_own(whole):
    plan, root, *_ = whole
    fine, coarse = open_history(root / "period_s=60"), open_history(root / "period_s=300")
    assert (fine.step_s, coarse.step_s) == (60.0, 300.0)
    assert fine.metrics == METRICS
    assert len(fine.servers) == 2
    assert coarse.start_ms == plan.start_ms
    assert coarse.end_ms + 300_000 == fine.start_ms
    assert fine.row_count == 2 * (plan.end_ms - fine.start_ms) // 60_000


def test_killed_and_resumed_it_loses_and_repeats_nothing(whole, tmp_path):
    plan, root, *_ = whole

    class Killed(BaseException):
        pass

    def kill(number):
        if number == len(plan.chunks) // 2:
            raise Killed

    with pytest.raises(Killed):
        fetched(plan, Folder(tmp_path), limits=BELOW_SMALL, quotas=SMALL, on_call=kill)
    before = len(HistoryStore(Folder(tmp_path)).finished(plan))
    assert 0 < before < len(plan.chunks)
    done, *_ = fetched(plan, Folder(tmp_path), limits=BELOW_SMALL, quotas=SMALL)
    assert done.chunks == len(plan.chunks) - before
    assert rows(tmp_path) == rows(root)


@pytest.mark.parametrize("left", ["data", "journal"])
def test_a_chunk_of_which_only_one_file_was_written_is_fetched_again(whole, tmp_path, left):
    plan, root, *_ = whole
    fetched(plan, Folder(tmp_path), limits=BELOW_SMALL, quotas=SMALL)
    pattern = "_journal/*/*/*.json" if left == "data" else "period_s=*/*/*.parquet"
    next(iter(sorted(tmp_path.glob(pattern)))).unlink()
    (tmp_path / "period_s=60" / "half.parquet.unfinished").write_bytes(b"PAR1")  # what a kill during a write leaves
    done, *_ = fetched(plan, Folder(tmp_path), limits=BELOW_SMALL, quotas=SMALL)
    assert done.chunks == 1
    (tmp_path / "period_s=60" / "half.parquet.unfinished").unlink()
    assert rows(tmp_path) == rows(root)


def test_pages_refusals_and_failures_change_nothing_of_what_is_written(whole, tmp_path):
    plan, root, *_ = whole
    eager = FetchLimits(calls_per_s=50.0, points_per_s=60_000.0, parallel_calls=8)
    done, cloudwatch, _ = fetched(plan, Folder(tmp_path), limits=eager, quotas=SMALL, failing=0.1, page_points=1_700)
    assert cloudwatch.refused > 0
    assert cloudwatch.errors > 0
    assert done.calls == cloudwatch.calls > 2 * len(plan.chunks)
    assert rows(tmp_path) == rows(root)


def test_refusals_slow_the_pace_so_that_they_end(whole, tmp_path):
    """Somebody else takes half of the quota: a fixed pace would be refused every other time."""
    plan, *_ = whole
    half = Quotas(calls_per_s=5.0, points_per_s=10_000.0, recent_points_per_s=4_500.0, points_per_call=5_000)
    done, *_ = fetched(plan, Folder(tmp_path), limits=BELOW_SMALL, quotas=half)
    assert 0 < done.refused < 0.6 * len(plan.chunks)


def test_a_resume_a_week_later_takes_the_coarser_tier_for_what_has_aged(tmp_path):
    plan = plan_of([server(0)], days=14, quotas=SMALL)
    later = NOW_MS + 7 * DAY_S * 1000
    fetched(plan, Folder(tmp_path), limits=BELOW_SMALL, quotas=SMALL, start_ms=later)
    fine, coarse = open_history(tmp_path / "period_s=60"), open_history(tmp_path / "period_s=300")
    assert coarse.start_ms == plan.start_ms
    assert coarse.end_ms + 300_000 == fine.start_ms
    assert fine.end_ms + 60_000 == plan.end_ms


def test_a_chunk_that_never_works_is_named_and_the_others_are_kept(tmp_path):
    plan = plan_of([server(n) for n in range(2)], days=15, quotas=SMALL)
    bad = plan.chunks[3]

    class Unlucky:
        def __init__(self, inner):
            self.inner = inner

        async def page(self, queries, *, period_s, start_ms, end_ms, token):
            if start_ms == bad.start_ms:
                raise ThrottledError("Rate exceeded")
            return await self.inner.page(queries, period_s=period_s, start_ms=start_ms, end_ms=end_ms, token=token)

    limits = FetchLimits(calls_per_s=4.0, points_per_s=19_000.0, attempts=3)
    with pytest.raises(HistoryError, match="run the same command again"):
        fetched(plan, Folder(tmp_path), limits=limits, quotas=SMALL, source=Unlucky)
    lost = {c for c in plan.chunks if c.start_ms == bad.start_ms}
    assert set(HistoryStore(Folder(tmp_path)).finished(plan)) == set(plan.chunks) - lost


def test_a_metric_is_the_sum_of_its_parts_per_second_and_absent_where_a_part_is(tmp_path):
    parts = [Part(namespace="AWS/EC2", name=n, stat="Sum", factor=8e-6, per_second=True) for n in ("In", "Out")]
    queries = tuple(Query(part=p, dimensions=(("InstanceId", "i-1"),), column=0) for p in parts)
    plan = plan_of([Server(server_id="web", queries=queries)], days=0.1)

    class Two:
        def __init__(self, inner):
            pass

        async def page(self, queries, *, period_s, start_ms, end_ms, token):
            times = np.arange(start_ms // 1000, end_ms // 1000, period_s)
            return Page(
                {0: Points(times[::-1], np.full(len(times), 6e6)), 1: Points(times[:-5], np.full(len(times) - 5, 9e6))}
            )

    fetched(plan, Folder(tmp_path), source=Two)
    times, values = open_history(tmp_path / "period_s=60").matrix("web")
    np.testing.assert_allclose(values[:-5, 0], 15e6 * 8e-6 / 60, rtol=1e-6)
    assert np.isnan(values[-5:, 0]).all()
    assert (np.diff(times) == 60_000).all()


def test_the_backoff_is_between_nothing_and_a_doubling_cap():
    rng = random.Random(1)
    for attempt, most in ((0, 0.5), (3, 4.0), (20, 30.0)):
        waits = [full_jitter_s(attempt, base_s=0.5, cap_s=30.0, rng=rng) for _ in range(400)]
        assert 0.0 <= min(waits) < 0.1 * most
        assert 0.9 * most < max(waits) <= most


def test_the_stand_in_refuses_what_cloudwatch_refuses():
    """A fetch that passes against it says something only if it is as strict."""
    query = server(0).queries[0]

    async def ask(**changed):
        cloudwatch = CloudWatchStandIn(Fleet(), start_ms=NOW_MS)
        asked = {"queries": [query], "period_s": 60, "start_ms": NOW_MS - 3_600_000, "end_ms": NOW_MS, **changed}
        return await cloudwatch.page(asked.pop("queries"), token=None, **asked)

    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
        assert len(runner.run(ask()).points[0].times_s) == 60
    for wrong in (
        {"queries": [query] * 501},
        {"queries": []},
        {"start_ms": NOW_MS - 16 * DAY_S * 1000},
        {"start_ms": NOW_MS - 64 * DAY_S * 1000, "period_s": 300},
        {"start_ms": NOW_MS - 500 * DAY_S * 1000, "period_s": 3600},
    ):
        with (
            asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner,
            pytest.raises(ValueError, match="ValidationError"),
        ):
            runner.run(ask(**wrong))
