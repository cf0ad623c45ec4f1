"""A fleet's own thresholds: pages counted in its past, per channel, never below the floors."""

import numpy as np
import pytest

from training.prepare.thresholds import MOST_OVER_FLOOR, Peaks, fitted
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration

STEP_S = 300.0
FLOORS = Calibration()
NAMES = [channel.name for channel in registry.every_channel()]


def history(weeks=2, servers=4, seed=3):
    rng = np.random.default_rng(seed)
    times = np.arange(int(weeks * 7 * 86_400 / STEP_S), dtype=np.int64) * int(STEP_S * 1000)
    return times, np.abs(rng.normal(0.0, 1.0, (len(times), servers, len(NAMES)))).astype(np.float32)


def raise_at(measures, at, server, height, length=3):
    measures[at : at + length, server] = height


def peaks_of(times, measures):
    return Peaks.of(times, measures, step_s=STEP_S)


def test_a_channel_keeps_to_so_many_pages_in_the_past():
    times, measures = history()
    for number in range(10):  # ten firings, each an hour and more apart, of rising height
        raise_at(measures, 200 + 300 * number, number % 4, 10.0 + number)
    peaks = peaks_of(times, measures)
    assert peaks.threshold(0, 4.0) == pytest.approx(16.0)  # 16, 17, 18, 19 are the four
    assert peaks.threshold(0, 9.0) == pytest.approx(11.0)


def test_one_observation_alone_is_no_page_and_a_long_excess_is_one():
    times, measures = history(servers=1)
    raise_at(measures, 500, 0, 50.0, length=1)
    raise_at(measures, 1000, 0, 40.0, length=60)
    measures[1500:1520, 0] = 30.0
    peaks = peaks_of(times, measures)
    hours_over_20 = peaks.hours[:, 0] > 20.0
    begun = hours_over_20.sum() - (peaks.joined[:, 0] > 20.0).sum()
    assert begun == 2
    assert peaks.hours[:, 0].max() == 40.0


def test_absent_servers_count_for_nothing_and_a_channel_that_is_off_neither():
    times, measures = history()
    measures[:, 3] = np.nan
    measures[:, 0, 2] = -np.inf
    raise_at(measures[:, :, :2], 700, 0, 99.0)
    peaks = peaks_of(times, measures)
    assert peaks.server_weeks == pytest.approx(6.0)
    assert peaks.threshold(2, 1.0) < 20.0


def test_rarer_pages_than_were_seen_lie_further_out():
    times, measures = history()
    for number in range(30):
        raise_at(measures, 100 + 120 * number, number % 4, 5.0 + number / 3)
    peaks = peaks_of(times, measures)
    rising = [peaks.threshold(0, pages) for pages in (20.0, 8.0, 3.0, 1.0, 0.3)]
    assert rising == sorted(rising)


def test_halves_of_a_fleet_together_are_the_fleet():
    times, measures = history()
    whole = peaks_of(times, measures)
    halves = Peaks.together([peaks_of(times, measures[:, :2]), peaks_of(times, measures[:, 2:])])
    assert fitted(halves, FLOORS) == fitted(whole, FLOORS)


def test_a_quiet_past_leaves_the_floors_and_a_loud_one_is_bounded():
    times, measures = history()
    assert fitted(peaks_of(times, measures), FLOORS)["score"] == FLOORS["score"]
    loud = fitted(peaks_of(times, 1000.0 * measures), FLOORS)
    for name in NAMES:
        channel, floor = loud[name], FLOORS[name]
        assert channel.p2 == pytest.approx(MOST_OVER_FLOOR * floor.p2)
        assert channel.p1 > channel.p2


def test_a_history_of_nobody_leaves_the_floors():
    times, measures = history()
    assert fitted(peaks_of(times, np.full_like(measures, np.nan)), FLOORS)["difference"] == FLOORS["difference"]
