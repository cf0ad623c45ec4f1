"""Bootstrap intervals of precision, recall and F-scores.

They resample whole servers, because what goes wrong on one server tends to do so again; with fewer than five servers
there is too little to resample, so outcomes are resampled one by one, which is too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.history.labels import Protocol

MIN_SERVERS_TO_RESAMPLE = 5
Counts = tuple[int, int, int]  # hits, misses, false pages


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """Of each figure; None where no draw had a basis for it.

    Attributes:
        unit: What was resampled: "server" or "incident".
    """

    unit: str
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None
    f05: Interval | None


def intervals(units: Sequence[Counts], *, servers: int, protocol: Protocol) -> Intervals:
    """Percentile intervals.

    Args:
        units: Of each server; what no single server stands for is a unit of its own.
        servers: How many were watched.
        protocol: Draws, seed and confidence.
    """
    rng = np.random.default_rng(protocol.seed)
    counts = np.array(units, dtype=np.float64).reshape(-1, 3)
    if servers >= MIN_SERVERS_TO_RESAMPLE:
        times_drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=protocol.draws)
        return _of_draws("server", times_drawn @ counts, protocol)
    outcomes = counts.sum(axis=0)
    total = int(outcomes.sum())
    drawn = rng.multinomial(total, outcomes / max(total, 1), size=protocol.draws) if total else np.zeros((1, 3))
    return _of_draws("incident", drawn.astype(np.float64), protocol)


def _of_draws(unit: str, drawn: NDArray[np.float64], protocol: Protocol) -> Intervals:
    """From draws of (hits, misses, false pages), shape (draws, 3)."""
    hits, misses, false = drawn.T
    tail = (1 - protocol.confidence) / 2

    def percentiles(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Interval | None:
        known = whole > 0  # a draw without a basis says nothing
        if not known.any():
            return None
        low, high = np.quantile(part[known] / whole[known], [tail, 1 - tail])
        return Interval(float(low), float(high))

    return Intervals(
        unit,
        precision=percentiles(hits, hits + false),
        recall=percentiles(hits, hits + misses),
        f1=percentiles(2 * hits, 2 * hits + misses + false),
        f05=percentiles(1.25 * hits, 1.25 * hits + 0.25 * misses + false),
    )
