import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.history.series import averaged, minutes
from training.history.cloudwatch.store import Folder
from training.history.files import open_history
from training.history.grid import grid_of
from training.history.labels import Label
from training.history.resolution import open_resolutions
from training.prepare.calibrating import calibrate_package
from training.prepare.data_quality import baseline
from training.prepare.dataset import Known, ServerSamples, Shards, build
from training.prepare.hygiene import Reason, from_manifest
from training.prepare.rows import prepare
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.errors import UsageError
from treeline.core.model.data_quality import statistics_to_json
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 1_700_006_400_000 // DAY_MS * DAY_MS


def write(path, times, by_server, metrics=("x", "y")):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "timestamp": pa.array(np.tile(times, len(by_server))).cast(pa.timestamp("ms", tz="UTC")),
            "server_id": np.repeat(list(by_server), len(times)),
            **{
                name: pa.array(
                    np.concatenate([v[:, i] for v in by_server.values()]).astype(np.float32), from_pandas=True
                )
                for i, name in enumerate(metrics)
            },
        }
    )
    pq.write_table(table, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two servers: a day at five minutes, before it eleven by the hour."""
    root = tmp_path_factory.mktemp("tiers")
    series = {name: minutes(12, seed=seed, start_ms=START_MS) for seed, name in enumerate(("a", "b"))}
    fine, coarse = {}, {}
    for name, (times, values) in series.items():
        old_at, old = averaged(times[: 11 * 1440], values[: 11 * 1440], 3600)
        new_at, fine[name] = averaged(times[11 * 1440 :], values[11 * 1440 :], 300)
        coarse[name] = old
    fine["b"][100:110, 1] = np.nan
    write(root / "period_s=300" / "block=0" / "part.parquet", new_at, fine)
    write(root / "period_s=3600" / "block=0" / "part.parquet", old_at, coarse)
    return root


def test_streaming_gives_what_the_short_way_gives(folder):
    """One resolution, nothing left out: the same seeds, the same features to calibrate on, the same state."""
    history = open_history(folder / "period_s=300", servers=["a"])
    short = prepare(grid_of(history), seed=1)
    streamed = build({300: history}, seed=1, window_rows=97).prepared
    np.testing.assert_allclose(streamed.rows, short.rows, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(streamed.grid.times_ms, short.grid.times_ms)
    np.testing.assert_allclose(streamed.state.view_var, short.state.view_var, rtol=1e-3)
    assert len(streamed.training_rows) == pytest.approx(len(short.training_rows), abs=1)


def test_streaming_describes_the_data_as_the_short_way_does(folder):
    """Where nothing is thinned the data-quality baselines are equal to the last digit."""
    history = open_history(folder / "period_s=300", servers=["a"])
    grid = grid_of(history)
    values = build({300: history}, seed=1, window_rows=97).values
    streamed, short = (baseline(history.metrics, rows, seed=1)[0] for rows in (values, grid.values[grid.present()]))
    assert statistics_to_json(streamed) == statistics_to_json(short)


def test_servers_that_report_at_seconds_of_their_own_share_a_step_however_the_windows_are_cut(tmp_path):
    rng = np.random.default_rng(4)
    times = np.concatenate([np.arange(400) * 300_000 + 1000 * offset for offset in (17, 203)])
    table = {
        "timestamp": pa.array(times).cast(pa.timestamp("ms", tz="UTC")),
        "server_id": ["a"] * 400 + ["b"] * 400,
        "x": rng.normal(50, 2, 800),
    }
    pq.write_table(pa.table(table), tmp_path / "fleet.parquet")
    histories = {300: open_history(tmp_path / "fleet.parquet")}
    one, other = (build(histories, seed=1, window_rows=rows).prepared for rows in (33, 100_000))
    assert list(one.grid.times_ms) == [step * 300_000 for step in range(400)]
    np.testing.assert_array_equal(one.rows, other.rows)
    assert not np.isnan(one.rows[5:]).any()


def test_windows_of_any_size_give_the_same_set(folder):
    histories = {300: open_history(folder / "period_s=300")}
    one, other = (build(histories, seed=1, window_rows=rows) for rows in (50, 100_000))
    np.testing.assert_array_equal(one.prepared.rows, other.prepared.rows)
    assert one.left_out == other.left_out or len(one.left_out) >= len(other.left_out)
    assert one.observations == other.observations


def test_coarser_months_widen_the_baselines_but_give_no_rows(folder):
    mix = build(open_resolutions(folder), seed=1)
    fine = build({300: open_history(folder / "period_s=300")}, seed=1)
    assert mix.prepared.rows.shape == fine.prepared.rows.shape
    assert not np.array_equal(mix.prepared.state.base_mean, fine.prepared.state.base_mean)
    np.testing.assert_allclose(mix.prepared.state.base_spread, fine.prepared.state.base_spread, rtol=0.15)


def test_a_metric_that_a_server_hardly_reported_gets_no_baseline_as_in_the_short_way(tmp_path):
    """Its first value would stand against a spread of nothing; it warms up when it comes. Coarser data cannot help:
    what a feature is compared with comes from the finest alone."""
    times, values = averaged(*minutes(2, seed=1, start_ms=START_MS), 300)
    never, rarely = values.copy(), values.copy()
    never[:, 1] = np.nan
    rarely[7:, 1] = np.nan
    write(tmp_path / "period_s=300" / "fine.parquet", times, {"a": values, "b": never, "c": rarely})
    long_ago = times[::12] - 2 * DAY_MS
    write(tmp_path / "period_s=3600" / "coarse.parquet", long_ago, {"b": values[::12]})
    streamed = build(open_resolutions(tmp_path), seed=1).prepared.state
    short = prepare(grid_of(open_history(tmp_path / "period_s=300")), seed=1).state
    assert (short.base_spread == UNKNOWN).tolist() == [[False, False], [False, True], [False, True]]
    assert (streamed.base_spread == UNKNOWN).tolist() == (short.base_spread == UNKNOWN).tolist()


def test_what_hygiene_leaves_out_is_in_no_row_and_in_the_manifest(folder):
    history = open_history(folder / "period_s=300")
    label = Label(server_id="a", start_ms=history.start_ms + 18 * HOUR_MS, end_ms=history.start_ms + 20 * HOUR_MS)
    built = build({300: history}, seed=1, known=Known(labels=[label]))
    reasons = {(x.server_id, x.reason) for x in built.left_out}
    assert reasons == {("a", Reason.LABELLED), ("b", Reason.IMPUTED)}
    out = (built.prepared.grid.times_ms >= label.start_ms) & (built.prepared.grid.times_ms <= label.end_ms)
    assert np.isnan(built.prepared.rows[out, 0]).all()
    assert not np.isnan(built.prepared.rows[out, 1]).any()
    assert built.observations == history.row_count - 36 - 1 - 10  # three hours with their margins, and b's gap
    assert from_manifest(built.manifest()["left_out"]) == list(built.left_out)
    assert len(built.values) == built.observations
    forest = RandomCutForest.fit(built.prepared.training_rows, num_trees=3, num_samples_per_tree=16, seed=1)
    package = calibrate_package(built.prepared, forest.score, model_version="v", manifest=built.manifest())
    assert package.manifest["observations"] == built.observations
    assert package.manifest["to_ms"] == history.end_ms


def test_histories_of_different_metrics_are_refused(folder, tmp_path):
    write(tmp_path / "other.parquet", np.arange(3) * 3_600_000, {"a": np.ones((3, 1))}, metrics=("x",))
    with pytest.raises(UsageError, match="fetch them with one metric set"):
        build({300: open_history(folder / "period_s=300"), 3600: open_history(tmp_path / "other.parquet")}, seed=1)


def test_shards_hold_every_row_once_and_no_more_than_their_share(tmp_path):
    rows = np.random.default_rng(1).normal(size=(2_500, 12)).astype(np.float32)
    shards = Shards(Folder(tmp_path), rows_per_shard=1_000)
    for start in range(0, len(rows), 333):
        shards.write(rows[start : start + 333])
    shards.close()
    assert [len(recordio.decode((tmp_path / n).read_bytes())[0]) for n in shards.names] == [1_000, 1_000, 500]
    assert b"".join((tmp_path / n).read_bytes() for n in shards.names) == recordio.encode(rows)


def test_the_sample_is_of_equal_size_for_each_server_and_uniform_over_time():
    sample = ServerSamples(2, 200, 12, np.random.default_rng(3))
    for t in range(0, 4_000, 50):
        servers = np.array([0] * 50 + [1])
        rows = np.zeros((51, 12), dtype=np.float32)
        rows[:50, 0] = t + np.arange(50)
        sample.add(servers, rows)
    rows = sample.rows()
    assert len(rows) == 200 + 80
    assert rows[:200, 0].mean() == pytest.approx(2_000, rel=0.15)
    assert (np.diff(rows[:200, 0]) > 0).all()
