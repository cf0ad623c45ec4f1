"""Far from the trailing day."""

import numpy as np

from treeline.core.arrays import Rows
from treeline.core.channels.channel import DAY_S, MetricChannel, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, top_mean


class Day(MetricChannel):
    """The value against the metric's own trailing day."""

    name = "day"
    title = "trailing day"
    meaning = "the metrics are far from where they stood over the last day"
    view = "the value's distance from the mean of its trailing day, in that day's standard deviations, cut at 10"
    half_life_s = DAY_S
    can_be_gated = True
    floors = Thresholds(p2=10.2, p1=12.0)
    is_free_of_model = True  # a deviation in the day's own spread is the same whatever the baseline

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Mean of the three largest deviations."""
        return top_mean(np.abs(views.from_day))
