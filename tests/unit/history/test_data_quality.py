import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.main import run
from training.history.cloudwatch.store import Folder
from training.history.grid import Grid
from training.prepare.data_quality import baseline, check_grid, read, write
from treeline.core.detection.features import feature_names
from treeline.core.errors import UsageError
from treeline.core.model.data_quality import Violated

FEATURES = feature_names(("x", "y"))


def grid(seed, shift=0.0):
    made = full(seed, shift)
    made.values[:100, 0] = np.nan  # absent: no rows, so nothing is missing
    return made


def observed(made):
    return made.values[made.present()]


def full(seed, shift=0.0):
    values = np.random.default_rng(seed).normal(50 + shift, 5, (300, 4, 2)).astype(np.float32)
    return Grid(np.arange(300) * 60_000, tuple("abcd"), ("x", "y"), values, 60.0)


def test_a_training_runs_baseline_is_written_read_and_checked(tmp_path):
    rows = np.random.default_rng(2).normal(size=(1_000, len(FEATURES))).astype(np.float32)
    statistics, constraints = baseline(("x", "y"), observed(grid(1)), seed=1, features=rows)
    assert [column.name for column in statistics] == ["x", "y", *FEATURES]
    assert statistics[0].completeness == 1.0
    write(Folder(tmp_path), statistics, constraints, "quality")
    again = read(tmp_path / "quality")
    assert check_grid(grid(3), *again) == []
    assert {(v.feature, v.check) for v in check_grid(grid(3, shift=5.0), *again)} >= {("x", Violated.DRIFT)}


def test_a_folder_without_a_baseline_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no statistics\.json"):
        read(tmp_path)


def test_the_audit_of_a_history_file_holds_it_against_a_baseline(tmp_path, capsys):
    def save(path, rows):
        times = pa.array(np.arange(300).repeat(4) * 60_000).cast(pa.timestamp("ms", tz="UTC"))
        servers = list("abcd") * 300
        x, y = rows.values.reshape(-1, 2).T
        columns = {"timestamp": times, "server_id": servers, "x": pa.array(x), "y": pa.array(y)}
        pq.write_table(pa.table(columns), path)
        return str(path)

    write(Folder(tmp_path), *baseline(("x", "y"), observed(full(1)), seed=1), "quality")
    same, shifted = save(tmp_path / "same.parquet", full(3)), save(tmp_path / "shifted.parquet", full(3, shift=5.0))
    options = ["--baseline", str(tmp_path / "quality")]
    assert run(["history", "audit", "--data", same, *options]) == 0
    assert run(["history", "audit", "--data", shifted, *options]) == 1
    assert "x: baseline_drift_check" in capsys.readouterr().out
    assert run(["history", "audit", "--data", shifted]) == 0
