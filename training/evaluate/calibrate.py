"""Thresholds from a page budget: how often would this fleet's own past have paged?

A past is replayed through a model, and what was measured is decided again by thresholds that are rarer and rarer, a
quarter of a decade at a time, until its pages keep to the budget. The past is unlabelled and may hold real incidents.
So a budget never lowers a threshold below what training gave the fleet (`prepare.thresholds`), and raises none by more
than `MOST_DECADES`: it must not blind the detector to the kind of trouble that the fleet has had.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np

from training.evaluate.backtest import Trace, backtest
from training.evaluate.budget import Budget
from training.evaluate.decide_again import decide_again
from training.evaluate.experiment import openings
from training.evaluate.page_budget import SHIFTS, rarer
from training.evaluate.pages import Tier, page_count
from training.history.grid import Grid
from training.prepare.calibrating import FITTED, Score
from training.processes import Progress
from treeline.core.channels import novelty
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import PolicySettings
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER

DAY_MS = 86_400_000
MOST_DECADES = 2.0  # a threshold is raised by, at most: to pages a hundred times rarer
# Of a rarer kind of page than this many in the whole past, the past cannot tell how often it comes. A little below one:
# a week of 500 servers, in which some observations are missing, may tell of one page a week for 500 servers.
LEAST_PAGES = 0.9
SOLVED = "page_budget"  # in the manifest: the budget of a package, and what its thresholds were raised by

Counted = Callable[[float, float], Mapping[Tier, int]]


class Outcome(StrEnum):
    """What became of one tier of a budget."""

    KEPT = "kept by the trained thresholds"
    RAISED = "raised until it was kept"
    NOT_KEPT = f"not kept: raised as far as that helped, by at most {MOST_DECADES:g} decades"
    TOO_SHORT = "past too short for pages so rare: nothing raised"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierResult:
    """One tier's solution; the counts are pages in the whole past that was replayed."""

    tier: Tier
    allowed: float
    shipped: int  # under the thresholds that training gave
    expected: int  # under the solved ones
    decades: float  # by which the tier was made rarer
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A calibration for a budget, and how it came about."""

    calibration: Calibration
    tiers: tuple[TierResult, ...]
    server_days: float  # of the past that was replayed
    budget: Budget

    def monthly(self, pages: float) -> float:
        """So many pages in that past as pages a server and month."""
        return pages / self.server_days * 30 if self.server_days else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; part of the model package's manifest and of evaluation.json."""
        return {
            "budget": self.budget.text,
            "server_days": round(self.server_days, 3),
            "most_decades": MOST_DECADES,
            "calibration": self.calibration.to_json(),
            "tiers": [
                {
                    "tier": t.tier.value,
                    "outcome": t.outcome.value,
                    "decades": t.decades,
                    "allowed_pages": round(t.allowed, 3),
                    "shipped_pages": t.shipped,
                    "expected_pages": t.expected,
                    "budget_per_server_month": self.monthly(t.allowed),
                    "shipped_per_server_month": self.monthly(t.shipped),
                    "expected_per_server_month": self.monthly(t.expected),
                }
                for t in self.tiers
            ],
        }

    def __str__(self) -> str:
        tiers = (
            f"{t.tier.value} {t.outcome.value} (allowed {t.allowed:.2g}, as trained {t.shipped}, now {t.expected} "
            f"pages; {t.decades:g} decades rarer)"
            for t in self.tiers
        )
        return f"page budget {self.budget.text}, in {self.server_days:.0f} server-days: {'; '.join(tiers)}"


