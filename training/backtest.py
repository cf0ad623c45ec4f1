"""The pipeline's core run offline over a history: the same functions, the same incidents as through the cloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.fit import Grid, Progress, Score
from treeline.core import detector
from treeline.core.package import ModelPackage
from treeline.core.policy import FLEET, FLEET_ROW, Change, PolicySettings
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Trace:
    """What detection saw, on the grid's axes; NaN where a server was absent or warming up.

    Attributes:
        score, severity, threshold: Shape (times, servers); threshold is the raw score that means P2.
        expected, spread: Shape (times, servers, metrics), in the metric's unit; None unless asked for.
    """

    score: npt.NDArray[np.float32]
    severity: npt.NDArray[np.float32]
    threshold: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float32] | None
    spread: npt.NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Backtest:
    """Incident changes by server (FLEET for shared ones), in event-time order, and the trace behind them."""

    changes: list[tuple[str, Change]]
    trace: Trace


def backtest(
    package: ModelPackage,
    grid: Grid,
    score: Score,
    policy: PolicySettings,
    *,
    groups: Mapping[str, int] | None = None,
    with_bands: bool = False,
    progress: Progress = lambda *_: None,
) -> Backtest:
    """Detect over a history.

    Args:
        package: The model.
        grid: What to detect in; follows the training history.
        score: The forest; rows (n, 12) -> scores (n,).
        policy: When exceedances become incidents.
        groups: Group of each server; servers share a fleet cycle within their group. One group when None.
        with_bands: Also keep expected values and spreads (takes 2 x the grid's memory).
        progress: Told how far it is.
    """
    shape = grid.values.shape
    trace = Trace(
        *(np.full(shape[:2], np.nan, dtype=np.float32) for _ in range(3)),
        *((np.full(shape, np.nan, dtype=np.float32) for _ in range(2)) if with_bands else (None, None)),
    )
    by_group: dict[int, list[int]] = {}
    for column, server in enumerate(grid.servers):
        by_group.setdefault((groups or {}).get(server, 0), []).append(column)
    changes: list[tuple[str, Change]] = []
    for done, columns in enumerate(by_group.values()):
        changes += _run_group(package, grid, np.array(columns), score, policy, trace)
        progress("backtest", (done + 1) / len(by_group))
    changes.sort(key=lambda entry: (entry[1].at, entry[0], entry[1].sequence))
    return Backtest(changes, trace)


def _run_group(
    package: ModelPackage,
    grid: Grid,
    columns: npt.NDArray[np.intp],
    score: Score,
    policy: PolicySettings,
    trace: Trace,
) -> list[tuple[str, Change]]:
    servers: Sequence[str] = [grid.servers[c] for c in columns]
    state = package.new_state()
    package.admit(state, list(servers))
    own = Grid(grid.times_ms, tuple(servers), grid.metrics, grid.values[:, columns], grid.step_s)
    prepared: list[tuple[int, detector.Prepared]] = []
    for t, rows, values in own.rounds():
        at = np.full(len(rows), grid.times_ms[t])
        batch = detector.Round(int(at[0] // package.step_ms), rows, rows, at, values)
        prepared.append((t, detector.prepare(state, batch, step_s=package.step_s)))
    if not prepared:
        return []
    scores: FloatArray = score(np.concatenate([done.features.rows for _, done in prepared]))
    changes, start = [], 0
    for t, done in prepared:
        part = scores[start : start + len(done.ready)]
        start += len(done.ready)
        decided = detector.decide(state, done, part, package.calibration, policy, step_ms=package.step_ms)
        at_columns = columns[done.round.rows[done.ready]]
        trace.score[t, at_columns] = part
        trace.severity[t, at_columns] = decided.severity
        trace.threshold[t, at_columns] = decided.calibrated.threshold
        if trace.expected is not None and trace.spread is not None:
            trace.expected[t, at_columns] = done.features.expected
            trace.spread[t, at_columns] = done.features.spread
        changes += [(FLEET if c.row == FLEET_ROW else servers[c.row], c) for c in decided.changes]
    return changes
