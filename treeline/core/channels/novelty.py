"""Novelty: a measure opens nothing that does not exceed what the same server has reached before.

A habit of a server that training did not see, a job every night or relations that drift, pages once and then is known.
The peak of earlier hours fades by one decade of rarity a day, and never asks for more than the tier and two decades, so
that a fault that returns pages again.
"""

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, ArraySpec, Axis, State
from treeline.core.statistics import FloatArray

HOUR_MS = 3_600_000
FADE = 1.0  # decades of rarity a day
MOST = 2.0  # decades beyond the tier
LEAST = -1000.0  # no peak yet
_A = Axis.EVERY_CHANNEL
ARRAYS = (
    ArraySpec("peak", "f4", (_A,), LEAST),  # of hours that ended at least an hour ago
    ArraySpec("peak_hours", "f4", (2, _A), LEAST),  # the highest of this hour and the one before, by hour modulo 2
    ArraySpec("peak_hour", "i8", (), NEVER),
)


def turn(state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], decade: FloatArray) -> None:
    """Where an hour is over: let the one before it into the peak. Changes the state.

    Args:
        state: Of the servers.
        rows: Distinct rows, shape (n,).
        observed_at: Milliseconds, shape (n,).
        decade: What a decade of rarity is in each channel's measure, shape (channels,).
    """
    hour = observed_at // HOUR_MS
    moved = np.flatnonzero(hour > state.peak_hour[rows])
    if not len(moved):
        return
    rows, hour = rows[moved], hour[moved]
    known = state.peak_hour[rows]
    passed = np.where(known == NEVER, 0, hour - known)
    fade = FADE / 24.0 * decade
    peak, ring = state.peak[rows], state.peak_hours[rows]
    place = np.arange(len(rows))
    for step in (1, 2):  # the hour before the known one, then the known one itself
        due = passed >= step
        slot = (known + step) % 2
        entered = np.maximum(peak - fade, ring[place, slot])
        peak = np.where(due[:, None], entered, peak)
        ring[place[due], slot[due]] = LEAST
    peak -= fade * np.maximum(passed - 2, 0)[:, None]
    state.peak[rows], state.peak_hours[rows], state.peak_hour[rows] = np.maximum(peak, LEAST), ring, hour


def remember(
    state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measures: FloatArray
) -> None:
    """Note measures (n, channels) of the hour that `turn` was told of. Changes the state."""
    slot = (observed_at // HOUR_MS % 2).astype(np.intp)
    state.peak_hours[rows, slot] = np.maximum(state.peak_hours[rows, slot], measures)
