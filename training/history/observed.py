"""When a server was observed: what delays, labels and server-days are counted on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, eq=False)
class ObservedTimes:
    """The observations of one server that were judged."""

    times_ms: NDArray[np.int64]  # event times, shape (n,), increasing, n >= 1

    def __post_init__(self) -> None:
        """Raises ValueError where there is none, or time runs backwards."""
        if not len(self.times_ms) or (np.diff(self.times_ms) <= 0).any():
            raise ValueError("observed times must be at least one, and increase")

    @property
    def first_ms(self) -> int:
        """The first."""
        return int(self.times_ms[0])

    @property
    def last_ms(self) -> int:
        """The last."""
        return int(self.times_ms[-1])

    @property
    def days(self) -> float:
        """How long it was observed.

        Each observation stands for the time until the next one, at most twice the usual step: a gap of a week is no
        week of watching.
        """
        if len(self.times_ms) == 1:
            return 0.0
        steps = np.diff(self.times_ms)
        usual = float(np.median(steps))
        return float(np.minimum(steps, 2 * usual).sum() + usual) / DAY_MS

    def first_from(self, at_ms: int) -> int | None:
        """The first observation at or after a time; None behind the last."""
        position = int(np.searchsorted(self.times_ms, at_ms))
        return None if position == len(self.times_ms) else int(self.times_ms[position])

    def any_within(self, start_ms: int, end_ms: int) -> bool:
        """Whether an observation lies in [start_ms, end_ms]."""
        first = self.first_from(start_ms)
        return first is not None and first <= end_ms


ObservedServers = Mapping[str, ObservedTimes]
