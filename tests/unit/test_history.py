from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tests.unit.detection_fakes import fleet
from tests.unit.history_files import write_history
from training.history.files import open_history
from training.history.grid import both_grids, grid_of
from treeline.core.errors import UsageError
from treeline.core.profile import Metric

START = pd.Timestamp("2026-10-19", tz="UTC")
START_MS = START.value // 1_000_000


def frame(servers=("b", "a"), rows=10, **columns):
    parts = []
    for number, name in enumerate(servers):
        times = START + pd.to_timedelta(np.arange(rows) * 60, unit="s")
        cpu = np.arange(rows, dtype="float32") + 100 * number
        parts.append(pd.DataFrame({"timestamp": times, "server_id": name, "cpu": cpu, "disk": -cpu}))
    return pd.concat(parts, ignore_index=True).assign(**columns)


def save(tmp_path, table, name="fleet.parquet"):
    table.to_parquet(tmp_path / name, index=False)
    return tmp_path / name


def save_incidents(tmp_path, *lines, header="server_id,start,end"):
    path = tmp_path / "incidents.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_history_tells_what_is_in_it(tmp_path):
    history = open_history(save(tmp_path, frame()))
    assert history.metrics == ("cpu", "disk")
    assert history.servers == ("a", "b")
    assert (history.step_s, history.row_count) == (60.0, 20)
    assert (history.start_ms, history.end_ms) == (START_MS, START_MS + 9 * 60_000)


def test_a_matrix_is_one_servers_rows_in_time_order_whatever_the_order_of_the_file(tmp_path):
    history = open_history(save(tmp_path, frame().sample(frac=1.0, random_state=3)))
    times, values = history.matrix("a")
    assert times.dtype == np.int64
    assert values.dtype == np.float32
    assert list(times) == [START_MS + 60_000 * i for i in range(10)]
    assert values.tolist() == [[100.0 + i, -100.0 - i] for i in range(10)]


@pytest.mark.parametrize("rows", [None, 1, 3, 7])
def test_records_come_in_event_time_order_ties_by_server_however_they_are_chunked(tmp_path, rows):
    history = open_history(save(tmp_path, frame()))
    records = list(history.records(rows=rows))
    assert [(t, s) for t, s, _ in records] == [(START_MS + 60_000 * i, s) for i in range(10) for s in "ab"]
    assert records[3][2].tolist() == [1.0, -1.0]


def test_records_of_a_time_range_are_inclusive_at_both_ends(tmp_path):
    history = open_history(save(tmp_path, frame()))
    times = [t for t, _, _ in history.records(START_MS + 60_000, START_MS + 120_000)]
    assert times == [START_MS + 60_000] * 2 + [START_MS + 120_000] * 2
    assert list(history.records(START_MS + 10**9)) == []


