"""How unusual each channel's number is for the server: all channels over the metrics at once."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import Rows, together
from treeline.core.channels import registry
from treeline.core.channels.channel import MetricChannel, State
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

CLIP_SD = 6.0  # an outage must not teach a channel that outages are normal


@cache
def _half_lives_s(channels: tuple[MetricChannel, ...]) -> FloatArray:
    return np.array([channel.half_life_s for channel in channels], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ChannelMeasures:
    """How far each channel's magnitude is from the server's usual one, in its own standard deviations.

    Both of shape (n, channels), in the order of the registry.
    """

    own: FloatArray
    counted: FloatArray  # the part that counts as evidence


def measure(
    state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], magnitudes: FloatArray
) -> ChannelMeasures:
    """Hold magnitudes against the servers' usual ones.

    Args:
        state: Not changed.
        rows: Distinct rows, shape (n,).
        observed_at: Milliseconds, shape (n,).
        magnitudes: Shape (n, channels), in the order of the registry.
    """
    mean, _, sd = _usual(state, together(rows))
    own = (magnitudes - mean) / sd
    counted = own.copy()
    for place, channel in enumerate(registry.CHANNELS):
        counted[:, place] = channel.counted(state, rows, observed_at, own[:, place])
    return ChannelMeasures(own, counted)


def learn(
    state: State,
    rows: npt.NDArray[np.intp],
    observed_at: npt.NDArray[np.int64],
    magnitudes: FloatArray,
    measured: ChannelMeasures,
    aged_s: FloatArray,
) -> None:
    """Learn magnitudes that were measured. Changes the state.

    Args:
        state: As it was when they were measured.
        rows: As given to `measure`.
        observed_at: Milliseconds, shape (n,).
        magnitudes: As given to `measure`.
        measured: What it returned.
        aged_s: Seconds since each server's previous observation.
    """
    at = together(rows)
    mean, variance, sd = _usual(state, at)
    alpha = half_life_alpha(aged_s.astype(np.float32)[:, None], _half_lives_s(registry.CHANNELS))
    ew_update(mean, variance, np.minimum(magnitudes, mean + CLIP_SD * sd), alpha)
    state.channel_mean[at], state.channel_var[at] = mean, variance
    for place, channel in enumerate(registry.CHANNELS):
        channel.remember(state, rows, observed_at, measured.own[:, place])


def _usual(state: State, at: Rows) -> tuple[FloatArray, FloatArray, FloatArray]:
    mean, variance = state.channel_mean[at], state.channel_var[at]
    return mean, variance, np.maximum(np.sqrt(variance), state.channel_floor[at])
