"""One round of detection: `prepare` makes features, the caller has them scored, `decide` makes decisions.

A *round* holds at most one observation of each server, all of one time bucket. Lambda, training, backtest and demo all
call these two functions. However observations are batched, the rounds and so the results are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import together
from treeline.core.detection import features, policy
from treeline.core.detection.calibration import Calibrated, Calibration, calibrate
from treeline.core.detection.features import Features, Index
from treeline.core.detection.metric_warmup import warm_up_metrics, without_unknown
from treeline.core.detection.policy import Change, PolicySettings
from treeline.core.detection.policy import Group as Group
from treeline.core.detection.warmup import warm_up
from treeline.core.expectation import peers
from treeline.core.limits import MetricLimits
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import NEVER
from treeline.core.statistics import FloatArray

FROZEN_MS = 24 * 3_600_000  # what lasts longer than a day is learned: it may be the new normal


@dataclass(frozen=True, slots=True)
class Round:
    """At most one observation a server, all of one bucket; arrays of shape (n,) or (n, metrics)."""

    bucket: int
    index: Index  # where each observation stands in the batch it came from
    rows: Index
    observed_at: npt.NDArray[np.int64]
    values: FloatArray


@dataclass(frozen=True, slots=True)
class PreparedRound:
    """A round compared with the past: `features` belong to `ready`, positions within the round."""

    round: Round
    ready: Index
    features: Features
    elapsed_s: FloatArray
    step_s: float


@dataclass(frozen=True, slots=True)
class MeasuredRound:
    """All that a round is decided by beside its scores; kept, it can be decided again by other thresholds."""

    bucket: int
    seen: Index  # the rows of everyone who sent something
    rows: Index  # of those who are decided, shape (n,), as the next
    observed_at: npt.NDArray[np.int64]
    measures: FloatArray  # shape (n, channels)
    evident: npt.NDArray[np.bool_]  # whether a metric lies outside what people are shown as expected
    agreeing: npt.NDArray[np.bool_]  # whether several metrics are so far out that one observation is enough
    elapsed_s: FloatArray

    @classmethod
    def of(cls, prepared: PreparedRound) -> Self:
        """Of a round that was compared with the past."""
        batch, ready = prepared.round, prepared.ready
        return cls(
            bucket=batch.bucket,
            seen=batch.rows,
            rows=batch.rows[ready],
            observed_at=batch.observed_at[ready],
            measures=prepared.features.measures,
            evident=np.logical_or.reduce(prepared.features.outside, axis=1),
            agreeing=prepared.features.agreeing,
            elapsed_s=prepared.elapsed_s,
        )


@dataclass(frozen=True, slots=True)
class Decided:
    """A round's severities (fleet level taken off) and what they changed."""

    calibrated: Calibrated
    severity: FloatArray
    changes: list[Change] = field(default_factory=list)


def rounds(rows: Index, observed_at: npt.NDArray[np.int64], values: FloatArray, *, step_ms: int) -> Iterator[Round]:
    """Cut a batch into rounds, in event-time order.

    Args:
        rows: Server row of each observation, shape (n,); distinct (row, observed_at) pairs.
        observed_at: Milliseconds.
        values: Shape (n, metrics).
        step_ms: Width of a bucket, the profile's sampling step.
    """
    buckets = observed_at // step_ms
    by_server = np.lexsort((observed_at, rows, buckets))
    sorted_rows, sorted_buckets = rows[by_server], buckets[by_server]
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (sorted_rows[1:] != sorted_rows[:-1]) | (sorted_buckets[1:] != sorted_buckets[:-1])
    position = np.arange(len(rows))
    repeat = position - np.maximum.accumulate(np.where(fresh, position, 0))
    in_time = np.lexsort((sorted_rows, repeat, sorted_buckets))
    order, bucket, turn = by_server[in_time], sorted_buckets[in_time], repeat[in_time]
    cuts = np.flatnonzero((bucket[1:] != bucket[:-1]) | (turn[1:] != turn[:-1])) + 1
    for part in np.split(order, cuts):
        if len(part):
            yield Round(int(buckets[part[0]]), part, rows[part], observed_at[part], values[part])


def prepare(
    state: FleetState,
    batch: Round,
    *,
    step_s: float,
    limits: MetricLimits | None = None,
    common: FloatArray | None = None,
) -> PreparedRound:
    """Feature rows of the round's ready servers; the others warm up. Changes the state.

    Args:
        state: Changed in place.
        batch: The round.
        step_s: The profile's sampling step in seconds.
        limits: What is declared of the metrics; None: nothing is, and every deviation counts.
        common: What each server's peers had in common then, shape (n, metrics), where the state does not hold the
            peers: a replay of one server (`treeline.core.expectation.peers`).
    """
    every = together(batch.rows)
    before = state.last_at[every]
    elapsed_s = np.where(before == NEVER, step_s, (batch.observed_at - before) / 1000.0)
    is_ready = state.phase[every] == Phase.READY
    ready = np.flatnonzero(is_ready)
    warming = np.flatnonzero(~is_ready)
    if len(warming):
        warm_up(state, batch.rows[warming], batch.values[warming], step_s=step_s)
    values, rows = batch.values[ready], batch.rows[ready]
    counted = warm_up_metrics(state, rows, values, step_s=step_s)
    extracted = features.extract(
        state,
        rows,
        batch.observed_at[ready],
        counted,
        step_s=step_s,
        bucket=batch.bucket,
        limits=limits,
        common=None if common is None else common[ready],
    )
    if counted is not values:  # people are not shown metrics that have no baseline yet
        shown = batch.values.copy()
        shown[ready] = counted
        batch = replace(batch, values=shown)
        extracted = replace(extracted, imputed=np.isnan(values) & extracted.imputed)
    state.observations[every] += 1
    state.last_at[every] = batch.observed_at
    seen_at = state.seen_at[every]
    seen_at[:, :-1], seen_at[:, -1] = seen_at[:, 1:], batch.observed_at
    state.seen_at[every] = seen_at
    return PreparedRound(batch, ready, extracted, elapsed_s[ready], step_s)


