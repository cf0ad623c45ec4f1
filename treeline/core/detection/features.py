"""From observations to the feature row: twelve numbers that do not depend on how many metrics a server has.

Each metric is seen from three views: its standardized value, the mean of its last ten, and its lag-1 difference. Each
view is standardized again against its own trailing three days and summarized over the metrics by four numbers. Trailing
windows are exponentially weighted, so the state stays small; an observation is compared first and learned afterwards.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import Rows, together
from treeline.core.channels import registry
from treeline.core.channels.channel import DAY_S, View, Views
from treeline.core.channels.measure import measure
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import RECENT
from treeline.core.statistics import (
    Z_LIMIT,
    FloatArray,
    bounded_step,
    ew_alpha,
    ew_update,
    mean_of_last,
    row_sums,
    standardize,
)

TRAILING_S = 3 * 86_400.0
LARGEST_DEVIATION = 1e6  # of the training spread; its square is still a float32
VIEW_FLOOR = np.float32(np.float16(0.001))  # as the floors of the state, which are float16, have it
DAY_FLOOR = 0.1  # of the training spread
MAX_ELAPSED_STEPS = 5  # a long gap ages the averages by no more than this
GAP_STEPS = 3  # beyond it a difference to the value before the gap says nothing

SUMMARY_NAMES = ("max", "top3", "mean", "share_above_3")
FEATURE_NAMES: tuple[str, ...] = tuple(f"{view.name.lower()}.{summary}" for view in View for summary in SUMMARY_NAMES)

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Features:
    """What one bucket of observations says, one row each."""

    rows: npt.NDArray[np.float32]  # shape (n, 12) float32, the scorer's input
    # Shape (n, channels), what the channels of `treeline.core.channels.registry` measured, each in standard deviations
    # of the server's own.
    measures: FloatArray
    magnitudes: FloatArray  # shape (n, channels), what they were made from: each channel's number for the observation
    expected: FloatArray  # shape (n, metrics), the trailing day's mean in the metric's unit
    spread: FloatArray  # shape (n, metrics), the trailing day's standard deviation (floored), same unit
    imputed: npt.NDArray[np.bool_]  # shape (n, metrics) bool, where a missing value was replaced by the last one seen


def summarize(magnitude: FloatArray, ordered: FloatArray) -> npt.NDArray[np.float32]:
    """Four numbers a view: max |v|, mean of the top three |v|, 3 x mean |v|, 20 x share of |v| above 3.

    Args:
        magnitude: |v|, shape (n, views, metrics). The factors bring the four to one scale for the forest's boxes.
        ordered: The same, sorted along the metrics.

    Returns:
        Shape (n, 4 * views) float32.
    """
    n, views, metrics = magnitude.shape
    summary = np.empty((n, views, len(SUMMARY_NAMES)), dtype=np.float32)
    summary[..., 0] = ordered[..., -1]
    summary[..., 1] = mean_of_last(ordered)
    summary[..., 2] = 3.0 * (row_sums(magnitude) / metrics)
    summary[..., 3] = 20.0 * (row_sums((magnitude > 3.0).astype(np.float64)) / metrics)
    return summary.reshape(n, views * len(SUMMARY_NAMES))


def window_mean(window: FloatArray) -> FloatArray:
    """Mean over axis 1, bit for bit numpy's, whose order of addition differs where there is one metric only."""
    if window.shape[2] == 1:
        return np.asarray(window.mean(axis=1, dtype=np.float32))
    total: FloatArray = sum((window[:, k] for k in range(1, RECENT)), start=window[:, 0])
    return total / np.float32(RECENT)


