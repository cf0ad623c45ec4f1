import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.poisoning import MOST_CHANGE, PoisoningTrial
from training.history.grid import Grid
from training.history.labels import FLEET, Label
from training.prepare.hygiene import Disturbances, Exclusion, Reason, apply, from_manifest, to_manifest
from training.prepare.survey import survey

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
STEP_MS = 600_000
A_DAY = DAY_MS // STEP_MS


def history(days=28, seed=3):
    """Two servers: a daily cycle, weekends quieter, noise."""
    rng = np.random.default_rng(seed)
    times = np.arange(days * A_DAY) * STEP_MS
    weekend = (times // DAY_MS) % 7 >= 5
    level = 40 + 20 * np.sin(times / DAY_MS * 2 * np.pi) * np.where(weekend, 0.2, 1.0)
    values = level[:, None, None] + rng.normal(0, 2, (len(times), 2, 2))
    return Grid(times, ("a", "b"), ("cpu", "memory"), values.astype(np.float32), 600.0)


def exclusions(grid, **said):
    """All that a preparation leaves out of this history."""
    surveyed = survey(grid, (), Disturbances(**said))
    return sorted([*surveyed.all_exclusions(), *surveyed.clean(grid)[1]])


def during(grid, exclusion):
    return (grid.times_ms >= exclusion.start_ms) & (grid.times_ms <= exclusion.end_ms)


def test_nothing_is_left_out_of_a_healthy_history():
    """Weekends, though far from the weekdays, are usual."""
    grid = history()
    assert exclusions(grid) == []
    assert apply(grid, []) is grid


def test_labels_open_incidents_and_maintenance_are_left_out_with_their_reason():
    grid = history()
    end = int(grid.times_ms[-1])
    found = exclusions(
        grid,
        labels=[
            Label(server_id="a", start_ms=DAY_MS, end_ms=DAY_MS + HOUR_MS, kind="memory_leak"),
            Label(server_id="gone", start_ms=0, end_ms=DAY_MS),
        ],
        open_incidents=[("b", 27 * DAY_MS)],
        maintenance=[(FLEET, 3 * DAY_MS, 4 * DAY_MS - 1)],
    )
    assert [(x.server_id, x.reason, x.detail) for x in found] == [
        ("a", Reason.LABELLED, "memory_leak"),
        ("b", Reason.OPEN, ""),
        ("fleet", Reason.MAINTENANCE, ""),
    ]
    assert (found[0].start_ms, found[0].end_ms) == (DAY_MS - HOUR_MS // 2, DAY_MS + 3 * HOUR_MS // 2)
    assert found[1].end_ms == end
    left = np.isnan(apply(grid, found).values).all(axis=2)
    assert left[during(grid, found[0]), 0].all()
    assert not left[during(grid, found[0]), 1].any()
    assert left[during(grid, found[2])].all()
    assert left.sum() == sum(during(grid, x).sum() * (2 if x.server_id == FLEET else 1) for x in found)


def test_rows_lacking_a_usual_metric_are_left_out_but_a_metric_never_there_is_not_missed():
    grid = history(days=2)
    grid.values[10:13, 0, 1] = np.nan
    grid.values[20:25, 0] = np.nan  # no row at all: nothing to impute
    grid.values[:, 1, 1] = np.nan
    (gap,) = exclusions(grid)
    assert (gap.server_id, gap.reason, gap.detail) == ("a", Reason.IMPUTED, "memory")
    assert (gap.start_ms, gap.end_ms) == (10 * STEP_MS, 12 * STEP_MS)


@pytest.mark.parametrize("where", [9, 21])
def test_a_week_at_a_level_never_seen_is_suspected_also_at_the_end(where):
    grid = history()
    grid.values[where * A_DAY : (where + 7) * A_DAY, 0, 0] = 97.0
    (found,) = exclusions(grid)
    assert (found.server_id, found.reason, found.detail) == ("a", Reason.SUSPECTED, "cpu")
    assert found.start_ms <= where * DAY_MS
    assert found.end_ms >= min((where + 7) * DAY_MS, int(grid.times_ms[-1]) + 1) - 1


def test_what_comes_back_or_stays_is_not_suspected():
    weekly = history()
    for week in range(4):
        weekly.values[(7 * week + 2) * A_DAY : (7 * week + 3) * A_DAY, 0, 0] += 60  # a job every Wednesday
    assert exclusions(weekly) == []
    stays = history()
    stays.values[12 * A_DAY :, 0, 0] += 60  # more than half of the history: the new normal
    assert exclusions(stays) == []


def test_the_manifest_lists_every_interval_and_reads_back():
    found = [
        Exclusion(server_id="a", start_ms=5, end_ms=9, reason=Reason.IMPUTED, detail="cpu"),
        Exclusion(server_id="fleet", start_ms=0, end_ms=3, reason=Reason.MAINTENANCE),
    ]
    listed = json.loads(json.dumps(to_manifest(found)))
    assert listed["maintenance_window"] == {"fleet": [[0, 3]]}
    assert from_manifest(listed) == found


def test_a_poisoned_week_hardly_changes_the_score_of_its_fault():
    """Labelled or not; `python -m benchmarks.poisoning` does this for more faults on a finer grid."""
    trial = PoisoningTrial(servers=3, days=21, step_s=3600, seed=1)
    result = trial.run("cpu_pinned", "end", without_hygiene=False)
    assert abs(result.change("labelled")) < MOST_CHANGE
    assert abs(result.change("unlabelled")) < MOST_CHANGE


def test_a_fleet_wide_exclusion_leaves_the_original_alone():
    grid = history(days=1)
    before = grid.values.copy()
    apply(grid, [Exclusion(server_id=FLEET, start_ms=0, end_ms=DAY_MS, reason=Reason.MAINTENANCE)])
    np.testing.assert_array_equal(replace(grid).values, before)


def test_a_fault_that_shows_by_day_only_is_one_stretch():
    grid = history()
    days = slice(9 * A_DAY, 16 * A_DAY)
    by_day = np.sin(grid.times_ms[days] / DAY_MS * 2 * np.pi) > 0.2
    grid.values[days, 0, 0] = np.where(by_day, 0.0, grid.values[days, 0, 0])
    (found,) = exclusions(grid)
    assert (found.server_id, found.reason) == ("a", Reason.SUSPECTED)
    assert found.end_ms - found.start_ms > 6 * DAY_MS


def test_what_many_servers_do_at_once_is_load_and_a_short_history_cannot_tell():
    many = history()
    values = np.repeat(many.values[:, :1], 6, axis=1)
    values[20 * A_DAY : 22 * A_DAY, :4, 0] += 60  # a month end: four of six servers
    values[10 * A_DAY : 12 * A_DAY, 5, 0] += 60
    grid = replace(many, servers=tuple("abcdef"), values=values)
    assert {x.server_id for x in exclusions(grid)} == {"f"}
    short = history(days=7)
    short.values[3 * A_DAY : 4 * A_DAY, 0, 0] = 97.0
    assert exclusions(short) == []