def decide(
    state: FleetState,
    prepared: PreparedRound,
    scores: FloatArray,
    calibration: Calibration,
    settings: PolicySettings,
    *,
    step_ms: int,
    groups: Sequence[Group] = (),
) -> Decided:
    """Severities and incident changes of a round's ready servers. Changes the state.

    Args:
        state: Changed in place.
        prepared: The round, compared.
        scores: The forest's, of the round's ready servers.
        calibration: The model's mapping.
        settings: The policy.
        step_ms: Width of a bucket.
        groups: Where the state holds several groups, each with its own cycle: all of them, in order of their rows.
    """
    decided = conclude(state, MeasuredRound.of(prepared), scores, calibration, settings, step_ms=step_ms, groups=groups)
    learn(state, prepared)
    return decided


def conclude(
    state: FleetState,
    measured: MeasuredRound,
    scores: FloatArray,
    calibration: Calibration,
    settings: PolicySettings,
    *,
    step_ms: int,
    groups: Sequence[Group] = (),
) -> Decided:
    """The part of `decide` that goes by what was measured, and learns nothing of the metrics. Changes the state."""
    rows, at = measured.rows, measured.observed_at
    level, shared_excess, changes = _fleet_cycle(state, measured, settings, step_ms, groups)
    calibrated = calibrate(
        state,
        rows,
        at,
        scores,
        measured.measures,
        calibration.under(settings.score),
        elapsed_s=measured.elapsed_s,
        shared_excess=shared_excess,
    )
    state.severity[rows] = calibrated.severity
    state.severity_bucket[rows] = measured.bucket
    own = np.maximum(calibrated.severity - level, 0.0)
    changes += policy.decide(state, rows, at, own, settings, evident=measured.evident, agreeing=measured.agreeing)
    return Decided(calibrated, own, changes)


def learn(state: FleetState, prepared: PreparedRound) -> None:
    """Learn a round; what is expected of a server does not learn an open incident. Changes the state."""
    batch = prepared.round
    rows, at = batch.rows[prepared.ready], batch.observed_at[prepared.ready]
    here = together(rows)
    frozen = np.logical_and(state.incident[here] != policy.NONE, at - state.opened_at[here] < FROZEN_MS)
    features.learn_round(state, rows, at, prepared.features, bucket=batch.bucket, step_s=prepared.step_s, frozen=frozen)


def _fleet_cycle(
    state: FleetState, measured: MeasuredRound, settings: PolicySettings, step_ms: int, groups: Sequence[Group]
) -> tuple[FloatArray | float, FloatArray | float, list[Change]]:
    """What the servers share, of severity and of score: one level for a group alone, else that of each row's group."""
    bucket, at = measured.bucket, measured.bucket * step_ms
    if not groups:
        level, changes = policy.apply_fleet_cycle(state, bucket, at, settings)
        return level, state.cycle.score_excess, changes
    starts = np.array([group.start for group in groups])
    here = np.zeros(len(groups), dtype=bool)
    here[np.searchsorted(starts, measured.seen, side="right") - 1] = True
    levels, excess, changes = np.zeros(len(groups)), np.zeros(len(groups)), list[Change]()
    for number in np.flatnonzero(here).tolist():
        levels[number], told = policy.apply_fleet_cycle(groups[number], bucket, at, settings)
        excess[number] = groups[number].cycle.score_excess
        changes += told
    own = np.searchsorted(starts, measured.rows, side="right") - 1
    return levels[own], excess[own], changes


def compare_late(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    values: FloatArray,
    *,
    step_s: float,
    limits: MetricLimits | None = None,
) -> tuple[Index, Features]:
    """Features of late observations against the state as it is, which they do not change.

    Returns positions of those whose server is ready, and their features.
    """
    ready = np.flatnonzero(state.phase[rows] == Phase.READY)
    counted = without_unknown(state, rows[ready], values[ready])
    buckets = observed_at[ready] // round(step_s * 1000)
    common = np.array(
        [peers.common(state, rows[i : i + 1], bucket)[0] for i, bucket in zip(ready, buckets.tolist(), strict=True)]
    ).reshape(len(ready), state.metrics)
    compared = features.extract(
        state,
        rows[ready],
        observed_at[ready],
        counted,
        step_s=step_s,
        bucket=0,
        limits=limits,
        common=common,
        learn=False,
    )
    return ready, compared


def split_late(state: FleetState, rows: Index, observed_at: npt.NDArray[np.int64]) -> tuple[Index, Index]:
    """Which observations are new, and which came after a later one of their server had been decided.

    Returns:
        Positions of the new ones and of the late ones. What is in neither was decided before (a repeated
        delivery), or is older than the times the state remembers and can no longer be told from that.
    """
    last = state.last_at[rows]
    new = np.flatnonzero(observed_at > last)
    seen = state.seen_at[rows]
    known = (seen == observed_at[:, None]).any(axis=1)
    oldest = seen[:, 0]  # NEVER until the memory is full
    late = np.flatnonzero((observed_at <= last) & ~known & (observed_at > oldest))
    return new, late


def mark_seen(state: FleetState, rows: Index, observed_at: npt.NDArray[np.int64]) -> None:
    """Remember late observations as decided, one at a time: a server may have several."""
    for row, at in zip(rows.tolist(), observed_at.tolist(), strict=True):
        state.seen_at[row] = np.sort(np.append(state.seen_at[row], at))[1:]
        state.observations[row] += 1
