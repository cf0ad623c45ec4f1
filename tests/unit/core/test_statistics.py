"""Standardization and running statistics: by hand, by property, at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.core.examples import FEW
from treeline.core.statistics import (
    bounded_step,
    ew_alpha,
    ew_update,
    half_life_alpha,
    rolling_zscore,
    row_sums,
    standardize,
    within_reach,
)

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


def columns(elements=None):
    """Arrays of up to 40 rows and 3 columns, some values missing."""
    elements = VALUES | st.just(math.nan) if elements is None else elements
    return st.integers(0, 40).flatmap(lambda n: hnp.arrays(np.float64, (n, 3), elements=elements))


@pytest.mark.parametrize(
    ("value", "expected"), [(10.0, 0.0), (14.0, 2.0), (6.0, -2.0), (1e9, 10.0), (-1e9, -10.0), (math.inf, 10.0)]
)
def test_a_standardized_value_by_hand(value, expected):
    assert standardize(np.array([[value]]), np.array([[10.0]]), np.array([[2.0]])).item() == expected


def test_a_missing_value_stays_missing_and_no_servers_give_nothing():
    assert math.isnan(standardize(np.array([math.nan]), np.array([10.0]), np.array([2.0])).item())
    assert standardize(np.empty((0, 3)), np.zeros(3), np.ones(3)).shape == (0, 3)


@FEW
@given(st.floats(-1e3, 1e3), st.floats(0.5, 100.0), st.floats(-1e3, 1e3), st.floats(0.1, 10.0))
def test_a_standardized_value_does_not_depend_on_the_unit(value, sd, shift, scale):
    one = standardize(np.array([value]), np.array([0.0]), np.array([sd]))
    other = standardize(np.array([value * scale + shift]), np.array([shift]), np.array([sd * scale]))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_rolling_zscore_excludes_the_current_row():
    z = rolling_zscore(np.array([[1.0], [3.0], [6.0], [6.0]]), window=2, floor=np.array([0.1]))
    assert np.isnan(z[:2]).all(), "fewer than two values before"
    assert z[2].item() == pytest.approx((6 - 2) / 1)
    assert z[3].item() == pytest.approx((6 - 4.5) / 1.5)


def naive_rolling(values, window, floor):
    out = np.full(values.shape, np.nan)
    for t in range(len(values)):
        for m in range(values.shape[1]):
            past = values[max(0, t - window) : t, m]
            past = past[~np.isnan(past)]
            if len(past) >= 2 and not np.isnan(values[t, m]):
                out[t, m] = np.clip((values[t, m] - past.mean()) / max(past.std(), floor[m]), -10, 10)
    return out


@FEW
@given(columns(elements=st.floats(-100, 100, allow_subnormal=False) | st.just(math.nan)), st.integers(2, 8))
def test_rolling_zscore_agrees_with_the_plain_definition(values, window):
    floor = np.full(3, 0.5)
    np.testing.assert_allclose(rolling_zscore(values, window, floor), naive_rolling(values, window, floor), atol=1e-6)


def test_rolling_zscore_keeps_its_precision_far_from_zero():
    values = 1e9 + np.array([[0.0], [2.0], [0.0], [2.0], [4.0]])
    assert rolling_zscore(values, 4, np.array([0.1]))[-1].item() == pytest.approx(3.0, abs=1e-4)


def test_rolling_zscore_of_nothing_of_constants_and_of_gaps():
    floor = np.array([0.5])
    assert rolling_zscore(np.empty((0, 1)), 3, floor).shape == (0, 1)
    assert rolling_zscore(np.full((6, 1), 7.0), 3, floor)[2:].tolist() == [[0.0]] * 4
    assert np.isnan(rolling_zscore(np.full((6, 1), math.nan), 3, floor)).all()


def test_a_window_of_one_is_refused():
    with pytest.raises(ValueError, match="window must be >= 2"):
        rolling_zscore(np.zeros((3, 1)), 1, np.array([1.0]))


@FEW
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
def test_weights_of_one_over_n_make_the_plain_mean_and_variance(values):
    mean, variance = np.zeros(1), np.zeros(1)
    for n, value in enumerate(values, start=1):
        ew_update(mean, variance, np.array([value]), np.array([1.0 / n]))
    assert mean.item() == pytest.approx(values.mean(), abs=1e-8)
    assert variance.item() == pytest.approx(values.var(), abs=1e-6)


@FEW
@given(hnp.arrays(np.float64, (20, 2), elements=st.floats(-1e3, 1e3)), st.floats(0, 1))
def test_an_exponential_variance_is_never_negative_and_its_mean_stays_within_the_values(values, alpha):
    mean, variance = values[0].copy(), np.zeros(2)
    for row in values[1:]:
        ew_update(mean, variance, row, np.array(alpha))
    assert (variance >= 0).all()
    assert (mean >= values.min(axis=0) - 1e-6).all()
    assert (mean <= values.max(axis=0) + 1e-6).all()


def test_a_missing_value_leaves_an_exponential_average_bit_for_bit():
    mean, variance = np.array([1.1, 2.2], np.float32), np.array([0.3, 0.4], np.float32)
    ew_update(mean, variance, np.array([math.nan, 5.0], np.float32), np.float32(0.25))
    assert mean.dtype == variance.dtype == np.float32
    assert (mean[0], variance[0]) == (np.float32(1.1), np.float32(0.3))
    assert mean[1] == pytest.approx(2.2 + 0.25 * 2.8)
    assert variance[1] == pytest.approx(0.75 * (0.4 + 0.25 * 2.8**2))


def test_shifting_and_scaling_the_values_shifts_and_scales_the_average():
    rng = np.random.default_rng(3)
    values = rng.normal(size=50)
    plain, moved = (np.zeros(1), np.ones(1)), (np.array([7.0]), np.array([9.0]))
    for value in values:
        ew_update(*plain, np.array([value]), np.array(0.1))
        ew_update(*moved, np.array([7.0 + 3.0 * value]), np.array(0.1))
    assert moved[0] == pytest.approx(7.0 + 3.0 * plain[0])
    assert moved[1] == pytest.approx(9.0 * plain[1])


@FEW
@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(60, 1e6))
def test_two_steps_age_an_average_as_one_of_their_length(first, second, window):
    """Otherwise a change of the sampling step would change what a trailing window means."""
    kept = (1 - ew_alpha(np.array(first), window)) * (1 - ew_alpha(np.array(second), window))
    assert kept == pytest.approx(1 - ew_alpha(np.array(first + second), window), abs=1e-12)


def test_alphas_by_hand():
    assert ew_alpha(np.array([0.0, 100.0]), 100.0).tolist() == pytest.approx([0.0, 1 - math.exp(-1)])
    assert half_life_alpha(np.array([0.0, 60.0, 120.0]), 60.0).tolist() == pytest.approx([0.0, 0.5, 0.75])


def _learn(values: list[float], *, limit: bool) -> float:
    """The standard deviation a day's average has learned, a value a minute."""
    mean, variance = np.zeros(1, dtype=np.float32), np.ones(1, dtype=np.float32)
    alpha = ew_alpha(np.full(1, 60.0), 86_400.0)
    for value in values:
        x = np.array([value])
        ew_update(mean, variance, bounded_step(x, mean, variance, 0.1, alpha) if limit else x, alpha)
    return float(np.sqrt(variance[0]))


