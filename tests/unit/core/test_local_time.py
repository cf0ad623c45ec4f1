"""Local time: what clocks show, and habits that keep to it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.unit.detection_fakes import distance_score, trained
from training.evaluate.backtest import backtest
from training.history.grid import Grid
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.expectation.local_time import Zones, offsets_s
from treeline.core.times import is_zone, parse_iso, to_ms

BERLIN, KOLKATA = "Europe/Berlin", "Asia/Kolkata"
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)  # in Berlin
STEP_MS = 900_000
DAY = 86_400_000 // STEP_MS


def offset(zone: str, at: str) -> float:
    """In hours."""
    return offsets_s(np.array([zone], dtype=object), np.array([parse_iso(at)]))[0].item() / 3600


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("UTC", "2026-07-01T00:00:00Z", 0),
        (BERLIN, "2026-03-29T00:59:59.999Z", 1),
        (BERLIN, "2026-03-29T01:00:00Z", 2),
        (BERLIN, "2026-10-25T00:59:59.999Z", 2),
        (BERLIN, "2026-10-25T01:00:00Z", 1),
        (KOLKATA, "2026-07-01T00:00:00Z", 5.5),
        ("America/New_York", "2026-07-01T00:00:00Z", -4),
        ("Australia/Lord_Howe", "2026-10-03T15:29:00Z", 10.5),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 11),
    ],
)
def test_the_offset_is_that_of_the_time_itself(zone, at, hours):
    assert offset(zone, at) == hours


def test_each_server_has_its_own_zone_or_the_default():
    zones = Zones("UTC", {"b": BERLIN}).of(["a", "b"])
    at = np.full(2, parse_iso("2026-07-01T00:00:00Z"))
    assert offsets_s(zones, at).tolist() == [0, 7200]


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/passwd", "Europe"])
def test_what_is_no_zone_is_refused(name):
    assert not is_zone(name)
    with pytest.raises(UsageError, match="no IANA time zone"):
        Zones(name)
    with pytest.raises(UsageError, match="no IANA time zone"):
        Zones("UTC", {"a": name})


def nightly(change: datetime, hour: int) -> Grid:
    """Three weeks before a change of the clocks and one after: a job at an hour of each server's own clock.

    The first server is in Berlin, the second in Kolkata, where no clock is ever changed.
    """
    first = change.replace(hour=0, minute=0) - timedelta(days=21)
    times = to_ms(first) + STEP_MS * np.arange(28 * DAY)
    values = 10.0 + np.random.default_rng(3).normal(0, 0.5, (len(times), 2, 1)).astype(np.float32)
    for server, zone in enumerate((BERLIN, KOLKATA)):
        clock = np.array([datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).hour for at in times])
        values[clock == hour, server] += 40.0
    return Grid(times, ("berlin", "kolkata"), ("load",), values, STEP_MS / 1000)


def evidence(grid: Grid, zones: Zones) -> np.ndarray:
    """When each server was far from what was expected in the last week, by a model of the three weeks before it.

    A job makes 40; at its first and last moment half of that is expected, as levels are joined by lines.
    """
    whole = Grid(grid.times_ms, grid.servers, grid.metrics, grid.values, grid.step_s, zones)
    cut = 21 * DAY
    past = Grid(whole.times_ms[:cut], *(whole.servers, whole.metrics), whole.values[:cut], whole.step_s, zones)
    late = Grid(whole.times_ms[cut:], *(whole.servers, whole.metrics), whole.values[cut:], whole.step_s, zones)
    bands = backtest(trained(past), late, distance_score, PolicySettings(), with_bands=True).trace.bands
    return (np.abs(late.values - bands.expected) > 30.0)[..., 0]


@pytest.mark.parametrize(
    ("change", "hour"),
    [(SPRING, 4), (AUTUMN, 4), (SPRING, 2), (AUTUMN, 2)],
    ids=["spring", "autumn", "in the hour left out", "in the hour that comes twice"],
)
def test_a_job_by_the_clock_is_expected_on_both_sides_of_a_change(change, hour):
    grid = nightly(change, hour)
    by_clock = evidence(grid, Zones("UTC", {"berlin": BERLIN, "kolkata": KOLKATA}))
    assert by_clock.sum(axis=0).tolist() == [0, 0]


def test_by_another_clock_the_same_job_comes_at_the_wrong_hour_every_night_after_the_change():
    far = evidence(nightly(SPRING, 4), Zones())
    assert far[:, 0].sum() >= 7 * 3
    assert far[:, 1].sum() == 0, "where no clock is changed, any clock will do"
