"""The feature row: by hand, its invariances, and input that is not as it should be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.core.examples import FEW, position
from tests.unit.core.fleets import START_MS, STEP_MS, STEP_S, Run, ready_state
from treeline.core.channels.tail import QUANTILE
from treeline.core.detection.features import FEATURE_NAMES, extract, summarize, window_mean
from treeline.core.state.layout import RECENT
from treeline.core.statistics import top_mean

ZS = st.floats(-10, 10, width=32, allow_subnormal=False)


def summed(views):
    magnitude = np.abs(views)
    return summarize(magnitude, np.sort(magnitude, axis=-1))


def feature(row, name):
    return float(row[FEATURE_NAMES.index(name)])


def observe(state, values, *, at=START_MS, learn=True, row=0):
    values = np.asarray(values, dtype=np.float32)[None]
    return extract(state, np.array([row]), np.array([at]), values, step_s=STEP_S, learn=learn)


def test_the_names_are_three_views_of_four_summaries():
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 12
    assert FEATURE_NAMES[:2] == ("value.max", "value.top3")
    assert FEATURE_NAMES[-1] == "difference.share_above_3"


def test_summaries_by_hand():
    row = summed(np.array([[[1.0, -4.0, 2.0, 0.0]]]))[0]
    assert row.tolist() == pytest.approx([4.0, 7 / 3, 3 * 7 / 4, 20 * 1 / 4])
    assert row.dtype == np.float32
    assert summed(np.array([[[3.0, -3.1]]]))[0, 3] == 20 * 1 / 2, "3 itself is not above 3"


def test_one_metric_is_its_own_top_three():
    assert summed(np.array([[[-2.0]]]))[0].tolist() == [2.0, 2.0, 6.0, 0.0]
    assert top_mean(np.array([[2.0]])).tolist() == [2.0]
    assert top_mean(np.array([[1.0, 3.0]])).tolist() == [2.0]


@pytest.mark.parametrize("metrics", [1, 2, 4, 38])
def test_the_mean_of_the_last_ten_is_numpys_bit_for_bit(metrics):
    window = np.random.default_rng(metrics).normal(size=(30, RECENT, metrics)).astype(np.float32)
    np.testing.assert_array_equal(window_mean(window), window.mean(axis=1), strict=True)


@FEW
@given(hnp.arrays(np.float32, (3, 3, 7), elements=ZS), st.permutations(range(7)))
def test_a_row_does_not_depend_on_the_order_or_the_sign_of_the_metrics(views, order):
    row = summed(views)
    np.testing.assert_allclose(summed(views[:, :, order]), row, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(summed(-views), row)


@FEW
@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(3), st.sampled_from([1, 2, 38])), elements=ZS))
def test_every_metric_count_gives_twelve_finite_numbers_within_the_limits(views):
    row = summed(views)
    assert row.shape == (len(views), 12)
    assert np.isfinite(row).all()
    parts = row.reshape(len(views), 3, 4)
    assert (parts >= 0).all()
    assert (parts <= np.array([10, 10, 30, 20]) + 1e-4).all()
    assert (parts[..., 0] >= parts[..., 1] - 1e-4).all(), "the largest is at least the mean of the top three"


def test_no_observation_gives_no_row():
    state = ready_state(2)
    none = extract(state, np.array([], np.intp), np.array([], np.int64), np.empty((0, 4)), step_s=STEP_S)
    assert none.rows.shape == (0, 12)


def test_what_is_normal_is_near_zero_and_what_stands_out_does():
    state = ready_state(1)
    calm = observe(state, [50.0] * 4, learn=False)
    assert calm.rows.max() == 0.0
    loud = observe(state, [50.0, 62.0, 50.0, 50.0], learn=False)
    assert feature(loud.rows[0], "value.max") == pytest.approx(6.0)
    assert feature(loud.rows[0], "difference.max") == pytest.approx(6.0 / 0.7, rel=1e-5)
    assert feature(loud.rows[0], "mean10.max") == pytest.approx(0.6 / 0.7, rel=1e-5)
    assert feature(loud.rows[0], "value.share_above_3") == pytest.approx(20 / 4)
    assert loud.magnitudes[0, position("day")].item() == pytest.approx(6.0 / 3)
    assert loud.expected.tolist() == [[50.0] * 4]
    assert loud.spread.tolist() == [[2.0] * 4]


@pytest.mark.parametrize(("changed", "share"), [(1, 0.2), (4, 0.8), (5, 1.0), (8, 1.0)])
def test_an_abrupt_change_is_the_mean_of_the_five_metrics_that_changed_most(changed, share):
    features = observe(ready_state(1, metrics=8), [52.0] * changed + [50.0] * (8 - changed), learn=False)
    assert features.magnitudes[0, position("difference")] == pytest.approx(share / 0.7)


def test_comparing_without_learning_leaves_the_state_bit_for_bit():
    state = ready_state(3)
    before = state.pack()
    observe(state, [1.0, math.nan, 99.0, 1e30], learn=False)
    assert state.pack() == before


def test_the_current_observation_is_compared_first_and_learned_afterwards():
    one, other = ready_state(1), ready_state(1)
    first = observe(one, [60.0] * 4)
    assert first.rows.tobytes() == observe(other, [60.0] * 4, learn=False).rows.tobytes()
    assert (one.day_mean[0] > 0).all()
    assert (other.day_mean[0] == 0).all()


@FEW
@given(st.floats(-1e3, 1e3), st.floats(0.5, 50.0), st.integers(0, 99))
def test_the_unit_of_a_metric_does_not_matter(shift, scale, seed):
    z = np.random.default_rng(seed).normal(size=(15, 4))
    plain, moved = ready_state(1, level=0.0, spread=1.0), ready_state(1, level=shift, spread=scale)
    for t in range(len(z)):
        at = START_MS + t * STEP_MS
        np.testing.assert_allclose(
            observe(plain, z[t], at=at).rows, observe(moved, shift + scale * z[t], at=at).rows, atol=5e-2
        )


def test_servers_side_by_side_get_the_rows_they_get_alone():
    rng = np.random.default_rng(4)
    values = rng.normal(50, 2, (20, 3, 4))
    together, alone = Run(ready_state(3)), Run(ready_state(3))
    for t in range(20):
        together.feed([0, 1, 2], [START_MS + t * STEP_MS] * 3, values[t])
        for row in (2, 0, 1):
            alone.feed([row], [START_MS + t * STEP_MS], values[t, row : row + 1])
    assert together.rows == alone.rows


def test_a_missing_metric_is_imputed_flagged_and_not_learned():
    state = ready_state(1)
    observe(state, [52.0] * 4)
    learned = [state.arrays()[name][0, 1] for name in ("day_mean", "day_var", "change_var")]
    features = observe(state, [50.0, math.nan, 50.0, 50.0], at=START_MS + STEP_MS)
    assert features.imputed.tolist() == [[False, True, False, False]]
    assert np.isfinite(features.rows).all()
    assert [state.arrays()[name][0, 1] for name in ("day_mean", "day_var", "change_var")] == learned
    assert state.recent[0, -1].tolist() == [0.0, 1.0, 0.0, 0.0], "the last value seen stands in"


def test_metrics_that_stopped_coming_are_improbable_no_longer():
    state = ready_state(1)
    observe(state, [90.0] * 4)
    gone = observe(state, [math.nan] * 4, at=START_MS + STEP_MS)
    assert gone.magnitudes[0, position("tail")] == 0.0


def test_a_quiet_day_is_measured_in_a_tenth_of_the_trainings_spread():
    """A metric that stood still for a day would otherwise be infinitely far from it by its first movement."""
    state = ready_state(1)
    state.day_var[:] = 0.0
    moved = observe(state, [51.0] * 4)
    assert moved.magnitudes[0, position("day")] == pytest.approx(0.5 / 0.1)
    assert moved.spread[0].tolist() == pytest.approx([0.2] * 4)


def test_three_quiet_days_are_measured_in_a_thousandth_of_the_trainings_spread_at_least():
    """Training's own floor is 0 for a metric that never moved in it."""
    state = ready_state(1)
    state.view_var[:], state.view_floor[:] = 0.0, 0.0
    moved = observe(state, [50.008] * 4)
    assert feature(moved.rows[0], "value.max") == pytest.approx(4.0, rel=5e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_counts_as_no_farther_out_than_ten_deviations(sign):
    """What one view would remember of it would drown what comes after it."""
    state = ready_state(1)
    features = observe(state, [50.0 + sign * 2.0 * 500.0] * 4)
    assert state.recent[0, -1].tolist() == [sign * 10.0] * 4
    assert feature(features.rows[0], "value.max") == 10.0
    assert feature(features.rows[0], "difference.max") == 10.0
    tail_of_ten = -math.log(1.0 - QUANTILE) + 10.0 - 2.0  # a tail that starts at 2, of mean excess 1
    assert features.magnitudes[0].tolist() == pytest.approx([10.0, tail_of_ten, 10.0 * 0.1 / 0.7, 10.0 / 0.7])


def test_after_a_gap_there_is_no_difference_to_the_value_before_it():
    state = ready_state(1)
    observe(state, [50.0] * 4)
    state.last_at[0] = START_MS
    far = observe(state, [60.0] * 4, at=START_MS + 4 * STEP_MS, learn=False)
    near = observe(state, [60.0] * 4, at=START_MS + 3 * STEP_MS, learn=False)
    assert feature(far.rows[0], "difference.max") == 0.0
    assert feature(near.rows[0], "difference.max") > 5.0


def test_a_long_gap_ages_the_averages_no_more_than_five_steps():
    long, five = ready_state(1), ready_state(1)
    observe(long, [60.0] * 4, at=START_MS + 5000 * STEP_MS)
    observe(five, [60.0] * 4, at=START_MS + 4 * STEP_MS)
    np.testing.assert_array_equal(long.day_mean, five.day_mean)
    np.testing.assert_array_equal(long.view_var, five.view_var)


def shapes(n=140):
    rng = np.random.default_rng(8)
    noise = rng.normal(50, 2, (n, 4))
    counter = np.cumsum(np.full((n, 4), 0.05), axis=0) + 45.0
    reset = counter.copy()
    reset[n // 2 :] -= reset[n // 2] - 1.0
    stepped = noise.copy()
    stepped[n // 2 :] += 30.0
    sparse = noise.copy()
    sparse[rng.random((n, 4)) < 0.9] = math.nan
    sparse[:, 0] = noise[:, 0]
    gone = noise.copy()
    gone[100:] = math.nan
    glitch = noise.copy()
    glitch[120] = 3e38
    glitch[121] = -3e38
    return {
        "noise": noise,
        "flat": np.full((n, 4), 50.0),
        "flat at 0": np.zeros((n, 4)),
        "counter reset": reset,
        "stepped": stepped,
        "sparse": sparse,
        "all metrics gone": gone,
        "float limit": glitch,
        "square wave": np.where(np.arange(n)[:, None] % 60 < 30, 40.0, 60.0) + np.zeros((n, 4)),
    }


@pytest.mark.parametrize("name", shapes())
def test_no_series_makes_a_severity_that_is_not_finite(name):
    """Every RuntimeWarning is an error in this suite."""
    run = Run(ready_state(1))
    severities = run.series(shapes()[name])
    assert len(severities) == 140
    assert np.isfinite(severities).all()
    assert all(np.isfinite(np.frombuffer(row, np.float32)).all() for row in run.rows.values())


@pytest.mark.parametrize("name", ["noise", "flat"])
def test_a_series_that_goes_on_as_it_was_is_not_severe(name):
    severities = Run(ready_state(1)).series(shapes()[name])
    assert severities[60:].max() < 1.5


def test_a_step_in_every_metric_is_severe_when_it_comes():
    severities = Run(ready_state(1)).series(shapes()["stepped"])
    assert severities[:70].max() < 1.5 < severities[70]
