"""Candidate against champion without labels: too loud, too deaf, no worse; and what the figures count."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import STEP_MS, distance_score, fleet, trained
from training.evaluate.candidate import CandidateLimits, Contender, Judged, compare, judge, place_faults, with_faults
from treeline.core.detection.policy import PolicySettings

LIMITS = CandidateLimits(max_page_rate_ratio=2.0, max_pages_per_server_week=1.0, max_recall_loss=0.1, min_recall=0.5)
FLAGS = np.zeros((10, 2), dtype=bool)


def judged(pages=0.0, recall=1.0, version="m"):
    own = Judged(
        model_version=version, pages=1, pages_per_server_week=pages, recall=recall, score_mean=1.0, score_sd=0.1
    )
    return own, FLAGS


@pytest.mark.parametrize(
    ("candidate", "champion", "said"),
    [
        (judged(pages=1.1), None, "pages 1.10 times"),
        (judged(recall=0.4), None, "finds 40%"),
        (judged(pages=8.1), judged(pages=4.0), "allowed are 8.00"),
        (judged(recall=0.85), judged(recall=1.0), "needed are 90%"),
    ],
)
def test_a_worse_candidate_does_not_pass_and_says_by_which_figure(candidate, champion, said):
    verdict = compare(candidate, champion, LIMITS)
    assert not verdict.passed
    assert any(said in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        (judged(pages=1.0, recall=0.5), None),
        (judged(pages=7.9, recall=0.9), judged(pages=4.0, recall=1.0)),
        (judged(pages=0.9), judged(pages=0.0)),  # a quiet champion does not forbid every page
    ],
)
def test_one_within_the_limits_passes(candidate, champion):
    assert compare(candidate, champion, LIMITS).passed


def test_a_model_that_scores_nothing_does_not_pass():
    own, flags = judged()
    assert not compare((replace(own, score_mean=float("nan")), flags), None, LIMITS).passed


def test_disagreement_is_told_and_not_judged():
    own, _ = judged()
    verdict = compare((own, ~FLAGS), judged(version="champion"), LIMITS)
    assert verdict.passed
    assert verdict.disagreement == 1.0
    assert any("champion champion" in reason for reason in verdict.reasons)


@pytest.fixture(scope="module")
def contender():
    """Three servers with one day to learn from and four hours held out, web-01 in trouble for half an hour."""
    grid = fleet(3, 1440 + 240)
    part = lambda a, b: replace(grid, times_ms=grid.times_ms[a:b], values=grid.values[a:b])  # noqa: E731
    holdout = part(1440, 1680)
    holdout.values[60:90, 1] += 60.0
    return Contender(trained(part(0, 1440)), distance_score, holdout, dict.fromkeys(holdout.servers, 0))


def test_an_incident_in_the_held_out_history_is_a_page(contender):
    own, flags = judge(contender, [], PolicySettings(), holdout_from_ms=int(contender.grid.times_ms[0]))
    assert own.pages == 1
    weeks = 240 * 3 * STEP_MS / (7 * 86_400_000)
    assert own.pages_per_server_week == pytest.approx(1 / weeks)
    assert flags[60:90, 1].any()
    assert not flags[:, 0].any()


def test_the_judge_decides_in_the_groups_that_detect_has(contender):
    """What three servers do together is one page of their group, and three pages where each has a group of its own."""
    holdout = replace(contender.grid, values=contender.grid.values.copy())
    holdout.values[60:90] += 60.0
    policy = PolicySettings(fleet_min_servers=3)

    def pages(groups) -> int:
        own = replace(contender, grid=holdout, groups=groups)
        return judge(own, [], policy, holdout_from_ms=int(holdout.times_ms[0]))[0].pages

    apart = {server: column for column, server in enumerate(holdout.servers)}
    assert pages(apart) - pages(contender.groups) == 3


def test_faults_are_put_in_at_the_same_places_for_everybody_and_are_found(contender):
    faults = place_faults(contender.grid, seed=3)
    assert faults == place_faults(contender.grid, seed=3)
    assert len({f.server for f in faults}) == len(faults) == 3
    own, _ = judge(contender, faults, PolicySettings(), holdout_from_ms=int(contender.grid.times_ms[0]))
    assert own.recall == 1.0


def test_faults_change_a_copy(contender):
    before = contender.grid.values.copy()
    faults = place_faults(contender.grid, seed=3)
    changed = with_faults(contender.grid, faults, offset=0)
    assert np.array_equal(contender.grid.values, before)
    moved = (changed.values != before).any(axis=2)
    assert {(f.start, f.stop, f.server) for f in faults} == {
        (int(np.flatnonzero(moved[:, s])[0]), int(np.flatnonzero(moved[:, s])[-1]), s) for s in range(3)
    }


def test_what_comes_before_the_held_out_part_is_not_counted(contender):
    from_ms = int(contender.grid.times_ms[120])
    own, flags = judge(contender, [], PolicySettings(), holdout_from_ms=from_ms)
    assert own.pages == 0
    assert flags.shape == (120, 3)
