"""How unusual each channel's number is for the server: all channels over the metrics at once."""

from functools import cache

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import together
from treeline.core.channels import registry
from treeline.core.channels.channel import MetricChannel, State
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

CLIP_SD = 6.0  # an outage must not teach a channel that outages are normal


@cache
def _half_lives_s(channels: tuple[MetricChannel, ...]) -> FloatArray:
    return np.array([channel.half_life_s for channel in channels], dtype=np.float32)


def measure(
    state: State,
    rows: npt.NDArray[np.intp],
    observed_at: npt.NDArray[np.int64],
    magnitudes: FloatArray,
    aged_s: FloatArray,
    *,
    learn: bool = True,
) -> FloatArray:
    """How far each channel's magnitude is from the server's usual one, in its own standard deviations.

    Args:
        state: Changed in place when `learn`.
        rows: Distinct rows, shape (n,).
        observed_at: Milliseconds, shape (n,).
        magnitudes: Shape (n, channels), in the order of the registry.
        aged_s: Seconds since each server's previous observation.
        learn: False compares only.

    Returns:
        Shape (n, channels).
    """
    at, channels = together(rows), registry.CHANNELS
    mean, variance = state.channel_mean[at], state.channel_var[at]
    sd = np.maximum(np.sqrt(variance), state.channel_floor[at])
    own = (magnitudes - mean) / sd
    measures = own.copy()
    for place, channel in enumerate(channels):
        measures[:, place] = channel.counted(state, rows, observed_at, own[:, place])
    if learn:
        alpha = half_life_alpha(aged_s.astype(np.float32)[:, None], _half_lives_s(channels))
        ew_update(mean, variance, np.minimum(magnitudes, mean + CLIP_SD * sd), alpha)
        state.channel_mean[at], state.channel_var[at] = mean, variance
        for place, channel in enumerate(channels):
            channel.remember(state, rows, observed_at, own[:, place])
    return measures
