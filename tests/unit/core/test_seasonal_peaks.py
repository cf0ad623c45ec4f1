"""What comes at the same time every day is a seasonal peak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.core.channels import seasonal_peaks
from treeline.core.channels.seasonal_peaks import FADE, SLOT_MS
from treeline.core.state.fleet import FleetState

DAY_MS = 86_400_000
MIDNIGHT = 1_700_006_400_000 // DAY_MS * DAY_MS


def live(days, peaks, *, step_ms=300_000, servers=1):
    """A state that has seen `days`; `peaks` maps a time of day (ms) to the measure, or to a function of the day."""
    state = FleetState(1, servers=[f"s{i}" for i in range(servers)])
    rows = np.arange(servers)
    for t in range(MIDNIGHT, MIDNIGHT + days * DAY_MS, step_ms):
        value = peaks.get((t - MIDNIGHT) % DAY_MS, 0.5)
        seasonal_peaks.remember(state, rows, np.full(servers, t), np.full(servers, value, np.float32))
    return state


def usual(state, time_of_day, day):
    return seasonal_peaks.allowed(state, np.array([0]), np.array([MIDNIGHT + day * DAY_MS + time_of_day])).item()


HOUR = 3_600_000


def test_a_daily_job_is_expected_the_next_day_at_its_time_and_a_quarter_around():
    state = live(2, {2 * HOUR: 9.0})
    assert usual(state, 2 * HOUR, 2) == pytest.approx(9.0, rel=1e-2)
    assert usual(state, 2 * HOUR + SLOT_MS, 2) == usual(state, 2 * HOUR - SLOT_MS, 2) == pytest.approx(9.0, rel=1e-2)
    assert usual(state, 2 * HOUR + 2 * SLOT_MS, 2) == 0.0


def test_the_first_time_nothing_is_expected_and_an_incident_does_not_excuse_itself():
    state = live(1, {})
    rows, at = np.array([0]), MIDNIGHT + DAY_MS
    for minute in range(0, 90, 5):
        now = np.array([at + minute * 60_000])
        assert seasonal_peaks.allowed(state, rows, now).item() == 0.0
        seasonal_peaks.remember(state, rows, now, np.array([12.0], np.float32))


def test_a_peak_that_ends_fades():
    state = live(1, {2 * HOUR: 9.0})
    rows = np.array([0])
    for day in range(1, 30):
        for t in range(0, DAY_MS, SLOT_MS):
            seasonal_peaks.remember(state, rows, np.array([MIDNIGHT + day * DAY_MS + t]), np.array([0.5], np.float32))
        if day == 3:
            assert usual(state, 2 * HOUR, 4) == pytest.approx(9.0 * FADE**3, rel=1e-2)
    assert usual(state, 2 * HOUR, 30) == 0.0


def test_a_peak_enters_the_table_two_hours_later_however_far_another_server_of_the_call_moves():
    state, both, at = FleetState(1, servers=["a", "b"]), np.array([0, 1]), MIDNIGHT + 2 * HOUR
    calm = np.array([0.5, 0.5], np.float32)
    seasonal_peaks.remember(state, both, np.array([at, at]), np.array([9.0, 9.0], np.float32))
    seasonal_peaks.remember(state, np.array([0]), np.array([at + 6 * SLOT_MS]), calm[:1])
    seasonal_peaks.remember(state, both, np.array([at + 7 * SLOT_MS] * 2), calm)  # one quarter hour for a, seven for b
    assert usual(state, 2 * HOUR, 1) == 0.0
    seasonal_peaks.remember(state, both, np.array([at + 8 * SLOT_MS] * 2), calm)
    assert usual(state, 2 * HOUR, 1) == 9.0


@pytest.mark.parametrize(("peak", "expected"), [(2.9, 0.0), (3.0, 3.0), (999.0, 999.0), (1e6, 1000.0)])
def test_a_peak_is_at_least_three_deviations_and_counts_as_a_thousand_at_most(peak, expected):
    """What is smaller forbids nothing; what is larger than the table's float16 holds would become infinite."""
    assert usual(live(2, {2 * HOUR: peak}), 2 * HOUR, 2) == pytest.approx(expected, rel=1e-3)


def test_after_a_gap_of_days_the_table_is_what_it_was():
    state = live(2, {2 * HOUR: 9.0})
    seasonal_peaks.remember(state, np.array([0]), np.array([MIDNIGHT + 6 * DAY_MS]), np.array([0.1], np.float32))
    assert usual(state, 2 * HOUR, 6) == pytest.approx(9.0, rel=1e-2)


@FEW
@given(st.lists(st.tuples(st.integers(1, 400), st.floats(-50, 5000, width=32)), min_size=1, max_size=60))
def test_servers_side_by_side_have_the_peaks_they_have_alone(observations):
    together, alone = FleetState(1, servers=["a", "b"]), FleetState(1, servers=["a", "b"])
    at = np.array([MIDNIGHT, MIDNIGHT + 7 * HOUR])
    for minutes, value in observations:
        at = at + minutes * 60_000
        values = np.array([value, -value], np.float32)
        seasonal_peaks.remember(together, np.array([0, 1]), at, values)
        for row in (1, 0):
            seasonal_peaks.remember(alone, np.array([row]), at[[row]], values[[row]])
    assert together.pack() == alone.pack()
    assert np.isfinite(together.habit).all()
    assert (together.habit >= 0).all()
