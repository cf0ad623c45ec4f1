"""The pipeline's core run offline over a history: the same functions, the same incidents as through the cloud."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from training.history.grid import Grid
from training.prepare.calibrating import Score
from training.processes import Progress, run_jobs, shares
from treeline.core.channels import registry
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.evidence import Bands
from treeline.core.detection.policy import FLEET, FLEET_ROW, Change, PolicySettings
from treeline.core.expectation import local_time, peers
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Trace:
    """What detection saw, arrays of shape (times, servers); NaN where a server was absent or warming up.

    A rule of alarms has no channels and no novelty: what is about them is None.
    """

    score: npt.NDArray[np.float32]
    severity: npt.NDArray[np.float32]
    threshold: npt.NDArray[np.float32]  # the raw score that means P2
    bands: Bands | None  # shape (times, servers, metrics); None unless asked for
    # Which channel gave the severity, a position in `registry.every_channel()`; -1 where nothing was scored.
    channel: npt.NDArray[np.int8] | None = None
    measure: npt.NDArray[np.float32] | None = None  # that channel's
    held: npt.NDArray[np.int8] | None = None  # which channel novelty kept from a tier, likewise; -1 for none
    held_severity: npt.NDArray[np.float32] | None = None  # what the severity would have been without novelty
    # What else was decided by, to decide it again by other thresholds; None unless asked for.
    measures: npt.NDArray[np.float32] | None = (
        None  # of the channels over the metrics, shape (times, servers, channels)
    )
    evident: npt.NDArray[np.bool_] | None = None  # whether a metric lay outside what people are shown
    agreeing: npt.NDArray[np.bool_] | None = None  # whether several lay so far out that one observation was enough

    def put(self, columns: npt.NDArray[np.intp], part: "Trace") -> None:
        """Enter what was seen of some servers, by their columns."""
        for name in Trace.__slots__:
            whole, piece = getattr(self, name), getattr(part, name)
            if isinstance(whole, Bands):
                whole.put(np.s_[:, columns], piece)
            elif whole is not None:
                whole[:, columns] = piece


@dataclass(frozen=True, slots=True)
class Backtest:
    """Incident changes by server (FLEET for shared ones), in event-time order, and what they were made from.

    Attributes:
        changes: By server.
        trace: What detection saw.
        calibration, policy: By which it decided; a rule of alarms goes by neither.
    """

    changes: list[tuple[str, Change]]
    trace: Trace
    calibration: Calibration = field(default_factory=Calibration)
    policy: PolicySettings = field(default_factory=PolicySettings)


def backtest(
    package: ModelPackage,
    grid: Grid,
    score: Score,
    policy: PolicySettings,
    *,
    groups: Mapping[str, int] | None = None,
    with_bands: bool = False,
    with_measures: bool = False,
    given_scores: FloatArray | None = None,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Backtest:
    """Detect over a history.

    Args:
        package: The model.
        grid: What to detect in; follows the training history.
        score: The forest; rows (n, 2 * metrics) -> scores (n,).
        policy: When exceedances become incidents.
        groups: Group of each server; servers share a fleet cycle within their group. One group when None.
        with_bands: Also keep what the metrics were held against (takes 6 x the grid's memory).
        with_measures: Also keep all that was decided by (`training.evaluate.ablation`).
        given_scores: Another detector's scores, shape (times, servers), to stand in the place of the forest's.
        workers: Processes to share the groups out to; they do not change the result.
        progress: Told how far it is.
    """
    by_group: dict[int, list[int]] = {}
    for column, server in enumerate(grid.servers):
        by_group.setdefault((groups or {}).get(server, 0), []).append(column)
    members = list(by_group.values())
    parts = [members[share] for share in shares(len(members), workers)]
    if len(parts) == 1:
        return _backtest(package, grid, members, score, policy, with_bands, with_measures, given_scores, progress)
    columns = [np.array([column for group in part for column in group]) for part in parts]
    jobs = []
    for part, own in zip(parts, columns, strict=True):
        place = {column: position for position, column in enumerate(own.tolist())}
        jobs.append(
            partial(
                _backtest,
                package,
                replace(grid, servers=tuple(grid.servers[c] for c in own), values=grid.values[:, own]),
                [[place[column] for column in group] for group in part],
                score,
                policy,
                with_bands,
                with_measures,
                None if given_scores is None else given_scores[:, own],
            )
        )
    done = run_jobs(jobs, progress)
    trace = _blank(grid.values.shape, with_bands, with_measures)
    for result, own in zip(done, columns, strict=True):
        trace.put(own, result.trace)
    changes = [entry for result in done for entry in result.changes]
    return Backtest(_in_order(changes, grid), trace, package.calibration.under(policy.score), policy)


def _blank(shape: tuple[int, ...], with_bands: bool, with_measures: bool) -> Trace:
    def numbers(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        return np.full(shape, np.nan, dtype=np.float32)

    return Trace(
        score=numbers(shape[:2]),
        severity=numbers(shape[:2]),
        threshold=numbers(shape[:2]),
        bands=Bands.blank(shape) if with_bands else None,
        channel=np.full(shape[:2], -1, dtype=np.int8),
        measure=numbers(shape[:2]),
        held=np.full(shape[:2], -1, dtype=np.int8),
        held_severity=numbers(shape[:2]),
        measures=numbers((*shape[:2], len(registry.CHANNELS))) if with_measures else None,
        evident=np.zeros(shape[:2], dtype=bool) if with_measures else None,
        agreeing=np.zeros(shape[:2], dtype=bool) if with_measures else None,
    )


def _in_order(changes: list[tuple[str, Change]], grid: Grid) -> list[tuple[str, Change]]:
    """By event time, server and sequence; a change's row is the server's column in the grid."""
    column = {server: position for position, server in enumerate(grid.servers)}
    named = [(server, replace(change, row=column.get(server, FLEET_ROW))) for server, change in changes]
    return sorted(named, key=lambda entry: (entry[1].at, entry[0], entry[1].sequence))


def _backtest(
    package: ModelPackage,
    grid: Grid,
    groups: list[list[int]],
    score: Score,
    policy: PolicySettings,
    with_bands: bool,
    with_measures: bool,
    given_scores: FloatArray | None,
    progress: Progress,
) -> Backtest:
    """In this process; `groups` are the grid's columns by group."""
    trace = _blank(grid.values.shape, with_bands, with_measures)
    run = _Run(package, grid, score, policy, trace, given_scores)
    changes: list[tuple[str, Change]] = []
    for share, told in run.detect([np.array(columns) for columns in groups]):
        changes += told
        progress("detection", share)
    return Backtest(_in_order(changes, grid), trace, package.calibration.under(policy.score), policy)


@dataclass(frozen=True, slots=True)
class _Run:
    """All groups of a backtest go through one state, so that a step costs one call for the fleet, not one a group."""

    package: ModelPackage
    grid: Grid
    score: Score
    policy: PolicySettings
    trace: Trace
    given_scores: FloatArray | None

    def detect(self, groups: list[npt.NDArray[np.intp]]) -> Iterator[tuple[float, list[tuple[str, Change]]]]:
        """Go through the grid; yields the share done and the changes since.

        Args:
            groups: The grid's columns, by group.
        """
        package, grid = self.package, self.grid
        columns = np.concatenate(groups)  # of each row of the state
        state = package.new_state()
        package.admit(state, [grid.servers[c] for c in columns])
        peers.keep_within(state, np.repeat(np.arange(len(groups)), [len(members) for members in groups]))
        stops = np.cumsum([len(members) for members in groups])
        parts = [
            detector.Group.of(state, stop - len(members), stop) for members, stop in zip(groups, stops, strict=True)
        ]
        row_of = np.argsort(columns)
        limits, zones = grid.limits, grid.zones.of(state.servers)
        changes: list[tuple[str, Change]] = []
        for t, present, values in grid.rounds():
            rows = row_of[present]
            at = np.full(len(rows), grid.times_ms[t])
            state.utc_offset_s[rows] = local_time.offsets_s(zones[rows], at)
            batch = detector.Round(int(at[0] // package.step_ms), rows, rows, at, values)
            done = detector.prepare(state, batch, step_s=package.step_s, limits=limits)
            changes += self._decide(state, parts, t, done, columns)
            if t % 500 == 0:
                yield t / len(grid.times_ms), changes
                changes = []
        yield 1.0, changes

    def _decide(
        self,
        state: FleetState,
        groups: Sequence[detector.Group],
        t: int,
        done: detector.PreparedRound,
        columns: npt.NDArray[np.intp],
    ) -> list[tuple[str, Change]]:
        package, trace = self.package, self.trace
        at_columns = columns[done.round.rows[done.ready]]
        if self.given_scores is None:
            part = self.score(done.features.rows) if len(done.ready) else np.empty(0)
        else:
            part = np.nan_to_num(self.given_scores[t, at_columns])
        decided = detector.decide(
            state, done, part, package.calibration, self.policy, step_ms=package.step_ms, groups=groups
        )
        if trace.measures is not None and trace.evident is not None and trace.agreeing is not None:
            trace.measures[t, at_columns] = done.features.measures
            trace.evident[t, at_columns] = done.features.outside.any(axis=1)
            trace.agreeing[t, at_columns] = done.features.agreeing
        trace.score[t, at_columns] = part
        trace.severity[t, at_columns] = decided.severity
        trace.threshold[t, at_columns] = decided.calibrated.threshold
        if trace.channel is not None and trace.measure is not None:
            trace.channel[t, at_columns] = decided.calibrated.channel
            trace.measure[t, at_columns] = decided.calibrated.measures[np.arange(len(part)), decided.calibrated.channel]
        if trace.held is not None and trace.held_severity is not None:
            shared = decided.calibrated.severity - decided.severity
            trace.held[t, at_columns] = decided.calibrated.held
            trace.held_severity[t, at_columns] = np.maximum(decided.calibrated.without_novelty - shared, 0.0)
        if trace.bands is not None:
            trace.bands.put((t, at_columns), Bands.of(state, done.round.rows[done.ready], done.features))
        return [(FLEET if c.row == FLEET_ROW else state.servers[c.row], c) for c in decided.changes]
