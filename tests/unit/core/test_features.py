"""The feature row: by hand, its invariances, and input that is not as it should be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW, position
from tests.unit.core.fleets import START_MS, STEP_MS, STEP_S, Run, ready_state
from treeline.core.channels import registry
from treeline.core.channels.tail import QUANTILE
from treeline.core.detection.features import LARGEST_FEATURE, extract, feature_names, learn_round, window_mean
from treeline.core.expectation import expectation
from treeline.core.state.layout import RECENT
from treeline.core.statistics import top_mean

NOBODY = np.array([False])
NAMES = feature_names(("a", "b", "c", "d"))


def feature(row, name):
    return float(row[NAMES.index(name)])


def observe(state, values, *, at=START_MS, learn=True, row=0):
    values, rows, times = np.asarray(values, dtype=np.float32)[None], np.array([row]), np.array([at])
    features = extract(state, rows, times, values, step_s=STEP_S, bucket=at // STEP_MS, learn=learn)
    if learn:
        learn_round(state, rows, times, features, bucket=at // STEP_MS, step_s=STEP_S, frozen=NOBODY)
    return features


def test_the_names_are_the_relation_of_every_metric_and_then_the_level_of_every_metric():
    assert feature_names(("cpu", "memory")) == ("cpu.relation", "memory.relation", "cpu.level", "memory.level")


def test_one_metric_is_its_own_top_three():
    assert top_mean(np.array([[2.0]])).tolist() == [2.0]
    assert top_mean(np.array([[1.0, 3.0]])).tolist() == [2.0]


@pytest.mark.parametrize("metrics", [1, 2, 4, 38])
def test_the_mean_of_the_last_ten_is_numpys_bit_for_bit(metrics):
    window = np.random.default_rng(metrics).normal(size=(30, RECENT, metrics)).astype(np.float32)
    np.testing.assert_array_equal(window_mean(window), window.mean(axis=1), strict=True)


@pytest.mark.parametrize("metrics", [1, 2, 38])
def test_a_row_has_two_numbers_a_metric_whatever_came(metrics):
    state = ready_state(1, metrics)
    for value in (50.0, 1e30, math.nan, -1e30):
        row = observe(state, [value] * metrics, learn=False).rows
        assert row.shape == (1, 2 * metrics)
        assert row.dtype == np.float32
        assert (np.abs(row) <= LARGEST_FEATURE).all()


def test_no_observation_gives_no_row():
    state = ready_state(2)
    none = extract(state, np.array([], np.intp), np.array([], np.int64), np.empty((0, 4)), step_s=STEP_S, bucket=0)
    assert none.rows.shape == (0, 8)


def test_what_is_normal_is_zero_and_what_stands_out_does_with_its_sign():
    state = ready_state(1)
    calm = observe(state, [50.0] * 4, learn=False)
    assert calm.rows.tolist() == [[0.0] * 8]
    loud = observe(state, [50.0, 62.0, 50.0, 44.0], learn=False)
    assert loud.rows.tolist() == [[0.0] * 4 + [0.0, 6.0, 0.0, -3.0]]
    assert loud.magnitudes[0, position("day")].item() == pytest.approx((6.0 + 3.0) / 3)
    assert loud.expected.tolist() == [[50.0] * 4]
    assert loud.spread.tolist() == [[2.0] * 4]


def test_the_row_tells_a_metric_that_does_not_fit_the_others_by_hand():
    """The first two of four imply each other; the violation is a tenth of the last ten, in what is usual for that."""
    state = ready_state(1)
    state.relation[0] = np.eye(4)
    state.relation[0, :2, :2] = [[1.0, -0.5], [-0.5, 1.0]]
    state.relation_sd[:] = 0.2
    found = observe(state, [54.0, 50.0, 50.0, 50.0], learn=False)
    assert found.rows[0, :4].tolist() == pytest.approx([2.0 / 10 / 0.2, -1.0 / 10 / 0.2, 0.0, 0.0], rel=1e-3)
    assert found.rows[0, 4:].tolist() == pytest.approx([2.0, 0.0, 0.0, 0.0])
    assert found.implied[0].tolist() == pytest.approx([50.0, 52.0, 50.0, 50.0]), "in the metric's unit"
    assert found.implied_spread[0].tolist() == pytest.approx([5.0 * 2.0 / 3.0] * 4), "five standard deviations of 2"


@pytest.mark.parametrize(
    ("value", "outside"), [(55.9, False), (56.1, True), (43.9, True), (44.1, False), (math.nan, False)]
)
def test_a_metric_is_evidence_where_it_lies_outside_the_band_that_is_shown(value, outside):
    """Three standard deviations of 2 around 50; a missing one is no evidence."""
    found = observe(ready_state(1), [50.0, value, 50.0, 50.0], learn=False)
    low, high = found.expected - 3 * found.spread, found.expected + 3 * found.spread
    assert (low[0, 1], high[0, 1]) == pytest.approx((44.0, 56.0))
    assert found.outside.tolist() == [[False, outside, False, False]]


def test_a_narrower_band_is_shown_as_narrow_as_it_is_held_to():
    state = ready_state(1)
    state.band_sd[:] = 1.5
    found = observe(state, [53.1, 52.9, 50.0, 50.0], learn=False)
    assert found.outside.tolist() == [[True, False, False, False]]
    assert (found.expected + 3 * found.spread).tolist() == [[53.0] * 4]


def test_a_metric_is_evidence_too_where_the_others_imply_something_else():
    state = ready_state(1)
    state.relation[0] = np.eye(4)
    state.relation[0, 0, 1], state.relation_var[:], state.relation_floor[:] = -1.0, 0.25, 0.1
    close = observe(state, [50.0, 54.8, 50.0, 50.0], learn=False)
    assert close.outside.tolist() == [[False, False, False, False]], "4.8 standard deviations of what is implied"
    found = observe(state, [50.0, 56.2, 50.0, 50.0], learn=False)
    assert found.outside.tolist() == [[True, True, False, False]]
    assert abs(found.implied[0, 0] - 50.0) > 3 * found.implied_spread[0, 0] > 0.0
    missing = observe(state, [math.nan, 56.2, 50.0, 50.0], learn=False)
    assert missing.outside.tolist() == [[False, True, False, False]], "nobody can be shown a value that did not come"


@pytest.mark.parametrize(
    ("values", "agreeing"),
    [
        ([62.1, 37.9, 62.1, 50.0], True),
        ([62.1, 37.9, 61.9, 50.0], False),
        ([90.0, 90.0, 50.0, 50.0], False),
        ([62.1, 62.1, math.nan, 50.0], False),
    ],
)
def test_three_metrics_agree_where_each_is_at_twice_the_distance_of_its_band(values, agreeing):
    """Bands of 6 to either side of 50; two metrics are too few, however far they are."""
    assert observe(ready_state(1), values, learn=False).agreeing.tolist() == [agreeing]


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


def test_of_a_frozen_server_no_expectation_moves_while_its_channels_go_on():
    """What is expected stays as it was when the incident opened; what is usual for a channel is learned."""
    state = ready_state(2)
    rows, times, values = np.arange(2), np.full(2, START_MS), np.full((2, 4), 90.0, np.float32)
    features = extract(state, rows, times, values, step_s=STEP_S, bucket=START_MS // STEP_MS)
    before = state.copy()
    frozen = np.array([True, False])
    learn_round(state, rows, times, features, bucket=START_MS // STEP_MS, step_s=STEP_S, frozen=frozen)
    moved, moved_otherwise = (
        {n for n, array in state.arrays().items() if array[row].tobytes() != before.arrays()[n][row].tobytes()}
        for row in (0, 1)
    )
    of_expectation = {spec.name for spec in expectation.ARRAYS}
    assert {"trailing_mean", "trend_mean", "season_offset", "slot_count"} <= moved_otherwise & of_expectation
    assert moved == moved_otherwise - of_expectation
    assert {"recent", "day_mean", "change_var", "mean10_mean", "channel_mean", "shared"} <= moved


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
    state.day_var[:] = state.trailing_var[:] = 0.0
    moved = observe(state, [51.0] * 4)
    assert moved.magnitudes[0, position("day")] == pytest.approx(0.5 / 0.1)
    assert moved.spread[0].tolist() == pytest.approx([0.2] * 4)


def test_three_quiet_days_are_measured_in_a_thousandth_of_the_trainings_spread_at_least():
    """Training's own floor is 0 for a metric that never moved in it."""
    state = ready_state(1)
    state.mean10_var[:], state.mean10_floor[:] = 0.0, 0.0
    moved = observe(state, [50.08] * 4)
    assert moved.magnitudes[0, position("mean10")] == pytest.approx(4.0, rel=5e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_counts_as_no_farther_out_than_ten_deviations(sign):
    """What one view would remember of it would drown what comes after it; the row alone has room for fifteen."""
    state = ready_state(1)
    features = observe(state, [50.0 + sign * 2.0 * 500.0] * 4)
    assert state.recent[0, -1].tolist() == [sign * 10.0] * 4
    assert feature(features.rows[0], "a.level") == sign * 15.0
    tail_of_ten = -math.log(1.0 - QUANTILE) + 10.0 - 2.0  # a tail that starts at 2, of mean excess 1
    by_hand = {"day": 10.0, "tail": tail_of_ten, "mean10": 10.0 * 0.1, "difference": 10.0 / 0.7}
    assert features.magnitudes[0].tolist() == pytest.approx([by_hand.get(c.name, 0.0) for c in registry.CHANNELS])


def test_after_a_gap_there_is_no_difference_to_the_value_before_it():
    state = ready_state(1)
    observe(state, [50.0] * 4)
    state.last_at[0] = START_MS
    far = observe(state, [60.0] * 4, at=START_MS + 4 * STEP_MS, learn=False)
    near = observe(state, [60.0] * 4, at=START_MS + 3 * STEP_MS, learn=False)
    assert far.magnitudes[0, position("difference")] == 0.0
    assert near.magnitudes[0, position("difference")] > 5.0


def test_a_long_gap_ages_the_averages_no_more_than_five_steps():
    long, five = ready_state(1), ready_state(1)
    observe(long, [60.0] * 4, at=START_MS + 5000 * STEP_MS)
    observe(five, [60.0] * 4, at=START_MS + 4 * STEP_MS)
    for name in ("day_mean", "season_square", "mean10_var", "season_offset"):
        np.testing.assert_array_equal(getattr(long, name), getattr(five, name), err_msg=name)


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
