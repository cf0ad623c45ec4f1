from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from cli.main import run
from demo.fleet.generate import generate
from demo.fleet.incidents import COURSES, schedule
from demo.fleet.noise import smooth, wander
from demo.fleet.normal import make_calendar
from demo.fleet.plan import METRICS, FleetPlan, IncidentKind
from demo.fleet.roles import role_of
from demo.fleet.series import make_fleet, server_series
from training.history.files import open_history
from treeline.core.errors import UsageError

PLAN = FleetPlan(servers=10, days=8, step_s=300, incidents_per_server_week=4.0)
CPU, MEMORY, NETWORK, DISK = range(4)


@pytest.fixture(scope="module")
def fleet():
    return list(server_series(make_fleet(PLAN)))


def inside(series, incident):
    first = PLAN.start.timestamp() * 1000 + incident.first * PLAN.step_s * 1000
    last = PLAN.start.timestamp() * 1000 + incident.last * PLAN.step_s * 1000
    return (series.times_ms >= first) & (series.times_ms <= last)


def test_what_is_generated_opens_as_a_history(tmp_path):
    made = generate(PLAN, tmp_path / "out")
    history = open_history(made.data_path, made.incidents_path)
    assert history.metrics == METRICS
    assert (len(history.servers), history.row_count, history.step_s) == (10, made.rows, 300.0)
    assert history.split_by == "column"
    assert len(history.incidents) == made.incidents > 0
    assert {label.kind for label in history.incidents} == set(IncidentKind)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["fleet.parquet", "incidents.csv"]


def test_the_same_seed_gives_the_same_fleet_and_another_seed_another(fleet):
    again = list(server_series(make_fleet(PLAN)))
    other = list(server_series(make_fleet(replace(PLAN, seed=8))))
    assert all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(fleet, again, strict=True))
    assert not np.array_equal(fleet[0].values[:50], other[0].values[:50], equal_nan=True)


def test_a_servers_normal_life_does_not_depend_on_how_many_servers_or_incidents_there_are(fleet):
    alone = next(s for s in server_series(make_fleet(replace(PLAN, servers=2))) if s.server_id == "app-001")
    among = next(s for s in fleet if s.server_id == "app-001")
    assert np.array_equal(alone.values[~alone.is_test], among.values[~among.is_test], equal_nan=True)


def test_incidents_lie_in_the_test_part_and_the_label_column_says_exactly_where(fleet):
    for series in fleet:
        expected = np.zeros(len(series.times_ms), dtype=bool)
        for incident in series.incidents:
            expected |= inside(series, incident)
        assert np.array_equal(series.label == 1, expected)
        assert not series.label[~series.is_test].any()


def test_incidents_of_one_server_stay_apart_and_on_roles_and_hours_that_fit():
    calendar = make_calendar(PLAN)
    incidents = schedule(PLAN, calendar)
    for before, after in pairwise(incidents):
        if before.server == after.server:
            assert (after.first - before.last) * PLAN.step_s > 3600
    for incident in incidents:
        course = COURSES[incident.kind]
        assert role_of(incident.server) in course.roles
        assert course.hours[0] <= calendar.hour[incident.first] < course.hours[1]


@pytest.mark.parametrize(
    ("kind", "metric", "sign"),
    [
        (IncidentKind.CPU_SPIKE, CPU, 1),
        (IncidentKind.MEMORY_LEAK, MEMORY, 1),
        (IncidentKind.SUDDEN_DROP, NETWORK, -1),
        (IncidentKind.EXFILTRATION, NETWORK, 1),
        (IncidentKind.DDOS, NETWORK, 1),
        (IncidentKind.BROKEN_CORRELATION, MEMORY, -1),
        (IncidentKind.DISK_STORM, DISK, 1),
        (IncidentKind.OFF_HOURS, CPU, 1),
        (IncidentKind.FLAPPING, CPU, 1),
    ],
)
def test_each_kind_moves_its_metric_against_the_same_server_without_incidents(kind, metric, sign):
    plan = replace(PLAN, kinds=(kind,), missing_rows=0.0)
    quiet = {s.server_id: s for s in server_series(make_fleet(replace(plan, incidents_per_server_week=0.0)))}
    moved = []
    for series in server_series(make_fleet(plan)):
        calm = quiet[series.server_id]
        spread = np.nanstd(calm.values[:, metric])
        for incident in series.incidents:
            here, there = inside(series, incident), inside(calm, incident)
            best = np.nanmax if sign > 0 else np.nanmin
            moved.append(sign * (best(series.values[here, metric]) - np.nanmedian(calm.values[there, metric])) / spread)
    assert moved
    assert np.median(moved) > 0.9  # visible
    assert np.median(moved) < 20  # and not absurd


