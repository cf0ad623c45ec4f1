"""The one source of what is expected of a metric now, and of how far from it is usual.

There are three ways to expect a value: the trailing day, the season (`season`), and the season moved by how far the
last day was from it. Training chooses one for each metric of each server: the one that predicted the server's own past
best (`training.prepare.expectations`). A model can be trained to use a fourth for all of them, and none of the others:
the window of `rolling`. Everything that is said about a server goes by it: features, pages, explain, reports.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import ArraySpec, Axis, Rows, State
from treeline.core.expectation import rolling, season
from treeline.core.statistics import FloatArray, bounded_step, clip, ew_alpha, ew_update

DAY_S = 86_400.0
DAY_FLOOR = 0.1  # of the training spread
OFFSET_CLIP_SD = 4.0
LARGEST = 30.0  # of the training spread; what is farther out is not stranger
LARGEST_RESIDUAL = 60.0
SMALLEST_SCALE = 0.05  # of the training spread
_M = Axis.METRICS


class Basis(IntEnum):
    """What the expectation of a metric is made from."""

    DAY = 0
    SEASON = 1
    MOVED_SEASON = 2  # the season, moved by how far the last day was from it
    ROLLING = 3  # the mean of the last W seconds, of a model that has it for every series; never stored


CHOSEN_FROM = (Basis.DAY, Basis.SEASON, Basis.MOVED_SEASON)


ARRAYS = (
    ArraySpec("basis", "u1", (_M,)),
    ArraySpec("residual_scale", "f4", (_M,), 1.0),  # what 68 % of the past's residuals do not exceed
    ArraySpec("band_sd", "f2", (_M,), 3.0),  # half the band's width in standard deviations
    ArraySpec("trailing_mean", "f4", (_M,)),
    ArraySpec("trailing_var", "f4", (_M,)),
    ArraySpec("trend_mean", "f4", (_M,)),
    ArraySpec("season_offset", "f4", (_M,)),
    *season.ARRAYS,
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of some servers' metrics now, shape (n, metrics), in the spreads of training."""

    value: FloatArray
    sd: FloatArray
    basis: npt.NDArray[np.uint8]  # a `Basis`, what the two are made from
    elapsed_s: FloatArray  # since each server's observation before, shape (n,)
    day_mean: FloatArray
    day_sd: FloatArray
    season_level: FloatArray
    season_sd: FloatArray


def expected(
    state: State,
    rows: npt.NDArray[np.intp],
    at: Rows,
    local_ms: npt.NDArray[np.int64],
    *,
    step_s: float,
    elapsed_s: FloatArray,
    learn: bool = True,
) -> Expected:
    """What is expected at a time.

    Args:
        state: Changed in place where `learn` and a slot is over (`season.turn`).
        rows: Distinct rows, shape (n,).
        at: The same rows, as `together` gives them.
        local_ms: Each server's local time, milliseconds, shape (n,).
        step_s: The sampling step.
        elapsed_s: Seconds since each server's observation before, shape (n,).
        learn: False leaves the state as it is: late observations are held against the slot that lasts.
    """
    day_mean, day_sd = state.trailing_mean[at], np.maximum(np.sqrt(state.trailing_var[at]), DAY_FLOOR)
    if state.rolling_window_s:
        return _by_window(state, at, day_mean, day_sd, elapsed_s)
    if learn:
        season.turn(state, rows, season.slot_of(local_ms), step_s=step_s)
    level, basis = season.level_at(state, at, local_ms), state.basis[at]
    by_day = basis == Basis.DAY
    moved = np.where(basis == Basis.MOVED_SEASON, state.season_offset[at], 0.0)
    return Expected(
        value=np.where(by_day, day_mean, level + moved),
        sd=np.where(by_day, day_sd, state.slot_sd[at]),
        basis=basis,
        elapsed_s=elapsed_s,
        day_mean=day_mean,
        day_sd=day_sd,
        season_level=level,
        season_sd=state.slot_sd[at],
    )


def _by_window(state: State, at: Rows, day_mean: FloatArray, day_sd: FloatArray, elapsed_s: FloatArray) -> Expected:
    """By the rolling window, and where that holds too few values by the trailing day. No season is learned."""
    mean, sd, is_known = rolling.moments(state, at, elapsed_s)
    return Expected(
        value=np.where(is_known, mean, day_mean),
        sd=np.where(is_known, np.maximum(sd, DAY_FLOOR), day_sd),
        basis=np.where(is_known, np.uint8(Basis.ROLLING), np.uint8(Basis.DAY)),
        elapsed_s=elapsed_s,
        day_mean=day_mean,
        day_sd=day_sd,
        season_level=day_mean,
        season_sd=day_sd,
    )


def learn(state: State, at: Rows, value: FloatArray, now: Expected, aged_s: FloatArray) -> None:
    """Learn values, which may be NaN, after they were compared.

    Args:
        state: Changed in place.
        at: The servers' rows.
        value: Shape (n, metrics), in the spreads of training.
        now: What was expected of them.
        aged_s: Seconds by which each server's averages age, shape (n,); 0 where nothing is to change.
    """
    mean, variance, alpha = state.trailing_mean[at], state.trailing_var[at], ew_alpha(aged_s, DAY_S)[:, None]
    ew_update(mean, variance, bounded_step(value, mean, variance, DAY_FLOOR, alpha), alpha)
    state.trailing_mean[at], state.trailing_var[at] = mean, variance
    if state.rolling_window_s:  # by the clock: what is older than the window is not in it, however long a gap was
        rolling.learn(state, at, value, now.value, now.sd, np.where(aged_s > 0, now.elapsed_s, 0.0))
        return
    slow, trend = ew_alpha(aged_s, season.TREND_S)[:, None], state.trend_mean[at]
    distance = season.distance_from(state, at, value, now.season_level)
    known = ~np.isnan(value)
    state.trend_mean[at] = trend + np.where(known, slow * (now.season_level + distance - trend), 0.0)
    offset = state.season_offset[at]
    reach = OFFSET_CLIP_SD * state.slot_sd[at]
    step = clip(value - now.season_level - offset, -reach, reach)
    state.season_offset[at] = offset + ew_alpha(aged_s, DAY_S)[:, None] * np.where(np.isnan(step), 0.0, step)
    season.gather(state, at, now.season_level, distance)
