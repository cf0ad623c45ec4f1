"""Peers that watch each metric for itself; the strangest metric speaks for the server."""

import numpy as np

from training.evaluate.peers.interface import Times, Values
from treeline.core.statistics import half_life_alpha

HALF_LIFE_S = 3600.0
WEEK_H, DAY_H = 168, 24
HOUR_MS = 3_600_000
MAD_TO_SD = 1.4826
FLOOR = 0.1  # of the training spread: a metric constant in one hour of the week must not divide by nothing


class ThreeSigma:
    """Distance from the training mean in training standard deviations: a fixed threshold per metric."""

    def fit(self, times_ms: Times, values: Values) -> None:
        """Nothing: the values are standardized by the training part already."""

    def score(self, times_ms: Times, values: Values) -> Values:
        """Largest absolute z-score."""
        return np.asarray(np.abs(values).max(axis=1))


class Ewma:
    """Distance from an exponentially weighted mean, in its own standard deviations, each metric by itself."""

    def __init__(self, step_s: float) -> None:
        self._alpha = float(half_life_alpha(np.array(step_s), HALF_LIFE_S))

    def fit(self, times_ms: Times, values: Values) -> None:
        """Start from the training part's moments."""
        self._mean, self._variance = values.mean(axis=0), values.var(axis=0)

    def score(self, times_ms: Times, values: Values) -> Values:
        """Largest deviation, each compared before it is learned."""
        mean, variance, a = self._mean, self._variance, self._alpha
        scores = np.empty(len(values))
        for i, value in enumerate(values):
            delta = value - mean
            scores[i] = np.max(np.abs(delta) / np.maximum(np.sqrt(variance), FLOOR))
            mean += a * delta
            variance = (1 - a) * (variance + a * delta * delta)
        return scores


class SeasonalBand:
    """Distance from the median of the same hour of the week (of the day, under two weeks of history), in MADs.

    What CloudWatch Anomaly Detection's band does, in outline: expected value and band by time of day and week.
    """

    def fit(self, times_ms: Times, values: Values) -> None:
        """Median and MAD of each hour; an hour without data gets those of all."""
        self._hours = WEEK_H if times_ms[-1] - times_ms[0] >= 2 * WEEK_H * HOUR_MS else DAY_H
        hour = self._hour(times_ms)
        self._median = np.empty((self._hours, values.shape[1]))
        self._spread = np.empty_like(self._median)
        for h in range(self._hours):
            own = values[hour == h]
            own = own if len(own) else values
            self._median[h] = np.median(own, axis=0)
            self._spread[h] = MAD_TO_SD * np.median(np.abs(own - self._median[h]), axis=0)

    def score(self, times_ms: Times, values: Values) -> Values:
        """Largest deviation from the band's middle."""
        hour = self._hour(times_ms)
        deviation = np.abs(values - self._median[hour]) / np.maximum(self._spread[hour], FLOOR)
        return np.asarray(deviation.max(axis=1))

    def _hour(self, times_ms: Times) -> Times:
        return np.asarray(times_ms // HOUR_MS % self._hours)
