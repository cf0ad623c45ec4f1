"""Tuning: what is scored, and what stays on the frontier."""

import pytest

from training.evaluate.calibrate import Budget
from training.evaluate.tune import Scored, Space, Trial, adherence, best_of, frontier

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
