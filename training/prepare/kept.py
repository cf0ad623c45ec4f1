"""The last times' features of every server, as many as calibration needs: a ring that a history of any length fills."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.prepare.sampling import Rows
from treeline.core.channels import registry
from treeline.core.detection.features import FEATURE_NAMES, Features


class Kept:
    """Times (n,), feature rows (n, servers, features) and magnitudes (n, servers, channels); NaN where absent."""

    def __init__(self, servers: int, size: int) -> None:
        self.times_ms: NDArray[np.int64] = np.empty(size, dtype=np.int64)
        self.rows: Rows = np.full((size, servers, len(FEATURE_NAMES)), np.nan, dtype=np.float32)
        self.magnitudes: Rows = np.full((size, servers, len(registry.CHANNELS)), np.nan, dtype=np.float32)
        self._size, self._added = size, 0

    def add(self, at_ms: int, servers: NDArray[np.intp], features: Features) -> None:
        """Keep one time's features, in the place of the oldest where there is no other."""
        slot = self._added % self._size
        if self._added >= self._size:
            self.rows[slot], self.magnitudes[slot] = np.nan, np.nan
        self.times_ms[slot] = at_ms
        self.rows[slot, servers], self.magnitudes[slot, servers] = features.rows, features.magnitudes
        self._added += 1

    def in_order(self) -> Self:
        """The same, the oldest time first and no empty place; changes it."""
        if self._added <= self._size:
            filled = slice(self._added)
            self.times_ms, self.rows, self.magnitudes = (
                self.times_ms[filled],
                self.rows[filled],
                self.magnitudes[filled],
            )
        else:
            # In place: rolling copies would double the largest arrays of the whole run.
            for array in (self.times_ms, self.rows, self.magnitudes):
                _rotate(array, self._added % self._size)
        return self

    @classmethod
    def together(cls, parts: "Sequence[Kept]") -> "Kept":
        """Of neighbouring servers' parts in order; each may have times at which only its own servers were there."""
        if len(parts) == 1:
            return parts[0]
        times = np.unique(np.concatenate([part.times_ms for part in parts]))[-parts[0]._size :]
        whole, first = cls(sum(part.rows.shape[1] for part in parts), len(times)), 0
        for part in parts:
            newest = part.times_ms >= times[0]
            at, last = np.searchsorted(times, part.times_ms[newest]), first + part.rows.shape[1]
            whole.rows[at, first:last], whole.magnitudes[at, first:last] = part.rows[newest], part.magnitudes[newest]
            first = last
        whole.times_ms = times
        return whole


def _rotate(array: NDArray[np.generic], first: int) -> None:
    """Make `array[first]` the first entry: three reversals, no copy of the whole."""
    for part in (array[:first], array[first:], array):
        half = len(part) // 2
        for low in range(0, half, 1024):
            high = min(low + 1024, half)
            mirrored = part[len(part) - high : len(part) - low][::-1].copy()
            part[len(part) - high : len(part) - low] = part[low:high][::-1]
            part[low:high] = mirrored
