"""Far from the trailing day."""

from collections.abc import Mapping

import numpy as np

from treeline.core.arrays import ArraySpec, Axis, Rows
from treeline.core.channels.channel import DAY_S, MetricChannel, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, bounded_step, ew_alpha, ew_update, standardize, top_mean

FLOOR = 0.1  # of the training spread


class Day(MetricChannel):
    """The value against the metric's own trailing day, which goes on learning while an incident is open."""

    name = "day"
    title = "trailing day"
    meaning = "the metrics are far from where they stood over the last day"
    view = "the value's distance from the mean of its trailing day, in that day's standard deviations, cut at 10"
    half_life_s = DAY_S
    can_be_gated = True
    floors = Thresholds(p2=10.2, p1=10.8)
    is_free_of_model = True  # a deviation in the day's own spread is the same whatever the baseline
    arrays = (ArraySpec("day_mean", "f4", (Axis.METRICS,)), ArraySpec("day_var", "f4", (Axis.METRICS,)))

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Mean of the three largest deviations."""
        mean, sd = state.day_mean[at], np.maximum(np.sqrt(state.day_var[at]), FLOOR)
        return top_mean(np.abs(standardize(np.where(views.missing, mean, views.raw), mean, sd)))

    def learn(self, state: State, at: Rows, views: Views, aged_s: FloatArray) -> None:
        """The trailing day."""
        mean, variance, alpha = state.day_mean[at], state.day_var[at], ew_alpha(aged_s, DAY_S)[:, None]
        ew_update(mean, variance, bounded_step(views.raw, mean, variance, FLOOR, alpha), alpha)
        state.day_mean[at], state.day_var[at] = mean, variance

    def seeds(self, values: FloatArray) -> Mapping[str, FloatArray]:
        """A day as all of training."""
        return {"day_mean": np.zeros(values.shape[1]), "day_var": values.std(axis=0) ** 2}
