"""Thresholds from a page budget: how often may this fleet's own quiet past have paged?

The history is unlabelled and may hold real incidents, so a budget never lowers a threshold below what training gave
the fleet (`prepare.thresholds`; called shipped here): each channel's k becomes max(k from the budget, shipped k). One
factor serves all servers and channels of a tier: it is solved on the severity scale, on which the channels are already
comparable, and mapped back to each channel's own measure. Per-server thresholds were measured and lost (decision 20).
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluate.pages import Opening, Tier, page_count
from treeline.core.alert import Priority
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.statistics import FloatArray

DAY_MS = 86_400_000
DAYS = {"day": 1.0, "week": 7.0, "month": 30.0}
_PART = re.compile(r"^(\d+(?:\.\d+)?)\s*(P1|P2)$", re.IGNORECASE)
_WHOLE = re.compile(r"^(?P<parts>.+?)\s+per\s+(?P<scope>server|fleet)-(?P<period>day|week|month)$", re.IGNORECASE)

Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most so many pages a server and day: `p1` at P1, and at P1 and P2 together `p1` + `p2`."""

    p1: float
    p2: float
    text: str

    @classmethod
    def parse(cls, text: str, *, servers: int) -> "Budget":
        """Read "1 P1 and 2 P2 per server-month"; also fleet-, and -day, -week.

        Raises:
            UsageError: It reads differently, or names a tier twice or not at all.
        """
        whole = _WHOLE.match(text.strip())
        pages: dict[str, float] = {}
        for part in re.split(r"\s*(?:,|\band\b)\s*", whole["parts"]) if whole else []:
            one = _PART.match(part.strip())
            if one is None or one[2].upper() in pages:
                whole = None
                break
            pages[one[2].upper()] = float(one[1])
        if whole is None or set(pages) != {"P1", "P2"}:
            raise UsageError(f"a budget is {text!r}, expected the form '1 P1 and 2 P2 per server-month'")
        days = DAYS[whole["period"].lower()] * (servers if whole["scope"].lower() == "fleet" else 1)
        return cls(p1=pages["P1"] / days, p2=pages["P2"] / days, text=text.strip())


def opening_times(times_ms: Times, above: Mask, known: Mask, settings: PolicySettings) -> Times:
    """When one server's exceedances open incidents: `policy.decide`, for one tier at a time.

    Args:
        times_ms: Shape (n,).
        above: Where the tier is exceeded.
        known: Where the server reported; the rest does not count among "the last N".
        settings: Persistence and quiet time.
    """
    times, hits = times_ms[known], above[known].astype(np.int64)
    at = np.flatnonzero(hits)
    total = np.concatenate([[0], np.cumsum(hits)])
    enough = total[at + 1] - total[np.maximum(at + 1 - settings.of_last, 0)] >= settings.needed
    # An incident ends at an observation without an exceedance: the one before the next exceedance is the last to.
    quiet_s = (times[at[1:] - 1] - times[at[:-1]]) / 1000
    quiet = (quiet_s >= settings.quiet_s) & (np.diff(at) > settings.of_last)
    cluster = np.concatenate([[0], np.cumsum(quiet)])[: len(at)]
    _, first = np.unique(cluster[enough], return_index=True)
    opened: Times = times[at[enough][first]]
    return opened


def pages_at(times_ms: Times, severity: FloatArray, threshold: float, settings: PolicySettings) -> int:
    """The pages of a fleet when `threshold` stands for the tier, as the judge counts them: an event is one page.

    Args:
        times_ms: Shape (times,), at least two.
        severity: Shape (times, servers), NaN where absent.
        threshold: From which severity on the tier is exceeded.
        settings: Persistence and quiet time.
    """
    known = np.logical_not(np.isnan(severity))
    above = np.nan_to_num(severity) >= threshold
    openings = [
        Opening(server_id=str(column), at_ms=at_ms, priority=Priority.P1.value)
        for column in np.flatnonzero(above.any(axis=0)).tolist()
        for at_ms in opening_times(times_ms, above[:, column], known[:, column], settings).tolist()
    ]
    return page_count(openings, Tier.ALL, servers=severity.shape[1], step_ms=round(_step_ms(times_ms)))


