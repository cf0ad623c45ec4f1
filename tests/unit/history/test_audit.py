import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.cloudwatch_standin import Fleet
from tests.unit.history.fleets import METRICS, NOW_MS, fetched, plan_of, server
from training.history.cloudwatch.audit import audit, audit_history
from training.history.cloudwatch.store import Folder, HistoryStore
from training.history.files import open_history

HOUR_S = 3600


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    """Two days: one in order, one silent for 6 hours in one metric, one that began yesterday, two lacking agents."""
    end_s = NOW_MS // 1000

    def silent(server_id, column):
        if server_id == "i-001" and column == 0:
            return end_s - 10 * HOUR_S, end_s - 4 * HOUR_S
        return (0, end_s - 24 * HOUR_S) if server_id == "i-002" else None

    root = tmp_path_factory.mktemp("gappy")
    plan = plan_of([server(0), server(1), server(2), server(3, columns=(0,)), server(4, columns=())], days=2)
    fetched(plan, Folder(root), fleet=Fleet(silent=silent))
    return plan, HistoryStore(Folder(root)).finished(plan)


def test_gaps_count_by_server_and_metric(gappy):
    found = {(c.server_id, c.metric): c.completeness for c in audit(*gappy).coverage}
    assert found["i-000", "cpu_percent"] == 1.0
    assert found["i-001", "cpu_percent"] == pytest.approx(1 - 6 / 48, abs=0.003)
    assert found["i-001", "memory_percent"] == 1.0


def test_a_server_is_judged_from_its_own_first_point(gappy):
    found = {(c.server_id, c.metric): c.completeness for c in audit(*gappy).coverage}
    assert found["i-002", "cpu_percent"] == 1.0


def test_missing_agents_are_named_and_count_as_nothing(gappy):
    found = audit(*gappy)
    assert found.missing_metrics == {"i-003": ("memory_percent",)}
    assert found.silent_servers == ("i-004",)
    assert found.completeness < 0.85
    assert [(c.server_id, c.metric) for c in found.gaps(0.995)] == [("i-001", "cpu_percent")]


def test_unfetched_chunks_count_as_absent(gappy):
    plan, finished = gappy
    assert audit(plan, {}).chunks_missing == len(plan.chunks)
    assert audit(plan, {}).completeness == 0.0
    assert audit(plan, finished).chunks_missing == 0


def test_values_that_cannot_be_and_probable_ratios_are_named(tmp_path):
    times = np.arange(180) * 60_000
    cpu = np.concatenate([np.full(60, 0.42), np.full(60, 42.0), np.zeros(60)])
    memory = np.concatenate([[np.inf, 250.0, 104.0], np.full(177, 60.0)])
    table = pa.table(
        {
            "timestamp": pa.array(times).cast(pa.timestamp("ms", tz="UTC")),
            "server_id": ["a"] * 180,
            "cpu_percent": cpu,
            "memory_percent": memory,
            "load": np.full(180, 0.5),
        }
    )
    pq.write_table(table, tmp_path / "fleet.parquet")
    found = audit_history(open_history(tmp_path / "fleet.parquet"))
    assert [(odd.metric, odd.impossible, odd.ratio_hours, odd.hours) for odd in found.odd_values] == [
        ("cpu_percent", 0, 1, 3),
        ("memory_percent", 2, 0, 3),
    ]
    told = [str(odd) for odd in found.odd_values]
    assert "a cpu_percent: probably a ratio" in told[0]
    assert "in 1 of 3 hours" in told[0]
    assert told[1] == "a memory_percent: 2 values that cannot be, left out"


def test_a_history_file_is_judged_by_its_own_step(tmp_path):
    times = np.arange(100) * 60_000
    kept = np.delete(np.arange(100), np.arange(40, 50))
    table = pa.table(
        {
            "timestamp": pa.array(np.concatenate([times, times[kept]])).cast(pa.timestamp("ms", tz="UTC")),
            "server_id": ["a"] * 100 + ["b"] * 90,
            METRICS[0]: np.ones(190),
            METRICS[1]: pa.array([None] * 100 + [1.0] * 90),
        }
    )
    pq.write_table(table, tmp_path / "fleet.parquet")
    found = audit_history(open_history(tmp_path / "fleet.parquet"))
    by_name = {(c.server_id, c.metric): c.completeness for c in found.coverage}
    assert by_name["a", METRICS[0]] == 1.0
    assert by_name["b", METRICS[0]] == pytest.approx(0.9)
    assert found.missing_metrics == {"a": (METRICS[1],)}
