"""Improbable by the distribution of training."""

from collections.abc import Mapping

import numpy as np

from treeline.core.arrays import ArraySpec, Axis, Rows
from treeline.core.channels.channel import DAY_S, MetricChannel, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, top_mean

QUANTILE = 0.98
CAP = 40.0  # p = e^-40
SMALLEST_START, SMALLEST_SCALE = 0.5, 0.25  # standard deviations
NORMAL_START, NORMAL_SCALE = 2.0, 1.0  # a tail as wide as a normal distribution's
_AT_START = float(-np.log(1.0 - QUANTILE))


class Tail(MetricChannel):
    """How improbable the value was in training: SPOT (Siffer et al. 2017) with shape 0, for each metric."""

    name = "tail"
    title = "improbable values"
    meaning = "the metrics have values that were hardly ever seen in training"
    view = (
        "-ln p of the value: beyond the 98 % quantile of training the tail is exponential, below it p rises "
        "linearly; cut at 40"
    )
    half_life_s = DAY_S
    floors = Thresholds(p2=7.2, p1=7.35)
    arrays = (
        ArraySpec("tail_start", "f2", (Axis.METRICS,), NORMAL_START),
        ArraySpec("tail_scale", "f2", (Axis.METRICS,), NORMAL_SCALE),
    )
    trained = ("tail_start", "tail_scale")

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Mean of the three largest improbabilities."""
        unlikely = improbability(np.abs(views.value), state.tail_start[at], state.tail_scale[at])
        return top_mean(np.where(views.missing, 0.0, unlikely))

    def seeds(self, values: FloatArray) -> Mapping[str, FloatArray]:
        """Each metric's 98 % quantile and mean excess beyond it, floored."""
        magnitude = np.abs(values)
        start = np.quantile(magnitude, QUANTILE, axis=0)
        beyond = magnitude > start
        excess = np.where(beyond, magnitude - start, 0.0).sum(axis=0) / np.maximum(beyond.sum(axis=0), 1)
        return {"tail_start": np.maximum(start, SMALLEST_START), "tail_scale": np.maximum(excess, SMALLEST_SCALE)}

    def settled(self) -> Mapping[str, float]:
        """A normal distribution's tail."""
        return {"tail_start": NORMAL_START, "tail_scale": NORMAL_SCALE}


def improbability(magnitude: FloatArray, start: FloatArray, scale: FloatArray) -> FloatArray:
    """-ln of how often a metric was at least this far from its mean in training, at most `CAP`.

    Args:
        magnitude: How far it is now, in standard deviations of training.
        start: Its 98 % quantile in training; below it the improbability rises linearly.
        scale: The mean excess beyond `start`, where the tail is taken to be exponential.
    """
    beyond = _AT_START + (magnitude - start) / scale
    return np.minimum(np.where(magnitude > start, beyond, _AT_START * magnitude / start), CAP)