def test_servers_start_and_end_choose_a_part(tmp_path):
    history = open_history(
        save(tmp_path, frame()),
        servers=["b"],
        start=datetime(2026, 10, 19, 0, 2, tzinfo=UTC),
        end=datetime(2026, 10, 19, 0, 5, tzinfo=UTC),
    )
    assert history.servers == ("b",)
    assert history.matrix("b")[1][:, 0].tolist() == [2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_time_bounds_are_exact_in_every_unit_of_the_file(tmp_path, unit):
    table = frame()
    table["timestamp"] = table["timestamp"].dt.as_unit(unit)
    history = open_history(save(tmp_path, table))
    assert len(list(history.records(START_MS + 1, START_MS + 60_000))) == 2


def test_times_without_a_zone_and_text_times_are_utc(tmp_path):
    table = frame()
    naive = open_history(save(tmp_path, table.assign(timestamp=table["timestamp"].dt.tz_localize(None))))
    text = open_history(
        save(tmp_path, table.assign(timestamp=table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S")), "t")
    )
    assert naive.start_ms == text.start_ms == START_MS
    assert len(list(text.records(START_MS, START_MS))) == 2


def test_the_split_column_decides_per_server(tmp_path):
    table = frame()
    table["split"] = np.where((table.server_id == "a") & (table.cpu >= 107) | (table.cpu == 9), "test", "train")
    history = open_history(save(tmp_path, table))
    assert history.split_by == "column"
    assert (len(history.matrix("a", part="test")[0]), len(history.matrix("b", part="train")[0])) == (3, 9)
    assert sorted(s for _, s, _ in history.records(part="test")) == ["a", "a", "a", "b"]
    assert history.test_start_ms == START_MS + 420_000


def test_a_date_or_a_fraction_splits_where_no_column_does(tmp_path):
    path = save(tmp_path, frame())
    dated = open_history(path, split_at=datetime(2026, 10, 19, 0, 8, tzinfo=UTC))
    assert (dated.split_by, len(dated.matrix("a", part="test")[0])) == ("date", 2)
    halved = open_history(path)
    assert (halved.split_by, len(halved.matrix("a", part="train")[0])) == ("fraction", 5)


def test_missing_values_stay_missing(tmp_path):
    table = frame()
    table.loc[0, "cpu"] = np.nan
    assert np.isnan(open_history(save(tmp_path, table)).matrix("b")[1][0, 0])


def test_a_value_that_cannot_be_is_clamped_or_missing_and_still_as_it_was_in_the_file(tmp_path):
    """What ingest would have stored of the same values; a column of which nothing is declared keeps all finite ones."""
    table = frame(servers=("a",), rows=5).rename(columns={"cpu": "cpu_percent"})
    table["cpu_percent"] = [100.5, 250.0, -2.5, np.inf, 41.5]
    table["disk"] = [1e12, -np.inf, -5.0, np.nan, 0.0]
    history = open_history(save(tmp_path, table)).of_metrics(["disk", "cpu_percent"])
    kept = np.array([[1e12, 100], [np.nan, np.nan], [-5, 0], [np.nan, np.nan], [0, 41.5]], dtype=np.float32)
    stored = np.array([[1e12, 100.5], [-np.inf, 250], [-5, -2.5], [np.nan, np.inf], [0, 41.5]], dtype=np.float32)
    np.testing.assert_array_equal(history.matrix("a")[1], kept)
    np.testing.assert_array_equal(np.concatenate([window.values for window in history.windows(rows=2)]), kept)
    np.testing.assert_array_equal(history.matrix("a", as_in_file=True)[1], stored)
    np.testing.assert_array_equal([values for _, _, values in history.records()], stored)


def test_a_history_is_held_to_what_is_declared_of_its_metrics(tmp_path):
    path = save(tmp_path, frame(servers=("a",), rows=3))
    declared = [Metric(name="cpu", minimum=0.5, maximum=1.0)]
    held = open_history(path, declared=declared).matrix("a")[1][:, 0]
    np.testing.assert_array_equal(held, [np.nan, 1.0, np.nan])
    assert open_history(path).matrix("a")[1][:, 0].tolist() == [0.0, 1.0, 2.0]


def test_incidents_are_read_with_their_kind_and_other_columns_ignored(tmp_path):
    incidents = save_incidents(
        tmp_path,
        "b,2026-10-19 00:05:00,2026-10-19T00:06:00Z,leak,9",
        "a,2026-10-19T02:01:00+02:00,2026-10-19T00:02:00Z,,1",
        header="server_id,start,end,kind,extra",
    )
    labels = open_history(save(tmp_path, frame()), incidents).incidents
    assert [(x.server_id, x.start_ms - START_MS, x.kind) for x in labels] == [("a", 60_000, ""), ("b", 300_000, "leak")]


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="timestamp"), ("no column timestamp", "expected")),
        (lambda t: t.drop(columns=["cpu", "disk"]), ("no metric column",)),
        (lambda t: t.assign(cpu="high"), ("column cpu", "expected numbers")),
        (lambda t: t.assign(timestamp=7), ("column timestamp", "expected timestamps")),
        (lambda t: t.assign(timestamp="yesterday"), ("'yesterday'", "ISO 8601")),
        (lambda t: t.head(0), ("no rows",)),
        (lambda t: t.assign(split="dev"), ("'dev'", "'train' or 'test'")),
        (
            lambda t: t.assign(split=np.where(t.index % 10 < 3, "test", "train")),
            ("train rows after its first test row",),
        ),
        (lambda t: t.assign(server_id=""), ("server_id is empty in 20 rows",)),
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line(tmp_path, change, words):
    path = save(tmp_path, change(frame()))
    with pytest.raises(UsageError) as error:
        open_history(path)
    message = one_line(error)
    assert all(word in message for word in (*words, str(path)))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a,2026-10-19T00:05:00Z,2026-10-19T00:04:00Z"], ("line 2", "before its start")),
        (["a,soon,2026-10-19T00:04:00Z"], ("line 2", "'soon'", "ISO 8601")),
        (["zz,2026-10-19T00:04:00Z,2026-10-19T00:05:00Z"], ("line 2", "'zz'", "not in")),
        (
            ["a,2026-10-19T00:06:00Z,2026-10-19T00:08:00Z", "a,2026-10-19T00:04:00Z,2026-10-19T00:06:00Z"],
            ("lines 3 and 2", "overlap", "merge"),
        ),
    ],
)
def test_incidents_that_make_no_sense_are_refused_in_one_line(tmp_path, lines, words):
    with pytest.raises(UsageError) as error:
        open_history(save(tmp_path, frame()), save_incidents(tmp_path, *lines))
    message = one_line(error)
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"servers": ["a", "nobody"]}, ("nobody", "it has a, b")),
        ({"start": datetime(2027, 1, 1, tzinfo=UTC)}, ("no rows", "it covers 2026-10-19")),
        ({"start": datetime(2027, 1, 1, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)}, ("before the start",)),
        ({"split_at": datetime(2030, 1, 1, tzinfo=UTC)}, ("2030", "no rows on one side")),
        ({"train_fraction": 1.5}, ("1.5", "between 0 and 1")),
        ({"incidents_path": "none.csv"}, ("none.csv", "does not exist")),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_one_line(tmp_path, arguments, words):
    path = save(tmp_path, frame())
    with pytest.raises(UsageError) as error:
        open_history(path, **arguments)
    message = one_line(error)
    assert all(word in message for word in words)


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        open_history(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UsageError, match="not a readable parquet file"):
        open_history(tmp_path / "text.parquet")


