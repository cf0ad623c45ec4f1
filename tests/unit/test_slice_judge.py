"""A slice is judged by what both models did since the canary began, and only when both are past its end."""

from dataclasses import replace

import pytest

from tests.unit.promotion_fakes import HOUR, SERVERS, World, package
from treeline.app.detect.handover import Pointer
from treeline.app.promote.canary import Canary, Side
from treeline.app.promote.judge import SliceJudge, in_words
from treeline.app.promote.ports import CallTotals
from treeline.app.promote.progress import Candidate, Progress
from treeline.core.model.canary import CanaryLimits, HoldPlan, reach_of

START = 30 * HOUR
PLAN = HoldPlan(hold_ms=24 * HOUR, slice_ms=HOUR)
CHAMPION = Pointer(model_version="m1", package_key="m1", target_variant="m1")
CANARY = Canary(model_version="m2", package_key="m2", target_variant="m2", reach=1.0)


class Fleet(World):
    """The world of a promotion, with what the judge asks of each side under the test's control."""

    candidate_ms, champion_ms = 20.0, 20.0

    def candidate_pages(self, version: str, start: int, end: int) -> int:
        return (end - start) // HOUR

    def totals(self, version: str, role: str) -> CallTotals:
        slow = self.candidate_ms if role is Side.CANDIDATE else self.champion_ms
        return CallTotals(calls=100, errors=0, durations={slow: 100})


@pytest.fixture
def fleet():
    packages = {"m1": package("m1"), "m2": package("m2", mean=2.0)}
    return Fleet(pointer=CHAMPION, canary=CANARY, packages=packages, at=START + 10 * HOUR)


def judge(fleet: World) -> SliceJudge:
    return SliceJudge(evidence=fleet, limits=CanaryLimits(), clock_ms=lambda: fleet.now_ms)


def begun(fleet: World, servers: set[str]) -> Progress:
    progress = Progress(execution="e1", candidate=Candidate(model_version="m2", package_key="m2"))
    begun = judge(fleet).begin(progress, fleet.packages["m1"], servers, START)
    return replace(begun, snapshot={})


def slices(fleet: World, count: int) -> Progress:
    progress = begun(fleet, set(SERVERS))
    for number in range(count):
        start = START + number * HOUR
        progress = judge(fleet).judge(progress, CHAMPION, CANARY, fleet.packages["m2"], start, start + HOUR)
    return progress


def test_only_the_canarys_servers_have_a_reference(fleet):
    assert set(begun(fleet, {"s00", "s01"}).reference) == {"s00", "s01"}


def test_pages_are_counted_from_the_canarys_start(fleet):
    """One incident more in each of two hours is a ratio of three, which one hour alone would not show."""
    measures = [verdict["measures"]["page_rate"] for verdict in slices(fleet, 2).verdicts]
    assert measures == [2.0, 3.0]


def test_scores_are_summed_over_the_slices(fleet):
    assert slices(fleet, 2).snapshot["sums"][SERVERS[0]][0] == 120


def test_what_moved_the_champion_too_is_no_shift_of_the_candidate(fleet):
    fleet.packages["m1"].seeds.score_mean[:] = 1.0
    progress = begun(fleet, set(SERVERS))
    fleet.packages["m1"].seeds.score_mean[:] = 1.4
    fleet.bias = 0.4
    progress = judge(fleet).judge(progress, CHAMPION, CANARY, fleet.packages["m2"], START, START + HOUR)
    assert abs(progress.verdicts[0]["measures"]["score_shift"]) < 1.0, "two deviations, less what the champion moved"


def test_a_slow_candidate_is_compared_with_the_champion(fleet):
    fleet.candidate_ms = 1500.0
    assert slices(fleet, 1).verdicts[0]["breaches"] == {"latency": 1500.0}
    fleet.champion_ms = 900.0
    assert slices(fleet, 1).verdicts[0]["passed"]


def test_a_shift_that_passes_as_noise_is_said_in_words(fleet):
    """.7 of a standard deviation after an hour of two servers, of .5 allowed; after two hours it is too much."""
    fleet.bias, fleet.canary = 0.14, replace(CANARY, reach=reach_of(SERVERS, 0.1))
    progress = begun(fleet, {s for s in SERVERS if fleet.canary.covers(s)})
    for start in (START, START + HOUR):
        progress = judge(fleet).judge(progress, CHAMPION, fleet.canary, fleet.packages["m2"], start, start + HOUR)
    first, second = progress.verdicts
    assert (first["passed"], first["excused"]) == (True, {"score_shift": 0.8165})
    assert in_words(first) == (
        "slice 1 passed; score_shift 0.7 is beyond its limit, but within the noise of so few observations (0.82)"
    )
    assert in_words(second) == "slice 2 failed"
    del first["excused"]
    assert in_words(first) == "slice 1 passed", "as an earlier version stored it"


def test_a_verdict_names_the_end_of_its_slice(fleet):
    assert slices(fleet, 1).verdicts[0]["until"] == "1970-01-02T07:00:00.000Z"


def test_a_candidate_just_behind_the_end_is_waited_for_a_slice_long(fleet):
    fleet.candidate_at, fleet.at = START, START + HOUR + HOUR // 2
    progress = begun(fleet, set(SERVERS))
    assert judge(fleet).is_complete(START + HOUR, CHAMPION, progress, PLAN) == (False, progress)
