"""From observations to the feature row: twelve numbers that do not depend on how many metrics a server has.

Three views of the standardized metrics (the value, its mean over the last ten, its lag-1 difference), each
standardized again against its own trailing three days, each summarized over the metrics by four numbers. Recipe and
measurements: evidence on detection, sections 4 and 7. The trailing windows are exponentially weighted, so that they
fit into a small state; the current observation is compared first and learned afterwards.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treeline.core.channels import channels
from treeline.core.channels.channels import (
    CHANNELS,
    DAY,
    DIFFERENCE,
    DIFFERENCE_LIMIT,
    DIFFERENCE_MOST,
    MEAN10,
    TAIL,
    improbability,
    mean_of_last,
    top_mean,
)
from treeline.core.state.fleet import FleetState, together
from treeline.core.state.layout import RECENT
from treeline.core.statistics import Z_LIMIT, FloatArray, bounded_step, ew_alpha, ew_update, row_sums, standardize

TRAILING_S = 3 * 86_400.0
DAY_S = 86_400.0
CHANGE_CLIP_SD = 6.0  # one jump must not hide the next ones for a day
LARGEST_DEVIATION = 1e6  # of the training spread; its square is still a float32
VIEW_FLOOR = 0.001
DAY_FLOOR = 0.1  # of the training spread
MAX_ELAPSED_STEPS = 5  # a long gap ages the averages by no more than this
GAP_STEPS = 3  # beyond it a difference to the value before the gap says nothing

VIEW_NAMES = ("value", "mean10", "difference")
SUMMARY_NAMES = ("max", "top3", "mean", "share_above_3")
FEATURE_NAMES: tuple[str, ...] = tuple(f"{view}.{summary}" for view in VIEW_NAMES for summary in SUMMARY_NAMES)

_MEAN10_TOP3 = FEATURE_NAMES.index("mean10.top3")

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Features:
    """What one bucket of observations says, one row each.

    Attributes:
        rows: Shape (n, 12) float32, the scorer's input.
        measures: Shape (n, 4), the channels beside the forest (`treeline.core.channels.channels`), each in standard
            deviations of the server's own.
        magnitudes: Shape (n, 4), what they were made from: each view's largest deviations, averaged.
        expected: Shape (n, metrics), the trailing day's mean in the metric's unit.
        spread: Shape (n, metrics), the trailing day's standard deviation (floored), same unit.
        imputed: Shape (n, metrics) bool, where a missing value was replaced by the last one seen.
    """

    rows: npt.NDArray[np.float32]
    measures: FloatArray
    magnitudes: FloatArray
    expected: FloatArray
    spread: FloatArray
    imputed: npt.NDArray[np.bool_]


def summarize(views: FloatArray) -> npt.NDArray[np.float32]:
    """Four numbers a view: max |v|, mean of the top three |v|, 3 x mean |v|, 20 x share of |v| above 3.

    Args:
        views: Shape (n, views, metrics). The factors bring the four to one scale for the forest's boxes.

    Returns:
        Shape (n, 4 * views) float32.
    """
    magnitude, metrics = np.abs(views), views.shape[-1]
    ordered = np.sort(magnitude, axis=-1)
    summary = np.empty((*views.shape[:2], len(SUMMARY_NAMES)), dtype=np.float32)
    summary[..., 0] = ordered[..., -1]
    summary[..., 1] = mean_of_last(ordered)
    summary[..., 2] = 3.0 * (row_sums(magnitude) / metrics)
    summary[..., 3] = 20.0 * (row_sums((magnitude > 3.0).astype(np.float64)) / metrics)
    return summary.reshape(len(views), views.shape[1] * len(SUMMARY_NAMES))


def window_mean(window: FloatArray) -> FloatArray:
    """Mean over axis 1, bit for bit numpy's: a lone metric's it adds in strands, several one observation by another."""
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
    base_mean, base_spread = state.base_mean[at], state.base_spread[at]
    recent = state.recent[at]
    with np.errstate(over="ignore"):  # a value near the float limit is clipped
        raw = standardize(values, base_mean, base_spread, limit=LARGEST_DEVIATION).astype(np.float32)
    imputed = np.isnan(raw)
    x = np.clip(raw, -Z_LIMIT, Z_LIMIT)
    x = np.where(imputed, recent[:, -1], x)
    before = state.last_at[at]
    elapsed_s = np.where(before < 0, step_s, (observed_at - before) / 1000.0)
    difference = x - recent[:, -1]
    difference[elapsed_s > GAP_STEPS * step_s] = 0.0
    window = np.concatenate([recent[:, 1:], x[:, None]], axis=1)
    views = np.stack([x, window_mean(window), difference], axis=1)

    view_mean, view_var = state.view_mean[at], state.view_var[at]
    spread = np.maximum(np.sqrt(view_var), np.maximum(state.view_floor[at], VIEW_FLOOR))
    standardized = standardize(views, view_mean, spread)

    day_mean, day_var = state.day_mean[at], state.day_var[at]
    day_spread = np.maximum(np.sqrt(day_var), DAY_FLOOR)
    deviation = standardize(np.where(imputed, day_mean, raw), day_mean, day_spread)
    change_var = state.change_var[at]  # around 0: what rises comes down
    change_sd = np.maximum(np.sqrt(change_var), np.maximum(state.view_floor[at, 2], VIEW_FLOOR))
    change = np.minimum(np.abs(difference / change_sd), DIFFERENCE_LIMIT)
    unlikely = improbability(np.abs(x), state.tail_start[at], state.tail_scale[at])
    summaries = summarize(standardized)
    largest = top_mean(np.stack([np.abs(deviation), np.where(imputed, 0.0, unlikely)], axis=1))
    magnitudes = np.empty((len(rows), len(CHANNELS)), dtype=np.float32)
    magnitudes[:, DAY], magnitudes[:, TAIL] = largest.T
    magnitudes[:, DIFFERENCE] = top_mean(change, DIFFERENCE_MOST)
    magnitudes[:, MEAN10] = summaries[:, _MEAN10_TOP3]
    aged = np.minimum(elapsed_s, MAX_ELAPSED_STEPS * step_s).astype(np.float32)
    measures = channels.measure(state, rows, observed_at, magnitudes, aged, learn=learn)

    features = Features(
        rows=summaries,
        measures=measures,
        magnitudes=magnitudes,
        expected=base_mean + base_spread * day_mean,
        spread=base_spread * day_spread,
        imputed=imputed,
    )
    if not learn:
        return features

    alpha = ew_alpha(aged, TRAILING_S)[:, None, None]
    ew_update(view_mean, view_var, np.where(imputed[:, None, :], np.nan, views), alpha)
    day_alpha = ew_alpha(aged, DAY_S)[:, None]
    ew_update(day_mean, day_var, bounded_step(raw, day_mean, day_var, DAY_FLOOR, day_alpha), day_alpha)
    learned = np.minimum(np.abs(difference), CHANGE_CLIP_SD * change_sd) ** 2 - change_var
    state.change_var[at] = change_var + ew_alpha(aged, DAY_S)[:, None] * np.where(imputed, 0.0, learned)
    state.view_mean[at], state.view_var[at] = view_mean, view_var
    state.day_mean[at], state.day_var[at] = day_mean, day_var
    state.recent[at] = window
    return features