def test_two_rows_of_one_server_and_time_are_refused(tmp_path):
    table = pd.concat([frame(), frame().head(1)])
    history = open_history(save(tmp_path, table))
    with pytest.raises(UsageError, match="b has two rows at timestamp 2026-10-19T00:00:00"):
        history.matrix("b")
    with pytest.raises(UsageError, match="two rows"):
        list(history.records())


def test_bounds_without_a_zone_are_utc(tmp_path):
    path = save(tmp_path, frame())
    bound = datetime(2026, 10, 19, 0, 8, tzinfo=UTC)
    assert open_history(path, start=bound.replace(tzinfo=None)).rows == open_history(path, start=bound).rows


def test_both_parts_in_one_pass_are_the_parts_one_by_one(tmp_path):
    grid = fleet(3, 60)
    grid.values[10:20, 1] = np.nan
    history = open_history(write_history(tmp_path / "h.parquet", grid, train=40))
    for part, both in zip(("train", "test"), both_grids(history), strict=True):
        alone = grid_of(history, part=part)
        np.testing.assert_array_equal(both.times_ms, alone.times_ms)
        np.testing.assert_array_equal(both.values, alone.values)
        assert (both.servers, both.metrics, both.step_s) == (alone.servers, alone.metrics, alone.step_s)
