"""The page budget of production, and what is found within it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from training.evaluate.decide_again import DetectedFleet, Evaluations, pooled_tiers
from training.evaluate.judge import TierQuality
from training.evaluate.pages import Tier
from treeline.core.detection.calibration import Calibration
from treeline.core.severity import Thresholds

# One false P1 a week and two false P2 a day for 500 servers, as config/prod.yaml has it, in pages a server-week.
P1_BUDGET, P2_BUDGET = 1.0 / 500.0, 2.0 * 7.0 / 500.0
SHIFTS = tuple(step / 4 for step in range(25))  # decades by which the budget's thresholds are rarer


def within_budget(fleets: Mapping[str, DetectedFleet]) -> Evaluations:
    """What is left of a set at the budget: all of its fleets by the same two shifts, the smallest that keep to it."""

    @cache
    def judged(p2_decades: float, p1_decades: float) -> Evaluations:
        return pooled_tiers(
            {
                name: fleet.judged(rarer(fleet.package.calibration, p2_decades, p1_decades))
                for name, fleet in fleets.items()
            }
        )

    return at_budget(judged)


def rarer(calibration: Calibration, p2_decades: float, p1_decades: float) -> Calibration:
    """Both tiers rarer by so many decades; where no line is known, half of P2's threshold stands for one.

    So two decades make such a threshold twice as high, and one saturated metric (`channels.saturation`) still opens.
    """

    def moved(k: Thresholds) -> Thresholds:
        decade = k.decade or k.p2 / 2
        p2 = k.p2 + p2_decades * decade
        return replace(k, p2=p2, p1=max(k.p1 + p1_decades * decade, p2 * 1.001))

    return calibration.moved(moved)


def at_budget(judged: Callable[[float, float], Evaluations]) -> Evaluations:
    """The result at the smallest shifts of the two tiers that keep false pages within the budget; else at the largest.

    Args:
        judged: The result where P2 and P1 are rarer by so many decades.
    """

    def smallest(holds: Callable[[float], bool]) -> float:
        # One after the other, not by halves: what rises to P1 later may come at the recovery, so a rarer tier can have
        # a false page that a less rare one has not.
        return next((shift for shift in SHIFTS if holds(shift)), SHIFTS[-1])

    def false_a_week(quality: TierQuality) -> float:
        return quality.false_pages / max(quality.server_days / 7.0, 1e-9)

    p1 = smallest(lambda shift: false_a_week(judged(0.0, shift)[Tier.P1]) <= P1_BUDGET)
    p2 = smallest(lambda shift: false_a_week(judged(shift, p1)[Tier.ALL]) <= P1_BUDGET + P2_BUDGET)
    return judged(p2, p1)
