"""What is expected of a metric now: by the trailing day, the season, or the season moved; and how each is learned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import START_MS, STEP_MS, STEP_S, Run, ready_state
from treeline.core.expectation import expectation
from treeline.core.expectation.expectation import DAY_FLOOR, Basis, expected

HERE, ROW = slice(0, 1), np.array([0])
AT = np.array([START_MS])
LEARNED = ("trailing_mean", "trailing_var", "trend_mean", "season_offset")


def seasonal(basis, *, level=3.0, offset=-1.0):
    """A server whose season stands at `level`, whose trailing day at 1."""
    state = ready_state(1, 2)
    state.season_days[:], state.season_level[:], state.season_var[:] = 1000.0, level, 0.25
    state.basis[:], state.trailing_mean[:], state.trailing_var[:] = basis, 1.0, 4.0
    state.season_offset[:] = offset
    return state


def now(state, *, at=AT, learn=True):
    return expected(state, ROW, HERE, at, step_s=STEP_S, elapsed_s=np.array([STEP_S]), learn=learn)


@pytest.mark.parametrize(
    ("basis", "value", "sd"), [(Basis.DAY, 1.0, 2.0), (Basis.SEASON, 3.0, 0.5), (Basis.MOVED_SEASON, 2.0, 0.5)]
)
def test_each_way_to_expect_a_value_by_hand(basis, value, sd):
    found = now(seasonal(basis))
    assert found.value == pytest.approx(np.full((1, 2), value), rel=1e-2)
    assert found.sd == pytest.approx(np.full((1, 2), sd), rel=2e-2)


def test_each_metric_goes_by_its_own():
    found = now(seasonal(np.array([Basis.DAY, Basis.SEASON])))
    assert found.value == pytest.approx(np.array([[1.0, 3.0]]), rel=1e-2)


def test_a_quiet_day_is_no_narrower_than_a_tenth_of_trainings_spread():
    state = seasonal(Basis.DAY)
    state.trailing_var[:] = 0.0
    assert now(state).sd == pytest.approx(np.full((1, 2), DAY_FLOOR))


def test_the_time_of_day_is_the_servers_own():
    """Eight in the morning in its zone, whatever UTC says."""
    state = ready_state(2)
    state.season_days[:], state.season_var[:] = 1000.0, 0.25
    state.season_level[:] = 0.0
    state.season_level[:, :, 31:34] = 5.0  # around eight
    state.basis[:] = Basis.SEASON
    state.utc_offset_s[:] = [0, 8 * 3600]
    midnight = START_MS - START_MS % 86_400_000 + 86_400_000
    run = Run(state)
    state.last_at[:] = midnight - STEP_MS
    run.feed([0, 1], [midnight + STEP_MS] * 2, np.full((2, 4), 60.0))
    residual = np.frombuffer(run.rows[0, midnight + STEP_MS], np.float32)[4:]
    at_eight = np.frombuffer(run.rows[1, midnight + STEP_MS], np.float32)[4:]
    assert residual.tolist() == pytest.approx([5.0 / 0.5] * 4, rel=0.05)
    assert at_eight.tolist() == pytest.approx([0.0] * 4, abs=0.1)


def test_a_late_observation_does_not_turn_the_slot():
    state = seasonal(Basis.SEASON)
    now(state)
    before = state.pack()
    now(state, at=AT - 3_600_000, learn=False)
    assert state.pack() == before


def learn(state, value, *, aged_s=STEP_S):
    found = now(state)
    values = np.full((1, 2), value, dtype=np.float32)
    expectation.learn(state, HERE, values, found, np.array([aged_s], np.float32))


def test_the_trailing_day_and_the_offset_move_towards_the_value_and_a_missing_one_moves_nothing():
    state = seasonal(Basis.DAY, offset=0.0)
    learn(state, 2.0)
    assert 1.0 < state.trailing_mean[0, 0] < 1.01
    assert -0.01 < state.season_offset[0, 0] < 0.0, "the value lies below the season"
    before = {name: getattr(state, name).copy() for name in LEARNED}
    learn(state, np.nan)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(state, name), array, err_msg=name)


def test_a_day_of_another_level_moves_the_season_by_most_of_it():
    state = seasonal(Basis.MOVED_SEASON, offset=0.0)
    now(state)
    for _ in range(1440):
        learn(state, 4.0)
    assert state.season_offset[0, 0] == pytest.approx(1.0, abs=0.4)
    assert state.season_offset[0, 0] > 0.5


def test_one_absurd_value_moves_the_offset_by_a_bounded_step():
    state = seasonal(Basis.MOVED_SEASON, offset=0.0)
    learn(state, 30.0)
    assert 0.0 < state.season_offset[0, 0] < 4 * 0.51 * STEP_S / 86_400 * 2.1


def test_nothing_ages_while_no_time_counts():
    """As of a server with an open incident."""
    state = seasonal(Basis.MOVED_SEASON)
    now(state)
    before = {name: getattr(state, name).copy() for name in LEARNED}
    learn(state, 9.0, aged_s=0.0)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(state, name), array, err_msg=name)


@FEW
@given(
    st.lists(st.floats(-30, 30, width=32) | st.just(np.nan), min_size=1, max_size=40),
    st.sampled_from(list(Basis)),
    st.integers(-12, 14),
)
def test_no_series_makes_an_expectation_that_is_not_finite(values, basis, hours):
    state = ready_state(1, 2)
    state.basis[:] = basis
    for i, value in enumerate(values):
        local = AT + i * 600_000 + hours * 3_600_000
        found = expected(state, ROW, HERE, local, step_s=600.0, elapsed_s=np.array([600.0]))
        assert np.isfinite(found.value).all()
        assert (found.sd > 0).all()
        both = np.full((1, 2), value, dtype=np.float32)
        expectation.learn(state, HERE, both, found, np.array([600.0], np.float32))