def test_one_absurd_value_hardly_widens_an_average_and_would_have_for_weeks():
    noise = np.random.default_rng(1).normal(0, 1, 1440).tolist()
    assert _learn([*noise, 1e6, *noise], limit=False) > 1000
    assert _learn([*noise, np.inf, *noise], limit=True) < 1.6
    assert _learn([*noise, *noise], limit=True) == pytest.approx(_learn([*noise, *noise], limit=False))


def test_a_level_that_moved_for_good_is_learned():
    noise = np.random.default_rng(1).normal(0, 1, 1440)
    moved = _learn([*noise, *(noise + 1e5)], limit=True)
    assert moved > 1e4, "the limit widened until the new level was within reach"


def test_no_value_adds_more_than_its_share_to_the_variance():
    alpha = np.full(1, 0.01)
    for growth in (1.0, 9.0):
        mean, variance = np.zeros(1), np.full(1, 4.0)
        ew_update(mean, variance, bounded_step(np.array([1e300]), mean, variance, 0.1, alpha, growth=growth), alpha)
        assert variance[0] == pytest.approx(4.0 * (1 + growth) * 0.99)


@FEW
@given(
    st.integers(1, 40).flatmap(lambda width: hnp.arrays(np.float32, (5, 3, width), elements=st.floats(0, 9, width=32)))
)
def test_row_sums_are_numpys_bit_for_bit_at_every_width(values):
    np.testing.assert_array_equal(row_sums(values), values.sum(axis=-1), strict=True)


def test_one_absurd_value_is_bounded_by_the_range_of_the_others_by_hand():
    """From the second smallest to the second largest, 2 to 5, and that width once more to both sides."""
    column = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [1e12]])
    assert within_reach(column)[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 8.0]
    assert within_reach(-column)[:, 0].tolist() == [-1.0, -2.0, -3.0, -4.0, -5.0, -8.0]


@FEW
@given(hnp.arrays(np.float64, (40, 2), elements=st.floats(-1e3, 1e3)), st.floats(-1e3, 1e3), st.floats(0.5, 50))
def test_a_reach_moves_with_the_unit_and_leaves_what_lies_within_it(values, shift, scale):
    moved = within_reach(shift + scale * values)
    np.testing.assert_allclose(moved, shift + scale * within_reach(values), rtol=1e-9, atol=1e-6)
    ordered = np.sort(values, axis=0)
    inside = (values >= ordered[1]) & (values <= ordered[-2])
    np.testing.assert_array_equal(within_reach(values)[inside], values[inside])


@pytest.mark.parametrize("few", [0, 1, 4])
def test_of_few_values_none_is_absurd(few):
    values = np.array([[1.0], [1.0], [1.0], [1e9]])[:few]
    np.testing.assert_array_equal(within_reach(values), values)
    among_missing = np.concatenate([values, np.full((9, 1), np.nan)])
    np.testing.assert_array_equal(within_reach(among_missing), among_missing)


def test_a_missing_value_stays_missing_and_a_metric_that_left_its_value_twice_keeps_what_it_did():
    values = np.zeros((50, 2))
    values[7], values[[3, 30], 1] = np.nan, [4.0, 6.0]
    bounded = within_reach(values)
    assert np.isnan(bounded[7]).all()
    assert bounded[[3, 30], 1].tolist() == [4.0, 6.0]
