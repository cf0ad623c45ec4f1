"""The last times of every server, as many as calibration needs: a ring that a history of any length fills."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.prepare.sampling import Rows
from treeline.core.channels import registry
from treeline.core.detection.features import Features
from treeline.core.expectation.expectation import CHOSEN_FROM

_ARRAYS = ("deviations", "sds", "magnitudes")


class Kept:
    """Of times (n,) what each server was compared with; NaN where absent.

    Under a rolling window that is one expectation, and else those of `CHOSEN_FROM`.
    """

    def __init__(self, servers: int, size: int, metrics: int, *, rolling: bool = False) -> None:
        def numbers(*shape: int) -> Rows:
            return np.full((size, servers, *shape), np.nan, dtype=np.float32)

        self.times_ms: NDArray[np.int64] = np.empty(size, dtype=np.int64)
        # Value less each expectation, in the spreads of training.
        self.deviations = numbers(1 if rolling else len(CHOSEN_FROM), metrics)
        self.sds = numbers(1 if rolling else 2, metrics)  # of the window, or of the trailing day and of the season
        self.magnitudes = numbers(len(registry.CHANNELS))
        self._size, self._metrics, self._added = size, metrics, 0

    def add(
        self, at_ms: int, servers: NDArray[np.intp], features: Features, season_offset: NDArray[np.float32]
    ) -> None:
        """Keep one time's comparisons, in the place of the oldest where there is no other."""
        slot = self._added % self._size
        if self._added >= self._size:
            for name in _ARRAYS:
                getattr(self, name)[slot] = np.nan
        compared = features.compared
        now, raw = compared.now, compared.raw
        self.times_ms[slot] = at_ms
        if self.deviations.shape[2] == 1:
            deviations, sds = [raw - now.value], [now.sd]
        else:
            season = raw - now.season_level
            deviations, sds = [raw - now.day_mean, season, season - season_offset], [now.day_sd, now.season_sd]
        self.deviations[slot, servers], self.sds[slot, servers] = np.stack(deviations, axis=1), np.stack(sds, axis=1)
        self.magnitudes[slot, servers] = features.magnitudes
        self._added += 1

    def in_order(self) -> Self:
        """The same, the oldest time first and no empty place; changes it."""
        if self._added <= self._size:
            for name in ("times_ms", *_ARRAYS):
                setattr(self, name, getattr(self, name)[: self._added])
        else:
            # In place: rolling copies would double the largest arrays of the whole run.
            for name in ("times_ms", *_ARRAYS):
                _rotate(getattr(self, name), self._added % self._size)
        return self


def _rotate(array: NDArray[np.generic], first: int) -> None:
    """Make `array[first]` the first entry: three reversals, no copy of the whole."""
    for part in (array[:first], array[first:], array):
        half = len(part) // 2
        for low in range(0, half, 1024):
            high = min(low + 1024, half)
            mirrored = part[len(part) - high : len(part) - low][::-1].copy()
            part[len(part) - high : len(part) - low] = part[low:high][::-1]
            part[low:high] = mirrored
