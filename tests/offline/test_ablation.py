"""What one backtest measured is decided again by other thresholds, and the page budget is met by making both rarer."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cli import quality_ablation
from stacks.config.stage import load
from tests.unit.detection_fakes import SAMPLES_PER_TREE, distance_score, fleet
from training.evaluate.ablation import VARIANTS, without_novelty
from training.evaluate.backtest import backtest
from training.evaluate.budget import Budget
from training.evaluate.decide_again import decide_again
from training.evaluate.experiment import Setup, groups_of
from training.evaluate.judge import evaluate_tiers
from training.evaluate.page_budget import P1_BUDGET, P2_BUDGET, SHIFTS, at_budget, rarer
from training.evaluate.pages import Opening, Tier
from training.history.labels import Label
from training.history.observed import ObservedTimes
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.core.channels import registry
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError

SERVERS, TRAIN, TEST, GROUP = 7, 600, 200, 3


def detected(setup, *, with_measures=True):
    """Seven servers in three groups, at five minutes; two of them go wrong, twice."""
    grid = fleet(SERVERS, TRAIN + TEST)
    grid = replace(grid, times_ms=grid.times_ms[0] + 300_000 * np.arange(TRAIN + TEST), step_s=300.0)
    for server, start in ((1, 40), (1, 150), (5, 90)):
        grid.values[TRAIN + start : TRAIN + start + 12, server, 0] += 70.0
        grid.values[TRAIN + start : TRAIN + start + 12, server, 1] -= 70.0
    grid.values[TRAIN + 20 : TRAIN + 30, 2] = np.nan
    past, present = (
        replace(grid, times_ms=grid.times_ms[part], values=grid.values[part])
        for part in (slice(TRAIN), slice(TRAIN, None))
    )
    package = calibrate_package(
        prepare(past, seed=1), distance_score, model_version="x", samples_per_tree=SAMPLES_PER_TREE
    )
    done = backtest(
        package, present, distance_score, setup.policy, groups=groups_of(present, GROUP), with_measures=with_measures
    )
    return package, present, done


@pytest.mark.parametrize(
    "policy",
    [
        PolicySettings(),
        PolicySettings(score=ScoreSettings(rule=ScoreRule.EMA, half_life_s=7200.0)),
        PolicySettings(score=ScoreSettings(rule=ScoreRule.THREE_SIGMA)),
        PolicySettings(fleet_min_servers=3),
    ],
    ids=["rarity", "ema", "three_sigma", "fleet cycle"],
)
def test_decided_again_by_the_same_thresholds_everything_is_as_it_was(policy):
    setup = Setup(policy=policy, group_size=GROUP)
    package, present, done = detected(setup)
    again = decide_again(package, present, done, package.calibration, groups_of(present, GROUP))
    plain = [(server, c.event, c.priority, c.at, c.severity) for server, c in done.changes]
    assert sorted((s, c.event, c.priority, c.at, c.severity) for s, c in again) == sorted(plain)
    assert {server for server, *_ in plain} >= {present.servers[1], present.servers[5]}


def test_a_channel_that_is_off_decides_nothing():
    setup = Setup(group_size=GROUP)
    package, present, done = detected(setup)
    off = VARIANTS["forest alone"](package.calibration)
    silent = replace(off, thresholds={name: VARIANTS["forest off"](off)[name] for name in off.thresholds})
    assert decide_again(package, present, done, silent, groups_of(present, GROUP)) == []


def test_each_variant_leaves_the_thresholds_of_what_it_keeps():
    package, _, _ = detected(Setup(group_size=GROUP))
    shipped, score = package.calibration, registry.SCORE.name
    alone, off = VARIANTS["forest alone"](shipped), VARIANTS["forest off"](shipped)
    for name in shipped.thresholds:
        kept, other = (alone, off) if name == score else (off, alone)
        assert kept[name] == shipped[name] != other[name]
    assert all(without_novelty(shipped)[name].decade is None for name in shipped.thresholds)


def test_rarer_by_a_decade_is_a_decade_further_out():
    package, _, _ = detected(Setup(group_size=GROUP))
    shipped = package.calibration
    moved = rarer(shipped, 0.0, 1.0)
    for name, k in shipped.thresholds.items():
        assert moved[name].p2 == k.p2
        assert moved[name].p1 == pytest.approx(k.p1 + (k.decade or k.p2 / 2))


def test_a_backtest_that_kept_no_measures_cannot_be_decided_again():
    setup = Setup(group_size=GROUP)
    package, present, done = detected(setup, with_measures=False)
    with pytest.raises(UsageError, match="kept no measures"):
        decide_again(package, present, done, package.calibration, groups_of(present, GROUP))


class Counted:
    """So many false pages, over a hundred thousand server-weeks."""

    def __init__(self, false_pages):
        self.false_pages, self.server_days = false_pages, 7e5


def test_what_quality_judges_at_is_the_budget_that_production_ships_with():
    shipped = Budget.of(load("prod").learning.page_budget)
    assert [7 * shipped.p1, 7 * shipped.p2] == pytest.approx([P1_BUDGET, P2_BUDGET])


def test_the_budget_is_met_by_the_smallest_shifts():
    """One false P1 a week, two P2 a day, 500 servers: .002 and .028 a server-week. A decade is ten times fewer."""

    def judged(p2, p1):
        p1_pages = 1e5 * 0.02 * 10.0**-p1
        return {Tier.P1: Counted(p1_pages), Tier.ALL: Counted(p1_pages + 1e5 * 2.8 * 10.0**-p2), "shifts": (p2, p1)}

    found = at_budget(judged)["shifts"]
    assert found == (2.0, 1.0)
    assert set(found) <= set(SHIFTS)


def test_the_budget_asks_nothing_of_what_keeps_to_it_already():
    """A page that rises to P1 later may come at the recovery: rarer is not always fewer false ones."""

    def judged(p2, p1):
        return {Tier.P1: Counted(int(0.0 < p1 < 4.0) * 1e4), Tier.ALL: Counted(0), "shifts": (p2, p1)}

    assert at_budget(judged)["shifts"] == (0.0, 0.0)


def test_a_set_has_a_row_for_the_rolling_window_learned_and_detected_anew(monkeypatch):
    """By the setup under test in all else; pooled over the fleets as the other rows are."""
    setup = Setup(policy=PolicySettings(quiet_s=60.0))
    asked = []

    def run(history, of, *, progress):
        asked.append((history, of))
        return SimpleNamespace(evaluations=judged(history)), None, None

    def judged(hits):
        day = 86_400_000
        labels = [Label(server_id="a", start_ms=i * day, end_ms=i * day + 60_000) for i in range(4)]
        pages = [Opening(server_id="a", at_ms=i * day, priority="P1", incident_id=str(i)) for i in range(hits)]
        observed = {"a": ObservedTimes(np.arange(0, 4 * day, 60_000))}
        return evaluate_tiers(labels, pages, observed=observed, step_ms=60_000)

    monkeypatch.setattr(quality_ablation, "run_experiment", run)
    monkeypatch.setattr(quality_ablation, "ablations", lambda _: {})
    ablation = quality_ablation.Ablation()
    for name, hits in (("7", 1), ("101", 3)):
        detected_fleet = SimpleNamespace(setup=setup, history=hits)
        ablation.add("generated", name, judged(4), detected_fleet, progress=lambda *_: None)
    rows = ablation.results()["generated"]
    assert [rows[name][Tier.P1].hits for name in (quality_ablation.SHIPPED, quality_ablation.ROLLING)] == [8, 4]
    assert asked == [(1, replace(setup, rolling_window_s=3600)), (3, replace(setup, rolling_window_s=3600))]
