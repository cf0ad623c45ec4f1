"""From observations to the feature row: twelve numbers that do not depend on how many metrics a server has.

Three views of the standardized metrics (the value, its mean over the last ten, its lag-1 difference), each
standardized again against its own trailing three days, each summarized over the metrics by four numbers. Recipe and
measurements: evidence on detection, sections 4 and 7. The trailing windows are exponentially weighted, so that they
fit into a small state; the current observation is compared first and learned afterwards.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treeline.core import channels
from treeline.core.channels import improbability, top_mean
from treeline.core.state import FleetState
from treeline.core.statistics import Z_LIMIT, FloatArray, bounded_step, ew_alpha, ew_update

TRAILING_S = 3 * 86_400.0
DAY_S = 86_400.0
CHANGE_CLIP_SD = 6.0  # one jump must not hide the next ones for a day
VIEW_FLOOR = 0.001
DAY_FLOOR = 0.1  # of the training spread
MAX_ELAPSED_STEPS = 5  # a long gap ages the averages by no more than this
GAP_STEPS = 3  # beyond it a difference to the value before the gap says nothing

VIEW_NAMES = ("value", "mean10", "difference")
SUMMARY_NAMES = ("max", "top3", "mean", "share_above_3")
FEATURE_NAMES: tuple[str, ...] = tuple(f"{view}.{summary}" for view in VIEW_NAMES for summary in SUMMARY_NAMES)

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Features:
    """What one bucket of observations says, one row each.

    Attributes:
        rows: Shape (n, 12) float32, the scorer's input.
        measures: Shape (n, 4), the channels beside the forest (`treeline.core.channels`), each in standard
            deviations of the server's own.
        magnitudes: Shape (n, 4), what they were made from: each view's three largest deviations, averaged.
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
    magnitude = np.abs(views)
    ordered = np.sort(magnitude, axis=-1)
    summary = np.stack(
        [
            ordered[..., -1],
            ordered[..., -3:].mean(axis=-1),
            3.0 * magnitude.mean(axis=-1),
            20.0 * (magnitude > 3.0).mean(axis=-1),
        ],
        axis=-1,
    )
    return np.ascontiguousarray(summary.reshape(len(views), summary.shape[1] * summary.shape[2]), dtype=np.float32)


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
    recent = state.recent[rows]
    with np.errstate(over="ignore"):  # a value near the float limit is clipped two lines on
        raw = (values - state.base_mean[rows]) / state.base_spread[rows]
    raw = np.clip(raw, -1e6, 1e6).astype(np.float32)
    imputed = np.isnan(raw)
    x = np.clip(raw, -Z_LIMIT, Z_LIMIT)
    x = np.where(imputed, recent[:, -1], x)
    before = state.last_at[rows]
    elapsed_s = np.where(before < 0, step_s, (observed_at - before) / 1000.0)
    difference = x - recent[:, -1]
    difference[elapsed_s > GAP_STEPS * step_s] = 0.0
    window = np.concatenate([recent[:, 1:], x[:, None]], axis=1)
    views = np.stack([x, window.mean(axis=1, dtype=np.float32), difference], axis=1)

    view_mean, view_var = state.view_mean[rows], state.view_var[rows]
    spread = np.maximum(np.sqrt(view_var), np.maximum(state.view_floor[rows], VIEW_FLOOR))
    standardized = np.clip((views - view_mean) / spread, -Z_LIMIT, Z_LIMIT)

    day_mean, day_var = state.day_mean[rows], state.day_var[rows]
    day_spread = np.maximum(np.sqrt(day_var), DAY_FLOOR)
    deviation = np.clip(np.where(imputed, 0.0, raw - day_mean) / day_spread, -Z_LIMIT, Z_LIMIT)
    change_var = state.change_var[rows]  # around 0: what rises comes down
    change_sd = np.maximum(np.sqrt(change_var), np.maximum(state.view_floor[rows, 2], VIEW_FLOOR))
    change = np.clip(difference / change_sd, -Z_LIMIT, Z_LIMIT)
    unlikely = improbability(np.abs(x), state.tail_start[rows], state.tail_scale[rows])
    magnitudes = np.stack(
        [
            top_mean(np.abs(deviation)),
            top_mean(np.where(imputed, 0.0, unlikely)),
            top_mean(np.abs(standardized[:, 1])),
            top_mean(np.abs(change)),
        ],
        axis=1,
    ).astype(np.float32)
    aged = np.minimum(elapsed_s, MAX_ELAPSED_STEPS * step_s).astype(np.float32)
    measures = channels.measure(state, rows, observed_at, magnitudes, aged, learn=learn)

    base_mean, base_spread = state.base_mean[rows], state.base_spread[rows]
    features = Features(
        rows=summarize(standardized),
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
    state.change_var[rows] = change_var + ew_alpha(aged, DAY_S)[:, None] * np.where(imputed, 0.0, learned)
    state.view_mean[rows], state.view_var[rows] = view_mean, view_var
    state.day_mean[rows], state.day_var[rows] = day_mean, day_var
    state.recent[rows] = window
    return features