def _step_ms(times_ms: Times) -> float:
    return float(np.median(np.diff(times_ms))) if len(times_ms) > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TierResult:
    """One tier's solution: the budget and what it comes to, in pages per server and day."""

    tier: Tier
    budget: float
    shipped: float  # what the shipped thresholds would have brought
    expected: float  # what the solved ones would have
    severity: float  # on the shipped scale, where the tier now begins
    is_budget_binding: bool  # else the shipped thresholds were the higher ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A calibration that keeps a budget on a fleet's own past, and how it came about."""

    calibration: Calibration
    tiers: tuple[TierResult, ...]
    server_days: float
    budget: Budget

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; part of the model package's manifest."""
        return {
            "budget": self.budget.text,
            "server_days": round(self.server_days, 3),
            "calibration": self.calibration.to_json(),
            "tiers": [
                {
                    "tier": t.tier.value,
                    "budget_per_server_month": t.budget * 30,
                    "shipped_per_server_month": t.shipped * 30,
                    "expected_per_server_month": t.expected * 30,
                    "severity": t.severity,
                    "binding": "budget" if t.is_budget_binding else "shipped",
                }
                for t in self.tiers
            ],
        }


def solve(
    times_ms: Times, severity: FloatArray, shipped: Calibration, budget: Budget, settings: PolicySettings
) -> Solution:
    """Raise a calibration until the history that gave `severity` under it keeps the budget.

    Args:
        times_ms: Shape (times,).
        severity: Shape (times, servers) under `shipped`, NaN where a server was absent.
        shipped: The calibration not to go below.
        budget: Pages allowed.
        settings: Persistence and quiet time.

    Raises:
        UsageError: The history holds less than a server-day.
    """
    known = np.logical_not(np.isnan(severity))
    server_days = float(known.sum()) * _step_ms(times_ms) / DAY_MS
    if server_days < 1.0:
        raise UsageError(f"the history holds {server_days:.2f} server-days; a budget needs at least one")
    allowed_p1, allowed = budget.p1, budget.p1 + budget.p2
    p2 = _threshold(times_ms, severity, P2_SEVERITY, allowed * server_days, settings)
    p1 = _threshold(times_ms, severity, max(P1_SEVERITY, p2 * (1 + 1e-3)), allowed_p1 * server_days, settings)
    tiers = [
        TierResult(
            tier=tier,
            budget=a_day,
            shipped=pages_at(times_ms, severity, start, settings) / server_days,
            expected=pages_at(times_ms, severity, now, settings) / server_days,
            severity=now,
            is_budget_binding=now > start * (1 + 2e-3),
        )
        for tier, a_day, start, now in ((Tier.P1, allowed_p1, P1_SEVERITY, p1), (Tier.ALL, allowed, P2_SEVERITY, p2))
    ]
    return Solution(
        calibration=raised(shipped, p2=p2, p1=p1), tiers=tuple(tiers), server_days=server_days, budget=budget
    )


def raised(calibration: Calibration, *, p2: float, p1: float) -> Calibration:
    """The calibration under which what was severity `p2` is 1.5 and what was `p1` is 3.0, in every channel."""

    return calibration.moved(lambda k: replace(k, p2=k.measure(p2), p1=k.measure(p1)))


def _threshold(times_ms: Times, severity: FloatArray, lowest: float, allowed: float, settings: PolicySettings) -> float:
    """The smallest severity from `lowest` on that keeps to the allowed number of pages.

    Or another one that does: an event that loses its weakest servers may fall apart into more pages.
    """
    if pages_at(times_ms, severity, lowest, settings) <= allowed:
        return lowest
    values = np.unique(severity[severity > lowest]).astype(np.float64)
    values = np.append(values, values[-1] * 1.01)
    # Halfway between neighbouring values, so that rounding falls on neither side.
    candidates = (values[1:] + values[:-1]) / 2
    first, last = 0, len(candidates) - 1
    while first < last:
        middle = (first + last) // 2
        if pages_at(times_ms, severity, float(candidates[middle]), settings) <= allowed:
            last = middle
        else:
            first = middle + 1
    return float(candidates[first])
