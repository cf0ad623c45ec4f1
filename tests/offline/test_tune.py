"""Tuning: what is scored, and what stays on the frontier."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import fleet
from tests.unit.history_files import write_history
from training.evaluate.budget import Budget
from training.evaluate.experiment import Setup
from training.evaluate.pages import Opening
from training.evaluate.tune import Scored, Space, Trial, Tuner, adherence, best_of, frontier, held_out_pages
from training.history.files import open_history
from treeline.core.detection.policy import PolicySettings
from treeline.core.times import iso

BUDGET = Budget.parse("1 P1 and 2 P2 per server-week", servers=1)


def scored(pages: float, f05: float | None, **trial) -> Scored:
    return Scored(trial=Trial(**trial), pages_per_server_week={"P1": pages / 2, "P1+P2": pages}, adherence=0.5, f05=f05)


def test_adherence_is_one_on_the_budget_and_falls_either_way():
    on = adherence({"P1": 10, "P1+P2": 30}, BUDGET, 70.0)
    assert on == pytest.approx(1.0)
    above = adherence({"P1": 20, "P1+P2": 60}, BUDGET, 70.0)
    below = adherence({"P1": 5, "P1+P2": 15}, BUDGET, 70.0)
    assert above == pytest.approx(0.5, abs=0.02)
    assert below == pytest.approx(0.5, abs=0.03)
    assert 0 < adherence({"P1": 0, "P1+P2": 0}, BUDGET, 7.0) < below


def test_the_frontier_holds_what_nothing_beats_in_both():
    results = [scored(1.0, 0.3), scored(2.0, 0.6), scored(3.0, 0.5), scored(0.5, 0.3), scored(4.0, 0.7)]
    assert [r.pages_per_server_week["P1+P2"] for r in frontier(results)] == [0.5, 2.0, 4.0]


def test_of_equal_scores_the_smaller_forest_wins():
    small, large = scored(1.0, 0.5, num_trees=50), scored(1.0, 0.5, num_trees=1000)
    assert best_of([large, small]) is small


def test_labels_count_half():
    assert scored(1.0, None).score == 0.5
    assert scored(1.0, 0.7).score == pytest.approx(0.6)


def test_a_grid_starts_with_what_ships_and_visits_every_value_early():
    space = Space()
    trials = list(space.grid(30))
    assert trials[0] == Trial()
    assert len(set(trials)) == 30
    assert {t.num_trees for t in trials} == set(space.num_trees)
    assert {t.threshold_factor for t in trials} == set(space.threshold_factor)
    assert len(list(space.grid(10_000))) == 5 * 4 * 5 * 5


def test_what_is_held_against_the_budget_is_pages_of_what_was_observed():
    """Three servers that open in one step are one page; a risen one is one at P1 and no second one in all."""
    grid = fleet(4, 100)
    at = int(grid.times_ms[50])
    opened = [Opening(server_id=f"web-0{i}", at_ms=at, priority="P2", incident_id=str(i)) for i in range(3)]
    risen = Opening(server_id="web-00", at_ms=int(grid.times_ms[60]), priority="P1", incident_id="0")
    assert held_out_pages([*opened, risen], grid) == {"P1": 1, "P1+P2": 1}
    assert held_out_pages(opened[:2], grid) == {"P1": 0, "P1+P2": 2}


def test_a_trial_keeps_what_is_not_searched():
    setup = Setup(policy=PolicySettings(quiet_s=60.0), timezone="Asia/Tokyo", rolling_window_s=7200.0, seed=3)
    found = Trial(needed=3, of_last=5, num_trees=100).over(setup)
    assert (found.timezone, found.rolling_window_s, found.seed, found.num_trees) == ("Asia/Tokyo", 7200.0, 3, 100)
    assert found.policy == PolicySettings(needed=3, of_last=5, quiet_s=60.0)


@pytest.mark.parametrize(("label", "precision"), [((100, 129), 1.0), ((20, 103), 0.0)])
def test_a_trial_is_judged_as_a_backtest_is(tmp_path, label, precision):
    """A page that comes in the last tenth of a label, or as it ends, is false."""
    train, test, step_ms = 1200, 260, 300_000
    grid = fleet(4, train + test)
    times = grid.times_ms[0] + step_ms * np.arange(train + test)
    grid.values[train + 100 : train + 130, 1] += 60.0
    write_history(tmp_path / "fleet.parquet", replace(grid, times_ms=times, step_s=300.0), train=train)
    start, end = (iso(int(times[train + position])) for position in label)
    (tmp_path / "incidents.csv").write_text(f"server_id,start,end\nweb-01,{start},{end}\n", encoding="utf-8")
    history = open_history(tmp_path / "fleet.parquet", tmp_path / "incidents.csv")
    found = Tuner(history, BUDGET).run(Trial())
    assert (found.precision, found.recall, found.f05) == (precision, precision, precision)
    assert found.rolling_window_s == 0.0
    rolling = Tuner(history, BUDGET, setup=Setup(rolling_window_s=3600.0)).run(Trial())
    assert rolling.rolling_window_s == 3600.0, "what the model that was tried expects by, not what was asked for"
    assert Scored.from_json(rolling.to_json()) == rolling
