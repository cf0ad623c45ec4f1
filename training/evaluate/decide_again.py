"""A backtest decided once more by other thresholds, from what it measured: no features, no forest, seconds for minutes.

What the averages learn depends a little on what was decided, as an open incident is not learned; here everything sees
what was measured under the first decisions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from training.evaluate.backtest import Backtest, Trace
from training.evaluate.experiment import ExperimentOutcome, Setup, groups_of, openings
from training.evaluate.judge import TierQuality, evaluate_tiers, pooled
from training.evaluate.pages import Tier
from training.history.files import History
from training.history.grid import Grid
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import FLEET, FLEET_ROW, Change, Group
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage

Evaluations = Mapping[Tier, TierQuality]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedFleet:
    """One fleet of a set, and what a backtest with measures found in it."""

    package: ModelPackage
    history: History
    grid: Grid
    done: Backtest
    setup: Setup

    @classmethod
    def of(cls, package: ModelPackage, history: History, outcome: ExperimentOutcome, setup: Setup) -> "DetectedFleet":
        """Of an experiment; its bands are let go, as nothing here needs the largest arrays of a backtest."""
        done = replace(outcome.backtest, trace=replace(outcome.backtest.trace, bands=None))
        return cls(package=package, history=history, grid=outcome.grid, done=done, setup=setup)

    def judged(self, calibration: Calibration) -> Evaluations:
        """The result under other thresholds."""
        groups = groups_of(self.grid, self.setup.group_size)
        return evaluate_tiers(
            self.history.incidents,
            openings(decide_again(self.package, self.grid, self.done, calibration, groups)),
            observed=self.grid.observed(),
            step_ms=round(self.grid.step_s * 1000),
            protocol=self.history.protocol,
        )


def pooled_tiers(fleets: Mapping[str, Evaluations]) -> Evaluations:
    """Several fleets judged as one, tier by tier; `fleets` is by name."""
    return {tier: pooled({name: e[tier] for name, e in fleets.items()}) for tier in Tier}


def decide_again(
    package: ModelPackage, grid: Grid, done: Backtest, calibration: Calibration, groups: Mapping[str, int]
) -> list[tuple[str, Change]]:
    """The incident changes that other thresholds make of what a backtest measured.

    Args:
        package: The model.
        grid: What was detected in.
        done: The backtest, run with `with_measures`; its policy decides again.
        calibration: The thresholds.
        groups: Group of each server, as the backtest was given them.

    Raises:
        UsageError: The backtest kept no measures.
    """
    columns = np.array(sorted(range(len(grid.servers)), key=lambda c: (groups[grid.servers[c]], c)))
    sizes = np.bincount([groups[server] for server in grid.servers])
    stops = np.cumsum(sizes[sizes > 0])
    state = package.new_state()
    package.admit(state, [grid.servers[c] for c in columns])
    cycles = [Group.of(state, start, stop) for start, stop in zip([0, *stops], stops, strict=False)]
    changes = []
    for measured, scores in _rounds(done.trace, grid, columns, package.step_ms):
        decided = detector.conclude(
            state, measured, scores, calibration, done.policy, step_ms=package.step_ms, groups=cycles
        )
        changes += [(FLEET if c.row == FLEET_ROW else state.servers[c.row], c) for c in decided.changes]
    return changes


def _rounds(
    trace: Trace, grid: Grid, columns: np.ndarray, step_ms: int
) -> Iterator[tuple[detector.MeasuredRound, np.ndarray]]:
    if trace.measures is None or trace.evident is None or trace.agreeing is None:
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
                agreeing=trace.agreeing[t, own],
                elapsed_s=elapsed,
            ),
            scores[t, rows],
        )
