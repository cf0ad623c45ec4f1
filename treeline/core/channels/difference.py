"""Abrupt changes, less those that are usual at the time of day."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import ArraySpec, Axis, Rows
from treeline.core.channels import seasonal_peaks
from treeline.core.channels.channel import DAY_S, TYPICAL_CHANGE_SD, MetricChannel, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, ew_alpha, top_mean

LARGEST_METRICS = 5  # what changes abruptly changes in many at once
LIMIT = 15.0  # standard deviations; at 10 the mean of a loud server had no room left above its usual peaks
FLOOR_SHARE, SMALLEST_SD = 0.1, np.float32(0.001)  # of the spread in training; in the spreads of training
CLIP_SD = 6.0  # one jump must not hide the next ones for a day


class Difference(MetricChannel):
    """The lag-1 difference against its own day."""

    name = "difference"
    title = "abrupt changes"
    meaning = "many metrics changed abruptly, more than they do at this time of day"
    view = (
        "the change since the observation before, in its own standard deviations of the last day, cut at 15; what does "
        "not exceed the same quarter hour of earlier days counts as nothing"
    )
    aggregate = "mean of the five largest metrics"
    floors = Thresholds(p2=7.0, p1=10.6)
    arrays = (
        ArraySpec("change_var", "f4", (Axis.METRICS,), 1.0),
        ArraySpec("change_floor", "f2", (Axis.METRICS,), FLOOR_SHARE),
        *seasonal_peaks.ARRAYS,
    )

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Mean of the five largest changes."""
        sd = _sd(state, at)
        return top_mean(np.minimum(np.abs(views.difference / sd), LIMIT), LARGEST_METRICS)

    def learn(self, state: State, at: Rows, views: Views, aged_s: FloatArray) -> None:
        """The trailing day's variance of the changes, around 0: what rises comes down."""
        variance = state.change_var[at]
        limited = np.minimum(np.abs(views.difference), CLIP_SD * _sd(state, at))
        learned = np.where(views.missing, 0.0, limited**2 - variance)
        state.change_var[at] = variance + ew_alpha(aged_s, DAY_S)[:, None] * learned

    def counted(
        self, state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measure: FloatArray
    ) -> FloatArray:
        """Nothing where it does not exceed the seasonal peak of the time of day."""
        return np.where(measure > seasonal_peaks.allowed(state, rows, observed_at), measure, 0.0)

    def remember(
        self, state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measure: FloatArray
    ) -> None:
        """Into the table of seasonal peaks."""
        seasonal_peaks.remember(state, rows, observed_at, measure)

    def seeds(self, values: FloatArray) -> Mapping[str, FloatArray]:
        """The spread of the changes in training."""
        sd = np.diff(values, axis=0).std(axis=0)
        return {"change_var": sd**2, "change_floor": FLOOR_SHARE * sd}

    def settled(self) -> Mapping[str, float]:
        """A typical metric's spread."""
        return {"change_var": TYPICAL_CHANGE_SD**2, "change_floor": FLOOR_SHARE * TYPICAL_CHANGE_SD}


def _sd(state: State, at: Rows) -> FloatArray:
    floor = np.maximum(state.change_floor[at].astype(np.float32), SMALLEST_SD)
    sd: FloatArray = np.maximum(np.sqrt(state.change_var[at]), floor)
    return sd
