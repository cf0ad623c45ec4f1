"""From observations to the forest's row: how far each metric is from what the time and the other metrics imply.

A row has two numbers a metric, `[q_1 .. q_M, r_1 .. r_M]`: q is the mean of the last ten deviations from what the other
metrics imply, r the deviation from what is expected now; each signed, in its own standard deviations, cut at 15. An
observation is compared first and learned afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import Rows, together
from treeline.core.channels import measure, registry, saturation
from treeline.core.channels.channel import Views
from treeline.core.channels.measure import ChannelMeasures
from treeline.core.expectation import expectation, peers, relation
from treeline.core.expectation.expectation import Expected
from treeline.core.expectation.relation import Related
from treeline.core.limits import MetricLimits, is_evidence, is_saturated
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import RECENT
from treeline.core.statistics import Z_LIMIT, FloatArray, clip, standardize

LARGEST_FEATURE = 15.0
MAX_ELAPSED_STEPS = 5  # a long gap ages the averages by no more than this
GAP_STEPS = 3  # beyond it a difference to the value before the gap says nothing
RELATION_BAND_SD = 5.0
# So many metrics, each at so many times the distance of its band's edge: no chance, even in a single observation.
FEWEST_AGREEING, FAR_BANDS = 3, 2.0

Index = npt.NDArray[np.intp]


def feature_names(metrics: Sequence[str]) -> tuple[str, ...]:
    """The names of a row's numbers, in order."""
    return tuple(f"{metric}.{part}" for part in ("relation", "level") for metric in metrics)


@dataclass(frozen=True, slots=True)
class Features:
    """What one bucket of observations says, one row each; `compared` is what they are learned from."""

    rows: npt.NDArray[np.float32]  # shape (n, 2 * metrics) float32, the scorer's input
    measured: ChannelMeasures  # what the channels of `treeline.core.channels.registry` measured
    magnitudes: FloatArray  # shape (n, channels), what that was made from: each channel's number for the observation
    expected: FloatArray  # shape (n, metrics), what is expected now, in the metric's unit
    spread: FloatArray  # shape (n, metrics), a third of the distance from there to the band's edges, same unit
    implied: FloatArray  # shape (n, metrics), what the other metrics imply, same unit
    implied_spread: FloatArray  # shape (n, metrics), a third of the distance from there to its band's edges
    imputed: npt.NDArray[np.bool_]  # shape (n, metrics) bool, where a missing value was replaced by the last one seen
    # Shape (n, metrics) bool, evidence that people are shown: outside either band, by as much as is declared to matter.
    outside: npt.NDArray[np.bool_]
    # Shape (n,), whether three metrics or more are outside so far that one observation cannot be taken for chance.
    agreeing: npt.NDArray[np.bool_]
    compared: "HeldAgainstPast"

    @property
    def measures(self) -> FloatArray:
        """What counts of the channels' measures, shape (n, channels), in standard deviations of the server's own."""
        return self.measured.counted


@dataclass(frozen=True, slots=True)
class HeldAgainstPast:
    """Observations beside their past: what channels see, and what the averages learn."""

    raw: FloatArray  # (n, metrics), in the spreads of training, NaN where missing
    window: FloatArray  # (n, RECENT, metrics), this observation's value last
    seen: Views
    now: Expected
    common: FloatArray  # (n, metrics), what peers have in common, in the residuals' scale
    residual: FloatArray  # (n, metrics), less that
    related: Related
    aged_s: FloatArray  # (n,)


def extract(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    values: FloatArray,
    *,
    step_s: float,
    bucket: int,
    limits: MetricLimits | None = None,
    common: FloatArray | None = None,
    learn: bool = True,
) -> Features:
    """Compare one observation of each of some ready servers with their past.

    Args:
        state: Its seasonal slots are turned when `learn` (`treeline.core.expectation.season`); else not changed.
        rows: The servers' rows in the state, distinct, shape (n,).
        observed_at: Milliseconds, shape (n,).
        values: Raw metrics, shape (n, metrics), NaN where missing.
        step_s: The profile's sampling step in seconds.
        bucket: The step that the observations are of.
        limits: What is declared of the metrics; None: nothing is, and every deviation counts.
        common: What the servers' peers had in common then, shape (n, metrics), where their residuals are not in the
            state; None: found in the state.
        learn: Whether `learn_round` follows; False for late observations.

    Returns:
        The features, in the order of `rows`.
    """
    at = together(rows)
    before = state.last_at[at]
    elapsed_s = np.where(before < 0, step_s, (observed_at - before) / 1000.0)
    aged_s = np.minimum(elapsed_s, MAX_ELAPSED_STEPS * step_s).astype(np.float32)
    local_ms = observed_at + state.utc_offset_s[at] * 1000
    now = expectation.expected(state, rows, at, local_ms, step_s=step_s, elapsed_s=elapsed_s, learn=learn)
    if common is None:
        common = peers.common(state, at, bucket)
    compared = _compare(state, at, values, now, common, elapsed_s > GAP_STEPS * step_s, aged_s)
    if limits is not None and (used_up := is_saturated(values, limits)).any():
        above = used_up & (_own(compared) > state.band_sd[at])
        saturated = above & ~saturation.is_usual(state, at, local_ms)
        compared = replace(compared, seen=replace(compared.seen, saturated=saturated))
    magnitudes = np.empty((len(rows), len(registry.CHANNELS)), dtype=np.float32)
    for place, channel in enumerate(registry.CHANNELS):
        magnitudes[:, place] = channel.magnitude(state, at, compared.seen)
    return _features(state, rows, at, observed_at, values, compared, magnitudes, limits)


