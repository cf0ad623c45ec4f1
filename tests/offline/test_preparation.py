"""One preparation for histories in memory and in files of any length: what differs, and what must not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.detection_fakes import fleet
from tests.unit.history.series import averaged, minutes
from training.history.cloudwatch.store import Folder
from training.history.files import open_history
from training.history.grid import grid_of
from training.history.labels import Label
from training.history.resolution import open_resolutions
from training.history.windows import FileWindows
from training.prepare.calibrating import calibrate_package
from training.prepare.data_quality import baseline, sample_of
from training.prepare.hygiene import Disturbances, Reason
from training.prepare.kept import Kept
from training.prepare.preparation import prepare
from training.prepare.sampling import ServerSamples
from training.prepare.shards import write_shards
from treeline.core.channels import registry
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.errors import UsageError
from treeline.core.expectation.expectation import Basis
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


def streamed(histories, *, window_rows=None, **options):
    """As the pipeline prepares."""
    histories = dict(histories)
    step_s = min(histories)
    source = FileWindows(histories.pop(step_s), float(step_s), window_rows)
    return prepare(source, **{"seed": 1, "hygiene": Disturbances(), "coarser": histories} | options)


def assert_same(one, other):
    for name in ("times_ms", "rows", "magnitudes", "held_out", "training_rows"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name, values in one.state.arrays().items():
        np.testing.assert_array_equal(values, other.state.arrays()[name], err_msg=name)
    assert one.learned == other.learned


@pytest.mark.parametrize("window_rows", [97, 100_000])
@pytest.mark.parametrize("hygiene", [None, Disturbances()])
def test_files_give_what_the_grid_of_them_gives_to_the_last_bit(folder, window_rows, hygiene):
    history = open_history(folder / "period_s=300", servers=["a"])
    of_files = streamed({300: history}, window_rows=window_rows, hygiene=hygiene)
    assert_same(of_files, prepare(grid_of(history), seed=1, hygiene=hygiene))


@pytest.mark.parametrize("rolling_window_s", [0.0, 3600.0])
def test_processes_do_not_change_the_result_though_servers_miss_times_of_their_own(
    folder, monkeypatch, rolling_window_s
):
    monkeypatch.setattr("training.prepare.preparation.MAX_CALIBRATION_ROWS", 200)
    grid = grid_of(open_history(folder / "period_s=300"))
    grid.values[150:250, 0], grid.values[260:270] = np.nan, np.nan
    grid.values[5:8, 1, 0] = np.nan
    one, other = (
        prepare(grid, seed=1, hygiene=Disturbances(), rolling_window_s=rolling_window_s, workers=workers)
        for workers in (1, 2)
    )
    assert_same(one, other)
    assert len(one.times_ms) == 90, "of the last hundred steps nobody saw ten"
    assert one.learned.left_out


def seen_at(t, servers):
    """Features whose every number is the time."""

    def numbers(width):
        return np.full((servers, width), t, dtype=np.float32)

    nothing = np.zeros((servers, 3), np.float32)
    now = SimpleNamespace(season_level=nothing, day_mean=nothing, day_sd=numbers(3), season_sd=numbers(3))
    return SimpleNamespace(
        compared=SimpleNamespace(now=now, raw=numbers(3)), magnitudes=numbers(len(registry.CHANNELS))
    )


def test_the_kept_times_are_the_newest_in_order():
    rng = np.random.default_rng(2)
    for size, added in ((7, 5), (7, 7), (7, 9), (3000, 4321)):
        kept = Kept(2, size, 3)
        for t in range(added):
            here = np.flatnonzero(rng.random(2) < 0.9)
            kept.add(t, here, seen_at(t, len(here)), np.zeros((len(here), 3), np.float32))
        kept.in_order()
        assert kept.times_ms.tolist() == list(range(max(0, added - size), added))
        for values in (kept.magnitudes, kept.deviations[:, :, Basis.DAY], kept.sds[:, :, 1]):
            times = np.broadcast_to(kept.times_ms[:, None, None], values.shape)
            np.testing.assert_array_equal(values[~np.isnan(values)], times[~np.isnan(values)])
            assert not np.isnan(values).all()


def test_what_is_learned_from_is_offered_once(folder):
    """Where nothing is thinned the data-quality baselines are equal to the last digit."""
    history = open_history(folder / "period_s=300", servers=["a"])
    grid = grid_of(history)
    values = sample_of(history.metrics, seed=1)
    streamed({300: history}, window_rows=97, values=values)
    one, other = (baseline(history.metrics, rows, seed=1)[0] for rows in (values.rows(), grid.values[grid.present()]))
    assert statistics_to_json(one) == statistics_to_json(other)


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
    one, other = (streamed(histories, window_rows=rows) for rows in (33, 100_000))
    assert_same(one, other)
    assert list(one.times_ms) == [step * 300_000 for step in range(400)]
    assert not np.isnan(one.rows[5:]).any()


def test_windows_of_any_size_give_the_same_set(folder):
    histories = {300: open_history(folder / "period_s=300")}
    one, other = (streamed(histories, window_rows=rows) for rows in (50, 100_000))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.training_rows, other.training_rows)
    assert len(one.learned.left_out) >= len(other.learned.left_out), "a gap may be cut in two"
    assert one.learned.observations == other.learned.observations


def test_coarser_months_widen_the_baselines_but_give_no_rows(folder):
    mix = streamed(open_resolutions(folder))
    fine = streamed({300: open_history(folder / "period_s=300")})
    assert mix.rows.shape == fine.rows.shape
    assert not np.array_equal(mix.state.base_mean, fine.state.base_mean)
    np.testing.assert_allclose(mix.state.base_spread, fine.state.base_spread, rtol=0.15)


def test_a_metric_that_a_server_hardly_reported_gets_no_baseline(tmp_path):
    """Its first value would stand against a spread of nothing; it warms up when it comes. Coarser data cannot help:
    what a feature is compared with comes from the finest alone."""
    times, values = averaged(*minutes(2, seed=1, start_ms=START_MS), 300)
    never, rarely = values.copy(), values.copy()
    never[:, 1] = np.nan
    rarely[7:, 1] = np.nan
    write(tmp_path / "period_s=300" / "fine.parquet", times, {"a": values, "b": never, "c": rarely})
    long_ago = times[::12] - 2 * DAY_MS
    write(tmp_path / "period_s=3600" / "coarse.parquet", long_ago, {"b": values[::12]})
    state = streamed(open_resolutions(tmp_path)).state
    assert (state.base_spread == UNKNOWN).tolist() == [[False, False], [False, True], [False, True]]


def test_what_hygiene_leaves_out_is_in_no_row_and_in_the_manifest(folder):
    history = open_history(folder / "period_s=300")
    label = Label(server_id="a", start_ms=history.start_ms + 18 * HOUR_MS, end_ms=history.start_ms + 20 * HOUR_MS)
    values = sample_of(history.metrics, seed=1)
    prepared = streamed({300: history}, hygiene=Disturbances(labels=[label]), values=values)
    learned = prepared.learned
    reasons = {(x.server_id, x.reason) for x in learned.left_out}
    assert reasons == {("a", Reason.LABELLED), ("b", Reason.IMPUTED)}
    out = (prepared.times_ms >= label.start_ms) & (prepared.times_ms <= label.end_ms)
    assert np.isnan(prepared.rows[out, 0]).all()
    assert not np.isnan(prepared.rows[out, 1]).any()
    assert learned.observations == history.row_count - 36 - 1 - 10  # three hours with their margins, and b's gap
    assert len(values.rows()) == learned.observations
    forest = RandomCutForest.fit(prepared.training_rows, num_trees=3, num_samples_per_tree=16, seed=1)
    package = calibrate_package(prepared, forest.score, model_version="v", samples_per_tree=forest.num_samples_per_tree)
    assert package.manifest["observations"] == learned.observations
    assert (package.manifest["from_ms"], package.manifest["to_ms"]) == (history.start_ms, history.end_ms)


def test_histories_of_different_metrics_are_refused(folder, tmp_path):
    write(tmp_path / "other.parquet", np.arange(3) * 3_600_000, {"a": np.ones((3, 1))}, metrics=("x",))
    with pytest.raises(UsageError, match="fetch them with one metric set"):
        streamed({300: open_history(folder / "period_s=300"), 3600: open_history(tmp_path / "other.parquet")})


def test_shards_hold_every_row_once_and_no_more_than_their_share(tmp_path):
    rows = np.random.default_rng(1).normal(size=(2_500, 12)).astype(np.float32)
    names = write_shards(Folder(tmp_path), rows, rows_per_shard=1_000)
    assert [len(recordio.decode((tmp_path / name).read_bytes())[0]) for name in names] == [1_000, 1_000, 500]
    assert b"".join((tmp_path / name).read_bytes() for name in names) == recordio.encode(rows)


def test_the_sample_is_of_equal_size_for_each_server_and_uniform_over_time():
    sample = ServerSamples(2, 200, 12, np.random.default_rng(3))
    for t in range(0, 4_000, 50):
        servers = np.array([0] * 50 + [1])
        rows = np.zeros((51, 12), dtype=np.float32)
        rows[:50, 0] = t + np.arange(50)
        sample.offer(servers, rows)
    rows = sample.rows()
    assert len(rows) == 200 + 80
    assert rows[:200, 0].mean() == pytest.approx(2_000, rel=0.15)
    assert (np.diff(rows[:200, 0]) > 0).all()


@pytest.mark.parametrize("garbage", [np.inf, 1e12, 10 * 200.0])
def test_one_garbage_sample_in_training_does_not_blind_its_metric(garbage, tmp_path):
    """A day and a half of five servers at 10 minutes; of one server one value in the middle (`cases/05`)."""
    clean = fleet(5, 400, step_ms=600_000)
    broken = replace(clean, values=clean.values.copy())
    broken.values[75, 1, 2] = garbage
    states = []
    for number, grid in enumerate((clean, broken)):
        columns = [pa.array(grid.values[:, :, m].ravel()) for m in range(len(grid.metrics))]
        times = pa.array(np.repeat(grid.times_ms, 5)).cast(pa.timestamp("ms", tz="UTC"))
        names = ["timestamp", "server_id", *grid.metrics]
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table([times, pa.array(list(grid.servers) * 400), *columns], names=names), path)
        states.append(prepare(grid_of(open_history(path)), seed=1).state)
    for name in ("base_mean", "base_spread", "residual_scale", "band_sd", "relation_sd"):
        one, other = (getattr(state, name) for state in states)
        np.testing.assert_array_equal(one[[0, 2, 3, 4]], other[[0, 2, 3, 4]], err_msg=name)
        np.testing.assert_allclose(other[1], one[1], rtol=0.3 if name == "relation_sd" else 0.1, err_msg=name)
