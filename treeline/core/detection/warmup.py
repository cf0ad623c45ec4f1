"""A server that the model was not trained on: it learns its own baseline, and has the fleet's medians for the rest."""

import numpy as np

from treeline.core.channels import registry
from treeline.core.detection.features import Index
from treeline.core.expectation.expectation import SMALLEST_SCALE
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.statistics import FLOOR_SHARE_OF_RANGE, FloatArray, bounded_step, ew_update, standardize

WARM_UP_S = 86_400.0  # one daily cycle; less would take the night for a fall
CONSTANT_FLOOR = 1e-3  # spread of a metric that never moved and is 0
LARGEST = 1e18  # its square is still a float32
WARM_UP_FREE = 10  # values that are learned whatever they are
WARM_UP_GROWTH = 9.0  # of the variance by one value: more than of a settled average, as there may be bursts to learn
SD_PER_RANGE = 6.0  # a running summary has no quantiles: six standard deviations stand for the range


def spread_floor(sd: FloatArray, value_range: FloatArray, mean: FloatArray) -> FloatArray:
    """The divisor of the z-score: max(sd, 1 % of the range), and for a constant metric 1 % of its level.

    Never 0: a metric that is constant in training and moves later gets a finite deviation.
    """
    spread = np.maximum(sd, FLOOR_SHARE_OF_RANGE * value_range)
    constant = np.maximum(FLOOR_SHARE_OF_RANGE * np.abs(mean), CONSTANT_FLOOR)
    return np.where(spread > 1e-6 * (1.0 + np.abs(mean)), spread, constant)


def observations_needed(step_s: float) -> int:
    """How many observations a server warms up for."""
    return max(int(WARM_UP_S / step_s), 20)


def warm_up(state: FleetState, rows: Index, values: FloatArray, *, step_s: float) -> None:
    """Learn from one observation each of some warming servers; the last one makes them ready.

    While a server warms up its `base_mean` is 0 and `base_spread` 1, so `day_mean` and `day_var` hold the running mean
    and variance (Welford) in the metric's own unit. `trend_mean` is not needed yet; it counts each metric's values.
    """
    values = np.clip(values, -LARGEST, LARGEST).astype(np.float32)
    count = state.observations[rows] + 1
    mean, variance, seen = state.day_mean[rows], state.day_var[rows], state.trend_mean[rows]
    seen += ~np.isnan(values)
    alpha = 1.0 / np.maximum(seen, 1.0, dtype=np.float64)
    floor = spread_floor(np.zeros_like(mean), np.zeros_like(mean), mean)
    limited = bounded_step(values, mean, variance, floor, alpha, growth=WARM_UP_GROWTH)
    known = np.where(seen > WARM_UP_FREE, limited, values)
    ew_update(mean, variance, known, alpha)
    state.day_mean[rows], state.day_var[rows], state.trend_mean[rows] = mean, variance, seen
    done = count >= observations_needed(step_s)
    if not done.any():
        return
    ready = rows[done]
    sd = np.sqrt(variance[done])
    spread = spread_floor(sd, SD_PER_RANGE * sd, mean[done])
    never = seen[done] == 0  # base_spread 0: the metric warms up when it comes, see metric_warmup
    state.base_mean[ready], state.base_spread[ready] = mean[done], np.where(never, 0.0, spread)
    state.day_mean[ready] = 0.0
    state.day_var[ready] = (sd / spread) ** 2
    x = standardize(np.nan_to_num(values[done]), mean[done], spread)
    state.recent[ready] = np.where(np.isnan(values[done]), 0.0, x)[:, None]
    state.trailing_mean[ready], state.trailing_var[ready] = 0.0, state.day_var[ready]
    state.trend_mean[ready], state.season_square[ready] = 0.0, state.day_var[ready]
    state.residual_scale[ready] = np.maximum(sd / spread, SMALLEST_SCALE)
    for channel in registry.CHANNELS:
        for name, value in channel.settled().items():
            if name not in channel.trained:  # what is trained came with the row: the fleet's medians
                getattr(state, name)[ready] = value
    state.phase[ready] = Phase.READY
