"""A metric that a ready server reports for the first time after training warms up by itself before it counts.

Without a baseline its first value would be a huge deviation. So it counts as missing until it has been seen for as long
as a new server warms up. Until then its `base_spread` is 0, its `base_mean` counts its values, and its `day_mean` and
`day_var` hold their running mean and variance in the metric's unit.
"""

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import together
from treeline.core.channels import registry
from treeline.core.channels.channel import TYPICAL_MEAN10_SD
from treeline.core.detection.features import Index
from treeline.core.detection.warmup import (
    LARGEST,
    SD_PER_RANGE,
    WARM_UP_FREE,
    WARM_UP_GROWTH,
    observations_needed,
    spread_floor,
)
from treeline.core.expectation import expectation, relation
from treeline.core.expectation.expectation import SMALLEST_SCALE
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray, bounded_step, ew_update, standardize

UNKNOWN = 0.0  # base_spread of a metric without a baseline
# What training measures of an expectation and of a relation, as of a metric that nothing is known of.
TYPICAL = {
    spec.name: spec.initial
    for spec in (*expectation.ARRAYS, *relation.ARRAYS)
    if spec.name in ("basis", "band_sd", "relation_mean", "relation_var", "relation_floor")
} | {"relation_sd": TYPICAL_MEAN10_SD}
FEWEST_VALUES = 20  # in training; a spread made from less says nothing


def unknown_metrics(state: FleetState, rows: Index) -> npt.NDArray[np.bool_]:
    """Which metrics of some servers have no baseline yet, shape (n, metrics)."""
    unknown: npt.NDArray[np.bool_] = state.base_spread[together(rows)] == UNKNOWN
    return unknown


def without_unknown(state: FleetState, rows: Index, values: FloatArray) -> FloatArray:
    """The values with those of metrics without a baseline taken as missing."""
    unknown = unknown_metrics(state, rows)
    return np.where(unknown, np.nan, values) if unknown.any() else values


def warm_up_metrics(state: FleetState, rows: Index, values: FloatArray, *, step_s: float) -> FloatArray:
    """Learn the metrics of ready servers that have no baseline yet; those seen long enough count from the next on.

    Args:
        state: Changed in place.
        rows: Rows of ready servers, distinct, shape (n,).
        values: Shape (n, metrics), NaN where missing.
        step_s: The profile's sampling step in seconds.

    Returns:
        The values to go on with: missing where a metric has no baseline.
    """
    unknown = unknown_metrics(state, rows)
    if not unknown.any():
        return values
    own = np.where(unknown, np.clip(values, -LARGEST, LARGEST), np.nan)
    measured = ~np.isnan(own)
    mean, variance = state.day_mean[rows], state.day_var[rows]
    mean_or_count, spread = state.base_mean[rows], state.base_spread[rows]
    count = np.where(unknown, mean_or_count, 0.0) + measured
    alpha = 1.0 / np.maximum(count, 1.0)
    floor = spread_floor(np.zeros_like(mean), np.zeros_like(mean), mean)
    limited = bounded_step(own, mean, variance, floor, alpha, growth=WARM_UP_GROWTH)
    ew_update(mean, variance, np.where(count > WARM_UP_FREE, limited, own), alpha)
    done = measured & (count >= observations_needed(step_s))
    sd = np.sqrt(variance)
    learned = spread_floor(sd, SD_PER_RANGE * sd, mean)
    settled = np.where(done, standardize(own, mean, learned), 0.0)
    state.base_mean[rows] = np.where(done, mean, np.where(unknown, count, mean_or_count))
    state.base_spread[rows] = np.where(done, learned, spread)
    state.day_var[rows] = np.where(done, (sd / learned) ** 2, variance)
    state.day_mean[rows] = np.where(done, 0.0, mean)
    if done.any():
        _settle(state, rows, done, settled)
    return np.where(unknown, np.nan, values)


def _settle(state: FleetState, rows: Index, done: npt.NDArray[np.bool_], last: FloatArray) -> None:
    """The views of metrics whose baseline is learned, as of a server that has just warmed up."""
    state.recent[rows] = np.where(done[:, None, :], last[:, None, :], state.recent[rows])
    variance = state.day_var[rows]
    for middle, square in (("trailing_mean", "trailing_var"), ("trend_mean", "season_square")):
        means, variances = getattr(state, middle), getattr(state, square)
        means[rows] = np.where(done, 0.0, means[rows])
        variances[rows] = np.where(done, variance, variances[rows])
    scale = np.maximum(np.sqrt(variance), SMALLEST_SCALE)
    state.residual_scale[rows] = np.where(done, scale, state.residual_scale[rows])
    for name, typical in TYPICAL.items():
        array = getattr(state, name)
        array[rows] = np.where(done, typical, array[rows])
    for channel in registry.CHANNELS:
        for name, value in channel.settled().items():
            array = getattr(state, name)
            array[rows] = np.where(done, value, array[rows])