def learn_round(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    features: Features,
    *,
    bucket: int,
    step_s: float,
    frozen: npt.NDArray[np.bool_],
) -> None:
    """Learn compared observations. Changes the state.

    Args:
        state: Of the servers.
        rows: As given to `extract`, distinct, shape (n,).
        observed_at: Milliseconds, shape (n,).
        features: What it returned for them.
        bucket: The step that they are of.
        step_s: The sampling step.
        frozen: Shape (n,), of whom nothing new is expected: an open incident must not become normal.
    """
    at, compared = together(rows), features.compared
    state.recent[at], state.relation_recent[at] = compared.window, compared.related.window
    aged_s = compared.aged_s
    for channel in registry.CHANNELS:
        channel.learn(state, at, compared.seen, aged_s)
    raw = np.where(frozen[:, None], np.nan, compared.raw)
    expectation.learn(state, at, raw, compared.now, np.where(frozen, np.float32(0.0), aged_s))
    relation.learn(state, at, compared.related, aged_s)
    peers.remember(state, at, bucket, compared.residual + compared.common, step_s)
    measure.learn(state, rows, observed_at, features.magnitudes, features.measured, aged_s)


def _compare(
    state: FleetState,
    at: Rows,
    values: FloatArray,
    now: Expected,
    common: FloatArray,
    after_gap: npt.NDArray[np.bool_],
    aged_s: FloatArray,
) -> HeldAgainstPast:
    recent = state.recent[at]
    with np.errstate(over="ignore"):  # a value near the float limit is clipped
        raw = standardize(values, state.base_mean[at], state.base_spread[at], limit=expectation.LARGEST).astype(
            np.float32
        )
    missing = np.isnan(raw)
    value = np.where(missing, recent[:, -1], clip(raw, -Z_LIMIT, Z_LIMIT))
    difference = value - recent[:, -1]
    difference[after_gap] = 0.0
    window = np.concatenate([recent[:, 1:], value[:, None]], axis=1)
    residual = np.where(missing, 0.0, (raw - now.value) / state.residual_scale[at])
    residual = clip(residual, -expectation.LARGEST_RESIDUAL, expectation.LARGEST_RESIDUAL)
    residual -= np.where(missing, 0.0, common)
    related = relation.relate(state, at, residual)
    seen = Views(
        value=value,
        raw=raw,
        difference=difference,
        mean10=window_mean(window),
        sustained=related.sustained,
        missing=missing,
        saturated=np.zeros_like(missing),
    )
    return HeldAgainstPast(raw, window, seen, now, common, residual, related, aged_s)


def _own(compared: HeldAgainstPast) -> FloatArray:
    """How far each metric is from its expected value, in that one's standard deviations.

    People are shown the server's own habit: that its peers do the same makes a value no less unusual for it.
    """
    own: FloatArray = (compared.raw - compared.now.value) / compared.now.sd
    return own


def _features(
    state: FleetState,
    rows: Index,
    at: Rows,
    observed_at: npt.NDArray[np.int64],
    values: FloatArray,
    compared: HeldAgainstPast,
    magnitudes: FloatArray,
    limits: MetricLimits | None,
) -> Features:
    now, related, missing = compared.now, compared.related, compared.seen.missing
    base_mean, base_spread, scale = state.base_mean[at], state.base_spread[at], state.residual_scale[at]
    level = compared.residual * scale / now.sd
    band_sd = state.band_sd[at].astype(np.float32)
    expected = base_mean + base_spread * now.value
    by_others = now.value + scale * (compared.common + related.implied + state.relation_mean[at])
    implied = base_mean + base_spread * by_others
    own, deviation = np.abs(_own(compared)), np.abs(related.deviation)
    by_time, by_relation = own > band_sd, deviation > RELATION_BAND_SD
    if limits is not None:
        by_time = is_evidence(values, expected, by_time, limits) | compared.seen.saturated
        by_relation = is_evidence(values, implied, by_relation, limits)
    outside = (by_time | by_relation) & ~missing
    far = (by_time & (own > FAR_BANDS * band_sd)) | (by_relation & (deviation > FAR_BANDS * RELATION_BAND_SD))
    row = np.concatenate([related.sustained, level], axis=1)
    return Features(
        rows=clip(row, -LARGEST_FEATURE, LARGEST_FEATURE).astype(np.float32),
        measured=measure.measure(state, rows, observed_at, magnitudes),
        magnitudes=magnitudes,
        expected=expected,
        spread=base_spread * now.sd * (band_sd / 3.0),
        implied=implied,
        implied_spread=base_spread * scale * related.sd * (RELATION_BAND_SD / 3.0),
        imputed=missing,
        outside=outside,
        agreeing=np.count_nonzero(far & outside, axis=1) >= FEWEST_AGREEING,
        compared=compared,
    )


def window_mean(window: FloatArray) -> FloatArray:
    """Mean over axis 1, bit for bit numpy's, whose order of addition differs where there is one metric only."""
    if window.shape[2] == 1:
        return np.asarray(window.mean(axis=1, dtype=np.float32))
    total: FloatArray = sum((window[:, k] for k in range(1, RECENT)), start=window[:, 0])
    return total / np.float32(RECENT)
