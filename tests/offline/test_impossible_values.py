"""Values that cannot be, in a history: none is learned, and none costs a page."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import fleet
from tests.unit.history_files import write_history
from training.evaluate.backtest import backtest
from training.evaluate.experiment import Setup, fit_model, groups_of, openings, split_grids
from training.history.files import open_history
from treeline.core.detection.policy import PolicySettings

TRAIN, TEST = 1200, 260  # four days and most of a fifth at five minutes
CPU = 0


@pytest.fixture(scope="module")
def clean():
    """Six servers; the CPU of web-01 and web-04 is used up for two and a half hours each after training."""
    grid = fleet(6, TRAIN + TEST)
    assert grid.metrics[CPU] == "cpu_percent"
    for server, first in ((1, 100), (4, 200)):
        grid.values[TRAIN + first : TRAIN + first + 30, server, :2] = 100.0
    times = grid.times_ms[0] + 300_000 * np.arange(TRAIN + TEST)
    return replace(grid, times_ms=times, step_s=300.0)


def found(path, grid):
    """Which incidents a backtest of the file opens, and when."""
    past, present = split_grids(open_history(write_history(path / "fleet.parquet", grid, train=TRAIN)))
    package, forest = fit_model(past, Setup())
    done = backtest(package, present, forest.score, PolicySettings(), groups=groups_of(present))
    return [(o.server_id, o.at_ms, o.priority) for o in openings(done.changes)]


@pytest.fixture(scope="module")
def expected(clean, tmp_path_factory):
    incidents = found(tmp_path_factory.mktemp("clean"), clean)
    assert {server for server, _, _ in incidents} == {"web-01", "web-04"}
    return incidents


def test_cpu_a_little_above_100_percent_is_found_as_100_is(clean, expected, tmp_path):
    """100.4375 is what an agent measures at full load; as a value out of range it left the fault unseen."""
    grid = replace(clean, values=clean.values.copy())
    used_up = grid.values[:, :, CPU] == 100.0
    assert used_up.sum() == 60
    grid.values[used_up, CPU] = 100.4375
    assert found(tmp_path, grid) == expected


@pytest.mark.parametrize("garbage", [np.inf, 1e12])
def test_one_impossible_sample_in_training_changes_nothing(garbage, clean, expected, tmp_path):
    """It blinded that metric on that server for good: nothing is far from a spread of 1e12."""
    grid = replace(clean, values=clean.values.copy())
    grid.values[700, 1, CPU] = garbage
    assert found(tmp_path, grid) == expected
