"""What a server has reached before opens nothing again: how the peak comes to be, and how it fades."""

import numpy as np
import pytest

from tests.unit.core.fleets import START_MS, ready_state
from treeline.core.channels import novelty, registry
from treeline.core.detection.calibration import Calibration, calibrate
from treeline.core.severity import Thresholds

HOUR_MS = 3_600_000
CHANNELS = 1 + len(registry.CHANNELS)
DECADE = np.full(CHANNELS, 2.4, dtype=np.float32)  # of every channel's measure: .1 of it an hour fades


def reach(state, hour, *measures, row=0):
    """Measures of the score's channel, minutes apart, in an hour."""
    for minute, measure in enumerate(measures):
        at = np.array([START_MS - START_MS % HOUR_MS + hour * HOUR_MS + minute * 60_000])
        novelty.turn(state, np.array([row]), at, DECADE)
        novelty.remember(state, np.array([row]), at, np.full((1, CHANNELS), measure, dtype=np.float32))


def peak(state, row=0):
    return state.peak[row, 0].item()


def test_an_hours_highest_enters_the_peak_when_the_hour_after_it_is_over():
    state = ready_state(1)
    reach(state, 0, 3.0, 7.0, 5.0)
    assert peak(state) == novelty.LEAST
    reach(state, 1, 0.0)
    assert peak(state) == novelty.LEAST
    reach(state, 2, 0.0)
    assert peak(state) == 7.0


def test_a_peak_fades_by_a_decade_a_day_and_a_higher_hour_replaces_it():
    state = ready_state(1)
    reach(state, 0, 7.0)
    for hour in range(1, 27):
        reach(state, hour, 0.0)
    assert peak(state) == pytest.approx(7.0 - 2.4, rel=1e-5), "24 hours after it entered"
    reach(state, 27, 6.0)
    reach(state, 28, 0.0)
    reach(state, 29, 0.0)
    assert peak(state) == pytest.approx(6.0)


@pytest.mark.parametrize("hours", [1, 2, 3, 5, 24, 24 * 365 * 3])
def test_hours_without_an_observation_fade_it_as_those_with_one(hours):
    silent, quiet = ready_state(1), ready_state(1)
    for state in (silent, quiet):
        reach(state, 0, 9.0)
        reach(state, 1, 4.0)
    for hour in range(2, min(1 + hours, 100)):
        reach(quiet, hour, novelty.LEAST)
    for state in (silent, quiet):
        reach(state, 1 + hours, 0.0)
    if hours < 100:
        assert peak(silent) == pytest.approx(peak(quiet), rel=1e-5)
    assert peak(silent) >= novelty.LEAST


def test_a_late_observation_leaves_the_peak_where_it_is():
    state = ready_state(1)
    for hour, measure in ((0, 3.0), (1, 0.0), (2, 0.0)):
        reach(state, hour, measure)
    before = state.peak.copy()
    novelty.turn(state, np.array([0]), np.array([START_MS - 5 * HOUR_MS]), DECADE)
    assert (state.peak == before).all()


def test_servers_have_peaks_of_their_own():
    state = ready_state(2)
    for hour, measure in ((0, 3.0), (1, 0.0), (2, 0.0)):
        reach(state, hour, measure, row=1)
    assert (peak(state), peak(state, 1)) == (novelty.LEAST, 3.0)


def test_a_channel_without_a_line_keeps_its_peak_and_is_never_asked_for_it():
    """A decade of 0 does not fade."""
    state, none = ready_state(1), np.zeros(CHANNELS, dtype=np.float32)
    for hour, measure in ((0, 3.0), (1, 0.0), (2, 0.0), (50, 0.0)):
        at = np.array([START_MS - START_MS % HOUR_MS + hour * HOUR_MS])
        novelty.turn(state, np.array([0]), at, none)
        novelty.remember(state, np.array([0]), at, np.full((1, CHANNELS), measure, dtype=np.float32))
    assert peak(state) == 3.0


# What a page needs of the score: P2 from 2, P1 from 2.5, a decade being .4 of the measure.
CALIBRATION = Calibration(thresholds={"score": Thresholds(p2=2.0, p1=2.5, decade=0.4)})


class Server:
    """One server whose score's measure is told minute by minute."""

    def __init__(self):
        self.state, self.severities = ready_state(1), {}

    def lives(self, first_hour, hours, faults):
        """`faults` gives the measure from an hour of the day on, for twenty minutes; else it is .3."""
        for minute in range(first_hour * 60, (first_hour + hours) * 60, 5):
            day_hour, past = (minute // 60) % 24, minute % 60
            measure = faults.get(day_hour, 0.3) if past < 20 else 0.3
            at = np.array([START_MS - START_MS % HOUR_MS + minute * 60_000])
            now = calibrate(
                self.state,
                np.array([0]),
                at,
                np.array([CALIBRATION.score_limit * measure / (1 + measure)]),
                np.zeros((1, CHANNELS - 1), dtype=np.float32),
                CALIBRATION,
                elapsed_s=np.array([300.0]),
            )
            self.severities[minute] = now.severity.item()

    def paged(self, hour):
        return max(self.severities[hour * 60 + minute] for minute in range(0, 20, 5)) >= 1.5


def test_a_fault_repeated_in_the_next_hour_and_on_the_next_day_pages_again():
    server = Server()
    server.lives(0, 60, {10: 2.9, 11: 2.9, 12: 2.9})
    assert server.paged(10)
    assert server.paged(11)
    assert server.paged(34), "a day later: the peak has faded below it"


def jobs(seed=4, hours=72):
    """A job every hour whose size differs from run to run, all of them far enough out to page."""
    sizes = np.random.default_rng(seed).uniform(2.05, 2.4, hours)
    server = Server()
    for hour, size in enumerate(sizes.tolist()):
        server.lives(hour, 1, {hour % 24: size})
    return server, sizes


def test_a_habit_once_known_pages_for_its_larger_runs_only():
    """Each run of the job alone would page; of those that follow a larger one by less than it fades, none does."""
    server, _ = jobs()
    assert server.paged(0)
    assert 0 < sum(server.paged(hour) for hour in range(24, 72)) <= 48 / 4


def test_a_habit_that_grows_pages():
    server, sizes = jobs()
    server.lives(72, 1, {0: sizes.max() + 0.05})
    assert server.paged(72)


def test_what_is_two_decades_beyond_the_tier_always_pages():
    server = Server()
    server.lives(0, 24, dict.fromkeys(range(0, 24, 3), 2.85))
    assert all(server.paged(hour) for hour in range(0, 24, 3))
