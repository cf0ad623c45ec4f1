"""What the metrics imply for each other: weights from a known covariance, and what is learned of the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import Run, ready_state
from treeline.core.channels.channel import Views
from treeline.core.channels.relation import Relation
from treeline.core.expectation import relation
from treeline.core.expectation.relation import RIDGE, relate, weights

HERE = slice(0, 1)


def correlated(rho, n=100_000, seed=1):
    """Two residuals of standard deviation 1 that go together."""
    rng = np.random.default_rng(seed)
    one, own = rng.normal(size=n), rng.normal(size=n)
    return np.stack([one, rho * one + np.sqrt(1 - rho**2) * own], axis=1)


def related_state(weights, metrics=2):
    state = ready_state(1, metrics)
    state.relation[0] = weights
    state.relation_var[:], state.relation_floor[:], state.relation_sd[:] = 1.0, 0.1, 1.0
    return state


def now(state, *residuals):
    return relate(state, HERE, np.array([residuals], dtype=np.float32))


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
def test_the_weights_of_two_metrics_are_their_regressions_on_each_other(rho):
    """Of two: r_1 less rho r_2, the covariance's diagonal raised by the ridge."""
    found = weights(correlated(rho))
    slope = rho / (1.0 + RIDGE)
    assert found == pytest.approx(np.array([[1.0, -slope], [-slope, 1.0]]), abs=0.01)


def test_of_three_metrics_the_one_between_explains_the_two_others():
    """A chain a -> b -> c: given b, c has nothing to say about a."""
    rng = np.random.default_rng(2)
    a = rng.normal(size=100_000)
    b = a + rng.normal(size=100_000)
    c = b + rng.normal(size=100_000)
    found = weights(np.stack([a, b, c], axis=1))
    assert found[0, 1] == pytest.approx(-0.5, abs=0.02)
    assert found[0, 2] == pytest.approx(0.0, abs=0.02)
    assert np.diag(found) == pytest.approx(np.ones(3))


@pytest.mark.parametrize("residuals", [np.empty((0, 3)), np.ones((1, 3)), np.zeros((50, 3)), np.ones((50, 3))])
def test_metrics_of_which_nothing_is_known_imply_nothing_for_each_other(residuals):
    """Too few observations, or metrics that never moved: the ridge alone is left."""
    assert weights(residuals) == pytest.approx(np.eye(3))


def test_one_metric_implies_nothing():
    assert weights(correlated(0.0)[:, :1]) == pytest.approx(np.ones((1, 1)))


def test_metrics_that_always_move_together_explain_each_other_and_no_more():
    """Without the ridge the weights of two equal metrics would grow without end."""
    one = np.random.default_rng(3).normal(size=1000)
    found = weights(np.stack([one, one, one], axis=1))
    assert np.abs(found).max() == pytest.approx(1.0)
    assert found[0, 1] == pytest.approx(found[0, 2]) == pytest.approx(-0.5, abs=0.02)


def test_what_the_others_imply_and_what_is_left_make_the_residual():
    state = related_state([[1.0, -0.8], [-0.8, 1.0]])
    found = now(state, 1.0, 5.0)
    assert found.implied.tolist() == [[pytest.approx(4.0), pytest.approx(0.8)]]
    assert found.unexplained.tolist() == [[pytest.approx(-3.0), pytest.approx(4.2)]]
    assert found.implied + found.unexplained == pytest.approx(np.array([[1.0, 5.0]]))


