"""The last ten together, against the last three days."""

from collections.abc import Mapping

import numpy as np

from treeline.core.arrays import ArraySpec, Axis, Rows
from treeline.core.channels.channel import TYPICAL_MEAN10_SD, MetricChannel, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, ew_alpha, ew_update, standardize, top_mean

TRAILING_S = 3 * 86_400.0
FLOOR_SHARE, SMALLEST_SD = 0.1, np.float32(0.001)  # of the spread in training; in the spreads of training
RECENT = 10


class Mean10(MetricChannel):
    """The mean of the last ten values against the trailing three days."""

    name = "mean10"
    title = "mean of ten"
    meaning = "the metrics' last ten values together are far from the last three days"
    view = "the mean of the last ten values, against its trailing three days in their standard deviations, cut at 10"
    can_be_gated = True
    floors = Thresholds(p2=6.5, p1=6.75)
    arrays = (
        ArraySpec("mean10_mean", "f4", (Axis.METRICS,)),
        ArraySpec("mean10_var", "f4", (Axis.METRICS,), 1.0),
        ArraySpec("mean10_floor", "f2", (Axis.METRICS,), FLOOR_SHARE),
    )

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Mean of the three largest."""
        floor = np.maximum(state.mean10_floor[at].astype(np.float32), SMALLEST_SD)
        sd = np.maximum(np.sqrt(state.mean10_var[at]), floor)
        return top_mean(np.abs(standardize(views.mean10, state.mean10_mean[at], sd)))

    def learn(self, state: State, at: Rows, views: Views, aged_s: FloatArray) -> None:
        """The trailing three days."""
        mean, variance = state.mean10_mean[at], state.mean10_var[at]
        known = np.where(views.missing, np.nan, views.mean10)
        ew_update(mean, variance, known, ew_alpha(aged_s, TRAILING_S)[:, None])
        state.mean10_mean[at], state.mean10_var[at] = mean, variance

    def seeds(self, values: FloatArray) -> Mapping[str, FloatArray]:
        """Mean and spread in training."""
        sums = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), values]), axis=0)
        width = min(RECENT, len(values))
        means = (sums[width:] - sums[:-width]) / width
        sd = means.std(axis=0)
        return {"mean10_mean": means.mean(axis=0), "mean10_var": sd**2, "mean10_floor": FLOOR_SHARE * sd}

    def settled(self) -> Mapping[str, float]:
        """A typical metric's."""
        return {"mean10_mean": 0.0, "mean10_var": TYPICAL_MEAN10_SD**2, "mean10_floor": FLOOR_SHARE * TYPICAL_MEAN10_SD}
