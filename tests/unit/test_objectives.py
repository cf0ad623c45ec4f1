"""What a judge reads beside a history: objectives and their breaches, and an incident's event and breach."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from training.history.incidents import read_incidents
from training.history.labels import Label, merge_labels
from training.history.objectives import open_objectives
from treeline.core.errors import UsageError

MINUTE = 60_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_MS = int(BEGIN.timestamp()) * 1000


def write(folder, latency=None, errors=None, objectives="shop,300,0.01\n"):
    (folder / "objectives.csv").write_text("service,latency_p95_ms_below,error_ratio_below\n" + objectives)
    (folder / "services.csv").write_text("service,server_id,zone\nshop,web-1,a\nshop,web-2,b\n")
    latency = latency or [100.0] * len(errors)
    levels = pd.DataFrame(
        {
            "timestamp": [BEGIN + timedelta(minutes=i) for i in range(len(latency))],
            "service": "shop",
            "latency_p95_ms": pd.Series(latency, dtype="float32"),
            "error_ratio": pd.Series(errors or [0.0] * len(latency), dtype="float32"),
        }
    )
    levels.to_parquet(folder / "service_levels.parquet")
    return open_objectives(folder)


def spans(breaches):
    return [((b.start_ms - BEGIN_MS) // MINUTE, (b.end_ms - BEGIN_MS) // MINUTE) for b in breaches]


def test_a_breach_is_where_either_promise_is_missed_and_its_limit_is_a_miss(tmp_path):
    objectives = write(tmp_path, latency=[299.9, 300.0, 100, 100, 100], errors=[0.0099, 0, 0, 0.01, 0])
    assert objectives.servers == {"shop": ("web-1", "web-2")}
    assert spans(objectives.breaches(join_ms=0)) == [(1, 1), (3, 3)]


def test_breaches_that_are_close_are_one(tmp_path):
    latency = [100.0] * 40
    for minute in (3, 4, 14, 25):
        latency[minute] = 500.0
    objectives = write(tmp_path, latency=latency)
    assert spans(objectives.breaches()) == [(3, 14), (25, 25)]
    assert spans(objectives.breaches(join_ms=0)) == [(3, 4), (14, 14), (25, 25)]


def test_a_missing_value_misses_nothing(tmp_path):
    assert write(tmp_path, latency=[float("nan"), 100.0]).breaches() == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("objectives.csv", "service,latency_p95_ms_below\nshop,300\n", "expected a CSV file: service,latency_p95_ms"),
        ("objectives.csv", "service,latency_p95_ms_below,error_ratio_below\nshop,fast,0.01\n", "line 2: could not"),
        ("services.csv", "", "expected a CSV file: service,server_id"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(tmp_path, file, text, expected):
    write(tmp_path, latency=[100.0])
    (tmp_path / file).write_text(text)
    with pytest.raises(UsageError, match=expected) as error:
        open_objectives(tmp_path)
    assert file in str(error.value)


def test_levels_that_cannot_be_used_are_refused_by_name(tmp_path):
    other = write(tmp_path, latency=[100.0], objectives="bank,300,0.01\n")
    with pytest.raises(UsageError, match="service 'shop', which has no objective"):
        other.breaches()
    (tmp_path / "service_levels.parquet").unlink()
    with pytest.raises(UsageError, match=r"service_levels\.parquet cannot be read"):
        other.breaches()


def read(tmp_path, text):
    path = tmp_path / "incidents.csv"
    path.write_text(text)
    return read_incidents(path, servers=("a", "b"), data_path=tmp_path / "fleet.parquet")


def test_labels_say_their_event_and_their_breach_where_the_file_does(tmp_path):
    rows = "a,2026-01-01T00:00Z,2026-01-01T01:00Z,zone_outage,shared-1,2026-01-01T00:05Z\n"
    rows += "b,2026-01-01T00:00Z,2026-01-01T01:00Z,silent,,\n"
    first, second = read(tmp_path, "server_id,start,end,kind,event,breach\n" + rows)
    assert (first.event, first.breached_ms) == ("shared-1", BEGIN_MS + 5 * MINUTE)
    assert (second.event, second.breached_ms) == ("", None)
    (old,) = read(tmp_path, "server_id,start,end\na,2026-01-01T00:00Z,2026-01-01T01:00Z\n")
    assert (old.kind, old.event, old.breached_ms) == ("", "", None)


def test_a_breach_that_is_no_time_is_refused(tmp_path):
    with pytest.raises(UsageError, match="line 2: breach is 'soon', expected ISO 8601"):
        read(tmp_path, "server_id,start,end,breach\na,2026-01-01T00:00Z,2026-01-01T01:00Z,soon\n")


def test_merged_labels_keep_both_events_and_the_first_breach():
    def label(start, **more):
        return Label(server_id="a", start_ms=start * MINUTE, end_ms=(start + 5) * MINUTE, **more)

    merged = merge_labels(
        [label(0, event="deploy-1"), label(20, event="shared-1", breached_ms=9), label(40, breached_ms=8)],
        gap_ms=60 * MINUTE,
    )
    assert [(m.event, m.breached_ms) for m in merged] == [("deploy-1+shared-1", 8)]
