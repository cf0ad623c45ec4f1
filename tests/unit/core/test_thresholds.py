"""A fleet's own thresholds: how rare a measure is in its past, per channel, never below the floors."""

import numpy as np
import pytest

from training.prepare.thresholds import NEVER, TIERS_APART, Peaks, fitted
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


def rising(peaks_a_week, weeks=4, decade=2.0, servers=2, seed=3):
    """A past whose pages thin out tenfold every `decade` of the measure, above a quiet rest."""
    times, measures = history(weeks=weeks, servers=servers, seed=seed)
    rng = np.random.default_rng(seed)
    measures *= 0.01
    hours = len(times) // 12
    for server in range(servers):
        for hour in np.sort(rng.choice(hours // 2, int(peaks_a_week * weeks), replace=False)) * 2:
            measures[hour * 12 + 3 : hour * 12 + 6, server] = rng.exponential(decade / np.log(10))
    return peaks_of(times, measures)


def test_a_line_is_fitted_on_the_bulk_of_the_pages_by_hand():
    """Forty pages a server-week begin at 0 and thin out tenfold with each 2 of the measure."""
    line = rising(40.0, weeks=40).line(0)
    assert 1.0 / line.slope == pytest.approx(2.0, rel=0.1)
    assert line.at_zero == pytest.approx(-np.log10(40.0), abs=0.1)
    assert line.measure(0.0) == pytest.approx(2.0 * np.log10(40.0), rel=0.1), "once a server-week"
    assert line.measure(2.0) - line.measure(1.0) == pytest.approx(1.0 / line.slope)


def test_the_pasts_own_incidents_do_not_move_the_line():
    """What is rarer than 2.5 a server-week is not fitted."""
    times, measures = history(weeks=20, servers=2)
    plain = peaks_of(times, measures).line(0)
    for number in range(12):
        raise_at(measures, 300 + 1000 * number, number % 2, 1e4)
    assert peaks_of(times, measures).line(0).measure(2.0) == pytest.approx(plain.measure(2.0), rel=0.03)


def test_a_threshold_is_the_measure_of_the_channels_rarity_and_moves_with_the_unit():
    times, measures = history()
    for unit in (1.0, 1000.0):
        peaks = peaks_of(times, unit * measures)
        found = fitted(peaks, FLOORS)
        for position, channel in enumerate(registry.every_channel()):
            if not channel.is_model_evidence:
                continue
            line = peaks.line(position)
            assert found[channel.name].p2 == pytest.approx(line.measure(channel.rarity.p2))
            assert found[channel.name].p1 == pytest.approx(
                max(line.measure(channel.rarity.p1), TIERS_APART * found[channel.name].p2)
            )
            assert found[channel.name].decade == pytest.approx(1.0 / line.slope)


def test_a_quiet_past_leaves_the_floors_of_channels_that_have_one():
    times, measures = history()
    found = fitted(peaks_of(times, 0.1 * measures), FLOORS)
    for channel in registry.every_channel():
        if not channel.is_model_evidence:
            now, floor = found[channel.name], FLOORS[channel.name]
            assert (now.p2, now.p1) == (floor.p2, floor.p1)


def test_a_past_that_does_not_count_for_one_channel_counts_for_the_others():
    """Model evidence is held against the held-out part alone."""
    times, measures = history()
    measures[: len(times) // 2, :, 0] = np.nan
    peaks = peaks_of(times, measures)
    assert peaks.server_weeks[:2] == pytest.approx([4.0, 8.0])


def test_model_evidence_of_which_nothing_is_known_opens_nothing_and_a_channel_has_its_floor():
    times, measures = history()
    nobody = fitted(peaks_of(times, np.full_like(measures, np.nan)), FLOORS)
    still = fitted(peaks_of(times, np.zeros_like(measures)), FLOORS)
    for found in (nobody, still):
        assert found["score"] == found["relation"] == NEVER
        assert found["difference"] == FLOORS["difference"]
