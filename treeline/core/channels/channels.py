"""Measures beside the forest's score, made from the metrics' own deviations: four channels, none needs a model server.

Each takes the mean of the three largest magnitudes over the metrics of one view (of the five largest for `difference`),
then says how far that is from what the server's own measure usually is, in its standard deviations (evidence on
detection, section 7; decision 20):

- `day`: the value against the metric's own trailing day; its usual level is an average of half-life one day;
- `tail`: how improbable the value was in training, as -ln p by an exponential tail fitted beyond the 98 % quantile of
  each metric (Siffer et al. 2017, SPOT, with shape 0), against an average of half-life one day;
- `mean10`: the mean of the last ten against the trailing three days, by its mean and spread in training;
- `difference`: the lag-1 difference against its own day, by its mean and spread in training, less what is usual at
  that time of day (`treeline.core.channels.habit`).
"""

import numpy as np
import numpy.typing as npt

from treeline.core.channels import habit
from treeline.core.state.fleet import FleetState, together
from treeline.core.state.layout import CHANNELS as CHANNELS
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha, row_sums

DAY, TAIL, MEAN10, DIFFERENCE = range(4)
HALF_LIFE_S = np.array([86_400.0, 86_400.0, np.inf, np.inf], dtype=np.float32)  # infinite: stays as training left it
CLIP_SD = 6.0  # an outage must not teach a channel that outages are normal
DIFFERENCE_MOST = 5  # of the metrics: what changes abruptly changes in many at once
DIFFERENCE_LIMIT = 15.0  # standard deviations; at 10 the mean of a loud server had no room left above its usual peaks
TAIL_QUANTILE = 0.98
TAIL_CAP = 40.0  # p = e^-40
_AT_START = float(-np.log(1.0 - TAIL_QUANTILE))


def top_mean(magnitude: FloatArray, most: int = 3) -> FloatArray:
    """Mean over the last axis of the `most` largest (of all, where there are fewer)."""
    return mean_of_last(np.sort(magnitude, axis=-1), most)


def mean_of_last(ordered: FloatArray, most: int = 3) -> FloatArray:
    """Mean over the last axis of its last `most` (of all, where there are fewer)."""
    largest = ordered[..., -most:]
    mean: FloatArray = row_sums(largest) / largest.shape[-1]
    return mean


def improbability(magnitude: FloatArray, start: FloatArray, scale: FloatArray) -> FloatArray:
    """-ln of how often a metric was at least this far from its mean in training, at most `TAIL_CAP`.

    Beyond `start`, its 98 % quantile, the tail is exponential with mean excess `scale`; below it rises linearly.
    """
    beyond = _AT_START + (magnitude - start) / scale
    return np.minimum(np.where(magnitude > start, beyond, _AT_START * magnitude / start), TAIL_CAP)


def measure(
    state: FleetState,
    rows: npt.NDArray[np.intp],
    observed_at: npt.NDArray[np.int64],
    magnitudes: FloatArray,
    aged_s: FloatArray,
    *,
    learn: bool = True,
) -> FloatArray:
    """How unusual each channel's magnitude is for the server, in its own standard deviations.

    Args:
        state: Changed in place when `learn`.
        rows: Distinct rows, shape (n,).
        observed_at: Milliseconds, shape (n,).
        magnitudes: Shape (n, 4), in the order of `CHANNELS`.
        aged_s: Seconds since each server's previous observation.
        learn: False compares only.

    Returns:
        Shape (n, 4).
    """
    at = together(rows)
    mean, variance = state.channel_mean[at], state.channel_var[at]
    sd = np.maximum(np.sqrt(variance), state.channel_floor[at])
    own = (magnitudes - mean) / sd
    measures = own.copy()
    measures[:, DIFFERENCE] = np.where(
        own[:, DIFFERENCE] > habit.allowed(state, rows, observed_at), own[:, DIFFERENCE], 0.0
    )
    if learn:
        alpha = half_life_alpha(aged_s.astype(np.float32)[:, None], HALF_LIFE_S)
        ew_update(mean, variance, np.minimum(magnitudes, mean + CLIP_SD * sd), alpha)
        state.channel_mean[at], state.channel_var[at] = mean, variance
        habit.remember(state, rows, observed_at, own[:, DIFFERENCE])
    return measures
