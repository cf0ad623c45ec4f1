"""How a server the model has not met becomes ready."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import START_MS, STEP_MS, Run
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.detection.warmup import observations_needed, spread_floor
from treeline.core.expectation.expectation import Basis
from treeline.core.state.fleet import FleetState, Phase

HOUR_S = 3600.0
NEEDED = 24  # at an hourly step


def warmed(values):
    """A state after warming one server up with hourly values (24, metrics)."""
    from treeline.core.detection.warmup import warm_up

    state = FleetState(values.shape[1], servers=["new"])
    for row in values:
        warm_up(state, np.array([0]), np.asarray(row, np.float32)[None], step_s=HOUR_S)
        state.observations[0] += 1
    return state


@pytest.mark.parametrize(("step_s", "needed"), [(60.0, 1440), (30.0, 2880), (300.0, 288), (HOUR_S, 24), (86_400.0, 20)])
def test_a_warm_up_lasts_a_day_and_at_least_twenty_observations(step_s, needed):
    assert observations_needed(step_s) == needed


def test_the_last_observation_of_the_warm_up_makes_a_server_ready_and_the_next_is_scored():
    run = Run(FleetState(4, servers=["new"]))
    values = np.random.default_rng(1).normal(50, 2, (11, 4))
    run.state.observations[0] = 1430  # of the 1440 it needs
    run.series(values[:9])
    assert run.state.phase[0] == Phase.WARMING_UP
    run.series(values[9:10], start=START_MS + 9 * STEP_MS)
    assert run.state.phase[0] == Phase.READY
    assert run.severities == {}
    run.series(values[10:], start=START_MS + 10 * STEP_MS)
    assert len(run.severities) == 1


def test_the_baseline_is_the_plain_mean_and_spread_of_the_warm_up():
    values = np.random.default_rng(2).normal([5, 500, 0.1, 80], [1, 40, 0.02, 3], (NEEDED, 4))
    state = warmed(values)
    np.testing.assert_allclose(state.base_mean[0], values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(state.base_spread[0], values.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(state.day_var[0], 1.0, rtol=1e-5)


def test_a_metric_that_comes_less_often_is_learned_from_the_values_it_had():
    """A phantom 0 used to stand for the first one when it was missing, and later ones weighed too little."""
    values = np.full((NEEDED, 2), math.nan)
    values[:, 0] = np.random.default_rng(3).normal(50, 2, NEEDED)
    values[3::5, 1] = [98.0, 102.0, 98.0, 102.0, 100.0]
    state = warmed(values)
    assert state.base_mean[0, 1] == pytest.approx(100.0)
    assert state.base_spread[0, 1] == pytest.approx(np.std([98, 102, 98, 102, 100]), rel=1e-4)


@FEW
@given(
    hnp.arrays(
        np.float64,
        (NEEDED, 3),
        elements=st.floats(-1e4, 1e4, allow_subnormal=False) | st.just(math.nan) | st.sampled_from([1e300, -3e38]),
    )
)
def test_whatever_came_the_baseline_is_finite_and_its_spread_positive(values):
    with np.errstate(over="ignore"):  # as the reader of the table hands them over
        values = values.astype(np.float32)
    state = warmed(values)
    assert state.phase[0] == Phase.READY
    for name in (
        "base_mean",
        "base_spread",
        "day_mean",
        "day_var",
        "recent",
        "trend_mean",
        "season_square",
        "mean10_var",
        "residual_scale",
    ):
        assert np.isfinite(getattr(state, name)).all(), name
    came = ~np.isnan(values).all(axis=0)
    assert ((state.base_spread[0] > 0) == came).all(), "one that never came has none and warms up when it comes"
    assert (np.abs(state.recent) <= 10.0).all()
    assert (state.trend_mean == 0).all()


def test_a_metric_that_never_came_or_never_moved_has_a_finite_baseline():
    values = np.full((NEEDED, 3), math.nan)
    values[:, 1], values[:, 2] = 0.0, 250.0
    state = warmed(values)
    assert state.base_spread[0].tolist() == pytest.approx([UNKNOWN, 1e-3, 2.5])


@FEW
@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_a_spread_is_always_positive_and_at_least_the_deviation_that_matters(sd, value_range, mean):
    spread = spread_floor(np.array(sd), np.array(value_range), np.array(mean))
    assert spread > 0
    if sd > 1e-5 * (1 + abs(mean)):
        assert spread >= sd


def test_a_warming_server_does_not_disturb_the_ready_ones():
    from tests.unit.core.fleets import ready_state

    values = np.random.default_rng(6).normal(50, 2, (30, 2, 4))
    with_new, without = Run(ready_state(1)), Run(ready_state(1))
    with_new.state.add(["new"])
    for t in range(30):
        with_new.feed([0, 1], [START_MS + t * STEP_MS] * 2, values[t])
        without.feed([0], [START_MS + t * STEP_MS], values[t, :1])
    assert with_new.severities == without.severities


def test_from_the_eleventh_value_on_none_adds_more_than_nine_times_the_variance():
    """The first ten are learned as they are: there is nothing yet to call one of them absurd."""
    values = np.array([[49.0], [51.0]] * 5 + [[1e6]])
    state = warmed(values[:10])
    assert (state.day_mean.item(), state.day_var.item()) == (50.0, pytest.approx(1.0))
    state = warmed(values)
    reach = math.sqrt(9.0 * 1.0 * 11)
    assert state.day_mean.item() == pytest.approx(50.0 + reach / 11)
    assert state.day_var.item() == pytest.approx(10 / 11 * (1.0 + 9.0))
    early = warmed(np.array([[50.0]] * 9 + [[1050.0]]))
    assert early.day_mean.item() == pytest.approx(150.0)


def test_a_server_that_has_warmed_up_begins_with_what_is_typical():
    """Until the next training: the views of a stationary series, and a tail as wide as a normal distribution's."""
    values = np.random.default_rng(2).normal(50, 2, (NEEDED, 2))
    values[-1, 1] = math.nan
    state = warmed(values)
    assert state.day_mean[0].tolist() == [0.0, 0.0]
    assert state.recent[0, :, 1].tolist() == [0.0] * 10, "a last value that is missing is taken to be the mean"
    assert (state.season_square[0, 0], state.mean10_var[0, 0]) == (pytest.approx(1.0), pytest.approx(0.49))
    assert (state.mean10_floor[0, 0], state.change_floor[0, 0]) == pytest.approx((0.07, 0.07), rel=1e-3)
    assert state.residual_scale[0, 0] == pytest.approx(1.0)
    assert (state.basis == Basis.DAY).all(), "no season is known yet"
    assert (state.tail_start[0, 0], state.tail_scale[0, 0]) == (2.0, 1.0)
    assert state.change_var[0, 0] == pytest.approx(0.49)


def test_an_absurd_value_in_the_warm_up_does_not_blind_the_metric():
    """A counter that was reset: the spread it leaves is still that of the metric."""
    values = np.random.default_rng(1).normal(50, 2, (NEEDED, 2))
    plain = warmed(values)
    values[12, 0] = 1e300
    with np.errstate(over="ignore"):
        state = warmed(values)

    assert state.phase[0] == Phase.READY
    assert plain.base_spread[0, 0] <= state.base_spread[0, 0] < 5 * plain.base_spread[0, 0]
    assert abs(state.base_mean[0, 0] - 50) < 3
