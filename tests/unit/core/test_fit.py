"""Training refuses what it cannot learn from."""

import numpy as np
import pytest

from training.fit import Grid, prepare
from treeline.core.errors import UsageError


@pytest.mark.parametrize("steps", [0, 1])
def test_a_history_without_two_observations_of_any_server_is_refused(steps):
    values = np.full((max(steps, 1), 2, 3), np.nan, dtype=np.float32)
    values[:steps, 0] = 50.0
    grid = Grid(np.arange(len(values), dtype=np.int64) * 60_000, ("a", "b"), ("x", "y", "z"), values, 60.0)
    with pytest.raises(UsageError, match="two observations"):
        prepare(grid, seed=1)


def test_a_server_that_never_reported_stays_out_and_the_others_are_learned():
    values = np.random.default_rng(1).normal(50, 2, (40, 2, 3)).astype(np.float32)
    values[:, 1] = np.nan
    values[:, 0, 2] = np.nan
    grid = Grid(np.arange(40, dtype=np.int64) * 60_000, ("a", "b"), ("x", "y", "z"), values, 60.0)
    prepared = prepare(grid, seed=1)
    assert prepared.state.phase.tolist() == [1, 0]
    assert np.isfinite(prepared.training_rows).all()
    assert len(prepared.training_rows) == 20