def extract(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    values: FloatArray,
    *,
    step_s: float,
    learn: bool = True,
) -> Features:
    """Compare one observation of each of some ready servers with their past; then learn from it.

    Args:
        state: Changed in place when `learn`.
        rows: The servers' rows in the state, distinct, shape (n,).
        observed_at: Milliseconds, shape (n,).
        values: Raw metrics, shape (n, metrics), NaN where missing.
        step_s: The profile's sampling step in seconds.
        learn: False scores against the state as it is (late observations).

    Returns:
        The features, in the order of `rows`.
    """
    at = together(rows)
    before = state.last_at[at]
    elapsed_s = np.where(before < 0, step_s, (observed_at - before) / 1000.0)
    aged_s = np.minimum(elapsed_s, MAX_ELAPSED_STEPS * step_s).astype(np.float32)
    compared = _compare(state, at, values, elapsed_s > GAP_STEPS * step_s)
    magnitudes = np.empty((len(rows), len(registry.CHANNELS)), dtype=np.float32)
    for place, channel in enumerate(registry.CHANNELS):
        magnitudes[:, place] = channel.magnitude(state, at, compared.seen)
    features = Features(
        rows=summarize(compared.magnitude, compared.seen.ordered),
        measures=measure(state, rows, observed_at, magnitudes, aged_s, learn=learn),
        magnitudes=magnitudes,
        expected=compared.expected,
        spread=compared.spread,
        imputed=compared.seen.missing,
    )
    if learn:
        _learn(state, at, compared, aged_s)
    return features


@dataclass(frozen=True, slots=True)
class _Compared:
    """Observations beside their past: what channels see, what the averages learn, what people are shown."""

    raw: FloatArray  # in the spreads of training
    views: FloatArray  # (n, views, metrics), not yet held against their trailing days
    window: FloatArray  # (n, RECENT, metrics), this observation last
    magnitude: FloatArray  # (n, views, metrics), held against them
    seen: Views
    expected: FloatArray
    spread: FloatArray


def _compare(state: FleetState, at: Rows, values: FloatArray, after_gap: npt.NDArray[np.bool_]) -> _Compared:
    base_mean, base_spread, recent = state.base_mean[at], state.base_spread[at], state.recent[at]
    with np.errstate(over="ignore"):  # a value near the float limit is clipped
        raw = standardize(values, base_mean, base_spread, limit=LARGEST_DEVIATION).astype(np.float32)
    missing = np.isnan(raw)
    value = np.where(missing, recent[:, -1], np.clip(raw, -Z_LIMIT, Z_LIMIT))
    difference = value - recent[:, -1]
    difference[after_gap] = 0.0
    window = np.concatenate([recent[:, 1:], value[:, None]], axis=1)
    views = np.stack([value, window_mean(window), difference], axis=1)
    smallest_sd = np.maximum(state.view_floor[at].astype(np.float32), VIEW_FLOOR)
    view_sd = np.maximum(np.sqrt(state.view_var[at]), smallest_sd)
    magnitude = np.abs(standardize(views, state.view_mean[at], view_sd))
    day_mean, day_sd = state.day_mean[at], np.maximum(np.sqrt(state.day_var[at]), DAY_FLOOR)
    seen = Views(
        value=value,
        from_day=standardize(np.where(missing, day_mean, raw), day_mean, day_sd),
        difference=difference,
        ordered=np.sort(magnitude, axis=-1),
        smallest_sd=smallest_sd,
        missing=missing,
    )
    return _Compared(raw, views, window, magnitude, seen, base_mean + base_spread * day_mean, base_spread * day_sd)


def _learn(state: FleetState, at: Rows, compared: _Compared, aged_s: FloatArray) -> None:
    for channel in registry.CHANNELS:
        channel.learn(state, at, compared.seen, aged_s)
    view_mean, view_var = state.view_mean[at], state.view_var[at]
    known = np.where(compared.seen.missing[:, None, :], np.nan, compared.views)
    ew_update(view_mean, view_var, known, ew_alpha(aged_s, TRAILING_S)[:, None, None])
    day_mean, day_var, alpha = state.day_mean[at], state.day_var[at], ew_alpha(aged_s, DAY_S)[:, None]
    ew_update(day_mean, day_var, bounded_step(compared.raw, day_mean, day_var, DAY_FLOOR, alpha), alpha)
    state.view_mean[at], state.view_var[at] = view_mean, view_var
    state.day_mean[at], state.day_var[at] = day_mean, day_var
    state.recent[at] = compared.window
