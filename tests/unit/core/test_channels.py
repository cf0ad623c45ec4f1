"""The channels beside the forest: what each measures, and what none of them may do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW, position
from tests.unit.core.fleets import START_MS, STEP_MS, Run, ready_state
from treeline.core.channels import measure, registry
from treeline.core.channels.tail import CAP, improbability

ONE = np.array([0])
COUNT = len(registry.CHANNELS)


def measured(state, magnitudes, *, at=START_MS, learn=True):
    at, magnitudes = np.array([at]), np.array([magnitudes], np.float32)
    found = measure.measure(state, ONE, at, magnitudes)
    if learn:
        measure.learn(state, ONE, at, magnitudes, found, np.array([60.0]))
    return found.counted[0]


def test_improbability_by_hand():
    """At the 98 % quantile p is 1 in 50; each mean excess further makes it e times rarer."""
    got = improbability(np.array([0.0, 1.0, 2.0, 3.0, 5.0]), np.float32(2.0), np.float32(1.0))
    assert got == pytest.approx([0.0, np.log(50) / 2, np.log(50), np.log(50) + 1, np.log(50) + 3])


@FEW
@given(st.floats(0, 10), st.floats(0, 10), st.floats(0.5, 10), st.floats(0.25, 5))
def test_what_is_farther_out_is_never_more_probable(near, beyond, start, scale):
    got = improbability(np.array([near, near + beyond]), np.float32(start), np.float32(scale))
    assert 0.0 <= got[0] <= got[1] + 1e-6
    assert got[1] <= CAP


def test_no_value_is_more_improbable_than_e_to_the_minus_40():
    """One metric alone, far beyond a short tail, must not outweigh what all the others say."""
    assert improbability(np.array([9.4, 9.6, 1e6]), np.float32(0.5), np.float32(0.25)).tolist() == [
        pytest.approx(np.log(50) + 35.6),
        40.0,
        40.0,
    ]


def test_the_exponential_tail_is_the_data_s_own_where_the_data_are_exponential():
    rng = np.random.default_rng(5)
    train, later = rng.exponential(2.0, 100_000), rng.exponential(2.0, 100_000)
    start = np.quantile(train, 0.98)
    scale = (train[train > start] - start).mean()
    assert (improbability(later, start, scale) > np.log(1000)).mean() == pytest.approx(1e-3, rel=0.4)


def test_a_measure_is_how_far_a_magnitude_is_from_the_server_s_own_usual():
    state = ready_state(1)
    usual = np.arange(1.0, 1.0 + COUNT)
    state.channel_mean[0], state.channel_var[0] = usual, usual**2
    assert measured(state, 3.0 * usual, learn=False).tolist() == pytest.approx([2.0] * COUNT)


def test_trailing_channels_learn_and_static_ones_do_not():
    state = ready_state(1)
    before = state.channel_mean[0].copy()
    for t in range(600):
        measured(state, [3.0] * COUNT, at=START_MS + t * STEP_MS)
    moved = state.channel_mean[0] - before
    assert {channel.name for channel, way in zip(registry.CHANNELS, moved, strict=True) if way > 0.3} == {"day", "tail"}
    assert (moved[[position("mean10"), position("difference"), position("relation")]] == 0.0).all()


def test_an_outage_does_not_teach_a_channel_that_outages_are_normal():
    state = ready_state(1)
    measured(state, [1e3] * COUNT)
    assert state.channel_mean[0].max() < 1.3


def test_measuring_without_learning_leaves_the_state_bit_for_bit():
    state = ready_state(1)
    before = state.pack()
    measured(state, [9.0] * COUNT, learn=False)
    assert state.pack() == before


@FEW
@given(st.lists(st.floats(0, 40, width=32), min_size=1, max_size=30), st.integers(1, 50))
def test_no_magnitudes_make_a_measure_that_is_not_finite(magnitudes, minutes):
    state = ready_state(1)
    state.channel_floor[:], state.channel_var[:] = 0.1, 0.0
    for t, value in enumerate(magnitudes):
        assert np.isfinite(measured(state, [value] * COUNT, at=START_MS + t * minutes * STEP_MS)).all()
    assert np.isfinite(state.habit).all()


def test_a_jump_of_the_metrics_shows_in_the_channel_of_differences():
    run = Run(ready_state(1))
    values = np.random.default_rng(3).normal(50, 2, (120, 4))
    values[100:] += 40.0
    severities = run.series(values)
    assert severities[:100].max() < 1.5 < severities[100]