def test_a_metric_may_be_where_it_usually_is_and_wrong_for_the_load_and_far_out_and_right_for_it():
    state = related_state([[1.0, -0.9], [-0.9, 1.0]])
    usual_but_wrong, far_but_right = now(state, 0.0, 6.0), now(state, 5.4, 6.0)
    assert usual_but_wrong.deviation[0, 0] == pytest.approx(-5.4)
    assert far_but_right.deviation[0, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_deviation_is_in_what_is_left_usually_and_never_in_less_than_the_floor():
    state = related_state(np.eye(2))
    state.relation_mean[:], state.relation_var[:] = [0.5, 0.0], [4.0, 0.0]
    assert now(state, 4.5, 0.3).deviation.tolist() == [[pytest.approx(2.0), pytest.approx(3.0, rel=1e-3)]]


def test_ten_observations_together_are_their_mean_in_its_own_spread():
    state = related_state(np.eye(2))
    state.relation_sd[:] = 0.5
    state.relation_recent[0, :, 0] = np.arange(10)
    found = now(state, 10.0, 0.0)
    assert found.window[0, :, 0].tolist() == list(range(1, 11))
    assert found.sustained[0].tolist() == [pytest.approx(5.5 / 0.5), 0.0]
    assert state.relation_recent[0, -1, 0] == 9.0, "compared, not yet learned"


def test_one_observation_is_at_most_fifteen_deviations_in_the_ten():
    found = now(related_state(np.eye(2)), 29.0, -1e6)
    assert found.sustained[0].tolist() == [pytest.approx(1.5), pytest.approx(-1.5)]
    assert found.deviation[0].tolist() == [pytest.approx(29.0), pytest.approx(-30.0)]


def test_what_is_left_is_learned_slowly_and_bounded():
    state = related_state(np.eye(2))
    relation.learn(state, HERE, now(state, 1e6, 0.0), np.array([60.0], np.float32))
    assert 0.0 < state.relation_mean[0, 0] < 0.05
    assert state.relation_mean[0, 1] == 0.0
    assert state.relation_var[0, 0] == pytest.approx(1.0 + 30.0**2 * 60 / (3 * 86_400), rel=1e-2), "of thirty at most"
    before = state.relation_mean.copy(), state.relation_var.copy()
    relation.learn(state, HERE, now(state, 9.0, 9.0), np.array([0.0], np.float32))
    assert (state.relation_mean == before[0]).all(), "a frozen server's averages do not age"
    assert (state.relation_var == before[1]).all()


def test_a_relation_that_drifts_comes_to_be_usual_within_days():
    state = related_state(np.eye(1), metrics=1)
    for _ in range(6 * 1440):
        relation.learn(state, HERE, now(state, 2.0), np.array([60.0], np.float32))
    assert abs(now(state, 2.0).deviation[0, 0]) < 2.0


@FEW
@given(st.lists(st.floats(-60, 60, width=32), min_size=3, max_size=3), st.integers(0, 20))
def test_no_residuals_make_a_row_that_is_not_finite(residuals, seed):
    state = related_state(weights(np.random.default_rng(seed).normal(size=(30, 3))), metrics=3)
    found = now(state, *residuals)
    for part in (found.implied, found.unexplained, found.deviation, found.sustained):
        assert np.isfinite(part).all()


def test_a_server_of_which_no_relation_is_known_has_none():
    """One that the model has not met: nothing is implied, and nothing is a violation."""
    run = Run(ready_state(1))
    values = np.random.default_rng(4).normal(50, 2, (40, 4))
    values[20:] += [30.0, -30.0, 30.0, -30.0]
    run.series(values)
    assert (run.state.relation_recent == 0.0).all()


def test_the_channel_is_the_root_mean_square_over_the_metrics_each_at_most_fifteen():
    sustained = np.array([[3.0, -4.0], [0.0, 99.0]])
    nothing = np.zeros((2, 2))
    views = Views(nothing, nothing, nothing, nothing, sustained, nothing.astype(bool), nothing.astype(bool))
    by_hand = [np.sqrt((9 + 16) / 2), np.sqrt(15.0**2 / 2)]
    assert Relation().magnitude(ready_state(2, 2), HERE, views).tolist() == pytest.approx(by_hand)


def test_metrics_that_no_longer_fit_each_other_show_while_each_is_where_it_usually_is():
    """CPU and network of one load; then CPU goes down while network goes up, both within their bands."""
    rng = np.random.default_rng(5)
    load = rng.normal(size=(400, 1))
    values = 50 + 2 * load * [1.0, 1.0] + rng.normal(0, 0.2, (400, 2))
    values[300:] = 50 + 2 * load[300:] * [1.0, -1.0] + rng.normal(0, 0.2, (100, 2))
    residuals = (values - 50) / 2
    state = related_state(weights(residuals[:300]))
    rest = residuals[:300] @ state.relation[0].T
    state.relation_var[:], state.relation_sd[:] = rest.var(axis=0), 0.4
    sizes = []
    for t, residual in enumerate(residuals):
        found = now(state, *residual)
        state.relation_recent[0] = found.window[0]
        relation.learn(state, HERE, found, np.array([60.0], np.float32))
        if t >= 20:
            sizes.append(np.abs(found.deviation).max())
    assert np.abs(values[300:] - 50).max() < 4 * 2, "no metric alone is far from where it usually is"
    assert np.median(sizes[:280]) < 2.0 < 4.0 < np.median(sizes[280:])
