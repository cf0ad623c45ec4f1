"""Is a candidate fit to replace the champion? Both detect in the same held-out history, with the same faults put in.

There are no labels to count on, so three things are asked that need none: how often does it page, does it still see
faults that we put into the data ourselves, and how far do its decisions differ (reported, not judged: after a true
change of the fleet a good candidate must differ).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluate.backtest import Backtest, backtest
from training.history.grid import Grid
from training.prepare.calibrating import Score
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import FLEET, PolicySettings
from treeline.core.model.package import ModelPackage
from treeline.core.severity import P2_SEVERITY
from treeline.core.statistics import within_reach

WEEK_MS = 7 * 86_400_000
MAX_FAULTS = 40
FAULT_STEPS = 12
FAULT_SD = 8.0  # of the metric's own held-out spread: plain to a person who looks at the curve
LATE_STEPS = 6  # an incident that opens this long after a fault's end still counts for it


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateLimits:
    """What a candidate must keep to."""

    max_page_rate_ratio: float
    max_pages_per_server_week: float
    max_recall_loss: float
    min_recall: float


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A disturbance put into the held-out history, both times inclusive."""

    server: int  # column of the grid
    start: int  # position on the time axis
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one model did in the held-out history.

    Attributes:
        model_version: Its name.
        pages: Incidents opened without any fault put in.
        pages_per_server_week: The same as a rate.
        recall: Share of the faults found; 1 when none were put in.
        score_mean: Mean of the raw scores.
        score_sd: Their standard deviation.
    """

    model_version: str
    pages: int
    pages_per_server_week: float
    recall: float
    score_mean: float
    score_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateEvaluation:
    """The verdict; `reasons` are what failed, or the figures when nothing did."""

    passed: bool
    reasons: list[str]
    candidate: Judged
    champion: Judged | None
    disagreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


Judgement = tuple[Judged, npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A model to judge, and the history it is judged on: lead-in, then the held-out part."""

    package: ModelPackage
    score: Score
    grid: Grid
    groups: Mapping[str, int]  # in which its servers are decided


def place_faults(holdout: Grid, *, seed: int) -> list[Disturbance]:
    """At most one fault a server, at seeded times in the middle of its held-out history."""
    rng = np.random.default_rng([seed, 2])
    times, servers = holdout.values.shape[:2]
    chosen = np.sort(rng.permutation(servers)[:MAX_FAULTS])
    first, last = times // 10, times - FAULT_STEPS - LATE_STEPS - 1
    if last <= first:
        return []
    starts = rng.integers(first, last, len(chosen))
    present = holdout.present()
    faults = [Disturbance(int(s), int(t), int(t) + FAULT_STEPS - 1) for s, t in zip(chosen, starts, strict=True)]
    return [f for f in faults if present[f.start : f.stop + 1, f.server].all()]


def with_faults(grid: Grid, faults: list[Disturbance], *, offset: int) -> Grid:
    """A copy of `grid` in which the faults' servers leave their level, `offset` being where the held-out part starts.

    Every metric moves away from its nearer bound by FAULT_SD of its own spread, or is doubled where it has none.
    """
    values = grid.values.copy()
    for fault in faults:
        own = within_reach(grid.values[offset:, fault.server])
        spread = np.nanstd(own, axis=0)
        step = FAULT_SD * np.where(spread > 0, spread, np.abs(np.nanmean(own, axis=0)) / FAULT_SD + 1e-3)
        values[offset + fault.start : offset + fault.stop + 1, fault.server] += step
    return replace(grid, values=values)


def judge(
    contender: Contender, faults: list[Disturbance], policy: PolicySettings, *, holdout_from_ms: int
) -> Judgement:
    """Run a model over the held-out history, once as it is and once with the faults in it.

    Returns:
        The figures, and which observations it held for anomalous, shape (held-out times, servers).
    """
    grid = contender.grid
    offset = int(np.searchsorted(grid.times_ms, holdout_from_ms))

    def detect(data: Grid) -> Backtest:
        return backtest(contender.package, data, contender.score, policy, groups=contender.groups)

    plain = detect(grid)
    openings = _openings(plain, holdout_from_ms)
    pages = sum(len(times) for server, times in openings.items() if server != FLEET)
    present = grid.present()[offset:]
    server_weeks = float(present.sum()) * grid.step_s * 1000 / WEEK_MS
    scores = plain.trace.score[offset:]
    known = scores[~np.isnan(scores)]
    judged = Judged(
        model_version=contender.package.model_version,
        pages=pages,
        pages_per_server_week=pages / server_weeks if server_weeks else 0.0,
        recall=_recall(
            _openings(detect(with_faults(grid, faults, offset=offset)), holdout_from_ms), grid, faults, offset
        ),
        score_mean=float(known.mean()) if len(known) else float("nan"),
        score_sd=float(known.std()) if len(known) else float("nan"),
    )
    return judged, np.nan_to_num(plain.trace.severity[offset:]) >= P2_SEVERITY


def _openings(result: Backtest, from_ms: int) -> dict[str, list[int]]:
    """Event times of the incidents opened from `from_ms` on, by server."""
    found: dict[str, list[int]] = {}
    for server, change in result.changes:
        if change.event is AlertEvent.OPENED and change.at >= from_ms:
            found.setdefault(server, []).append(change.at)
    return found


def _recall(openings: Mapping[str, list[int]], grid: Grid, faults: list[Disturbance], offset: int) -> float:
    if not faults:
        return 1.0
    found = 0
    for fault in faults:
        start = int(grid.times_ms[offset + fault.start])
        stop = int(grid.times_ms[offset + fault.stop]) + round(LATE_STEPS * grid.step_s * 1000)
        found += any(start <= at <= stop for at in openings.get(grid.servers[fault.server], ()))
    return found / len(faults)


def compare(
    candidate: Judgement, champion: Judgement | None, limits: CandidateLimits, *, notes: list[str] | None = None
) -> CandidateEvaluation:
    """The verdict on a candidate.

    Args:
        candidate: As `judge` gave it.
        champion: The same of the model in use; None for the first model, which has only the fixed limits to keep to.
        limits: What is allowed.
        notes: Said beside the reasons.
    """
    own, flagged = candidate
    failures = []
    allowed = limits.max_pages_per_server_week
    needed = limits.min_recall
    if champion is not None:
        allowed = max(allowed, limits.max_page_rate_ratio * champion[0].pages_per_server_week)
        needed = max(needed, champion[0].recall - limits.max_recall_loss)
    if not np.isfinite(own.score_mean):
        failures.append("it scored nothing of the held-out history")
    if own.pages_per_server_week > allowed:
        failures.append(f"it pages {own.pages_per_server_week:.2f} times a server and week, allowed are {allowed:.2f}")
    if own.recall < needed - 1e-9:
        failures.append(f"it finds {own.recall:.0%} of the faults put in, needed are {needed:.0%}")
    figures = [
        f"{own.pages_per_server_week:.2f} pages a server and week (allowed {allowed:.2f})",
        f"{own.recall:.0%} of the faults put in found (needed {needed:.0%})",
    ]
    disagreement = None
    if champion is not None:
        was, was_flagged = champion
        disagreement = float((flagged != was_flagged).mean())
        figures.append(
            f"champion {was.model_version}: {was.pages_per_server_week:.2f} pages, {was.recall:.0%} found, "
            f"{disagreement:.2%} of decisions differ"
        )
    return CandidateEvaluation(
        passed=not failures,
        reasons=[*(failures or figures), *(notes or [])],
        candidate=own,
        champion=None if champion is None else champion[0],
        disagreement=disagreement,
    )
