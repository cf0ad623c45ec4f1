"""What each part of detection adds: what one backtest measured, decided again without a part.

What the averages learn depends a little on what was decided, as an open incident is not learned; here all variants see
what was measured under the shipped decisions.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from training.evaluate.backtest import Backtest, Trace
from training.evaluate.experiment import Setup, groups_of, openings
from training.evaluate.judge import TierQuality, evaluate_tiers
from training.evaluate.pages import Tier
from training.history.files import History
from training.history.grid import Grid
from treeline.core.channels import registry
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import FLEET, FLEET_ROW, Change, Group
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.severity import Thresholds

OFF = Thresholds(p2=1e6, p1=2e6)  # of a channel that is not to say anything
RELATION = "relation"
# What production ships with: one false P1 a week and two false P2 a day for 500 servers, in pages a server-week.
P1_BUDGET, P2_BUDGET = 1.0 / 500.0, 2.0 * 7.0 / 500.0
SHIFTS = np.arange(0.0, 6.01, 0.25)  # decades by which the budget's thresholds are rarer

Evaluations = Mapping[Tier, TierQuality]


def only(calibration: Calibration, *names: str) -> Calibration:
    """All channels off but these."""
    return replace(calibration, thresholds={n: k if n in names else OFF for n, k in calibration.thresholds.items()})


def without_novelty(calibration: Calibration) -> Calibration:
    """No channel asks for anything new."""
    return calibration.moved(lambda k: replace(k, decade=None))


def rarer(calibration: Calibration, p2_decades: float, p1_decades: float) -> Calibration:
    """Both tiers rarer by so many decades; where no line is known, the distance of the tiers stands for one."""

    def moved(k: Thresholds) -> Thresholds:
        decade = k.decade or k.p1 - k.p2
        p2 = k.p2 + p2_decades * decade
        return replace(k, p2=p2, p1=max(k.p1 + p1_decades * decade, p2 * 1.001))

    return calibration.moved(moved)


VARIANTS: Mapping[str, Callable[[Calibration], Calibration]] = {
    "forest alone": lambda c: only(c, registry.SCORE.name),
    "forest off": lambda c: only(c, *(set(c.thresholds) - {registry.SCORE.name})),
    "relation alone": lambda c: only(c, RELATION),
    "without novelty": without_novelty,
}


def decide_again(
    package: ModelPackage, grid: Grid, done: Backtest, calibration: Calibration, setup: Setup
) -> list[tuple[str, Change]]:
    """The incident changes that other thresholds make of what a backtest measured.

    Args:
        package: The model.
        grid: What was detected in.
        done: The backtest, run with `with_measures`.
        calibration: The thresholds.
        setup: Its policy and groups.

    Raises:
        UsageError: The backtest kept no measures.
    """
    number = groups_of(grid, setup.group_size)
    columns = np.array(sorted(range(len(grid.servers)), key=lambda c: (number[grid.servers[c]], c)))
    sizes = np.bincount([number[server] for server in grid.servers])
    stops = np.cumsum(sizes[sizes > 0])
    state = package.new_state()
    package.admit(state, [grid.servers[c] for c in columns])
    groups = [Group.of(state, start, stop) for start, stop in zip([0, *stops], stops, strict=False)]
    changes = []
    for measured, scores in _rounds(done.trace, grid, columns, package.step_ms):
        decided = detector.conclude(
            state, measured, scores, calibration, setup.policy, step_ms=package.step_ms, groups=groups
        )
        changes += [(FLEET if c.row == FLEET_ROW else state.servers[c.row], c) for c in decided.changes]
    return changes


def _rounds(
    trace: Trace, grid: Grid, columns: np.ndarray, step_ms: int
) -> Iterator[tuple[detector.MeasuredRound, np.ndarray]]:
    if trace.measures is None or trace.evident is None:
        raise UsageError("the backtest kept no measures to decide by once more")
    scores = trace.score[:, columns]
    known = ~np.isnan(scores)
    last = np.full(len(columns), -1, dtype=np.int64)
    for t, at_ms in enumerate(grid.times_ms.tolist()):
        rows = np.flatnonzero(known[t])
        if not len(rows):
            continue
        elapsed = np.where(last[rows] < 0, step_ms, at_ms - last[rows]) / 1000.0
        last[rows] = at_ms
        own = columns[rows]
        yield (
            detector.MeasuredRound(
                bucket=at_ms // step_ms,
                seen=rows,
                rows=rows,
                observed_at=np.full(len(rows), at_ms, dtype=np.int64),
                measures=trace.measures[t, own],
                evident=trace.evident[t, own],
                elapsed_s=elapsed,
            ),
            scores[t, rows],
        )


def ablations(
    package: ModelPackage, history: History, grid: Grid, done: Backtest, setup: Setup
) -> dict[str, Evaluations]:
    """Each variant's result, and what is left at the production budget of pages."""

    def judged(calibration: Calibration) -> Evaluations:
        changes = decide_again(package, grid, done, calibration, setup)
        return evaluate_tiers(
            history.incidents,
            openings(changes),
            observed=grid.observed(),
            step_ms=round(grid.step_s * 1000),
            protocol=history.protocol,
        )

    shipped = package.calibration
    results = {name: judged(change(shipped)) for name, change in VARIANTS.items()}
    return results | {"at the page budget": at_budget(lambda p2, p1: judged(rarer(shipped, p2, p1)))}


def at_budget(judged: Callable[[float, float], Evaluations]) -> Evaluations:
    """The result at the smallest shifts of the two tiers that keep false pages within the budget.

    Args:
        judged: The result where P2 and P1 are rarer by so many decades.
    """

    def smallest(holds: Callable[[float], bool]) -> float:
        low, high = 0, len(SHIFTS) - 1  # what is rarer pages less often: the grid is searched by halves
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(float(SHIFTS[middle])) else (middle + 1, high)
        return float(SHIFTS[low])

    def false_a_week(quality: TierQuality) -> float:
        return quality.false_pages / max(quality.server_days / 7.0, 1e-9)

    p1 = smallest(lambda shift: false_a_week(judged(0.0, shift)[Tier.P1]) <= P1_BUDGET)
    p2 = smallest(lambda shift: false_a_week(judged(shift, p1)[Tier.ALL]) <= P1_BUDGET + P2_BUDGET)
    return judged(p2, p1)
