import numpy as np
import pytest

from training.cloudwatch.store import Folder
from training.data_quality import baseline, check_grid, read, write
from training.fit import Grid
from treeline.core.data_quality import Check
from treeline.core.errors import UsageError
from treeline.core.features import FEATURE_NAMES


def grid(seed, shift=0.0):
    values = np.random.default_rng(seed).normal(50 + shift, 5, (300, 4, 2)).astype(np.float32)
    values[:100, 0] = np.nan  # absent: no rows, so nothing is missing
    return Grid(np.arange(300) * 60_000, tuple("abcd"), ("x", "y"), values, 60.0)


def test_a_training_runs_baseline_is_written_read_and_checked(tmp_path):
    rows = np.random.default_rng(2).normal(size=(1_000, len(FEATURE_NAMES))).astype(np.float32)
    statistics, constraints = baseline(grid(1), seed=1, features=rows)
    assert [column.name for column in statistics] == ["x", "y", *FEATURE_NAMES]
    assert statistics[0].completeness == 1.0
    write(Folder(tmp_path), statistics, constraints, "quality")
    again = read(tmp_path / "quality")
    assert check_grid(grid(3), *again) == []
    assert {(v.feature, v.check) for v in check_grid(grid(3, shift=5.0), *again)} >= {("x", Check.DRIFT)}


def test_a_folder_without_a_baseline_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no statistics\.json"):
        read(tmp_path)