def test_a_cpu_spike_reaches_95_percent():
    for series in server_series(make_fleet(replace(PLAN, kinds=(IncidentKind.CPU_SPIKE,)))):
        for incident in series.incidents:
            assert np.nanmax(series.values[inside(series, incident), CPU]) >= 95.0


def test_memory_follows_cpu_outside_incidents():
    plan = replace(PLAN, kinds=(IncidentKind.BROKEN_CORRELATION,), step_s=60)
    for series in server_series(make_fleet(plan)):
        if series.role not in ("app", "db", "batch"):
            continue
        calm = (series.label == 0) & np.isfinite(series.values).all(axis=1)
        assert np.corrcoef(series.values[calm, CPU], series.values[calm, MEMORY])[0, 1] > 0.6


def test_values_stay_within_their_physical_limits_and_no_row_is_empty(fleet):
    for series in fleet:
        assert np.nanmin(series.values) >= 0
        assert np.nanmax(series.values[:, [CPU, MEMORY]]) <= 100
        assert np.isfinite(series.values).any(axis=1).all()


def test_rows_and_single_values_go_missing(fleet):
    rows = sum(len(s.times_ms) for s in fleet)
    assert 0.98 < rows / (PLAN.servers * PLAN.rows_per_server) < 1.0
    assert sum(np.isnan(s.values).sum() for s in fleet) > 0


def test_month_end_is_a_load_of_the_fleet_and_no_incident():
    plan = FleetPlan(servers=10, days=14, step_s=600, incidents_per_server_week=0.0)
    calendar = make_calendar(plan)
    days = {datetime.fromtimestamp(s, UTC).date().isoformat() for s in calendar.seconds[calendar.month_end > 0]}
    assert days == {"2026-10-29", "2026-10-30"}
    series = next(s for s in server_series(make_fleet(plan)) if s.server_id == "db-001")
    day, hour = series.times_ms // 86_400_000, series.times_ms // 3_600_000 % 24
    month_end = (datetime(2026, 10, 29, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    busy = (hour >= 9) & (hour < 17)
    loads = [np.nanmean(series.values[busy & (day == d), NETWORK]) for d in (month_end - 7, month_end)]
    assert 1.1 < loads[1] / loads[0] < 1.8
    assert not series.label.any()


def test_smoothing_and_wandering_are_what_they_say():
    step = np.r_[np.zeros(10), np.ones(500)]
    smoothed = smooth(step, steps=20)
    assert smoothed[9] == 0.0
    assert smoothed[10 + 20] == pytest.approx(1 - np.exp(-21 / 20), rel=1e-9)
    series = wander(np.random.default_rng(1), 200_000, sd=2.0, steps=10)
    assert series.std() == pytest.approx(2.0, rel=0.03)
    assert np.corrcoef(series[:-10], series[10:])[0, 1] == pytest.approx(np.exp(-1), abs=0.03)


@pytest.mark.parametrize(
    "arguments",
    [["--servers", "0"], ["--days", "-1"], ["--step", "0"], ["--kinds", "fire"], ["--start", "soon"], ["--train", "2"]],
)
def test_bad_arguments_are_refused_in_one_line(tmp_path, arguments):
    with pytest.raises(UsageError) as error:
        run(["fleet", "generate", "--out", str(tmp_path), *arguments])
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_writes_the_two_files_and_says_so(tmp_path, capsys):
    small = ["generate", "--out", str(tmp_path / "f"), "--servers", "2", "--days", "1", "--step", "600", "--json"]
    assert run(["fleet", *small]) == 0
    assert '"servers": 2' in capsys.readouterr().out
    assert (tmp_path / "f" / "fleet.parquet").exists()
