"""Which servers a canary covers, and what its slices are held against."""

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeline.core.errors import SettingsError
from treeline.core.model.canary import (
    CanaryLimits,
    CanaryOutcome,
    HoldPlan,
    SliceEvidence,
    decide,
    is_canary,
    judge_slice,
    position,
    reach_of,
)

FINE = SliceEvidence(
    observations=1000, shifted_observations=1000, calls=100, candidate_p95_ms=20.0, champion_p95_ms=20.0
)
LIMITS = CanaryLimits()


@given(st.sets(st.text(min_size=1, max_size=12), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_canary_has_at_least_its_share_and_never_none(servers: set[str], share: float):
    reach = reach_of(servers, share)
    chosen = {s for s in servers if is_canary(s, reach)}
    assert len(chosen) >= max(1, share * len(servers))
    assert reach >= share


def test_a_tenth_of_many_servers_is_about_a_tenth():
    servers = [f"web-{i:04d}" for i in range(5000)]
    reach = reach_of(servers, 0.1)
    chosen = sum(is_canary(s, reach) for s in servers)
    assert 500 <= chosen <= 560


def test_a_server_stays_in_as_the_fleet_grows():
    servers = [f"web-{i}" for i in range(40)]
    reach = reach_of(servers, 0.1)
    before = {s for s in servers if is_canary(s, reach)}
    assert before <= {s for s in [*servers, *(f"new-{i}" for i in range(500))] if is_canary(s, reach)}
    assert position("web-1") == position("web-1")


def test_of_a_few_servers_one_is_enough():
    servers = ["web-1", "web-2", "web-3"]
    reach = reach_of(servers, 0.01)
    assert sum(is_canary(server, reach) for server in servers) == 1


def test_a_reach_ends_before_the_server_that_stands_there():
    assert not is_canary("web-1", position("web-1"))
    assert not is_canary("web-1", 0.0)
    assert is_canary("web-1", 1.0)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"calls": 1000, "errors": 21}, "errors"),
        ({"candidate_p95_ms": 1001.0}, "latency"),
        ({"candidate_p95_ms": 2001.0, "champion_p95_ms": 1000.0}, "latency"),
        ({"candidate_pages": 3}, "page_rate"),
        ({"candidate_pages": 30, "champion_pages": 9}, "page_rate"),
        ({"candidate_pages": 9, "champion_pages": 30}, "page_rate"),
        ({"disagreeing": 21}, "disagreement"),
        ({"score_shift": 0.51}, "score_shift"),
        ({"score_shift": -0.51}, "score_shift"),
    ],
)
def test_each_limit_is_breached_just_past_it(changes: dict, finding: str):
    assert list(judge_slice(replace(FINE, **changes), LIMITS).breaches) == [finding]


@pytest.mark.parametrize(
    "changes",
    [
        {"errors": 2},
        {"candidate_p95_ms": 1000.0},
        {"candidate_p95_ms": 2000.0, "champion_p95_ms": 1000.0},  # slow for both: not the model's fault
        {"candidate_pages": 2},
        {"champion_pages": 2},
        {"candidate_pages": 8, "champion_pages": 2},
        {"disagreeing": 20},
        {"score_shift": 0.5},
    ],
)
def test_at_its_limit_a_slice_passes(changes: dict):
    assert judge_slice(replace(FINE, **changes), LIMITS).passed


def test_a_slice_of_which_nothing_is_known_showed_nothing():
    assert not any(astuple(SliceEvidence()))
    verdict = judge_slice(SliceEvidence(), LIMITS)
    assert (verdict.passed, verdict.has_evidence) == (True, False)
    assert verdict.measures == {"errors": 0, "latency": 0, "page_rate": 1, "disagreement": 0, "score_shift": 0}