def calibrated(
    package: ModelPackage,
    score: Score,
    past: Grid,
    budget: Budget,
    policy: PolicySettings,
    *,
    groups: Mapping[str, int],
    progress: Progress = lambda *_: None,
) -> Solution:
    """Replay a past through a package under the thresholds it was trained with, and raise them to a budget.

    Args:
        package: The model; earlier budgets of its manifest do not count.
        score: Its forest; rows (n, 2 * metrics) -> scores (n,).
        past: What to replay; best what the forest did not learn.
        budget: Pages allowed.
        policy: When exceedances become incidents.
        groups: Group of each server of the past.
        progress: Told how far the replay is.
    """
    shipped = replace(package, calibration=as_fitted(package), seeds=at_the_start(package.seeds))
    done = backtest(shipped, past, score, policy, groups=groups, with_measures=True, progress=progress)

    @cache
    def counted(p2_decades: float, p1_decades: float) -> Mapping[Tier, int]:
        moved = rarer(shipped.calibration, p2_decades, p1_decades)
        opened = openings(decide_again(shipped, past, done, moved, groups))
        servers, step_ms = len(past.servers), round(past.step_s * 1000)
        return {tier: page_count(opened, tier, servers=servers, step_ms=step_ms) for tier in Tier}

    server_days = _server_days(done.trace, past.step_s)
    p1, every = solve(counted, budget, server_days)
    calibration = shipped.calibration
    if p1.decades or every.decades:
        calibration = rarer(calibration, every.decades, p1.decades)
    return Solution(calibration=calibration, tiers=(p1, every), server_days=server_days, budget=budget)


def solve(counted: Counted, budget: Budget, server_days: float) -> tuple[TierResult, TierResult]:
    """By how many decades the two tiers of a budget are raised: P1, and P1 and P2 together.

    Args:
        counted: The pages of the past where P2 and P1 are rarer by so many decades.
        budget: Pages allowed.
        server_days: How long the past's servers were observed, together.
    """
    p1 = _tier(Tier.P1, budget.p1 * server_days, lambda shift: counted(0.0, shift)[Tier.P1])
    every = _tier(Tier.ALL, (budget.p1 + budget.p2) * server_days, lambda shift: counted(shift, p1.decades)[Tier.ALL])
    return replace(p1, expected=counted(every.decades, p1.decades)[Tier.P1]), every


def _tier(tier: Tier, allowed: float, pages: Callable[[float], int]) -> TierResult:
    """The least shift that keeps to what is allowed; else the least of those that leave the fewest pages.

    What even two decades do not silence are incidents: it would be blindness to raise more for them than helps.
    """
    shipped = pages(0.0)
    if 0.0 < allowed < LEAST_PAGES:
        decades, outcome = 0.0, Outcome.TOO_SHORT
    elif shipped <= allowed:
        decades, outcome = 0.0, Outcome.KEPT
    else:
        within = [shift for shift in SHIFTS if shift <= MOST_DECADES]
        kept = next((shift for shift in within if pages(shift) <= allowed), None)
        outcome = Outcome.NOT_KEPT if kept is None else Outcome.RAISED
        decades = min(within, key=pages) if kept is None else kept
    return TierResult(
        tier=tier, allowed=allowed, shipped=shipped, expected=pages(decades), decades=decades, outcome=outcome
    )


def raised(calibration: Calibration, *, p2: float, p1: float) -> Calibration:
    """The calibration under which what was severity `p2` is 1.5 and what was `p1` is 3.0, in every channel."""
    return calibration.moved(lambda k: replace(k, p2=k.measure(p2), p1=k.measure(p1)))


def as_fitted(package: ModelPackage) -> Calibration:
    """The thresholds that training gave the fleet, whatever an earlier budget made of them."""
    fitted = package.manifest.get(FITTED)
    return Calibration.from_json(fitted) if isinstance(fitted, dict) else package.calibration


def within(package: ModelPackage, solution: Solution) -> ModelPackage:
    """The package with the solved thresholds, and in its manifest how they came about."""
    manifest = {**package.manifest, SOLVED: solution.to_json()}
    return replace(package, calibration=solution.calibration, manifest=manifest)


def at_the_start(seeds: FleetState) -> FleetState:
    """The seeds as if nothing had been seen yet: what they learned stays, what they remember of moments goes."""
    start = seeds.copy()
    for name in ("last_at", "seen_at", "habit_slot", "slot", "peak_hour"):
        getattr(start, name)[:] = NEVER
    for name in ("habit", "habit_recent", "relation_recent", "slot_count"):
        getattr(start, name)[:] = 0.0
    start.peak[:], start.peak_hours[:] = novelty.LEAST, novelty.LEAST
    return start


def _server_days(trace: Trace, step_s: float) -> float:
    return float(np.count_nonzero(~np.isnan(trace.severity))) * step_s * 1000 / DAY_MS
