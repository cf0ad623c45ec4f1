"""Training refuses what it cannot learn from."""

import numpy as np
import pytest

from tests.unit.detection_fakes import distance_score, fleet
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.core.channels.score import ScoreChannel
from treeline.core.detection.calibration import Calibration
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


@pytest.mark.parametrize("channel", ScoreChannel)
def test_the_spread_of_the_rise_is_in_units_of_the_score_whatever_the_channel(channel):
    """The EMA channel floors its own spread with a share of it: in other units the floor would hide everything."""
    grid = fleet(1, 200)

    def residual_sd(scale):
        package = calibrate_package(
            prepare(grid, seed=1),
            lambda rows: scale * distance_score(rows),
            model_version="m",
            calibration=Calibration(score_channel=channel),
        )
        return package.seeds.residual_sd

    one, ten = residual_sd(1.0), residual_sd(10.0)

    assert ten == pytest.approx(10 * one, rel=0.05)