@pytest.mark.parametrize(
    ("seen", "shift", "passed"), [(120, 0.8, True), (120, 0.83, False), (3000, 0.49, True), (3000, 0.51, False)]
)
def test_of_few_observations_a_shift_has_to_be_beyond_noise(seen: int, shift: float, passed: bool):
    """Ten neighbours say as much as one: two standard errors of a difference of means of 12 are 2 sqrt(2 / 12)."""
    verdict = judge_slice(replace(FINE, score_shift=shift, shifted_observations=seen), LIMITS)
    assert verdict.passed is passed
    excused = {"score_shift": pytest.approx(2 * (2 / 12) ** 0.5)} if passed and shift > LIMITS.score_shift else {}
    assert verdict.excused == excused, "what passed as noise is said, and nothing else"


@pytest.mark.parametrize(("observations", "breaches"), [(99, []), (100, ["disagreement", "score_shift"])])
def test_fewer_than_a_hundred_observations_show_nothing(observations: int, breaches: list[str]):
    verdict = judge_slice(replace(FINE, observations=observations, disagreeing=50, score_shift=2.0), LIMITS)
    assert (verdict.has_evidence, list(verdict.breaches)) == (observations == 100, breaches)


@pytest.mark.parametrize(("calls", "passed"), [(0, True), (4, True), (5, False)])
def test_fewer_than_five_calls_say_nothing_of_errors(calls: int, passed: bool):
    assert judge_slice(replace(FINE, calls=calls, errors=calls), LIMITS).passed is passed


def test_a_candidate_that_answers_nothing_is_judged_by_its_errors():
    verdict = judge_slice(SliceEvidence(calls=50, errors=50), LIMITS)
    assert verdict.breaches == {"errors": 1.0}
    assert not verdict.has_evidence


PLAN = HoldPlan(hold_ms=24 * 3_600_000, slice_ms=3_600_000)


@given(st.integers(0, 23))
def test_nothing_is_cut_over_before_the_last_slice(slices: int):
    assert decide([True] * slices, slices, PLAN) is CanaryOutcome.HOLD


@given(st.integers(0, 23))
def test_the_first_failed_slice_rolls_back(before: int):
    assert decide([True] * before + [False], before + 1, PLAN) is CanaryOutcome.ROLL_BACK


def test_a_full_hold_is_cut_over_if_it_showed_anything():
    assert decide([True] * 24, 12, PLAN) is CanaryOutcome.CUT_OVER
    assert decide([True] * 24, 11, PLAN) is CanaryOutcome.ROLL_BACK


def test_a_day_is_held_in_24_slices_and_a_part_of_one_is_a_slice():
    assert HoldPlan().slices == PLAN.slices == 24
    assert HoldPlan(hold_ms=3_600_001, slice_ms=3_600_000).slices == 2
    assert HoldPlan(hold_ms=1, slice_ms=3_600_000).slices == 1


@pytest.mark.parametrize("wrong", [{"slice_ms": 0}, {"hold_ms": -1}, {"min_share_with_evidence": 1.01}])
def test_a_hold_that_cannot_be_is_refused(wrong: dict):
    with pytest.raises(SettingsError):
        HoldPlan(**wrong)


@pytest.mark.parametrize(("share", "with_evidence"), [(0.0, 0), (1.0, 24)])
def test_none_or_all_of_the_slices_may_have_to_show_something(share: float, with_evidence: int):
    plan = HoldPlan(min_share_with_evidence=share)
    assert decide([True] * 24, with_evidence, plan) is CanaryOutcome.CUT_OVER


def test_a_hold_of_nothing_is_cut_over_at_once():
    assert decide([], 0, HoldPlan(hold_ms=0)) is CanaryOutcome.CUT_OVER


@pytest.mark.parametrize("wrong", [{"error_share": 1.0}, {"page_ratio": 0.5}, {"min_observations": 0}])
def test_limits_that_cannot_be_are_refused(wrong: dict):
    with pytest.raises(SettingsError):
        CanaryLimits(**wrong)
