"""What is declared of a metric decides which of its deviations open an incident."""

import math

import numpy as np
import pytest

from tests.unit.core.examples import position
from tests.unit.core.fleets import START_MS, STEP_S, Run, ready_state
from treeline.core.alert import AlertEvent, Priority
from treeline.core.channels.saturation import HOUR_MS, usual_hours
from treeline.core.detection.features import extract
from treeline.core.limits import MetricLimits
from treeline.core.profile import Direction, Metric

CPU = Metric(name="cpu", minimum=0.0, maximum=100.0, saturated_above=97.0)
PLAIN = (Metric(name="b"), Metric(name="c"), Metric(name="d"))
HOUR = START_MS // HOUR_MS % 24


def steady_state():
    """A server whose metrics are usually 50, with a standard deviation of 2 over the last day."""
    state = ready_state(1)
    state.trailing_var[:] = 1.0
    return state


def outside(first: Metric, value: float, state=None) -> bool:
    """Whether the first of four metrics, usually 50 with a band of 44 to 56, is evidence."""
    limits = MetricLimits.of([first, *PLAIN])
    row = np.array([[value, 50.0, 50.0, 50.0]], dtype=np.float32)
    state = steady_state() if state is None else state
    found = extract(state, np.array([0]), np.array([START_MS]), row, step_s=STEP_S, bucket=0, limits=limits)
    assert not found.outside[0, 1:].any()
    return bool(found.outside[0, 0])


def saturated(run: Run, *cpu: float) -> list:
    """What came of these values of the first metric, the others being as usual."""
    run.series([[value, 50.0, 50.0, 50.0] for value in cpu])
    return run.changes


def run_of(first: Metric, state) -> Run:
    # The levels of the other channels are out of reach: what opens, the saturation opens.
    state.channel_var[:, : position("saturation")] = 1e12
    return Run(state, limits=MetricLimits.of([first, *PLAIN]))


@pytest.mark.parametrize(
    ("metric", "above", "below"),
    [
        (Metric(name="a"), True, True),
        (Metric(name="a", direction=Direction.UP), True, False),
        (Metric(name="a", direction=Direction.DOWN), False, True),
        (Metric(name="a", minimum_deviation=7.0), False, False),
        (Metric(name="a", minimum_deviation=6.5), True, True),
        (Metric(name="a", minimum_relative_deviation=0.2), False, False),
        (Metric(name="a", minimum=42.9, minimum_deviation=20.0), False, True),
    ],
    ids=["nothing", "up", "down", "too small", "enough", "too small a share", "nothing left"],
)
def test_a_deviation_is_evidence_only_where_it_matters(metric, above, below):
    assert (outside(metric, 56.6), outside(metric, 43.2)) == (above, below)
    assert not outside(metric, 55.0), "within its band"
    assert not outside(metric, math.nan)


def test_what_the_others_imply_is_held_to_the_same_deviation():
    """The value is within its band in time, and six away from what the second metric implies."""
    state = steady_state()
    state.relation[0] = np.eye(4)
    state.relation[0, 0, 1], state.relation_var[:], state.relation_floor[:] = 1.0, 0.25, 0.1
    assert outside(Metric(name="a", minimum_deviation=5.0), 55.9, state)
    assert not outside(Metric(name="a", minimum_deviation=7.0), 55.9, state)


def test_a_resource_that_is_used_up_opens_a_p2():
    changes = saturated(run_of(CPU, steady_state()), 97.0, 100.0)
    assert [(change.event, change.priority) for change in changes] == [(AlertEvent.OPENED, Priority.P2)]


def test_what_is_used_up_is_evidence_however_near_the_usual_it_is():
    """From 94 to 98 is less than the ten that matter otherwise."""
    state = steady_state()
    state.base_mean[:, 0], state.base_spread[:, 0] = 94.0, 1.0
    assert outside(Metric(name="a", minimum_deviation=10.0, saturated_above=97.0), 98.0, state)
    assert not outside(Metric(name="a", minimum_deviation=10.0), 98.0, state)


@pytest.mark.parametrize("cpu", [(96.9, 96.9), (98.0, 50.0, 50.0), (50.0, 50.0)], ids=["below", "once", "usual"])
def test_what_is_not_used_up_or_once_only_opens_nothing(cpu):
    assert saturated(run_of(CPU, steady_state()), *cpu) == []


def test_where_nothing_is_declared_nothing_is_used_up():
    assert saturated(run_of(Metric(name="cpu"), steady_state()), 100.0, 100.0) == []
    run = run_of(CPU, steady_state())
    run.limits = None
    assert saturated(run, 100.0, 100.0) == []


def test_a_server_that_always_runs_at_its_limit_does_not_page():
    state = steady_state()
    state.base_mean[:, 0] = 98.0
    assert saturated(run_of(CPU, state), 98.0, 99.5, 100.0, 97.0) == []


@pytest.mark.parametrize(("hours_later", "opens"), [(0, False), (1, True)])
def test_a_server_that_was_at_its_limit_at_this_hour_in_training_does_not_page(hours_later, opens):
    state = steady_state()
    state.saturated_hours[:, 0] = 1 << (HOUR + hours_later) % 24
    assert bool(saturated(run_of(CPU, state), 100.0, 100.0)) is opens


def test_the_hour_is_the_servers_own():
    state = steady_state()
    state.saturated_hours[:, 0], state.utc_offset_s[:] = 1 << (HOUR + 5) % 24, 5 * 3600
    assert saturated(run_of(CPU, state), 100.0, 100.0) == []


def test_an_hour_is_usual_that_was_so_on_two_days_and_so_are_those_beside_it():
    days = [0, 24, 48]
    hours = np.array([day + hour for day in days for hour in range(24)])
    was = np.zeros((len(hours), 3), dtype=bool)
    was[[23, 47], 0] = True
    was[[5, 30, 55], 1] = True  # another hour each day
    bits = usual_hours(hours * HOUR_MS, was)
    assert bits.tolist() == [1 << 22 | 1 << 23 | 1 << 0, 0, 0]
    again = usual_hours(np.repeat(hours[:24], 2) * HOUR_MS + [0, 1] * 24, np.ones((48, 1), dtype=bool))
    assert again.tolist() == [0], "twice on one day may be one incident"
